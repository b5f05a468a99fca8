//! The kinds of job, and what each one's lane and key are: computed here, so that they agree everywhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::clock::UnixMillis;

/// One mailbox of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MailboxId {
    /// The tenant's configured name.
    pub tenant: String,
    /// The mailbox's address.
    pub address: Address,
}

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.address)
    }
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Read what changed in a mailbox, by delta, to its end.
    Look {
        /// The mailbox to read.
        mailbox: MailboxId,
    },
    /// List a window of received times and compare it with what is known: finds what push and delta missed.
    Sweep {
        /// The mailbox to read.
        mailbox: MailboxId,
    },
    /// Get one message, understand it, store it and make its deliveries.
    Fetch {
        /// The mailbox it lies in.
        mailbox: MailboxId,
        /// The store's number of the message.
        message: i64,
    },
    /// Mark what was handed over as read, in batches.
    Mark {
        /// The mailbox to write to.
        mailbox: MailboxId,
    },
    /// Keep the mailbox's change subscription alive.
    Renew {
        /// The mailbox whose subscription it is.
        mailbox: MailboxId,
    },
    /// Hand one interaction to its route's destination.
    Deliver {
        /// The route's configured name.
        route: String,
        /// The interaction's id.
        interaction: String,
    },
    /// Compare a mailbox with the tables, independently of everything that reads it: is any mail lost?
    Audit {
        /// The mailbox to read.
        mailbox: MailboxId,
    },
    /// Bring one submission to Graph, let it leave, and find it sent.
    Send {
        /// The mailbox it leaves from.
        mailbox: MailboxId,
        /// The store's number of the submission.
        submission: i64,
    },
    /// Tell whoever submitted a mail what became of it.
    Callback {
        /// The callback's id.
        callback: String,
    },
    /// Remove finished records and content that nobody needs any more.
    Tidy,
}

impl Work {
    /// The lane: jobs of one lane share its room, and no lane slows another.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Look { mailbox }
            | Self::Sweep { mailbox }
            | Self::Fetch { mailbox, .. }
            | Self::Mark { mailbox }
            | Self::Audit { mailbox } => Lane::mailbox(mailbox),
            Self::Renew { mailbox } => Lane::subscriptions(&mailbox.tenant),
            Self::Deliver { route, .. } => Lane::route(route),
            Self::Send { mailbox, .. } => Lane::sending(mailbox),
            Self::Callback { .. } => Lane::callbacks(),
            Self::Tidy => Lane::upkeep(),
        }
    }

    /// The mailbox that is read or written to; of mail that leaves it is only the sender.
    pub fn mailbox(&self) -> Option<&MailboxId> {
        match self {
            Self::Look { mailbox }
            | Self::Sweep { mailbox }
            | Self::Fetch { mailbox, .. }
            | Self::Mark { mailbox }
            | Self::Audit { mailbox }
            | Self::Renew { mailbox } => Some(mailbox),
            Self::Send { .. } | Self::Deliver { .. } | Self::Callback { .. } | Self::Tidy => None,
        }
    }

    /// The key: unique among the living jobs, so that making the same work due twice is one job.
    pub fn key(&self) -> String {
        match self {
            Self::Look { mailbox } => format!("look:{mailbox}"),
            Self::Sweep { mailbox } => format!("sweep:{mailbox}"),
            Self::Fetch { message, .. } => format!("fetch:{message}"),
            Self::Mark { mailbox } => format!("mark:{mailbox}"),
            Self::Renew { mailbox } => format!("renew:{mailbox}"),
            Self::Deliver { interaction, .. } => format!("deliver:{interaction}"),
            Self::Audit { mailbox } => format!("audit:{mailbox}"),
            Self::Send { submission, .. } => format!("send:{submission}"),
            Self::Callback { callback } => format!("callback:{callback}"),
            Self::Tidy => "tidy".into(),
        }
    }

    /// The kind's name, as logs and metrics show it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Look { .. } => "look",
            Self::Sweep { .. } => "sweep",
            Self::Fetch { .. } => "fetch",
            Self::Mark { .. } => "mark",
            Self::Renew { .. } => "renew",
            Self::Deliver { .. } => "deliver",
            Self::Audit { .. } => "audit",
            Self::Send { .. } => "send",
            Self::Callback { .. } => "callback",
            Self::Tidy => "tidy",
        }
    }

    /// This work as a new job, due at `due_at`.
    pub fn due(self, due_at: UnixMillis) -> NewJob {
        NewJob { work: self, due_at, turn: None }
    }
}

