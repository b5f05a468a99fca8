//! Times as the API takes them: RFC 3339, or how long ago.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::model::clock::{UnixMillis, parse_rfc3339};
use crate::model::units::Span;

/// A time, such as `2026-11-21T18:00:00Z`, or `24h` for a day ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(in crate::http) enum Moment {
    /// This very time.
    At(UnixMillis),
    /// So many milliseconds ago.
    Ago(i64),
}

impl Moment {
    /// The time it means now.
    pub(in crate::http) fn at(self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.saturating_sub(ago),
        }
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let ago = || text.parse::<Span>().ok().map(|it| Self::Ago(it.millis()));
        parse_rfc3339(&text).map(Self::At).or_else(ago).ok_or_else(|| {
            format!("`{text}` is no time; write it like 2026-11-21T18:00:00Z, or like 24h for how long ago")
        })
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "anyOf": [{ "format": "date-time" }, { "pattern": "^[0-9]{1,6}(ms|s|m|h|d)$" }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_outright_or_by_how_long_ago_it_is() {
        for (text, expected) in [
            ("1970-01-01T00:00:07Z", Some(7_000)),
            ("1970-01-01T01:00:07+01:00", Some(7_000)),
            ("2s", Some(98_000)),
            ("1m", Some(40_000)),
            ("yesterday", None),
            ("", None),
            ("-1h", None),
        ] {
            let read = Moment::try_from(text.to_owned());
            assert_eq!(read.ok().map(|it| it.at(100_000)), expected, "{text}");
        }
    }
}
