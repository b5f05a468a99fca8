//! Job Send: one submission becomes a draft, gets its files, leaves when its turn is, and is found sent.
//!
//! Every step is stored before the next begins. What to do next is decided in `steps`; here it is done, and an attempt
//! ends where waiting begins.

mod draft;
mod ends;
mod files;
mod leave;
mod steps;

use std::time::Duration;

use tokio::time::Instant;

use self::steps::{Draft, Known, Todo, next};
use super::Outbound;
use crate::graph::Graph;
use crate::memory::Held;
use crate::model::clock::UnixMillis;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::reason::Code;
use crate::model::work::{Claim, Job, MailboxId};
use crate::store::{Slot, Step, Submission, SubmissionFile, Then};

/// What keeps failing is tried for so long …
const PATIENCE_MS: i64 = 3 * 24 * 3600 * 1000;
/// … and at least so often, so that a bridge that was away for days does not give up at once.
const LEAST_ATTEMPTS: u32 = 5;
/// How long an attempt waits for room in memory …
const ROOM_PATIENCE: Duration = Duration::from_secs(3);
/// … and how long it stays away then.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// How long mail of a mailbox that sends nothing any more stays away: with its spread no more than a minute.
const SWITCHED_OFF: Duration = Duration::from_secs(50);

/// Whether an attempt goes on after a step.
enum Flow {
    GoesOn,
    /// It is over: its job waits or has ended.
    Ends,
}

/// One attempt at a submission.
struct Attempt<'a> {
    out: &'a Outbound,
    graph: &'a Graph,
    claim: Claim,
    row: Submission,
    files: Vec<SubmissionFile>,
    begun: Instant,
}

impl Outbound {
    /// Brings a submission as far as it can be brought now.
    ///
    /// # Errors
    /// Something outside stands in the way; it is tried again.
    pub async fn send(&self, job: &Job, mailbox: &MailboxId, number: i64) -> Outcome {
        let outcome = self.attempt(job, mailbox, number).await;
        self.troubles.hear(mailbox, &outcome);
        outcome
    }

    async fn attempt(&self, job: &Job, mailbox: &MailboxId, number: i64) -> Outcome {
        let Some(row) = self.store.submission_numbered(number).await? else { return Ok(Next::Done) };
        if row.state.is_final() {
            return Ok(Next::Done);
        }
        let Some(graph) = self.graphs.get(mailbox) else {
            let failure =
                Failure::transient("the mailbox is no longer configured: configure it again, or the mail fails")
                    .coded(Code::Misconfigured);
            return self.give_up_in_time(job, &row, failure).await;
        };
        let files = self.store.submission_files(number).await?;
        let mut attempt = Attempt { out: self, graph, claim: job.claim, row, files, begun: Instant::now() };
        match Box::pin(attempt.run()).await {
            Ok(()) => Ok(Next::Settled),
            Err(failure @ Failure::Postponed { .. }) => Err(failure),
            Err(Failure::Permanent { reason } | Failure::Gone { reason }) => {
                attempt.fail(reason).await.map(|()| Next::Settled)
            }
            // Exchange said that it took it, or shows it as sent: what fails since then is only the looking.
            Err(failure) if attempt.row.was_taken() && self.is_given_up(job, &attempt.row) => {
                let why = failure.why();
                let said = format!("Exchange took it; what became of it then could not be looked up: {}", why.text);
                attempt.sent(None, Some((why.code, said))).await.map(|()| Next::Settled)
            }
            Err(failure) => self.give_up_in_time(job, &attempt.row, failure).await,
        }
    }

    /// A failure that may pass, unless it has been tried for long enough.
    async fn give_up_in_time(&self, job: &Job, row: &Submission, failure: Failure) -> Outcome {
        if !self.is_given_up(job, row) {
            return Err(failure);
        }
        let reason = failure.why().used_up(job.attempt);
        self.failed(job.claim, row, reason).await.map(|()| Next::Settled)
    }

    fn is_given_up(&self, job: &Job, row: &Submission) -> bool {
        job.attempt >= LEAST_ATTEMPTS && self.clock.now() - row.tried_since() >= PATIENCE_MS
    }

    /// Room in memory for content on its way.
    async fn room(&self, bytes: u64) -> Result<Held, Failure> {
        let taken = tokio::time::timeout(ROOM_PATIENCE, self.memory.take(bytes)).await;
        taken.map_err(|_| Failure::Postponed { reason: "no room in memory just now".into(), after: ROOM_WAIT })
    }
}

