//! Logs and metrics: how they look, and what every metric means.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which log lines are written: a level, or levels for parts, such as `info,mailspan::graph=debug`.
    pub log: String,
    /// How log lines look.
    pub format: Format,
    /// Whether addresses, subjects and bodies are kept out of logs and metrics.
    pub redact: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}

/// Reads `log`.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn filter(log: &str) -> Result<tracing_subscriber::EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let example =
        "write a level (off, error, warn, info, debug, trace) or levels for parts, as in info,mailspan::graph=debug";
    for part in log.split(',').map(str::trim) {
        // Taken alone, a misspelt level would count as the name of a part, and everything else would fall silent.
        if !part.contains(['=', '[', ':']) && !LEVELS.contains(&part.to_ascii_lowercase().as_str()) {
            return Err(format!("`{part}` is no level; {example}"));
        }
    }
    tracing_subscriber::EnvFilter::try_new(log).map_err(|error| format!("is not usable ({error}); {example}"))
}
