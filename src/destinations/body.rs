//! What the body of a hand-over is and how attachments travel in it: the same words for every destination that carries
//! interactions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::units::Size;

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
    /// Whether those that are not in the body lie beside it.
    pub beside: bool,
}

impl Body {
    /// As the keys `format`, `content` and `inline_limit` say it.
    pub(super) fn carrying(format: Format, content: Content, inline_limit: Size) -> Self {
        let inline_limit = (content == Content::Inline).then_some(inline_limit.0);
        Self { format, inline_limit, content, beside: false }
    }
}

/// What `inline_limit` is unless it is set.
pub fn default_inline_limit() -> Size {
    Size(1 << 20)
}
