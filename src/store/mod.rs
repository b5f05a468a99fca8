//! What is on disk.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::units::Span;

/// `[store]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `sqlite:path` or `postgres://user@host/db`.
    pub url: String,
    /// How long finished records are kept.
    pub retain: Span,
}
