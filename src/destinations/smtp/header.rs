//! The few fields of a mail's header that its envelope is made from. Nothing else of the mail is read here.

use super::wire::cut;

/// Where the value of the first field of this name lies, its folding included and without its end.
pub(super) fn find(mail: &[u8], name: &str) -> Option<std::ops::Range<usize>> {
    let mut rest = mail;
    let at = |rest: &[u8]| mail.len() - rest.len();
    loop {
        let (line, mut next) = cut(rest);
        if line.is_empty() {
            return None;
        }
        let colon = memchr::memchr(b':', line)?;
        if line[..colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes()) {
            let mut end = at(rest) + line.len();
            while next.starts_with(b" ") || next.starts_with(b"\t") {
                let (folded, after) = cut(next);
                end = at(next) + folded.len();
                next = after;
            }
            return Some(at(rest) + colon + 1..end);
        }
        while next.starts_with(b" ") || next.starts_with(b"\t") {
            next = cut(next).1;
        }
        rest = next;
    }
}

/// The value of the first field of this name, unfolded. `None` too where it is not UTF-8.
pub(super) fn value(mail: &[u8], name: &str) -> Option<String> {
    let value = std::str::from_utf8(&mail[find(mail, name)?]).ok()?;
    Some(value.replace(['\r', '\n'], "").trim().to_owned())
}

/// The first address of an address field, bare. Not a reader of all that RFC 5322 allows: what is unusual has none.
pub(super) fn first_address(value: &str) -> Option<String> {
    let (mut bare, mut comments, mut in_quotes, mut is_escaped) = (String::new(), 0u32, false, false);
    for character in value.chars() {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '\\' if (in_quotes || comments > 0) && !was_escaped => {
                is_escaped = true;
                if comments > 0 {
                    continue;
                }
            }
            _ if comments > 0 => {
                match character {
                    '(' if !was_escaped => comments += 1,
                    ')' if !was_escaped => comments -= 1,
                    _ => {}
                }
                continue;
            }
            '"' if !was_escaped => in_quotes = !in_quotes,
            '(' if !in_quotes => {
                comments += 1;
                continue;
            }
            '<' if !in_quotes => {
                bare.clear();
                continue;
            }
            '>' | ',' | ';' if !in_quotes => break,
            // A group's name ends here; a route within `<…>` has not been written since 1982.
            ':' if !in_quotes => {
                bare.clear();
                continue;
            }
            _ => {}
        }
        bare.push(character);
    }
    let bare = bare.trim();
    is_mailbox(bare).then(|| bare.to_owned())
}

/// Whether this can stand between `<` and `>` of an envelope.
pub(super) fn is_mailbox(text: &str) -> bool {
    const LONGEST: usize = 320;
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    let foreign = |c: char| c.is_control() || c.is_whitespace() || "<>()[]\\,;:\"@".contains(c);
    let is_local = if is_quoted {
        is_quoted_string(&local[1..local.len() - 1])
    } else {
        !local.is_empty() && !local.contains(foreign)
    };
    let name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || !c.is_ascii();
    let literal =
        |it: &str| it.bytes().all(|it| it.is_ascii_hexdigit() || matches!(it, b':' | b'.' | b'I' | b'P' | b'v'));
    let is_domain = match domain.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        Some(inside) => !inside.is_empty() && literal(inside),
        None => {
            !domain.is_empty()
                && domain.chars().all(name)
                && !domain.contains(char::is_whitespace)
                && !domain.contains(char::is_control)
        }
    };
    is_local && is_domain && text.len() <= LONGEST
}

fn is_quoted_string(inside: &str) -> bool {
    let mut is_escaped = false;
    for character in inside.chars() {
        if character.is_control() || (character == '"' && !is_escaped) {
            return false;
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    !is_escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name_with_its_folding() {
        let mail =
            b"Received: a\r\n\tReturn-Path: <no@x.de>\r\nreturn-path : <a@b.de>\r\nX: y\n  z\n\nFrom: body@b.de\n";
        assert_eq!(value(mail, "Return-Path").as_deref(), Some("<a@b.de>"));
        assert_eq!(value(mail, "x").as_deref(), Some("y  z"));
        assert_eq!(value(mail, "From"), None, "the body is not the header");
        assert_eq!(&mail[find(mail, "x").unwrap()], b" y\n  z");
        assert_eq!(value(b"", "From"), None);
        assert_eq!(value(b"no header at all\r\nFrom: a@b.de\r\n", "From"), None);
        assert_eq!(value(b"From: \xfc <a@b.de>\r\n", "From"), None);
    }

    #[test]
    fn the_first_address_of_a_field_is_read_and_what_is_none_is_not() {
        for (value, expected) in [
            ("ada@example.net", Some("ada@example.net")),
            ("<ada@example.net>", Some("ada@example.net")),
            ("Ada <Ada@Example.net>", Some("Ada@Example.net")),
            ("\"Lovelace, Ada <x@y.de>\" <ada@example.net>", Some("ada@example.net")),
            ("Ada (a <b@c.de> \\) comment) <ada@example.net>, bob@example.net", Some("ada@example.net")),
            ("ada@example.net (Ada), bob@example.net", Some("ada@example.net")),
            ("Team: ada@example.net, bob@example.net;", Some("ada@example.net")),
            ("\"a b\"@example.net", Some("\"a b\"@example.net")),
            ("\"a\\\"b\"@example.net", Some("\"a\\\"b\"@example.net")),
            ("jürgen@bücher.example", Some("jürgen@bücher.example")),
            ("a@[192.0.2.1]", Some("a@[192.0.2.1]")),
            ("undisclosed-recipients:;", None),
            ("Ada", None),
            ("", None),
            ("<>", None),
            ("a b@example.net", None),
            ("a@b@example.net", None),
            ("a@exam ple.net", None),
            ("a@example.net SIZE=1", None),
            ("<a@example.net\u{0}>", None),
            ("\"a@example.net", None),
        ] {
            assert_eq!(first_address(value).as_deref(), expected, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_field_makes_it_panic_or_leave_the_envelope(value in "[a@<>\"(),;: \\\\\r\nü.\\[\\]]{0,24}", mail: Vec<u8>) {
            if let Some(address) = first_address(&value) {
                proptest::prop_assert!(!address.contains(['\r', '\n']) && address.contains('@'));
                proptest::prop_assert!(address.starts_with('"') || !address.contains(['<', '>', ' ']), "{address}");
            }
            let _ = find(&mail, "From");
        }
    }
}
