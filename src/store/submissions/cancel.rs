//! Cancelling: as long as nothing of a submission has reached Graph. Either it is cancelled or it is being sent.

use crate::model::submission::SubmissionState;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::writer::{Op, Writing};

/// What came of cancelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It will not be sent.
    Done,
    /// It is no longer queued; `cancelled` is one of these states.
    TooLate(SubmissionState),
    /// There is no such submission.
    Unknown,
}

impl Store {
    /// Takes a queued submission back.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn cancel_submission(&self, id: &str) -> Result<Cancelled, StoreError> {
        self.ask(Cancel(id.to_owned())).await
    }
}

/// A submission to be taken back, by its id.
pub(in crate::store) struct Cancel(String);

impl Op for Cancel {
    type Answer = Cancelled;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Cancelled>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for Self(id) in all {
            answers.push(writing.cancel(id).await?);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    async fn cancel(&mut self, id: &str) -> Result<Cancelled, StoreError> {
        const SELECT: &str = "SELECT number, state FROM submissions WHERE id = $1";
        // The job first, as sending takes it: of a replica that is about to send and this one, one sees the other.
        const JOB: &str = "DELETE FROM jobs WHERE key = $1 AND parked_at IS NULL
             AND EXISTS (SELECT 1 FROM submissions WHERE number = $2 AND state = 'queued')";
        const UPDATE: &str = "UPDATE submissions SET state = 'cancelled', ended_at = $2 WHERE number = $1
             AND state = 'queued' RETURNING 1";
        let rows = self.tx.rows(SELECT, vec![id.into()]).await?;
        let Some(row) = rows.first() else { return Ok(Cancelled::Unknown) };
        let (number, state) = (row.int(0)?, super::read::state(&row.text(1)?)?);
        if state != SubmissionState::Queued {
            return Ok(Cancelled::TooLate(state));
        }
        self.tx.hold_send_job(number).await?;
        self.tx.rows(JOB, vec![format!("send:{number}").into(), number.into()]).await?;
        if self.tx.rows(UPDATE, vec![number.into(), self.now.into()]).await?.is_empty() {
            return Ok(Cancelled::TooLate(SubmissionState::Sending));
        }
        self.forget_content(number).await?;
        Ok(Cancelled::Done)
    }
}
