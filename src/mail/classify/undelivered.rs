//! What a bounce says: which recipient, with which status, and which mail; out of its fields, or out of its sentences.
//!
//! Fields come before sentences. What neither says stays empty.

use std::sync::LazyLock;

use regex::Regex;

use super::clues::Clues;
use super::{original, status, wording};
use crate::mail::charset;
use crate::mail::facts::Dsn;
use crate::mail::structure::Part;
use crate::model::bounce::{Bounce, BounceAction};

/// The types of a delivery report's fields (RFC 3464 §2.1, RFC 6533 §3).
const STATUS: &[&str] = &["message/delivery-status", "message/global-delivery-status"];
/// A report on more recipients than this holds is cut.
const LONGEST_REPORT: usize = 128 * 1024;
/// Exchange takes a mail to a thousand recipients at most.
const MOST_RECIPIENTS: usize = 1000;
/// In characters; what mail systems say is a line or two.
const LONGEST_DIAGNOSTIC: usize = 500;
/// An address has no more letters than this (RFC 5321 §4.5.3.1).
const LONGEST_ADDRESS: usize = 320;

/// The part with the fields of a delivery report.
pub(super) fn status_part<'a>(clues: &Clues<'a>) -> Option<&'a Part> {
    clues.part(STATUS)
}

/// What a bounce says.
pub(super) fn read(clues: &Clues<'_>) -> Dsn {
    let (said, _) = wording::before_quoted(clues.text);
    let fields = status::read(&report(clues));
    // Some write the fields into the text.
    let fields = fields.or_else(|| status::read(said)).unwrap_or_default();
    let worst = fields.worst;
    let is_about_failure = !matches!(worst.action.as_deref(), Some("delivered" | "relayed" | "expanded"));
    let status = worst.status.or_else(|| is_about_failure.then(|| status::code_in(said)).flatten());
    Dsn {
        action: Some(worst.action.unwrap_or_else(|| action(clues.subject, said).to_owned())),
        status,
        final_recipient: worst.address.or_else(|| recipient(clues, said)),
        original_message_id: fields.message_id.or_else(|| original::message_id(clues)),
    }
}

/// The Message-ID that the fields of a report name beside the recipients.
pub(super) fn original_id(clues: &Clues<'_>) -> Option<String> {
    status::read(&report(clues))?.message_id
}

/// What a bounce says of each recipient: out of its fields, else what it says as a whole.
pub(super) fn bounces(clues: &Clues<'_>) -> Vec<Bounce> {
    let (said, _) = wording::before_quoted(clues.text);
    let fields = status::read(&report(clues)).or_else(|| status::read(said)).unwrap_or_default();
    let is_named = |it: &&status::Recipient| it.address.is_some();
    let named: Vec<_> = fields.recipients.iter().filter(is_named).take(MOST_RECIPIENTS).collect();
    if named.is_empty() {
        let Dsn { action, status, final_recipient: recipient, .. } = read(clues);
        let diagnostic = fields.worst.diagnostic.as_deref().map(one_line);
        return vec![Bounce { recipient, action: action_of(action.as_deref()), status, diagnostic }];
    }
    let bounce = |it: &status::Recipient| Bounce {
        recipient: it.address.as_deref().map(|it| it.chars().take(LONGEST_ADDRESS).collect()),
        action: action_of(it.action.as_deref()),
        status: it.status.clone(),
        diagnostic: it.diagnostic.as_deref().map(one_line),
    };
    named.into_iter().map(bounce).collect()
}

/// Whoever says nothing of it reports a failure: that is what reports are for.
fn action_of(word: Option<&str>) -> BounceAction {
    word.and_then(BounceAction::parse).unwrap_or(BounceAction::Failed)
}

fn one_line(text: &str) -> String {
    let words = text.split(|it: char| it.is_whitespace() || it.is_control()).filter(|it| !it.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(LONGEST_DIAGNOSTIC).collect()
}

/// The fields of all parts that hold some, with a blank line between: one part a recipient is seen as well.
fn report(clues: &Clues<'_>) -> String {
    let mut report = String::new();
    for part in clues.parts().filter(|it| STATUS.contains(&it.kind())) {
        let written = part.written(clues.raw);
        let room = LONGEST_REPORT.saturating_sub(report.len()).min(written.len());
        let bytes = part.encoding.decode(&written[..room]);
        report.push_str(&charset::decode(part.content_type.parameter("charset"), &bytes));
        report.push_str("\n\n");
    }
    report
}

fn action(subject: &str, said: &str) -> &'static str {
    match () {
        () if subject.contains("(Success)") => "delivered",
        () if subject.contains("(Relay)") => "relayed",
        () if wording::is_only_delayed(subject, said) => "delayed",
        () => "failed",
    }
}

const ADDRESS: &str = r#"[^\s<>()\[\]"',;:\\@]+@[\w-]+(?:\.[\w-]+)*"#;

/// Where bounces name whom they are about: at the beginning of a line, or behind the command that failed.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(r#"(?im)(?:rcpt to:[ \t]*<?|^[ \t*"'>-]*<?(?:(?:rfc822|smtp);[ \t]*)?)({ADDRESS})>?["']?"#))
        .ok()
});
static ANYWHERE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(ADDRESS).ok());

/// Whom a bounce is about by its header or its sentences. Whoever gets the bounce wrote the mail, and is only meant
/// where no other address is named.
fn recipient(clues: &Clues<'_>, said: &str) -> Option<String> {
    let failed = clues.mail.fields.value("x-failed-recipients").unwrap_or_default();
    let found = |pattern: &LazyLock<Option<Regex>>, text: &str| -> Vec<String> {
        let Some(pattern) = pattern.as_ref() else { return Vec::new() };
        pattern
            .captures_iter(text)
            .filter_map(|it| it.iter().last().flatten())
            .map(|it| it.as_str().to_owned())
            .collect()
    };
    if let Some(first) = found(&ANYWHERE, failed).into_iter().next() {
        return Some(first);
    }
    let named = found(&NAMED, said);
    let is_other = |it: &&String| {
        let mail = clues.mail;
        !mail.to.iter().chain(&mail.from).any(|of_bounce| of_bounce.email.eq_ignore_ascii_case(it))
    };
    let other = named.iter().find(is_other).cloned();
    let other = other.or_else(|| found(&ANYWHERE, said).iter().find(is_other).cloned());
    other.or_else(|| named.into_iter().next())
}
