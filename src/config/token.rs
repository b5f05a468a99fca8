//! `[[api_tokens]]`: who may ask the API, and for what.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::secret::Secret;

/// One of `[[api_tokens]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTokenConfig {
    /// Who holds it: what is done with it is kept under this name.
    pub name: String,
    /// The token, at least 16 characters.
    pub token: Option<Secret>,
    /// The file that holds the token; read anew when it changes.
    pub token_file: Option<PathBuf>,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
}

/// What the holder of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See deliveries, mailboxes, routes and the content of interactions.
    Read,
    /// Replay, discard, look, pause and resume.
    Operate,
    /// Submit mail.
    Send,
}

impl Scope {
    /// The scope as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Send => "send",
        }
    }
}
