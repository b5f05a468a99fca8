//! Bytes become text. A label that is missing, unknown or wrong never costs a letter.
//!
//! Labels are read as browsers read them (`iso-8859-1` means windows-1252); UTF-7 is refused, it only ever hid things.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;

use super::caught;

/// The text meant by `bytes` under this label.
pub fn decode(label: Option<&str>, bytes: &[u8]) -> String {
    let label = label.map(|it| it.trim().trim_matches(['"', '\'']).to_ascii_lowercase()).unwrap_or_default();
    // Text of several bytes a letter that happens to be valid UTF-8 is UTF-8, whatever a western label says.
    if is_western(&label) && std::str::from_utf8(bytes).is_ok() {
        return unlabelled(bytes).into_owned();
    }
    labelled(&label, bytes).unwrap_or_else(|| unlabelled(bytes).into_owned())
}

/// Text nobody labelled: UTF-8 if it is that, else windows-1252, which gives every byte a letter.
pub fn unlabelled(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        // ISO-2022-JP needs no byte above 127; its escape sequences give it away.
        Ok(text) if text.contains("\x1b$") => labelled("iso-2022-jp", bytes).map_or(Cow::Borrowed(text), Cow::Owned),
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(windows_1252(bytes)),
    }
}

/// Whether the label stands for what western mailers write, of which they mix up the names.
pub(super) fn is_western(label: &str) -> bool {
    matches!(label, "" | "us-ascii" | "ascii" | "ansi_x3.4-1968" | "unknown-8bit" | "latin1")
        || ["utf-8", "utf8", "unicode-1-1-utf-8", "iso-8859-1", "iso8859-1", "iso_8859-1", "iso-8859-15"]
            .contains(&label)
        || ["windows-1252", "cp1252"].contains(&label)
}

/// `None` when the label is of no use: unknown, refused, or plainly not what the bytes are.
fn labelled(label: &str, bytes: &[u8]) -> Option<String> {
    if matches!(label, "" | "utf-8" | "utf8") || label.contains("utf-7") || label.contains("utf7") {
        return None;
    }
    let decoder = charset_decoder(label.as_bytes())?;
    let text = caught(|| decoder(bytes))?;
    let is_wrong = text.contains(char::REPLACEMENT_CHARACTER) && std::str::from_utf8(bytes).is_ok();
    // One replacement for everything is how encodings are answered that browsers refuse to read.
    (!is_wrong && (text != "\u{fffd}" || bytes.is_empty())).then_some(text)
}

fn windows_1252(bytes: &[u8]) -> String {
    match charset_decoder(b"windows-1252") {
        Some(decoder) => decoder(bytes),
        None => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_letter_is_lost_to_a_label() {
        let cases: [(Option<&str>, &[u8], &str); 13] = [
            (None, "grüße".as_bytes(), "grüße"),
            (None, b"gr\xfc\xdfe \x80", "grüße €"),
            (Some("utf-8"), b"gr\xfc\xdfe", "grüße"),
            (Some("us-ascii"), "grüße".as_bytes(), "grüße"),
            (Some("ISO-8859-1"), b"\x93quoted\x94", "“quoted”"),
            (Some("iso-8859-1"), "grüße".as_bytes(), "grüße"),
            (Some("iso-2022-jp"), b"\x1b$B%O%m!<\x1b(B", "ハロー"),
            (None, b"\x1b$B%O%m!<\x1b(B", "ハロー"),
            (Some("gb18030"), b"\xc4\xe3\xba\xc3", "你好"),
            (Some("\"windows-1251\""), b"\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"),
            (Some("no-such-charset"), b"caf\xe9", "café"),
            (Some("utf-7"), b"+ADw-script+AD4-", "+ADw-script+AD4-"),
            (Some("euc-kr"), "日本語".as_bytes(), "日本語"),
        ];
        for (label, bytes, text) in cases {
            assert_eq!(decode(label, bytes), text, "{label:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_label_takes_every_byte(label in "[a-z0-9_-]{0,20}|utf-16|gbk|big5|euc-jp|hz-gb-2312", bytes: Vec<u8>) {
            let text = decode(Some(&label), &bytes);
            proptest::prop_assert!(bytes.is_empty() || !text.is_empty() || label.contains("16") || bytes.contains(&0x1b));
        }
    }
}
