//! Job Look: the mailbox's delta, read to its end.
//!
//! Each page is one transaction: a fetch for every message not known yet, together with the cursor. A crash between
//! two pages repeats a page and finds everything in it known. A reset of the cursor starts a full round, in which what
//! is known stays known.

use std::collections::HashMap;
use std::time::Duration;

use super::{Inbound, Mode, StartFrom, Watched};
use crate::graph::{DeltaFrom, DeltaItem, DeltaLink, GraphError, MessageMeta, RemovedReason};
use crate::model::clock::UnixMillis;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::work::{Job, MailboxId, ahead_of_backlog};
use crate::store::{CursorChange, Found, FoundBy, MailboxState, PushState};

/// Messages per page: large pages cost Graph more than they save (reference: 504 on large pages).
const PAGE_SIZE: u32 = 200;
/// How long Graph's delta may lag behind a notification before we look again: one wait per look.
const LAG: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];
/// Resets within one look before it gives up and leaves it to the retry schedule.
const RESETS: u32 = 2;
/// In a round after a reset, mail whose last change is at most this much older than the last good look counts as new.
const RESYNC_MARGIN_MS: i64 = 3600 * 1000;

impl Inbound {
    /// Reads what changed in the mailbox.
    ///
    /// # Errors
    /// Graph or the store could not answer; what was read so far is kept.
    pub async fn look(&self, job: &Job, mailbox: &MailboxId) -> Outcome {
        let Some(watched) = self.mailboxes.get(mailbox) else {
            return Ok(Next::Done);
        };
        if !watched.config.receive {
            return self.look_of_others(job, mailbox).await;
        }
        let hinted = self.hints.take_ids(mailbox);
        let looked = self.read_delta(mailbox, watched, !hinted.is_empty()).await;
        if let Err(failure) = looked {
            self.hints.put_back(mailbox, hinted);
            return Err(failure);
        }
        if let Some(after) = self.missing_hints(mailbox, watched, hinted).await? {
            return Ok(Next::Again { after });
        }
        let state = self.store.mailbox(mailbox).await?;
        if self.sync.mode == Mode::Poll || state.push.state == PushState::Polling {
            return Ok(Next::Again { after: self.sync.poll_interval.0 });
        }
        Ok(Next::Done)
    }

