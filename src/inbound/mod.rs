//! A mail comes in: hint, look, fetch, mark.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::address::Address;
use crate::model::units::Span;

/// `[sync]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether Graph is asked to push notifications.
    pub mode: Mode,
    /// How often the mailbox is compared with what is known, whatever push and delta said.
    pub sweep_interval: Span,
    /// How often a mailbox without push is looked at.
    pub poll_interval: Span,
    /// Which mail counts when a mailbox is seen for the first time.
    pub start_from: StartFrom,
}

/// How a mailbox is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Change notifications; falls back to polling by itself.
    Push,
    /// Polling only; no public URL is needed.
    Poll,
}

/// Which mail counts when a mailbox is seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum StartFrom {
    /// What arrives from now on.
    Now,
    /// What is unread, and what arrives from now on.
    Unread,
    /// Everything in the folder.
    All,
    /// What was received since this time (Unix milliseconds).
    Since(i64),
}

impl TryFrom<String> for StartFrom {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "now" => Ok(Self::Now),
            "unread" => Ok(Self::Unread),
            "all" => Ok(Self::All),
            time => crate::model::clock::parse_rfc3339(time)
                .map(Self::Since)
                .ok_or("expected now, unread, all or a time such as 2026-11-21T00:00:00Z"),
        }
    }
}

/// One watched mailbox (`[[mailboxes]]`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailboxConfig {
    /// User principal name or mailbox address, also of a shared mailbox.
    pub address: Address,
    /// The tenant's name; may be left out when there is one.
    pub tenant: Option<String>,
    /// How the mailbox is reached.
    #[serde(default)]
    pub access: Access,
    /// The folder that is watched: a well-known name or an id.
    #[serde(default = "inbox")]
    pub folder: String,
    /// Whether mail is read from it.
    #[serde(default = "yes")]
    pub receive: bool,
    /// When a message is marked read.
    #[serde(default)]
    pub mark_read: MarkRead,
    /// Where a message is moved once it is handed over: a well-known folder name or an id.
    pub move_to: Option<String>,
    /// An Outlook category put on a message once it is handed over.
    pub category: Option<String>,
}

/// How a mailbox is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Without a user: client credentials.
    #[default]
    Application,
}

/// When a message is marked read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkRead {
    /// Once every route that matched has accepted it.
    #[default]
    Delivered,
    /// Once it is safely stored.
    Stored,
    /// Never.
    Never,
}

fn inbox() -> String {
    "inbox".into()
}

fn yes() -> bool {
    true
}
