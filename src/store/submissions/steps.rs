//! The steps of sending: each is written into the submission's row, and counts only while its writer holds the job.
//!
//! What may have an effect outside is written before it is tried, so whoever comes after a crash knows that it has to look.

use crate::model::clock::UnixMillis;
use crate::model::reason::Code;
use crate::model::secret::Secret;
use crate::model::submission::SubmissionState;
use crate::model::thread::Clues;
use crate::model::work::Claim;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::sealed;
use crate::store::value::Value;
use crate::store::writer::{Op, Writing};

/// One step of a submission.
#[derive(Debug, Clone)]
pub enum Step {
    /// A draft is about to be made. From here on nothing can be cancelled.
    Drafting,
    /// It was certainly not made: nothing of it has reached Graph.
    NotDrafted,
    /// This is the draft.
    Drafted {
        /// Its immutable id.
        id: String,
    },
    /// So many files are attached to the draft as it was made.
    Counted {
        /// How many.
        files: u32,
    },
    /// A file is on its way through this session; none: through none.
    Session {
        /// The file's number.
        file: u32,
        /// The session's address.
        url: Option<Secret>,
    },
    /// A file is attached.
    Attached {
        /// The file's number.
        file: u32,
    },
    /// The draft is gone, and with it all that was attached to it; it has not left.
    DraftGone,
    /// It is about to leave.
    Leaving,
    /// It certainly did not.
    NotLeft,
    /// Exchange said that it took it.
    Left,
    /// Nothing changes; the job is told what follows.
    Nothing,
    /// It was found sent; its copy is still to be removed.
    Found {
        /// When, as Exchange says, where it says it.
        at: Option<UnixMillis>,
        /// Its Message-ID as Exchange sent it, without `<` and `>`.
        message_id: Option<String>,
        /// Outlook's conversation.
        conversation_id: Option<String>,
    },
    /// It was sent.
    Sent {
        /// When, as Exchange says, where it says it.
        at: Option<UnixMillis>,
        /// Its Message-ID as Exchange sent it, without `<` and `>`.
        message_id: Option<String>,
        /// Outlook's conversation.
        conversation_id: Option<String>,
        /// What may connect it with other mail under the names that Exchange gave it.
        clues: Box<Clues>,
        /// What is to be known of how it was sent.
        note: Option<(Code, String)>,
    },
    /// It was not sent and will not be.
    Failed {
        /// Why.
        code: Code,
        /// The same for a person.
        reason: String,
    },
}

/// What becomes of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Its attempt goes on.
    GoesOn,
    /// It is due again then, as a fresh job.
    Again(UnixMillis),
}

impl Store {
    /// Writes a step of a submission. After [`Step::Sent`] and [`Step::Failed`] the job is over, whatever `then` says, its
    /// content is gone, and whoever submitted it is told if he asked for it. `false`: the lease was lost, or the submission was cancelled; nothing changed.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn sending_step(&self, claim: Claim, number: i64, step: Step, then: Then) -> Result<bool, StoreError> {
        let step = match step {
            Step::Session { file, url: Some(url) } => {
                let place = || sealed::session(number, i64::from(file));
                let url = sealed::shut_text(self.seal(), place, url.expose())?;
                Step::Session { file, url: Some(Secret::new(url)) }
            }
            other => other,
        };
        self.ask(Stepping { claim, number, step, then }).await
    }
}

/// A step to be written.
pub(in crate::store) struct Stepping {
    claim: Claim,
    number: i64,
    step: Step,
    then: Then,
}

impl Op for Stepping {
    type Answer = bool;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<bool>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            answers.push(writing.step(op).await?);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    async fn step(&mut self, op: &Stepping) -> Result<bool, StoreError> {
        let is_over = matches!(op.step, Step::Sent { .. } | Step::Failed { .. });
        let is_held = match op.then {
            _ if is_over => !self.end(&[op.claim]).await?.is_empty(),
            Then::GoesOn => self.hold(op.claim).await?,
            Then::Again(due_at) => self.renew(op.claim, due_at).await?,
        };
        if !is_held {
            return Ok(false);
        }
        for (sql, values) in op.step.statements(op.number, self.now) {
            self.tx.rows(sql, values).await?;
        }
        if let Step::Sent { clues, .. } = &op.step {
            self.join_again(op.number, clues).await?;
        }
        if is_over {
            self.forget_content(op.number).await?;
            self.call_back(op.number).await?;
            self.bounce_if_it_came_back(op.number).await?;
        }
        Ok(true)
    }

    /// What was sent belongs to its conversation under every name it has by now.
    async fn join_again(&mut self, number: i64, clues: &Clues) -> Result<(), StoreError> {
        const SELECT: &str = "SELECT m.tenant, s.thread FROM submissions AS s JOIN mailboxes AS m ON m.id = s.mailbox
             WHERE s.number = $1";
        const UPDATE: &str = "UPDATE submissions SET thread = $2 WHERE number = $1";
        let rows = self.tx.rows(SELECT, vec![number.into()]).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let thread = self.join_ours(&row.text(0)?, clues, row.maybe_text(1)?.as_deref()).await?;
        self.tx.rows(UPDATE, vec![number.into(), thread.into()]).await.map(drop)
    }

