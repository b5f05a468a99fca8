//! The header of a mail that leaves: what it says of itself, in lines that travel, without what others put there on its
//! way and what must not be seen.

use super::Raw;
use super::people::People;
use crate::mail::addresses::{self, Mailbox};
use crate::mail::compose::check::Problem;
use crate::mail::compose::mime;
use crate::mail::compose::names::list;
use crate::mail::compose::parameter::parameter;
use crate::mail::compose::submission::{SUBMISSION_FIELD, message_id};
use crate::mail::compose::words::{folded, unstructured};
use crate::mail::header::{Field, Fields};
use crate::mail::parameters::Parameterised;

/// A longer word cannot stand in any line (RFC 5322 §2.1.1).
const LONGEST_WORD: usize = 900;
const LONGEST_NAME: usize = 200;
/// Exchange takes 256 KiB of header fields, its own among them.
const LONGEST_HEAD: usize = 128 << 10;

/// Fields that are written anew, or that belong to those who carried the mail before.
const LEFT_OUT: [&str; 23] = [
    "authentication-results",
    "bcc",
    "cc",
    "date",
    "delivered-to",
    "dkim-signature",
    "domainkey-signature",
    "envelope-to",
    "from",
    "in-reply-to",
    "lines",
    "message-id",
    "mime-version",
    "received",
    "received-spf",
    "references",
    "reply-to",
    "return-path",
    "sender",
    "status",
    "subject",
    "to",
    "x-unsent",
];
/// The same, by how they begin. What describes the content is written with the content.
const LEFT_OUT_FAMILIES: [&str; 5] = ["arc-", "content-", "resent-", "x-mailspan-", "x-ms-exchange-"];
/// Fields of addresses that stay as they are where they can.
const OF_PEOPLE: [&str; 6] = [
    "disposition-notification-to",
    "errors-to",
    "mail-followup-to",
    "mail-reply-to",
    "return-receipt-to",
    "x-confirm-reading-to",
];

/// The mail's own fields.
pub(super) struct Head {
    /// The fields, without what describes the content.
    pub(super) text: String,
    /// The mail's own Message-ID, where it is usable.
    pub(super) message_id: Option<String>,
    /// The subject as people read it.
    pub(super) subject: String,
    has_long_name: bool,
}

impl Head {
    pub(super) fn of(fields: &Fields, people: &People, from: &Mailbox, handed: &Raw<'_>) -> Self {
        let mut text = String::new();
        let from_alone = [from.clone()];
        let lists = [
            ("From", &from_alone[..]),
            ("To", &people.to),
            ("Cc", &people.cc),
            ("Bcc", &people.bcc),
            ("Reply-To", &people.reply_to),
        ];
        for (name, people) in lists.into_iter().filter(|(_, people)| !people.is_empty()) {
            put(&mut text, name, &list(people));
        }
        let subject = fields.first("subject").map(|it| it.text().replace(char::is_control, " ")).unwrap_or_default();
        match fields.first("subject") {
            Some(field) => write(&mut text, field),
            None => put(&mut text, "Subject", ""),
        }
        match fields.first("date").filter(|it| addresses::date(it.value.trim()).is_some() && it.value.is_ascii()) {
            Some(date) => write(&mut text, date),
            None => put(&mut text, "Date", &mime::date(handed.date)),
        }
        let own_id = own_id(fields).filter(|_| handed.keeps_message_id);
        let id = own_id.clone().unwrap_or_else(|| message_id(handed.id, from));
        put(&mut text, "Message-ID", &format!("<{id}>"));
        for name in ["In-Reply-To", "References"] {
            let ids: Vec<_> = addresses::message_ids(fields, name).into_iter().filter(|it| is_usable_id(it)).collect();
            if !ids.is_empty() {
                let ids: Vec<_> = ids.iter().map(|it| format!("<{it}>")).collect();
                put(&mut text, name, &folded(name.len() + 2, ids.iter().map(String::as_str)));
            }
        }
        put(&mut text, SUBMISSION_FIELD, handed.id);
        let others = || fields.0.iter().filter(|it| !is_left_out(&it.name));
        others().for_each(|field| write(&mut text, field));
        put(&mut text, "MIME-Version", "1.0");
        let has_long_name = others().any(|it| it.name.len() > LONGEST_NAME);
        Self { text, message_id: own_id, subject, has_long_name }
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.text.len() > LONGEST_HEAD || self.has_long_name {
            return Err(Problem::new("headers", "are longer than 128 KiB, or one has a name of more than 200 letters"));
        }
        Ok(())
    }
}

fn is_left_out(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    LEFT_OUT.contains(&name.as_str()) || LEFT_OUT_FAMILIES.iter().any(|it| name.starts_with(it))
}

/// The one Message-ID by which others may know the mail.
pub(super) fn own_id(fields: &Fields) -> Option<String> {
    match addresses::message_ids(fields, "message-id").as_slice() {
        [only] if is_usable_id(only) => Some(only.clone()),
        _ => None,
    }
}

/// Whether an id names one mail in the world: two sides, and nothing that ends a field or an id.
pub(super) fn is_usable_id(id: &str) -> bool {
    let is_plain = id.len() <= LONGEST_WORD && id.bytes().all(|it| it.is_ascii_graphic() && !b"<>".contains(&it));
    is_plain && id.split_once('@').is_some_and(|(left, right)| !left.is_empty() && !right.is_empty())
}

/// The fields that describe the content of the mail itself.
pub(super) fn of_content(fields: &Fields) -> impl Iterator<Item = &Field> {
    fields.0.iter().filter(|it| is_named(it, "content-"))
}

pub(super) fn is_named(field: &Field, beginning: &str) -> bool {
    field.name.get(..beginning.len()).is_some_and(|it| it.eq_ignore_ascii_case(beginning))
}

pub(super) fn put(head: &mut String, name: &str, value: &str) {
    head.push_str(name);
    head.push_str(": ");
    head.push_str(value);
    head.push_str("\r\n");
}

/// Writes a field as it is where that travels, else as it must be written. One whose name fits into no line is left out,
/// and so is a length that mailbox files note: it is not true any more.
pub(super) fn write(head: &mut String, field: &Field) {
    let value: String = field.value.trim().replace(char::is_control, " ");
    let name = field.name.as_str();
    if name.len() > LONGEST_NAME || name.eq_ignore_ascii_case("content-length") {
        return;
    }
    if value.is_ascii() && value.split(' ').all(|word| word.len() <= LONGEST_WORD) {
        return put(head, name, &folded(name.len() + 2, value.split(' ').filter(|word| !word.is_empty())));
    }
    let lower = name.to_ascii_lowercase();
    if matches!(lower.as_str(), "content-type" | "content-disposition") {
        put(head, name, &parameterised(&Parameterised::read(&value), None));
    } else if OF_PEOPLE.contains(&lower.as_str()) {
        put(head, name, &list(&addresses::list(&Fields(vec![field.clone()]), name)));
    } else {
        put(head, name, &unstructured(name, &field.text().replace(char::is_control, " ")));
    }
}

/// A value with its parameters; `own` in place of one it has, or as a further one.
pub(super) fn parameterised(value: &Parameterised, own: Option<(&str, &str)>) -> String {
    let mut written = value.value.clone();
    let mut seen = Vec::new();
    let kept = value.parameters().filter(|(name, _)| own.is_none_or(|it| it.0 != *name));
    for (name, value) in kept.chain(own) {
        let is_name = !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it));
        if is_name && !seen.contains(&name) {
            seen.push(name);
            written.push_str(&parameter(name, &value.replace(char::is_control, " ")));
        }
    }
    written
}
