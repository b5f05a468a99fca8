//! Where the attachments of a mail stand in its bytes: written down when it is stored, so that one of them can be passed
//! on later without reading the whole mail.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::attachment::{Attachment, Content};
use super::parse::Mail;
use super::transfer::TransferEncoding;

/// One attachment, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its part id.
    pub id: String,
    /// A clean file name.
    pub name: Option<String>,
    /// Its content type, as the mail declares it.
    pub kind: String,
    /// Its size in bytes, decoded.
    pub size: u64,
    /// SHA-256 of the decoded bytes.
    pub sha256: String,
    /// Where it stands; `None` where it was unpacked from something else.
    pub written: Option<Written>,
}

/// Where bytes stand in a mail, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The first byte.
    pub start: u64,
    /// Behind the last one.
    pub end: u64,
    /// How they are written.
    pub encoding: TransferEncoding,
    /// Base64 in lines of one length: letters in a line, and bytes between two lines. Any byte can be found at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<(u64, u64)>,
}

/// Where the attachments of this mail stand, those that are in it.
pub fn of(mail: &Mail, raw: &[u8]) -> Vec<Place> {
    mail.attachments.iter().filter(|it| it.is_held()).map(|it| place(it, raw)).collect()
}

/// Where this attachment stands.
pub fn place(attachment: &Attachment, raw: &[u8]) -> Place {
    let written = match &attachment.content {
        Content::InMail { range, encoding } => Some(Written::new(range, *encoding, raw)),
        Content::Unpacked(_) | Content::Elsewhere { .. } => None,
    };
    Place {
        id: attachment.part_id.clone(),
        name: attachment.name.clone(),
        kind: attachment.kind.clone(),
        size: attachment.size,
        sha256: attachment.sha256.clone(),
        written,
    }
}

impl Written {
    fn new(range: &Range<usize>, encoding: TransferEncoding, raw: &[u8]) -> Self {
        let bytes = raw.get(range.clone()).unwrap_or_default();
        let lines = if encoding == TransferEncoding::Base64 { even_lines(bytes) } else { None };
        Self { start: range.start as u64, end: range.end as u64, encoding, lines }
    }

    /// Where to begin to read for the decoded byte `at`, and how many decoded bytes from there come before it.
    pub fn seek(&self, at: u64) -> (u64, u64) {
        match (self.encoding, self.lines) {
            (TransferEncoding::Identity, _) => ((self.start.saturating_add(at)).min(self.end), 0),
            (TransferEncoding::Base64, Some((letters, between))) if letters > 0 => {
                // Each line begins a group of four letters, which are three bytes.
                let (line, bytes) = (at / (letters / 4 * 3), letters / 4 * 3);
                let start = self.start.saturating_add(line.saturating_mul(letters + between));
                (start.min(self.end), at - line * bytes)
            }
            _ => (self.start, at),
        }
    }
}

/// The length of the lines and of what is between them, where all but the last have the same and hold nothing else.
fn even_lines(written: &[u8]) -> Option<(u64, u64)> {
    let end = memchr::memchr(b'\n', written)? + 1;
    let letters = written[..end].trim_ascii_end().len();
    let is_even = |line: &[u8]| {
        let (text, between) = line.split_at(letters);
        text.iter().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/')) && between.trim_ascii().is_empty()
    };
    let whole = written.chunks_exact(end);
    let rest = whole.remainder();
    // The last line, padding and all, and the empty ones behind it end what can be found.
    let text = rest.trim_ascii_end();
    let last_is_fine = !text.contains(&b'\n') && text.len() <= letters;
    let mut lines = whole.rev().skip_while(|line| line.contains(&b'='));
    let all_even = letters > 0 && letters.is_multiple_of(4) && lines.all(is_even);
    (all_even && last_is_fine).then_some((letters as u64, (end - letters) as u64))
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine};

    use super::*;

    fn base64(bytes: &[u8], letters: usize, between: &str) -> String {
        let text = BASE64_STANDARD.encode(bytes);
        let lines: Vec<&str> = text.as_bytes().chunks(letters).map(|it| std::str::from_utf8(it).unwrap()).collect();
        lines.join(between)
    }

    #[test]
    fn lines_of_one_length_are_known_as_such() {
        let bytes = [7; 200];
        let even = base64(&bytes, 76, "\r\n");
        for (written, expected) in [
            (even.clone(), Some((76, 2))),
            (format!("{even}\r\n"), Some((76, 2))),
            (base64(&bytes, 64, "\n"), Some((64, 1))),
            (format!("AAAA\r\n{even}"), None),
            (even.replacen("Bwc", "B!c", 1), None),
            (base64(&bytes, 75, "\r\n"), None),
            // Behind the padding nothing counts; without padding a footer is part of what is written.
            (format!("{even}\r\n-- \r\na footer of some list that goes on and on, line after line"), Some((76, 2))),
            (format!("{}\r\n-- \r\na footer of some list\r\n", base64(&[7; 201], 76, "\r\n")), None),
            (BASE64_STANDARD.encode(bytes), None),
            (String::new(), None),
            ("\r\n\r\n".to_owned(), None),
        ] {
            assert_eq!(even_lines(written.as_bytes()), expected, "{written}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_byte_is_found_where_seeking_says(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..600),
            quads in 1..20_usize, at in 0..600_u64, crlf: bool, ended: bool,
        ) {
            let between = if crlf { "\r\n" } else { "\n" };
            let mut text = format!("header\r\n\r\n{}", base64(&bytes, quads * 4, between));
            if ended { text += between; }
            let at = at % bytes.len() as u64;
            let written = Written::new(&(10..text.len()), TransferEncoding::Base64, text.as_bytes());
            let (from, before) = written.seek(at);
            let rest = &text.as_bytes()[usize::try_from(from).unwrap()..];
            let decoded = TransferEncoding::Base64.decode(rest);
            proptest::prop_assert_eq!(decoded[usize::try_from(before).unwrap()], bytes[usize::try_from(at).unwrap()]);
        }
    }
}
