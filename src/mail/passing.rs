//! Decoding a part that is passed on: written bytes go in piece by piece, what they mean comes out, the same as when
//! the part is decoded whole, and no more of it is held than a piece.

use super::transfer::TransferEncoding;

/// A line that is longer than this is cut where that changes nothing.
const LONG_LINE: usize = 256 * 1024;

/// Decodes one part from its beginning.
#[derive(Debug)]
pub struct Passing {
    encoding: TransferEncoding,
    /// Written bytes whose meaning depends on what follows.
    waiting: Vec<u8>,
    /// Behind the padding of base64 nothing counts.
    ended: bool,
}

impl Passing {
    /// A part that is written like this.
    pub fn new(encoding: TransferEncoding) -> Self {
        Self { encoding, waiting: Vec::new(), ended: false }
    }

    /// What these bytes mean, as far as it can be said without those that follow.
    pub fn pass(&mut self, written: &[u8]) -> Vec<u8> {
        match self.encoding {
            TransferEncoding::Identity => written.to_vec(),
            TransferEncoding::Base64 => self.base64(written),
            TransferEncoding::QuotedPrintable => {
                self.waiting.extend_from_slice(written);
                let cut = cut(&self.waiting);
                self.decode(cut)
            }
        }
    }

    /// What is left at the end.
    pub fn finish(mut self) -> Vec<u8> {
        let all = self.waiting.len();
        self.decode(all)
    }

    fn base64(&mut self, written: &[u8]) -> Vec<u8> {
        if self.ended {
            return Vec::new();
        }
        let end = memchr::memchr(b'=', written);
        self.ended = end.is_some();
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        self.waiting.extend(written[..end.unwrap_or(written.len())].iter().copied().filter(is_letter));
        let whole = self.waiting.len() / 4 * 4;
        self.decode(whole)
    }

    fn decode(&mut self, until: usize) -> Vec<u8> {
        let bytes = self.encoding.decode(&self.waiting[..until]).into_owned();
        self.waiting.drain(..until);
        bytes
    }
}

/// How far quoted-printable can be read without what follows: line by line. A line without end is cut between two
/// letters that belong to no escape.
fn cut(waiting: &[u8]) -> usize {
    if let Some(at) = memchr::memrchr(b'\n', waiting) {
        return at + 1;
    }
    if waiting.len() <= LONG_LINE {
        return 0;
    }
    let is_free = |at: &usize| {
        let letter = waiting[*at - 1].is_ascii_alphanumeric();
        letter && !waiting[at.saturating_sub(3)..*at].contains(&b'=')
    };
    (1..=waiting.len()).rev().find(is_free).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(encoding: TransferEncoding, written: &[u8], size: usize) -> Vec<u8> {
        let mut passing = Passing::new(encoding);
        let mut bytes: Vec<u8> = written.chunks(size).flat_map(|it| passing.pass(it)).collect();
        bytes.extend(passing.finish());
        bytes
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let written = "caf=C3=A9 ".repeat(100_000);
        let mut passing = Passing::new(TransferEncoding::QuotedPrintable);
        let mut bytes = Vec::new();
        for piece in written.as_bytes().chunks(10_000) {
            bytes.extend(passing.pass(piece));
            assert!(passing.waiting.len() <= LONG_LINE + 10_000);
        }
        bytes.extend(passing.finish());
        assert_eq!(bytes, *TransferEncoding::QuotedPrintable.decode(written.as_bytes()));
    }

    proptest::proptest! {
        #[test]
        fn pieces_mean_what_the_whole_means(
            bytes: Vec<u8>, text in "([a-zA-Z0-9+/]{1,9}|=[0-9A-F]{2}|= ?\r?\n| +\n|\r?\n|[=!_]){0,30}", size in 1..20_usize,
        ) {
            use TransferEncoding::{Base64, Identity, QuotedPrintable};
            for encoding in [Base64, Identity, QuotedPrintable] {
                for written in [&bytes[..], text.as_bytes()] {
                    proptest::prop_assert_eq!(passed(encoding, written, size), &*encoding.decode(written));
                }
            }
        }
    }
}
