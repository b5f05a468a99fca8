//! The parts of a mail (RFC 2046), as the library finds them, and which of them are shown (RFC 8621 §4.1.4).
//!
//! Content is taken from the mail by the library's offsets, never from what it decoded: an attachment keeps its bytes
//! whatever charset it is in, and large ones are decoded one at a time, when they are wanted.

use std::borrow::Cow;
use std::ops::Range;

use mail_parser::{Header, HeaderName, Message, MessageParser, MessagePart};

use super::addresses::content_id;
use super::guard::{self, Shown};
use super::header::{self, Fields};
use super::parameters::{Parameterised, file_name};
use super::transfer::TransferEncoding;
use super::uuencode;

/// Deeper parts stay whole, as attachments.
const DEEPEST: usize = 100;

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
    /// Whether HTML can refer to it by an address of its own (Content-Location, RFC 2557).
    pub has_location: bool,
    /// How its bytes are written.
    pub encoding: TransferEncoding,
    /// Whether they are written as mailers did before base64 (`x-uuencode`), with a first and a last line.
    pub is_uuencoded: bool,
    /// Where its header section begins in the mail.
    pub head: usize,
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

    /// The bytes that are meant.
    pub fn decoded<'a>(&self, raw: &'a [u8]) -> Cow<'a, [u8]> {
        let written = self.written(raw);
        match self.is_uuencoded.then(|| uuencode::only(written)).flatten() {
            Some((_, bytes)) => Cow::Owned(bytes.into()),
            None => self.encoding.decode(written),
        }
    }

    /// The bytes that are meant, of as much of the body as stands in its first `longest` bytes.
    pub fn beginning<'a>(&self, raw: &'a [u8], longest: usize) -> Cow<'a, [u8]> {
        let written = self.written(raw);
        match written.get(..longest) {
            Some(beginning) => self.encoding.decode(beginning),
            None => self.decoded(raw),
        }
    }

    fn new(fields: &Fields, parent: Option<(usize, &Part)>, body: Range<usize>) -> Self {
        let content_type = fields.value("content-type").map(Parameterised::read).unwrap_or_default();
        let disposition = fields.value("content-disposition").map(Parameterised::read).unwrap_or_default();
        let names = [disposition.parameter("filename"), disposition.parameter("name"), content_type.parameter("name")];
        let name = names.into_iter().flatten().find_map(file_name);
        let encoding = fields.value("content-transfer-encoding");
        let mut part = Self {
            id: String::new(),
            parent: parent.map(|it| it.0),
            children: Vec::new(),
            name,
            cid: fields.value("content-id").and_then(content_id),
            has_location: fields.value("content-location").is_some_and(|it| !it.is_empty()),
            encoding: encoding.map(TransferEncoding::named).unwrap_or_default(),
            is_uuencoded: encoding.is_some_and(uuencode::is_named),
            disposition: Some(disposition.value).filter(|it| !it.is_empty()),
            content_type,
            head: body.start,
            body,
        };
        // RFC 2045 §5.2: what has no readable type is text; RFC 2046 §5.1.5: in a digest it is a mail.
        if !is_type(part.kind()) {
            let in_digest = parent.is_some_and(|(_, it)| it.kind() == "multipart/digest");
            part.content_type.value = if in_digest { "message/rfc822" } else { "text/plain" }.to_owned();
        }
        part
    }

    fn is_text(&self) -> bool {
        matches!(self.kind(), "text/plain" | "text/html")
    }
}

fn is_type(text: &str) -> bool {
    let is_token =
        |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_graphic() && !b"/\"<>@,;:\\[]?=()".contains(&b));
    text.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub))
}

/// Which parts are shown and which are attached, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Parts of the plain text, among them HTML where there is nothing else.
    pub text: Vec<usize>,
    /// Parts of the HTML, among them plain text where there is nothing else.
    pub html: Vec<usize>,
    /// Everything else.
    pub attached: Vec<usize>,
}

/// The parts of a mail.
#[derive(Debug, Clone, Default)]
pub struct Structure {
    /// The fields of the mail itself.
    pub fields: Fields,
    /// All parts in the order in which they begin; the mail itself is the first.
    pub parts: Vec<Part>,
    /// What each is for.
    pub chosen: Chosen,
    /// What was wrong with them.
    pub problems: Vec<&'static str>,
}

