//! `Retry-After`, as the outside worlds write it (RFC 9110 §10.2.3, and fractions of a second, which Graph also sends).
//!
//! What cannot be read is as good as absent; what is absurd is brought within bounds.

use std::time::Duration;

use super::clock::UnixMillis;

/// Never less: an answer of nought would make a busy loop of a polite caller.
const LEAST: Duration = Duration::from_millis(100);
/// For Microsoft's services: the longest window Outlook counts requests in is ten minutes, so a longer wait is a
/// mistake of somebody's.
pub const MOST: Duration = Duration::from_secs(15 * 60);
/// Never more, whatever the caller believes: nobody holds a mail back for longer than a day by a header.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long to wait, `most` at the most: from seconds (`120`, `2.128`) or from a date. `None` when there is nothing
/// readable.
pub fn parse(value: &str, now: UnixMillis, most: Duration) -> Option<Duration> {
    let value = value.trim();
    seconds(value).or_else(|| until(value, now)).map(|wait| wait.min(most).clamp(LEAST, DAY))
}

fn seconds(value: &str) -> Option<Duration> {
    let seconds: f64 = value.parse().ok()?;
    seconds.is_finite().then(|| Duration::from_secs_f64(seconds.clamp(0.0, DAY.as_secs_f64())))
}

fn until(value: &str, now: UnixMillis) -> Option<Duration> {
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_millisecond();
    Some(Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_it_is_understood() {
        let now = super::super::clock::parse_rfc3339("2026-11-21T18:42:00Z").unwrap();
        for (value, expected) in [
            ("120", Some(120_000)),
            ("2.128", Some(2_128)),
            (" 7 ", Some(7_000)),
            ("0", Some(100)),
            ("-5", Some(100)),
            ("99999999999", Some(900_000)),
            ("1e400", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
            ("Sat, 21 Nov 2026 18:42:30 GMT", Some(30_000)),
            ("Sat, 21 Nov 2026 18:41:00 GMT", Some(100)),
            ("Mon, 21 Nov 2050 18:41:00 GMT", Some(900_000)),
        ] {
            assert_eq!(parse(value, now, MOST).map(|it| it.as_millis()), expected, "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_is_out_of_bounds(value in ".{0,40}", now in proptest::num::i64::ANY) {
            if let Some(wait) = parse(&value, now, MOST) {
                proptest::prop_assert!(wait >= LEAST && wait <= MOST);
            }
        }
    }
}
