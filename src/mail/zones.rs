//! Time zones as calendars name them: by IANA's name, by Windows' name, or by rules of their own (RFC 5545 §3.6.5).
//!
//! A zone nobody knows gives no offset, never a guess.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::windows_zones::iana;

/// A rule of a zone: since when which offset holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Observance {
    /// When it holds for the first time, by the clock before it.
    begin: Option<DateTime>,
    /// The offset it brings.
    offset: Option<Offset>,
    /// When it comes again every year; `None`: never.
    yearly: Option<Yearly>,
}

/// The `nth` weekday of a month, from the end where it is negative.
#[derive(Debug, Clone, Copy)]
struct Yearly {
    month: i8,
    nth: i8,
    weekday: Weekday,
    until: Option<i16>,
}

impl Observance {
    /// Reads one property of it.
    pub(super) fn read(&mut self, name: &str, value: &str) {
        match name {
            "DTSTART" => self.begin = local(value),
            "TZOFFSETTO" => self.offset = written_offset(value.trim()),
            "RRULE" => self.yearly = yearly(value),
            _ => {}
        }
    }

    /// The last time before this one at which it began.
    fn before(&self, time: DateTime) -> Option<DateTime> {
        let begin = self.begin?;
        let Some(rule) = self.yearly else { return Some(begin).filter(|it| *it <= time) };
        let last = rule.until.map_or(time.year(), |until| until.min(time.year()));
        let in_year = |year| {
            let first = Date::new(year, rule.month, 1).ok()?;
            Some(first.nth_weekday_of_month(rule.nth, rule.weekday).ok()?.to_datetime(begin.time()))
        };
        [last, last - 1].into_iter().filter_map(in_year).find(|it| *it <= time && *it >= begin)
    }
}

/// The offset of a zone at a local time. `observances` are the zone's own rules, where it has some.
pub(super) fn offset(zone: &str, time: DateTime, observances: &[Observance]) -> Option<Offset> {
    // RFC 5545 §3.3.5: an hour that comes twice is the first of the two, one that never comes goes by the clock before.
    let by_name = || {
        named(zone.trim()).map(|it| match it.to_ambiguous_timestamp(time).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
        })
    };
    by_name().or_else(|| {
        let begun = observances.iter().filter_map(|it| Some((it.before(time)?, it.offset?)));
        let last = begun.max_by_key(|it| it.0).map(|it| it.1);
        // Before all of them the first holds.
        last.or_else(|| observances.iter().min_by_key(|it| it.begin).and_then(|it| it.offset))
    })
}

fn named(zone: &str) -> Option<TimeZone> {
    let known = |name: &str| TimeZone::get(iana(name).unwrap_or(name)).ok();
    // Some put the name behind a path of their own: `/freeassociation.sourceforge.net/Europe/Berlin`.
    let tail = |count: usize| zone.rsplitn(count + 1, '/').take(count).collect::<Vec<_>>();
    let tails = || {
        [3, 2].into_iter().map(tail).map(|mut it| {
            it.reverse();
            it.join("/")
        })
    };
    known(zone).or_else(|| zone.starts_with('/').then(tails)?.find_map(|it| known(&it)))
}

/// `20261121T184233`.
pub(super) fn local(value: &str) -> Option<DateTime> {
    DateTime::strptime("%Y%m%dT%H%M%S", value.trim().trim_end_matches(['Z', 'z'])).ok()
}

/// `20261121`.
pub(super) fn day(value: &str) -> Option<Date> {
    Date::strptime("%Y%m%d", value).ok()
}

/// As RFC 3339 writes it. `None` beyond the years it knows.
pub(super) fn rfc3339(time: DateTime, offset: Offset) -> Option<String> {
    // Offsets with seconds are of a time before there were calendars like these.
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let text =
        format!("{}{sign}{:02}:{:02}", time.strftime("%Y-%m-%dT%H:%M:%S"), minutes.abs() / 60, minutes.abs() % 60);
    text.parse::<jiff::Timestamp>().ok().map(|_| text)
}

/// `+0100`, `-023000`.
fn written_offset(value: &str) -> Option<Offset> {
    let (sign, digits) = match value.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number = |at: usize| digits.get(at..at + 2).and_then(|it| it.parse::<i32>().ok());
    let seconds = number(0)? * 3600 + number(2)? * 60 + number(4).unwrap_or(0);
    Offset::from_seconds(sign * seconds).ok()
}

/// `FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10`, which is how zones are written.
fn yearly(rule: &str) -> Option<Yearly> {
    let part = |name: &str| rule.split(';').filter_map(|it| it.split_once('=')).find(|it| it.0.trim() == name);
    let part = |name: &str| part(name).map(|it| it.1.trim());
    let (nth, weekday) = part("BYDAY")?.split_at_checked(part("BYDAY")?.len().checked_sub(2)?)?;
    let weekday = match weekday {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    };
    let until = part("UNTIL").and_then(|it| it.get(..4)).and_then(|it| it.parse().ok());
    Some(Yearly {
        month: part("BYMONTH")?.parse().ok()?,
        nth: nth.trim_start_matches('+').parse().ok()?,
        weekday,
        until,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_that_comes_twice_or_never_has_an_offset_all_the_same() {
        let at = |time| offset("Europe/Berlin", local(time).unwrap(), &[]).map(|it| it.seconds() / 3600);
        assert_eq!(at("20261025T023000"), Some(2));
        assert_eq!(at("20260329T023000"), Some(1));
    }

    #[test]
    fn offsets_are_read_with_and_without_seconds() {
        for (written, seconds) in [
            ("+0100", Some(3600)),
            ("-0230", Some(-9000)),
            ("+005328", Some(3208)),
            ("0100", None),
            ("+99999", None),
            ("+ü", None),
            ("", None),
        ] {
            assert_eq!(written_offset(written).map(|it| it.seconds()), seconds, "{written}");
        }
    }
}
