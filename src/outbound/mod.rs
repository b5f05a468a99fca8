//! A mail goes out: three doors, one path. What was accepted is on disk; job Send brings it to Graph, step by step.

mod accept;
mod config;
mod fingerprint;
mod offer;
mod pace;
mod raw;
mod send;
mod senders;
pub mod smtp;
mod stage;
mod told;

use std::collections::HashMap;
use std::sync::Arc;

pub use config::{CallbackConfig, Config};
pub use offer::{Answers, Offer, Offered, Receipt, Refused, Stage};
pub use pace::UploadPace;
pub use raw::OwnIds;
pub use senders::{Sender, sender};
pub use stage::Staging;
pub use told::Told;

use crate::graph::Graph;
use crate::memory::Budget;
use crate::model::clock::SharedClock;
use crate::model::pace::SendPace;
use crate::model::work::MailboxId;
use crate::store::{NewCallback, Store, Submission};

/// Everything the outbound jobs and doors work with, wired by the roof.
pub struct Outbound {
    /// What is on disk.
    pub store: Store,
    /// The time.
    pub clock: SharedClock,
    /// The mailboxes that send, in the order of the configuration.
    pub senders: Vec<Sender>,
    /// The Graph of each mailbox.
    pub graphs: HashMap<MailboxId, Arc<Graph>>,
    /// Message bytes in flight.
    pub memory: Budget,
    /// Larger mail is not accepted.
    pub max_message_size: u64,
    /// How fast each mailbox sends.
    pub pace: SendPace,
    /// How much was brought into each mailbox lately.
    pub uploads: UploadPace,
    /// Message-IDs of mails that are being accepted.
    pub own_ids: OwnIds,
}

impl Outbound {
    /// What is told of a submission that has come to an end, as it stands in the row, to whoever asked for it.
    fn callback(&self, ended: &Submission) -> Option<NewCallback> {
        debug_assert!(ended.state.is_final());
        None
    }
}

/// Counts what became of a submission.
fn count(outcome: &'static str) {
    metrics::counter!("mailspan_submissions_total", "outcome" => outcome).increment(1);
}
