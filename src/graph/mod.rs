//! Graph, as far as a mail bridge needs it: typed calls that end in bounded time and errors that say what to do next.
//!
//! At most three calls at once in one mailbox, immutable ids everywhere, no call into a mailbox that Graph throttles,
//! and a token goes to the configured endpoint only.

mod attachments;
mod batch;
pub mod error;
mod messages;
mod paths;
mod refusal;
mod request;
mod sending;
mod slots;
mod subscriptions;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

pub use self::attachments::{Attached, AttachedKind};
pub use self::batch::Update;
pub use self::error::{GraphError, Refusal};
pub use self::messages::{
    DeltaFrom, DeltaItem, DeltaLink, DeltaPage, Folder, MessageMeta, MessagePage, ReceivedFrom, RemovedReason,
};
use self::paths::Endpoint;
pub use self::sending::{NewAttachment, OwnMessage, SUBMISSION_PROPERTY, SendError, Written};
use self::slots::Room;
pub use self::slots::Slots;
pub use self::subscriptions::{NewSubscription, Subscription};
pub use self::upload::{Begun, LARGEST_ATTACHMENT, UPLOAD_FROM, UploadSession};
use crate::model::clock::SharedClock;
use crate::model::token::Tokens;

/// Graph refuses a fifth call at once in one mailbox, and has been seen to count a call for longer than we do
/// (learn.microsoft.com/graph/throttling-limits; learn.microsoft.com/answers/questions/1660054).
const SLOTS_PER_MAILBOX: usize = 3;
/// Creating a subscription waits for Graph to call us back, so several go on at once.
const SLOTS_FOR_SUBSCRIPTIONS: usize = 16;

/// The Graph of one tenant.
pub struct Graph {
    tenant: String,
    endpoint: Endpoint,
    tokens: Arc<dyn Tokens>,
    http: reqwest::Client,
    options: Options,
}

/// How patient the calls are.
#[derive(Clone)]
pub struct Options {
    /// Where the time comes from.
    pub clock: SharedClock,
    /// Until the head of an answer has come, connecting included.
    pub answer_within: Duration,
    /// The longest silence in the middle of a body.
    pub idle: Duration,
    /// The whole call.
    pub whole: Duration,
    /// Room for the calls.
    pub slots: Slots,
}

impl Options {
    /// What suits production.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            answer_within: Duration::from_secs(30),
            idle: Duration::from_secs(15),
            whole: Duration::from_secs(600),
            slots: Slots::default(),
        }
    }
}

impl Graph {
    /// The Graph at `endpoint` (its version included). Talks to nobody yet.
    /// `http` must not follow redirects; an answer from elsewhere is not believed.
    pub fn new(
        endpoint: Url,
        tenant: String,
        tokens: Arc<dyn Tokens>,
        http: reqwest::Client,
        options: Options,
    ) -> Self {
        Self { tenant, endpoint: Endpoint::new(endpoint), tokens, http, options }
    }

    fn room(&self, mailbox: &crate::model::address::Address) -> Arc<Room> {
        self.options.slots.mailboxes.of(mailbox, self.options.clock.now())
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").field("tenant", &self.tenant).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
