//! A maildir.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// `[routes.destination] kind = "maildir"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The maildir's folder; made with its `cur`, `new` and `tmp` when missing.
    pub path: PathBuf,
}