impl Submission {
    /// Whether Exchange said that it took it, or it was found sent.
    fn was_taken(&self) -> bool {
        self.left_at.is_some() || self.sent_at.is_some()
    }

    /// Since when it has been tried to send it, or could have been.
    fn tried_since(&self) -> UnixMillis {
        self.tried_at.unwrap_or_else(|| self.accepted_at.max(self.send_at.unwrap_or(0)))
    }
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let flow = match next(&self.known(), self.out.clock.now()) {
                Todo::TakeSlot | Todo::MakeDraft | Todo::AttachFiles if !self.sends() => self.stay().await?,
                Todo::TakeSlot => self.take_slot().await?,
                Todo::AwaitTurn(wait) => self.wait(Step::Nothing, wait).await?,
                Todo::MakeDraft => self.make_draft().await?,
                Todo::FindDraft(asked_at) => self.find_draft(asked_at).await?,
                Todo::AttachFiles => self.attach_files().await?,
                Todo::Leave => self.leave(false).await?,
                Todo::LookForIt(leaving_at) => self.look(leaving_at).await?,
                Todo::DropCopy => self.drop_copy().await?,
            };
            if let Flow::Ends = flow {
                return Ok(());
            }
        }
    }

    /// Whether mail may be sent from the mailbox, by what is configured now.
    fn sends(&self) -> bool {
        self.out.senders.iter().any(|it| it.mailbox == self.row.mailbox)
    }

    /// The mailbox sends nothing any more: what was accepted before stays, however long. A draft may have left all the same,
    /// by hand, or since the copy of the store was made that is used now.
    async fn stay(&mut self) -> Result<Flow, Failure> {
        if self.row.draft_id.is_some()
            && let (_, Some(sent)) = self.found().await?
        {
            return self.is_sent(sent).await;
        }
        let reason = "send = false: the mailbox sends nothing; let it send again, or take back what is queued".into();
        Err(Failure::Postponed { reason, after: SWITCHED_OFF })
    }

    fn known(&self) -> Known {
        let row = &self.row;
        Known {
            slot_at: row.slot_at,
            draft: match (&row.draft_id, row.drafting_at) {
                (Some(_), _) => Draft::Made,
                (None, Some(at)) => Draft::Asked(at),
                (None, None) => Draft::None,
            },
            has_files_left: self.files.iter().any(|it| it.attached_at.is_none()),
            leaving_at: row.leaving_at,
            has_unwanted_copy: !row.save_copy && row.sent_at.is_some(),
        }
    }

    async fn take_slot(&mut self) -> Result<Flow, Failure> {
        let Submission { mailbox, number, recipients, .. } = &self.row;
        match self.out.store.take_slot(self.claim, mailbox, *number, *recipients, self.out.pace).await? {
            Slot::Now => {
                self.row.slot_at = Some(self.out.clock.now());
                Ok(Flow::GoesOn)
            }
            Slot::At(_) | Slot::Lost => Ok(Flow::Ends),
        }
    }

    /// Writes a step. `false`: the job is somebody else's now, or the submission was cancelled.
    async fn step(&self, step: Step) -> Result<bool, Failure> {
        Ok(self.out.store.sending_step(self.claim, self.row.number, step, Then::GoesOn).await?)
    }

    /// Writes a step and lets the job wait, as a fresh one.
    async fn wait(&self, step: Step, wait: Duration) -> Result<Flow, Failure> {
        let due_at = self.out.clock.now() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2);
        self.out.store.sending_step(self.claim, self.row.number, step, Then::Again(due_at)).await?;
        Ok(Flow::Ends)
    }

    /// The draft's id; asked for where there is one.
    fn draft(&self) -> String {
        self.row.draft_id.clone().unwrap_or_default()
    }

    /// Takes room for what is brought into the mailbox. Where there is none: how long to wait.
    fn upload(&self, bytes: u64) -> Result<(), Duration> {
        self.out.uploads.take(&self.row.mailbox, bytes, self.out.clock.now())
    }

    /// The draft is not there any more and it has not left: it is made anew.
    async fn draft_is_gone(&mut self) -> Result<Flow, Failure> {
        if !self.step(Step::DraftGone).await? {
            return Ok(Flow::Ends);
        }
        Err(Failure::transient("its draft was removed from the mailbox before it was sent; it is made anew")
            .coded(Code::NotInMailbox))
    }
}
