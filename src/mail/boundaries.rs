//! One walk over the lines of a mail before the library reads it: where boundaries stand, and what they would cost.
//!
//! No part is found here. It is needed because the library has no limits of its own, and because it reads on past a
//! boundary in a header section, or past an outer one, and so loses parts of mail that is only a little broken.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::parameters::LONGEST_VALUE;

/// A mail of more parts is not split.
const MOST_PARTS: usize = 20_000;
/// Lines of header sections, all parts together. Each costs the library a hundred bytes and more.
const MOST_HEADER_LINES: usize = 200_000;
/// Boundaries that never come, each of which costs a walk over the mail: a few in any mail …
const MISSING_IN_ANY: usize = 20;
/// … and in a small one as many as walk over this many bytes.
const MISSING_BYTES: usize = 1 << 29;
/// With boundaries of more different lengths the false ones are not looked for.
const MOST_LENGTHS: usize = 16;

/// Header sections larger than this together belong to no mail that is to be split (Exchange accepts 256 KiB for one).
const MOST_HEADER_BYTES: usize = 8 << 20;
/// A mail that speaks of more boundaries than this is not split.
const MOST_BOUNDARIES: usize = 200_000;
/// RFC 2046 §5.1.1 allows 70 letters.
const LONGEST_BOUNDARY: usize = 256;
/// So many bytes are compared with boundaries where none should stand.
const MOST_COMPARED: usize = 1 << 28;
/// Of a body that is longer, only the ends are looked at …
const LONG_BODY: usize = 1024;
/// … this much of each.
const KEPT: usize = 64;

/// What announces a boundary. It is looked for everywhere, not only where a header stands.
static BOUNDARY: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("(?i-u)boundary").ok());
/// Words at which the library would do more than find parts: types that hold mails (`message/rfc822`,
/// `message/global`, `multipart/digest`). They are looked for everywhere: a letter less in a text or a boundary harms
/// nobody in a copy, as long as it is everywhere.
static TEMPTING: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("(?i-u)rfc822|global|digest").ok());

/// The lines with their ends.
fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', raw).map(|at| at + 1).chain(std::iter::once(raw.len()));
    ends.map(move |end| &raw[std::mem::replace(&mut start, end)..end]).filter(|line| !line.is_empty())
}

/// Where words stand that the library must not see.
pub(super) fn tempting(raw: &[u8]) -> impl Iterator<Item = usize> {
    TEMPTING.iter().flat_map(|words| words.find_iter(raw)).map(|it| it.start())
}

/// What is known of one boundary.
#[derive(Default)]
struct Seen {
    /// The last line that begins a part with it.
    opened: Option<usize>,
    /// Its place among the multiparts that are open.
    level: Option<usize>,
}

/// The boundaries a mail speaks of, whether in a header or in a text.
pub(super) struct Boundaries<'a> {
    seen: HashMap<&'a [u8], Seen>,
    /// Where each is spoken of; `None` where only the library's grammar would say which it is.
    declared: Vec<(usize, Option<&'a [u8]>)>,
    /// Whether all are known, so that every line at which the library begins a part is known too.
    are_known: bool,
    lengths: BTreeSet<usize>,
}

impl<'a> Boundaries<'a> {
    /// # Errors
    /// Why the mail is not to be split.
    pub(super) fn declared(raw: &'a [u8]) -> Result<Self, &'static str> {
        let places = BOUNDARY.iter().flat_map(|word| word.find_iter(raw));
        let declared: Vec<_> = places
            .filter_map(|word| {
                let rest = raw[word.end()..].trim_ascii_start();
                match rest.first() {
                    Some(b'=') => Some((word.start(), plain_value(&rest[1..]))),
                    Some(b'*') => Some((word.start(), None)),
                    _ => None,
                }
            })
            .take(MOST_BOUNDARIES + 1)
            .collect();
        if declared.len() > MOST_BOUNDARIES {
            return Err("more than 200000 boundaries");
        }
        let seen: HashMap<_, _> = declared.iter().filter_map(|(_, it)| it.map(|it| (it, Seen::default()))).collect();
        let lengths: BTreeSet<usize> = seen.keys().map(|it| it.len()).collect();
        let are_known = declared.iter().all(|(_, it)| it.is_some()) && lengths.len() <= MOST_LENGTHS;
        Ok(Self { seen, declared, are_known, lengths })
    }

    /// The boundary on this line, and whether it ends its multipart.
    fn on_line<'l>(&self, line: &'l [u8]) -> Option<(&'l [u8], bool)> {
        let rest = line.strip_prefix(b"--")?.trim_ascii_end();
        match rest.strip_suffix(b"--") {
            _ if self.seen.contains_key(rest) => Some((rest, false)),
            Some(rest) if self.seen.contains_key(rest) => Some((rest, true)),
            _ => None,
        }
    }
}

