//! Where interactions go: one file per kind, one trait, one list.

pub mod amazon_connect;
#[cfg(feature = "amqp")]
pub mod amqp;
pub mod body;
#[cfg(any(feature = "amqp", feature = "kafka", feature = "nats"))]
mod carried;
#[cfg(any(feature = "amqp", feature = "kafka"))]
mod connection;
mod field;
pub mod genesys_cloud;
mod interaction;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod maildir;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "object_store")]
pub mod object_store;
pub mod smtp;
mod watched;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use self::body::{Body, Content, Format};
use crate::egress::Egress;
use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::outcome::Failure;
use crate::model::token::BoxFuture;

/// THE LIST of kinds (`[routes.destination] kind = …`).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Config {
    /// A signed HTTP request (Standard Webhooks).
    Webhook(Box<webhook::Config>),
    /// A maildir on a local file system.
    Maildir(maildir::Config),
    /// A mail relay.
    Smtp(Box<smtp::Config>),
    /// Conversations of Genesys Cloud, through its API.
    GenesysCloud(Box<genesys_cloud::Config>),
    /// E-mail contacts of Amazon Connect, through its API.
    AmazonConnect(Box<amazon_connect::Config>),
    /// A stream of NATS JetStream.
    #[cfg(feature = "nats")]
    Nats(Box<nats::Config>),
    /// An exchange of an AMQP 0-9-1 broker.
    #[cfg(feature = "amqp")]
    Amqp(Box<amqp::Config>),
    /// A topic of Kafka.
    #[cfg(feature = "kafka")]
    Kafka(Box<kafka::Config>),
    /// A bucket, a container or a folder.
    #[cfg(feature = "object_store")]
    ObjectStore(Box<object_store::Config>),
}

impl Config {
    /// What it wants to be handed.
    pub fn body(&self) -> Body {
        match self {
            Self::Webhook(config) => Body::carrying(config.format, config.content, config.inline_limit),
            Self::Maildir(_) | Self::Smtp(_) => {
                Body { format: Format::Mime, inline_limit: None, content: Content::Inline, beside: false }
            }
            // A vendor takes no attachments in its call: each is linked.
            Self::GenesysCloud(_) | Self::AmazonConnect(_) => {
                Body { format: Format::Json, inline_limit: None, content: Content::Link, beside: false }
            }
            #[cfg(feature = "nats")]
            Self::Nats(config) => Body::carrying(config.format, config.content, config.inline_limit),
            #[cfg(feature = "amqp")]
            Self::Amqp(config) => Body::carrying(config.format, config.content, config.inline_limit),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => Body::carrying(config.format, config.content, config.inline_limit),
            #[cfg(feature = "object_store")]
            Self::ObjectStore(config) => {
                Body { beside: true, ..Body::carrying(config.format.into(), config.content, config.inline_limit) }
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
        Config::GenesysCloud(config) => Arc::new(genesys_cloud::GenesysCloud::new(config, egress, clock)?),
        Config::AmazonConnect(config) => Arc::new(amazon_connect::AmazonConnect::new(config, egress, clock)?),
        #[cfg(feature = "nats")]
        Config::Nats(config) => Arc::new(nats::Nats::new(config, egress)?),
        #[cfg(feature = "amqp")]
        Config::Amqp(config) => Arc::new(amqp::Amqp::new(config, egress)?),
        #[cfg(feature = "kafka")]
        Config::Kafka(config) => Arc::new(kafka::Kafka::new(config, egress, clock)?),
        #[cfg(feature = "object_store")]
        Config::ObjectStore(config) => Arc::new(object_store::Store::new(config, egress, clock)?),
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
    /// What is known beside it, for destinations that sort and file.
    pub about: About,
}

/// What destinations sort and file by. The same on every attempt.
#[derive(Clone)]
pub struct About {
    /// The tenant the mail was found in.
    pub tenant: String,
    /// When it was received.
    pub received_at: UnixMillis,
    /// The conversation it is part of.
    pub thread: String,
    /// What is attached to it.
    pub parts: Arc<dyn Parts>,
}

/// The attachments of a mail. Their bytes are decoded when they are asked for, one by one.
pub trait Parts: Send + Sync {
    /// The SHA-256, in hexadecimal, of each of which the bytes are here.
    fn digests(&self) -> Vec<String>;

    /// The bytes with this digest.
    fn bytes(&self, digest: &str) -> Option<Bytes>;
}

/// A mail without attachments.
pub struct NoParts;

impl Parts for NoParts {
    fn digests(&self) -> Vec<String> {
        Vec::new()
    }

    fn bytes(&self, _digest: &str) -> Option<Bytes> {
        None
    }
}

impl Default for About {
    fn default() -> Self {
        Self { tenant: String::new(), received_at: 0, thread: String::new(), parts: Arc::new(NoParts) }
    }
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

    /// What it does beyond that, where it puts the mails of a thread into a conversation of its own.
    fn conversations(&self) -> Option<&dyn Conversations> {
        None
    }
}

/// A destination that puts the mails of a thread into one conversation, and that cannot tell by itself that it was
/// handed the same interaction twice.
pub trait Conversations: Send + Sync {
    /// Hands one interaction over, into `conversation` where one is known, within the time there is. Returns the other
    /// side's id of the conversation it is in, where it said one.
    fn hand_over<'a>(
        &'a self,
        handover: &'a Handover,
        conversation: Option<&'a str>,
        until: Instant,
    ) -> BoxFuture<'a, Result<Option<String>, Untaken>>;

    /// Looks whether a call that was begun before was taken. Returns the conversation it led to.
    fn find<'a>(&'a self, begun: Begun<'a>, until: Instant) -> BoxFuture<'a, Result<Option<String>, Failure>>;

    /// How long after a call was begun looking for it tells the truth.
    fn shows_after(&self) -> Duration;
}

/// A call that was begun and of which nobody knows what came.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// The interaction's id.
    pub interaction: &'a str,
    /// When it was begun.
    pub at: UnixMillis,
    /// The conversation it may have gone into.
    pub conversation: Option<&'a str>,
}

/// A hand-over that was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untaken {
    /// It was certainly not taken.
    Refused(Failure),
    /// It may have been taken: to be looked for before it is repeated.
    Unknown(Failure),
}

impl Untaken {
    /// What follows for the attempt.
    pub fn failure(self) -> Failure {
        match self {
            Self::Refused(failure) | Self::Unknown(failure) => failure,
        }
    }
}
