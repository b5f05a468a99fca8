//! The way out, wired: which mailboxes send, and for which addresses; and the listener that takes mail over SMTP.

use std::sync::Arc;

use anyhow::Context as _;

use super::ground::Ground;
use super::jobs::Jobs;
use super::wiring::Wiring;
use crate::config::Config;
use crate::inbound::Inbound;
use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;
use crate::ops::health::{Sending, Status};
use crate::outbound::smtp::{Submissions, Users};
use crate::outbound::{Outbound, Sender};
use crate::store::OpenSubmissions;

/// Mail that could have left this long ago, and trouble in the mailbox: that is no passing trouble any more.
const LATE_MS: i64 = 60_000;

/// The outbound journey; it reaches the mailboxes as the inbound one does.
pub(super) fn outbound(
    config: &Config,
    ground: &Ground,
    inbound: &Inbound,
    before: Option<&Wiring>,
) -> anyhow::Result<Outbound> {
    let sending = config.mailboxes.iter().filter(|it| it.send);
    let sender =
        |it: &crate::inbound::MailboxConfig| Sender { mailbox: Config::mailbox_id(it), send_as: it.send_as.clone() };
    Ok(Outbound {
        store: ground.store.clone(),
        clock: Arc::clone(&ground.clock),
        senders: sending.map(sender).collect(),
        graphs: inbound.mailboxes.iter().map(|(id, it)| (id.clone(), Arc::clone(&it.graph))).collect(),
        memory: ground.memory.clone(),
        max_message_size: config.outbound.max_message_size.0,
        pace: config.outbound.pace(),
        uploads: ground.uploads.clone(),
        troubles: ground.troubles.clone(),
        own_ids: ground.own_ids.clone(),
        thread_names: ground.thread_names.clone(),
        users: Users::new(&config.outbound.smtp_users),
        callback: super::callbacks::destination(config, ground, before)?,
    })
}

/// How a mailbox sends; `None`: it does not.
pub(super) fn sending(
    out: &Outbound,
    mailbox: &MailboxId,
    open: &[OpenSubmissions],
    now: UnixMillis,
) -> Option<Sending> {
    let open = open.iter().find(|it| it.mailbox == *mailbox);
    if open.is_none() && !out.senders.iter().any(|it| it.mailbox == *mailbox) {
        return None;
    }
    let waited = open.and_then(|it| it.oldest_since).map_or(0, |since| (now - since).max(0));
    Some(Sending {
        queued: open.map_or(0, |it| it.count),
        oldest_seconds: waited / 1000,
        trouble: out.troubles.of(mailbox).filter(|_| open.is_some()),
    })
}

/// What that says of the mailbox's health, where it says something.
pub(super) fn late(sending: Option<&Sending>) -> Option<(Status, Option<String>)> {
    let sending = sending.filter(|it| it.oldest_seconds >= LATE_MS / 1000)?;
    let trouble = sending.trouble.as_ref()?;
    Some((Status::Degraded, Some(format!("{} mails wait to be sent: {trouble}", sending.queued))))
}

/// The listener for programs that speak SMTP, if one is configured.
pub(super) fn listener(config: &Config, jobs: &Arc<Jobs>) -> anyhow::Result<Option<Submissions>> {
    let (clock, asked) = (Arc::clone(&jobs.ground.clock), Arc::clone(jobs));
    let present = Arc::new(move || Arc::clone(&asked.present().outbound));
    Submissions::bind(&config.outbound, clock, present).map_err(anyhow::Error::msg).context("outbound.smtp_listen")
}
