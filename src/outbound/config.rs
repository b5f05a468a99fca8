//! `[outbound]`: how mail is taken over, how fast it leaves, and who is told what became of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::smtp;
use crate::destinations::webhook::{self, OneOrMany};
use crate::model::pace::SendPace;
use crate::model::secret::Secret;
use crate::model::units::{Size, Span};

/// `[outbound]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Larger mail is not accepted: its bytes on their way, everything encoded.
    pub max_message_size: Size,
    /// How many mails leave a mailbox in any minute; what is more waits.
    pub rate_per_minute: NonZeroU32,
    /// How many recipients a mailbox writes to in any day; what is more waits.
    pub recipients_per_day: NonZeroU32,
    /// Who is told when a mail was sent, came back or failed; without it nobody is.
    pub callback: Option<CallbackConfig>,
    /// Where mail is taken over SMTP; without it nowhere.
    #[schemars(with = "Option<String>", example = "0.0.0.0:2525")]
    pub smtp_listen: Option<SocketAddr>,
    /// TLS on that listener. Without it only programs on this machine can be served.
    pub smtp_tls: Option<smtp::TlsConfig>,
    /// Who may hand in mail there.
    #[serde(default)]
    pub smtp_users: Vec<smtp::UserConfig>,
}

impl Config {
    /// How fast each mailbox sends.
    pub fn pace(&self) -> SendPace {
        SendPace { per_minute: self.rate_per_minute, recipients_per_day: self.recipients_per_day }
    }
}

/// `[outbound.callback]`: a signed webhook.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallbackConfig {
    /// Where callbacks are posted.
    pub url: url::Url,
    /// The signing secret (`whsec_…`), or two while rotating.
    pub signing_secret: Option<OneOrMany<Secret>>,
    /// The file that holds it, or two files while rotating.
    pub signing_secret_file: Option<OneOrMany<PathBuf>>,
    /// The longest an attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Header fields sent with every request.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Whether the URL may lead to a private, loopback or link-local address.
    #[serde(default)]
    pub allow_private_networks: bool,
}

impl CallbackConfig {
    /// The webhook that makes the calls.
    pub fn webhook(&self) -> webhook::Config {
        webhook::Config {
            url: self.url.clone(),
            signing_secret: self.signing_secret.clone(),
            signing_secret_file: self.signing_secret_file.clone(),
            format: Default::default(),
            content: Default::default(),
            inline_limit: crate::destinations::body::default_inline_limit(),
            timeout: self.timeout,
            headers: self.headers.clone(),
            auth: None,
            allow_private_networks: self.allow_private_networks,
        }
    }
}

/// An address can hold a password or a token.
impl std::fmt::Debug for CallbackConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallbackConfig")
            .field("url", &self.url.origin().ascii_serialization())
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}
