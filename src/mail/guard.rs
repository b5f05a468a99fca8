//! What the library gets to see of a mail: the mail, or a copy in which nothing tempts it, or nothing at all.
//!
//! The library opens mails inside mails, each of which costs stack; takes a boundary for one wherever it stands; never
//! lets an outer boundary end an inner part; and looks through the rest of the mail for every boundary that never
//! comes. Walks over the mail, each linear, see all that before. Only offsets are taken from what the library reads.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::boundaries::{self, Boundaries, Walk};

/// Where something was put into the copy, how much, and how much before it.
#[derive(Debug)]
struct Insertion {
    at: usize,
    length: usize,
    before: usize,
}

/// What the library may read.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Boundaries of multiparts that end without saying so.
    pub unclosed: BTreeSet<&'a [u8]>,
    inserted: Vec<Insertion>,
    size: usize,
}

impl Shown<'_> {
    /// The offset in the mail for one in the copy.
    pub(super) fn offset(&self, shown: u32) -> usize {
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
pub(super) fn shown(raw: &[u8]) -> Result<Shown<'_>, &'static str> {
    let boundaries = Boundaries::declared(raw);
    let walk = Walk::over(raw, boundaries)?;
    let mut falsely = walk.false_boundaries(raw);
    falsely.extend(&walk.repeated);
    let mut shown =
        Shown { bytes: Cow::Borrowed(raw), unclosed: BTreeSet::new(), inserted: Vec::new(), size: raw.len() };
    if !walk.missing_lines.is_empty() || !falsely.is_empty() {
        let mut hidden = raw.to_vec();
        falsely.iter().for_each(|&at| hidden[at] = b'_');
        let mut copy = Vec::with_capacity(raw.len() + 1024);
        let mut from = 0;
        for &(at, boundary) in &walk.missing_lines {
            copy.extend_from_slice(&hidden[from..at]);
            let before = copy.len();
            copy.extend_from_slice(b"\r\n");
            if let Some(boundary) = boundary {
                copy.extend_from_slice(b"--");
                copy.extend_from_slice(boundary);
                copy.extend_from_slice(b"--");
                shown.unclosed.insert(boundary);
            }
            let until_here = shown.inserted.last().map_or(0, |it| it.before + it.length);
            shown.inserted.push(Insertion { at: before, length: copy.len() - before, before: until_here });
            from = at;
        }
        copy.extend_from_slice(&hidden[from..]);
        shown.bytes = Cow::Owned(copy);
    }
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
