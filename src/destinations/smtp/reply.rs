//! What an SMTP server answers: read whole or not at all, however it is cut into packets, and never without end.
//!
//! Only the codes are kept of a refusal: the text may repeat addresses.

use std::fmt;

/// Longer lines are no reply (RFC 5321, 4.5.3.1.5 allows 512).
const LONGEST_LINE: usize = 4 << 10;
/// Nor is so much of them.
const LONGEST_REPLY: usize = 64 << 10;

/// One reply, all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// The three digits.
    pub(super) code: u16,
    /// The enhanced status code (RFC 3463), when the first line has one.
    pub(super) status: Option<Status>,
    /// The text of each line, without codes of three digits.
    pub(super) lines: Vec<String>,
}

/// An enhanced status code: class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16, pub(super) u16, pub(super) u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} {status}", self.code),
            None => write!(f, "{}", self.code),
        }
    }
}

/// What was received is not SMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what it sent is no SMTP reply")]
pub(super) struct NoReply;

impl Reply {
    /// Whether it says yes.
    pub(super) fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// The first reply in what was received so far, and how many bytes it takes. `None`: there is more to come.
    pub(super) fn read(received: &[u8]) -> Result<Option<(Self, usize)>, NoReply> {
        let (mut lines, mut at, mut first) = (Vec::new(), 0, None);
        loop {
            let rest = &received[at..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                return if rest.len() > LONGEST_LINE || at > LONGEST_REPLY { Err(NoReply) } else { Ok(None) };
            };
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            at += end + 1;
            let (code, is_last, text) = split(line).ok_or(NoReply)?;
            if line.len() > LONGEST_LINE || at > LONGEST_REPLY || *first.get_or_insert(code) != code {
                return Err(NoReply);
            }
            lines.push(String::from_utf8_lossy(text).into_owned());
            if is_last {
                let status = lines.first().and_then(|it| status(it, code));
                return Ok(Some((Self { code, status, lines }, at)));
            }
        }
    }
}

/// A line as code, whether it is the last one, and text.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code: u16 =
        std::str::from_utf8(digits).ok().filter(|it| it.bytes().all(|it| it.is_ascii_digit()))?.parse().ok()?;
    let is_last = match rest.first() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    (200..600).contains(&code).then(|| (code, is_last, rest.get(1..).unwrap_or_default()))
}

/// The enhanced status code a text begins with. One of a class that no reply has is text.
fn status(text: &str, code: u16) -> Option<Status> {
    let mut parts = text.split(' ').next()?.split('.');
    let mut number = || parts.next().filter(|it| (1..=3).contains(&it.len())).and_then(|it| it.parse().ok());
    let found = Status(number()?, number()?, number()?);
    let is_known = matches!(found.0, 2 | 4 | 5) && matches!(code / 100, 2 | 4 | 5);
    (parts.next().is_none() && is_known).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<(Reply, usize)>, NoReply> {
        Reply::read(text.as_bytes())
    }

    #[test]
    fn a_reply_is_read_with_its_codes() {
        for (text, code, status, lines) in [
            ("250 OK\r\n", 250, None, vec!["OK"]),
            ("250\r\n", 250, None, vec![""]),
            ("220 mx.example ESMTP\n", 220, None, vec!["mx.example ESMTP"]),
            (
                "250-mx.example\r\n250-SIZE 1000\r\n250 8BITMIME\r\n",
                250,
                None,
                vec!["mx.example", "SIZE 1000", "8BITMIME"],
            ),
            (
                "550 5.1.1 <ada@example.net> unknown\r\n",
                550,
                Some(Status(5, 1, 1)),
                vec!["5.1.1 <ada@example.net> unknown"],
            ),
            ("450-4.7.1 later\r\n450 4.7.1 much\r\n", 450, Some(Status(4, 7, 1)), vec!["4.7.1 later", "4.7.1 much"]),
            ("550 5.1.1000 no\r\n", 550, None, vec!["5.1.1000 no"]),
            ("550 5.1 no\r\n", 550, None, vec!["5.1 no"]),
            ("550 10.0.0.1 is listed\r\n", 550, None, vec!["10.0.0.1 is listed"]),
            ("250 1.2.3 a version\r\n", 250, None, vec!["1.2.3 a version"]),
        ] {
            let (reply, used) = read(text).unwrap().unwrap();
            assert_eq!((reply.code, reply.status, used), (code, status, text.len()), "{text}");
            assert_eq!(reply.lines, lines);
        }
    }

    #[test]
    fn what_follows_a_reply_is_left() {
        let (reply, used) = read("354 go\r\n250 too early\r\n").unwrap().unwrap();
        assert_eq!((reply.code, used), (354, 8));
    }

    #[test]
    fn a_reply_that_is_not_whole_is_waited_for_and_garbage_is_not() {
        for waiting in ["", "2", "250", "250 OK\r", "250-a\r\n", "250-a\r\n250 b"] {
            assert_eq!(read(waiting), Ok(None), "{waiting:?}");
        }
        let long = format!("250 {}", "a".repeat(LONGEST_LINE));
        let endless = "250-a\r\n".repeat(LONGEST_REPLY / 7 + 1);
        for garbage in [
            "HTTP/1.1 400 Bad Request\r\n",
            "\r\n",
            "25 a\r\n",
            "250_a\r\n",
            "250-a\r\n550 b\r\n",
            "+50 a\r\n",
            "199 a\r\n",
            "600 a\r\n",
            &long,
            &endless,
        ] {
            assert_eq!(read(garbage), Err(NoReply), "{:?}", &garbage[..garbage.len().min(20)]);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_none_are_taken_twice(bytes: Vec<u8>) {
            if let Ok(Some((_, used))) = Reply::read(&bytes) {
                proptest::prop_assert!(used > 0 && used <= bytes.len());
            }
        }

        #[test]
        fn however_it_is_cut_it_is_the_same_reply(cut in 0usize..40) {
            let whole = b"250-mx.example\r\n250-SIZE 1000\r\n250 SMTPUTF8\r\n";
            let cut = cut.min(whole.len() - 1);
            proptest::prop_assert_eq!(Reply::read(&whole[..cut]), Ok(None));
        }
    }
}
