//! Header fields of the operator's own on a webhook: which may be set, and how they are written.
//!
//! What HTTP, the signature or Mailspan says about a request nobody else says.

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::model::secret::Secret;

/// About the connection or the message itself (RFC 9110 §7.6.1, RFC 9113 §8.2.2): HTTP sets them.
const OF_HTTP: [&str; 12] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is said about a field that two keys set.
pub const TWICE: &str = "is set twice; capitals make no difference in a header's name";

/// Written as they come; a value may be a key, so it is kept out of sight.
pub(super) fn read(headers: &BTreeMap<String, Secret>) -> Result<HeaderMap, (String, &'static str)> {
    let mut read = HeaderMap::with_capacity(headers.len());
    for (name, text) in headers {
        let (field, value) = field(name, text).map_err(|problem| (name.clone(), problem))?;
        if read.insert(field, value).is_some() {
            return Err((name.clone(), TWICE));
        }
    }
    Ok(read)
}

/// One field, ready to be sent.
///
/// # Errors
/// What is wrong with it and what to do. Never its value.
pub fn field(name: &str, text: &Secret) -> Result<(HeaderName, HeaderValue), &'static str> {
    let field = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "is no header's name; it is made of letters, digits and `-`")?;
    let reserved = |prefix| field.as_str().starts_with(prefix);
    match field.as_str() {
        "authorization" => {
            return Err("cannot be set here; use auth = { kind = \"bearer\", … } or another kind of auth");
        }
        it if OF_HTTP.contains(&it) => return Err("is set by HTTP itself; remove it"),
        _ if reserved("content-") => return Err("is set by the format of the body; remove it"),
        _ if reserved("webhook-") => return Err("belongs to the signature; remove it"),
        _ if reserved("mailspan-") => return Err("is set by Mailspan; choose another name"),
        _ => {}
    }
    let ascii = Some(text.expose()).filter(|it| it.is_ascii());
    let mut value = ascii
        .and_then(|it| HeaderValue::from_str(it).ok())
        .ok_or("has a value that HTTP cannot carry; it must be one line of ASCII")?;
    value.set_sensitive(true);
    Ok((field, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, value: &str) -> &'static str {
        field(name, &Secret::new(value)).err().unwrap_or("")
    }

    #[test]
    fn what_others_say_about_a_request_is_refused() {
        for (name, expected) in [
            ("Authorization", "use auth"),
            ("Host", "HTTP itself"),
            ("Transfer-Encoding", "HTTP itself"),
            ("Connection", "HTTP itself"),
            ("TE", "HTTP itself"),
            ("Proxy-Authorization", "HTTP itself"),
            ("Content-Type", "format of the body"),
            ("content-length", "format of the body"),
            ("Webhook-Id", "signature"),
            ("webhook-signature", "signature"),
            ("Mailspan-Attempt", "by Mailspan"),
            ("", "no header's name"),
            ("two words", "no header's name"),
            (":path", "no header's name"),
            ("x\r\ny", "no header's name"),
        ] {
            assert!(told(name, "v").contains(expected), "{name}: {}", told(name, "v"));
        }
        for name in ["X-Environment", "Cookie", "User-Agent", "x-api-key", "Webhooks", "Contents"] {
            assert_eq!(told(name, "v"), "", "{name}");
        }
    }

    #[test]
    fn a_value_is_one_line_and_out_of_sight() {
        for value in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "Grüße"] {
            assert!(told("x-key", value).contains("one line of ASCII"), "{value:?}");
        }
        let (_, value) = field("x-key", &Secret::new("hunter2 and more")).unwrap();
        assert_eq!((value.to_str().unwrap(), format!("{value:?}").contains("hunter2")), ("hunter2 and more", false));
    }

    #[test]
    fn a_name_counts_once_whatever_its_capitals() {
        let twice = BTreeMap::from([("X-Key", "1"), ("x-key", "2")].map(|(it, to)| (it.to_owned(), Secret::new(to))));
        assert!(read(&twice).unwrap_err().1.contains("twice"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_two_fields_of_one(name in ".{0,20}", value in ".{0,20}") {
            if let Ok((field, sent)) = field(&name, &Secret::new(value.clone())) {
                proptest::prop_assert!(field.as_str().eq_ignore_ascii_case(&name));
                proptest::prop_assert!(!sent.as_bytes().iter().any(|it| matches!(it, b'\r' | b'\n' | 0)));
            }
        }
    }
}
