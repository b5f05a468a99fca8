//! What is put before a mail: where it comes from, what a receiver asked for, and never whom it was Bcc'd to.
//!
//! The mail's own fields stay as they are, but for `message_id = "suffix"`, which is asked for in so many words.

use jiff::fmt::rfc2822;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Handover, field};
use super::header;
use super::verdict::Trouble;
use super::wire::Parcel;
use crate::model::address::Address;
use crate::model::clock::UnixMillis;

const END: &str = "\r\n";

/// What becomes of a mail's Message-ID.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageId {
    /// It stays as it is; a mail without one gets one.
    #[default]
    Keep,
    /// The interaction's id is put into it, so that copies of a mail that come by several routes are told apart.
    /// A signature that covers the field is broken by it.
    Suffix,
}

/// A field that is added on request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Added(String);

/// The fields that can be added, and the facts they carry; of several the first that there is.
const ADDED: [(&str, &[&str]); 14] = [
    ("X-Genesys-To", &["mailspan-matched-recipient", "mailspan-mailbox"]),
    ("X-Original-To", &["mailspan-matched-recipient", "mailspan-mailbox"]),
    ("X-Forwarded-For", &["mailspan-mailbox"]),
    ("X-Forwarded-To", &[RECIPIENT]),
    ("Delivered-To", &["mailspan-mailbox"]),
    ("X-Mailspan-Tenant", &["mailspan-tenant"]),
    ("X-Mailspan-Mailbox", &["mailspan-mailbox"]),
    ("X-Mailspan-Message-Key", &["mailspan-message-key"]),
    ("X-Mailspan-Matched-By", &["mailspan-matched-by"]),
    ("X-Mailspan-Matched-Recipient", &["mailspan-matched-recipient"]),
    ("X-Mailspan-Received-At", &["mailspan-received-at"]),
    ("X-Mailspan-Raw-Sha256", &["mailspan-raw-sha256"]),
    ("X-Mailspan-Kind", &["mailspan-kind"]),
    ("X-Mailspan-Thread-Id", &["mailspan-thread-id"]),
];

/// Stands for the address the mail is sent to.
const RECIPIENT: &str = "";

impl TryFrom<String> for Added {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let known = ADDED.iter().find(|(it, _)| it.eq_ignore_ascii_case(name.trim()));
        known
            .map(|(name, _)| Self((*name).to_owned()))
            .ok_or("a field that can be added, such as X-Genesys-To (the manual lists them)")
    }
}

impl From<Added> for String {
    fn from(added: Added) -> Self {
        added.0
    }
}

/// How mails are made ready.
pub(super) struct Wrapping {
    pub(super) recipient: Address,
    pub(super) added: Vec<Added>,
    pub(super) message_id: MessageId,
}

impl Wrapping {
    /// The mail as it is sent. `domain` is ours, and the same on every attempt.
    pub(super) fn wrap(&self, handover: &Handover, domain: &str, now: UnixMillis) -> Result<Parcel, Trouble> {
        let id = handover.interaction.as_str();
        if id.is_empty() || !id.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-')) {
            return Err(Trouble::Unwritable);
        }
        let mut before =
            format!("X-Mailspan-Interaction-Id: {id}{END}X-Mailspan-Route: {}{END}", field::text(&handover.route, END));
        if handover.attempt > 1 {
            before += &format!("X-Mailspan-Repeated: {}{END}", handover.attempt);
        }
        for Added(name) in &self.added {
            if let Some(value) = self.added_value(name, handover) {
                before += &format!("{name}: {}{END}", field::text(&value, END));
            }
        }
        let own_id = header::find(&handover.raw, "Message-ID");
        if own_id.is_none() {
            before += &format!("Message-ID: <{id}@{domain}>{END}");
        }
        let suffixed = own_id.filter(|_| self.message_id == MessageId::Suffix);
        if let Some(place) = &suffixed {
            let original = String::from_utf8_lossy(&handover.raw[place.clone()]);
            let original: String = original.split_ascii_whitespace().collect();
            before += &format!("X-Mailspan-Message-Id: {}{END}", field::text(&original, END));
        }
        // Last: a mail that begins with white space continues this field and none that anybody decides by.
        let date = jiff::Timestamp::from_millisecond(now)
            .ok()
            .and_then(|it| rfc2822::to_string(&it.to_zoned(jiff::tz::TimeZone::UTC)).ok());
        before += &format!("Received: by {domain} (Mailspan){END}\tid {id}; {}{END}", date.unwrap_or_default());

        let mut before = before.into_bytes();
        let mut rest = handover.raw.clone();
        if let Some(place) = suffixed {
            before.extend_from_slice(&rest[..place.start]);
            before.extend(with_suffix(&rest[place.clone()], id));
            rest = rest.slice(place.end..);
        }
        Ok(Parcel { before, rest })
    }

    fn added_value(&self, name: &str, handover: &Handover) -> Option<String> {
        let (_, facts) = ADDED.iter().find(|(it, _)| *it == name)?;
        facts.iter().find_map(|fact| match *fact {
            RECIPIENT => Some(self.recipient.as_str().to_owned()),
            fact => self::fact(handover, fact),
        })
    }
}

