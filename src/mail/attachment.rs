//! What is attached: facts of each part that is not text, and its bytes when they are wanted.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use super::parameters::file_name;
use super::structure::Part;
use super::transfer::TransferEncoding;
use super::{header, security};
use crate::model::ids::hex;

/// Whether a part is a file of its own or part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// A file.
    Attachment,
    /// Part of the text: an image in it, another form of it, a report about it.
    Inline,
}

/// Where an attachment comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A part of the mail.
    Mime,
    /// Unpacked from a winmail.dat.
    Tnef,
    /// An item of the mailbox.
    Item,
    /// A file in the cloud: a link, no bytes.
    Reference,
}

/// Where an attachment's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In the raw mail.
    InMail {
        /// Where.
        range: Range<usize>,
        /// How they are written there.
        encoding: TransferEncoding,
    },
    /// Here, because they were unpacked from something else.
    Unpacked(Vec<u8>),
}

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where it stands in the mail: `2`, `1.2`. The same for every copy of the same mail.
    pub part_id: String,
    /// A file name without path, control and invisible characters.
    pub name: Option<String>,
    /// Its content type in lower case, without parameters.
    pub kind: String,
    /// Its size in bytes, decoded.
    pub size: u64,
    /// A file or part of the text.
    pub disposition: Disposition,
    /// The id by which HTML refers to it, without `<` and `>`.
    pub cid: Option<String>,
    /// SHA-256 of the decoded bytes.
    pub sha256: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Where its bytes are.
    pub content: Content,
}

impl Attachment {
    /// The decoded bytes. `raw` is the mail it was parsed from.
    pub fn bytes<'a>(&'a self, raw: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.content {
            Content::InMail { range, encoding } => encoding.decode(raw.get(range.clone()).unwrap_or_default()),
            Content::Unpacked(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// Whether a person would call it an attachment: a file, and neither a signature nor an image in the text. A named
    /// document is one even where its sender asks to show it inline.
    pub fn is_file(&self) -> bool {
        let is_document = self.kind.starts_with("application/") && self.name.is_some() && self.cid.is_none();
        !security::is_signature(&self.kind) && (self.disposition == Disposition::Attachment || is_document)
    }
}

/// Reads a part as an attachment. `referenced` are the content ids the HTML refers to.
pub fn read(part: &Part, parent: &str, referenced: &HashSet<String>, raw: &[u8]) -> Attachment {
    let (size, sha256) = measure(part, raw);
    Attachment {
        part_id: part.id.clone(),
        name: part.name.clone().or_else(|| name_of_message(part, raw)),
        kind: part.kind().to_owned(),
        size,
        disposition: disposition(part, parent, referenced),
        cid: part.cid.clone(),
        sha256,
        origin: Origin::Mime,
        content: Content::InMail { range: part.body.clone(), encoding: part.encoding },
    }
}

/// Size and SHA-256 of what a part holds, without a copy of it.
fn measure(part: &Part, raw: &[u8]) -> (u64, String) {
    let (mut size, mut digest) = (0, Context::new(&SHA256));
    part.encoding.pieces(part.written(raw), |piece| {
        size += piece.len() as u64;
        digest.update(piece);
    });
    (size, hex(digest.finish().as_ref()))
}

fn disposition(part: &Part, parent: &str, referenced: &HashSet<String>) -> Disposition {
    if part.cid.as_ref().is_some_and(|cid| referenced.contains(cid)) {
        return Disposition::Inline;
    }
    match part.disposition.as_deref() {
        Some("inline") => Disposition::Inline,
        Some(_) => Disposition::Attachment,
        None => match parent {
            // Another form of the text, a report about it, or an image of it that nothing refers to.
            "multipart/alternative" | "multipart/report" => Disposition::Inline,
            "multipart/related" if part.cid.is_some() => Disposition::Inline,
            _ if part.name.is_none() && part.kind().starts_with("image/") => Disposition::Inline,
            _ => Disposition::Attachment,
        },
    }
}

/// A mail in a mail is named after its subject.
fn name_of_message(part: &Part, raw: &[u8]) -> Option<String> {
    if !matches!(part.kind(), "message/rfc822" | "message/global") {
        return None;
    }
    let bytes = part.encoding.decode(part.written(raw));
    let subject = header::section(&bytes).0.first("subject").map(header::Field::text);
    // A slash in a subject parts words, not folders.
    let name = subject.and_then(|it| file_name(&it.replace(['/', '\\', ':'], " ")));
    Some(format!("{}.eml", name.as_deref().unwrap_or("message")))
}
