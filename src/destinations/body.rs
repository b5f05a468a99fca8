//! What the body of a hand-over is and how attachments travel in it: the same words for every destination that carries
//! interactions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The interaction in the shape of Standard Webhooks.
    #[default]
    Json,
    /// The mail itself; the facts of the interaction as headers.
    Mime,
    /// The interaction in a CloudEvent, structured mode.
    CloudEvents,
}

/// How attachments travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// In the body, base64, up to the inline limit.
    #[default]
    Inline,
    /// Outside the body, behind signed links.
    Link,
}

/// What a destination wants to be handed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    /// What the body is.
    pub format: Format,
    /// Attachments up to this many bytes are in it; `None`: none is.
    pub inline_limit: Option<u64>,
    /// How the others travel.
    pub content: Content,
}
