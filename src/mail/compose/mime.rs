//! A submission as MIME: text and HTML as alternatives, images beside the HTML that shows them, files after all.
//!
//! Boundaries hold `=_`, which no encoding writes, so that no part can hold its own end.

use bytes::Bytes;

use super::encode;
use super::names::list;
use super::parameter::parameter;
use super::submission::{Automatic, File, SUBMISSION_FIELD, Submission, Way, message_id};
use super::words::{folded, unstructured};
use crate::mail::attachment::Disposition;
use crate::model::clock::UnixMillis;
use crate::model::ids::sha256_hex;

/// MIME travels as base64 in a request of 4 MB at most; so much of it fits, whichever megabyte is meant.
pub(super) const LARGEST: u64 = 2_950_000;
/// From this size on a file may be taken by an upload session, and below it is by none.
const SESSION_FROM: u64 = 3_000_000;
/// What a part's header takes at most.
const PART_HEADER: u64 = 2_048;

/// How each attachment reaches Exchange: with the mail as long as there is room, those that the HTML shows first.
pub fn ways(submission: &Submission) -> Vec<Way> {
    let mut room = LARGEST.saturating_sub(bare_len(submission));
    let mut ways: Vec<_> = submission.attachments.iter().map(alone).collect();
    let shown_first =
        |shown: bool| submission.attachments.iter().enumerate().filter(move |(_, it)| it.is_shown() == shown);
    for (at, file) in shown_first(true).chain(shown_first(false)) {
        let needed = encode::base64_len(file.size) + PART_HEADER;
        if needed <= room && is_leaf(&file.kind) {
            room -= needed;
            ways[at] = Way::WithMail;
        }
    }
    ways
}

/// How a file travels that does not fit into the mail.
fn alone(file: &File) -> Way {
    if file.size < SESSION_FROM { Way::OneRequest } else { Way::Session }
}

/// Mails and composed parts may not be written as base64 (RFC 2045 §6.4).
fn is_leaf(kind: &str) -> bool {
    let kind = kind.trim_start().to_ascii_lowercase();
    !kind.starts_with("message/") && !kind.starts_with("multipart/")
}

/// How long the mail is without what is attached.
pub(super) fn bare_len(submission: &Submission) -> u64 {
    let bodies = [&submission.text, &submission.html].into_iter().flatten();
    let bodies: u64 = bodies.map(|text| encode::text(text).1.len() as u64 + PART_HEADER).sum();
    head(submission).len() as u64 + bodies
}

