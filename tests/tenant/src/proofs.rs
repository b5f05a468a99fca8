//! What apps prove themselves with besides secrets: registered certificates, and other issuers they trust.
//!
//! Written from learn.microsoft.com/entra/identity-platform/certificate-credentials and workload-identity-federation.

use std::{collections::HashMap, sync::Mutex};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    assertion::Assertion,
    clock::held,
    refused::{Refusal, refusal},
};

/// How an assertion is introduced.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Used ids are remembered for longer than any assertion lives.
const REMEMBER_MS: i64 = 24 * 3_600_000;

/// Another issuer whose tokens an app trusts (workload identity federation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federation {
    /// `iss` of its tokens.
    pub issuer: String,
    /// `sub` of the token that stands for the app.
    pub subject: String,
    /// `aud` of that token; usually `api://AzureADTokenExchange`.
    pub audience: String,
    /// The issuer's RSA public key (PKCS #1, DER), as its key set would show it.
    pub key: Vec<u8>,
}

/// What is registered, by app.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    certificates: Mutex<Vec<Registered>>,
    federations: Mutex<Vec<(String, Federation)>>,
    /// Ids of assertions that were accepted, and until when they are remembered.
    used: Mutex<HashMap<String, i64>>,
}

#[derive(Debug)]
struct Registered {
    client_id: String,
    /// `x5t#S256` and `x5t`.
    thumbprints: [String; 2],
    /// RSA public key, PKCS #1.
    key: Vec<u8>,
    valid_ms: std::ops::Range<i64>,
}

/// An assertion in its request.
pub(crate) struct Shown<'r> {
    pub(crate) client_id: &'r str,
    pub(crate) assertion: &'r str,
    pub(crate) assertion_type: Option<&'r str>,
    /// What it may be for, where the app signed it itself.
    pub(crate) audiences: &'r [String],
    pub(crate) now_ms: i64,
}

impl Proofs {
    /// Registers the first certificate of a PEM text. Returns false if there is none with an RSA key.
    pub(crate) fn register(&self, client_id: &str, pem: &str) -> bool {
        let Some(registered) = registered(client_id, pem) else { return false };
        held(&self.certificates).push(registered);
        true
    }

    /// Takes a certificate away again. Returns false if it was not registered.
    pub(crate) fn remove(&self, client_id: &str, pem: &str) -> bool {
        let Some(removed) = registered(client_id, pem) else { return false };
        let mut certificates = held(&self.certificates);
        let before = certificates.len();
        certificates.retain(|it| it.client_id != client_id || it.thumbprints != removed.thumbprints);
        certificates.len() < before
    }

    pub(crate) fn trust(&self, client_id: &str, federation: Federation) {
        held(&self.federations).push((client_id.to_owned(), federation));
    }

    pub(crate) fn distrust(&self, client_id: &str, issuer: &str) {
        held(&self.federations).retain(|(app, it)| app != client_id || it.issuer != issuer);
    }

    /// Whether this assertion proves that it comes from the app.
    pub(crate) fn check(&self, shown: &Shown<'_>) -> Result<(), Refusal> {
        if shown.assertion_type != Some(JWT_BEARER) {
            let text = "The request body must contain the following parameter: 'client_assertion_type'.";
            return Err(refusal(400, "invalid_request", 900_144, text.to_owned()));
        }
        let unreadable = || invalid(50_027, "JWT token is invalid or malformed.");
        let assertion = Assertion::read(shown.assertion).ok_or_else(unreadable)?;
        let issuer = assertion.claim("iss").ok_or_else(unreadable)?;
        if issuer.eq_ignore_ascii_case(shown.client_id) || assertion.header("x5t#S256").is_some() {
            self.check_own(shown, &assertion)?;
        } else {
            self.check_foreign(shown, &assertion, issuer)?;
        }
        if !assertion.is_valid_at(shown.now_ms) {
            return Err(invalid(700_024, "Client assertion is not within its valid time range."));
        }
        self.use_up(&assertion, shown.now_ms)
    }

