//! Job Renew of a mailbox that is not configured: its subscription is taken down.
//!
//! Another replica may have another configuration for a while. So on a database that replicas share nothing is taken
//! down that somebody still reads, and what was taken down by one is polled by whoever wants it until that one builds it
//! again (`inbound::sweep`).

use std::time::Duration;

use super::Inbound;
use super::subscribe::CONFIGURED;
use crate::model::clock::UnixMillis;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::work::{Job, MailboxId, Work, ahead_of_backlog};
use crate::store::{MailboxState, Push, PushState};

/// A mailbox that was not read for so many sweeps is read by nobody …
const MISSED_SWEEPS: i64 = 2;
/// … and what a sweep may take on top.
const SWEEP_TAKES_MS: i64 = 5000;
/// How soon somebody who knows the mailbox is to find work that was left to him, at first.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(5);
/// Then a thousand of them would keep the others' renewals waiting …
const SOON_MS: i64 = 60_000;
/// … so from then on it is looked this often.
const SELDOM: Duration = Duration::from_secs(60);

impl Inbound {
    /// Takes down what stands for a mailbox that is not configured.
    pub(super) async fn part_with(&self, job: &Job, mailbox: &MailboxId) -> Outcome {
        let (state, now) = (self.store.mailbox(mailbox).await?, self.clock.now());
        if self.store.is_shared() && self.is_read(&state, now) {
            let after = if now - job.created_at < SOON_MS { LEFT_TO_OTHERS } else { SELDOM };
            let reason = "another replica, whose configuration has it, reads this mailbox".to_owned();
            return Err(Failure::Postponed { reason: reason.into(), after });
        }
        let Some(known) = state.subscription else { return Ok(Next::Done) };
        self.hints.forget(mailbox);
        // What has ended by itself needs nobody's help.
        if known.expires_at > now {
            let graph = self.parted.get(mailbox).or_else(|| self.tenants.get(&mailbox.tenant));
            let Some(graph) = graph else {
                let left = u64::try_from(known.expires_at - now).unwrap_or(0);
                return Ok(Next::Again { after: Duration::from_millis(left) });
            };
            graph.delete_subscription(&known.id).await?;
        }
        self.store.save_subscription(mailbox, None).await?;
        self.store.set_push(mailbox, Push { state: PushState::Polling, reason: Some(CONFIGURED.into()) }).await?;
        self.leave_to_others(mailbox).await?;
        tracing::info!(mailbox = %mailbox, "The subscription of a mailbox that is no longer configured was removed");
        Ok(Next::Done)
    }

    /// A subscription was taken down here: a replica that wants the mailbox all the same polls it from now on, or nobody would
    /// look until its next sweep.
    pub(super) async fn leave_to_others(&self, mailbox: &MailboxId) -> Result<(), Failure> {
        if self.store.is_shared() {
            let look = Work::Look { mailbox: mailbox.clone() };
            self.store.enqueue(vec![look.due(ahead_of_backlog(self.clock.now()))]).await?;
        }
        Ok(())
    }

    /// A look at a mailbox that is not read here. Where somebody read it lately, he is to find it; who has not come for it
    /// by the end of a turn of polling and a while does not read it any more.
    pub(super) async fn look_of_others(&self, job: &Job, mailbox: &MailboxId) -> Outcome {
        if !self.store.is_shared() {
            return Ok(Next::Done);
        }
        let (state, now) = (self.store.mailbox(mailbox).await?, self.clock.now());
        // Without a cursor nobody has ever read it: it only sends.
        let is_wanted = |last: UnixMillis| {
            let waits = self.sync.poll_interval.millis() + SOON_MS;
            state.cursor.is_some() && now - last < self.unread_ms() && now - last.max(job.created_at) < waits
        };
        if state.last_sync_at.is_some_and(is_wanted) {
            let reason = "this mailbox is not read here, and is left to a replica that reads it".to_owned();
            return Err(Failure::Postponed { reason: reason.into(), after: LEFT_TO_OTHERS });
        }
        Ok(Next::Done)
    }

    /// Push that was given up by another configuration is built again where this one wants it.
    pub(super) async fn take_back_push(&self, mailbox: &MailboxId, state: &MailboxState) -> Result<(), Failure> {
        if state.push.state == PushState::Polling && state.push.reason.as_deref() == Some(CONFIGURED) {
            let renew = Work::Renew { mailbox: mailbox.clone() };
            self.store.enqueue(vec![renew.due(ahead_of_backlog(self.clock.now()))]).await?;
        }
        Ok(())
    }

    /// Whether a replica with another configuration reads it.
    fn is_read(&self, state: &MailboxState, now: UnixMillis) -> bool {
        let last = state.last_sync_at.unwrap_or(state.started_at).max(state.started_at);
        now - last < self.unread_ms()
    }

    fn unread_ms(&self) -> i64 {
        MISSED_SWEEPS * self.sync.sweep_interval.millis() + SWEEP_TAKES_MS
    }
}
