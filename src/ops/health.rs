//! Health, as probes and people read it: alive, ready, and what is wrong with whom.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::clock::rfc3339;

/// How well a part, or the whole, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, with less than it should have: polling instead of push, a spare credential in use, something parked.
    Degraded,
    /// Mail does not flow here.
    Failing,
}

/// `GET /health`.
#[derive(Debug, Serialize)]
pub struct Health {
    /// The worst of all checks; `failing` only if nothing works at all.
    pub status: Status,
    /// The product's version.
    pub version: &'static str,
    /// One per tenant, mailbox, route, and one for the configuration and the store each.
    pub checks: Vec<Check>,
}

/// The health of one part.
#[derive(Debug, Serialize)]
pub struct Check {
    /// `tenant`, `mailbox`, `route`, `callbacks`, `configuration` or `store`.
    pub kind: &'static str,
    /// The part's configured name.
    pub name: String,
    /// How well it is.
    pub status: Status,
    /// What is wrong, when something is.
    pub reason: Option<String>,
    /// What else is known about it.
    #[serde(flatten)]
    pub details: Details,
}

/// What is known about a part, by its kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Details {
    /// A tenant.
    Tenant {
        /// Which credential is in use, from 1 in the order of the configuration.
        credential: Option<usize>,
        /// The day it expires, where known.
        credential_expires: Option<String>,
        /// All of them, in the order of the configuration.
        credentials: Vec<Credential>,
    },
    /// A mailbox.
    Mailbox {
        /// `push`, `polling` or `paused`; `sender` where no mail is read, `removed` where it is configured no longer.
        mode: &'static str,
        /// Since when it is paused.
        #[serde(skip_serializing_if = "Option::is_none")]
        paused_at: Option<String>,
        /// Who paused it.
        #[serde(skip_serializing_if = "Option::is_none")]
        paused_by: Option<String>,
        /// When its subscription ends.
        subscription_expires_at: Option<String>,
        /// When Graph last announced something.
        last_notification_at: Option<String>,
        /// When a page of it was last read.
        last_sync_at: Option<String>,
        /// Seconds since then.
        lag_seconds: Option<i64>,
        /// Messages found and not yet stored.
        waiting: u64,
        /// Messages that need a person.
        parked: u64,
        /// How it sends; none where it does not.
        #[serde(skip_serializing_if = "Option::is_none")]
        sending: Option<Sending>,
        /// How the sign-in of its user stands; none where it is reached without a user.
        #[serde(skip_serializing_if = "Option::is_none")]
        sign_in: Option<Box<SignIn>>,
    },
    /// A route.
    Route {
        /// `running`, `paused`, or `removed` from the configuration with deliveries left.
        state: &'static str,
        /// When the next probe of a paused route is due; in the past while it is being made.
        paused_until: Option<String>,
        /// Attempts that failed one after another, each of which may work another time.
        consecutive_failures: u32,
        /// Deliveries waiting.
        queue_depth: u64,
        /// Seconds since the oldest of them was made.
        queue_oldest_seconds: i64,
        /// Deliveries that need a person.
        parked: u64,
    },
    /// The configuration.
    Configuration {
        /// When what is in force was read.
        loaded_at: Option<String>,
        /// Since when what stands in the files cannot be used.
        refused_at: Option<String>,
        /// Keys that are different after a restart.
        needs_restart: Vec<&'static str>,
    },
    /// The replicas on one database.
    Replicas {
        /// The names of those that live.
        living: Vec<String>,
    },
    /// The store.
    Store {
        /// `sqlite` or `postgres`.
        database: &'static str,
    },
}

/// One of a tenant's credentials.
#[derive(Debug, Serialize)]
pub struct Credential {
    /// Its kind.
    pub kind: &'static str,
    /// Whether the last token was issued for it.
    pub in_use: bool,
    /// The day it expires, where known.
    pub expires: Option<String>,
    /// When Entra last accepted or refused it.
    pub tried_at: Option<String>,
    /// What is wrong with it, when something is.
    pub reason: Option<String>,
}

/// How the sign-in of a mailbox's user stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SignIn {
    /// `signed_in`; `needs_sign_in`; `blocked` where the tenant does not let it be used, which an administrator mends;
    /// `unknown` until it was looked at.
    pub state: &'static str,
    /// When the user signed in.
    pub signed_in_at: Option<String>,
    /// When the refresh token was last replaced.
    pub refreshed_at: Option<String>,
    /// Why it cannot be used, and what to do.
    pub reason: Option<String>,
}

/// How a mailbox sends.
#[derive(Debug, Serialize)]
pub struct Sending {
    /// Mails that are not sent yet, those for later included.
    pub queued: u64,
    /// Seconds since the oldest of them could have left.
    pub oldest_seconds: i64,
    /// Why the last attempt brought nothing.
    pub trouble: Option<String>,
}

impl Health {
    /// The whole, from its parts. One failing part degrades the whole; the whole fails with its store, or when no
    /// mailbox or no tenant works.
    pub fn of(checks: Vec<Check>) -> Self {
        let all_failing = |kind: &str| {
            let mut of_kind = checks.iter().filter(|check| check.kind == kind).peekable();
            of_kind.peek().is_some() && of_kind.all(|check| check.status == Status::Failing)
        };
        let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
        let status = if ["store", "tenant", "mailbox"].into_iter().any(all_failing) {
            Status::Failing
        } else {
            worst.min(Status::Degraded)
        };
        Self { status, version: env!("CARGO_PKG_VERSION"), checks }
    }
}

/// A time as health shows it.
pub fn shown(at: Option<i64>) -> Option<String> {
    at.map(rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &'static str, status: Status) -> Check {
        Check { kind, name: "x".into(), status, reason: None, details: Details::Store { database: "sqlite" } }
    }

    #[test]
    fn one_failing_part_degrades_and_only_the_whole_fails() {
        use Status::{Degraded, Failing, Ok};
        for (checks, expected) in [
            (vec![], Ok),
            (vec![check("store", Ok), check("route", Ok)], Ok),
            (vec![check("store", Ok), check("route", Failing)], Degraded),
            (vec![check("store", Ok), check("mailbox", Ok), check("mailbox", Failing)], Degraded),
            (vec![check("store", Ok), check("mailbox", Failing), check("mailbox", Failing)], Failing),
            (vec![check("store", Failing), check("mailbox", Ok)], Failing),
            (vec![check("tenant", Degraded)], Degraded),
        ] {
            assert_eq!(Health::of(checks).status, expected);
        }
    }
}
