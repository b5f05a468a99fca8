//! Bodies as they may travel: 7bit where nothing can happen to it, else quoted-printable or base64 (RFC 2045 §6).

use base64::prelude::{BASE64_STANDARD, Engine};

/// The longest line that is left as it is. RFC 5322 §2.1.1 asks for 78 letters at most.
const LINE: usize = 78;
/// The longest line of quoted-printable and base64 (RFC 2045 §6.7 and §6.8).
const ENCODED_LINE: usize = 76;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A text with the lines of a mail, as a part's `Content-Transfer-Encoding` and what follows its header.
pub(super) fn text(text: &str) -> (&'static str, Vec<u8>) {
    letters(text.as_bytes())
}

/// The same of a text in whatever character set that keeps ASCII's line ends.
pub(super) fn letters(text: &[u8]) -> (&'static str, Vec<u8>) {
    let lines: Vec<&[u8]> = lines(text).collect();
    if lines.iter().all(|line| is_plain(line)) {
        return ("7bit", lines.join(&b"\r\n"[..]));
    }
    // What is mostly Latin stays legible; what is not is shorter in base64.
    let foreign = text.iter().filter(|byte| !byte.is_ascii() || **byte == b'=').count();
    match foreign * 3 > text.len() {
        true => ("base64", base64(&lines.join(&b"\r\n"[..]))),
        false => ("quoted-printable", quoted_printable(&lines)),
    }
}

/// The lines of a text, whatever ends them.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let without_end = |line| <[u8]>::strip_suffix(line, b"\r").unwrap_or(line);
    text.split(|byte| *byte == b'\n').flat_map(move |line| without_end(line).split(|byte| *byte == b'\r'))
}

/// Whether a line travels unharmed: short, of letters, and nothing that relays or mailboxes change.
fn is_plain(line: &[u8]) -> bool {
    line.len() <= LINE
        && line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        && !line.ends_with(b" ")
        && !line.ends_with(b"\t")
        && ![&b"From "[..], b".", b"--"].iter().any(|start| line.starts_with(start))
}

fn quoted_printable(lines: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.iter().map(|line| line.len() + 16).sum());
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let mut width = 0;
        for (at, byte) in line.iter().enumerate() {
            let is_last = at + 1 == line.len();
            let must_escape = |width| match byte {
                b' ' | b'\t' => is_last,
                // At the beginning of a line: what a mailbox file or the protocol would take for its own.
                b'F' | b'.' | b'-' if width == 0 => true,
                b'=' => true,
                byte => !byte.is_ascii_graphic(),
            };
            let mut escaped = must_escape(width);
            // A soft break takes one letter more on every line but the last.
            if width + if escaped { 3 } else { 1 } > ENCODED_LINE - usize::from(!is_last) {
                out.extend_from_slice(b"=\r\n");
                width = 0;
                escaped = must_escape(width);
            }
            match escaped {
                true => out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
                false => out.push(*byte),
            }
            width += if escaped { 3 } else { 1 };
        }
    }
    out
}

/// Bytes as base64 in lines.
pub(super) fn base64(bytes: &[u8]) -> Vec<u8> {
    let piece = ENCODED_LINE / 4 * 3;
    let mut out = Vec::with_capacity(bytes.len().div_ceil(piece) * (ENCODED_LINE + 2));
    let mut line = String::with_capacity(ENCODED_LINE);
    for bytes in bytes.chunks(piece) {
        line.clear();
        BASE64_STANDARD.encode_string(bytes, &mut line);
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// How long base64 in lines is for so many bytes.
pub(super) fn base64_len(bytes: u64) -> u64 {
    bytes.div_ceil(3) * 4 + bytes.div_ceil(57) * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::transfer::TransferEncoding;

    fn decoded(written: &str) -> (&'static str, String) {
        let (encoding, bytes) = text(written);
        for line in bytes.split(|byte| *byte == b'\n') {
            assert!(line.len() <= LINE + 1, "{written:?}");
            assert!(!line.starts_with(b"From ") && !line.starts_with(b"."), "{written:?}");
        }
        assert!(bytes.is_ascii());
        let read = TransferEncoding::named(encoding).decode(&bytes).into_owned();
        (encoding, String::from_utf8(read).unwrap())
    }

    #[test]
    fn a_text_arrives_as_it_was_written_but_for_its_line_ends() {
        for (written, encoding, arrives) in [
            ("", "7bit", ""),
            ("Hello\nWorld\n", "7bit", "Hello\r\nWorld\r\n"),
            ("a\r\nb\rc\n\r\nd", "7bit", "a\r\nb\r\nc\r\n\r\nd"),
            ("Grüße aus der schönen Stadt Köln, a=b", "quoted-printable", "Grüße aus der schönen Stadt Köln, a=b"),
            ("trailing \nFrom me\n.\n--boundary", "quoted-printable", "trailing \r\nFrom me\r\n.\r\n--boundary"),
            ("テスト", "base64", "テスト"),
        ] {
            assert_eq!(decoded(written), (encoding, arrives.to_owned()), "{written:?}");
        }
        let long = "x".repeat(5_000);
        assert_eq!(decoded(&long), ("quoted-printable", long));
    }

    #[test]
    fn the_length_of_base64_is_known_before_it_is_written() {
        for length in [0, 1, 56, 57, 58, 114, 1000, 100_000] {
            assert_eq!(base64(&vec![1; length]).len() as u64, base64_len(length as u64), "{length}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_arrives(written in "([ -~]{0,90}|[äöü€😀=\t ]{0,40}|\n|\r\n|From |\\.|--){0,12}") {
            let expected = lines(written.as_bytes()).collect::<Vec<_>>().join(&b"\r\n"[..]);
            proptest::prop_assert_eq!(decoded(&written).1.into_bytes(), expected);
        }
    }
}
