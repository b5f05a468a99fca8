//! Header fields in their order: the library finds them, here they become text.
//!
//! No letter is lost: the library reads bytes that are not UTF-8 as replacement characters, so every value is taken
//! from the mail once more, as windows-1252, before the library's grammar for it is asked.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine};
use mail_parser::parsers::MessageStream;
use mail_parser::{Header, HeaderName, HeaderValue, MessageParser};

use super::{caught, charset};

/// Exchange accepts no more than 256 KiB of headers. Fields that begin later are not looked for.
const LONGEST_SECTION: usize = 1 << 20;
/// RFC 2047 §2 allows 75 letters in an encoded word; mailers write more, but not much more.
const LONGEST_WORD: usize = 2000;
/// In a field longer than this the length of encoded words is looked at: each one that never ends costs the library a
/// walk to the end of the field.
const LONG_FIELD: usize = 16 * 1024;

/// One field, unfolded. Encoded words are not yet read: where they may stand depends on the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name as it is written.
    pub name: String,
    /// The value, without the line breaks it was folded with.
    pub value: String,
}

impl Field {
    /// The value with its encoded words read.
    pub fn text(&self) -> String {
        match as_line(&self.value, |stream| stream.parse_unstructured()) {
            Some(HeaderValue::Text(text)) => text.into_owned(),
            _ => self.value.clone(),
        }
    }
}

/// The fields of a header section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(pub Vec<Field>);

impl Fields {
    /// The first field of this name. Case does not matter.
    pub fn first(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// All fields of this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a Field> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name))
    }

    /// The value of the first field of this name, trimmed, encoded words not read.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.first(name).map(|field| field.value.trim())
    }
}

/// The fields the library found, with their text. What has a name no field can have is left out: a line of text with a
/// colon, or the `From ` line with which mbox files part mails.
/// `offset` turns the library's offsets into those of the mail; `hint` is the character set of what is not encoded.
pub(super) fn fields(found: &[Header<'_>], raw: &[u8], hint: Option<&str>, offset: impl Fn(u32) -> usize) -> Fields {
    let field = |header: &Header<'_>| {
        let start = offset(header.offset_start);
        let name = raw.get(offset(header.offset_field)..start)?;
        let name = name.strip_suffix(b":").unwrap_or(name).trim_ascii();
        let is_name = !name.is_empty() && name.iter().all(|it| it.is_ascii_graphic() && *it != b':');
        let value = raw.get(start..offset(header.offset_end))?.trim_ascii();
        let value = charset::unencoded(hint, value).replace(['\r', '\n'], "");
        is_name.then(|| Field { name: String::from_utf8_lossy(name).into_owned(), value })
    };
    Fields(found.iter().filter_map(field).collect())
}

/// The header section of a mail, and where its last field ends.
pub(super) fn section(raw: &[u8]) -> (Fields, usize) {
    let head = raw.get(..LONGEST_SECTION).unwrap_or(raw);
    // With one field named, the library asks no grammar for the others.
    let parser = MessageParser::new().ignore_header(HeaderName::ContentTransferEncoding).default_header_ignore();
    let found = caught(|| parser.parse_headers(head).and_then(|mut it| it.parts.drain(..).next())).flatten();
    let headers = found.map(|part| part.headers).unwrap_or_default();
    (fields(&headers, raw, None, |it| it as usize), headers.last().map_or(0, |it| it.offset_end as usize))
}

/// Has the library read this text as the value of a field.
pub(super) fn as_line(
    text: &str,
    read: impl for<'x> FnOnce(&mut MessageStream<'x>) -> HeaderValue<'x>,
) -> Option<HeaderValue<'static>> {
    let text = text.replace(['\r', '\n'], " ");
    let line = mended_words(&text).into_owned() + "\n";
    caught(|| read(&mut MessageStream::new(line.as_bytes())).into_owned())
}

/// Mailers cut encoded words between the bytes of a letter, and mix up the names of western character sets; the library
/// decodes each word by itself and by its label, and loses the letter. So words of one character set and encoding that
/// stand next to each other become one, and get the label that fits.
fn mended_words(text: &str) -> Cow<'_, str> {
    if !text.contains("=?") {
        return Cow::Borrowed(text);
    }
    if text.len() > LONG_FIELD && has_endless_word(text) {
        return Cow::Owned(text.replace("=?", "= ?"));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("=?") {
        let beginning = beginning_of_word(&rest[at..]);
        let whole = rest[at + beginning.len()..].split_once("?=").filter(|_| !beginning.is_empty());
        let Some((first, mut after)) = whole else {
            out.push_str(&rest[..at + 2]);
            rest = &rest[at + 2..];
            continue;
        };
        let mut payloads = vec![first];
        while let Some((next, after_it)) = next_of_kind(after, beginning) {
            payloads.push(next);
            after = after_it;
        }
        out.push_str(&rest[..at]);
        // Text that switches between sets of letters switches back at the end of each word.
        match beginning.contains("2022") && payloads.len() > 1 {
            true => out.push_str(&joined(beginning, &payloads)),
            false => out.push_str(&labelled(beginning, &payloads.concat())),
        }
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Words that are read one by one, as one word.
fn joined(beginning: &str, payloads: &[&str]) -> String {
    let read = |payload: &&str| {
        let word = format!("{beginning}{payload}?=");
        caught(|| MessageStream::new(&word.as_bytes()[1..]).decode_rfc2047()).flatten()
    };
    match payloads.iter().map(read).collect::<Option<String>>() {
        Some(text) => format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(text)),
        None => payloads.iter().map(|it| format!("{beginning}{it}?= ")).collect(),
    }
}

/// The word, as UTF-8 if it is that, and as windows-1252 if only its label says UTF-8.
fn labelled(beginning: &str, payload: &str) -> String {
    let mut pieces = beginning.split('?').skip(1);
    let (label, encoding) = (pieces.next().unwrap_or_default(), pieces.next().unwrap_or_default());
    let label = label.split('*').next().unwrap_or_default().to_ascii_lowercase();
    // UTF-7 only ever hid things: what it would say is shown as it is written.
    if label.contains("utf-7") || label.contains("utf7") {
        return format!("=?us-ascii?{encoding}?{payload}?=");
    }
    let known = charset::known_as(&label);
    if known != label {
        return format!("=?{known}?{encoding}?{payload}?=");
    }
    if charset::is_western(&label) {
        let word = format!("=?utf-8?{encoding}?{payload}?=");
        // The library's reader of words begins behind the equal sign.
        let read = caught(|| MessageStream::new(&word.as_bytes()[1..]).decode_rfc2047()).flatten();
        match read {
            Some(text) if !text.contains(char::REPLACEMENT_CHARACTER) => return word,
            Some(_) if label.contains("utf") => return word.replacen("utf-8", "windows-1252", 1),
            _ => {}
        }
    }
    format!("{beginning}{payload}?=")
}

/// The payload of the word that follows after white space, if it begins like this, and what comes after it.
fn next_of_kind<'a>(after: &'a str, beginning: &str) -> Option<(&'a str, &'a str)> {
    let next = after.trim_start_matches([' ', '\t']);
    let is_of_kind = next.len() < after.len() && beginning_of_word(next).eq_ignore_ascii_case(beginning);
    is_of_kind.then(|| next[beginning.len()..].split_once("?=")).flatten()
}

