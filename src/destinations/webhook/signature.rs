//! Standard Webhooks 1.0, symmetric: `v1,<base64 HMAC-SHA256>` over `{id}.{timestamp}.{body}`, once per secret.
//!
//! Two secrets sign side by side while rotating. A secret's file is looked at again at most once a second.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::destinations::watched::Watched;
use crate::model::clock::UnixMillis;
use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// Padding is written by us and not asked of others.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Signs the attempts of one webhook.
pub struct Signer {
    keys: Vec<Watched<hmac::Key>>,
}

impl Signer {
    /// Reads every secret once, so that a bad one is known before the first mail.
    ///
    /// # Errors
    /// The first secret that is of no use: what it is, and never the secret.
    pub fn new(sources: Vec<SecretSource>, now: UnixMillis) -> Result<Self, String> {
        let keys = sources.into_iter().map(|source| Watched::secret(source, now, key)).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// The value of `webhook-signature` for these bytes: one signature per secret, in the order of the configuration.
    ///
    /// # Errors
    /// A secret's file has become unusable since it was last read.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8], now: UnixMillis) -> Result<String, String> {
        let mut value = String::with_capacity(self.keys.len() * 48);
        for key in &self.keys {
            let mut signing = hmac::Context::with_key(&key.current(now)?);
            signing.update(format!("{id}.{timestamp}.").as_bytes());
            signing.update(body);
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str("v1,");
            BASE64.encode_string(signing.sign(), &mut value);
        }
        Ok(value)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} secrets)", self.keys.len())
    }
}

fn key(secret: &Secret) -> Result<hmac::Key, &'static str> {
    let encoded = secret.expose().strip_prefix("whsec_").ok_or("a signing secret begins with whsec_")?;
    let bytes = BASE64.decode(encoded).map(zeroize::Zeroizing::new).map_err(|_| "after whsec_ comes base64")?;
    match bytes.len() {
        24..=64 => Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
        _ => Err("a signing secret holds 24 to 64 random bytes (whsec_ and their base64)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inline(secret: &str) -> SecretSource {
        SecretSource::Inline(Secret::new(secret))
    }

    #[test]
    fn the_published_vectors_are_signed_as_published() {
        let ours = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let vectors = [
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                ours,
                "msg_mb_0001",
                1_700_000_000,
                r#"{"type":"interaction.email.received","timestamp":"2023-11-14T22:13:20Z","data":{}}"#,
                "v1,++/OT/KrBrZvvSSA8zEC0t/extleXTAH7QHSP/B2c9Y=",
            ),
            (
                ours,
                "msg_mb_utf8",
                1_700_000_001,
                r#"{"subject":"Grüße €😀"}"#,
                "v1,Opl376CtLTSoM8s8q1x+4KfFzz54Nh8b2N9buhpcsMc=",
            ),
            (ours, "msg_mb_empty", 1_700_000_002, "", "v1,qLfFczolB3FjxJMkxcsH7pfWOhUiNxS9s3soll8hODY="),
        ];
        for (secret, id, timestamp, body, signature) in vectors {
            let signer = Signer::new(vec![inline(secret)], 0).unwrap();
            assert_eq!(signer.sign(id, timestamp, body.as_bytes(), 0).unwrap(), signature, "{id}");
        }
    }

    #[test]
    fn a_secret_of_no_use_is_explained_and_never_shown() {
        let short = BASE64.encode([7; 23]);
        let long = BASE64.encode([7; 65]);
        let cases = [
            ("C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned(), "begins with whsec_"),
            ("whsec_C2FVsBQIhrscChlQIMV*b5sSYspob7oD".to_owned(), "base64"),
            (format!("whsec_{short}"), "24 to 64"),
            (format!("whsec_{long}"), "24 to 64"),
            ("whsec_".to_owned(), "24 to 64"),
        ];
        for (secret, told) in cases {
            let error = Signer::new(vec![inline(&secret)], 0).unwrap_err();
            assert!(error.contains(told), "{error}");
            assert!(secret == "whsec_" || !error.contains(&secret), "{error}");
        }
        for (bytes, padded) in [(24, true), (64, true), (25, false)] {
            let encoded = BASE64.encode(vec![7; bytes]);
            let encoded = if padded { encoded.as_str() } else { encoded.trim_end_matches('=') };
            assert!(Signer::new(vec![inline(&format!("whsec_{encoded}"))], 0).is_ok(), "{bytes}");
        }
    }

    #[test]
    fn a_secrets_file_is_looked_at_again_after_a_second() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |byte: u8| {
            // A length of its own each time: file times can be too coarse for a test.
            let secret = BASE64.encode(vec![byte; usize::from(byte)]);
            std::fs::write(file.path(), format!("whsec_{secret}\n")).unwrap();
        };
        write(30);
        let signer = Signer::new(vec![SecretSource::File(file.path().into())], 10_000).unwrap();
        let at = |now| signer.sign("ix_1", 1, b"{}", now);
        let first = at(10_000).unwrap();
        write(40);
        assert_eq!(at(10_999).unwrap(), first, "not looked at within the second");
        let second = at(11_000).unwrap();
        assert_ne!(second, first);
        write(50);
        assert_ne!(at(500).unwrap(), second, "a clock set back looks again");
        std::fs::write(file.path(), "half").unwrap();
        let error = at(20_000).unwrap_err();
        assert!(error.contains(&*file.path().to_string_lossy()) && error.contains("whsec_"), "{error}");
        write(60);
        assert!(at(20_001).is_ok(), "an unusable file is looked at again at once");
    }
}
