//! What is attached: facts of each part that is not text, and its bytes when they are wanted.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use serde::Serialize;

use super::beside::CloudFile;
use super::parameters::file_name;
use super::structure::Part;
use super::transfer::TransferEncoding;
use super::{header, security, tnef, uuencode};
use crate::model::ids::{hex, sha256_hex};

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
    /// A mail (`message/rfc822`, `message/global`): what Graph lists as an item and puts into the raw mail as such a
    /// part. Its bytes are in the raw mail as those of any other part.
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
    Unpacked(Bytes),
    /// Nowhere in the mail: a file in the cloud.
    Elsewhere {
        /// Where it can be opened, where anybody says it.
        url: Option<String>,
    },
}

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where it stands in the mail: `2`, `1.2`; `2.tnef.1` in the winmail.dat that is part 2, `1.uu.1` in the text that
    /// is part 1, `cloud.1` nowhere in it. The same for every copy of the same mail.
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
    /// SHA-256 of the decoded bytes. Empty for a file in the cloud, of which there are none.
    pub sha256: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Where its bytes are.
    pub content: Content,
    /// Whether what it holds stands beside it: a winmail.dat that was unpacked.
    pub is_wrapper: bool,
    /// Whether it stands with the text as its image or another form of it (`multipart/related`, `/alternative`).
    pub stands_with_text: bool,
}

impl Attachment {
    /// The decoded bytes. `raw` is the mail it was parsed from.
    pub fn bytes<'a>(&'a self, raw: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.content {
            Content::InMail { range, encoding } => encoding.decode(raw.get(range.clone()).unwrap_or_default()),
            Content::Unpacked(bytes) => Cow::Borrowed(bytes),
            Content::Elsewhere { .. } => Cow::Borrowed(&[]),
        }
    }

    /// Where a file in the cloud can be opened, where anybody says it.
    pub fn cloud_url(&self) -> Option<&str> {
        match &self.content {
            Content::Elsewhere { url } => url.as_deref(),
            _ => None,
        }
    }

    /// Whether its bytes are here. Those of a file in the cloud are not.
    pub fn is_held(&self) -> bool {
        !matches!(self.content, Content::Elsewhere { .. })
    }

    /// How many bytes are held of it beside the mail. What was unpacked from a winmail.dat shares the memory of that one.
    pub fn held(&self) -> u64 {
        let own = matches!(self.content, Content::Unpacked(_)) && self.origin != Origin::Tnef;
        self.size * (u64::from(own) + u64::from(self.is_wrapper))
    }

    /// Whether a person would call it an attachment: a file, and neither a signature, nor a wrapping, nor an image in the
    /// text. A named document is one even where its sender asks to show it inline, and so is a photograph as telephones
    /// send it.
    pub fn is_file(&self) -> bool {
        let is_of_kind = |kinds: &[&str]| kinds.iter().any(|it| self.kind.starts_with(it));
        let is_document =
            is_of_kind(&["application/"]) || is_of_kind(&["image/", "audio/", "video/"]) && !self.stands_with_text;
        let is_hidden_file = is_document && self.name.is_some() && self.cid.is_none();
        let is_wrapping = self.is_wrapper || security::is_signature(&self.kind);
        !is_wrapping && (self.disposition == Disposition::Attachment || is_hidden_file)
    }
}

/// Reads a part as an attachment. `referenced` are the content ids the HTML refers to.
pub fn read(part: &Part, parent: &str, referenced: &HashSet<String>, raw: &[u8]) -> Attachment {
    if let Some((name, bytes)) = part.is_uuencoded.then(|| uuencode::only(part.written(raw))).flatten() {
        let disposition = disposition(part, parent, referenced);
        let name = part.name.clone().or(name);
        return Attachment {
            cid: part.cid.clone(),
            disposition,
            ..unpacked(part.id.clone(), name, part.kind(), bytes)
        };
    }
    let (size, sha256) = measure(part, raw);
    let is_mail = is_mail(part);
    Attachment {
        part_id: part.id.clone(),
        name: part.name.clone().or_else(|| is_mail.then(|| name_of_message(part, raw))),
        kind: part.kind().to_owned(),
        size,
        disposition: disposition(part, parent, referenced),
        cid: part.cid.clone(),
        sha256,
        origin: if is_mail { Origin::Item } else { Origin::Mime },
        content: Content::InMail { range: part.body.clone(), encoding: part.encoding },
        is_wrapper: false,
        stands_with_text: matches!(parent, "multipart/related" | "multipart/alternative" | "multipart/report"),
    }
}