/// A value that the library's grammar and ours read alike.
fn plain_value(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii_start();
    let value = match text.strip_prefix(b"\"") {
        Some(quoted) => quoted.split(|&byte| byte == b'"').next()?,
        None => text.split(|byte| b";\r\n(".contains(byte)).next()?.trim_ascii_end(),
    };
    let is_odd = value.iter().any(|byte| b"\\\"\r\n".contains(byte)) || value.windows(2).any(|it| it == b"=?");
    let is_plain = !is_odd && !value.is_empty() && value.len() <= LONGEST_BOUNDARY && value == value.trim_ascii();
    (is_plain && std::str::from_utf8(value).is_ok()).then_some(value)
}

/// One walk over the lines of a mail.
pub(super) struct Walk<'a> {
    boundaries: Boundaries<'a>,
    open: Vec<&'a [u8]>,
    /// After which a line is missing: the end of a multipart, or the blank line that ends a header section.
    pub(super) missing_lines: Vec<(usize, Option<&'a [u8]>)>,
    /// Where a field begins that its section has already; the library would take the last.
    pub(super) repeated: Vec<usize>,
    /// The middle of every long body.
    pub(super) long_bodies: Vec<Range<usize>>,
    /// Where the body of this line begins.
    body: Option<usize>,
    parts: usize,
    header_lines: usize,
    header_bytes: usize,
    /// The header section of this line. What follows the end of a multipart is none, but costs no more if it is one.
    section: Option<Section>,
}

/// A header section.
#[derive(Default)]
struct Section {
    /// Whether a part follows.
    is_of_part: bool,
    /// How long the field of this line is, where the library reads it with its grammar of parameters.
    field: Option<usize>,
    /// Which of the two such fields it has.
    has: [bool; 2],
}

