//! The way out, wired: which mailboxes send, and for which addresses.

use std::sync::Arc;

use crate::config::Config;
use crate::inbound::Inbound;
use crate::memory::Budget;
use crate::outbound::{Outbound, OwnIds, Sender, UploadPace};

/// The outbound journey; it reaches the mailboxes as the inbound one does.
pub(super) fn outbound(config: &Config, inbound: &Inbound, memory: &Budget) -> Outbound {
    let sending = config.mailboxes.iter().filter(|it| it.send);
    let sender =
        |it: &crate::inbound::MailboxConfig| Sender { mailbox: Config::mailbox_id(it), send_as: it.send_as.clone() };
    Outbound {
        store: inbound.store.clone(),
        clock: Arc::clone(&inbound.clock),
        senders: sending.map(sender).collect(),
        graphs: inbound.mailboxes.iter().map(|(id, it)| (id.clone(), Arc::clone(&it.graph))).collect(),
        memory: memory.clone(),
        max_message_size: config.outbound.max_message_size.0,
        pace: config.outbound.pace(),
        uploads: UploadPace::default(),
        own_ids: OwnIds::default(),
    }
}
