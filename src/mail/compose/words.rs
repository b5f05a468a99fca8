//! Text in header fields: as it is where it is plain and short, else in encoded words (RFC 2047).

use base64::prelude::{BASE64_STANDARD, Engine};

/// The longest encoded word (RFC 2047 §2).
const LONGEST: usize = 75;
const OVERHEAD: usize = "=?utf-8?Q??=".len();
/// Lines are folded before they get longer than this (RFC 5322 §2.1.1).
const LINE: usize = 76;
/// A longer word cannot stand in any line (RFC 5322 §2.1.1: 998 letters). Up to this one it stays as it is: the address in
/// a List-Unsubscribe must not be encoded.
const LONGEST_PLAIN: usize = 900;

/// The value of an unstructured field, folded. `name` stands before it on its first line.
pub(super) fn unstructured(name: &str, text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let has_odd_blanks = text.starts_with(' ') || text.ends_with(' ') || text.contains("  ");
    let is_long = text.split(' ').any(|word| word.len() > LONGEST_PLAIN);
    match is_plain && !has_odd_blanks && !is_long && !text.contains("=?") {
        true => folded(name.len() + 2, text.split(' ')),
        false => encoded(name.len() + 2, text),
    }
}

/// A display name.
pub(super) fn phrase(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !text.contains("=?");
    if !is_plain || text.len() > 60 {
        return encoded(0, text);
    }
    let is_atoms = text.split(' ').all(|word| !word.is_empty() && word.bytes().all(is_atom));
    match is_atoms {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// Words of which each is on a line that is not too long, where that can be.
pub(super) fn folded<'a>(before: usize, words: impl Iterator<Item = &'a str>) -> String {
    let (mut out, mut width) = (String::new(), before);
    for (number, word) in words.enumerate() {
        if number > 0 {
            if width + 1 + word.len() > LINE {
                out.push_str("\r\n");
                width = 0;
            }
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.len();
    }
    out
}

/// Letters of an atom (RFC 5322 §3.2.3).
fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn encoded(before: usize, text: &str) -> String {
    let foreign = text.chars().filter(|it| !it.is_ascii()).count();
    // Latin text stays legible to the eye in Q; what is mostly foreign is shorter in B.
    let in_base64 = foreign * 2 > text.chars().count();
    let (mut out, mut width) = (String::new(), before);
    let mut rest = text;
    while !rest.is_empty() {
        // At least a letter's worth of a word stands on each line.
        let room = LONGEST.min(LINE.saturating_sub(width).max(OVERHEAD + 12)) - OVERHEAD;
        let (word, after) = match in_base64 {
            true => base64_word(rest, room),
            false => quoted_word(rest, room),
        };
        if !out.is_empty() {
            out.push_str("\r\n ");
        }
        out.push_str(&word);
        (rest, width) = (after, 1);
    }
    out
}

fn base64_word(text: &str, room: usize) -> (String, &str) {
    let end = text.floor_char_boundary(room / 4 * 3);
    let end = if end == 0 { text.chars().next().map_or(0, char::len_utf8) } else { end };
    let (now, after) = text.split_at(end);
    (format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(now)), after)
}

fn quoted_word(text: &str, room: usize) -> (String, &str) {
    let mut word = String::from("=?utf-8?Q?");
    let (mut used, mut end) = (0, 0);
    for letter in text.chars() {
        let piece: String = match letter {
            ' ' => "_".to_owned(),
            letter if letter.is_ascii_alphanumeric() || "!*+-/".contains(letter) => letter.to_string(),
            letter => letter.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("={byte:02X}")).collect(),
        };
        if used + piece.len() > room && end > 0 {
            break;
        }
        word.push_str(&piece);
        used += piece.len();
        end += letter.len_utf8();
    }
    word.push_str("?=");
    (word, &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::header::Field;

    fn read(value: &str) -> String {
        Field { name: "Subject".into(), value: value.replace("\r\n", "") }.text()
    }

    #[test]
    fn plain_text_stays_plain_and_the_rest_is_encoded() {
        for (text, written) in [
            ("Hello", "Hello"),
            ("Grüße", "=?utf-8?Q?Gr=C3=BC=C3=9Fe?="),
            ("テスト", "=?utf-8?B?44OG44K544OI?="),
            ("=?utf-8?Q?not_encoded?=", "=?utf-8?Q?=3D=3Futf-8=3FQ=3Fnot=5Fencoded=3F=3D?="),
            (" a  b ", "=?utf-8?Q?_a__b_?="),
            ("", ""),
        ] {
            assert_eq!(unstructured("Subject", text), written);
            assert_eq!(read(written), text);
        }
    }

    #[test]
    fn a_name_is_quoted_only_where_it_must_be() {
        for (name, written) in [
            ("Ann Lee", "Ann Lee"),
            ("Lee, Ann", "\"Lee, Ann\""),
            ("Ann \"A\" \\ Lee", "\"Ann \\\"A\\\" \\\\ Lee\""),
            ("a@b.example", "\"a@b.example\""),
            ("Müller, Jörg", "=?utf-8?Q?M=C3=BCller=2C_J=C3=B6rg?="),
        ] {
            assert_eq!(phrase(name), written);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_back_and_no_line_is_long(text in "([ -~]{0,100}|[äöüß€漢字😀 ]{0,60}|=\\?){0,5}") {
            let written = unstructured("Subject", &text);
            for line in format!("Subject: {written}").split("\r\n") {
                let is_one_word = !line.trim_start_matches("Subject: ").trim().contains(' ');
                proptest::prop_assert!(line.len() <= if is_one_word { 998 } else { 78 }, "{line}");
                proptest::prop_assert!(!line.trim().is_empty());
            }
            proptest::prop_assert_eq!(read(&written), text);
        }
    }
}
