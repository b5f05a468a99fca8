//! How results are told: one plain table, a figure to a line.

use std::time::Duration;

/// A heading, and the figures under it.
pub(crate) fn heading(text: &str) {
    say(&format!("\n{text}"));
}

/// One figure.
pub(crate) fn figure(what: &str, value: &str) {
    say(&format!("  {what:<58} {value:>16}"));
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn say(line: &str) {
    println!("{line}");
}

/// The middle one; of two in the middle, the larger.
pub(crate) fn median<T: PartialOrd + Copy + Default>(values: &[T]) -> T {
    share(values, 0.5)
}

/// The value that this share of all values does not exceed.
pub(crate) fn share<T: PartialOrd + Copy + Default>(values: &[T], share: f64) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Milliseconds with two digits of fraction.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Mebibytes of so many KiB.
pub(crate) fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}
