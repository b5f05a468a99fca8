//! Bcc stays between its sender and whom it names: the fields are taken out of a mail before it is stored or hashed.
//!
//! Only the header section of the mail itself is touched; every other byte stays as it is, and where there is no such
//! field nothing is copied.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::addresses::{self, Mailbox};
use super::header;

/// The fields that name whom others must not see (RFC 5322 §3.6.3 and §3.6.6).
const HIDDEN: [&str; 2] = ["Bcc", "Resent-Bcc"];

/// Whether this field is never passed on. Case does not matter.
pub fn is_hidden(name: &str) -> bool {
    HIDDEN.iter().any(|it| it.eq_ignore_ascii_case(name.trim()))
}

/// The mail without its Bcc fields, and whom they name.
pub fn without_bcc(raw: Bytes) -> (Bytes, Vec<Mailbox>) {
    let (fields, end) = hidden_fields(&raw);
    if fields.is_empty() {
        return (raw, Vec::new());
    }
    let mut named = Vec::new();
    let mut head = Vec::with_capacity(end);
    let mut kept = 0;
    for field in fields {
        let (read, _) = header::section(&raw[field.clone()]);
        named.extend(HIDDEN.iter().flat_map(|name| addresses::list(&read, name)));
        head.extend_from_slice(&raw[kept..field.start]);
        kept = field.end;
    }
    head.extend_from_slice(&raw[kept..end]);
    (with_head(raw, &head, end), named)
}

/// The mail with another head of at most the same length in place of its first bytes. The rest is not copied where
/// nobody else holds it.
fn with_head(raw: Bytes, head: &[u8], end: usize) -> Bytes {
    let start = end - head.len();
    let mut raw = raw.try_into_mut().unwrap_or_else(|raw| BytesMut::from(raw.as_ref()));
    raw[start..end].copy_from_slice(head);
    raw.freeze().slice(start..)
}

/// Where the Bcc fields stand, and where the header section ends.
fn hidden_fields(raw: &[u8]) -> (Vec<Range<usize>>, usize) {
    let mut found: Vec<Range<usize>> = Vec::new();
    // Whether the line before belongs to a field, and whether to a hidden one.
    let (mut at, mut is_field, mut is_in_hidden) = (0, false, false);
    while at < raw.len() {
        let end = memchr::memchr(b'\n', &raw[at..]).map_or(raw.len(), |it| at + it + 1);
        let line = &raw[at..end];
        let is_folded = at > 0 && (line.starts_with(b" ") || line.starts_with(b"\t"));
        if line.trim_ascii().is_empty() && !is_folded {
            break;
        }
        // What is folded after no field is read as a field of its own by generous readers.
        if !(is_folded && is_field) {
            is_field = memchr::memchr(b':', line.trim_ascii()).is_some_and(|it| it > 0);
            is_in_hidden = is_hidden_field(line);
            if is_in_hidden {
                found.push(at..at);
            }
        }
        if let Some(last) = found.last_mut().filter(|_| is_in_hidden) {
            last.end = end;
        }
        at = end;
    }
    (found, at)
}

fn is_hidden_field(line: &[u8]) -> bool {
    // A line without a colon is a field without a value to whoever reads generously.
    let name = line.split(|byte| *byte == b':').next().and_then(|it| std::str::from_utf8(it).ok());
    name.is_some_and(is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(raw: &str) -> (String, Vec<String>) {
        let (left, named) = without_bcc(Bytes::copy_from_slice(raw.as_bytes()));
        (String::from_utf8(left.to_vec()).unwrap(), named.into_iter().map(|it| it.email).collect())
    }

    #[test]
    fn every_bcc_field_is_taken_out_and_nothing_else() {
        for (raw, left, named) in [
            ("A: 1\r\nBcc: x@y.z\r\nB: 2\r\n\r\ntext\r\n", "A: 1\r\nB: 2\r\n\r\ntext\r\n", &["x@y.z"][..]),
            ("BCC: x@y.z,\r\n\tA <a@y.z>\r\nB: 2\n\nBcc: text", "B: 2\n\nBcc: text", &["x@y.z", "a@y.z"]),
            ("bcc : x@y.z\nA: 1\nResent-BCC: r@y.z\n\n", "A: 1\n\n", &["x@y.z", "r@y.z"]),
            ("A: 1\r\nBcc: \r\n\r\n", "A: 1\r\n\r\n", &[]),
            ("A: 1\r\nBcc: x@y.z", "A: 1\r\n", &["x@y.z"]),
            ("A: Bcc: x\r\n bcc: y\r\nX-Bcc: z\r\n\r\n", "A: Bcc: x\r\n bcc: y\r\nX-Bcc: z\r\n\r\n", &[]),
            ("Bcc: =?utf-8?Q?=C3=BC?= <u@y.z>,\n \n x@y.z\nA: 1\n\n", "A: 1\n\n", &["u@y.z", "x@y.z"]),
            ("\r\nBcc: text", "\r\nBcc: text", &[]),
            ("", "", &[]),
        ] {
            assert_eq!(taken(raw), (left.to_owned(), named.iter().map(|it| (*it).to_owned()).collect()), "{raw:?}");
        }
    }

    #[test]
    fn a_mail_without_bcc_is_not_copied() {
        let raw = Bytes::from_static(b"A: 1\r\n\r\ntext");
        assert_eq!(without_bcc(raw.clone()).0.as_ptr(), raw.as_ptr());
    }

    #[test]
    fn a_mail_nobody_else_holds_is_changed_where_it_is() {
        let raw = Bytes::from(b"A: 1\r\nBcc: x@y.z\r\n\r\ntext".to_vec());
        let text = raw.as_ptr().wrapping_add(raw.len() - 4);
        let left = without_bcc(raw).0;
        assert_eq!((left.as_ref(), left[left.len() - 4..].as_ptr()), (&b"A: 1\r\n\r\ntext"[..], text));
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_header_no_bcc_is_read_from_it_afterwards(
            head in "(A: 1|Bcc: a@b.c|BCC|bcc :x|Resent-bcc:y@z|From me|\r\n|\n|\r| |\t|:|é){0,20}"
        ) {
            let raw = Bytes::from(head.into_bytes());
            let left = without_bcc(raw.clone()).0;
            let is_left = header::section(&left).0.0.iter().any(|it| is_hidden(&it.name));
            proptest::prop_assert!(!is_left, "{:?} became {:?}", raw, left);
        }

        #[test]
        fn the_other_fields_and_the_text_stay_as_they_are(
            head in "((A: 1|Bcc: a@b.c,(\r\n d@e.f)?|bcc:|X-Bcc: g|Subject:\r\n Bcc: h|Resent-bcc:y@z)\r\n){0,8}"
        ) {
            let mail = head.clone() + "\r\nBcc: text\r\n";
            let kept: String = header::section(mail.as_bytes()).0.0.iter().filter(|it| !is_hidden(&it.name)).map(|it| it.name.clone() + ";").collect();
            let left = without_bcc(Bytes::from(mail.into_bytes())).0;
            let names: String = header::section(&left).0.0.iter().map(|it| it.name.clone() + ";").collect();
            proptest::prop_assert_eq!(names, kept, "{:?}", head);
            proptest::prop_assert!(left.ends_with(b"\r\nBcc: text\r\n"));
            proptest::prop_assert_eq!(without_bcc(left.clone()).0, left);
        }
    }
}
