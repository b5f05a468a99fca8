//! What the library gets to see of a mail: the mail, or a copy in which nothing tempts it, or nothing at all.
//!
//! The library opens mails inside mails, each of which costs stack; takes a boundary for one wherever it stands; never
//! lets an outer boundary end an inner part; and looks through the rest of the mail for every boundary that never
//! comes. Walks over the mail, each linear, see all that before. Only offsets are taken from what the library reads, so
//! long bodies are left out: copied, and decoded by the library, they would take memory twice more.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::boundaries::{self, Boundaries, Walk};

/// Where the copy differs from the mail.
#[derive(Debug)]
struct Edit {
    /// What of the mail is not in the copy; empty where something is only put in.
    left_out: Range<usize>,
    /// What stands in its place in the copy.
    put_in: Range<usize>,
}

/// What the library may read.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Boundaries of multiparts that end without saying so.
    pub unclosed: BTreeSet<&'a [u8]>,
    edits: Vec<Edit>,
    size: usize,
}

impl Shown<'_> {
    /// The offset in the mail for one in the copy.
    pub(super) fn offset(&self, shown: u32) -> usize {
        let shown = shown as usize;
        let passed = self.edits.partition_point(|it| it.put_in.start <= shown);
        let last = passed.checked_sub(1).and_then(|it| self.edits.get(it));
        let offset = match last {
            None => shown,
            Some(edit) if shown < edit.put_in.end => edit.left_out.start,
            Some(edit) => edit.left_out.end + (shown - edit.put_in.end),
        };
        offset.min(self.size)
    }
}

/// Looks through a mail.
///
/// # Errors
/// Why it is not split into parts.
pub(super) fn shown(raw: &[u8]) -> Result<Shown<'_>, &'static str> {
    copy(raw, &Walk::over(raw, Boundaries::declared(raw)?)?)
}

fn copy<'a>(raw: &'a [u8], walk: &Walk<'a>) -> Result<Shown<'a>, &'static str> {
    let mut falsely = walk.false_boundaries(raw)?;
    falsely.extend(&walk.repeated);
    falsely.sort_unstable();
    let mut shown = if walk.missing_lines.is_empty() && falsely.is_empty() && walk.long_bodies.is_empty() {
        Shown { bytes: Cow::Borrowed(raw), unclosed: BTreeSet::new(), edits: Vec::new(), size: raw.len() }
    } else {
        let mut copying = Copying::of(raw, &falsely);
        let mut long_bodies = walk.long_bodies.iter().cloned().peekable();
        for (at, boundary) in &walk.missing_lines {
            while let Some(body) = long_bodies.next_if(|it| it.end <= *at) {
                copying.replace(body, &[b"\n"]);
            }
            match boundary {
                Some(boundary) => copying.close(*at, boundary),
                None => copying.replace(*at..*at, &[b"\r\n"]),
            }
        }
        long_bodies.for_each(|it| copying.replace(it, &[b"\n"]));
        copying.finish()
    };
    let tempting: Vec<usize> = boundaries::tempting(&shown.bytes).collect();
    if !tempting.is_empty() {
        let copy = shown.bytes.to_mut();
        tempting.into_iter().for_each(|at| copy[at] = b'_');
    }
    if shown.bytes.starts_with(BYTE_ORDER_MARK) {
        shown.bytes.to_mut()[..BYTE_ORDER_MARK.len()].fill(b' ');
    }
    Ok(shown)
}

/// A copy in the making.
struct Copying<'a, 'h> {
    raw: &'a [u8],
    /// Where something is to be hidden, in order.
    hidden: &'h [usize],
    copy: Vec<u8>,
    /// The copy has everything before this place.
    done: usize,
    shown: Shown<'a>,
}

impl<'a, 'h> Copying<'a, 'h> {
    fn of(raw: &'a [u8], hidden: &'h [usize]) -> Self {
        let shown = Shown { bytes: Cow::Borrowed(raw), unclosed: BTreeSet::new(), edits: Vec::new(), size: raw.len() };
        Self { raw, hidden, copy: Vec::new(), done: 0, shown }
    }

    fn close(&mut self, at: usize, boundary: &'a [u8]) {
        self.replace(at..at, &[b"\r\n--", boundary, b"--"]);
        self.shown.unclosed.insert(boundary);
    }

    fn replace(&mut self, left_out: Range<usize>, by: &[&[u8]]) {
        self.copy_until(left_out.start);
        let start = self.copy.len();
        by.iter().for_each(|it| self.copy.extend_from_slice(it));
        self.done = left_out.end.max(self.done);
        self.shown.edits.push(Edit { left_out, put_in: start..self.copy.len() });
    }

    fn copy_until(&mut self, end: usize) {
        let Some(text) = self.raw.get(self.done..end) else { return };
        let shift = self.copy.len();
        self.copy.extend_from_slice(text);
        let passed = self.hidden.partition_point(|it| *it < end);
        let (here, later) = self.hidden.split_at(passed);
        here.iter().filter(|it| **it >= self.done).for_each(|it| self.copy[shift + it - self.done] = b'_');
        (self.hidden, self.done) = (later, end);
    }

