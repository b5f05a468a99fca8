//! The HTTP client of a webhook: to public addresses unless private ones are meant, with our own certificate if it has
//! one, made anew when that is renewed.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::auth::{self, Mtls};
use super::config::Config;
use crate::destinations::BuildError;
use crate::destinations::watched::Watched;
use crate::egress::private_networks::{PrivateOnly, is_private};
use crate::egress::{Egress, causes};
use crate::model::clock::UnixMillis;

/// Some servers drop an idle connection after 5 s (Node's default), and a request sent into that is a wasted attempt.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// An answer is read this far; beyond it is cut.
const ANSWER_LIMIT: usize = 64 << 10;

/// The client as configured, for as long as the webhook lives.
pub(super) fn client(
    config: &Config,
    egress: &Egress,
    now: UnixMillis,
) -> Result<Watched<reqwest::Client>, BuildError> {
    let (egress, public_only) = (egress.clone(), !config.allow_private_networks);
    let Some(auth::Config::Mtls(own)) = config.auth.clone() else {
        return Watched::new(Vec::new(), now, move || make(&egress, public_only, None))
            .map_err(|problem| BuildError::new("url", problem));
    };
    identity(&own).map_err(|(key, problem)| BuildError::new(in_auth(key), problem))?;
    let files = vec![own.certificate_file.clone(), own.private_key_file.clone()];
    let made = Watched::new(files, now, move || {
        let identity = identity(&own).map_err(|(_, problem)| problem)?;
        make(&egress, public_only, Some(identity))
    });
    made.map_err(|problem| BuildError::new("auth", problem))
}

fn make(egress: &Egress, public_only: bool, identity: Option<reqwest::Identity>) -> Result<reqwest::Client, String> {
    let bare = egress.client().map_err(|error| error.to_string())?;
    // An answer is only counted, never read, so it need not come compressed.
    let mut builder = bare.no_gzip().pool_idle_timeout(IDLE_FOR);
    if public_only {
        builder = builder.dns_resolver(egress.public_only());
    }
    if let Some(identity) = identity {
        builder = builder.identity(identity);
    }
    egress.finish(builder).map_err(|error| error.to_string())
}

/// A certificate with its private key: each usable, and made for each other.
///
/// # Errors
/// The key (`certificate_file` or `private_key_file`) that is of no use, and why.
pub fn identity(own: &Mtls) -> Result<reqwest::Identity, (&'static str, String)> {
    let certificates = |problem: String| ("certificate_file", problem);
    let private_key = |problem: String| ("private_key_file", problem);
    let (chain_file, key_file) = (&own.certificate_file, &own.private_key_file);

    let chain = CertificateDer::pem_slice_iter(&read(chain_file).map_err(certificates)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| certificates(format!("{}: {error}", chain_file.display())))?;
    if chain.is_empty() {
        return Err(certificates(format!("{}: no certificate is in it", chain_file.display())));
    }
    let text = read(key_file).map_err(private_key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        let locked = memchr::memmem::find(&text, b"ENCRYPTED").is_some();
        let why = if locked {
            "the private key is encrypted; store it without a password"
        } else {
            "no private key is in it"
        };
        private_key(format!("{}: {why}", key_file.display()))
    })?;
    let pem = as_pem(&chain, &key);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    rustls::sign::CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => private_key(format!(
            "{}: is not the key of the certificate in {}",
            key_file.display(),
            chain_file.display()
        )),
        rustls::Error::InvalidCertificate(_) => certificates(format!("{}: {error}", chain_file.display())),
        _ => private_key(format!("{}: {error}", key_file.display())),
    })?;
    reqwest::Identity::from_pem(pem.as_bytes())
        .map_err(|error| certificates(format!("{}: {}", chain_file.display(), causes(&error))))
}

/// Nothing but the chain and the key, whatever else stands in the files.
fn as_pem(chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) -> Zeroizing<String> {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let certificates = chain.iter().map(|it| ("CERTIFICATE", it.as_ref()));
    let mut pem = Zeroizing::new(String::new());
    for (label, der) in certificates.chain([(label, key.secret_der())]) {
        let body = Zeroizing::new(STANDARD.encode(der));
        *pem += &Zeroizing::new(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", *body));
    }
    pem
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| format!("{}: {error}", path.display()))
}

fn in_auth(key: &'static str) -> &'static str {
    if key == "certificate_file" { "auth.certificate_file" } else { "auth.private_key_file" }
}

/// Whether requests may go there as far as the address itself says; what a name leads to is judged at each connection.
///
/// # Errors
/// What is wrong with it and what to do.
pub fn check_address(url: &Url, allow_private: bool) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// or http://");
    }
    let address = match url.host() {
        Some(Host::Ipv4(it)) => Some(it.into()),
        Some(Host::Ipv6(it)) => Some(it.into()),
        _ => None,
    };
    match address {
        Some(it) if is_private(it) && !allow_private => {
            Err("leads to a private address; set allow_private_networks = true if that is meant")
        }
        _ => Ok(()),
    }
}

/// What silence means, for a person: which address it is about is said by its `key`.
pub(super) fn unreached(error: &reqwest::Error, key: &str) -> String {
    if is_private_only(error) {
        return format!(
            "no connection: the name in {key} resolves to private addresses only; set allow_private_networks = true if that is meant"
        );
    }
    let stage = if error.is_connect() { "no connection" } else { "no answer" };
    format!("{stage}: {}", causes(error))
}

fn is_private_only(error: &reqwest::Error) -> bool {
    std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source()).any(|it| it.is::<PrivateOnly>())
}

/// An answer's body as far as it is of interest, so that its connection can be used again.
pub(super) async fn read_to_limit(answer: reqwest::Response) -> Vec<u8> {
    let mut read = Vec::new();
    read_into(&mut read, answer).await;
    read
}

/// The same into a buffer that keeps what came, also when the reading is broken off.
pub(super) async fn read_into(read: &mut Vec<u8>, mut answer: reqwest::Response) {
    while let Ok(Some(chunk)) = answer.chunk().await {
        let left = ANSWER_LIMIT - read.len();
        read.extend_from_slice(&chunk[..chunk.len().min(left)]);
        if chunk.len() > left {
            break;
        }
    }
}
