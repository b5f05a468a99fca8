//! Content-Transfer-Encoding: what stands in the mail and the bytes that are meant (RFC 2045 §6).
//!
//! The library decodes. Its decoders give up on a part that is damaged in one place; here the place is mended first,
//! so that decoding never fails.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::parsers::MessageStream;

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
        match self {
            Self::Identity => Cow::Borrowed(written),
            Self::Base64 => Cow::Owned(base64(written)),
            Self::QuotedPrintable => quoted_printable(written).unwrap_or(Cow::Borrowed(written)),
        }
    }
}

/// The library decodes on after the padding, where lists append their footers, and gives up at a stray byte, which
/// gateways put between: so the padding is the end, and what is not in the alphabet is skipped.
fn base64(written: &[u8]) -> Vec<u8> {
    let until_padding = written.split(|&byte| byte == b'=').next().unwrap_or_default();
    base64_decode(until_padding).unwrap_or_else(|| {
        let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let digits: Vec<u8> = until_padding.iter().copied().filter(is_digit).collect();
        base64_decode(&digits).unwrap_or_default()
    })
}

/// `None` when the library gives up, which it does at two equal signs next to each other.
fn quoted_printable(written: &[u8]) -> Option<Cow<'_, [u8]>> {
    decoded(written).map(Cow::Owned).or_else(|| {
        let mut mended = Vec::with_capacity(written.len() + 64);
        for (at, &byte) in written.iter().enumerate() {
            match (byte, written.get(at + 1)) {
                (b'=', Some(b'=')) => mended.extend_from_slice(b"=3D"),
                _ => mended.push(byte),
            }
        }
        decoded(&mended).map(Cow::Owned)
    })
}

fn decoded(written: &[u8]) -> Option<Vec<u8>> {
    let (end, bytes) = MessageStream::new(written).decode_quoted_printable_mime(b"");
    (end != usize::MAX).then(|| bytes.into_owned())
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
            (QuotedPrintable, "caf=C3=A9", "caf\u{e9}"),
            (QuotedPrintable, "soft=\r\nbreak=20\r\n", "softbreak \r\n"),
            (QuotedPrintable, "pad   \r\nsoft = \r\nx", "pad\r\nsoft x"),
            (QuotedPrintable, "1+1=2 =G1 =", "1+1=2 =G1 "),
            (QuotedPrintable, "a==b ===C3=BC", "a==b ==\u{fc}"),
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
        fn any_bytes_can_be_read(bytes: Vec<u8>, text in "[= \r\nA-Fx]{0,60}") {
            for written in [&bytes[..], text.as_bytes()] {
                let _ = TransferEncoding::QuotedPrintable.decode(written);
                let _ = TransferEncoding::Base64.decode(written);
            }
        }
    }
}
