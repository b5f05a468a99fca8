//! Replaying: what was parked, or is still to be tried, is due at once; what was accepted or discarded is sent again.
//!
//! The interaction keeps its id, so a receiver that has it already can tell.

use super::Store;
use super::deliveries::DeliveryId;
use super::error::StoreError;
use super::value::Value;
use super::writer::{Op, Writing};
use crate::model::work::Work;

/// What came of replaying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It is due now.
    Due,
    /// An attempt is under way.
    Running,
    /// It was accepted, and nobody asked for what is over.
    Accepted,
    /// It was discarded, and nobody asked for what is over.
    Discarded,
    /// It was accepted or discarded, and its content is not kept any more.
    ContentGone,
    /// There is no such thing.
    Unknown,
}

impl Store {
    /// Makes these due now, in one transaction; with `again` also those that were accepted or discarded, as long as their
    /// content is kept. Answers for each, in their order.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn replay(&self, which: Vec<DeliveryId>, again: bool) -> Result<Vec<Replayed>, StoreError> {
        self.ask(Replay { which, again }).await
    }
}

/// What is to be replayed.
pub(super) struct Replay {
    which: Vec<DeliveryId>,
    again: bool,
}

impl Op for Replay {
    type Answer = Vec<Replayed>;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Vec<Replayed>>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            let mut answer = Vec::with_capacity(op.which.len());
            for which in &op.which {
                answer.push(writing.replay(which, op.again).await?);
            }
            answers.push(answer);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    async fn replay(&mut self, which: &DeliveryId, again: bool) -> Result<Replayed, StoreError> {
        const LIVING: &str = "SELECT id, leased_until FROM jobs WHERE key = $1 AND parked_at IS NULL";
        const BRING: &str = "UPDATE jobs SET due_at = $2 WHERE id = $1 AND leased_until IS NULL RETURNING lane, due_at";
        const PARKED: &str = "SELECT MAX(id) FROM jobs WHERE key = $1 AND parked_at IS NOT NULL";
        let key = which.key();
        if let Some(row) = self.tx.rows(LIVING, vec![key.as_str().into()]).await?.first() {
            // A lease that ran out belongs to nobody; the next claim takes the job.
            if row.maybe_int(1)?.is_some_and(|until| until > self.now) {
                return Ok(Replayed::Running);
            }
            for row in self.tx.rows(BRING, vec![row.int(0)?.into(), self.now.into()]).await? {
                self.wake(row.text(0)?, row.int(1)?);
            }
            self.release(&key).await?;
            return Ok(Replayed::Due);
        }
        let parked = self.tx.rows(PARKED, vec![key.as_str().into()]).await?;
        if let Some(job) = parked.first().map(|row| row.maybe_int(0)).transpose()?.flatten() {
            return Ok(if self.unpark(job).await? { Replayed::Due } else { Replayed::Running });
        }
        match which {
            DeliveryId::Interaction(interaction) => self.send_again(interaction, again).await,
            DeliveryId::Message(message) => self.fetch_again(*message, again).await,
            DeliveryId::Callback(callback) => self.call_again(callback, again).await,
        }
    }

