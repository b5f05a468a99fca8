//! What Graph cannot carry, found before a submission is accepted: every problem at once, each with its place.
//!
//! Nothing here looks at an address book: whether a recipient exists, Exchange says later, in a bounce.

use std::collections::HashSet;
use std::fmt;

use super::encode::base64_len;
use super::mime::{LARGEST, bare_len};
use super::names::ascii;
use super::submission::Submission;
use crate::mail::addresses::Mailbox;
use crate::model::address::Address;

/// Exchange Online's limits on a message (learn.microsoft.com/office365/servicedescriptions/…/exchange-online-limits).
const LONGEST_SUBJECT: usize = 255;
const MOST_FILES: usize = 250;
const LONGEST_NAME: usize = 255;
/// No file is larger (learn.microsoft.com/graph/outlook-large-attachments).
const LARGEST_FILE: u64 = 150 << 20;
/// RFC 5321 §4.5.3.1.
const LONGEST_LOCAL_PART: usize = 64;
const LONGEST_DOMAIN: usize = 255;
/// All further header fields together: what Exchange adds on the way must fit as well.
const MOST_FIELD_BYTES: usize = 32 * 1024;
/// Fields that are made from the rest of the submission, or written by those who carry the mail.
const TAKEN: [&str; 19] = [
    "bcc",
    "cc",
    "date",
    "delivered-to",
    "dkim-signature",
    "from",
    "in-reply-to",
    "message-id",
    "mime-version",
    "received",
    "references",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "thread-index",
    "thread-topic",
    "to",
    "x-mailspan-submission-id",
];
/// The same, by how they begin.
const TAKEN_FAMILIES: [&str; 5] = ["arc-", "content-", "resent-", "x-mailspan-", "x-ms-exchange-"];

/// What a mailbox may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Recipients of one mail.
    pub recipients: usize,
    /// Bytes of the mail on its way, everything encoded.
    pub size: u64,
}

impl Default for Limits {
    /// Exchange Online's own, until an administrator changes them.
    fn default() -> Self {
        Self { recipients: 500, size: 35 << 20 }
    }
}

/// Something that stands in the way, and where. It names no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The member it is about, such as `to[1].email`.
    pub field: String,
    /// What is wrong with it and what to do; goes on from the field's name.
    pub sentence: String,
}

impl Problem {
    pub(super) fn new(field: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { field: field.into(), sentence: sentence.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.sentence)
    }
}

/// Everything that keeps this submission from being sent.
///
/// # Errors
/// All problems, in the order of the members.
pub fn check(submission: &Submission, limits: &Limits) -> Result<(), Vec<Problem>> {
    let mut found = Found(Vec::new());
    found.person("from", &submission.from);
    found.people(submission, limits);
    found.text(submission);
    found.files(submission);
    found.headers(&submission.headers);
    for (name, ids) in [("in_reply_to", &submission.in_reply_to), ("references", &submission.references)] {
        for (at, _) in ids.iter().enumerate().filter(|(_, id)| !is_message_id(id)) {
            found.put(format!("{name}[{at}]"), "is not a Message-ID, which is written without < and > here");
        }
    }
    found.size(submission, limits);
    if found.0.is_empty() { Ok(()) } else { Err(found.0) }
}

struct Found(Vec<Problem>);

impl Found {
    fn put(&mut self, field: impl Into<String>, sentence: impl Into<String>) {
        self.0.push(Problem::new(field, sentence));
    }

    fn people(&mut self, submission: &Submission, limits: &Limits) {
        let lists = [
            ("to", &submission.to),
            ("cc", &submission.cc),
            ("bcc", &submission.bcc),
            ("reply_to", &submission.reply_to),
        ];
        for (name, list) in lists {
            list.iter().enumerate().for_each(|(at, person)| self.person(&format!("{name}[{at}]"), person));
        }
        let recipients = submission.to.len() + submission.cc.len() + submission.bcc.len();
        if recipients == 0 {
            self.put("to", "is empty, and so are cc and bcc: name at least one recipient");
        }
        if recipients > limits.recipients {
            let sentence = format!(
                "has, with cc and bcc, {recipients} recipients, and one mail may have {}: send several mails",
                limits.recipients
            );
            self.put("to", sentence);
        }
    }

    fn person(&mut self, field: &str, person: &Mailbox) {
        let email = format!("{field}.email");
        let written = ascii(&person.email);
        let (local, domain) = written.rsplit_once('@').unwrap_or_default();
        if Address::parse(&person.email).is_err() || person.email.trim() != person.email {
            self.put(email, "is not an address such as ann@example.org");
        } else if !written.is_ascii() {
            self.put(email, "has letters outside ASCII before the @ or a domain that is none: Graph cannot carry it");
        } else if local.len() > LONGEST_LOCAL_PART || domain.len() > LONGEST_DOMAIN {
            self.put(email, "is longer than an address may be (64 letters before the @, 255 after it)");
        } else if !is_dot_atom(local) || !is_domain(domain) {
            self.put(email, "is not an address that the mail system can carry: letters, digits and dots, no brackets");
        }
        let name = person.name.as_deref().unwrap_or_default();
        if name.contains(char::is_control) {
            self.put(format!("{field}.name"), "holds a line break or another control character: leave it out");
        } else if name.chars().count() > LONGEST_NAME {
            self.put(format!("{field}.name"), "is longer than 255 letters");
        }
    }

