//! Encoded words in headers (RFC 2047), as they are really written: split inside a letter, next to each other,
//! between quotation marks. What only looks like one stands as it is.

use super::charset;
use super::transfer::{TransferEncoding, unescape};

/// Longer names of character sets do not exist; a limit keeps the search linear.
const LONGEST_CHARSET: usize = 64;

/// The text with its encoded words read.
pub fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    walk(text, |piece| {
        out.push_str(match &piece {
            Piece::Plain(text) => text,
            Piece::Decoded(text) => text,
        });
    });
    out
}

/// The text of an address list, with encoded words turned into quoted strings: a comma in a name stays in the name.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut context = Context::default();
    walk(text, |piece| match piece {
        Piece::Plain(text) => {
            text.chars().for_each(|c| context.step(c));
            out.push_str(text);
        }
        Piece::Decoded(text) => {
            let bare = !context.quoted && context.comments == 0;
            if bare {
                out.push('"');
            }
            for c in text.chars() {
                match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    '(' | ')' if context.comments > 0 => out.extend(['\\', c]),
                    c if c.is_control() => out.push(' '),
                    c => out.push(c),
                }
            }
            if bare {
                out.push('"');
            }
        }
    });
    out
}

#[derive(Default)]
struct Context {
    quoted: bool,
    comments: u32,
    escaped: bool,
}

impl Context {
    fn step(&mut self, c: char) {
        let was_escaped = std::mem::take(&mut self.escaped);
        match c {
            _ if was_escaped => {}
            '\\' => self.escaped = true,
            '"' if self.comments == 0 => self.quoted = !self.quoted,
            '(' if !self.quoted => self.comments += 1,
            ')' if !self.quoted => self.comments = self.comments.saturating_sub(1),
            _ => {}
        }
    }
}

enum Piece<'a> {
    Plain(&'a str),
    Decoded(String),
}

/// Hands on plain text and decoded words in turn. White space between two encoded words does not count, and words of
/// one character set are joined before they are decoded: mailers cut between the bytes of a letter.
fn walk(text: &str, mut take: impl FnMut(Piece<'_>)) {
    let mut plain_from = 0;
    let mut at = 0;
    while let Some(word) = next_word(text, at) {
        if word.start > plain_from {
            take(Piece::Plain(&text[plain_from..word.start]));
        }
        let mut charset = word.charset;
        let mut bytes = word.bytes();
        let mut end = word.end;
        let mut decoded = String::new();
        while let Some(next) = adjacent_word(text, end) {
            if !next.charset.eq_ignore_ascii_case(charset) {
                decoded.push_str(&charset::decode(Some(charset), &bytes));
                bytes.clear();
                charset = next.charset;
            }
            bytes.extend(next.bytes());
            end = next.end;
        }
        decoded.push_str(&charset::decode(Some(charset), &bytes));
        take(Piece::Decoded(decoded));
        plain_from = end;
        at = end;
    }
    if plain_from < text.len() {
        take(Piece::Plain(&text[plain_from..]));
    }
}

struct Word<'a> {
    start: usize,
    end: usize,
    charset: &'a str,
    is_base64: bool,
    payload: &'a str,
}

impl Word<'_> {
    fn bytes(&self) -> Vec<u8> {
        if self.is_base64 {
            return TransferEncoding::Base64.decode(self.payload.as_bytes()).into_owned();
        }
        let mut bytes = Vec::with_capacity(self.payload.len());
        unescape(self.payload.replace('_', " ").as_bytes(), b'=', &mut bytes);
        bytes
    }
}

fn adjacent_word(text: &str, end: usize) -> Option<Word<'_>> {
    let rest = &text[end..];
    let gap = rest.len() - rest.trim_start().len();
    word_at(text, end + gap).ok()
}

fn next_word(text: &str, mut from: usize) -> Option<Word<'_>> {
    while let Some(found) = text[from..].find("=?") {
        let start = from + found;
        match word_at(text, start) {
            Ok(word) => return Some(word),
            Err(NoWord::Here) => from = start + 2,
            Err(NoWord::AnyMore) => return None,
        }
    }
    None
}

enum NoWord {
    Here,
    /// Nothing ends a word from here on, so nothing further can be one.
    AnyMore,
}

fn word_at(text: &str, start: usize) -> Result<Word<'_>, NoWord> {
    let rest = text[start..].strip_prefix("=?").ok_or(NoWord::Here)?;
    let charset_len = rest.bytes().take(LONGEST_CHARSET).position(|byte| byte == b'?').ok_or(NoWord::Here)?;
    let charset = &rest[..charset_len];
    let mut tail = rest[charset_len + 1..].chars();
    let is_base64 = match (tail.next(), tail.next()) {
        (Some('b' | 'B'), Some('?')) => true,
        (Some('q' | 'Q'), Some('?')) => false,
        _ => return Err(NoWord::Here),
    };
    if charset.is_empty() || charset.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(NoWord::Here);
    }
    let payload = tail.as_str();
    let length = payload.find("?=").ok_or(NoWord::AnyMore)?;
    let end = text.len() - payload.len() + length + 2;
    // The language after `*` (RFC 2231 §5) says nothing about the letters.
    let charset = charset.split('*').next().unwrap_or(charset);
    Ok(Word { start, end, charset, is_base64, payload: &payload[..length] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_really_written() {
        for (written, meant) in [
            ("plain", "plain"),
            ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus K=C3=B6ln", "Grüße aus K=C3=B6ln"),
            ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
            ("=?utf-8?q?a_b?= =?utf-8?q?c?=", "a bc"),
            ("=?utf-8?q?a?=  x  =?utf-8?q?b?=", "a  x  b"),
            // A letter cut in two, in both encodings.
            ("=?utf-8?Q?Gr=C3?= =?utf-8?Q?=BCn?=", "Grün"),
            ("=?utf-8?B?R3LD?= =?utf-8?B?vG4=?=", "Grün"),
            ("=?iso-8859-1?Q?=FC?= =?utf-8?Q?=C3=BC?=", "üü"),
            ("=?utf-8*de?Q?=C3=BC?=", "ü"),
            ("=?iso-2022-jp?B?GyRCJU8lbSE8GyhC?=", "ハロー"),
            ("=?gb18030?B?xOO6ww==?=", "你好"),
            ("=?utf-8?Q?=41?=x", "Ax"),
            ("=?no end", "=?no end"),
            ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
            ("a=?=?utf-8?q?b?=", "a=?b"),
            ("=?utf-8?Q??=", ""),
        ] {
            assert_eq!(decode(written), meant, "{written}");
        }
    }

    #[test]
    fn a_comma_in_a_name_stays_in_the_name() {
        for (written, quoted) in [
            ("=?utf-8?Q?M=C3=BCller=2C_Eva?= <e@x.de>", "\"Müller, Eva\" <e@x.de>"),
            ("\"=?utf-8?Q?M=C3=BCller=2C_Eva?=\" <e@x.de>", "\"Müller, Eva\" <e@x.de>"),
            ("e@x.de (=?utf-8?Q?a=29b?=)", "e@x.de (a\\)b)"),
            ("=?utf-8?Q?say_=22hi=22?= <e@x.de>", "\"say \\\"hi\\\"\" <e@x.de>"),
        ] {
            assert_eq!(quote(written), quoted);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_read(text in "(=\\?|\\?=|utf-8|\\?[bq]\\?|=C3|[ a-zü?=]){0,30}") {
            let _ = decode(&text);
            let _ = quote(&text);
        }
    }
}
