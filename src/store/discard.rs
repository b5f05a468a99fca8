//! Discarding: a person decides that a route needs a delivery no more, or that nobody needs a message that was not fetched,
//! or a callback.
//!
//! Who, when and why is kept. A discarded delivery counts as finished for its message.

use super::Store;
use super::deliveries::DeliveryId;
use super::error::StoreError;
use super::value::Value;
use super::writer::{Op, Writing};

/// How the reason of a message begins whose fetch was discarded.
pub(super) const DISCARDED: &str = "discarded by ";

/// What came of discarding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discarded {
    /// It is discarded.
    Done,
    /// It was before; what was said then stands.
    Before,
    /// An attempt is under way.
    Running,
    /// It was accepted.
    Accepted,
    /// There is no such thing.
    Unknown,
}

impl Store {
    /// Discards a delivery or a callback that was not accepted, or a fetch that was not made.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn discard(&self, which: DeliveryId, who: &str, reason: &str) -> Result<Discarded, StoreError> {
        self.ask(Discard { which, who: who.to_owned(), reason: reason.to_owned() }).await
    }
}

/// What is to be discarded, by whom and why.
pub(super) struct Discard {
    which: DeliveryId,
    who: String,
    reason: String,
}

impl Op for Discard {
    type Answer = Discarded;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Discarded>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            answers.push(match &op.which {
                DeliveryId::Interaction(interaction) => writing.discard_delivery(op, interaction).await?,
                DeliveryId::Message(message) => writing.discard_fetch(op, *message).await?,
                DeliveryId::Callback(callback) => writing.discard_callback(op, callback).await?,
            });
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    async fn discard_delivery(&mut self, op: &Discard, interaction: &str) -> Result<Discarded, StoreError> {
        const SELECT: &str = "SELECT accepted_at, discarded_at, message FROM deliveries WHERE interaction_id = $1";
        const UPDATE: &str = "UPDATE deliveries SET discarded_at = $2, discarded_by = $3, discard_reason = $4
             WHERE interaction_id = $1";
        let id = || Value::from(interaction);
        self.tx.hold_interactions(vec![id()]).await?;
        let rows = self.tx.rows(SELECT, vec![id()]).await?;
        let Some(row) = rows.first() else { return Ok(Discarded::Unknown) };
        if row.maybe_int(0)?.is_some() {
            return Ok(Discarded::Accepted);
        }
        if row.maybe_int(1)?.is_some() {
            return Ok(Discarded::Before);
        }
        if !self.forget_jobs(&op.which).await? {
            return Ok(Discarded::Running);
        }
        let values = vec![id(), self.now.into(), op.who.as_str().into(), op.reason.as_str().into()];
        self.tx.rows(UPDATE, values).await?;
        let messages: Vec<Value> = rows.iter().map(|row| row.int(2).map(Value::from)).collect::<Result<_, _>>()?;
        self.tx.hold_messages(messages.clone()).await?;
        self.finish(messages).await?;
        Ok(Discarded::Done)
    }

    async fn discard_callback(&mut self, op: &Discard, callback: &str) -> Result<Discarded, StoreError> {
        const SELECT: &str = "SELECT accepted_at, discarded_at FROM submission_callbacks WHERE id = $1";
        const UPDATE: &str = "UPDATE submission_callbacks SET discarded_at = $2, discarded_by = $3, discard_reason = $4
             WHERE id = $1 AND accepted_at IS NULL RETURNING 1";
        let rows = self.tx.rows(SELECT, vec![callback.into()]).await?;
        let Some(row) = rows.first() else { return Ok(Discarded::Unknown) };
        match (row.maybe_int(0)?, row.maybe_int(1)?) {
            (Some(_), _) => return Ok(Discarded::Accepted),
            (None, Some(_)) => return Ok(Discarded::Before),
            (None, None) => {}
        }
        if !self.forget_jobs(&op.which).await? {
            return Ok(Discarded::Running);
        }
        let values = vec![callback.into(), self.now.into(), op.who.as_str().into(), op.reason.as_str().into()];
        // Of a replica that was told of its acceptance meanwhile.
        let is_open = !self.tx.rows(UPDATE, values).await?.is_empty();
        Ok(if is_open { Discarded::Done } else { Discarded::Accepted })
    }

    async fn discard_fetch(&mut self, op: &Discard, message: i64) -> Result<Discarded, StoreError> {
        const SELECT: &str = "SELECT state, state_reason FROM messages WHERE id = $1";
        const UPDATE: &str =
            "UPDATE messages SET state = 'filtered', state_reason = $2, finished_at = $3 WHERE id = $1";
        let rows = self.tx.rows(SELECT, vec![message.into()]).await?;
        let Some(row) = rows.first() else { return Ok(Discarded::Unknown) };
        match row.text(0)?.as_str() {
            "found" => {}
            "filtered" if row.maybe_text(1)?.is_some_and(|it| it.starts_with(DISCARDED)) => {
                return Ok(Discarded::Before);
            }
            _ => return Ok(Discarded::Unknown),
        }
        if !self.forget_jobs(&op.which).await? {
            return Ok(Discarded::Running);
        }
        let why = format!("{DISCARDED}{}: {}", op.who, op.reason);
        self.tx.rows(UPDATE, vec![message.into(), why.into(), self.now.into()]).await?;
        Ok(Discarded::Done)
    }

    /// Removes its jobs, parked and living. `false`: an attempt is under way; nothing changed.
    async fn forget_jobs(&mut self, which: &DeliveryId) -> Result<bool, StoreError> {
        const IN_LINE: &str = "SELECT id FROM jobs WHERE key = $1 AND thread IS NOT NULL AND parked_at IS NULL
             AND (leased_until IS NULL OR leased_until <= $2)";
        const LIVING: &str =
            "DELETE FROM jobs WHERE key = $1 AND parked_at IS NULL AND (leased_until IS NULL OR leased_until <= $2)
             RETURNING lane, thread";
        const RUNNING: &str = "SELECT 1 FROM jobs WHERE key = $1 AND parked_at IS NULL";
        const PARKED: &str = "DELETE FROM jobs WHERE key = $1 AND parked_at IS NOT NULL";
        let key = || Value::from(which.key());
        // Removed first: another replica may claim it until then, and what it claimed is seen after that.
        let in_line = self.tx.rows(IN_LINE, vec![key(), self.now.into()]).await?;
        let in_line = in_line.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?;
        self.leave_gaps(in_line).await?;
        for row in self.tx.rows(LIVING, vec![key(), self.now.into()]).await? {
            self.leaves_its_place(row.text(0)?, row.maybe_text(1)?);
        }
        if !self.tx.rows(RUNNING, vec![key()]).await?.is_empty() {
            return Ok(false);
        }
        self.tx.rows(PARKED, vec![key()]).await?;
        Ok(true)
    }
}
