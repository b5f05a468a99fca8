//! The mail a report is about: its Message-ID, from wherever the report encloses or quotes it.
//!
//! An enclosed mail comes before a quoted one, and both before what the report itself says it answers.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::clues::{Clues, is_mail};
use crate::mail::addresses;
use crate::mail::compose::SUBMISSION_FIELD;
use crate::mail::header::{self, Fields};
use crate::mail::structure::Part;

/// Headers are this long at most, and so is what is searched of a report that quotes them.
const LONGEST_HEAD: usize = 256 * 1024;
/// A report encloses one mail; a few is what odd systems do.
const MOST_ENCLOSED: usize = 8;
/// And so many submissions may be named by all of them.
const MOST_NAMED: usize = 32;

/// A Message-ID field at the beginning of a line, however deep it is quoted or indented.
static QUOTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?im-u)^[ \t>"|*]*(?:internet[- ])?message-id:?\*?[ \t]*(?:\r?\n[ \t]+)?<([^<>\s]{3,900})>"#).ok()
});

/// A field of ours at the beginning of a line of a quoted header.
static OURS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(r#"(?im-u)^[ \t>"|*]*{}:\*?[ \t]*(sub_[0-9a-f]{{32}})[ \t]*\r?$"#, SUBMISSION_FIELD)).ok()
});

/// Message-ID of the mail a report is about, without `<` and `>`.
pub(super) fn message_id(clues: &Clues<'_>) -> Option<String> {
    message_ids(clues).next()
}

/// The Message-IDs the mail a report is about may have, the surest first.
pub(super) fn message_ids<'a>(clues: &'a Clues<'_>) -> impl Iterator<Item = String> + 'a {
    let enclosed = clues.parts().filter(|it| is_enclosed(it)).filter_map(|it| id_of(it, clues.raw));
    let quoted = [|it: &Clues<'_>| quoted(it.text.as_bytes()), |it: &Clues<'_>| quoted(body(it))];
    let quoted = quoted.into_iter().filter_map(|find| find(clues));
    let mail = clues.mail;
    enclosed.chain(quoted).chain(mail.in_reply_to.first().or(mail.references.last()).cloned())
}

/// The submissions that the header of the mail a report is about names, enclosed or quoted.
pub(super) fn submissions(clues: &Clues<'_>) -> Vec<String> {
    let enclosed = clues.parts().filter(|it| is_enclosed(it)).take(MOST_ENCLOSED);
    let enclosed = enclosed.flat_map(|it| {
        let fields = fields(it, clues.raw);
        fields.all(SUBMISSION_FIELD).map(|it| it.value.trim().to_owned()).collect::<Vec<_>>()
    });
    let in_text = |text: &[u8]| -> Option<String> {
        let found = OURS.as_ref()?.captures(text)?;
        Some(String::from_utf8_lossy(&found[1]).into_owned())
    };
    let mut found: Vec<String> = Vec::new();
    // A report may hold as many such fields as its sender likes; one that names more mails than this is about none of ours.
    let named = enclosed.chain(in_text(clues.text.as_bytes())).chain(in_text(body(clues)));
    for id in named.filter(|it| is_submission(it)).take(MOST_NAMED) {
        if !found.contains(&id) {
            found.push(id);
        }
    }
    found
}

/// Whether this is an id as submissions have it.
fn is_submission(id: &str) -> bool {
    id.strip_prefix("sub_").is_some_and(|it| it.len() == 32 && it.bytes().all(|it| it.is_ascii_hexdigit()))
}

/// Whether a part is the mail a report is about, or its header.
pub(super) fn is_enclosed(part: &Part) -> bool {
    let headers = ["text/rfc822-headers", "message/rfc822-headers", "message/global-headers", "text/rfc822"];
    is_mail(part) || headers.contains(&part.kind())
}

fn id_of(part: &Part, raw: &[u8]) -> Option<String> {
    addresses::message_ids(&fields(part, raw), "message-id").into_iter().next()
}

/// The header of an enclosed mail.
pub(super) fn fields(part: &Part, raw: &[u8]) -> Fields {
    let written = part.written(raw);
    let bytes = part.encoding.decode(&written[..written.len().min(LONGEST_HEAD)]);
    // Some put a blank line before the header.
    header::section(bytes.trim_ascii_start()).0
}

/// Everything behind the report's own header, as it is written: the header of a mail may stand in any kind of part.
fn body<'a>(clues: &Clues<'a>) -> &'a [u8] {
    let start = clues.mail.parts.first().map_or(0, |it| it.body.start);
    let body = clues.raw.get(start..).unwrap_or_default();
    &body[..body.len().min(LONGEST_HEAD)]
}

fn quoted(text: &[u8]) -> Option<String> {
    let found = QUOTED.as_ref()?.captures(text)?;
    Some(String::from_utf8_lossy(&found[1]).into_owned())
}
