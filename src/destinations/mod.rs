//! Where interactions go: one file per kind, one trait, one list.

pub mod body;
mod field;
pub mod maildir;
pub mod smtp;
mod watched;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use self::body::{Body, Content, Format};
use crate::egress::Egress;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::token::BoxFuture;

/// THE LIST of kinds (`[routes.destination] kind = …`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Config {
    /// A signed HTTP request (Standard Webhooks).
    Webhook(Box<webhook::Config>),
    /// A maildir on a local file system.
    Maildir(maildir::Config),
    /// A mail relay.
    Smtp(smtp::Config),
}

impl Config {
    /// What it wants to be handed.
    pub fn body(&self) -> Body {
        match self {
            Self::Webhook(config) => {
                let inline_limit = (config.content == Content::Inline).then_some(config.inline_limit.0);
                Body { format: config.format, inline_limit, content: config.content }
            }
            Self::Maildir(_) | Self::Smtp(_) => {
                Body { format: Format::Mime, inline_limit: None, content: Content::Inline }
            }
        }
    }
}

/// The destination this section describes, ready for deliveries.
///
/// # Errors
/// A key is missing or of no use; the message names the key and says what to do.
pub fn build(config: &Config, egress: &Egress, clock: SharedClock) -> Result<Arc<dyn Destination>, BuildError> {
    Ok(match config {
        Config::Webhook(config) => Arc::new(webhook::Webhook::new(config, egress, clock)?),
        Config::Maildir(config) => Arc::new(maildir::Maildir::new(config)),
        Config::Smtp(config) => Arc::new(smtp::Smtp::new(config, egress, clock)?),
    })
}

/// Why a destination cannot be made from its section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct BuildError {
    /// The key within `[routes.destination]`.
    pub key: &'static str,
    /// What is wrong with it and what to do. Never a secret.
    pub problem: String,
}

impl BuildError {
    fn new(key: &'static str, problem: impl std::fmt::Display) -> Self {
        Self { key, problem: problem.to_string() }
    }
}

/// One interaction, ready to be handed over. The same bytes on every attempt.
#[derive(Clone)]
pub struct Handover {
    /// The interaction's id: what a receiver deduplicates by.
    pub interaction: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The route's configured name.
    pub route: String,
    /// The rendered interaction, in the route's format.
    pub body: Bytes,
    /// The body's media type.
    pub content_type: &'static str,
    /// Facts for destinations that carry them as headers: (`mailspan-…` name, value), both plain ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// The mail as Graph gave it, for destinations that carry the mail itself.
    pub raw: Bytes,
}

/// Ids and sizes only: the rest is a person's mail.
impl std::fmt::Debug for Handover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handover")
            .field("interaction", &self.interaction)
            .field("attempt", &self.attempt)
            .field("route", &self.route)
            .field("body", &self.body.len())
            .field("raw", &self.raw.len())
            .finish_non_exhaustive()
    }
}

/// A destination. An attempt succeeds only when the other side has taken responsibility.
pub trait Destination: Send + Sync {
    /// Hands one interaction over. Refusals become a decision here and nowhere else.
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>>;

    /// The longest an attempt may take; leases are computed from it.
    fn timeout(&self) -> Duration;
}