/// The name of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub String);

impl Lane {
    /// Work on Graph for one mailbox.
    pub fn mailbox(mailbox: &MailboxId) -> Self {
        Self(format!("mailbox:{mailbox}"))
    }

    /// The mailbox that is worked in, by its name `tenant/address`; `None` for every other lane.
    pub fn of_mailbox(&self) -> Option<&str> {
        self.0.strip_prefix("mailbox:")
    }

    /// Change subscriptions of one tenant: Graph counts them by tenant, not by mailbox.
    pub fn subscriptions(tenant: &str) -> Self {
        Self(format!("subscriptions:{tenant}"))
    }

    /// Deliveries of one route.
    pub fn route(name: &str) -> Self {
        Self(format!("route:{name}"))
    }

    /// The route whose deliveries these are; `None` for every other lane.
    pub fn of_route(&self) -> Option<&str> {
        self.0.strip_prefix("route:")
    }

    /// Mail that leaves from one mailbox.
    pub fn sending(mailbox: &MailboxId) -> Self {
        Self(format!("sending:{mailbox}"))
    }

    /// What submitters are told.
    pub fn callbacks() -> Self {
        Self("callbacks".into())
    }

    /// Whether its jobs hand something over to somebody who may be down: then it is paused and probed.
    pub fn hands_over(&self) -> bool {
        self.of_route().is_some() || *self == Self::callbacks()
    }

    /// Everything that belongs to no mailbox and no route.
    pub fn upkeep() -> Self {
        Self("upkeep".into())
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Within a lane the earliest due time goes first. Work that must pass a backlog is made due this much in the past.
pub const HEAD_START_MS: i64 = 24 * 3600 * 1000;

/// The due time of work that passes the backlog of its lane: a hint's look, and the mail it finds.
pub fn ahead_of_backlog(now: UnixMillis) -> UnixMillis {
    now - HEAD_START_MS
}

/// A job to be made due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// What to do.
    pub work: Work,
    /// When, at the earliest.
    pub due_at: UnixMillis,
    /// Its place in a conversation whose deliveries go one after the other; `None`: it waits for nobody.
    pub turn: Option<Turn>,
}

impl NewJob {
    /// The same, after those of its conversation and lane that were received earlier.
    pub fn in_turn(self, turn: Turn) -> Self {
        Self { turn: Some(turn), ..self }
    }
}

/// A place in a conversation: by when the mail was received, then by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The conversation.
    pub thread: String,
    /// When the mailbox received the mail.
    pub received_at: UnixMillis,
    /// The store's number of the message.
    pub message: i64,
}

/// A job as it was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number and fence: what settling it needs.
    pub claim: Claim,
    /// What to do.
    pub work: Work,
    /// Which attempt this is, from 1. Counted at the claim, so a job that kills the process is counted.
    pub attempt: u32,
    /// When the job was first made.
    pub created_at: UnixMillis,
}

/// Proof of a claim. The fence only grows, so whoever lost the lease cannot settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The job's number.
    pub id: i64,
    /// The fence it was claimed with.
    pub fence: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_lanes_are_stable() {
        let mailbox = MailboxId { tenant: "contoso".into(), address: Address::parse("Support@Contoso.com").unwrap() };
        let work = Work::Look { mailbox };
        assert_eq!(work.key(), "look:contoso/support@contoso.com");
        assert_eq!(work.lane(), Lane("mailbox:contoso/support@contoso.com".into()));
        let text = serde_json::to_string(&work).unwrap();
        assert_eq!(serde_json::from_str::<Work>(&text).unwrap(), work);
    }
}
