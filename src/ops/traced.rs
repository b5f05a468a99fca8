//! What a trace answers: messages, their deliveries, and what happened when.

use schemars::JsonSchema;
use serde::Serialize;

/// What a trace answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Trace {
    /// The messages, the newest first.
    pub messages: Vec<Traced>,
    /// Why there may be more, and what to do; null: these are all.
    pub cut: Option<String>,
    /// When nothing was found: what that means, and what to do.
    pub hint: Option<&'static str>,
}

/// One message and its journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Traced {
    /// The mailbox it lies in, `tenant/address`.
    pub mailbox: String,
    /// Its id there.
    pub immutable_id: String,
    /// Its Message-ID.
    pub internet_message_id: Option<String>,
    /// Its key, the same over routes; null until it is stored.
    pub message_key: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// What kind of mail it is.
    pub kind: Option<String>,
    /// Its conversation.
    pub thread_id: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Where it stands: `pending`, `parked`, `delivered`, `filtered`, `gone`, or `in_the_dark` (nothing drives it on).
    pub state: &'static str,
    /// Its deliveries.
    pub deliveries: Vec<TracedDelivery>,
    /// What happened, in order.
    pub steps: Vec<Step>,
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TracedDelivery {
    /// The route's configured name.
    pub route: String,
    /// The interaction's id: the receiver knows it by this one.
    pub interaction_id: String,
    /// `waiting`, `retrying`, `running`, `accepted`, `parked`, `held`, `discarded` or `in_the_dark`.
    pub state: &'static str,
    /// How many attempts its schedule has had.
    pub attempts: Option<u32>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<String>,
    /// What the last attempt ended with.
    pub last_error: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Step {
    /// When.
    pub at: String,
    /// Milliseconds since the mailbox received the message, or since it was found if nobody said when that was.
    pub after_ms: i64,
    /// What: `received`, `found`, `failed` (an attempt), `stored`, `accepted`, `parked`, `discarded`, `filtered`, `gone`,
    /// `marked`, `content_dropped`, `tidied`.
    pub what: &'static str,
    /// At which route.
    pub route: Option<String>,
    /// More about it.
    pub detail: Option<String>,
}