/// Reads the parts of a mail.
pub fn read(raw: &[u8]) -> Structure {
    let shown = match guard::shown(raw) {
        Ok(shown) => shown,
        Err(problem) => return unsplit(raw, problem),
    };
    // Transfer encodings are kept from the library: it would decode everything at once, and take a part for text
    // where one byte of it is wrong.
    let parser = MessageParser::new()
        .header_content_type(HeaderName::ContentType)
        .header_content_type(HeaderName::ContentDisposition)
        .ignore_header(HeaderName::ContentTransferEncoding)
        .default_header_ignore();
    match parser.parse(&shown.bytes) {
        Some(message) => {
            let hint = hint(&message, raw, &shown);
            let found = Reading { raw, shown: &shown, hint, found: Structure::default() }.of(&message);
            if found.fields.0.is_empty() { unsplit(raw, "no header section") } else { found }
        }
        None => unsplit(raw, if raw.is_empty() { "empty" } else { "no header section" }),
    }
}

/// A mail of one part, whatever it says of itself.
fn unsplit(raw: &[u8], problem: &'static str) -> Structure {
    let (fields, end) = header::section(raw);
    let body = if fields.0.is_empty() { 0 } else { after_blank_line(raw, end) };
    let mut part = Part::new(&fields, None, body..raw.len());
    (part.id, part.head) = ("1".into(), 0);
    let parts = vec![part];
    let chosen = Chosen { attached: vec![0], ..Chosen::default() };
    let mut structure = Structure { fields, parts, chosen, problems: vec![problem] };
    structure.show_something();
    structure
}

fn after_blank_line(raw: &[u8], at: usize) -> usize {
    let rest = raw.get(at..).unwrap_or_default();
    let body = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n")).unwrap_or(rest);
    raw.len() - body.len()
}

/// The character set of the mail's own text, for header fields that are not encoded and not UTF-8. It is looked for only
/// where there are such fields.
fn hint(message: &Message<'_>, raw: &[u8], shown: &Shown<'_>) -> Option<String> {
    let parts = || message.parts.iter().take(PARTS_FOR_HINT);
    let is_odd = |part: &MessagePart<'_>| {
        let value = |it: &Header<'_>| raw.get(shown.offset(it.offset_start)..shown.offset(it.offset_end));
        part.headers.iter().filter_map(value).any(|it| std::str::from_utf8(it).is_err())
    };
    let charset = |part: &MessagePart<'_>| {
        let fields = header::fields(&part.headers, raw, None, |it| shown.offset(it));
        let content_type = fields.value("content-type").map(Parameterised::read)?;
        content_type.parameter("charset").map(str::to_owned)
    };
    parts().any(is_odd).then(|| parts().find_map(charset)).flatten()
}

/// The text stands among the first parts.
const PARTS_FOR_HINT: usize = 10;

struct Reading<'a> {
    raw: &'a [u8],
    shown: &'a Shown<'a>,
    hint: Option<String>,
    found: Structure,
}

