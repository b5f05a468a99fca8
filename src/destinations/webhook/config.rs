//! `[routes.destination] kind = "webhook"`: its keys, and whether they can be used together.
//!
//! What stands here is a section as written; what is made of it is ready to post.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::auth;
use super::client::check_address;
use crate::destinations::BuildError;
use crate::destinations::body::{Content, Format};
use crate::model::secret::Secret;
use crate::model::units::{Size, Span};
use crate::secrets::SecretSource;

/// Old and new while rotating; more would only make every attempt longer.
const MOST_SECRETS: usize = 2;

/// One or several of something, written as a value or as a list.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// All of them, in their order.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(it) => std::slice::from_ref(it),
            Self::Many(list) => list,
        }
    }
}

/// `[routes.destination] kind = "webhook"`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where interactions are posted.
    pub url: url::Url,
    /// The signing secret (`whsec_…`), or two while rotating.
    pub signing_secret: Option<OneOrMany<Secret>>,
    /// The file that holds it, or two files while rotating.
    pub signing_secret_file: Option<OneOrMany<PathBuf>>,
    /// What the body is.
    #[serde(default)]
    pub format: Format,
    /// How attachments travel.
    #[serde(default)]
    pub content: Content,
    /// Attachments larger than this are left out of the body and say so.
    #[serde(default = "crate::destinations::body::default_inline_limit")]
    pub inline_limit: Size,
    /// The longest an attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Header fields sent with every request.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Who is asking, in a way of the receiver's own beside the signature.
    pub auth: Option<auth::Config>,
    /// Whether the URL may lead to a private, loopback or link-local address. Names are judged by what they resolve
    /// to, at every connection; behind a proxy it is the proxy that resolves them, and its rules apply.
    #[serde(default)]
    pub allow_private_networks: bool,
}

/// A webhook's address can hold a password or a token.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.url.origin().ascii_serialization())
            .field("signing_secret", &self.signing_secret)
            .field("signing_secret_file", &self.signing_secret_file)
            .field("format", &self.format)
            .field("content", &self.content)
            .field("inline_limit", &self.inline_limit)
            .field("timeout", &self.timeout)
            .field("headers", &self.headers.keys())
            .field("auth", &self.auth)
            .field("allow_private_networks", &self.allow_private_networks)
            .finish()
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        check_address(&self.url, self.allow_private_networks).map_err(|problem| BuildError::new("url", problem))?;
        if self.timeout.0.is_zero() {
            return Err(BuildError::new("timeout", "must be longer than 0s"));
        }
        match (&self.auth, self.url.scheme()) {
            (Some(auth::Config::Mtls(_)), "http") => Err(BuildError::new("url", MTLS_NEEDS_TLS)),
            _ => Ok(()),
        }
    }

    /// The secrets in the order of the configuration, and the key that names them. Unsigned is not an option.
    pub(super) fn signing_secrets(&self) -> Result<(&'static str, Vec<SecretSource>), BuildError> {
        let (key, sources): (_, Vec<_>) = match (&self.signing_secret, &self.signing_secret_file) {
            (Some(secrets), None) => {
                ("signing_secret", secrets.as_slice().iter().cloned().map(SecretSource::Inline).collect())
            }
            (None, Some(files)) => {
                ("signing_secret_file", files.as_slice().iter().cloned().map(SecretSource::File).collect())
            }
            (None, None) => {
                return Err(BuildError::new(
                    "signing_secret",
                    "is missing; set it to whsec_ and the base64 of 24 to 64 random bytes, or name its file as \
                     signing_secret_file",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(BuildError::new(
                    "signing_secret",
                    "is set together with signing_secret_file; keep one of them",
                ));
            }
        };
        match sources.len() {
            1..=MOST_SECRETS => Ok((key, sources)),
            _ => Err(BuildError::new(key, "takes one secret, or two while rotating")),
        }
    }
}

/// What is said about a certificate that would never be shown.
pub const MTLS_NEEDS_TLS: &str =
    "must begin with https:// with auth.kind = \"mtls\": certificates are shown in TLS only";

fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}
