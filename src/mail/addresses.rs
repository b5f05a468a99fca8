//! Addresses, message ids and dates, as headers write them.

use mail_parser::{Addr, Address, HeaderValue};
use serde::{Deserialize, Serialize};

use super::header::{Fields, as_line};

/// Dates before this year are mistakes; there is mail from before 1970.
const EARLIEST: u16 = 1900;

/// A person or mailbox as the mail names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// The display name; `None` when there is none.
    pub name: Option<String>,
    /// The address as it is written; empty when the mail names a person without one.
    pub email: String,
}

/// The addresses of all fields of this name, groups resolved.
pub fn list(fields: &Fields, name: &str) -> Vec<Mailbox> {
    fields.all(name).flat_map(|field| read(&field.value)).collect()
}

fn read(value: &str) -> Vec<Mailbox> {
    let Some(HeaderValue::Address(parsed)) = as_line(value, |stream| stream.parse_address()) else { return Vec::new() };
    let addresses = match parsed {
        Address::List(list) => list,
        Address::Group(groups) => groups.into_iter().flat_map(|group| group.addresses).collect(),
    };
    addresses.into_iter().filter_map(mailbox).collect()
}

fn mailbox(address: Addr<'_>) -> Option<Mailbox> {
    let name = address.name.map(|it| fold(&it)).filter(|it| !it.is_empty());
    let email = address.address.map(|it| it.split_whitespace().collect::<String>()).unwrap_or_default();
    match (name, email.is_empty()) {
        (None, true) => None,
        // An address and nothing else, written between quotation marks.
        (Some(name), true) if name.contains('@') && !name.contains(' ') => Some(Mailbox { name: None, email: name }),
        (name, _) => Some(Mailbox { name, email }),
    }
}

/// White space folded to single blanks.
pub(super) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|it| !it.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Message ids, without `<` and `>`, from all fields of this name. Words between them, as old mailers write them into
/// In-Reply-To, are skipped; where nothing stands between `<` and `>`, the words are the ids.
pub fn message_ids(fields: &Fields, name: &str) -> Vec<String> {
    fields.all(name).flat_map(|field| ids(&field.value)).collect()
}

/// One id as Content-ID writes it.
pub fn content_id(value: &str) -> Option<String> {
    ids(value).into_iter().next()
}

fn ids(value: &str) -> Vec<String> {
    let found: Vec<String> = match as_line(value, |stream| stream.parse_id()) {
        Some(HeaderValue::Text(id)) if value.contains('>') => vec![id.into_owned()],
        // The library takes everything outside of `<` and `>` for one id.
        Some(HeaderValue::Text(words)) => words.split([' ', '\t', ',']).map(str::to_owned).collect(),
        Some(HeaderValue::TextList(list)) => list.into_iter().map(|it| it.into_owned()).collect(),
        _ => Vec::new(),
    };
    let ids = found.into_iter().map(|id| id.split_whitespace().collect::<String>());
    ids.filter(|id| !id.is_empty()).collect()
}

/// The date as RFC 3339 with the sender's offset, or as UTC where none is given (RFC 5322 §4.3).
/// `None` when it is no date.
pub fn date(value: &str) -> Option<String> {
    dated(value).or_else(|| dated(&format!("{value} +0000")))
}

fn dated(value: &str) -> Option<String> {
    let Some(HeaderValue::DateTime(read)) = as_line(value, |stream| stream.parse_date()) else { return None };
    let text = read.to_rfc3339();
    // A thirtieth of February is no date, whatever the header says.
    text.parse::<jiff::Timestamp>().ok().filter(|_| read.is_valid() && read.year >= EARLIEST).map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(value: &str) -> Vec<(Option<String>, String)> {
        read(value).into_iter().map(|it| (it.name, it.email)).collect()
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (written, name, email) in [
            ("a@x.de", None, "a@x.de"),
            ("<a@x.de>", None, "a@x.de"),
            ("Eva Müller <a@x.de>", Some("Eva Müller"), "a@x.de"),
            ("\"Müller, Eva\" <a@x.de>", Some("Müller, Eva"), "a@x.de"),
            ("=?utf-8?Q?M=C3=BCller=2C_Eva?= <a@x.de>", Some("Müller, Eva"), "a@x.de"),
            ("=?utf-8?Q?M=C3?= =?utf-8?Q?=BCller?= <a@x.de>", Some("Müller"), "a@x.de"),
            ("Dr. =?utf-8?Q?M=C3=BCller?= <a@x.de>", Some("Dr. Müller"), "a@x.de"),
            // The library puts no blank before a quoted string in the middle of a name.
            ("Dr. \"Eva M.\" Müller <a@x.de>", Some("Dr.Eva M. Müller"), "a@x.de"),
            ("a@x.de (Eva)", Some("Eva"), "a@x.de"),
            ("\"say \\\"hi\\\"\" <a@x.de>", Some("say \"hi\""), "a@x.de"),
            ("grüße@exämple.de", None, "grüße@exämple.de"),
            ("Team: a@x.de;", None, "a@x.de"),
            ("\"a@x.de\"", None, "a@x.de"),
            ("Nobody", Some("Nobody"), ""),
        ] {
            assert_eq!(addresses(written), [(name.map(Into::into), email.into())], "{written}");
        }
        assert!(addresses("undisclosed-recipients:;").is_empty());
        assert_eq!(addresses("a@x.de, b@x.de, Team: c@x.de, d@x.de;").len(), 4);
        assert_eq!(addresses("=?utf-8?Q?a=2Cb?= <a@x.de>, c <d@x.de>").len(), 2);
    }

    #[test]
    fn ids_are_read_with_and_without_brackets() {
        for (written, expected) in [
            ("<a@b>", vec!["a@b"]),
            ("<a@b> <c@d>", vec!["a@b", "c@d"]),
            ("<a@b><c@d>", vec!["a@b", "c@d"]),
            ("Your message of Monday <a@b>", vec!["a@b"]),
            ("a@b", vec!["a@b"]),
            ("<a@ b>", vec!["a@b"]),
            ("a@b, c@d", vec!["a@b", "c@d"]),
            // The library wants an id closed.
            ("<a@b> <c@d", vec!["a@b"]),
            ("<>", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(ids(written), expected, "{written}");
        }
    }

    #[test]
    fn dates_keep_the_offset_of_the_sender() {
        for (written, expected) in [
            ("Sat, 21 Nov 2026 18:42:33 +0100", Some("2026-11-21T18:42:33+01:00")),
            ("21 Nov 2026 18:42:33 -0800 (PST)", Some("2026-11-21T18:42:33-08:00")),
            ("Sat, 21 Nov 2026 18:42:33 GMT", Some("2026-11-21T18:42:33Z")),
            ("Thu, 13 Feb 1969 23:32:54 -0330", Some("1969-02-13T23:32:54-03:30")),
            ("Wed, 3 May 2007 23:34:45", Some("2007-05-03T23:34:45Z")),
            ("Mon, 30 Feb 2026 18:42:33 +0100", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(date(written).as_deref(), expected, "{written}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_value_can_be_read(text in "[-a-z@<>()\",;:\\\\ ü=?0-9+]{0,60}") {
            let _ = addresses(&text);
            let _ = ids(&text);
            let _ = date(&text);
        }
    }
}