impl Reading<'_> {
    fn of(mut self, message: &Message<'_>) -> Structure {
        let mut parents = vec![None; message.parts.len()];
        for (index, part) in message.parts.iter().enumerate() {
            for &child in part.sub_parts().unwrap_or_default() {
                if let Some(parent) = parents.get_mut(child as usize) {
                    *parent = Some(index);
                }
            }
        }
        // Where each part of the library's stands among ours, and how deep.
        let mut places: Vec<Option<(usize, usize)>> = Vec::with_capacity(message.parts.len());
        let mut whole = Vec::new();
        for (part, parent) in message.parts.iter().zip(parents) {
            let above = parent.map(|it: usize| places.get(it).copied().flatten());
            let place = match above {
                None => Some((self.found.parts.len(), 0)),
                Some(Some((_, depth))) if depth < DEEPEST => Some((self.found.parts.len(), depth + 1)),
                Some(_) => None,
            };
            if let Some((index, depth)) = place {
                self.add(part, above.flatten().map(|it| it.0));
                if depth == DEEPEST && part.sub_parts().is_some_and(|it| !it.is_empty()) {
                    self.found.problem("parts nested more than 100 deep");
                    whole.push(index);
                }
            }
            places.push(place);
        }
        let ours = |list: &[u32]| -> Vec<usize> {
            list.iter().filter_map(|&it| places.get(it as usize).copied().flatten()).map(|it| it.0).collect()
        };
        let attached = [ours(&message.attachments), whole].concat();
        self.found.chosen = Chosen { text: ours(&message.text_body), html: ours(&message.html_body), attached };
        self.found.hide_files();
        self.found.show_something();
        self.found
    }

    fn add(&mut self, part: &MessagePart<'_>, parent: Option<usize>) {
        let (raw, offset) = (self.raw, |it| self.shown.offset(it));
        let fields = header::fields(&part.headers, raw, self.hint.as_deref(), offset);
        let mut body = offset(part.offset_body)..offset(part.offset_end);
        body.end = body.end.max(body.start);
        let found = &mut self.found;
        let index = found.parts.len();
        let mut new = Part::new(&fields, parent.and_then(|it| Some((it, found.parts.get(it)?))), body);
        new.head = part.headers.first().map_or(new.body.start, |it| offset(it.offset_field)).min(new.body.start);
        let has_parts = part.sub_parts().is_some_and(|it| !it.is_empty());
        if let Some(parent) = parent.and_then(|it| found.parts.get_mut(it)) {
            parent.children.push(index);
            let dot = if parent.id.is_empty() { "" } else { "." };
            new.id = format!("{}{dot}{}", parent.id, parent.children.len());
        } else {
            let gaps = part.headers.iter().zip(part.headers.iter().skip(1));
            let is_broken = |(one, next): (&Header<'_>, &Header<'_>)| {
                is_text(raw, offset(one.offset_end), offset(next.offset_field))
            };
            if gaps.into_iter().any(is_broken)
                || fields.0.len() + usize::from(raw.starts_with(b"From ")) < part.headers.len()
            {
                found.problem("a header line is neither a field nor folded");
            }
            if !has_parts {
                new.id = "1".into();
            }
            found.fields = fields;
        }
        // The library skips what follows the fields until there is a blank line.
        let end = part.headers.last().map_or(new.body.start, |it| offset(it.offset_end));
        if !has_parts && is_text(raw, end, new.body.start) {
            found.problem("no blank line after the header section");
            new.body.start = end;
        }
        if !has_parts && new.kind().starts_with("multipart/") {
            // Its boundary never came: something may still be legible.
            found.problem("a multipart has no parts");
            new.content_type.value = "text/plain".into();
        }
        if new.content_type.parameter("boundary").is_some_and(|it| self.shown.unclosed.contains(it.as_bytes())) {
            found.problem("a multipart is not closed");
        }
        found.parts.push(new);
    }
}

fn is_text(raw: &[u8], from: usize, to: usize) -> bool {
    raw.get(from..to).is_some_and(|it| !it.trim_ascii().is_empty())
}

impl Structure {
    /// The library shows text that has a file name in Content-Disposition alone, and whatever stands in an alternative.
    fn hide_files(&mut self) {
        let Self { parts, chosen, .. } = self;
        let is_shown = |index: usize| {
            let part = &parts[index];
            let is_first = part.parent.is_none_or(|it| parts[it].children.first() == Some(&index));
            let is_media = ["image/", "audio/", "video/"].iter().any(|it| part.kind().starts_with(it));
            let is_file = part.disposition.as_deref() == Some("attachment");
            !is_file && (is_media || part.is_text() && (is_first || part.name.is_none()))
        };
        let hidden = |list: &mut Vec<usize>| list.extract_if(.., |it| !is_shown(*it)).collect::<Vec<_>>();
        let hidden = [hidden(&mut chosen.text), hidden(&mut chosen.html)].concat();
        chosen.attached.extend(hidden);
        chosen.attached.sort_unstable();
        chosen.attached.dedup();
    }

    /// Where the library found no text, a first part that is text by our reading is shown: one without a legible type,
    /// or a multipart without parts.
    fn show_something(&mut self) {
        let Self { parts, chosen, .. } = self;
        let is_text = |it: &usize| parts[*it].is_text();
        if chosen.text.iter().chain(&chosen.html).any(is_text) {
            return;
        }
        let first = parts.iter().position(|it| !it.is_multipart());
        let shown = |it: &usize| is_text(it) && parts[*it].disposition.as_deref() != Some("attachment");
        if let Some(first) = first.filter(shown) {
            chosen.text.push(first);
            chosen.html.push(first);
            chosen.attached.retain(|it| *it != first);
        }
    }

    fn problem(&mut self, problem: &'static str) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}
