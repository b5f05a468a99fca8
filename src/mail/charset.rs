//! Bytes become text. A label that is missing, unknown or wrong never costs a letter.
//!
//! Labels are read as browsers read them (`iso-8859-1` means windows-1252); UTF-7 is refused, it only ever hid things.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;

use super::caught;

/// The text meant by `bytes` under this label.
pub fn decode(label: Option<&str>, bytes: &[u8]) -> String {
    let label = label.map(|it| it.trim().trim_matches(['"', '\'']).to_ascii_lowercase()).unwrap_or_default();
    // Text of several bytes a letter that happens to be valid UTF-8 is UTF-8, whatever the label says.
    if let Ok(text) = std::str::from_utf8(bytes)
        && (is_western(&label) || is_plainly_utf8(text) && !has_states(&label))
    {
        return unlabelled(bytes).into_owned();
    }
    labelled(&label, bytes).unwrap_or_else(|| unlabelled(bytes).into_owned())
}

/// Text of a header that is not encoded, as it must not be: UTF-8 if it is that (RFC 6532), else in the character set of
/// the mail's own text, else windows-1252.
pub(super) fn unencoded<'a>(hint: Option<&str>, bytes: &'a [u8]) -> Cow<'a, str> {
    let hinted = || {
        let label = hint?.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
        let text = labelled(&label, bytes).filter(|_| !is_western(&label) && !has_states(&label))?;
        (!text.contains(char::REPLACEMENT_CHARACTER)).then_some(Cow::Owned(text))
    };
    match std::str::from_utf8(bytes) {
        Ok(_) => unlabelled(bytes),
        Err(_) => hinted().unwrap_or_else(|| unlabelled(bytes)),
    }
}

/// Bytes that were cut, without the half of a letter at their end: for its sake all of them would not be UTF-8.
pub(super) fn without_half_letter(cut: &[u8]) -> &[u8] {
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

/// In how many letters of several bytes a text that is not UTF-8 can look like it by chance.
const BY_CHANCE: usize = 3;

fn is_plainly_utf8(text: &str) -> bool {
    text.chars().filter(|it| !it.is_ascii()).take(BY_CHANCE + 1).count() > BY_CHANCE
}

/// Whether a byte means one thing or another by what stands before it, or by its place.
fn has_states(label: &str) -> bool {
    ["2022", "utf-16", "utf16", "ucs", "unicode", "hz-", "utf-7"].iter().any(|it| label.contains(it))
}

/// The names of Windows' code pages and other old ones that browsers do not know.
pub(super) fn known_as(label: &str) -> &str {
    match label {
        "cp932" | "x-ms-cp932" | "windows-932" | "shift-jis" => "shift_jis",
        "cp949" | "ms949" | "uhc" | "x-windows-949" => "euc-kr",
        "cp950" | "ms950" | "windows-950" | "x-windows-950" => "big5",
        "cp874" | "x-windows-874" => "windows-874",
        "gb-2312" | "euc-cn" | "x-euc-cn" | "cp54936" => "gb18030",
        "eucjp" | "euc-jp-ms" | "ujis" => "euc-jp",
        "iso2022jp" | "iso-2022-jp-1" | "iso-2022-jp-2" | "iso-2022-jp-3" | "iso-2022-jp-ms" => "iso-2022-jp",
        "cp50220" | "cp50221" | "cp50222" => "iso-2022-jp",
        "cp437" | "ibm437" => "ibm850",
        "cp20866" => "koi8-r",
        "cp21866" => "koi8-u",
        "cp10000" => "macintosh",
        "win-1251" | "windows1251" | "ansi-1251" => "windows-1251",
        "windows1252" | "win-1252" | "ansi" => "windows-1252",
        label => label,
    }
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
        || ["windows-1252", "cp1252", "cp65001", "utf8mb4", "utf_8", "utf-8n", "utf"].contains(&label)
}

/// `None` when the label is of no use: unknown, refused, or plainly not what the bytes are.
fn labelled(label: &str, bytes: &[u8]) -> Option<String> {
    if matches!(label, "" | "utf-8" | "utf8") || label.contains("utf-7") || label.contains("utf7") {
        return None;
    }
    let decoder = charset_decoder(known_as(label).as_bytes())?;
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
        let cases: [(Option<&str>, &[u8], &str); 26] = [
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
            (Some("gb2312"), "你好，世界".as_bytes(), "你好，世界"),
            (Some("windows-1251"), "Привет".as_bytes(), "Привет"),
            (Some("windows-1251"), b"\xd0\xb0\xd0\xb1", "Р°Р±"),
            (Some("gbk"), b"\xc1\xaa\xcd\xa8", "联通"),
            (Some("CP932"), b"\x83e\x83X\x83g", "テスト"),
            (Some("ks_c_5601-1987"), b"\xc7\xd1\xb1\xdb", "한글"),
            (Some("big5"), b"\xa4\xa4\xa4\xe5", "中文"),
            (Some("euc-jp"), b"\xa5\xc6\xa5\xb9\xa5\xc8", "テスト"),
            (Some("koi8-r"), b"\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"),
            (Some("windows-1250"), b"\x8elu\x9dou\xe8k\xfd", "Žluťoučký"),
            (Some("windows-1256"), b"\xe3\xd1\xcd\xc8\xc7", "مرحبا"),
            (Some("utf-16le"), b"h\0i\0", "hi"),
            (Some("unicode-1-1-utf-7"), b"+ADw-", "+ADw-"),
        ];
        for (label, bytes, text) in cases {
            assert_eq!(decode(label, bytes), text, "{label:?}");
        }
    }

    #[test]
    fn a_header_that_is_not_encoded_is_in_the_character_set_of_the_mail() {
        for (hint, bytes, text) in [
            (Some("shift_jis"), &b"\x83e\x83X\x83g"[..], "テスト"),
            (Some("\"GB2312\""), b"\xc4\xe3\xba\xc3", "你好"),
            (Some("windows-1251"), b"\xcf\xf0\xe8", "При"),
            (Some("windows-1251"), "При".as_bytes(), "При"),
            (Some("shift_jis"), b"gr\xfc\xff", "grüÿ"),
            (Some("utf-8"), b"gr\xfcn", "grün"),
            (Some("iso-2022-jp"), b"gr\xfcn", "grün"),
            (None, b"gr\xfcn", "grün"),
        ] {
            assert_eq!(unencoded(hint, bytes), text, "{hint:?}");
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
