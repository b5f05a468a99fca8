//! The way out, wired: which mailboxes send, for which addresses, and who is told what became of a mail.

use std::sync::Arc;

use anyhow::Context as _;

use super::jobs::RoutePlan;
use crate::config::Config;
use crate::config::route::default_retry;
use crate::destinations::Destination;
use crate::destinations::webhook::Webhook;
use crate::egress::Egress;
use crate::inbound::Inbound;
use crate::memory::Budget;
use crate::model::backoff::{Backoff, Then};
use crate::model::clock::SharedClock;
use crate::outbound::{Outbound, OwnIds, Sender, UploadPace};

/// Callbacks that are made at once.
const CALLBACKS_ROOM: u32 = 4;

/// The outbound journey; it reaches the mailboxes as the inbound one does.
pub(super) fn outbound(
    config: &Config,
    inbound: &Inbound,
    memory: &Budget,
    egress: &Egress,
) -> anyhow::Result<Outbound> {
    let sending = config.mailboxes.iter().filter(|it| it.send);
    let sender =
        |it: &crate::inbound::MailboxConfig| Sender { mailbox: Config::mailbox_id(it), send_as: it.send_as.clone() };
    Ok(Outbound {
        store: inbound.store.clone(),
        clock: Arc::clone(&inbound.clock),
        senders: sending.map(sender).collect(),
        graphs: inbound.mailboxes.iter().map(|(id, it)| (id.clone(), Arc::clone(&it.graph))).collect(),
        memory: memory.clone(),
        max_message_size: config.outbound.max_message_size.0,
        pace: config.outbound.pace(),
        own_ids: OwnIds::default(),
        uploads: UploadPace::default(),
        thread_names: inbound.thread_names.clone(),
        callback: callback(config, egress, &inbound.clock)?,
    })
}

/// The webhook that is told of final states.
fn callback(config: &Config, egress: &Egress, clock: &SharedClock) -> anyhow::Result<Option<Arc<dyn Destination>>> {
    let Some(callback) = &config.outbound.callback else { return Ok(None) };
    let webhook = Webhook::new(&callback.webhook(), egress, Arc::clone(clock)).context("outbound.callback")?;
    Ok(Some(Arc::new(webhook)))
}

/// How callbacks are attempted: on the schedule a route has by itself.
pub(super) fn callback_plan(outbound: &Outbound) -> Option<RoutePlan> {
    let backoff = || Backoff { steps: default_retry().iter().map(|it| it.0).collect(), then: Then::Park };
    outbound.callback.as_ref().map(|to| RoutePlan::new(CALLBACKS_ROOM, to.timeout(), backoff()))
}
