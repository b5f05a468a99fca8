//! A signed webhook.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::secret::Secret;
use crate::model::units::{Size, Span};

/// One or several of something, written as a value or as a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// A list.
    Many(Vec<T>),
}

/// `[routes.destination] kind = "webhook"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
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
    #[serde(default = "default_inline_limit")]
    pub inline_limit: Size,
    /// The longest an attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Whether the URL may lead to a private, loopback or link-local address.
    #[serde(default)]
    pub allow_private_networks: bool,
}

/// What a webhook's body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The interaction in the shape of Standard Webhooks.
    #[default]
    Json,
}

/// How attachments travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// In the body, base64, up to the inline limit.
    #[default]
    Inline,
}

fn default_inline_limit() -> Size {
    Size(1 << 20)
}

fn default_timeout() -> Span {
    Span(std::time::Duration::from_secs(15))
}
