//! When a credential's end is near enough to be said: thirty days before, fourteen, seven, one, and when it has come.
//!
//! Reads no clock: `now` is an argument.

use crate::model::clock::UnixMillis;

/// How many days before its end a credential is warned of, once each.
pub const WARN_DAYS: [i64; 4] = [30, 14, 7, 1];

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The last of the warnings that is due: `Some(30)` from thirty days before the end on, `Some(0)` once it has come,
/// `None` while it is far.
pub fn warning(expires_at: UnixMillis, now: UnixMillis) -> Option<i64> {
    let left = expires_at.saturating_sub(now);
    match left {
        ..=0 => Some(0),
        _ => WARN_DAYS.into_iter().rev().find(|days| left <= days * DAY_MS),
    }
}

/// The end of a credential, for a person: `expires in 13 days, on 2027-03-01`.
pub fn told(expires_at: UnixMillis, now: UnixMillis) -> String {
    let (left, day) = (expires_at.saturating_sub(now), day(expires_at));
    match left {
        ..=0 => format!("expired on {day}"),
        _ if left < DAY_MS => format!("expires within a day, on {day}"),
        _ if left < 2 * DAY_MS => format!("expires in 1 day, on {day}"),
        _ => format!("expires in {} days, on {day}", left / DAY_MS),
    }
}

/// The day of a moment, in UTC, as `2027-03-01`.
pub fn day(at: UnixMillis) -> String {
    match jiff::Timestamp::from_millisecond(at) {
        Ok(at) => at.strftime("%Y-%m-%d").to_string(),
        // Outside the years jiff can name.
        Err(_) => "a day beyond the calendar".to_owned(),
    }
}

/// The first moment of a day, in UTC: from then on a secret of which only the day is known may be refused.
pub fn begins(day: jiff::civil::Date) -> Option<UnixMillis> {
    day.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|it| it.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_warning_is_due_from_its_day_on() {
        let end = 1_803_859_200_000;
        for (days_before, expected) in [
            (31.0, None),
            (30.0, Some(30)),
            (14.5, Some(30)),
            (14.0, Some(14)),
            (7.0, Some(7)),
            (1.5, Some(7)),
            (1.0, Some(1)),
            (0.001, Some(1)),
            (0.0, Some(0)),
            (-400.0, Some(0)),
        ] {
            #[expect(clippy::cast_possible_truncation, reason = "whole milliseconds, far from the edge")]
            let now = end - (days_before * DAY_MS as f64) as i64;
            assert_eq!(warning(end, now), expected, "{days_before} days before");
        }
    }

    #[test]
    fn the_end_is_told_in_days_and_with_its_date() {
        let end = begins("2027-03-01".parse().unwrap()).unwrap();
        for (left, expected) in [
            (13 * DAY_MS + 5, "expires in 13 days, on 2027-03-01"),
            (DAY_MS, "expires in 1 day, on 2027-03-01"),
            (5, "expires within a day, on 2027-03-01"),
            (0, "expired on 2027-03-01"),
        ] {
            assert_eq!(told(end, end - left), expected);
        }
        assert_eq!(day(i64::MAX), "a day beyond the calendar");
    }
}