    async fn read_delta(&self, mailbox: &MailboxId, watched: &Watched, hinted: bool) -> Result<(), Failure> {
        let address = &watched.config.address;
        let mut state = self.store.mailbox(mailbox).await?;
        watched.follows(&state)?;
        let place = (mailbox, watched.config.folder.as_str());
        let mut resets = 0;
        loop {
            let by = found_by(&state, hinted);
            let from = match &state.cursor {
                Some(cursor) => DeltaFrom::Link(&cursor.link),
                None => DeltaFrom::Start {
                    folder: &watched.config.folder,
                    // A filtered round returns at most 5,000 messages; an unfiltered one returns what there is.
                    since: None,
                    // Without it, our own read marks would not come back as changes.
                    with_read_state: self.sync.start_from == StartFrom::Unread,
                },
            };
            let page = match watched.graph.delta(address, from, PAGE_SIZE).await {
                Ok(page) => page,
                Err(error)
                    if resets < RESETS && (error.needs_resync() || state.cursor.is_some() && is_refused(&error)) =>
                {
                    resets += 1;
                    tracing::warn!(mailbox = %mailbox, reason = %error, "Graph dropped the delta cursor; the folder is read in full, what is known stays known");
                    let since = state.resync_since.or(state.last_sync_at).unwrap_or(state.started_at);
                    self.store.found_in(place, Vec::new(), by, CursorChange::Lost { since }).await?;
                    state = self.store.mailbox(mailbox).await?;
                    watched.follows(&state)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let mut found = Vec::with_capacity(page.items.len());
            for item in page.items {
                match item {
                    DeltaItem::Message(meta) if self.counts(&state, &meta) => {
                        found.push(self.found(meta, Phase::of(&state)))
                    }
                    DeltaItem::Message(_) => {}
                    DeltaItem::Removed { id, reason: RemovedReason::Deleted } => self.removed.add(id),
                    DeltaItem::Removed { .. } => {}
                }
            }
            let (change, last) = match page.link {
                DeltaLink::Next(link) => (CursorChange::Next(link), false),
                DeltaLink::Delta(link) => (CursorChange::Delta(link), true),
            };
            let new = self.store.found_in(place, found, by, change).await?;
            count_found(mailbox, by, new);
            if last {
                return Ok(());
            }
            state = self.store.mailbox(mailbox).await?;
            watched.follows(&state)?;
        }
    }

    /// Whether an item of a delta page is mail that counts. The store knows which of it is known already.
    fn counts(&self, state: &MailboxState, meta: &MessageMeta) -> bool {
        match Phase::of(state) {
            // Whatever appears in the folder after the first round reached it after we began to watch.
            Phase::Steady => true,
            Phase::Start => self.counts_at_start(state.started_at, meta.received_at, meta.is_read.map(|read| !read)),
            Phase::Resync { since } => {
                let changed_since = since - RESYNC_MARGIN_MS;
                meta.received_at.is_none_or(|at| at >= self.earliest(state.started_at))
                    || meta.last_modified.is_some_and(|at| at >= changed_since)
            }
        }
    }

    fn found(&self, meta: MessageMeta, phase: Phase) -> Found {
        let now = self.clock.now();
        // Fresh mail passes a backlog; a first or repeated full round is the backlog.
        let due_at = if phase == Phase::Steady { ahead_of_backlog(now) } else { now };
        Found {
            immutable_id: meta.id,
            received_at: meta.received_at,
            conversation_id: meta.conversation_id,
            internet_message_id: meta.internet_message_id,
            has_attachments: meta.has_attachments,
            subject: meta.subject,
            due_at,
        }
    }

    /// What Graph says of a message that delta does not show. One that is not there is the fetch's to judge.
    async fn asked(&self, watched: &Watched, id: String) -> Result<Found, Failure> {
        let due_at = ahead_of_backlog(self.clock.now());
        let meta = match watched.graph.message(&watched.config.address, &id).await {
            Ok(meta) => Some(meta),
            Err(GraphError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Found {
            immutable_id: id,
            received_at: meta.as_ref().and_then(|it| it.received_at),
            conversation_id: meta.as_ref().and_then(|it| it.conversation_id.clone()),
            has_attachments: meta.as_ref().and_then(|it| it.has_attachments),
            subject: meta.as_ref().and_then(|it| it.subject.clone()),
            internet_message_id: meta.and_then(|it| it.internet_message_id),
            due_at,
        })
    }

    /// Hinted ids that the look did not find: looked for again shortly, then asked for by their id.
    /// Returns how long to wait for the next look, if there is something to wait for.
    async fn missing_hints(
        &self,
        mailbox: &MailboxId,
        watched: &Watched,
        hinted: HashMap<String, u32>,
    ) -> Result<Option<Duration>, Failure> {
        if hinted.is_empty() {
            return Ok(None);
        }
        let ids: Vec<String> = hinted.keys().cloned().collect();
        let known = self.store.known(mailbox, &ids).await?;
        let mut again = HashMap::new();
        let mut ask = Vec::new();
        for (id, looks) in hinted {
            if known.contains(&id) || self.removed.contains(&id) {
                continue;
            }
            if usize::try_from(looks).is_ok_and(|looks| looks < LAG.len()) {
                again.insert(id, looks + 1);
            } else {
                ask.push(self.asked(watched, id).await?);
            }
        }
        let new = self.store.found(mailbox, ask, FoundBy::Hint, None).await?;
        count_found(mailbox, FoundBy::Hint, new);
        let wait = again.values().min().map(|looks| LAG[*looks as usize - 1]);
        self.hints.put_back(mailbox, again);
        Ok(wait)
    }
}

/// A cursor that Graph refuses as a bad request will never be good again, whatever code it gives for that.
fn is_refused(error: &GraphError) -> bool {
    matches!(error, GraphError::Refused(refusal) if refusal.status == 400)
}

/// Where a mailbox's reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its first round is not complete.
    Start,
    /// The cursor was lost; a full round makes up for what changed since.
    Resync {
        /// The last time the mailbox was read.
        since: UnixMillis,
    },
    /// Delta tells what changed.
    Steady,
}

impl Phase {
    fn of(state: &MailboxState) -> Self {
        match (state.first_round_at, state.resync_since) {
            (None, _) => Self::Start,
            (Some(_), Some(since)) => Self::Resync { since },
            (Some(_), None) => Self::Steady,
        }
    }
}

fn found_by(state: &MailboxState, hinted: bool) -> FoundBy {
    match (Phase::of(state), hinted) {
        (Phase::Start, _) => FoundBy::Start,
        (_, true) => FoundBy::Push,
        (_, false) => FoundBy::Poll,
    }
}

pub(super) fn count_found(mailbox: &MailboxId, by: FoundBy, new: usize) {
    if new > 0 {
        // A hint that had to be asked for by its id came by push all the same.
        let by = if by == FoundBy::Hint { FoundBy::Push } else { by };
        metrics::counter!("mailspan_messages_found_total", "mailbox" => mailbox.to_string(), "trigger" => by.as_str())
            .increment(new as u64);
    }
}
