//! The content of a mail, part by part: left as it is where it travels unharmed, written anew where it does not.
//!
//! What is signed or encrypted keeps every byte but its line ends, which are CRLF in every mail on its way. New
//! boundaries hold `=_` and a hash of the submission's id, so that no part can hold its own end.

use std::borrow::Cow;

use super::fields::{is_named, of_content, parameterised, put, write};
use crate::mail::attachment::is_mail;
use crate::mail::compose::check::Problem;
use crate::mail::compose::encode;
use crate::mail::header::{self, Field, Fields};
use crate::mail::parameters::Parameterised;
use crate::mail::structure::{self, Part, Structure};
use crate::mail::transfer::TransferEncoding;
use crate::model::ids::sha256_hex;

/// RFC 5322 §2.1.1.
const LONGEST_LINE: usize = 998;
/// Mails in mails that are written anew; deeper ones must be fine as they are.
const DEEPEST: usize = 10;

/// A part as it will be written.
pub(super) struct Node<'a> {
    /// Its fields.
    head: String,
    content: Content<'a>,
    /// Which part of the mail it is.
    pub(super) part: usize,
    /// Whether it may be attached by itself instead.
    pub(super) may_leave: bool,
}

enum Content<'a> {
    Bytes(Cow<'a, [u8]>),
    Parts { boundary: String, nodes: Vec<Node<'a>> },
}

impl<'a> Node<'a> {
    /// How long it is when it is written.
    pub(super) fn len(&self) -> u64 {
        let content = match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Parts { boundary, nodes } => {
                let around = boundary.len() as u64 + 6;
                nodes.iter().map(|it| it.len() + around).sum::<u64>() + around
            }
        };
        self.head.len() as u64 + 2 + content
    }

    /// Its fields, a blank line and what they describe.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(b"\r\n");
        match &self.content {
            Content::Bytes(bytes) => out.extend_from_slice(bytes),
            Content::Parts { boundary, nodes } => {
                for node in nodes {
                    out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                    node.write(out);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
            }
        }
    }

    /// Every part that may be attached by itself, with its length here.
    pub(super) fn leaves(&self, found: &mut Vec<(usize, u64)>) {
        match &self.content {
            Content::Parts { nodes, .. } => nodes.iter().for_each(|it| it.leaves(found)),
            Content::Bytes(_) if self.may_leave => found.push((self.part, self.len())),
            Content::Bytes(_) => {}
        }
    }

    /// The same without some of its parts, and without what holds nothing any more. `None` where nothing is left.
    pub(super) fn without(mut self, parts: &[usize]) -> Option<Self> {
        match &mut self.content {
            Content::Bytes(_) => (!parts.contains(&self.part)).then_some(self),
            Content::Parts { nodes, .. } => {
                *nodes = std::mem::take(nodes).into_iter().filter_map(|it| it.without(parts)).collect();
                (!nodes.is_empty()).then_some(self)
            }
        }
    }

    /// A text that says nothing.
    pub(super) fn empty() -> Self {
        let head = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n".to_owned();
        Self { head, content: Content::Bytes(Cow::Borrowed(b"")), part: usize::MAX, may_leave: false }
    }
}

/// A mail whose parts are being written.
pub(super) struct Building<'a, 's> {
    pub(super) raw: &'a [u8],
    pub(super) structure: &'s Structure,
    id: &'s str,
    depth: usize,
}

impl<'a, 's> Building<'a, 's> {
    pub(super) fn of(raw: &'a [u8], structure: &'s Structure, id: &'s str) -> Self {
        Self { raw, structure, id, depth: 0 }
    }