    fn text(&mut self, submission: &Submission) {
        if submission.subject.contains(char::is_control) {
            self.put("subject", "holds a line break or another control character: leave it out");
        }
        let letters = submission.subject.chars().count();
        if letters > LONGEST_SUBJECT {
            self.put("subject", format!("has {letters} letters, and Exchange takes {LONGEST_SUBJECT}: shorten it"));
        }
        let bodies = [("text", &submission.text), ("html", &submission.html)];
        for (name, body) in bodies.into_iter().filter_map(|(name, body)| Some((name, body.as_ref()?))) {
            if body.contains('\0') {
                self.put(name, "holds a NUL character: leave it out");
            }
        }
    }

    fn files(&mut self, submission: &Submission) {
        if submission.attachments.len() > MOST_FILES {
            self.put("attachments", format!("are more than the {MOST_FILES} that Exchange takes: pack them together"));
        }
        let mut ids = HashSet::new();
        for (at, file) in submission.attachments.iter().enumerate() {
            let field = |name: &str| format!("attachments[{at}].{name}");
            if file.name.trim().is_empty() || file.name.contains(char::is_control) {
                self.put(field("name"), "must be a file name, without line breaks and control characters");
            } else if file.name.chars().count() > LONGEST_NAME {
                self.put(field("name"), "is longer than 255 letters");
            }
            if !is_media_type(&file.kind) {
                self.put(field("type"), "is not a media type such as application/pdf");
            }
            if file.size > LARGEST_FILE {
                self.put(
                    field("content"),
                    "is larger than 150 MiB, the most that can be attached: send a link instead",
                );
            }
            if !file.content.is_empty() && file.content.len() as u64 != file.size {
                self.put(field("content"), "is not as long as its size says");
            }
            if let Some(cid) = &file.cid {
                if cid.is_empty()
                    || cid.len() > 200
                    || !cid.bytes().all(|it| it.is_ascii_graphic() && !b"<>\"\\()".contains(&it))
                {
                    self.put(
                        field("cid"),
                        "must be of up to 200 ASCII letters, without blanks, brackets and quotation marks",
                    );
                } else if !ids.insert(cid.as_str()) {
                    self.put(field("cid"), "is the same as that of another attachment: each must have its own");
                }
            }
        }
    }

    fn headers(&mut self, headers: &[(String, String)]) {
        for (name, value) in headers {
            let is_name =
                !name.is_empty() && name.len() <= 76 && name.bytes().all(|it| it.is_ascii_graphic() && it != b':');
            // A name that is none is not repeated: it could be anything.
            let field = if is_name { format!("headers.{name}") } else { "headers".to_owned() };
            let lower = name.to_ascii_lowercase();
            if !is_name {
                self.put(field, "has a name that no header field can have");
            } else if TAKEN.contains(&lower.as_str()) || TAKEN_FAMILIES.iter().any(|it| lower.starts_with(it)) {
                self.put(field, "cannot be set here: it is made from the rest of the submission or by the mail system");
            } else if value.contains(|it: char| it.is_control() && it != '\t') {
                self.put(field, "holds a line break or another control character: leave it out");
            }
        }
        if headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MOST_FIELD_BYTES {
            self.put("headers", "are longer than 32 KiB together");
        }
    }

    fn size(&mut self, submission: &Submission, limits: &Limits) {
        let bare = bare_len(submission);
        if bare > LARGEST {
            let len = |body: &Option<String>| body.as_ref().map_or(0, String::len);
            let field = if len(&submission.html) > len(&submission.text) { "html" } else { "text" };
            let sentence = format!(
                "makes the mail {bare} bytes long without its attachments, and Graph takes {LARGEST}: attach it as a file"
            );
            self.put(field, sentence);
        }
        let files: u64 = submission.attachments.iter().map(|it| base64_len(it.size)).sum();
        let bodies = [&submission.text, &submission.html].into_iter().flatten().map(|it| it.len() as u64).sum::<u64>();
        if files + bodies > limits.size {
            let sentence = format!(
                "make the mail {} bytes long on its way, and this mailbox may send {}: send links instead",
                files + bodies,
                limits.size
            );
            self.put("attachments", sentence);
        }
    }
}

/// A local part without quotation marks (RFC 5322 §3.2.3); single dots may stand anywhere, as some providers allow.
fn is_dot_atom(local: &str) -> bool {
    local.bytes().all(|it| it.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&it))
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
    };
    domain.split('.').all(is_label)
}

fn is_message_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 900 && id.bytes().all(|it| it.is_ascii_graphic() && !b"<>".contains(&it))
}

fn is_media_type(kind: &str) -> bool {
    let token =
        |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&it));
    let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    let is_type = kind.trim().split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype));
    is_type && parameters.len() <= 200 && parameters.bytes().all(|it| matches!(it, b' '..=b'~'))
}
