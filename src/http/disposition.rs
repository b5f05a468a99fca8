//! The header Content-Disposition of a download: a name that a stranger chose, made harmless (RFC 6266, RFC 8187).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but what RFC 8187 calls attr-char.
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// A file to be saved under this name, never to be shown.
pub(super) fn attachment(name: Option<&str>) -> String {
    let Some(name) = name.filter(|it| !it.is_empty()) else { return "attachment".to_owned() };
    // Quotes and backslashes are read differently by different readers, and so are percent signs.
    let is_plain = |it: char| (it.is_ascii_graphic() || it == ' ') && !matches!(it, '"' | '\\' | '%');
    let plain: String = name.chars().map(|it| if is_plain(it) { it } else { '_' }).collect();
    if plain == name {
        format!("attachment; filename=\"{plain}\"")
    } else {
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, EXTENDED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_for_old_readers_and_new() {
        for (name, expected) in [
            (None, "attachment"),
            (Some(""), "attachment"),
            (Some("invoice 1.pdf"), "attachment; filename=\"invoice 1.pdf\""),
            (Some("Grüße.pdf"), "attachment; filename=\"Gr__e.pdf\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.pdf"),
            (Some("a\"b\\c%41.txt"), "attachment; filename=\"a_b_c_41.txt\"; filename*=UTF-8''a%22b%5Cc%2541.txt"),
            (Some("a\r\nx: y"), "attachment; filename=\"a__x: y\"; filename*=UTF-8''a%0D%0Ax%3A%20y"),
        ] {
            assert_eq!(attachment(name), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_can_be_sent(name: String) {
            let header = attachment(Some(&name));
            proptest::prop_assert!(axum::http::HeaderValue::from_str(&header).is_ok(), "{header:?}");
        }
    }
}
