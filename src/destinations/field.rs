//! Header fields that are put before a mail: whatever a name holds, it stays within its field.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Text as a header field may carry it: plain where it is plain, else encoded words (RFC 2047).
pub(super) fn text(text: &str, end: &str) -> String {
    /// 45 bytes are 60 characters of base64, and an encoded word has room for 75 in all.
    const WORD: usize = 45;
    if text.bytes().all(|it| (b' '..=b'~').contains(&it)) && text.len() <= 200 && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for character in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + character.len_utf8() <= WORD => word.push(character),
            _ => words.push(character.to_string()),
        }
    }
    let encoded = words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(word)));
    encoded.collect::<Vec<_>>().join(&format!("{end} "))
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_name_cannot_break_out_of_its_field() {
        assert_eq!(text("support-flow 2", "\n"), "support-flow 2");
        assert_eq!(text("a\r\nBcc: b", "\n"), "=?utf-8?B?YQ0KQmNjOiBi?=");
        assert_eq!(text("Bücher", "\n"), "=?utf-8?B?QsO8Y2hlcg==?=");
        let long = text(&"ü".repeat(100), "\r\n");
        assert!(long.split("\r\n ").count() > 1 && long.split("\r\n ").all(|word| word.len() <= 75), "{long}");
    }
}