/// A fact that came with the interaction, decoded.
pub(super) fn fact(handover: &Handover, name: &str) -> Option<String> {
    let (_, value) = handover.headers.iter().find(|(it, _)| *it == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// A Message-ID with the interaction's id before its `@`.
fn with_suffix(value: &[u8], interaction: &str) -> Vec<u8> {
    let end = memchr::memchr(b'>', value).unwrap_or(value.trim_ascii_end().len());
    let at = memchr::memrchr(b'@', &value[..end]).unwrap_or(end);
    [&value[..at], b".", interaction.as_bytes(), &value[at..]].concat()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::destinations::About;

    fn handover(raw: &str) -> Handover {
        let headers = vec![
            ("mailspan-mailbox", "support@contoso.example".to_owned()),
            ("mailspan-matched-recipient", "b%C3%BCro@contoso.example".to_owned()),
        ];
        Handover {
            interaction: "ix_1".into(),
            attempt: 1,
            route: "Bücher".into(),
            body: Bytes::new(),
            content_type: "message/rfc822",
            headers,
            raw: Bytes::copy_from_slice(raw.as_bytes()),
            about: About::default(),
        }
    }

    fn wrapping(added: &[&str], message_id: MessageId) -> Wrapping {
        let added = added.iter().map(|it| Added::try_from((*it).to_owned()).unwrap()).collect();
        Wrapping { recipient: Address::parse("support@acme.example").unwrap(), added, message_id }
    }

    fn wrapped(wrapping: &Wrapping, handover: &Handover) -> String {
        let parcel = wrapping.wrap(handover, "bridge.example", 0).ok().unwrap();
        String::from_utf8([&parcel.before[..], &parcel.rest].concat()).unwrap()
    }

    #[test]
    fn fields_are_put_before_the_mail_and_nothing_else_changes() {
        let raw = "Message-ID: <a@b>\nSubject: c\n\nd";
        let mail = wrapped(&wrapping(&["x-genesys-to", "X-Forwarded-To"], MessageId::Keep), &handover(raw));
        let expected = "X-Mailspan-Interaction-Id: ix_1\r\nX-Mailspan-Route: =?utf-8?B?QsO8Y2hlcg==?=\r\n\
                        X-Genesys-To: =?utf-8?B?YsO8cm9AY29udG9zby5leGFtcGxl?=\r\nX-Forwarded-To: support@acme.example\r\n\
                        Received: by bridge.example (Mailspan)\r\n\tid ix_1; Thu, 1 Jan 1970 00:00:00 +0000\r\n";
        assert_eq!(mail, format!("{expected}{raw}"));
    }

    #[test]
    fn a_repetition_is_flagged_and_a_missing_message_id_is_made_from_the_interaction() {
        let mail =
            wrapped(&wrapping(&[], MessageId::Suffix), &Handover { attempt: 3, ..handover("Subject: c\r\n\r\nd") });
        assert!(
            mail.contains("\r\nX-Mailspan-Repeated: 3\r\n")
                && mail.contains("\r\nMessage-ID: <ix_1@bridge.example>\r\n"),
            "{mail}"
        );
    }

    #[test]
    fn a_suffix_goes_into_the_field_where_it_stands() {
        for (raw, expected) in [
            ("A: b\r\nMessage-Id: <x.y@z.de>\r\nC: d\r\n\r\n", "A: b\r\nMessage-Id: <x.y.ix_1@z.de>\r\nC: d\r\n\r\n"),
            ("message-id:\r\n <x@z.de>\r\n\r\n", "message-id:\r\n <x.ix_1@z.de>\r\n\r\n"),
            ("Message-ID: <x>\n\n", "Message-ID: <x.ix_1>\n\n"),
            ("Message-ID: x@y \n\n", "Message-ID: x.ix_1@y \n\n"),
            ("Message-ID:\n\n", "Message-ID:.ix_1\n\n"),
        ] {
            let mail = wrapped(&wrapping(&[], MessageId::Suffix), &handover(raw));
            assert!(mail.ends_with(expected), "{mail}");
            assert!(mail.contains("X-Mailspan-Message-Id: "), "{mail}");
        }
    }

    #[test]
    fn an_id_or_a_name_that_would_break_a_field_is_refused() {
        for id in ["", "ix_1\r\nBcc: a@b.de", "ix 1", "ü"] {
            let handover = Handover { interaction: id.into(), ..handover("A: b\r\n\r\n") };
            assert!(
                matches!(wrapping(&[], MessageId::Keep).wrap(&handover, "b.de", 0), Err(Trouble::Unwritable)),
                "{id}"
            );
        }
        for name in ["Bcc", "X-Mailspan-Bcc", "Subject", "", "X-Genesys-To: a"] {
            assert!(Added::try_from(name.to_owned()).is_err(), "{name}");
        }
    }
}
