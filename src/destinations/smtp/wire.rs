//! A mail as SMTP carries it: lines that end in CRLF, a dot before a dot, and nothing else changed.
//!
//! A bare LF or CR becomes CRLF, since SMTP knows no other end of a line and a lone one can be read as the mail's end
//! (RFC 5321, 2.3.8 and 4.1.1.4). Signatures are made over lines that end in CRLF, so they stay what they were.

use bytes::Bytes;

/// A mail to be sent: what we put before it, and the rest as it came.
pub(super) struct Parcel {
    /// Our own fields, and the beginning of the mail where a field of it was rewritten.
    pub(super) before: Vec<u8>,
    /// The mail's own bytes.
    pub(super) rest: Bytes,
}

/// What a relay has to know before it gets a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// Bytes as RFC 1870 counts them: every line with its CRLF, without the dots that are put before dots.
    pub(super) size: u64,
    /// Whether any byte is beyond ASCII.
    pub(super) is_8bit: bool,
    /// Whether the header has text beyond ASCII that is UTF-8 (RFC 6532).
    pub(super) has_utf8_header: bool,
}

impl Parcel {
    /// The lines, without their ends.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        lines(&self.before).chain(lines(&self.rest))
    }

    pub(super) fn measure(&self) -> Measure {
        let mut found = Measure { size: 0, is_8bit: false, has_utf8_header: false };
        let (mut in_header, mut is_utf8) = (true, true);
        for line in self.lines() {
            found.size += line.len() as u64 + 2;
            in_header &= !line.is_empty();
            if line.is_ascii() {
                continue;
            }
            found.is_8bit = true;
            if in_header {
                found.has_utf8_header = true;
                is_utf8 &= std::str::from_utf8(line).is_ok();
            }
        }
        // Other charsets in a header are a habit older than SMTPUTF8, and not what that promises.
        found.has_utf8_header &= is_utf8;
        found
    }
}

/// Lines by any of the three ends people write. What stands behind the last end is a line too, unless it is empty.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, next) = cut(rest);
        rest = next;
        Some(line)
    })
}

/// The first line, and what follows its end.
pub(super) fn cut(text: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr::memchr2(b'\r', b'\n', text) else { return (text, &[]) };
    let length = if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
    (&text[..end], &text[end + length..])
}

/// Adds a line as it goes over the wire.
pub(super) fn put(line: &[u8], wire: &mut Vec<u8>) {
    if line.starts_with(b".") {
        wire.push(b'.');
    }
    wire.extend_from_slice(line);
    wire.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(before: &str, rest: &[u8]) -> Parcel {
        Parcel { before: before.as_bytes().to_vec(), rest: Bytes::copy_from_slice(rest) }
    }

    fn sent(parcel: &Parcel) -> Vec<u8> {
        let mut wire = Vec::new();
        parcel.lines().for_each(|line| put(line, &mut wire));
        wire
    }

    #[test]
    fn a_mail_goes_over_the_wire_with_crlf_and_dots() {
        for (mail, expected) in [
            ("A: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n"),
            ("A: b\n\nc", "A: b\r\n\r\nc\r\n"),
            ("A: b\r\rc\n\r\n", "A: b\r\n\r\nc\r\n\r\n"),
            ("A: b\r\n\r\n.\r\n..\r\n.c\r\nd.\r\n", "A: b\r\n\r\n..\r\n...\r\n..c\r\nd.\r\n"),
            ("a\n.\nMAIL FROM:<x@y>\n", "a\r\n..\r\nMAIL FROM:<x@y>\r\n"),
            ("a\r.\rb\r\n", "a\r\n..\r\nb\r\n"),
            ("a\r\r\nb", "a\r\n\r\nb\r\n"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(sent(&parcel("", mail.as_bytes()))).unwrap(), expected, "{mail:?}");
        }
    }

    #[test]
    fn it_is_measured_as_servers_count() {
        for (rest, size, is_8bit, has_utf8_header) in [
            (&b"A: b\r\n\r\n.c\r\n"[..], 12, false, false),
            (b"A: b\n\n.c", 12, false, false),
            ("A: ü\r\n\r\nb\r\n".as_bytes(), 12, true, true),
            ("A: b\r\n\r\nü\r\n".as_bytes(), 12, true, false),
            (b"A: \xfc\r\n\r\nb\r\n", 11, true, false),
        ] {
            assert_eq!(parcel("", rest).measure(), Measure { size, is_8bit, has_utf8_header }, "{rest:?}");
        }
        assert_eq!(parcel("X: y\r\n", b"A: b\r\n\r\n").measure().size, 14);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_has_no_lone_ends_and_no_end_of_its_own(rest in "[a.\r\n]{0,30}") {
            let parcel = parcel("X: y\r\n", rest.as_bytes());
            let wire = String::from_utf8(sent(&parcel)).unwrap();
            let bare = wire.replace("\r\n", "");
            proptest::prop_assert!(!bare.contains(['\r', '\n']), "{wire:?}");
            proptest::prop_assert!(wire.split("\r\n").all(|line| line != "."), "{wire:?}");
            // As a server undoes it.
            let undone: Vec<&str> = wire.split_terminator("\r\n").map(|it| it.strip_prefix('.').unwrap_or(it)).collect();
            let given: Vec<&str> = parcel.lines().map(|it| std::str::from_utf8(it).unwrap()).collect();
            let size: usize = given.iter().map(|it| it.len() + 2).sum();
            proptest::prop_assert_eq!(parcel.measure().size, size as u64);
            proptest::prop_assert_eq!(undone, given);
        }
    }
}
