//! Where the content of DATA ends: at CRLF `.` CRLF and nowhere else (RFC 5321 §4.1.1.4), and the dots that were put
//! before dots. Written here, because receivers that are more generous let strangers put mails into mails.

/// How far the content has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Dots {
    /// A line begins.
    #[default]
    Start,
    /// Within a line.
    Within,
    /// The last byte was a CR.
    Cr,
    /// A dot began the line.
    Dot,
    /// A dot and a CR.
    DotCr,
}

impl Dots {
    /// Takes what belongs to the content and hands over its bytes. Returns whether it ended; what follows is left.
    pub(super) fn take(&mut self, heard: &mut &[u8], mut keep: impl FnMut(&[u8])) -> bool {
        while let Some((&byte, rest)) = heard.split_first() {
            *self = match (*self, byte) {
                (Self::DotCr, b'\n') => {
                    *heard = rest;
                    return true;
                }
                // It was no end: the dot was put there, the CR was not.
                (Self::DotCr, _) => {
                    keep(b"\r");
                    *self = Self::Cr;
                    continue;
                }
                (Self::Dot, b'\r') => Self::DotCr,
                (Self::Start, b'.') => Self::Dot,
                (Self::Cr, b'\n') => {
                    keep(b"\n");
                    Self::Start
                }
                _ => {
                    let end = memchr::memchr(b'\r', heard);
                    let (line, rest) = heard.split_at(end.map_or(heard.len(), |it| it + 1));
                    keep(line);
                    *heard = rest;
                    *self = if end.is_some() { Self::Cr } else { Self::Within };
                    continue;
                }
            };
            *heard = rest;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pieces: &[&[u8]]) -> (String, Option<String>) {
        let (mut dots, mut kept) = (Dots::default(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            if dots.take(&mut rest, |bytes| kept.extend_from_slice(bytes)) {
                return (String::from_utf8(kept).unwrap(), Some(String::from_utf8(rest.to_vec()).unwrap()));
            }
            assert!(rest.is_empty());
        }
        (String::from_utf8(kept).unwrap(), None)
    }

    #[test]
    fn content_ends_at_one_thing_only_and_its_dots_are_undone() {
        for (wire, content, rest) in [
            (".\r\nQUIT", "", Some("QUIT")),
            ("a\r\n.\r\n", "a\r\n", Some("")),
            ("..\r\n.a\r\n...\r\n.\r\n", ".\r\na\r\n..\r\n", Some("")),
            ("a\n.\n", "a\n.\n", None),
            ("a\n.\r\n", "a\n.\r\n", None),
            ("a\r\n.\n\r\n.\r\n", "a\r\n\n\r\n", Some("")),
            ("a\r\n.\r\r\n", "a\r\n\r\r\n", None),
            ("a\r\n.\r.\r\n", "a\r\n\r.\r\n", None),
            ("a\r.\r\n", "a\r.\r\n", None),
            ("a\r\r\n.\r\n", "a\r\r\n", Some("")),
            ("a.\r\n", "a.\r\n", None),
        ] {
            let expected = (content.to_owned(), rest.map(str::to_owned));
            assert_eq!(taken(&[wire.as_bytes()]), expected, "{wire:?}");
            let bytes: Vec<&[u8]> = wire.as_bytes().chunks(1).collect();
            let (kept, rest) = taken(&bytes);
            assert_eq!((kept, rest.is_some()), (expected.0, expected.1.is_some()), "{wire:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_a_client_stuffs_arrives(content in "[a.\r\n]{0,30}", step in 1..6_usize) {
            let whole = if content.is_empty() || content.ends_with("\r\n") { content } else { content + "\r\n" };
            let stuffed = if whole.starts_with('.') { format!(".{whole}") } else { whole.clone() };
            let wire = stuffed.replace("\r\n.", "\r\n..") + ".\r\n";
            let pieces: Vec<&[u8]> = wire.as_bytes().chunks(step).collect();
            proptest::prop_assert_eq!(taken(&pieces), (whole, Some(String::new())));
        }
    }
}