    /// One that the app signed with a registered certificate.
    fn check_own(&self, shown: &Shown<'_>, assertion: &Assertion) -> Result<(), Refusal> {
        let is_own = |claim: &str| assertion.claim(claim).is_some_and(|it| it.eq_ignore_ascii_case(shown.client_id));
        if !is_own("iss") || !is_own("sub") {
            let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
            return Err(invalid(700_021, text));
        }
        let unregistered = |why: &str| {
            let text =
                "The certificate with identifier used to sign the client assertion is not registered on application.";
            invalid(700_027, &format!("{text} [Reason - {why}]"))
        };
        let thumbprint = assertion.header("x5t#S256").or_else(|| assertion.header("x5t"));
        let thumbprint = thumbprint.ok_or_else(|| unregistered("The key was not found."))?;
        {
            let certificates = held(&self.certificates);
            let found = certificates
                .iter()
                // Microsoft's own library for Python writes it with padding.
                .find(|it| {
                    let thumbprint = thumbprint.trim_end_matches('=');
                    it.client_id == shown.client_id && it.thumbprints.iter().any(|it| it == thumbprint)
                })
                .ok_or_else(|| unregistered("The key was not found."))?;
            if !assertion.is_signed_by(&found.key) {
                return Err(unregistered("The signature is invalid."));
            }
            if !found.valid_ms.contains(&shown.now_ms) {
                return Err(unregistered("The key used is expired."));
            }
        }
        if !shown.audiences.iter().any(|it| assertion.is_for(it)) {
            return Err(invalid(700_023, "Client assertion audience claim does not match Realm issuer."));
        }
        Ok(())
    }

    /// One that another issuer signed. Issuer, subject and audience are compared letter by letter.
    fn check_foreign(&self, shown: &Shown<'_>, assertion: &Assertion, issuer: &str) -> Result<(), Refusal> {
        let federations = held(&self.federations);
        let of_app: Vec<_> = federations.iter().filter(|it| it.0 == shown.client_id).map(|it| &it.1).collect();
        let unmatched = |code, what: &str| {
            invalid(code, &format!("No matching federated identity record found for presented assertion {what}."))
        };
        if !of_app.iter().any(|it| it.issuer == issuer) {
            return Err(unmatched(700_211, "issuer"));
        }
        let subject = assertion.claim("sub").unwrap_or_default();
        let of_issuer = of_app.iter().filter(|it| it.issuer == issuer);
        let of_subject: Vec<_> = of_issuer.filter(|it| it.subject == subject).collect();
        if of_subject.is_empty() {
            return Err(unmatched(700_213, "subject"));
        }
        let Some(found) = of_subject.iter().find(|it| assertion.is_for(&it.audience)) else {
            return Err(unmatched(700_212, "audience"));
        };
        if !assertion.is_signed_by(&found.key) {
            return Err(invalid(50_027, "External ID token from issuer failed signature verification."));
        }
        Ok(())
    }

    /// The app's own assertions name themselves; each name is good for one use. Tokens of others are shown again.
    fn use_up(&self, assertion: &Assertion, now_ms: i64) -> Result<(), Refusal> {
        let own = assertion.header("x5t#S256").or_else(|| assertion.header("x5t"));
        let Some(id) = assertion.claim("jti").filter(|_| own.is_some()) else { return Ok(()) };
        let mut used = held(&self.used);
        used.retain(|_, until_ms| *until_ms > now_ms);
        match used.insert(id.to_owned(), now_ms.saturating_add(REMEMBER_MS)) {
            None => Ok(()),
            Some(_) => Err(invalid(50_027, "JWT token is invalid: its identifier was used before.")),
        }
    }
}

fn invalid(code: u32, text: &str) -> Refusal {
    refusal(401, "invalid_client", code, text.to_owned())
}

fn registered(client_id: &str, pem: &str) -> Option<Registered> {
    let body = pem.split_once("-----BEGIN CERTIFICATE-----")?.1.split_once("-----END CERTIFICATE-----")?.0;
    let der = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let key = certificate.public_key();
    let is_rsa = matches!(key.parsed(), Ok(x509_parser::public_key::PublicKey::RSA(_)));
    let validity = certificate.validity();
    let from = validity.not_before.timestamp().saturating_mul(1000);
    let to = validity.not_after.timestamp().saturating_mul(1000);
    is_rsa.then(|| Registered {
        client_id: client_id.to_owned(),
        thumbprints: [&SHA256, &SHA1_FOR_LEGACY_USE_ONLY].map(|it| URL_SAFE_NO_PAD.encode(digest(it, &der))),
        key: key.subject_public_key.data.to_vec(),
        valid_ms: from..to.max(from),
    })
}
