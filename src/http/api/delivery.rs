//! A delivery as the API shows it: where it stands and why, and nothing of what stands in the mail.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::clock::rfc3339;
use crate::model::reason::Code;
use crate::store::{Attempt, DeliveryLine, DeliveryState};

/// A delivery: an interaction on its way to its route, a message that could not be fetched, or a callback.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Delivery {
    /// The interaction's id; `fetch_` and a number where there is none yet; of a callback its own, `cb_…`.
    pub(super) id: String,
    /// The route's name; null: the message was not fetched or no route takes it, or it is a callback.
    route: Option<String>,
    /// Where it stands.
    state: DeliveryState,
    /// The mailbox the mail lies in, or was sent from, as `tenant/address`; of several, one.
    mailbox: String,
    /// When it was made, or the message found.
    created_at: String,
    /// When the mailbox received the mail.
    received_at: Option<String>,
    /// When the destination accepted it.
    accepted_at: Option<String>,
    /// Attempts since it was made, or replayed.
    attempt: u32,
    /// Whether an attempt is under way.
    running: bool,
    /// When the next attempt is due.
    next_attempt_at: Option<String>,
    /// When it was parked.
    parked_at: Option<String>,
    /// Why it is parked, or why the last attempt failed.
    code: Option<Code>,
    /// The same for a person.
    reason: Option<String>,
    /// That somebody decided that the route needs it no more.
    discarded: Option<Discard>,
    /// The mail.
    message: Facts,
}

/// A decision to discard.
#[derive(Debug, Serialize, JsonSchema)]
struct Discard {
    /// When.
    at: String,
    /// Whose token it was; `local`: nobody needs one.
    by: String,
    /// Why.
    reason: String,
}

/// What is known of a mail without looking into it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessageFacts")]
struct Facts {
    /// Its Message-ID.
    internet_message_id: Option<String>,
    /// Its conversation.
    thread_id: Option<String>,
    /// Its size in bytes.
    size: Option<u64>,
    /// Whether its content is kept, so that it can be sent again.
    has_content: bool,
}

/// One attempt.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Attempt")]
pub(super) struct Made {
    /// Which it was, from 1; a replay begins anew.
    attempt: u32,
    /// When it ended.
    at: String,
    /// How long it took, in milliseconds.
    took_ms: u64,
    /// `accepted` or `failed`.
    outcome: &'static str,
    /// Why it failed.
    code: Option<Code>,
    /// The same for a person.
    reason: Option<String>,
    /// What the other side said: its status and the beginning of its body, with addresses and credentials replaced.
    answer: Option<String>,
}

impl From<DeliveryLine> for Delivery {
    fn from(line: DeliveryLine) -> Self {
        Self {
            id: line.id.to_string(),
            route: line.route,
            state: line.state,
            mailbox: line.mailbox.to_string(),
            created_at: rfc3339(line.created_at),
            received_at: line.received_at.map(rfc3339),
            accepted_at: line.accepted_at.map(rfc3339),
            attempt: line.attempts,
            running: line.is_running,
            next_attempt_at: line.due_at.filter(|_| !line.is_running).map(rfc3339),
            parked_at: line.parked_at.map(rfc3339),
            code: line.code,
            reason: line.reason,
            discarded: line.discarded.map(|(at, by, reason)| Discard { at: rfc3339(at), by, reason }),
            message: Facts {
                internet_message_id: line.internet_message_id,
                thread_id: line.thread,
                size: line.size,
                has_content: line.has_content,
            },
        }
    }
}

impl From<Attempt> for Made {
    fn from(attempt: Attempt) -> Self {
        Self {
            attempt: attempt.attempt,
            at: rfc3339(attempt.at),
            took_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            outcome: if attempt.code.is_some() { "failed" } else { "accepted" },
            code: attempt.code,
            reason: attempt.reason,
            answer: attempt.answer,
        }
    }
}
