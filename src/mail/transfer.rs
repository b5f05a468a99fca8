//! Content-Transfer-Encoding: what stands in the mail and the bytes that are meant (RFC 2045 §6).
//!
//! Decoding never fails: what is damaged in one place costs that place. It goes on piece by piece, so that a large
//! attachment can be weighed and hashed without a copy of it.

use std::borrow::Cow;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

/// How the bytes of a part are written in the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
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

    /// The decoded bytes.
    pub fn decode(self, written: &[u8]) -> Cow<'_, [u8]> {
        let mut bytes = match self {
            Self::Identity => return Cow::Borrowed(written),
            Self::Base64 => Vec::with_capacity(written.len() / 4 * 3 + 3),
            Self::QuotedPrintable => Vec::with_capacity(written.len()),
        };
        self.pieces(written, |piece| bytes.extend_from_slice(piece));
        Cow::Owned(bytes)
    }

    /// Hands over the decoded bytes piece by piece. Takes no more memory than a piece.
    pub fn pieces(self, written: &[u8], take: impl FnMut(&[u8])) {
        match self {
            Self::Identity => [written].into_iter().for_each(take),
            Self::Base64 => base64(written, take),
            Self::QuotedPrintable => quoted_printable(written, take),
        }
    }
}

/// So much of base64 is looked at in one go.
const PIECE: usize = 32 * 1024;
/// The last letter may carry bits that mean nothing.
const TOLERANT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);
const ALPHABET: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, TOLERANT);

/// The padding is the end: behind it lists append their footers. What is not in the alphabet is skipped: gateways put
/// it between.
fn base64(written: &[u8], mut take: impl FnMut(&[u8])) {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let until_padding = &written[..memchr::memchr(b'=', written).unwrap_or(written.len())];
    let mut letters = Vec::with_capacity(PIECE.min(until_padding.len()) + 4);
    let mut bytes = vec![0; letters.capacity()];
    let mut decode = |letters: &[u8]| {
        if let Ok(length) = ALPHABET.decode_slice(letters, &mut bytes) {
            take(&bytes[..length]);
        }
    };
    for piece in until_padding.chunks(PIECE) {
        letters.extend(piece.iter().copied().filter(is_letter));
        let whole = letters.len() / 4 * 4;
        decode(&letters[..whole]);
        letters.drain(..whole);
    }
    // One letter alone has six bits, which are no byte.
    if letters.len() > 1 {
        decode(&letters);
    }
}

/// An equal sign that begins nothing stands for itself. Blanks at the end of a line were put there on the way.
fn quoted_printable(written: &[u8], mut take: impl FnMut(&[u8])) {
    let mut gathered = Gathered { bytes: Vec::with_capacity(PIECE.min(written.len())), take: &mut take };
    let mut rest = written;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest);
        let (line, after) = rest.split_at(end.map_or(rest.len(), |it| it + 1));
        rest = after;
        let text = line.trim_ascii_end();
        match (text.strip_suffix(b"="), end) {
            (Some(text), _) => gathered.add_line(text),
            (None, None) => gathered.add_line(line),
            (None, Some(_)) => {
                gathered.add_line(text);
                gathered.add(if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" });
            }
        }
    }
    gathered.hand_over();
}

/// Bytes that are handed over when there are enough of them.
struct Gathered<'t, T: FnMut(&[u8])> {
    bytes: Vec<u8>,
    take: &'t mut T,
}

impl<T: FnMut(&[u8])> Gathered<'_, T> {
    fn add_line(&mut self, mut text: &[u8]) {
        while let Some(at) = memchr::memchr(b'=', text) {
            self.add(&text[..at]);
            let digit = |at: usize| text.get(at).and_then(|it| char::from(*it).to_digit(16));
            let byte = digit(at + 1).zip(digit(at + 2)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            self.add(&[byte.unwrap_or(b'=')]);
            text = &text[at + if byte.is_some() { 3 } else { 1 }..];
        }
        self.add(text);
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > PIECE {
            self.hand_over();
        }
        if bytes.len() > PIECE { (self.take)(bytes) } else { self.bytes.extend_from_slice(bytes) }
    }

    fn hand_over(&mut self) {
        if !self.bytes.is_empty() {
            (self.take)(&self.bytes);
            self.bytes.clear();
        }
    }
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
            (Base64, "aGVsbG8= footer", "hello"),
            (Base64, "aGVsbG8", "hello"),
            (Base64, "a!G@V\0sbG8", "hello"),
            (Base64, "", ""),
            (Base64, "aGVsbG8x_", "hello1"),
            (Base64, "aGVsbG8xa", "hello1"),
            (Base64, "=aGVsbG8", ""),
            (QuotedPrintable, "caf=C3=A9", "caf\u{e9}"),
            (QuotedPrintable, "soft=\r\nbreak=20\r\n", "softbreak \r\n"),
            (QuotedPrintable, "pad   \r\nsoft = \r\nx", "pad\r\nsoft x"),
            (QuotedPrintable, "1+1=2 =G1 =", "1+1=2 =G1 "),
            (QuotedPrintable, "a==b ===C3=BC", "a==b ==\u{fc}"),
            (QuotedPrintable, "a=\t\r\r\nb \r\r\nc\n", "ab\r\nc\n"),
            (QuotedPrintable, "end  ", "end  "),
            (QuotedPrintable, "= =41=4", "= A=4"),
            (QuotedPrintable, "old\rmac", "old\rmac"),
            (Identity, "as=20is", "as=20is"),
        ] {
            assert_eq!(String::from_utf8_lossy(&encoding.decode(written.as_bytes())), meant, "{written:?}");
        }
        assert_eq!(TransferEncoding::named(" BASE64 (comment)"), Base64);
        assert_eq!(TransferEncoding::named("x-unknown"), Identity);
    }

    /// So long that it is decoded in several pieces.
    fn long(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().copied().cycle().take(if bytes.is_empty() { 0 } else { 3 * PIECE + bytes.len() }).collect()
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

        #[test]
        fn base64_agrees_with_its_writer(bytes: Vec<u8>, width in 1_usize..100) {
            use base64::prelude::BASE64_STANDARD;
            for bytes in [&bytes, &long(&bytes)] {
                let lines: Vec<Vec<u8>> = BASE64_STANDARD.encode(bytes).into_bytes().chunks(width).map(Vec::from).collect();
                let written = lines.join(&b"\r\n"[..]);
                proptest::prop_assert_eq!(&*TransferEncoding::Base64.decode(&written), &bytes[..]);
            }
        }

        #[test]
        fn quoted_printable_agrees_with_its_writer(bytes: Vec<u8>, width in 1_usize..30) {
            for bytes in [&bytes, &long(&bytes)] {
                let letter = |byte: &u8| match byte {
                    b'a'..=b'z' => char::from(*byte).to_string(),
                    _ => format!("={byte:02X}"),
                };
                let lines: Vec<String> = bytes.chunks(width).map(|it| it.iter().map(letter).collect()).collect();
                let written = lines.join("=\r\n");
                proptest::prop_assert_eq!(&*TransferEncoding::QuotedPrintable.decode(written.as_bytes()), &bytes[..]);
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>, text in "[= \r\nA-Fx]{0,60}") {
            for written in [&bytes[..], text.as_bytes()] {
                assert!(TransferEncoding::QuotedPrintable.decode(written).len() <= written.len());
                assert!(TransferEncoding::Base64.decode(written).len() <= written.len());
            }
        }
    }
}
