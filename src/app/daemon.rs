//! What a running daemon tells whoever stands at its listeners: the time, and what is configured at this moment.

use std::sync::Arc;

use super::Daemon;
use crate::delivery::Delivery;
use crate::http::api::Access;
use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;
use crate::outbound::Outbound;

impl Daemon {
    /// The time now.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// The configured mailboxes, in the order of the configuration.
    pub fn mailboxes(&self) -> Arc<[MailboxId]> {
        Arc::clone(&self.jobs.present().mailboxes)
    }

    /// The configured routes, in the order they are asked.
    pub fn routes(&self) -> Arc<[String]> {
        Arc::clone(&self.jobs.present().routes)
    }

    /// The way out, for every door.
    pub fn outbound(&self) -> Arc<Outbound> {
        Arc::clone(&self.jobs.present().outbound)
    }

    /// The delivery journey, for whoever asks for what it handed out.
    pub fn delivery(&self) -> Arc<Delivery> {
        Arc::clone(&self.jobs.present().delivery)
    }

    /// Who may ask the API.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.jobs.present().access)
    }
}
