//! What a submission asks for beside its body: its key, its kind, and the envelope of a mail that is sent as it is.

use axum::http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;

use crate::http::problem::Problem;
use crate::model::address::Address;
use crate::model::clock::{UnixMillis, parse_rfc3339};

/// The field with the key.
const KEY: &str = "idempotency-key";
/// No key is longer.
const LONGEST_KEY: usize = 255;

/// What the header of a submission may have.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "drawn in the document; read by `key`")]
pub(in crate::http::api) struct RequestFields {
    /// A text of your choice: the same mail under the same key is accepted once, however often it is handed in.
    #[serde(rename = "Idempotency-Key")]
    #[schemars(length(min = 1, max = 255))]
    idempotency_key: Option<String>,
}

/// What the query of a mail may have that is sent as it is.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "drawn in the document; read by `Envelope`")]
pub(in crate::http::api) struct EnvelopeFields {
    /// Of `message/rfc822`: who it is from; its From may be left out or says the same.
    from: Option<String>,
    /// Of `message/rfc822`: who gets it, in place of whom its To, Cc and Bcc name. Once for each.
    to: Option<Vec<String>>,
    /// Of `message/rfc822`: when it is to leave, such as `2026-11-21T18:00:00Z`.
    send_at: Option<String>,
    /// Of `message/rfc822`: whether a copy stays in Sent Items; left out: it does.
    save_to_sent_items: Option<bool>,
}

/// How a mail is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http::api) enum Kind {
    /// In JSON.
    Json,
    /// As it is (RFC 5322).
    Raw,
}

/// The kind of body a request has.
///
/// # Errors
/// It is none that is taken.
pub(in crate::http::api) fn kind(headers: &HeaderMap) -> Result<Kind, Problem> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Kind::Json),
        "message/rfc822" => Ok(Kind::Raw),
        it if it.starts_with("application/") && it.ends_with("+json") => Ok(Kind::Json),
        _ => {
            let detail = "send JSON with `content-type: application/json`, or a mail with `message/rfc822`";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-type", detail))
        }
    }
}

/// The key of a request, written plainly or between quotation marks, as the draft of the field has it
/// (draft-ietf-httpapi-idempotency-key-header §2.1).
///
/// # Errors
/// It cannot be one.
pub(in crate::http::api) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let refused = |detail| Problem::new(StatusCode::BAD_REQUEST, "bad-idempotency-key", detail);
    let mut all = headers.get_all(KEY).iter();
    let (Some(only), None) = (all.next(), all.next()) else {
        return if headers.contains_key(KEY) { Err(refused("send one Idempotency-Key")) } else { Ok(None) };
    };
    let text = only.to_str().map_err(|_| refused("write the Idempotency-Key in ASCII"))?.trim();
    let quoted = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(refused("the Idempotency-Key has from 1 to 255 letters"));
    }
    Ok(Some(key.to_owned()))
}

/// What is wished for a mail that is sent as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http::api) struct Envelope {
    pub(in crate::http::api) sender: Option<Address>,
    pub(in crate::http::api) recipients: Option<Vec<Address>>,
    pub(in crate::http::api) send_at: Option<UnixMillis>,
    pub(in crate::http::api) save_to_sent_items: bool,
}

impl Envelope {
    /// Reads a query.
    ///
    /// # Errors
    /// What cannot be read in it.
    pub(in crate::http::api) fn read(query: &str) -> Result<Self, Problem> {
        let mut read = Self { sender: None, recipients: None, send_at: None, save_to_sent_items: true };
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if name != "to" && seen.contains(&name) {
                return Err(refused(&name, "stands there twice"));
            }
            let address = || Address::parse(&value).map_err(|_| refused(&name, "must be an address"));
            match name.as_ref() {
                "from" => read.sender = Some(address()?),
                "to" => read.recipients.get_or_insert_default().push(address()?),
                "send_at" => {
                    let at = parse_rfc3339(&value);
                    read.send_at = Some(at.ok_or_else(|| refused(&name, "must be like 2026-11-21T18:00:00Z"))?);
                }
                "save_to_sent_items" => {
                    let flag = value.parse();
                    read.save_to_sent_items = flag.map_err(|_| refused(&name, "must be true or false"))?;
                }
                _ => {
                    let detail = "is not known; known are from, to, send_at, save_to_sent_items";
                    return Err(refused(&name.chars().take(60).collect::<String>(), detail));
                }
            }
            seen.push(name);
        }
        Ok(read)
    }
}

fn refused(name: &str, detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-query", format!("the query cannot be read: `{name}` {detail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_key_is_written_with_and_without_quotation_marks() {
        let long = "x".repeat(256);
        for (shown, expected) in [
            (vec![], Ok(None)),
            (vec!["8e03978e-40d5"], Ok(Some("8e03978e-40d5"))),
            (vec!["\"8e03978e-40d5\""], Ok(Some("8e03978e-40d5"))),
            (vec![" a b "], Ok(Some("a b"))),
            (vec![""], Err(400)),
            (vec!["\"\""], Err(400)),
            (vec![long.as_str()], Err(400)),
        ] {
            let fields: Vec<_> = shown.iter().map(|it| (KEY, *it)).collect();
            let read = key(&headers(&fields)).map_err(|it| it.status().as_u16());
            assert_eq!(read, expected.map(|it| it.map(str::to_owned)), "{shown:?}");
        }
        let mut twice = headers(&[(KEY, "a")]);
        twice.append(KEY, "b".parse().unwrap());
        assert!(key(&twice).is_err());
    }

    #[test]
    fn the_kind_of_a_body_is_what_it_says() {
        for (said, expected) in [
            ("application/json", Some(Kind::Json)),
            ("Application/JSON; charset=utf-8", Some(Kind::Json)),
            ("application/vnd.x+json", Some(Kind::Json)),
            ("message/rfc822", Some(Kind::Raw)),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(kind(&headers(&[("content-type", said)])).ok(), expected, "{said}");
        }
        assert!(kind(&HeaderMap::new()).is_err());
    }

    #[test]
    fn an_envelope_is_read_or_refused() {
        let query = "from=Me%40c.example&to=a%40x.org&to=b@x.org&send_at=2026-11-21T18:00:00Z&save_to_sent_items=false";
        let envelope = Envelope::read(query).unwrap();
        assert_eq!(envelope.sender.unwrap().as_str(), "me@c.example");
        assert_eq!(envelope.recipients.unwrap().len(), 2);
        assert_eq!((envelope.send_at, envelope.save_to_sent_items), (Some(1_795_284_000_000), false));
        assert!(Envelope::read("").unwrap().recipients.is_none());
        for wrong in ["from=x", "to=", "send_at=1", "save_to_sent_items=1", "cc=a@x.org", "from=a@x.org&from=b@x.org"] {
            assert!(Envelope::read(wrong).is_err(), "{wrong}");
        }
    }
}
