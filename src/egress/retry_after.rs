//! `Retry-After` (RFC 9110 §10.2.3), in the three forms servers write it: whole seconds, a fraction, a date.
//!
//! What cannot be read is no wish at all; what asks for more than a day gets a day.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};

use crate::model::clock::UnixMillis;

/// Nobody holds a mail back for longer than this by a header.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How long the answer asks us to wait. `None`: it does not say.
pub fn from_headers(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    parse(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// Reads one `Retry-After` value. A date that has passed means now.
pub fn parse(value: &str, now: UnixMillis) -> Option<Duration> {
    let value = value.trim();
    if value.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        let seconds: f64 = value.parse().ok().filter(|it: &f64| !it.is_nan())?;
        return Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_millisecond();
    let wait = u64::try_from(at.saturating_sub(now)).unwrap_or(0);
    Some(Duration::from_millis(wait).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: UnixMillis = 784_111_777_000;

    #[test]
    fn seconds_fractions_and_dates_are_read() {
        let cases = [
            ("0", Some(0)),
            ("120", Some(120_000)),
            (" 7 ", Some(7_000)),
            ("1.5", Some(1_500)),
            ("0.25", Some(250)),
            ("86401", Some(86_400_000)),
            ("99999999999999999999999", Some(86_400_000)),
            ("1e400", Some(86_400_000)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 07:00:00 GMT", Some(0)),
            ("Fri, 06 Nov 2026 08:49:37 GMT", Some(86_400_000)),
            ("", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("12 seconds", None),
            ("soon", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, NOW).map(|it| it.as_millis()), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_value_is_too_strange_or_longer_than_a_day(text in "\\PC*", now in proptest::num::i64::ANY) {
            proptest::prop_assert!(parse(&text, now).is_none_or(|it| it <= LONGEST));
        }
    }
}
