//! A certificate with its private key, and the assertions signed with them (RFC 7523, PS256).
//!
//! Both are read together and fit each other, or are no use. The key is never shown.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::proof::Print;
use crate::model::clock::UnixMillis;
use crate::model::secret::Secret;

/// An assertion is valid from a little before it is made, because clocks differ …
const BEFORE_S: i64 = 60;
/// … and for ten minutes in all (learn.microsoft.com/entra/identity-platform/certificate-credentials).
const VALID_S: i64 = 600;

/// A certificate and its private key.
pub struct Certificate {
    key: KeyPair,
    /// SHA-256 of the certificate: what Entra finds it by, and what tells it from its successor.
    pub(super) print: Print,
    /// When it begins to be valid.
    pub not_before: UnixMillis,
    /// When it expires.
    pub not_after: UnixMillis,
}

/// A file of the two that is of no use, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PairError {
    /// The key of the configuration that names the file.
    pub key: &'static str,
    /// What is wrong with it; names the file and shows nothing of its content.
    pub problem: String,
}

impl Certificate {
    /// The certificate and the key as the files are now.
    ///
    /// # Errors
    /// One of them is unreadable, is something else, or is not the other's.
    pub fn read(certificate_file: &Path, private_key_file: &Path) -> Result<Self, PairError> {
        let wrong =
            |key, file: &Path, problem: &str| PairError { key, problem: format!("{}: {problem}", file.display()) };
        let certificate = |problem: &str| wrong("certificate_file", certificate_file, problem);
        let private_key = |problem: &str| wrong("private_key_file", private_key_file, problem);

        let pem = std::fs::read(certificate_file).map_err(|error| certificate(&error.to_string()))?;
        let der = CertificateDer::pem_slice_iter(&pem).next();
        let der = der.ok_or_else(|| certificate("no certificate is in it (-----BEGIN CERTIFICATE-----)"))?;
        let der = der.map_err(|_| certificate("the certificate in it is cut off or damaged"))?;
        let (_, x509) = X509Certificate::from_der(&der).map_err(|_| certificate("what is in it is no certificate"))?;

        let pem = std::fs::read(private_key_file).map(Zeroizing::new).map_err(|it| private_key(&it.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            let locked = memchr::memmem::find(&pem, b"ENCRYPTED").is_some();
            private_key(if locked {
                "the private key is encrypted; store it without a password"
            } else {
                "no private key is in it (-----BEGIN PRIVATE KEY-----)"
            })
        })?;
        let key = match &key {
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()).ok(),
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
            _ => None,
        };
        let key = key.ok_or_else(|| private_key("is no RSA key of 2048 bits or more, which Entra asks for"))?;
        if key.public_key().as_ref() != x509.public_key().subject_public_key.data.as_ref() {
            let problem = format!("is not the key of the certificate in {}", certificate_file.display());
            return Err(private_key(&problem));
        }
        let validity = x509.validity();
        let millis = |seconds: i64| seconds.saturating_mul(1000);
        Ok(Self {
            key,
            print: Print::of(&der),
            not_before: millis(validity.not_before.timestamp()),
            not_after: millis(validity.not_after.timestamp()),
        })
    }

    /// A statement, signed, that we are this application: for this audience, now, and for once.
    pub(super) fn assertion(&self, audience: &str, client_id: &str, now: UnixMillis) -> Result<Secret, String> {
        let header = serde_json::json!({
            "alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(self.print.0),
        });
        let not_before = now.div_euclid(1000) - BEFORE_S;
        let claims = serde_json::json!({
            "aud": audience, "iss": client_id, "sub": client_id, "jti": uuid::Uuid::new_v4().to_string(),
            "iat": now.div_euclid(1000), "nbf": not_before, "exp": not_before + VALID_S,
        });
        let encode = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the private key cannot sign".to_owned())?;
        Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn an_assertion_is_signed_by_ps256_and_says_who_for_whom_and_how_long() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new([]).unwrap().self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (pem, key_pem) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&pem, certificate.pem()).unwrap();
        std::fs::write(&key_pem, key.serialize_pem()).unwrap();
        let ours = Certificate::read(&pem, &key_pem).unwrap();
        assert!(!format!("{ours:?}").contains("PRIVATE"));

        let now = 1_800_000_000_500;
        let (first, second) =
            (ours.assertion("https://login/t", "cid", now), ours.assertion("https://login/t", "cid", now));
        let text = first.unwrap().expose().to_owned();
        let [header, claims, signature] = text.split('.').collect::<Vec<_>>()[..] else { panic!() };
        let json = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
        assert_eq!(
            json(header),
            serde_json::json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(thumbprint) })
        );
        let mut said = json(claims);
        let id = said["jti"].take();
        assert_eq!(
            said,
            serde_json::json!({
                "aud": "https://login/t", "iss": "cid", "sub": "cid", "jti": null,
                "iat": 1_800_000_000, "nbf": 1_799_999_940, "exp": 1_800_000_540,
            })
        );
        let other = second.unwrap().expose().split('.').nth(1).map(json).unwrap()["jti"].clone();
        assert!(id.is_string() && id != other, "each is good for one use");
        let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, ours.key.public_key().as_ref());
        let signed = format!("{header}.{claims}");
        public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();

        // The older form of a private key, as `openssl genrsa -traditional` writes it.
        let pkcs8 = key.serialize_der();
        let inner = x509_parser::der_parser::parse_der(&pkcs8).unwrap().1;
        let pkcs1 = inner.as_sequence().unwrap()[2].as_slice().unwrap();
        let older =
            format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", STANDARD.encode(pkcs1));
        std::fs::write(&key_pem, older).unwrap();
        assert_eq!(Certificate::read(&pem, &key_pem).unwrap().print, ours.print);
    }
}
