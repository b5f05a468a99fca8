//! A mail comes in: hint, look, fetch, mark.
//!
//! A notification is a hint and makes a look due; the look reads the mailbox's delta to its end and makes one fetch
//! per unknown message due; the fetch stores the message together with its deliveries; once they are accepted the
//! mark writes the read state back. The sweep compares the mailbox with what is known, whatever the others did.

mod fetch;
mod hinted;
pub mod hints;
mod look;
pub mod loops;
mod mark;
mod part;
mod reports;
mod returned;
mod subscribe;
mod sweep;
pub mod webhook;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::graph::Graph;
use crate::mail::kept::KeptMail;
use crate::memory::Budget;
use crate::model::address::{Address, AddressPattern};
use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::outcome::Failure;
use crate::model::route::Rule;
use crate::model::thread::ThreadNames;
use crate::model::units::Span;
use crate::model::work::MailboxId;
use crate::store::{MailboxState, Store};
use hints::Hints;
use loops::Loops;

/// Ids that delta called deleted are remembered up to this many, so that nobody goes on looking for them.
const REMOVED_REMEMBERED: usize = 10_000;

/// Everything the inbound jobs work with, wired by the roof.
pub struct Inbound {
    /// What is on disk.
    pub store: Store,
    /// The time.
    pub clock: SharedClock,
    /// The watched mailboxes.
    pub mailboxes: HashMap<MailboxId, Watched>,
    /// The Graph of each tenant by its name.
    pub tenants: HashMap<String, Arc<Graph>>,
    /// The Graph of mailboxes that are configured no longer and were reached by a way of their own.
    pub parted: HashMap<MailboxId, Arc<Graph>>,
    /// Hints from notifications.
    pub hints: Arc<Hints>,
    /// The routes' rules, in the order of the configuration.
    pub rules: Vec<Rule>,
    /// Per route, what the delivery must know whatever the configuration says later.
    pub renderings: HashMap<String, serde_json::Value>,
    /// Whether every matching route gets the mail, or only the first.
    pub multiple_destinations: bool,
    /// What becomes of a mail that no route matches.
    pub park_unmatched: bool,
    /// `[sync]`.
    pub sync: Config,
    /// Where Graph posts, without a slash at its end; `None` when nothing is pushed.
    pub public_url: Option<String>,
    /// The largest mail that is fetched, in bytes.
    pub max_message_size: u64,
    /// Message bytes in flight.
    pub memory: Budget,
    /// Mail that was understood, for the deliveries that follow at once.
    pub kept: Arc<KeptMail>,
    /// Per route, the wait before the first attempt.
    pub first_waits: HashMap<String, i64>,
    /// The routes that take the mails of a conversation one after the other.
    pub in_turn: HashSet<String>,
    /// Makes the names of conversations.
    pub thread_names: ThreadNames,
    /// When mail goes round in a circle.
    pub loops: Loops,
    /// Ids that delta called deleted.
    pub removed: Removed,
}

/// One watched mailbox and the tenant's Graph it is reached through.
pub struct Watched {
    /// As configured.
    pub config: MailboxConfig,
    /// The tenant's Graph.
    pub graph: Arc<Graph>,
    /// How many sweeps in a row found mail that push had not announced.
    pub silent_sweeps: Arc<std::sync::atomic::AtomicU32>,
}

/// Ids that delta called deleted. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Removed(Arc<Mutex<HashSet<String>>>);

impl Removed {
    fn add(&self, id: String) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= REMOVED_REMEMBERED {
            ids.clear();
        }
        ids.insert(id);
    }

    fn contains(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}

/// How soon is looked whether the folder that is watched is the configured one again.
const OTHER_FOLDER: Duration = Duration::from_secs(5);

impl Watched {
    /// Whether what the store keeps is about the folder that is configured here. Replicas whose configuration changes one
    /// after the other differ for a while: the last that began to watch a folder decides, and the others leave it alone.
    fn follows(&self, state: &MailboxState) -> Result<(), Failure> {
        match &state.folder {
            Some(folder) if *folder != self.config.folder => Err(Failure::Postponed {
                reason: "another folder of this mailbox is watched by a replica with another configuration"
                    .to_owned()
                    .into(),
                after: OTHER_FOLDER,
            }),
            _ => Ok(()),
        }
    }
}

impl Inbound {
    /// Which mail counts in a first round, by the time it was received and whether it is unread.
    fn counts_at_start(&self, started_at: UnixMillis, received_at: Option<UnixMillis>, unread: Option<bool>) -> bool {
        let Some(received_at) = received_at else {
            // Graph left the time out; looking closer is the safe side.
            return true;
        };
        match self.sync.start_from {
            StartFrom::All => true,
            StartFrom::Now => received_at >= whole_second(started_at),
            StartFrom::Since(time) => received_at >= time,
            StartFrom::Unread => received_at >= whole_second(started_at) || unread == Some(true),
        }
    }

    /// The earliest received time that can count at all.
    pub fn earliest(&self, started_at: UnixMillis) -> UnixMillis {
        match self.sync.start_from {
            StartFrom::All => 0,
            StartFrom::Since(time) => time,
            StartFrom::Now | StartFrom::Unread => whole_second(started_at),
        }
    }
}

/// Graph tells received times in whole seconds, so a mail of the second we began in looks older than it is.
fn whole_second(at: UnixMillis) -> UnixMillis {
    at - at.rem_euclid(1000)
}

/// `[sync]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
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
    /// Whether mail may be sent from it.
    #[serde(default = "yes")]
    pub send: bool,
    /// Further addresses it sends for; Exchange must allow it, too.
    #[serde(default)]
    pub send_as: Vec<AddressPattern>,
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
    /// On behalf of its user, who signs in once: `mailspan sign-in`.
    Delegated,
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