fn has_endless_word(text: &str) -> bool {
    let ends_in_time = |at: usize| {
        let end = text.floor_char_boundary(at + LONGEST_WORD);
        text[at + 2..end.max(at + 2)].contains("?=")
    };
    text.match_indices("=?").any(|(at, _)| !ends_in_time(at))
}

/// `=?utf-8?Q?` of a word that begins here; empty when none does.
fn beginning_of_word(text: &str) -> &str {
    let mut marks = text.bytes().enumerate().skip(2).filter(|(_, byte)| *byte == b'?').map(|(at, _)| at);
    match (marks.next(), marks.next()) {
        (Some(second), Some(third)) if text.starts_with("=?") && third == second + 2 => &text[..=third],
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    fn pairs(text: &[u8]) -> Vec<(String, String)> {
        section(text).0.0.into_iter().map(|it| (it.name, it.value)).collect()
    }

    #[test]
    fn fields_are_unfolded_and_keep_their_order() {
        let got = pairs(b"Subject: one\r\n two\r\nX-A:1\nX-A : 2\r\n\r\nbody: no");
        assert_eq!(got, [pair("Subject", "one two"), pair("X-A", "1"), pair("X-A", "2")]);
    }

    #[test]
    fn raw_eight_bit_values_lose_nothing() {
        let got = pairs(b"A: gr\xfc\xdfe\nB: gr\xc3\xbc\xc3\x9fe\n\n");
        assert_eq!(got, [pair("A", "grüße"), pair("B", "grüße")]);
    }

    #[test]
    fn what_is_no_field_is_left_out() {
        assert_eq!(
            pairs(b"From me Mon 18:42\nA: 1\nno field\nthis is: no name\nB: 2\n\nx"),
            [pair("A", "1"), pair("B", "2")]
        );
        for text in [&b""[..], b"just text", b"\r\nbody: x"] {
            assert_eq!(pairs(text), [], "{}", text.escape_ascii());
        }
    }

    #[test]
    fn words_are_read_as_they_are_really_written() {
        for (written, meant) in [
            ("plain", "plain"),
            ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus K=C3=B6ln", "Grüße aus K=C3=B6ln"),
            ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
            ("=?utf-8?q?a_b?= =?utf-8?q?c?=", "a bc"),
            // A letter cut in two, in both encodings.
            ("=?utf-8?Q?Gr=C3?= =?utf-8?Q?=BCn?=", "Grün"),
            ("=?utf-8?B?R3LD?= =?utf-8?B?vG4=?=", "Grün"),
            ("x =?utf-8?Q?=C3=BC=C3?= =?utf-8?Q?=BC?=", "x üü"),
            ("=?utf-8?B?R3LDvG4=?= =?utf-8?B?IQ==?=\t=?UTF-8?B?IQ==?=", "Grün!!"),
            ("=?iso-8859-1?Q?=FC?= =?utf-8?Q?=C3=BC?=", "üü"),
            ("=?utf-8*de?Q?=C3=BC?=", "ü"),
            ("=?iso-2022-jp?B?GyRCJU8lbSE8GyhC?=", "ハロー"),
            ("=?iso-2022-jp?B?GyRCJU8bKEI=?= =?iso-2022-jp?B?GyRCJU8bKEI=?=", "ハハ"),
            ("=?gb18030?B?xOO6ww==?=", "你好"),
            ("=?cp932?B?g2WDWINn?=", "テスト"),
            ("=?utf-7?Q?+ADw-script+AD4-?=", "+ADw-script+AD4-"),
            // Labels that are wrong.
            ("=?iso-8859-1?Q?Gr=C3=BCn?= =?utf-8?Q?Gr=FCn?=", "GrünGrün"),
            ("=?no end", "=?no end"),
            ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
            // The library parts a word from the text beside it.
            ("=?utf-8?Q?=41?=x", "A x"),
        ] {
            assert_eq!(Field { name: "Subject".into(), value: written.into() }.text(), meant, "{written}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_read(value in "(=\\?|\\?=|utf-8|\\?[bq]\\?|=C3|[ a-zü?=]){0,30}") {
            let _ = Field { name: "Subject".into(), value }.text();
        }
    }
}
