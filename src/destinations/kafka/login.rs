//! Who we are, as brokers ask it: SASL with PLAIN (RFC 4616) or SCRAM (RFC 5802, RFC 7677).
//!
//! With SCRAM the password does not leave the house, and the broker proves that it knows it too.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

/// Less would make a stolen exchange too cheap to search (RFC 7677, 4); more would keep a hostile broker's victims busy.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;

/// How a login is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Mechanism {
    /// The password itself. Never without TLS.
    #[serde(rename = "plain")]
    Plain,
    /// A proof of it, with SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// A proof of it, with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl Mechanism {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// PLAIN's only message.
pub(super) fn plain(user: &str, password: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat())
}

/// A SCRAM exchange, begun.
pub(super) struct Scram {
    sha: Sha,
    first: String,
    nonce: String,
}

#[derive(Clone, Copy)]
struct Sha {
    derive: pbkdf2::Algorithm,
    keyed: hmac::Algorithm,
    plain: &'static digest::Algorithm,
}

/// The second message, and what the broker must answer to it.
pub(super) struct Proof {
    pub(super) message: String,
    signature: hmac::Tag,
}

impl Scram {
    /// With a nonce nobody used before.
    pub(super) fn begin(mechanism: Mechanism, user: &str, nonce: &str) -> Self {
        let sha = match mechanism {
            Mechanism::ScramSha512 => {
                Sha { derive: pbkdf2::PBKDF2_HMAC_SHA512, keyed: hmac::HMAC_SHA512, plain: &digest::SHA512 }
            }
            _ => Sha { derive: pbkdf2::PBKDF2_HMAC_SHA256, keyed: hmac::HMAC_SHA256, plain: &digest::SHA256 },
        };
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { sha, first: format!("n={user},r={nonce}"), nonce: nonce.to_owned() }
    }

    pub(super) fn message(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// The answer to the broker's first message. `None`: it is no such message, or asks for what is not safe.
    pub(super) fn prove(&self, heard: &[u8], password: &str) -> Option<Proof> {
        let heard = std::str::from_utf8(heard).ok()?;
        let mut fields = heard.split(',');
        let nonce = fields.next()?.strip_prefix("r=")?;
        let salt = BASE64_STANDARD.decode(fields.next()?.strip_prefix("s=")?).ok()?;
        let iterations: u32 = fields.next()?.strip_prefix("i=")?.parse().ok()?;
        if !ITERATIONS.contains(&iterations) || nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return None;
        }
        let mut salted = Zeroizing::new(vec![0; self.sha.plain.output_len()]);
        pbkdf2::derive(self.sha.derive, NonZeroU32::new(iterations)?, &salt, password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(self.sha.keyed, key), text);
        let client = sign(&salted, b"Client Key");
        let stored = digest::digest(self.sha.plain, client.as_ref());
        let unproved = format!("c=biws,r={nonce}");
        let all = format!("{},{heard},{unproved}", self.first);
        let shown = sign(stored.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client.as_ref().iter().zip(shown.as_ref()).map(|(a, b)| a ^ b).collect();
        let server = sign(&salted, b"Server Key");
        Some(Proof {
            message: format!("{unproved},p={}", BASE64_STANDARD.encode(proof)),
            signature: sign(server.as_ref(), all.as_bytes()),
        })
    }
}

impl Proof {
    /// Whether the broker knows the password as well.
    pub(super) fn is_answered_by(&self, heard: &[u8]) -> bool {
        let signature = heard.strip_prefix(b"v=").and_then(|it| BASE64_STANDARD.decode(it).ok());
        signature.is_some_and(|it| constant_time::verify_slices_are_equal(&it, self.signature.as_ref()).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchange_of_rfc_7677_is_reproduced() {
        let scram = Scram::begin(Mechanism::ScramSha256, "user", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(scram.message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proof = scram.prove(first, "pencil").unwrap();
        assert_eq!(
            proof.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(proof.is_answered_by(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proof.is_answered_by(b"v=AAAA") && !proof.is_answered_by(b"e=invalid-proof"));
    }

    #[test]
    fn a_broker_that_asks_for_what_is_not_safe_gets_nothing() {
        let scram = Scram::begin(Mechanism::ScramSha512, "a,b=c", "abc");
        assert_eq!(scram.message(), "n,,n=a=2Cb=3Dc,r=abc");
        for wrong in
            ["", "r=abcd", "r=xyzd,s=AAAA,i=4096", "r=abc,s=AAAA,i=4096", "r=abcd,s=AAAA,i=1", "r=abcd,s=?,i=4096"]
        {
            assert!(scram.prove(wrong.as_bytes(), "pencil").is_none(), "{wrong}");
        }
        assert!(scram.prove(b"r=abcd,s=AAAA,i=4096", "pencil").is_some());
    }
}
