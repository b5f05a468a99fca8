//! Time as an argument: whoever needs the time is handed a [`Clock`].

use std::sync::Arc;

/// Milliseconds since 1970-01-01T00:00:00Z: the only form in which time is stored.
pub type UnixMillis = i64;

/// Where the time comes from. The roof hands out the system's clock; tests hand out their own.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> UnixMillis;
}

/// A clock that can be shared between workers.
pub type SharedClock = Arc<dyn Clock>;

/// RFC 3339 in UTC with milliseconds, as interactions and answers show times.
pub fn rfc3339(at: UnixMillis) -> String {
    match jiff::Timestamp::from_millisecond(at) {
        Ok(at) => format!("{at:.3}"),
        // Outside the years jiff can name; a number is still the truth.
        Err(_) => at.to_string(),
    }
}

/// Reads an RFC 3339 time with any number of fraction digits and any offset, as Graph writes them.
pub fn parse_rfc3339(text: &str) -> Option<UnixMillis> {
    text.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graph_times_with_seven_digits_and_offsets_are_read() {
        assert_eq!(parse_rfc3339("2026-11-21T18:42:33.1234567Z"), Some(1_795_286_553_123));
        assert_eq!(parse_rfc3339("2026-11-21T23:42:33+05:00"), parse_rfc3339("2026-11-21T18:42:33Z"));
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn times_are_written_with_milliseconds() {
        assert_eq!(rfc3339(1_795_286_553_123), "2026-11-21T18:42:33.123Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    }
}
