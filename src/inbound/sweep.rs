//! Job Sweep: a window of received times, held against what is known.
//!
//! Delta forgets mail that was moved out and back, and notifications get lost. The sweep does not trust either: it
//! lists what the folder received since a little before the last sweep and fetches whatever is not known.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::look::count_found;
use super::{Inbound, Mode};
use crate::graph::ReceivedFrom;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::work::{MailboxId, Work, ahead_of_backlog};
use crate::store::{Found, FoundBy, PushState};

/// How far a sweep's window reaches back before the last one: late indexing and clocks that disagree.
const OVERLAP_MS: i64 = 3600 * 1000;
/// Mail younger than this may still be on its way by push; finding it proves nothing about push.
const PUSH_PATIENCE_MS: i64 = 3 * 60 * 1000;
/// Sweeps in a row that find mail push never announced, before polling takes over.
const SILENT_SWEEPS: u32 = 3;

impl Inbound {
    /// Compares the folder with what is known, and makes a look due as well.
    ///
    /// # Errors
    /// Graph or the store could not answer; the window stays at the last page that was read.
    pub async fn sweep(&self, mailbox: &MailboxId) -> Outcome {
        let Some(watched) = self.mailboxes.get(mailbox) else {
            return Ok(Next::Done);
        };
        if !watched.config.receive {
            return self.look_for_reports(mailbox, watched).await;
        }
        let begun = self.clock.now();
        let state = self.store.mailbox(mailbox).await?;
        watched.follows(&state)?;
        let earliest = self.earliest(state.started_at);
        let swept = state.swept_until.unwrap_or(state.started_at) - OVERLAP_MS;
        let asked = state.sweep_since;
        let since = asked.map_or(swept, |it| it.min(swept)).max(earliest);
        let (mut unannounced, mut next) = (0, None::<String>);
        loop {
            let from = match &next {
                Some(link) => ReceivedFrom::Link(link),
                None => ReceivedFrom::Start { folder: &watched.config.folder, since },
            };
            let page = watched.graph.received_since(&watched.config.address, from).await?;
            let last = page.items.iter().filter_map(|it| it.received_at).next_back();
            let late = page.items.iter().filter(|it| it.received_at.is_some_and(|at| at < begun - PUSH_PATIENCE_MS));
            let ids: Vec<String> = late.map(|it| it.id.clone()).collect();
            let known = self.store.known(mailbox, &ids).await?;
            unannounced += ids.len() - known.len();
            let found = page.items.into_iter().map(|meta| Found {
                immutable_id: meta.id,
                received_at: meta.received_at,
                conversation_id: meta.conversation_id,
                internet_message_id: meta.internet_message_id,
                has_attachments: meta.has_attachments,
                subject: meta.subject,
                due_at: ahead_of_backlog(begun),
            });
            let new = self.store.found(mailbox, found.collect(), FoundBy::Sweep, None).await?;
            count_found(mailbox, FoundBy::Sweep, new);
            next = page.next;
            if next.is_none() {
                break;
            }
            // The oldest come first, so a window that is too long for one attempt goes on where this page ends.
            if let Some(last) = last {
                self.store.swept(mailbox, last.max(since).min(begun), asked).await?;
            }
        }
        self.store.swept(mailbox, begun, asked).await?;
        match state.push.state {
            PushState::Push if self.sync.mode == Mode::Push => self.judge_push(mailbox, watched, unannounced).await?,
            PushState::Polling if self.sync.mode == Mode::Push => self.take_back_push(mailbox, &state).await?,
            PushState::Push | PushState::Polling => {}
        }
        self.store.enqueue(vec![Work::Look { mailbox: mailbox.clone() }.due(ahead_of_backlog(begun))]).await?;
        Ok(Next::Again { after: self.sync.sweep_interval.0 })
    }

    /// Push that stays silent while mail arrives is worse than none: polling takes over and push is built anew.
    async fn judge_push(
        &self,
        mailbox: &MailboxId,
        watched: &super::Watched,
        unannounced: usize,
    ) -> Result<(), Failure> {
        if unannounced == 0 {
            watched.silent_sweeps.store(0, Ordering::Relaxed);
            return Ok(());
        }
        tracing::warn!(mailbox = %mailbox, unannounced, "The sweep found mail that neither push nor delta had announced");
        if watched.silent_sweeps.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_SWEEPS {
            // The subscription that is silent goes: renewing it would only prolong the silence.
            if let Some(known) = self.store.mailbox(mailbox).await?.subscription {
                watched.graph.delete_subscription(&known.id).await?;
                self.store.save_subscription(mailbox, None).await?;
            }
            self.hints.forget(mailbox);
            watched.silent_sweeps.store(0, Ordering::Relaxed);
            self.poll_instead(mailbox, "push stays silent while mail arrives").await?;
            let renew = Work::Renew { mailbox: mailbox.clone() };
            let after = i64::try_from(Duration::from_secs(60).as_millis()).unwrap_or(0);
            self.store.enqueue(vec![renew.due(self.clock.now() + after)]).await?;
        }
        Ok(())
    }
}
