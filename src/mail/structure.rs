//! The parts of a mail (RFC 2046): one walk over its lines, whatever the nesting.
//!
//! Work grows with the size of the mail and nothing else: depth and number of parts are limited, a line is looked at
//! once, and a boundary of an outer part ends the inner ones that were never closed.

use std::ops::Range;

use super::addresses::content_id;
use super::header::{self, Fields, line_at, without_newline};
use super::parameters::{Parameterised, file_name};
use super::transfer::TransferEncoding;

/// Deeper parts stay whole, as attachments.
const DEEPEST: usize = 100;
/// Parts after this many stay with the last one.
const MOST_PARTS: usize = 20_000;

/// One part of a mail. The mail itself is part 0.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it stands, as IMAP numbers parts: `1`, `2.1`; empty for a mail that consists of several parts.
    pub id: String,
    /// The part that holds it.
    pub parent: Option<usize>,
    /// The parts it holds, in order.
    pub children: Vec<usize>,
    /// Its content type; `text/plain` where the mail says none.
    pub content_type: Parameterised,
    /// `attachment`, `inline` or what else the mail says.
    pub disposition: Option<String>,
    /// A clean file name.
    pub name: Option<String>,
    /// The id by which HTML refers to it, without `<` and `>`.
    pub cid: Option<String>,
    /// How its bytes are written.
    pub encoding: TransferEncoding,
    /// Where its body stands in the mail.
    pub body: Range<usize>,
}

impl Part {
    /// Its content type without parameters.
    pub fn kind(&self) -> &str {
        &self.content_type.value
    }

    /// Whether it is made of parts.
    pub fn is_multipart(&self) -> bool {
        !self.children.is_empty()
    }

    /// Its body as it stands in the mail.
    pub fn written<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        raw.get(self.body.clone()).unwrap_or_default()
    }

    fn new(fields: &Fields, id: String, parent: Option<usize>, default_type: &str) -> Self {
        let content_type = fields.value("content-type").map(Parameterised::read).unwrap_or_default();
        let disposition = fields.value("content-disposition").map(Parameterised::read).unwrap_or_default();
        let names = [disposition.parameter("filename"), disposition.parameter("name"), content_type.parameter("name")];
        let name = names.into_iter().flatten().find_map(file_name);
        let mut part = Self {
            id,
            parent,
            children: Vec::new(),
            name,
            cid: fields.value("content-id").and_then(content_id),
            encoding: fields.value("content-transfer-encoding").map(TransferEncoding::named).unwrap_or_default(),
            disposition: Some(disposition.value).filter(|it| !it.is_empty()),
            content_type,
            body: 0..0,
        };
        // RFC 2045 §5.2: what has no readable type is text.
        if !is_type(part.kind()) {
            part.content_type.value = default_type.to_owned();
        }
        part
    }

    fn boundary(&self) -> Option<Vec<u8>> {
        let boundary = self.content_type.parameter("boundary").map(str::trim_end).filter(|it| !it.is_empty())?;
        self.kind().starts_with("multipart/").then(|| boundary.as_bytes().to_vec())
    }
}

fn is_type(text: &str) -> bool {
    let is_token =
        |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_graphic() && !b"/\"<>@,;:\\[]?=()".contains(&b));
    text.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub))
}

/// The parts of a mail.
#[derive(Debug, Clone, Default)]
pub struct Structure {
    /// All parts in the order in which they begin; the mail itself is the first.
    pub parts: Vec<Part>,
    /// What was wrong with them.
    pub problems: Vec<&'static str>,
}

/// Splits a mail whose header section has been read.
pub fn split(raw: &[u8], fields: &Fields, body: usize) -> Structure {
    let mut walk = Walk { raw, found: Structure::default(), levels: Vec::new(), leaf: None };
    walk.open(fields, None, String::new(), body);
    if let Some(root) = walk.found.parts.first_mut()
        && walk.levels.is_empty()
    {
        root.id = "1".into();
    }
    walk.lines(body);
    walk.close_all();
    walk.found
}

/// A part made of parts whose end has not come yet.
struct Level {
    part: usize,
    boundary: Vec<u8>,
}

struct Walk<'a> {
    raw: &'a [u8],
    found: Structure,
    levels: Vec<Level>,
    leaf: Option<usize>,
}

