//! What the library gets to see of a mail: the mail, or a copy in which nothing tempts it, or nothing at all.
//!
//! The library opens mails inside mails, each of which costs stack; takes a boundary for one wherever it stands; never
//! lets an outer boundary end an inner part; and looks through the rest of the mail for every boundary that never
//! comes. Walks over the mail, each linear, see all that before. Only offsets are taken from what the library reads.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

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

/// Where something was put into the copy, how much, and how much before it.
#[derive(Debug)]
struct Insertion {
    at: usize,
    length: usize,
    before: usize,
}

/// What the library may read.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Boundaries of multiparts that end without saying so.
    pub unclosed: BTreeSet<&'a [u8]>,
    inserted: Vec<Insertion>,
    size: usize,
}

impl Shown<'_> {
    /// The offset in the mail for one in the copy.
    pub fn offset(&self, shown: u32) -> usize {
        let shown = shown as usize;
        let passed = self.inserted.partition_point(|it| it.at <= shown);
        let last = passed.checked_sub(1).and_then(|it| self.inserted.get(it));
        let put_in = last.map_or(0, |it| it.before + it.length.min(shown - it.at));
        shown.saturating_sub(put_in).min(self.size)
    }
}

/// Looks through a mail.
///
/// # Errors
/// Why it is not split into parts.
pub fn shown(raw: &[u8]) -> Result<Shown<'_>, &'static str> {
    let boundaries = Boundaries::declared(raw);
    let walk = Walk::over(raw, boundaries)?;
    let falsely = walk.false_boundaries(raw);
    let mut shown =
        Shown { bytes: Cow::Borrowed(raw), unclosed: BTreeSet::new(), inserted: Vec::new(), size: raw.len() };
    if !walk.ends.is_empty() || !falsely.is_empty() {
        let mut hidden = raw.to_vec();
        falsely.iter().for_each(|&at| hidden[at] = b'_');
        let mut copy = Vec::with_capacity(raw.len() + 1024);
        let mut from = 0;
        for &(at, boundary) in &walk.ends {
            copy.extend_from_slice(&hidden[from..at]);
            let before = copy.len();
            // The newline that ends a part belongs to the boundary; a mail that is cut off has none.
            copy.extend_from_slice(if at == raw.len() { b"\r\n--" } else { b"--" });
            copy.extend_from_slice(boundary);
            copy.extend_from_slice(b"--\r\n");
            let until_here = shown.inserted.last().map_or(0, |it| it.before + it.length);
            shown.inserted.push(Insertion { at: before, length: copy.len() - before, before: until_here });
            shown.unclosed.insert(boundary);
            from = at;
        }
        copy.extend_from_slice(&hidden[from..]);
        shown.bytes = Cow::Owned(copy);
    }
    let tempting: Vec<usize> = keywords(&shown.bytes).filter(|it| it.1 != BOUNDARY).map(|it| it.0).collect();
    if !tempting.is_empty() {
        let copy = shown.bytes.to_mut();
        tempting.into_iter().for_each(|at| copy[at] = b'_');
    }
    if shown.bytes.starts_with(BYTE_ORDER_MARK) {
        shown.bytes.to_mut()[..BYTE_ORDER_MARK.len()].fill(b' ');
    }
    Ok(shown)
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const BOUNDARY: &[u8] = b"boundary";

/// Words at which the library would do more than find parts: types that hold mails (`message/rfc822`,
/// `message/global`, `multipart/digest`), and what announces a boundary. They are looked for everywhere: a letter less
/// in a text or a boundary harms nobody in a copy, as long as it is everywhere.
fn keywords(raw: &[u8]) -> impl Iterator<Item = (usize, &'static [u8])> {
    raw.iter().enumerate().filter_map(|(at, byte)| {
        let word: &[u8] = match byte {
            b'b' | b'B' => BOUNDARY,
            b'r' | b'R' => b"rfc822",
            b'g' | b'G' => b"global",
            b'd' | b'D' => b"digest",
            _ => return None,
        };
        raw.get(at..at + word.len())?.eq_ignore_ascii_case(word).then_some((at, word))
    })
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
struct Boundaries<'a> {
    seen: HashMap<&'a [u8], Seen>,
    /// Where each is spoken of; `None` where only the library's grammar would say which it is.
    declared: Vec<(usize, Option<&'a [u8]>)>,
    /// Whether all are known, so that every line at which the library begins a part is known too.
    are_known: bool,
    lengths: BTreeSet<usize>,
}

impl<'a> Boundaries<'a> {
    fn declared(raw: &'a [u8]) -> Self {
        let places = keywords(raw).filter(|(_, word)| *word == BOUNDARY).map(|(at, _)| at);
        let declared: Vec<_> = places
            .filter_map(|at| {
                let rest = raw[at + BOUNDARY.len()..].trim_ascii_start();
                match rest.first() {
                    Some(b'=') => Some((at, plain_value(&rest[1..]))),
                    Some(b'*') => Some((at, None)),
                    _ => None,
                }
            })
            .collect();
        let seen: HashMap<_, _> = declared.iter().filter_map(|(_, it)| it.map(|it| (it, Seen::default()))).collect();
        let lengths: BTreeSet<usize> = seen.keys().map(|it| it.len()).collect();
        let are_known = declared.iter().all(|(_, it)| it.is_some()) && lengths.len() <= MOST_LENGTHS;
        Self { seen, declared, are_known, lengths }
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
    (!is_odd && !value.is_empty() && value == value.trim_ascii() && std::str::from_utf8(value).is_ok()).then_some(value)
}

/// One walk over the lines of a mail.
struct Walk<'a> {
    boundaries: Boundaries<'a>,
    open: Vec<&'a [u8]>,
    /// Where a multipart ends without saying so.
    ends: Vec<(usize, &'a [u8])>,
    parts: usize,
    header_lines: usize,
    /// How long the field of this line is, where the library reads it with its grammar of parameters.
    field: Option<usize>,
}

impl<'a> Walk<'a> {
    fn over(raw: &'a [u8], boundaries: Boundaries<'a>) -> Result<Self, &'static str> {
        let mut walk = Self { boundaries, open: Vec::new(), ends: Vec::new(), parts: 0, header_lines: 0, field: None };
        let mut at = 0;
        let mut in_headers = true;
        for line in raw.split_inclusive(|&byte| byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if let Some((boundary, is_last)) = walk.boundaries.on_line(text) {
                walk.boundary(boundary, is_last, at);
                in_headers = true;
            } else if !walk.boundaries.are_known && text.windows(2).any(|it| it == b"--") {
                walk.parts += 1;
                in_headers = true;
            }
            if in_headers {
                in_headers = !text.is_empty();
                walk.header_line(text)?;
            }
            if walk.parts > MOST_PARTS {
                return Err("more than 20000 parts");
            }
            at += line.len();
        }
        while let Some(boundary) = walk.open.pop() {
            walk.ends.push((raw.len(), boundary));
        }
        match walk.missing() {
            0..=MISSING_IN_ANY => Ok(walk),
            missing if missing.saturating_mul(raw.len()) <= MISSING_BYTES => Ok(walk),
            _ => Err("too many boundaries that never come"),
        }
    }

    fn boundary(&mut self, boundary: &'a [u8], is_last: bool, at: usize) {
        let Some(seen) = self.boundaries.seen.get_mut(boundary) else { return };
        if !is_last {
            seen.opened = Some(at);
            self.parts += 1;
        }
        match seen.level {
            // Ends what is open inside (RFC 2046 §5.1.2).
            Some(level) => {
                for inner in self.open.drain(level + 1..).rev() {
                    self.ends.push((at, inner));
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

    fn header_line(&mut self, text: &[u8]) -> Result<(), &'static str> {
        self.header_lines += 1;
        self.field = match self.field {
            Some(length) if text.starts_with(b" ") || text.starts_with(b"\t") => Some(length + text.len()),
            _ => has_parameters(text).then_some(text.len()),
        };
        match self.field {
            Some(length) if length > LONGEST_VALUE => Err("a content type longer than 8 KiB"),
            _ if self.header_lines > MOST_HEADER_LINES => Err("more than 200000 header lines"),
            _ => Ok(()),
        }
    }

    fn missing(&self) -> usize {
        let comes_after = |at: usize, it: &[u8]| self.boundaries.seen.get(it).is_some_and(|it| it.opened > Some(at));
        self.boundaries.declared.iter().filter(|(at, it)| !it.is_some_and(|it| comes_after(*at, it))).count()
    }

    /// Where a boundary stands that is none: in the middle of a line, or with more text behind it.
    fn false_boundaries(&self, raw: &[u8]) -> Vec<usize> {
        let boundaries = &self.boundaries;
        if boundaries.lengths.is_empty() || boundaries.lengths.len() > MOST_LENGTHS {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut start = 0;
        for line in raw.split_inclusive(|&byte| byte == b'\n') {
            let is_boundary = |at: usize| {
                let rest = &line[at + 2..];
                boundaries.lengths.iter().any(|&it| rest.get(..it).is_some_and(|it| boundaries.seen.contains_key(it)))
            };
            if boundaries.on_line(line).is_none() {
                let dashes = line.windows(2).enumerate().filter(|(_, it)| *it == b"--").map(|(at, _)| at);
                found.extend(dashes.filter(|&at| is_boundary(at)).map(|at| start + at));
            }
            start += line.len();
        }
        found
    }
}

/// Whether this is the first line of Content-Type or Content-Disposition, which the library knows by their letters,
/// whatever blanks are between them.
fn has_parameters(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    // No name in use is longer; nothing else is looked at twice.
    let tail = name.iter().rev().filter(|it| !it.is_ascii_whitespace()).take(b"content-disposition".len());
    let name: Vec<u8> = tail.map(u8::to_ascii_lowercase).collect();
    [&b"content-disposition"[..], b"content-type"]
        .iter()
        .any(|it| it.iter().rev().zip(&name).filter(|(a, b)| a == b).count() == it.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(raw: &[u8]) -> String {
        String::from_utf8_lossy(&shown(raw).unwrap().bytes).into_owned()
    }

    #[test]
    fn an_orderly_mail_is_shown_as_it_is() {
        let raw = b"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nx -- y\r\n--b--\r\n";
        assert!(matches!(shown(raw).unwrap().bytes, Cow::Borrowed(_)));
    }

    #[test]
    fn what_tempts_the_library_is_hidden() {
        for (raw, copy) in [
            ("Content-Type: Message/RFC822\n\n", "Content-Type: Message/_FC822\n\n"),
            ("a: boundary=b\n\n--b\nx --b y\n--bc\n--b--\n", "a: boundary=b\n\n--b\nx _-b y\n_-bc\n--b--\n"),
            ("a: boundary=--b\n\n----b\n------b\n----b--\n", "a: boundary=--b\n\n----b\n--_---b\n----b--\n"),
        ] {
            assert_eq!(seen(raw.as_bytes()), copy);
        }
    }

    #[test]
    fn an_outer_boundary_ends_what_is_open_inside() {
        let raw = b"a: boundary=o\nb: boundary=i\n\n--o\n--i\nx\n--o\ny";
        let shown = shown(raw).unwrap();
        let copy = String::from_utf8_lossy(&shown.bytes);
        assert_eq!(copy, "a: boundary=o\nb: boundary=i\n\n--o\n--i\nx\n--i--\r\n--o\ny\r\n--o--\r\n");
        for (in_copy, in_mail) in [("x", "x"), ("--i--", "--o\ny"), ("--o\ny", "--o\ny"), ("y\r", "y")] {
            let at = u32::try_from(copy.rfind(in_copy).unwrap()).unwrap();
            assert_eq!(shown.offset(at), String::from_utf8_lossy(raw).rfind(in_mail).unwrap(), "{in_copy:?}");
        }
        assert_eq!(shown.offset(10_000), raw.len());
    }

    #[test]
    fn mail_that_would_cost_too_much_is_not_split() {
        let missing = |count: usize| {
            let part = |it| format!("--b\nContent-Type: multipart/mixed; boundary=z{it}\n\n{}", "x".repeat(1000));
            format!("a: boundary=b\n\n{}", (0..count).map(part).collect::<String>())
        };
        for (raw, problem) in [
            (format!("a: boundary=b\n\n{}", "--b\n\n".repeat(20_001)), "more than 20000 parts"),
            (format!("a: boundary*=b\n\n{}", "x--b\n\n".repeat(20_001)), "more than 20000 parts"),
            ("a:\n".repeat(200_001), "more than 200000 header lines"),
            (
                format!("C ontent-Type: a/b{}", ";a=b\n".repeat(2000).replace('\n', "\n ")),
                "a content type longer than 8 KiB",
            ),
            (missing(5000), "too many boundaries that never come"),
        ] {
            assert_eq!(shown(raw.as_bytes()).unwrap_err(), problem);
        }
        assert!(shown(missing(100).as_bytes()).is_ok());
    }
}
