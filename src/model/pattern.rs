//! Names of header fields as configuration asks for them: `*` stands for any letters, case does not matter.

use serde::{Deserialize, Serialize};

use super::address::glob;

/// A pattern for names of header fields, such as `X-*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct NamePattern(String);

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        // RFC 5322 §2.2: printable letters, and no colon.
        let is_name = !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic() && it != b':');
        if is_name {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("the name of a header field or a pattern such as X-*")
        }
    }

    /// Whether a field of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        glob(&self.0, &name.to_ascii_lowercase())
    }

    /// Whether every name is meant.
    pub fn is_any(&self) -> bool {
        self.0.bytes().all(|it| it == b'*')
    }
}

impl TryFrom<String> for NamePattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole_and_whatever_their_case() {
        for (pattern, name, expected) in [
            ("Subject", "SUBJECT", true),
            ("Subject", "X-Subject", false),
            ("X-*", "x-mailer", true),
            ("X-*", "Xerox", false),
            ("*-id", "Message-ID", true),
            ("*", "Received", true),
        ] {
            assert_eq!(NamePattern::parse(pattern).unwrap().matches(name), expected, "{pattern} against {name}");
        }
        for wrong in ["", "Subject:", "X Mailer", "Grüße"] {
            assert!(NamePattern::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(NamePattern::parse("*").unwrap().is_any() && !NamePattern::parse("x*").unwrap().is_any());
    }
}
