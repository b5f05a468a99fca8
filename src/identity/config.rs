//! A tenant's registration and credentials, as configured.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::secret::Secret;

/// One Microsoft 365 organisation and app registration (`[[tenants]]`).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
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
    /// Credentials in order of preference; the next takes over when one is refused. A tenant whose mailboxes are all
    /// delegated may have none.
    #[serde(default)]
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
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
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
    /// A certificate that is registered with the application, and its private key.
    Certificate {
        /// The PEM file with the certificate; of a chain the first counts.
        certificate_file: PathBuf,
        /// The PEM file with its RSA private key, without a password.
        private_key_file: PathBuf,
    },
    /// A token of another issuer that the application trusts (workload identity federation).
    Federated {
        /// The file that holds the token, read anew at every exchange; default: `AZURE_FEDERATED_TOKEN_FILE` of the
        /// environment.
        token_file: Option<PathBuf>,
    },
    /// The identity that Azure gives to the machine or app this runs on.
    ManagedIdentity {
        /// Client id of a user-assigned identity; default: the system-assigned one.
        identity_client_id: Option<String>,
        /// Where the platform hands out its tokens; default: what the platform says, else the virtual machine's own.
        endpoint: Option<url::Url>,
    },
}

/// The variable in which the platform names the file of a federated token.
pub const TOKEN_FILE_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";

impl CredentialConfig {
    /// Its kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ClientSecret { .. } => "client_secret",
            Self::Certificate { .. } => "certificate",
            Self::Federated { .. } => "federated",
            Self::ManagedIdentity { .. } => "managed_identity",
        }
    }

    /// The day it expires, where the configuration says so.
    pub fn expires(&self) -> Option<jiff::civil::Date> {
        match self {
            Self::ClientSecret { expires, .. } => *expires,
            Self::Certificate { .. } | Self::Federated { .. } | Self::ManagedIdentity { .. } => None,
        }
    }
}