    /// The content as it stands in the mail, where nothing has to be done to it.
    pub(super) fn untouched(&self) -> Option<Node<'a>> {
        let root = self.structure.parts.first()?;
        let bytes = self.raw.get(root.body.start..)?;
        let fields = || of_content(&self.structure.fields);
        // Folding a field anew must not change what a boundary is made of.
        let is_kept = fields().all(|it| it.value.is_ascii() && !it.value.contains("  ") && !it.value.contains('\t'));
        let is_sound = self.structure.problems.is_empty() && is_kept && is_clean(bytes);
        let mut head = String::new();
        fields().for_each(|field| write(&mut head, field));
        is_sound.then_some(Node { head, content: Content::Bytes(Cow::Borrowed(bytes)), part: 0, may_leave: false })
    }

    /// The content, written anew where it must be.
    pub(super) fn built(&self) -> Result<Node<'a>, Problem> {
        self.node(0, &self.structure.fields)
    }

    fn node(&self, index: usize, fields: &Fields) -> Result<Node<'a>, Problem> {
        let Some(part) = self.structure.parts.get(index) else { return Ok(Node::empty()) };
        if is_sealed(part) {
            return self.sealed(index, part, fields);
        }
        if !part.is_multipart() {
            return self.leaf(index, part, fields);
        }
        let hash = sha256_hex(format!("{} {} {index}", self.id, self.depth).as_bytes());
        let boundary = format!("=_{}_{}", self.depth, &hash[..24]);
        let mut head = self.described(index, fields, &["content-type", "content-transfer-encoding"]);
        put(&mut head, "Content-Type", &parameterised(&part.content_type, Some(("boundary", &boundary))));
        let nodes = part.children.iter().map(|&child| self.node(child, &self.fields(child)));
        let nodes = nodes.collect::<Result<_, _>>()?;
        Ok(Node { head, content: Content::Parts { boundary, nodes }, part: index, may_leave: false })
    }

    /// What a signature or an encryption is about: as it is.
    fn sealed(&self, index: usize, part: &Part, fields: &Fields) -> Result<Node<'a>, Problem> {
        let bytes = with_line_ends(part.written(self.raw));
        if encode::lines(&bytes).any(|line| line.len() > LONGEST_LINE) {
            let sentence = "is signed or encrypted and has a line of more than 998 letters, which cannot be mended \
                            without breaking it: sign it with its text encoded as quoted-printable or base64";
            return Err(Problem::new("mail", sentence));
        }
        let mut head = self.described(index, fields, &["content-transfer-encoding"]);
        if !bytes.is_ascii() {
            put(&mut head, "Content-Transfer-Encoding", "8bit");
        }
        Ok(Node { head, content: Content::Bytes(bytes), part: index, may_leave: false })
    }

    fn leaf(&self, index: usize, part: &Part, fields: &Fields) -> Result<Node<'a>, Problem> {
        let (encoding, bytes) = self.travelling(part)?;
        let mut head = self.described(index, fields, &["content-type", "content-transfer-encoding"]);
        let own = self.label(part).map(|label| ("charset", label));
        let given = fields.first("content-type").filter(|it| Parameterised::read(&it.value).value == part.kind());
        match given {
            Some(field) if own.is_none() => write(&mut head, field),
            _ => put(&mut head, "Content-Type", &parameterised(&part.content_type, own)),
        }
        put(&mut head, "Content-Transfer-Encoding", &encoding);
        Ok(Node { head, content: Content::Bytes(bytes), part: index, may_leave: self.may_leave(index, part) })
    }

    /// The bytes of a part as they travel, and how they are then written.
    fn travelling(&self, part: &Part) -> Result<(Cow<'static, str>, Cow<'a, [u8]>), Problem> {
        let written = part.written(self.raw);
        let decoded = || part.decoded(self.raw);
        Ok(match part.encoding {
            _ if part.is_uuencoded => ("x-uuencode".into(), with_line_ends(written)),
            TransferEncoding::Base64 if is_clean(written) => ("base64".into(), Cow::Borrowed(written)),
            TransferEncoding::Base64 => ("base64".into(), encode::base64(&decoded()).into()),
            TransferEncoding::QuotedPrintable => {
                let lines = with_line_ends(written);
                match is_clean(&lines) {
                    true => ("quoted-printable".into(), lines),
                    false if is_text(part) => encoded(&decoded()),
                    false => ("base64".into(), encode::base64(&decoded()).into()),
                }
            }
            TransferEncoding::Identity if is_text(part) => {
                let lines = with_line_ends(written);
                if is_clean(&lines) { ("7bit".into(), lines) } else { encoded(written) }
            }
            TransferEncoding::Identity if is_clean(written) => ("7bit".into(), Cow::Borrowed(written)),
            TransferEncoding::Identity if is_mail(part) => {
                let lines = with_line_ends(written);
                if is_clean(&lines) {
                    ("7bit".into(), lines)
                } else {
                    let mail = self.mail(written)?;
                    (if mail.is_ascii() { "7bit" } else { "8bit" }.into(), mail.into())
                }
            }
            TransferEncoding::Identity if part.kind().starts_with("multipart/") => {
                let sentence = "has parts in parts that cannot be told apart, and bytes in them that do not travel as \
                                they are: send it with less nesting, or as 7bit";
                return Err(Problem::new("mail", sentence));
            }
            TransferEncoding::Identity => ("base64".into(), encode::base64(written).into()),
        })
    }

    /// A mail within the mail, its header as it is wherever that travels.
    fn mail(&self, raw: &[u8]) -> Result<Vec<u8>, Problem> {
        let structure = structure::read(raw);
        let inner = Building { raw, structure: &structure, id: self.id, depth: self.depth + 1 };
        if inner.depth > DEEPEST {
            return Err(Problem::new("mail", "has mails within mails, more than ten deep: attach them one by one"));
        }
        let mut out = String::new();
        let fields = &structure.fields;
        let others = fields.0.iter().filter(|it| !is_named(it, "content-"));
        others.for_each(|field| write(&mut out, field));
        let mut out = out.into_bytes();
        inner.built()?.write(&mut out);
        Ok(out)
    }

    /// The character set to be named for a text of more than ASCII whose sender named none.
    fn label(&self, part: &Part) -> Option<&'static str> {
        let named = part.content_type.parameter("charset").map(str::to_ascii_lowercase);
        let is_unnamed = named.is_none_or(|it| matches!(it.as_str(), "" | "us-ascii" | "ascii"));
        let is_bare = part.kind().starts_with("text/") && part.encoding == TransferEncoding::Identity;
        let bytes = part.written(self.raw);
        let is_wanted = is_bare && is_unnamed && !part.is_uuencoded && !bytes.is_ascii();
        is_wanted.then(|| if std::str::from_utf8(bytes).is_ok() { "utf-8" } else { "windows-1252" })
    }

    /// A part that is a file of its own, and not one form of the text among others or part of a report.
    fn may_leave(&self, index: usize, part: &Part) -> bool {
        let chosen = &self.structure.chosen;
        let is_shown = [&chosen.text, &chosen.html].iter().any(|it| it.contains(&index));
        let is_text = matches!(part.kind(), "text/plain" | "text/html") && is_shown;
        let is_whole = part.kind().starts_with("multipart/") || part.parent.is_none() && is_protected(part);
        let parent = part.parent.and_then(|it| self.structure.parts.get(it));
        let is_form = parent.is_some_and(|it| matches!(it.kind(), "multipart/alternative" | "multipart/report"));
        self.depth == 0 && !is_text && !is_whole && !is_form
    }

    /// The fields of a part.
    fn fields(&self, index: usize) -> Fields {
        let head = self.structure.parts.get(index).and_then(|part| self.raw.get(part.head..part.body.start));
        header::section(head.unwrap_or_default()).0
    }

    /// The fields that describe a part, but for some. Those of the mail itself are written with its header.
    fn described(&self, index: usize, fields: &Fields, but: &[&str]) -> String {
        let is_wanted = |it: &&Field| {
            let is_its_own = index != 0 || is_named(it, "content-");
            is_its_own && !but.iter().any(|name| it.name.eq_ignore_ascii_case(name))
        };
        let mut head = String::new();
        fields.0.iter().filter(is_wanted).for_each(|field| write(&mut head, field));
        head
    }
}

