//! What the other side answered, fit to be kept and shown: short, one line, and without what is nobody's business.
//!
//! Addresses, credentials and long runs of base64 or hexadecimal are replaced before anything is stored.

use std::fmt;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// How much of an answer is kept, in characters.
pub const KEPT: usize = 512;
/// How much of an answer's body is of interest, in bytes: more than is kept, because what is replaced is often longer.
pub const READ: usize = 4 * KEPT;
/// A run of letters and digits from this length on that is no word may be a key.
const RUN: usize = 24;

/// The other side's answer: its status and the beginning of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(String);

impl Answer {
    /// An answer of this status, such as `503 Service Unavailable`, with what is known of its body.
    pub fn new(status: impl fmt::Display, body: &[u8]) -> Self {
        let whole = String::from_utf8_lossy(&body[..body.len().min(READ)]);
        // A run that is cut short might be too short to be told from a word.
        let body = match whole.char_indices().rfind(|(_, it)| it.is_whitespace()) {
            Some((end, _)) if body.len() > READ => &whole[..end],
            _ => &whole,
        };
        Self(redacted(&format!("{status} {body}")))
    }

    /// The answer as it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text as it may be kept: on one line, cut to [`KEPT`] characters, with addresses and credentials replaced.
pub fn redacted(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            it if it.is_control() || it.is_whitespace() || is_format(it) => {
                if !line.ends_with(' ') {
                    line.push(' ');
                }
            }
            it => line.push(it),
        }
    }
    let line = CREDENTIAL.replace_all(line.trim(), "$1[removed]");
    let line = SCHEME.replace_all(&line, "$1 [removed]");
    let line = ADDRESS.replace_all(&line, "[address]");
    let line = CANDIDATE.replace_all(&line, |found: &Captures<'_>| {
        let run = &found[0];
        if is_key(run) { "[removed]".to_owned() } else { run.to_owned() }
    });
    line.chars().take(KEPT).collect()
}

/// Marks that turn or hide what stands beside them.
fn is_format(it: char) -> bool {
    matches!(it, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether a run of base64's letters is more likely a key than a path, an id of the usual form or a word.
fn is_key(run: &str) -> bool {
    if UUID.is_match(run) {
        return false;
    }
    let longest = run.split(['/', '-', '_', '.']).map(str::len).max().unwrap_or(0);
    let digits = run.chars().filter(char::is_ascii_digit).count();
    let is_word = |part: &str| {
        let rest = part.get(1..).unwrap_or_default();
        part.chars().all(|it| it.is_ascii_digit()) && part.len() < 8
            || part.chars().all(|it| it.is_ascii_alphanumeric()) && rest.chars().all(|it| it.is_ascii_lowercase())
    };
    let words = run.split(['/', '-', '_', '.']).all(is_word);
    !words && (longest >= RUN || digits > 0 || run.chars().any(|it| it.is_ascii_uppercase()))
}

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| {
            #[expect(clippy::expect_used, reason = "a constant, tried by the tests below")]
            Regex::new($text).expect("the pattern is right")
        });
    };
}

pattern!(
    CREDENTIAL,
    r#"(?i)((?:authorization|cookie|[a-z_-]*(?:token|secret|passw(?:or)?d|pwd|api[_-]?key|signature|assertion|credential)s?)["']?\s*[:=]\s*)(?:(?:bearer|basic|digest)\s+)?(?:"[^"]*"?|'[^']*'?|[^\s,;&}"']+)"#
);
pattern!(SCHEME, r"(?i)\b(bearer|basic|digest|negotiate)\s+[A-Za-z0-9+/_.~=-]{8,}");
pattern!(ADDRESS, r#"[^\s<>"'(),:;\[\]{}|=&?/\\]+(?:@|%40)[^\s<>"'(),:;\[\]{}|=&?/\\]+"#);
pattern!(CANDIDATE, r"[A-Za-z0-9+/_.-]{24,}={0,2}");
pattern!(UUID, r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_nobodys_business_is_replaced() {
        for (text, kept) in [
            ("", ""),
            ("  queue is full \r\n\t try later ", "queue is full try later"),
            ("no such user: ann.smith+x@example.com!", "no such user: [address]"),
            ("<ann@example.com> unknown", "<[address]> unknown"),
            ("mailto:ann%40example.com", "mailto:[address]"),
            ("\"ann@localhost\"", "\"[address]\""),
            (r#"{"authorization": "Bearer abc.def"}"#, r#"{"authorization": [removed]}"#),
            ("Authorization: Basic dXNlcjpwYXNz rest", "Authorization: [removed] rest"),
            ("we saw Bearer abcdefgh12345", "we saw Bearer [removed]"),
            ("access_token=tiny&x=1", "access_token=[removed]&x=1"),
            (r#"{"client_secret":"p w","ok":1}"#, r#"{"client_secret":[removed],"ok":1}"#),
            ("x-api-key: k", "x-api-key: [removed]"),
            ("password = 'hunter2'", "password = [removed]"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[removed]"),
            ("d41d8cd98f00b204e9800998ecf8427e", "[removed]"),
            ("key QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo= end", "key [removed] end"),
            ("id 550e8400-e29b-41d4-a716-446655440000", "id 550e8400-e29b-41d4-a716-446655440000"),
            ("no route /api/conversations/emails/inbound", "no route /api/conversations/emails/inbound"),
            ("conversation-participant-limit-exceeded", "conversation-participant-limit-exceeded"),
            ("a\u{202e}b\u{0}c\u{1b}[31md", "a b c [31md"),
        ] {
            assert_eq!(redacted(text), kept, "{text}");
        }
    }

    #[test]
    fn an_answer_is_its_status_and_the_beginning_of_its_body() {
        let answer = Answer::new("503 Service Unavailable", b"upstream\nis down");
        assert_eq!(answer.as_str(), "503 Service Unavailable upstream is down");
        let long = Answer::new("500", "word ".repeat(10_000).as_bytes());
        assert_eq!(long.as_str().chars().count(), KEPT);
        assert_eq!(Answer::new("400", &[0xff, 0xfe, b'x']).as_str(), "400 \u{fffd}\u{fffd}x");
    }

    #[test]
    fn a_run_that_is_cut_where_reading_ends_is_not_shown() {
        let body = format!("{} {}", "d41d8cd98f00b204e9800998ecf8427e ".repeat(62), "Zm9vYmFyMTIzNDU2".repeat(50));
        assert!(!Answer::new("500", body.as_bytes()).as_str().contains("Zm9v"));
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_one_short_line_without_an_address(text in ".{0,600}", user in "[a-z0-9.]{1,12}") {
            let kept = redacted(&format!("{text} {user}@contoso.example {text}"));
            prop_assert!(kept.chars().count() <= KEPT);
            prop_assert!(!kept.chars().any(char::is_control));
            let whole = format!("{user}@contoso");
            prop_assert!(!kept.contains(&whole));
        }
    }
}