    /// Whether the claim is good; until the commit nobody else takes the job.
    pub(super) async fn hold(&mut self, claim: Claim) -> Result<bool, StoreError> {
        const HOLD: &str = "UPDATE jobs SET leased_until = leased_until
             WHERE id = $1 AND fence = $2 AND leased_until IS NOT NULL AND parked_at IS NULL RETURNING 1";
        Ok(!self.tx.rows(HOLD, vec![claim.id.into(), claim.fence.into()]).await?.is_empty())
    }

    /// Lets the job wait again, as a fresh one. `false`: the claim is not good.
    pub(super) async fn renew(&mut self, claim: Claim, due_at: UnixMillis) -> Result<bool, StoreError> {
        const RENEW: &str = "UPDATE jobs SET fence = fence + 1, leased_until = NULL, again_at = NULL, attempt = 0,
               due_at = CASE WHEN again_at < $3 THEN again_at ELSE $3 END, created_at = $4, last_error = NULL, code = NULL
             WHERE id = $1 AND fence = $2 AND leased_until IS NOT NULL AND parked_at IS NULL RETURNING lane, due_at";
        let values = vec![claim.id.into(), claim.fence.into(), due_at.into(), self.now.into()];
        let rows = self.tx.rows(RENEW, values).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        self.wake(row.text(0)?, row.int(1)?);
        Ok(true)
    }

    /// The content of what has ended is of no use.
    pub(super) async fn forget_content(&mut self, number: i64) -> Result<(), StoreError> {
        const SELECT: &str = "SELECT COALESCE(content, number) FROM submissions WHERE number = $1";
        const SESSIONS: &str =
            "UPDATE submission_files SET session_url = NULL WHERE number = $1 AND session_url IS NOT NULL";
        let rows = self.tx.rows(SELECT, vec![number.into()]).await?;
        if let Some(row) = rows.first() {
            let under = row.int(0)?;
            self.drop_pieces(vec![under.into()]).await?;
        }
        self.tx.rows(SESSIONS, vec![number.into()]).await.map(drop)
    }
}

impl Step {
    fn statements(&self, number: i64, now: UnixMillis) -> Vec<(&'static str, Vec<Value>)> {
        const FORGOTTEN: &str = "UPDATE submission_files SET session_url = NULL, attached_at = NULL WHERE number = $1";
        let number = || Value::from(number);
        let one = |sql: &'static str, rest: Vec<Value>| {
            let mut values = vec![number()];
            values.extend(rest);
            vec![(sql, values)]
        };
        match self {
            Self::Nothing => vec![],
            Self::Drafting => one(
                "UPDATE submissions SET state = 'sending', drafting_at = $2, tried_at = COALESCE(tried_at, $2) WHERE number = $1",
                vec![now.into()],
            ),
            Self::NotDrafted => {
                one("UPDATE submissions SET state = 'queued', drafting_at = NULL WHERE number = $1", vec![])
            }
            Self::Drafted { id } => {
                one("UPDATE submissions SET draft_id = $2 WHERE number = $1", vec![id.as_str().into()])
            }
            Self::Counted { files } => {
                one("UPDATE submissions SET draft_files = $2 WHERE number = $1", vec![i64::from(*files).into()])
            }
            Self::Session { file, url } => one(
                "UPDATE submission_files SET session_url = $3 WHERE number = $1 AND n = $2",
                vec![i64::from(*file).into(), url.as_ref().map(Secret::expose).into()],
            ),
            Self::Attached { file } => one(
                "UPDATE submission_files SET session_url = NULL, attached_at = $3 WHERE number = $1 AND n = $2",
                vec![i64::from(*file).into(), now.into()],
            ),
            Self::DraftGone => vec![
                (
                    "UPDATE submissions SET state = 'queued', draft_id = NULL, draft_files = NULL, drafting_at = NULL,
                       leaving_at = NULL WHERE number = $1",
                    vec![number()],
                ),
                (FORGOTTEN, vec![number()]),
            ],
            Self::Leaving => one("UPDATE submissions SET leaving_at = $2, left_at = NULL WHERE number = $1", vec![now.into()]),
            Self::NotLeft => one("UPDATE submissions SET leaving_at = NULL WHERE number = $1", vec![]),
            Self::Left => one("UPDATE submissions SET left_at = $2 WHERE number = $1", vec![now.into()]),
            Self::Found { at, message_id, conversation_id } => one(
                "UPDATE submissions SET sent_at = $2, sent_message_id = $3, conversation_id = $4 WHERE number = $1",
                vec![at.unwrap_or(now).into(), message_id.as_deref().into(), conversation_id.as_deref().into()],
            ),
            Self::Sent { at, message_id, conversation_id, note, .. } => one(
                "UPDATE submissions SET state = $2, ended_at = $3, sent_at = $4, sent_message_id = $5, conversation_id = $6,
                   code = $7, reason = $8 WHERE number = $1",
                vec![
                    SubmissionState::Sent.as_str().into(),
                    now.into(),
                    at.unwrap_or(now).into(),
                    message_id.as_deref().into(),
                    conversation_id.as_deref().into(),
                    note.as_ref().map(|it| it.0.as_str()).into(),
                    note.as_ref().map(|it| it.1.as_str()).into(),
                ],
            ),
            Self::Failed { code, reason } => one(
                "UPDATE submissions SET state = $2, ended_at = $3, code = $4, reason = $5 WHERE number = $1",
                vec![
                    SubmissionState::Failed.as_str().into(),
                    now.into(),
                    code.as_str().into(),
                    reason.as_str().into(),
                ],
            ),
        }
    }
}
