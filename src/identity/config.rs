//! A tenant's registration and credentials, as configured.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// One Microsoft 365 organisation and app registration (`[[tenants]]`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    /// The name the rest of the configuration uses for it.
    pub name: String,
    /// Directory (tenant) id.
    pub tenant_id: String,
    /// Application (client) id.
    pub client_id: String,
    /// Which Microsoft cloud the organisation lives in.
    #[serde(default)]
    pub cloud: Cloud,
    /// Token endpoint, for private clouds and tests; default: the cloud's.
    pub token_endpoint: Option<url::Url>,
    /// Graph endpoint with its version, for private clouds and tests; default: the cloud's.
    pub graph_endpoint: Option<url::Url>,
    /// Credentials in order of preference; the next takes over when one is refused.
    pub credentials: Vec<CredentialConfig>,
}

/// Microsoft's clouds: login, Graph and scope switch together (learn.microsoft.com/graph/deployments).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// Worldwide, GCC included.
    #[default]
    Global,
    /// US Government L4.
    GccHigh,
    /// US Government L5.
    Dod,
    /// China, operated by 21Vianet.
    China,
}

/// One way to prove to Entra who we are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialConfig {
    /// A client secret.
    ClientSecret {
        /// The secret itself.
        secret: Option<Secret>,
        /// The file that holds it.
        secret_file: Option<PathBuf>,
        /// The day it expires, as Entra shows it.
        #[schemars(with = "Option<String>", example = "2027-03-01")]
        expires: Option<jiff::civil::Date>,
    },
}

impl CredentialConfig {
    /// Where the secret comes from; `None` unless exactly one of `secret` and `secret_file` is set.
    pub fn source(&self) -> Option<SecretSource> {
        let Self::ClientSecret { secret, secret_file, .. } = self;
        SecretSource::from_pair(secret.as_ref(), secret_file.as_ref())
    }

    /// The day it expires, where known.
    pub fn expires(&self) -> Option<jiff::civil::Date> {
        let Self::ClientSecret { expires, .. } = self;
        *expires
    }
}
