//! Where interactions go: one file per kind, one trait, one list.

pub mod maildir;
pub mod webhook;

use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::outcome::Failure;
use crate::model::token::BoxFuture;

/// THE LIST of kinds (`[routes.destination] kind = …`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Config {
    /// A signed HTTP request (Standard Webhooks).
    Webhook(webhook::Config),
    /// A maildir on a local file system.
    Maildir(maildir::Config),
}

/// One interaction, ready to be handed over. The same bytes on every attempt.
#[derive(Debug, Clone)]
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

/// A destination. An attempt succeeds only when the other side has taken responsibility.
pub trait Destination: Send + Sync {
    /// Hands one interaction over. Refusals become a decision here and nowhere else.
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>>;

    /// The longest an attempt may take; leases are computed from it.
    fn timeout(&self) -> Duration;
}