impl<'a> Walk<'a> {
    /// # Errors
    /// Why the mail is not to be split.
    pub(super) fn over(raw: &'a [u8], boundaries: Boundaries<'a>) -> Result<Self, &'static str> {
        let mut walk = Self {
            boundaries,
            open: Vec::new(),
            missing_lines: Vec::new(),
            repeated: Vec::new(),
            long_bodies: Vec::new(),
            body: None,
            parts: 0,
            header_lines: 0,
            header_bytes: 0,
            section: Some(Section { is_of_part: true, ..Section::default() }),
        };
        let mut at = 0;
        for line in lines(raw) {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if let Some((boundary, is_last)) = walk.boundaries.on_line(text) {
                // The newline before a boundary belongs to it.
                let newline = raw[..at].ends_with(b"\r\n");
                walk.boundary(boundary, is_last, at.saturating_sub(1 + usize::from(newline)));
            } else if !walk.boundaries.are_known && memchr::memmem::find(text, b"--").is_some() {
                walk.parts += 1;
                walk.section = Some(Section::default());
            }
            walk.header_line(text, at)?;
            match walk.section {
                Some(_) => walk.end_body(at),
                None => drop(walk.body.get_or_insert(at)),
            }
            if walk.parts > MOST_PARTS {
                return Err("more than 20000 parts");
            }
            at += line.len();
        }
        walk.end_body(at);
        if !walk.open.is_empty() {
            walk.end_section(at);
        }
        while let Some(boundary) = walk.open.pop() {
            walk.missing_lines.push((at, Some(boundary)));
        }
        match walk.missing() {
            0..=MISSING_IN_ANY => Ok(walk),
            missing if missing.saturating_mul(raw.len()) <= MISSING_BYTES => Ok(walk),
            _ => Err("too many boundaries that never come"),
        }
    }

    fn boundary(&mut self, boundary: &'a [u8], is_last: bool, at: usize) {
        self.end_section(at);
        self.section = Some(Section { is_of_part: !is_last, ..Section::default() });
        let Some(seen) = self.boundaries.seen.get_mut(boundary) else { return };
        if !is_last {
            seen.opened = Some(at);
            self.parts += 1;
        }
        match seen.level {
            // Ends what is open inside (RFC 2046 §5.1.2).
            Some(level) => {
                for inner in self.open.drain(level + 1..).rev() {
                    self.missing_lines.push((at, Some(inner)));
                    self.boundaries.seen.entry(inner).or_default().level = None;
                }
                if is_last {
                    self.open.truncate(level);
                    self.boundaries.seen.entry(boundary).or_default().level = None;
                }
            }
            None if !is_last => {
                seen.level = Some(self.open.len());
                self.open.push(boundary);
            }
            None => {}
        }
    }

    /// The library takes a boundary for a broken field while no blank line has come.
    fn end_section(&mut self, at: usize) {
        if self.section.take().is_some_and(|it| it.is_of_part) {
            self.missing_lines.push((at, None));
        }
    }

    fn end_body(&mut self, at: usize) {
        let long = self.body.take().filter(|start| at - start > LONG_BODY);
        self.long_bodies.extend(long.map(|start| start + KEPT..at - KEPT));
    }

    fn header_line(&mut self, text: &[u8], at: usize) -> Result<(), &'static str> {
        let Some(section) = self.section.as_mut().filter(|_| !text.is_empty()) else {
            self.section = None;
            return Ok(());
        };
        self.header_lines += 1;
        self.header_bytes += text.len();
        let is_folded = text.starts_with(b" ") || text.starts_with(b"\t");
        section.field = match (section.field, field_with_parameters(text)) {
            (Some(length), _) if is_folded => Some(length + text.len()),
            (_, Some((which, is_all))) => {
                if is_all && !is_folded && std::mem::replace(&mut section.has[which], true) {
                    self.repeated.push(at);
                }
                Some(text.len())
            }
            _ => None,
        };
        match section.field {
            Some(length) if length > LONGEST_VALUE => Err("a content type longer than 8 KiB"),
            _ if self.header_lines > MOST_HEADER_LINES => Err("more than 200000 header lines"),
            _ if self.header_bytes > MOST_HEADER_BYTES => Err("more than 8 MiB of header lines"),
            _ => Ok(()),
        }
    }

    fn missing(&self) -> usize {
        let comes_after = |at: usize, it: &[u8]| self.boundaries.seen.get(it).is_some_and(|it| it.opened > Some(at));
        self.boundaries.declared.iter().filter(|(at, it)| !it.is_some_and(|it| comes_after(*at, it))).count()
    }

    /// Where a boundary stands that is none: in the middle of a line, or with more text behind it. What is in the middle
    /// of a long body is not looked for.
    ///
    /// # Errors
    /// Why the mail is not to be split.
    pub(super) fn false_boundaries(&self, raw: &[u8]) -> Result<Vec<usize>, &'static str> {
        let boundaries = &self.boundaries;
        if boundaries.lengths.is_empty() || boundaries.lengths.len() > MOST_LENGTHS {
            return Ok(Vec::new());
        }
        let cost: usize = boundaries.lengths.iter().sum();
        let mut compared = 0;
        let is_boundary = |at: usize| {
            let rest = &raw[at + 2..];
            boundaries.lengths.iter().any(|&it| rest.get(..it).is_some_and(|it| boundaries.seen.contains_key(it)))
        };
        let dashed = memchr::memmem::Finder::new(b"--");
        let mut found = Vec::new();
        let mut from = 0;
        let ends = self.long_bodies.iter().map(|it| it.start).chain([raw.len()]);
        let starts = self.long_bodies.iter().map(|it| it.end);
        for (end, next) in ends.zip(starts.chain([raw.len()])) {
            while let Some(at) = raw.get(from..end).and_then(|it| dashed.find(it)).map(|it| from + it) {
                let start = memchr::memrchr(b'\n', &raw[..at]).map_or(0, |it| it + 1);
                let line_end = memchr::memchr(b'\n', &raw[at..]).map_or(raw.len(), |it| at + it + 1);
                let (line, last) = (&raw[start..line_end], line_end.min(end));
                if boundaries.on_line(line).is_none() {
                    for at in (at..last).filter(|&it| raw[it..last].starts_with(b"--")) {
                        compared += cost;
                        if compared > MOST_COMPARED {
                            return Err("too many dashes");
                        }
                        found.extend(is_boundary(at).then_some(at));
                    }
                }
                from = last;
            }
            from = next;
        }
        Ok(found)
    }
}

/// Whether the name on this line ends in Content-Type (0) or Content-Disposition (1), which the library knows by their
/// letters, whatever blanks are between them; and whether that is all of the name.
fn field_with_parameters(line: &[u8]) -> Option<(usize, bool)> {
    const NAMES: [&[u8]; 2] = [b"content-type", b"content-disposition"];
    let name = line.split(|&byte| byte == b':').next()?;
    let letters = || name.iter().rev().filter(|it| !it.is_ascii_whitespace()).map(u8::to_ascii_lowercase);
    let which = NAMES.iter().position(|it| it.iter().rev().copied().eq(letters().take(it.len())))?;
    Some((which, letters().nth(NAMES[which].len()).is_none()))
}
