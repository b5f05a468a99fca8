//! AWS Signature Version 4 of one request: what AWS documents under "Create a signed AWS API request".
//!
//! Pure: the time is an argument, and the secret goes into the key and nowhere else.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use url::Url;

use super::credentials::Credentials;
use crate::model::clock::UnixMillis;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "connect";

/// The header fields that sign a request, besides those it names.
pub(super) struct Signed {
    pub(super) date: String,
    pub(super) authorization: String,
}

/// Signs a request whose query is empty and whose path needs no escaping.
pub(super) fn sign(
    method: &str,
    url: &Url,
    body: &[u8],
    content_type: &str,
    (region, credentials): (&str, &Credentials),
    now: UnixMillis,
) -> Signed {
    let at = Timestamp::from_millisecond(now).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC);
    let date = at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &date[..8];
    let mut headers =
        vec![("content-type", content_type.to_owned()), ("host", host(url)), ("x-amz-date", date.clone())];
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token.expose().to_owned()));
    }
    let names = headers.iter().map(|it| it.0).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let request = format!("{method}\n{}\n\n{lines}\n{names}\n{}", url.path(), sha256(body));
    let scope = format!("{day}/{region}/{SERVICE}/aws4_request");
    let text = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256(request.as_bytes()));
    let first = zeroize::Zeroizing::new(format!("AWS4{}", credentials.secret_access_key.expose()));
    let mut key = zeroize::Zeroizing::new(first.as_bytes().to_vec());
    for part in [day, region, SERVICE, "aws4_request"] {
        *key = mac(&key, part.as_bytes());
    }
    let signature = hex(&mac(&key, text.as_bytes()));
    let id = &credentials.access_key_id;
    let authorization = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    Signed { date, authorization }
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::parse_rfc3339;
    use crate::model::secret::Secret;

    /// Computed with botocore's own signer (SigV4Auth) for the same requests.
    #[test]
    fn a_signature_is_what_the_vendors_own_signer_makes() {
        let now = parse_rfc3339("2026-11-21T23:00:00Z").unwrap();
        let url = Url::parse("https://connect.eu-central-1.amazonaws.com/contact/email").unwrap();
        for (token, expected) in [
            (None, "dad90a23f1f2111b4475fe43abfbfe63118184dd6ebab979c7f662fcd430a310"),
            (Some("session/token=="), "970c89de83ad1656ec59b12a7c08e9b57bb792b8add5c57633cc631ef0aaead0"),
        ] {
            let credentials = Credentials {
                access_key_id: "AKIDEXAMPLE".into(),
                secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                session_token: token.map(Secret::new),
            };
            let body = "{\"Subject\":\"Grüße\"}".as_bytes();
            let signed = sign("PUT", &url, body, "application/json", ("eu-central-1", &credentials), now);
            assert_eq!(signed.date, "20261121T230000Z");
            assert!(signed.authorization.ends_with(&format!("Signature={expected}")), "{}", signed.authorization);
        }
    }
}
