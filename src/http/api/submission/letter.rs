//! What a letter is made of, whether it is submitted or a reply: JSON in the words of the manual, read into plain values.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::lift::Content;
use super::members::{Found, Members};
use crate::mail::addresses::Mailbox;
use crate::mail::attachment::Disposition;
use crate::mail::compose::{Automatic, File, Submission};
use crate::model::clock::{UnixMillis, parse_rfc3339};

/// What a submitter may have remembered with a mail.
const MOST_METADATA: usize = 16 * 1024;
/// The type of a file of which nobody said what it is.
const BYTES: &str = "application/octet-stream";

/// The members that every letter has; `None` where one was left out.
pub(super) struct Letter {
    pub(super) from: Option<Mailbox>,
    pub(super) to: Option<Vec<Mailbox>>,
    pub(super) cc: Option<Vec<Mailbox>>,
    pub(super) bcc: Vec<Mailbox>,
    pub(super) reply_to: Vec<Mailbox>,
    pub(super) subject: Option<String>,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
    pub(super) attachments: Vec<File>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) automatic: Automatic,
    pub(super) send_at: Option<UnixMillis>,
    pub(super) save_to_sent_items: bool,
    pub(super) metadata: Map<String, Value>,
}

impl Letter {
    /// Reads the members of a letter; what else the object has is the caller's.
    pub(super) fn read(members: &mut Members, mut contents: BTreeMap<usize, Content>, found: &mut Found) -> Self {
        let from = members.person("from", found);
        let (to, cc) = (members.people("to", found), members.people("cc", found));
        let (bcc, reply_to) = (members.people("bcc", found), members.people("reply_to", found));
        let (subject, text) = (members.text("subject", found), members.text("text", found));
        let html = members.text("html", found);
        let files = members.list("attachments", found).unwrap_or_default();
        let mut attachments = Vec::with_capacity(files.len());
        for (at, (place, value)) in files.into_iter().enumerate() {
            attachments.push(file(value, &place, contents.remove(&at), found));
        }
        let headers = headers(members, found);
        let expected = "must be auto-generated or auto-replied";
        let automatic = members.word("auto_submitted", automatic, expected, found).unwrap_or_default();
        let expected = "must be a time such as 2026-11-21T18:00:00Z";
        let send_at = members.word("send_at", parse_rfc3339, expected, found);
        let save_to_sent_items = members.flag("save_to_sent_items", found).unwrap_or(true);
        let metadata = metadata(members, found);
        Self {
            from,
            to,
            cc,
            bcc: bcc.unwrap_or_default(),
            reply_to: reply_to.unwrap_or_default(),
            subject,
            text,
            html,
            attachments,
            headers,
            automatic,
            send_at,
            save_to_sent_items,
            metadata,
        }
    }
}

/// A mail that was read, and what is wished for it.
pub(in crate::http::api) struct Wanted {
    /// The mail, without id and date.
    pub(super) mail: Submission,
    /// When it is to leave.
    pub(super) send_at: Option<UnixMillis>,
    /// Whether a copy stays in Sent Items.
    pub(super) save_to_sent_items: bool,
    /// What the submitter wants to find again.
    pub(super) metadata: Map<String, Value>,
}

/// What of a mail depends on whether it is an answer.
pub(super) struct Envelope {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    pub(super) subject: String,
    pub(super) in_reply_to: Vec<String>,
    pub(super) references: Vec<String>,
}

impl Letter {
    /// The mail, once it is settled to whom and in which conversation it goes.
    pub(super) fn into_wanted(self, envelope: Envelope) -> Wanted {
        let Envelope { from, to, cc, subject, in_reply_to, references } = envelope;
        let mail = Submission {
            id: String::new(),
            date: 0,
            from,
            to,
            cc,
            bcc: self.bcc,
            reply_to: self.reply_to,
            subject,
            text: self.text,
            html: self.html,
            attachments: self.attachments,
            headers: self.headers,
            in_reply_to,
            references,
            automatic: self.automatic,
        };
        Wanted { mail, send_at: self.send_at, save_to_sent_items: self.save_to_sent_items, metadata: self.metadata }
    }
}

fn automatic(word: &str) -> Option<Automatic> {
    match word {
        "auto-generated" => Some(Automatic::Generated),
        "auto-replied" => Some(Automatic::Replied),
        _ => None,
    }
}

/// A file. One that cannot be read keeps its place.
fn file(value: Value, place: &str, content: Option<Content>, found: &mut Found) -> File {
    let mut file = File {
        name: String::new(),
        kind: BYTES.to_owned(),
        size: 0,
        content: Bytes::new(),
        cid: None,
        disposition: Disposition::Attachment,
    };
    let Some(mut members) = Members::of(value, place, found) else { return file };
    match members.text("name", found) {
        Some(name) => file.name = name,
        None => found.add(&members.place("name"), "is missing: what is the file called?"),
    }
    if let Some(kind) = members.text("type", found) {
        file.kind = kind;
    }
    file.cid = members.text("cid", found).map(|it| without_brackets(&it).to_owned());
    // What HTML can show is shown there, unless somebody says that it is a file.
    let usual = if file.cid.is_some() { Disposition::Inline } else { Disposition::Attachment };
    let expected = "must be attachment or inline";
    file.disposition = members.word("disposition", disposition, expected, found).unwrap_or(usual);
    let place = members.place("content");
    match (members.text("content", found), content) {
        (Some(_), Some(content)) => {
            file.size = content.size();
            match content {
                Content::Whole(bytes) => file.content = bytes,
                Content::HandedOn(_) => {}
                Content::Unreadable(why) => found.put(place, why),
            }
        }
        (None, None) => found.add(&place, "is missing: write the file's bytes as base64 here"),
        // Of a member that stands there twice, one is a text and the last one is none; or the other way round.
        (Some(_), None) | (None, Some(_)) => found.add(&place, "stands there twice"),
    }
    members.end(found);
    file
}

fn disposition(word: &str) -> Option<Disposition> {
    match word {
        "attachment" => Some(Disposition::Attachment),
        "inline" => Some(Disposition::Inline),
        _ => None,
    }
}

/// An id as programs hand it out, with or without angle brackets.
pub(super) fn without_brackets(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix('<').and_then(|it| it.strip_suffix('>')).unwrap_or(id)
}

fn headers(members: &mut Members, found: &mut Found) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in members.object("headers", found).into_iter().flatten() {
        match value {
            Value::String(value) => headers.push((name, value)),
            _ => found.put(format!("headers.{name}"), "must be a text"),
        }
    }
    headers
}

fn metadata(members: &mut Members, found: &mut Found) -> Map<String, Value> {
    let metadata = members.object("metadata", found).unwrap_or_default();
    if serde_json::to_string(&metadata).map_or(usize::MAX, |it| it.len()) > MOST_METADATA {
        found.put("metadata", "is longer than 16 KiB: keep it where you are, and only its key here");
    }
    metadata
}
