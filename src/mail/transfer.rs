//! Content-Transfer-Encoding: what stands in the mail and the bytes that are meant (RFC 2045 §6).
//!
//! Decoding never fails: what is no base64 or quoted-printable is skipped or kept as it stands.

use std::borrow::Cow;

/// Decoded bytes are handed on in pieces of about this size, so that a large attachment is never held twice.
const PIECE: usize = 16 * 1024;

/// How the bytes of a part are written in the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferEncoding {
    /// 7bit, 8bit, binary, or a name nobody knows: as they are.
    #[default]
    Identity,
    /// base64
    Base64,
    /// quoted-printable
    QuotedPrintable,
}

impl TransferEncoding {
    /// Reads the header's value. An unknown encoding means the bytes are taken as they are.
    pub fn named(value: &str) -> Self {
        let name = value.split([';', '(', ' ']).find(|it| !it.is_empty()).unwrap_or_default().trim();
        match () {
            () if name.eq_ignore_ascii_case("base64") => Self::Base64,
            () if name.eq_ignore_ascii_case("quoted-printable") => Self::QuotedPrintable,
            () => Self::Identity,
        }
    }

    /// The decoded bytes, all at once.
    pub fn decode(self, written: &[u8]) -> Cow<'_, [u8]> {
        if self == Self::Identity {
            return Cow::Borrowed(written);
        }
        let mut decoded = Vec::with_capacity(written.len());
        self.decode_pieces(written, |piece| decoded.extend_from_slice(piece));
        Cow::Owned(decoded)
    }

    /// The decoded bytes, piece by piece.
    pub fn decode_pieces(self, written: &[u8], mut take: impl FnMut(&[u8])) {
        match self {
            Self::Identity => take(written),
            Self::Base64 => base64(written, &mut take),
            Self::QuotedPrintable => quoted_printable(written, &mut take),
        }
    }
}

const NO_DIGIT: u8 = 0xff;
const PADDING: u8 = 0xfe;

const BASE64: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 64 {
        table[alphabet[digit] as usize] = digit as u8;
        digit += 1;
    }
    table[b'=' as usize] = PADDING;
    table
};

/// Skips what is not in the alphabet, and ends at the padding: lists append their footers after it.
fn base64(written: &[u8], take: &mut impl FnMut(&[u8])) {
    let mut piece = Vec::with_capacity(PIECE + 3);
    let (mut group, mut digits) = (0u32, 0);
    for &byte in written {
        match BASE64[usize::from(byte)] {
            NO_DIGIT => {}
            PADDING => break,
            digit => {
                group = (group << 6) | u32::from(digit);
                digits += 1;
                if digits == 4 {
                    piece.extend_from_slice(&group.to_be_bytes()[1..]);
                    (group, digits) = (0, 0);
                    if piece.len() >= PIECE {
                        take(&piece);
                        piece.clear();
                    }
                }
            }
        }
    }
    match digits {
        2 => piece.push((group >> 4) as u8),
        3 => piece.extend_from_slice(&((group >> 2) as u16).to_be_bytes()),
        _ => {}
    }
    take(&piece);
}

fn quoted_printable(written: &[u8], take: &mut impl FnMut(&[u8])) {
    let mut piece = Vec::with_capacity(PIECE + 1024);
    for line in written.split_inclusive(|&byte| byte == b'\n') {
        let end = line.len() - line.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let (text, newline) = line.split_at(end);
        // Blanks at the end of a line were added on the way (RFC 2045 §6.7, rule 3).
        let text = text.trim_ascii_end();
        match text.strip_suffix(b"=") {
            Some(text) => unescape(text, b'=', &mut piece),
            None => {
                unescape(text, b'=', &mut piece);
                piece.extend_from_slice(newline);
            }
        }
        if piece.len() >= PIECE {
            take(&piece);
            piece.clear();
        }
    }
    take(&piece);
}

/// Turns `=41` (or, with another mark, `%41`) into `A`; a mark that no two hexadecimal digits follow stands for itself.
pub fn unescape(text: &[u8], mark: u8, into: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == mark) {
        into.extend_from_slice(&rest[..at]);
        match rest.get(at + 1).zip(rest.get(at + 2)).and_then(|(&high, &low)| hex(high).zip(hex(low))) {
            Some((high, low)) => {
                into.push(high << 4 | low);
                rest = &rest[at + 3..];
            }
            None => {
                into.push(mark);
                rest = &rest[at + 1..];
            }
        }
    }
    into.extend_from_slice(rest);
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_read() {
        use TransferEncoding::{Base64, Identity, QuotedPrintable};
        for (encoding, written, meant) in [
            (Base64, "aGVsbG8=", "hello"),
            (Base64, "aGVs\r\nbG8=\r\n-- \r\nfooter", "hello"),
            (Base64, "aGVsbG8", "hello"),
            (Base64, "a!G@V\0sbG8", "hello"),
            (Base64, "", ""),
            (QuotedPrintable, "caf=C3=A9", "caf\u{e9}"),
            (QuotedPrintable, "soft=\r\nbreak=20\r\n", "softbreak \r\n"),
            (QuotedPrintable, "pad   \r\nsoft = \r\nx", "pad\r\nsoft x"),
            (QuotedPrintable, "1+1=2 =G1 =", "1+1=2 =G1 "),
            (Identity, "as=20is", "as=20is"),
        ] {
            assert_eq!(String::from_utf8_lossy(&encoding.decode(written.as_bytes())), meant, "{written:?}");
        }
        assert_eq!(TransferEncoding::named(" BASE64 (comment)"), Base64);
        assert_eq!(TransferEncoding::named("x-unknown"), Identity);
    }

    proptest::proptest! {
        #[test]
        fn base64_agrees_with_its_writer(bytes: Vec<u8>) {
            use base64::prelude::{BASE64_STANDARD, Engine};
            let written = BASE64_STANDARD.encode(&bytes);
            proptest::prop_assert_eq!(&*TransferEncoding::Base64.decode(written.as_bytes()), &bytes[..]);
        }

        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>) {
            let _ = TransferEncoding::QuotedPrintable.decode(&bytes);
            let _ = TransferEncoding::Base64.decode(&bytes);
        }
    }
}