    fn finish(mut self) -> Shown<'a> {
        self.copy_until(self.raw.len());
        self.shown.bytes = Cow::Owned(self.copy);
        self.shown
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
            ("a: boundary=b\n\n--b\n\nx --b y\n--bc\n--b--\n", "a: boundary=b\n\n--b\n\nx _-b y\n_-bc\n--b--\n"),
            (
                "X-Content-Type: x\nContent-Type: a\nContent-Type: c\n\n",
                "X-Content-Type: x\nContent-Type: a\n_ontent-Type: c\n\n",
            ),
            ("a: boundary=b\n\n--b\nx: y\n--b--\n", "a: boundary=b\n\n--b\nx: y\r\n\n--b--\n"),
            ("DKIM: h=\n Content-Type:x\nContent-Type: a\n\n", "DKIM: h=\n Content-Type:x\nContent-Type: a\n\n"),
            ("a: boundary=--b\n\n----b\n\n------b\n----b--\n", "a: boundary=--b\n\n----b\n\n--_---b\n----b--\n"),
        ] {
            assert_eq!(seen(raw.as_bytes()), copy);
        }
    }

    #[test]
    fn an_outer_boundary_ends_what_is_open_inside() {
        let raw = b"a: boundary=o\nb: boundary=i\n\n--o\n\n--i\n\nx\n--o\n\ny";
        let shown = shown(raw).unwrap();
        let copy = String::from_utf8_lossy(&shown.bytes);
        assert_eq!(copy, "a: boundary=o\nb: boundary=i\n\n--o\n\n--i\n\nx\r\n--i--\n--o\n\ny\r\n--o--");
        for (in_copy, in_mail) in [("x", "x"), ("--i--", "\n--o\n\ny"), ("--o\n\ny", "--o\n\ny"), ("y\r", "y")] {
            let at = u32::try_from(copy.rfind(in_copy).unwrap()).unwrap();
            assert_eq!(shown.offset(at), String::from_utf8_lossy(raw).rfind(in_mail).unwrap(), "{in_copy:?}");
        }
        assert_eq!(shown.offset(10_000), raw.len());
    }

    #[test]
    fn of_a_long_body_only_the_ends_are_shown() {
        let long = "x".repeat(5000);
        let raw = format!("a: boundary=b\n\n--b\n\n{long}\n--b\n\n{long} --b {long}\n--b--\n");
        let shown = shown(raw.as_bytes()).unwrap();
        assert!(shown.bytes.len() < 500, "{} bytes", shown.bytes.len());
        let copy = String::from_utf8_lossy(&shown.bytes);
        for (mark, nth) in [("--b", 0), ("--b", 1), ("--b--", 0)] {
            let in_copy = copy.match_indices(&format!("\n{mark}\n")).nth(nth).unwrap().0;
            let in_mail = raw.match_indices(&format!("\n{mark}\n")).nth(nth).unwrap().0;
            assert_eq!(shown.offset(u32::try_from(in_copy).unwrap()), in_mail, "{mark:?} {nth}");
        }
    }

    /// All places the library finds, as places in the mail.
    fn places(shown: &Shown<'_>) -> Vec<usize> {
        let parser = mail_parser::MessageParser::new()
            .header_content_type(mail_parser::HeaderName::ContentType)
            .default_header_ignore();
        let parts = parser.parse(&shown.bytes).map(|it| it.parts).unwrap_or_default();
        let places = |it: &mail_parser::MessagePart<'_>| {
            let fields = it.headers.iter().flat_map(|it| [it.offset_field, it.offset_start, it.offset_end]);
            fields.chain([it.offset_body, it.offset_end]).map(|it| shown.offset(it)).collect::<Vec<_>>()
        };
        parts.iter().flat_map(places).collect()
    }

    proptest::proptest! {
        #[test]
        fn the_library_finds_the_same_with_and_without_long_bodies(
            pieces in proptest::collection::vec((0..PIECES.len(), 0..1400_usize), 0..30)
        ) {
            let mut raw = b"Content-Type: multipart/mixed; boundary=b\n\n".to_vec();
            for (piece, times) in pieces {
                let times = if PIECES[piece].len() < 4 { times } else { 1 };
                raw.extend(PIECES[piece].as_bytes().repeat(times));
            }
            if let Ok(mut walk) = Boundaries::declared(&raw).and_then(|it| Walk::over(&raw, it)) {
                let with = copy(&raw, &walk).unwrap();
                walk.long_bodies.clear();
                proptest::prop_assert_eq!(places(&with), places(&copy(&raw, &walk).unwrap()));
            }
        }
    }

    const PIECES: &[&str] = &[
        "x",
        "-",
        "\n",
        "x\n",
        " ",
        "--\n",
        "\n\n--b\n",
        "\n--b--\n",
        "\n--c\r\n",
        "\n--c--\r\n",
        "--b ",
        "--b--c",
        "Content-Type: multipart/mixed; boundary=c\r\n\r\n",
        "Content-Type: multipart/x; boundary=\"b\"\n\n",
        "Content-Type: text/plain\n\n",
        "Content-Type: message/rfc822\n\n",
        "Subject: x\n",
        "x\n\n",
        "x\r\n\r\n",
    ];

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
            (format!("a: {}", "x".repeat(9 << 20)), "more than 8 MiB of header lines"),
            ("boundary=b;".repeat(200_001), "more than 200000 boundaries"),
            (
                format!("a: boundary={}\n{}", "-".repeat(200), format!("x: {}\n", "-".repeat(999)).repeat(2000)),
                "too many dashes",
            ),
        ] {
            assert_eq!(shown(raw.as_bytes()).unwrap_err(), problem);
        }
        assert!(shown(missing(100).as_bytes()).is_ok());
    }
}
