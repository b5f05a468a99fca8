//! What credentials are made of in the stories: certificates with their keys, and another issuer's tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mailspan_tenant::Federation;
use rcgen::{CertificateParams, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use crate::said;

/// A certificate and its RSA key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    /// Valid since yesterday, and for so long.
    pub(crate) fn valid_for(time: Duration) -> Self {
        let key = rcgen::KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let mut params = CertificateParams::new(["bridge.example".to_owned()]).unwrap();
        // The type that rcgen takes times in has no name here: a midnight of it, and seconds since.
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        let midnight = rcgen::date_time_ymd(
            i32::from(today.year()),
            u8::try_from(today.month()).unwrap(),
            u8::try_from(today.day()).unwrap(),
        );
        let since = Duration::from_secs(u64::try_from(today.timestamp().as_second().rem_euclid(24 * 3600)).unwrap());
        params.not_before = midnight - Duration::from_secs(24 * 3600);
        params.not_after = midnight + since + time;
        Self { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    pub(crate) fn write(&self, files: &(PathBuf, PathBuf)) {
        write(&files.0, &self.certificate);
        write(&files.1, &self.key);
    }
}

/// Puts a file in another's place, as careful people and Kubernetes do.
pub(crate) fn write(path: &Path, text: &str) {
    said::secret(text);
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// Another issuer, such as a cluster, that signs tokens for what runs on it.
pub(crate) struct Issuer {
    key: KeyPair,
}

pub(crate) const ISSUER: &str = "https://cluster.example/oidc";
pub(crate) const SUBJECT: &str = "system:serviceaccount:mail:mailspan";
pub(crate) const EXCHANGE: &str = "api://AzureADTokenExchange";

impl Issuer {
    pub(crate) fn new() -> Self {
        Self { key: KeyPair::generate(KeySize::Rsa2048).unwrap() }
    }

    /// What Entra is told of it.
    pub(crate) fn federation(&self) -> Federation {
        Federation {
            issuer: ISSUER.into(),
            subject: SUBJECT.into(),
            audience: EXCHANGE.into(),
            key: self.key.public_key().as_ref().to_vec(),
        }
    }

    /// A token for us that ends at this time.
    pub(crate) fn token(&self, ends: jiff::Timestamp) -> String {
        self.signed(&json!({
            "iss": ISSUER, "sub": SUBJECT, "aud": [EXCHANGE],
            "nbf": jiff::Timestamp::now().as_second() - 60, "exp": ends.as_second(), "jti": uuid::Uuid::new_v4().to_string(),
        }))
    }

    pub(crate) fn signed(&self, claims: &Value) -> String {
        let encode = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let text = format!("{}.{}", encode(&json!({ "alg": "RS256", "typ": "JWT", "kid": "one" })), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}