    /// A delivery that is over begins anew.
    async fn send_again(&mut self, interaction: &str, again: bool) -> Result<Replayed, StoreError> {
        const SELECT: &str = "SELECT d.route, d.accepted_at, d.discarded_at, d.attempt, d.took_ms, d.message,
               CAST(CASE WHEN m.content_dropped_at IS NULL AND m.size IS NOT NULL THEN 1 ELSE 0 END AS BIGINT)
             FROM deliveries AS d JOIN messages AS m ON m.id = d.message WHERE d.interaction_id = $1
             ORDER BY 7 DESC, d.message";
        const STORY: &str = "INSERT INTO attempts (key, attempt, at, took_ms) VALUES ($1, $2, $3, $4)";
        // What was handed over before is no call whose outcome is to be found out.
        const BEGIN: &str = "UPDATE deliveries SET accepted_at = NULL, attempt = NULL, took_ms = NULL, asked_at = NULL,
               discarded_at = NULL, discarded_by = NULL, discard_reason = NULL, held = NULL
             WHERE interaction_id = $1";
        const MESSAGES: &str = "UPDATE messages SET state = 'accepted', finished_at = NULL WHERE state = 'delivered'
               AND id IN (SELECT message FROM deliveries WHERE interaction_id = $1)";
        let id = || Value::from(interaction);
        self.tx.hold_interactions(vec![id()]).await?;
        let rows = self.tx.rows(SELECT, vec![id()]).await?;
        let Some(row) = rows.first() else { return Ok(Replayed::Unknown) };
        let (accepted_at, discarded_at) = (row.maybe_int(1)?, row.maybe_int(2)?);
        if !again {
            match (accepted_at, discarded_at) {
                (Some(_), _) => return Ok(Replayed::Accepted),
                (None, Some(_)) => return Ok(Replayed::Discarded),
                (None, None) => {}
            }
        }
        if row.int(6)? == 0 {
            return Ok(Replayed::ContentGone);
        }
        if let Some(at) = accepted_at {
            let attempt = row.maybe_int(3)?.unwrap_or(1);
            let took = row.maybe_int(4)?.unwrap_or(0);
            let key = format!("deliver:{interaction}");
            self.tx.rows(STORY, vec![key.into(), attempt.into(), at.into(), took.into()]).await?;
        }
        let messages: Vec<Value> = rows.iter().map(|row| row.int(5).map(Value::from)).collect::<Result<_, _>>()?;
        self.tx.hold_messages(messages).await?;
        self.tx.rows(BEGIN, vec![id()]).await?;
        self.tx.rows(MESSAGES, vec![id()]).await?;
        let work = Work::Deliver { route: row.text(0)?, interaction: interaction.to_owned() };
        self.due.add(work.due(self.now));
        Ok(Replayed::Due)
    }

    /// A message whose fetch was discarded is found again.
    async fn fetch_again(&mut self, message: i64, again: bool) -> Result<Replayed, StoreError> {
        const SELECT: &str = "SELECT state, state_reason, mailbox FROM messages WHERE id = $1";
        const FIND: &str = "UPDATE messages SET state = 'found', state_reason = NULL, finished_at = NULL WHERE id = $1";
        let rows = self.tx.rows(SELECT, vec![message.into()]).await?;
        let Some(row) = rows.first() else { return Ok(Replayed::Unknown) };
        let is_discarded = row.maybe_text(1)?.is_some_and(|it| it.starts_with(super::discard::DISCARDED));
        match row.text(0)?.as_str() {
            "found" => {}
            "filtered" if is_discarded && again => {
                self.tx.rows(FIND, vec![message.into()]).await?;
            }
            "filtered" if is_discarded => return Ok(Replayed::Discarded),
            _ => return Ok(Replayed::Unknown),
        }
        let mailbox = self.named(row.int(2)?).await?;
        self.due.add(Work::Fetch { mailbox, message }.due(self.now));
        Ok(Replayed::Due)
    }

    /// A callback that is over begins anew.
    async fn call_again(&mut self, callback: &str, again: bool) -> Result<Replayed, StoreError> {
        const SELECT: &str =
            "SELECT accepted_at, discarded_at, attempt, took_ms FROM submission_callbacks WHERE id = $1";
        const STORY: &str = "INSERT INTO attempts (key, attempt, at, took_ms) VALUES ($1, $2, $3, $4)";
        const BEGIN: &str = "UPDATE submission_callbacks SET accepted_at = NULL, attempt = NULL, took_ms = NULL,
               discarded_at = NULL, discarded_by = NULL, discard_reason = NULL WHERE id = $1";
        let rows = self.tx.rows(SELECT, vec![callback.into()]).await?;
        let Some(row) = rows.first() else { return Ok(Replayed::Unknown) };
        let (accepted_at, discarded_at) = (row.maybe_int(0)?, row.maybe_int(1)?);
        match (accepted_at, discarded_at) {
            (Some(_), _) if !again => return Ok(Replayed::Accepted),
            (None, Some(_)) if !again => return Ok(Replayed::Discarded),
            _ => {}
        }
        let work = Work::Callback { callback: callback.to_owned() };
        if let Some(at) = accepted_at {
            let (attempt, took) = (row.maybe_int(2)?.unwrap_or(1), row.maybe_int(3)?.unwrap_or(0));
            self.tx.rows(STORY, vec![work.key().into(), attempt.into(), at.into(), took.into()]).await?;
        }
        self.tx.rows(BEGIN, vec![callback.into()]).await?;
        self.due.add(work.due(self.now));
        Ok(Replayed::Due)
    }
}
