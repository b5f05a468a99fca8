//! How requests leave this machine.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// `[egress]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The proxy for every request; default: `HTTPS_PROXY`.
    pub proxy: Option<url::Url>,
    /// Roots to trust besides the system's, as PEM.
    pub ca_file: Option<PathBuf>,
}