/// The mail, with Bcc in its header, where Graph wants it, and with those attachments that travel with the mail.
pub fn mime(submission: &Submission) -> Bytes {
    let with_mail = |(file, way): (&'_ File, Way)| (way == Way::WithMail).then_some(file).cloned();
    let files: Vec<File> = submission.attachments.iter().zip(ways(submission)).filter_map(with_mail).collect();
    let boundary = Boundary { id: &submission.id };
    let has_html = submission.html.is_some();
    let (shown, others): (Vec<_>, Vec<_>) = files.iter().partition(|it| has_html && it.is_shown());
    let html = submission.html.as_ref().map(|html| {
        let html = Part::text("html", html);
        let images: Vec<_> = shown.into_iter().map(Part::file).collect();
        if images.is_empty() { html } else { Part::multi("related", &boundary, [vec![html], images].concat()) }
    });
    let text = submission.text.as_ref().map(|text| Part::text("plain", text));
    let body = match (text, html) {
        (Some(text), Some(html)) => Part::multi("alternative", &boundary, vec![text, html]),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => Part::text("plain", ""),
    };
    let files: Vec<_> = others.into_iter().map(Part::file).collect();
    let root = if files.is_empty() { body } else { Part::multi("mixed", &boundary, [vec![body], files].concat()) };
    let mut mail = head(submission).into_bytes();
    mail.reserve(root.head.len() + root.body.len() + 2);
    mail.extend_from_slice(root.head.as_bytes());
    mail.extend_from_slice(b"\r\n");
    mail.extend_from_slice(&root.body);
    mail.into()
}

/// The header without what describes the content.
fn head(submission: &Submission) -> String {
    let mut head = String::new();
    let mut put = |name: &str, value: &str| {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    };
    put("From", &list(std::slice::from_ref(&submission.from)));
    let lists =
        [("To", &submission.to), ("Cc", &submission.cc), ("Bcc", &submission.bcc), ("Reply-To", &submission.reply_to)];
    for (name, people) in lists.into_iter().filter(|(_, people)| !people.is_empty()) {
        put(name, &list(people));
    }
    put("Subject", &unstructured("Subject", &submission.subject));
    put("Date", &date(submission.date));
    put("Message-ID", &format!("<{}>", message_id(&submission.id, &submission.from)));
    for (name, ids) in [("In-Reply-To", &submission.in_reply_to), ("References", &submission.references)] {
        if !ids.is_empty() {
            let ids: Vec<_> = ids.iter().map(|id| format!("<{id}>")).collect();
            put(name, &folded(name.len() + 2, ids.iter().map(String::as_str)));
        }
    }
    for (name, value) in automatic(submission.automatic) {
        put(name, value);
    }
    put(SUBMISSION_FIELD, &submission.id);
    for (name, value) in &submission.headers {
        put(name, &unstructured(name, value));
    }
    put("MIME-Version", "1.0");
    head
}

/// The fields that keep programs from answering a program (RFC 3834 §5; [MS-OXCMAIL], X-Auto-Response-Suppress).
fn automatic(automatic: Automatic) -> impl Iterator<Item = (&'static str, &'static str)> {
    let word = match automatic {
        Automatic::No => None,
        Automatic::Generated => Some("auto-generated"),
        Automatic::Replied => Some("auto-replied"),
    };
    word.into_iter().flat_map(|word| [("Auto-Submitted", word), ("X-Auto-Response-Suppress", "All")])
}

pub(super) fn date(at: UnixMillis) -> String {
    let at = jiff::Timestamp::from_millisecond(at).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// Ends of parts, made of the submission's id: the same whenever it is written.
struct Boundary<'a> {
    id: &'a str,
}

impl Boundary<'_> {
    fn of(&self, kind: &str) -> String {
        let hash = sha256_hex(format!("{kind} {}", self.id).as_bytes());
        format!("=_{kind}_{}", &hash[..24])
    }
}

/// A part: its fields, and what follows the blank line after them.
#[derive(Clone)]
struct Part {
    head: String,
    body: Vec<u8>,
}

impl Part {
    fn text(kind: &str, text: &str) -> Self {
        let (encoding, body) = encode::text(text);
        let head = format!("Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n");
        Self { head, body }
    }

    fn file(file: &File) -> Self {
        let disposition = match file.disposition {
            Disposition::Attachment => "attachment",
            Disposition::Inline => "inline",
        };
        let mut head = format!(
            "Content-Type: {}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: {disposition}{}\r\n",
            file.kind.trim(),
            parameter("filename", &file.name)
        );
        if let Some(cid) = &file.cid {
            head.push_str(&format!("Content-ID: <{cid}>\r\n"));
        }
        Self { head, body: encode::base64(&file.content) }
    }

    fn multi(kind: &str, boundary: &Boundary<'_>, parts: Vec<Self>) -> Self {
        let boundary = boundary.of(kind);
        let mut body = Vec::with_capacity(parts.iter().map(|it| it.head.len() + it.body.len() + 100).sum());
        for part in parts {
            body.extend_from_slice(format!("--{boundary}\r\n{}\r\n", part.head).as_bytes());
            body.extend_from_slice(&part.body);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let head = format!("Content-Type: multipart/{kind};\r\n boundary=\"{boundary}\"\r\n");
        Self { head, body }
    }
}