fn unpacked(part_id: String, name: Option<String>, kind: &str, bytes: Bytes) -> Attachment {
    Attachment {
        part_id,
        name,
        kind: kind.to_owned(),
        size: bytes.len() as u64,
        disposition: Disposition::Attachment,
        cid: None,
        sha256: sha256_hex(&bytes),
        origin: Origin::Mime,
        content: Content::Unpacked(bytes),
        is_wrapper: false,
        stands_with_text: false,
    }
}

/// The files of a text, which is the part with this id.
pub fn of_text(part: &str, files: Vec<uuencode::File>) -> impl Iterator<Item = Attachment> {
    let numbered = files.into_iter().enumerate();
    numbered.map(move |(at, file)| unpacked(format!("{part}.uu.{}", at + 1), file.name, UNTOLD, file.bytes))
}

/// The files of a winmail.dat, which is the part with this id.
pub fn of_tnef(part: &str, files: Vec<tnef::File>, referenced: &HashSet<String>) -> impl Iterator<Item = Attachment> {
    files.into_iter().map(move |file| {
        let is_shown = file.is_inline || file.cid.as_ref().is_some_and(|it| referenced.contains(it));
        Attachment {
            origin: Origin::Tnef,
            disposition: if is_shown { Disposition::Inline } else { Disposition::Attachment },
            cid: file.cid,
            ..unpacked(
                format!("{part}.tnef.{}", file.path),
                file.name,
                file.kind.as_deref().unwrap_or(UNTOLD),
                file.bytes,
            )
        }
    })
}

/// Files in the cloud, which Graph lists beside the mail.
pub fn of_cloud(files: &[CloudFile]) -> impl Iterator<Item = Attachment> {
    files.iter().enumerate().map(|(at, file)| Attachment {
        size: file.size,
        sha256: String::new(),
        origin: Origin::Reference,
        content: Content::Elsewhere { url: file.url.clone() },
        ..unpacked(
            format!("cloud.{}", at + 1),
            file_name(&file.name),
            &file.kind.as_deref().unwrap_or(UNTOLD).to_ascii_lowercase(),
            Bytes::new(),
        )
    })
}

/// The type of a file that says none.
const UNTOLD: &str = "application/octet-stream";

/// Size and SHA-256 of what a part holds, without a copy of it.
fn measure(part: &Part, raw: &[u8]) -> (u64, String) {
    let (mut size, mut digest) = (0, Context::new(&SHA256));
    part.encoding.pieces(part.written(raw), |piece| {
        size += piece.len() as u64;
        digest.update(piece);
    });
    (size, hex(digest.finish().as_ref()))
}

pub(super) fn disposition(part: &Part, parent: &str, referenced: &HashSet<String>) -> Disposition {
    if part.cid.as_ref().is_some_and(|cid| referenced.contains(cid)) {
        return Disposition::Inline;
    }
    match part.disposition.as_deref() {
        Some("inline") => Disposition::Inline,
        Some(_) => Disposition::Attachment,
        None => match parent {
            // Another form of the text, a report about it, or an image of it that nothing refers to.
            "multipart/alternative" | "multipart/report" => Disposition::Inline,
            "multipart/related" if part.cid.is_some() || part.has_location => Disposition::Inline,
            _ if part.name.is_none() && part.kind().starts_with("image/") => Disposition::Inline,
            _ => Disposition::Attachment,
        },
    }
}

pub(super) fn is_mail(part: &Part) -> bool {
    matches!(part.kind(), "message/rfc822" | "message/global")
}

/// The header of a mail in a mail is looked for in so many of its written bytes.
const NAMING: usize = 128 * 1024;

/// A mail in a mail is named after its subject.
pub(super) fn name_of_message(part: &Part, raw: &[u8]) -> String {
    let bytes = part.beginning(raw, NAMING);
    let subject = header::section(&bytes).0.first("subject").map(header::Field::text);
    // A slash in a subject parts words, not folders.
    let name = subject.and_then(|it| file_name(&it.replace(['/', '\\', ':'], " ")));
    format!("{}.eml", name.as_deref().unwrap_or("message"))
}
