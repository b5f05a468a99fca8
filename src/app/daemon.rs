//! What a running daemon tells whoever stands at its listeners: the time, and what is configured.

use std::sync::Arc;

use super::Daemon;
use crate::delivery::Delivery;
use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;
use crate::outbound::Outbound;

impl Daemon {
    /// The time now.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// The configured mailboxes.
    pub fn mailboxes(&self) -> &[MailboxId] {
        &self.mailboxes
    }

    /// The configured routes, in the order they are asked.
    pub fn routes(&self) -> &[String] {
        &self.routes
    }

    /// The way out, for every door.
    pub fn outbound(&self) -> &Arc<Outbound> {
        &self.jobs.outbound
    }

    /// The delivery journey, for whoever asks for what it handed out.
    pub fn delivery(&self) -> &Delivery {
        &self.jobs.delivery
    }
}
