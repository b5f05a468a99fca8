//! A mail goes out: three doors, one path. What was accepted is on disk; job Send brings it to Graph, step by step.

mod accept;
mod callback;
mod config;
mod conversation;
mod fingerprint;
mod offer;
mod pace;
mod raw;
mod send;
mod senders;
pub mod smtp;
mod stage;
mod told;
mod troubles;

use std::collections::HashMap;
use std::sync::Arc;

pub use config::{CallbackConfig, Config};
pub use offer::{Answers, Offer, Offered, Receipt, Refused, Stage};
pub use pace::UploadPace;
pub use raw::OwnIds;
pub use senders::{Sender, sender};
pub use stage::Staging;
pub use told::Told;
pub use troubles::Troubles;

use crate::destinations::Destination;
use crate::graph::Graph;
use crate::memory::Budget;
use crate::model::clock::SharedClock;
use crate::model::pace::SendPace;
use crate::model::thread::ThreadNames;
use crate::model::work::MailboxId;
use crate::store::{Cancelled, Store, StoreError};

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
    /// What stands in the way of each mailbox's mail.
    pub troubles: Troubles,
    /// Message-IDs of mails that are being accepted.
    pub own_ids: OwnIds,
    /// Makes the names of conversations.
    pub thread_names: ThreadNames,
    /// Who may hand in mail over SMTP.
    pub users: smtp::Users,
    /// Who is told of final states; `None`: nobody is.
    pub callback: Option<Arc<dyn Destination>>,
}

impl Outbound {
    /// Takes a submission back, as long as nothing of it has reached Graph.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn cancel(&self, id: &str) -> Result<Cancelled, StoreError> {
        let cancelled = self.store.cancel_submission(id).await?;
        if cancelled == Cancelled::Done {
            count("cancelled");
        }
        Ok(cancelled)
    }
}

/// Counts what became of a submission.
fn count(outcome: &'static str) {
    metrics::counter!("mailspan_submissions_total", "outcome" => outcome).increment(1);
}
