//! What the fuzzer asks of bytes nobody wrote holds of the seeds it begins with, and of everything it ever found.

use std::path::{Path, PathBuf};

use super::mail_interaction::fixtures;

#[path = "../../fuzz/src/checks.rs"]
mod checks;

fn seeds(kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(kind);
    let paths = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path());
    let found: Vec<_> = paths.map(|it| (it.clone(), std::fs::read(it).unwrap())).collect();
    assert!(!found.is_empty(), "{} is empty", folder.display());
    found
}

#[test]
fn the_seeds_of_the_fuzzer_hold_what_is_asked_of_them() {
    let ask = |kind: &str, check: fn(&[u8])| {
        for (path, bytes) in seeds(kind) {
            println!("{}", path.display());
            check(&bytes);
        }
    };
    ask("interaction", checks::interaction);
    ask("sanitise", checks::sanitise);
    ask("headers", checks::headers);
    ask("transfer", checks::transfer);
    ask("tnef", checks::tnef);
    ask("calendar", checks::calendar);
    ask("outgoing", checks::outgoing);
}

#[test]
fn our_own_mails_hold_what_the_fuzzer_asks() {
    for (name, raw) in fixtures() {
        println!("{name}");
        checks::interaction(&raw);
        checks::outgoing(&raw);
    }
}

#[test]
fn html_that_grows_as_it_is_made_safe_is_refused_before() {
    let bomb = format!("<p><b title='{}'>{}", "x".repeat(8_000), "<p>x".repeat(14_000));
    let raw = format!("Content-Type: text/html\r\n\r\n{bomb}");
    checks::interaction(raw.as_bytes());
    assert_eq!(mailspan::mail::html::sanitise(&bomb), None);
    let letter = "<font face='Segoe UI' style='font-size: 11pt'><p>Good day<br>".repeat(3) + &"<p>text".repeat(9_000);
    assert!(mailspan::mail::html::sanitise(&letter).is_some(), "people write so");
}
