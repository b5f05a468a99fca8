//! Client assertions: JSON Web Tokens, taken apart and verified (RFC 7515, RFC 7519, RFC 7523).
//!
//! Nothing in one is believed before its signature was verified with a key that somebody registered.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// How far clocks may differ.
const SKEW_S: i64 = 300;

/// An assertion as it came.
pub(crate) struct Assertion {
    header: Value,
    claims: Value,
    signed: String,
    signature: Vec<u8>,
}

impl Assertion {
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: json(header).filter(Value::is_object)?,
            claims: json(claims).filter(Value::is_object)?,
            signed: signed.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// A member of the header that is a text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }

    /// A claim that is a text.
    pub(crate) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// Whom it is for: one, or one of several.
    pub(crate) fn is_for(&self, audience: &str) -> bool {
        match self.claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(several)) => several.iter().any(|it| it == audience),
            _ => false,
        }
    }

    /// Whether it is valid at this time, as far as clocks agree. One without an end is never.
    pub(crate) fn is_valid_at(&self, now_ms: i64) -> bool {
        let now = now_ms.div_euclid(1000);
        let time = |name: &str| self.claims.get(name).map(|it| it.as_f64().map(|it| it as i64));
        let has_begun = match time("nbf") {
            None => true,
            Some(begin) => begin.is_some_and(|it| it <= now + SKEW_S),
        };
        has_begun && time("exp").flatten().is_some_and(|end| now - SKEW_S < end)
    }

    /// Verifies the signature with an RSA public key (PKCS #1, DER): PS256, or RS256 as older clients sign.
    pub(crate) fn is_signed_by(&self, key: &[u8]) -> bool {
        let (signed, signature) = (self.signed.as_bytes(), &self.signature);
        match self.header("alg") {
            Some("PS256") => UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key).verify(signed, signature).is_ok(),
            Some("RS256") => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(signed, signature).is_ok(),
            _ => false,
        }
    }
}