fn encoded(bytes: &[u8]) -> (Cow<'static, str>, Cow<'static, [u8]>) {
    let (encoding, bytes) = encode::letters(bytes);
    (encoding.into(), bytes.into())
}

/// Whether nothing may be changed within this part.
fn is_sealed(part: &Part) -> bool {
    matches!(part.kind(), "multipart/signed" | "multipart/encrypted")
}

/// Whether a part is a signed or encrypted mail as a whole (RFC 8551).
pub(super) fn is_protected(part: &Part) -> bool {
    is_sealed(part) || matches!(part.kind(), "application/pkcs7-mime" | "application/x-pkcs7-mime")
}

/// Whether a part is made of lines of letters. Such lines may be cut and put together again; UTF-16 has none.
fn is_text(part: &Part) -> bool {
    let wide = part.content_type.parameter("charset").map(str::to_ascii_lowercase);
    let is_wide =
        wide.is_some_and(|it| ["utf-16", "utf16", "utf-32", "utf32", "ucs"].iter().any(|wide| it.starts_with(wide)));
    let is_lines = part.kind().starts_with("text/") || part.kind().starts_with("message/") && !is_mail(part);
    is_lines && !is_wide
}

/// Whether bytes travel as they are: short lines of ASCII that end in CRLF.
pub(super) fn is_clean(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest);
        let line = &rest[..end.unwrap_or(rest.len())];
        let line = match (line.strip_suffix(b"\r"), end) {
            (Some(line), Some(_)) => line,
            (None, None) => line,
            _ => return false,
        };
        if line.len() > LONGEST_LINE || !line.is_ascii() || memchr::memchr2(b'\r', 0, line).is_some() {
            return false;
        }
        rest = end.map_or(&[], |it| &rest[it + 1..]);
    }
    true
}

/// The same lines, each ended by CRLF; what stands behind the last end stays without one.
pub(super) fn with_line_ends(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut breaks = memchr::memchr2_iter(b'\r', b'\n', bytes);
    let is_paired = |at: usize| match bytes[at] {
        b'\r' => bytes.get(at + 1) == Some(&b'\n'),
        _ => at > 0 && bytes[at - 1] == b'\r',
    };
    match breaks.all(is_paired) {
        true => Cow::Borrowed(bytes),
        false => encode::lines(bytes).collect::<Vec<_>>().join(&b"\r\n"[..]).into(),
    }
}
