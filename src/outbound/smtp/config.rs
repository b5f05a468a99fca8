//! `smtp_tls` and `smtp_users` of `[outbound]`: how sessions are encrypted, and who may hand in mail.

use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::address::AddressPattern;
use crate::model::secret::Secret;

/// `smtp_tls`: a certificate chain, its key, and when a session is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate chain, as PEM; read anew when it changes.
    pub cert_file: PathBuf,
    /// The private key, as PEM.
    pub key_file: PathBuf,
    /// When a session is encrypted.
    #[serde(default)]
    pub mode: TlsMode,
}

/// When a session is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// When the client says STARTTLS, which it must before AUTH.
    #[default]
    Starttls,
    /// From the first byte (RFC 8314).
    Implicit,
}

/// One of `smtp_users`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The name to log in with; what is handed in is kept under it.
    pub name: String,
    /// The password, at least 8 characters.
    pub password: Option<Secret>,
    /// The file that holds the password; read anew when it changes.
    pub password_file: Option<PathBuf>,
    /// The addresses this user may send from; `*` within an address.
    pub senders: Vec<AddressPattern>,
    /// How many mails this user may hand in per minute; without it as many as there is room for.
    pub rate_per_minute: Option<NonZeroU32>,
}
