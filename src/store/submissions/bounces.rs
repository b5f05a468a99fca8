//! Bounces: from whom a sent mail came back, and why. The first one that counts makes the submission `bounced`.

use super::callbacks::NewCallback;
use crate::model::clock::UnixMillis;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::value::Value;
use crate::store::writer::{Op, Writing};

/// One recipient a mail did not reach, or did not reach yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounce {
    /// Whom, as the report names him.
    pub recipient: String,
    /// What became of it there: `failed`, `delayed`, … (RFC 3464 §2.3.3).
    pub action: String,
    /// The enhanced status.
    pub status: Option<String>,
    /// What the other side said.
    pub diagnostic: Option<String>,
    /// When it was told.
    pub at: UnixMillis,
}

impl Store {
    /// Notes bounces of a submission; of each recipient the last word counts. With `is_bounced` a submission that was
    /// being sent or sent is `bounced` from here on. Returns whether it is so for the first time; only then `callback` is
    /// due.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn bounced(
        &self,
        number: i64,
        bounces: Vec<Bounce>,
        is_bounced: bool,
        callback: Option<NewCallback>,
    ) -> Result<bool, StoreError> {
        self.ask(Bounced { number, bounces, is_bounced, callback }).await
    }

    /// The bounces of a submission, by recipient.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn bounces(&self, number: i64) -> Result<Vec<Bounce>, StoreError> {
        const SELECT: &str = "SELECT recipient, action, status, diagnostic, at FROM submission_bounces
             WHERE number = $1 ORDER BY recipient";
        let mut found = Vec::new();
        for row in self.db().rows(SELECT, vec![number.into()]).await? {
            found.push(Bounce {
                recipient: row.text(0)?,
                action: row.text(1)?,
                status: row.maybe_text(2)?,
                diagnostic: row.maybe_text(3)?,
                at: row.int(4)?,
            });
        }
        Ok(found)
    }
}

/// Bounces to be noted.
pub(in crate::store) struct Bounced {
    number: i64,
    bounces: Vec<Bounce>,
    is_bounced: bool,
    callback: Option<NewCallback>,
}

impl Op for Bounced {
    type Answer = bool;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<bool>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            answers.push(writing.bounced(op).await?);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    async fn bounced(&mut self, op: &Bounced) -> Result<bool, StoreError> {
        const INSERT: &str = "INSERT INTO submission_bounces (number, recipient, action, status, diagnostic, at)
             SELECT number, $2, $3, $4, $5, $6 FROM submissions WHERE number = $1
             ON CONFLICT (number, recipient) DO UPDATE SET action = excluded.action, status = excluded.status,
               diagnostic = excluded.diagnostic, at = excluded.at";
        // A bounce that is faster than our look into Sent Items proves that the mail left.
        const UPDATE: &str = "UPDATE submissions SET state = 'bounced', ended_at = COALESCE(ended_at, $2),
               sent_at = COALESCE(sent_at, leaving_at, $2)
             WHERE number = $1 AND (state = 'sent' OR state = 'sending' AND leaving_at IS NOT NULL) RETURNING 1";
        const JOB: &str = "DELETE FROM jobs WHERE key = $1 AND parked_at IS NULL";
        self.tx.hold_send_job(op.number).await?;
        for it in &op.bounces {
            let mut values: Vec<Value> =
                vec![op.number.into(), it.recipient.as_str().into(), it.action.as_str().into()];
            values.extend([it.status.as_deref().into(), it.diagnostic.as_deref().into(), it.at.into()]);
            self.tx.rows(INSERT, values).await?;
        }
        if !op.is_bounced || self.tx.rows(UPDATE, vec![op.number.into(), self.now.into()]).await?.is_empty() {
            return Ok(false);
        }
        self.tx.rows(JOB, vec![format!("send:{}", op.number).into()]).await?;
        self.forget_content(op.number).await?;
        if let Some(callback) = &op.callback {
            self.add_callback(op.number, callback).await?;
        }
        Ok(true)
    }
}