impl Walk<'_> {
    fn lines(&mut self, mut at: usize) {
        let mut newline = 0;
        while at < self.raw.len() && !self.levels.is_empty() {
            let line = line_at(self.raw, at);
            let text = without_newline(line);
            let matched = boundary_of(&self.levels, text);
            let after = at + line.len();
            let Some((level, is_last)) = matched else {
                newline = line.len() - text.len();
                at = after;
                continue;
            };
            // The newline before a boundary belongs to the boundary (RFC 2046 §5.1.1).
            self.end_inner(level, at - newline);
            newline = 0;
            at = after;
            if is_last {
                self.end_level(at);
            } else if self.found.parts.len() >= MOST_PARTS {
                self.problem("more than 20000 parts");
                self.leaf = self.found.parts.len().checked_sub(1);
                return;
            } else {
                at = self.begin_child(level, at);
            }
        }
    }

    /// Reads the headers of the next part of this level. Returns where its body begins.
    fn begin_child(&mut self, level: usize, at: usize) -> usize {
        let section = header::read(self.raw, at, |line| boundary_of(&self.levels, line).is_some());
        let parent = self.levels[level].part;
        let number = self.found.parts[parent].children.len() + 1;
        let id = match self.found.parts[parent].id.as_str() {
            "" => number.to_string(),
            prefix => format!("{prefix}.{number}"),
        };
        self.open(&section.fields, Some(parent), id, section.body);
        section.body
    }

    fn open(&mut self, fields: &Fields, parent: Option<usize>, id: String, body: usize) {
        let in_digest = parent.is_some_and(|it| self.found.parts[it].kind() == "multipart/digest");
        let mut part = Part::new(fields, id, parent, if in_digest { "message/rfc822" } else { "text/plain" });
        part.body = body..self.raw.len();
        let index = self.found.parts.len();
        if let Some(parent) = parent {
            self.found.parts[parent].children.push(index);
        }
        match part.boundary() {
            Some(_) if self.levels.len() >= DEEPEST => {
                self.problem("parts nested more than 100 deep");
                self.leaf = Some(index);
            }
            Some(boundary) => self.levels.push(Level { part: index, boundary }),
            None => self.leaf = Some(index),
        }
        self.found.parts.push(part);
    }

    /// Ends what is open inside this level.
    fn end_inner(&mut self, level: usize, at: usize) {
        if let Some(leaf) = self.leaf.take() {
            end(&mut self.found.parts[leaf], at);
        }
        while self.levels.len() > level + 1 {
            self.problem("a multipart is not closed");
            self.end_level(at);
        }
    }

    fn end_level(&mut self, at: usize) {
        let Some(level) = self.levels.pop() else { return };
        let part = &mut self.found.parts[level.part];
        end(part, at);
        if part.children.is_empty() {
            self.without_parts(level.part);
        }
    }

    fn close_all(&mut self) {
        let end_of_mail = self.raw.len();
        if let Some(leaf) = self.leaf.take() {
            end(&mut self.found.parts[leaf], end_of_mail);
        }
        while let Some(level) = self.levels.last() {
            if !self.found.parts[level.part].children.is_empty() {
                self.problem("a multipart is not closed");
            }
            self.end_level(end_of_mail);
        }
    }

    /// A multipart whose boundary never came is read as text: something may still be legible.
    fn without_parts(&mut self, index: usize) {
        self.problem("a multipart has no parts");
        let part = &mut self.found.parts[index];
        part.content_type.value = "text/plain".into();
        if part.id.is_empty() {
            part.id = "1".into();
        }
    }

    fn problem(&mut self, problem: &'static str) {
        if !self.found.problems.contains(&problem) {
            self.found.problems.push(problem);
        }
    }
}

fn end(part: &mut Part, at: usize) {
    part.body.end = at.max(part.body.start);
}

/// Which open level this line is a boundary of, innermost first, and whether it is the last one.
fn boundary_of(levels: &[Level], line: &[u8]) -> Option<(usize, bool)> {
    let rest = line.strip_prefix(b"--")?.trim_ascii_end();
    levels.iter().enumerate().rev().find_map(|(index, level)| match rest.strip_prefix(level.boundary.as_slice())? {
        b"" => Some((index, false)),
        b"--" => Some((index, true)),
        _ => None,
    })
}
