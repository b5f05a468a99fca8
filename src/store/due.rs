//! Making jobs due. Making due brings forward, never back; a job whose attempt is running runs once more after it.
//!
//! Whatever a transaction makes due is collected under its key and written once, at the end.

use std::collections::BTreeMap;

use super::Store;
use super::error::StoreError;
use super::listed::Listed;
use super::value::Value;
use super::wake::Wake;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::work::{Lane, NewJob};

impl Store {
    /// Makes jobs due: a new one, or the living one with the same key brought forward. A job that is claimed right now
    /// runs once more after its attempt.
    ///
    /// # Errors
    /// Nothing was made due.
    pub async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<(), StoreError> {
        if jobs.is_empty() {
            return Ok(());
        }
        self.ask(MakeDue(jobs)).await
    }

    /// Another side is well again: what failed in this lane and waits for another attempt, and every fetch, is due at `at`,
    /// or when it is due anyway. Who waits for its turn goes on waiting.
    ///
    /// # Errors
    /// Each waits for its own schedule.
    pub async fn bring_forward(&self, lane: &Lane, at: UnixMillis) -> Result<(), StoreError> {
        self.ask(BringForward { lane: lane.clone(), at }).await
    }

    /// Makes one delivery of this lane due that failed and waits for its next attempt: the next in number after `after`, so
    /// that each gets its turn. Returns its number and when it was due. `None`: there is none.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn lend(&self, lane: &Lane, after: i64) -> Result<Option<(i64, UnixMillis)>, StoreError> {
        self.ask(Lend { lane: lane.clone(), after }).await
    }

    /// Makes a parked job due again, with all its attempts before it; a delivery the loop breaker held is held no longer. `false`: it is not parked any more, or a successor
    /// with its key is alive.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn unpark(&self, job: i64) -> Result<bool, StoreError> {
        self.ask(Unpark(job)).await
    }
}

/// Jobs to be written with a transaction, by key. Sorted, so that two replicas take rows in the same order.
#[derive(Default)]
pub(super) struct Due(BTreeMap<String, NewJob>);

impl Due {
    /// Adds a job, or brings forward the one with its key.
    pub(super) fn add(&mut self, job: NewJob) {
        self.0.entry(job.work.key()).and_modify(|known| known.due_at = known.due_at.min(job.due_at)).or_insert(job);
    }
}

/// Jobs made due by a caller. This kind runs in every group that made any due.
pub(super) struct MakeDue(pub(super) Vec<NewJob>);

impl Op for MakeDue {
    type Answer = ();

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<()>, StoreError> {
        for job in all.iter().flat_map(|asked| &asked.0) {
            writing.due.add(job.clone());
        }
        Ok(vec![(); all.len()])
    }
}

impl Writing<'_> {
    /// Writes the jobs collected so far.
    pub(super) async fn write_due(&mut self) -> Result<(), StoreError> {
        static UPSERT: Listed = Listed::values(
            "INSERT INTO jobs (lane, key, kind, payload, due_at, thread, received_at, message, created_at)
             SELECT column1, column2, column3, column4, column5, column6, column7, column8, {fixed}
             FROM (VALUES {rows}) AS v WHERE column1 IS NOT NULL
             ON CONFLICT (key) WHERE parked_at IS NULL DO UPDATE SET
               again_at = CASE WHEN jobs.leased_until IS NULL THEN NULL
                          WHEN jobs.again_at < excluded.due_at THEN jobs.again_at ELSE excluded.due_at END,
               due_at = CASE WHEN jobs.leased_until IS NULL AND excluded.due_at < jobs.due_at
                        THEN excluded.due_at ELSE jobs.due_at END
             RETURNING lane, due_at",
            "(?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let due = std::mem::take(&mut self.due.0);
        if due.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<Value> = Vec::with_capacity(due.len() * 8);
        for (key, NewJob { work, due_at, turn }) in due {
            let payload = serde_json::to_string(&work).map_err(|error| StoreError::Refused(error.to_string()))?;
            rows.extend([work.lane().0.into(), key.into(), work.kind().into(), payload.into(), due_at.into()]);
            let place = turn.as_ref().map(|it| (it.received_at, it.message));
            rows.push(turn.as_ref().map(|it| it.thread.as_str()).into());
            rows.extend([place.map(|it| it.0).into(), place.map(|it| it.1).into()]);
        }
        for row in self.tx.each(&UPSERT, Some(self.now.into()), rows).await? {
            self.wakes.push(Wake { lane: Lane(row.text(0)?), due_at: row.int(1)? });
        }
        Ok(())
    }

    /// A lane has work at this time.
    pub(super) fn wake(&mut self, lane: String, due_at: UnixMillis) {
        self.wakes.push(Wake { lane: Lane(lane), due_at });
    }
}

/// A lane whose failed jobs are due.
pub(super) struct BringForward {
    lane: Lane,
    at: UnixMillis,
}

impl Op for BringForward {
    type Answer = ();

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<()>, StoreError> {
        // What was in the way of a job that was given back is not written down; a fetch waits for nothing else.
        const FORWARD: &str = "UPDATE jobs SET due_at = $2 WHERE lane = $1 AND parked_at IS NULL AND due_at > $2
               AND leased_until IS NULL AND aside_at IS NULL AND (last_error IS NOT NULL OR kind = 'fetch') RETURNING 1";
        for Self { lane, at } in all {
            let rows = writing.tx.rows(FORWARD, vec![lane.0.as_str().into(), (*at).into()]).await?;
            if !rows.is_empty() {
                writing.wake(lane.0.clone(), *at);
            }
        }
        Ok(vec![(); all.len()])
    }
}

/// A lane that wants one of its jobs before its time.
pub(super) struct Lend {
    lane: Lane,
    after: i64,
}

impl Op for Lend {
    type Answer = Option<(i64, UnixMillis)>;
    const FOR_CALLER_ONLY: bool = true;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Self::Answer>, StoreError> {
        const SELECT: &str = "SELECT id, due_at FROM jobs WHERE lane = $1 AND parked_at IS NULL AND due_at > $2
               AND leased_until IS NULL AND aside_at IS NULL AND last_error IS NOT NULL
             ORDER BY CASE WHEN id > $3 THEN 0 ELSE 1 END, id LIMIT 1";
        const UPDATE: &str = "UPDATE jobs SET due_at = $2 WHERE id = $1 AND leased_until IS NULL";
        let mut answers = Vec::with_capacity(all.len());
        for Self { lane, after } in all {
            let values = vec![lane.0.as_str().into(), writing.now.into(), (*after).into()];
            let lent = match writing.tx.rows(SELECT, values).await?.first() {
                Some(row) => Some((row.int(0)?, row.int(1)?)),
                None => None,
            };
            if let Some((job, _)) = lent {
                writing.tx.rows(UPDATE, vec![job.into(), writing.now.into()]).await?;
                writing.wake(lane.0.clone(), writing.now);
            }
            answers.push(lent);
        }
        Ok(answers)
    }
}

/// A parked job, by number.
pub(super) struct Unpark(i64);

impl Op for Unpark {
    type Answer = bool;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<bool>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for Self(job) in all {
            answers.push(writing.unpark(*job).await?);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    /// Makes a parked job due now, as a fresh one. `false`: it is not parked any more, or has a successor.
    pub(super) async fn unpark(&mut self, job: i64) -> Result<bool, StoreError> {
        const UNPARK: &str =
            "UPDATE jobs SET parked_at = NULL, attempt = 0, fence = fence + 1, due_at = $2, again_at = NULL, created_at = $2
             WHERE id = $1 AND parked_at IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM jobs AS living WHERE living.key = jobs.key AND living.parked_at IS NULL)
             RETURNING lane, due_at, key";
        let rows = self.tx.rows(UNPARK, vec![job.into(), self.now.into()]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        self.wake(row.text(0)?, row.int(1)?);
        self.release(&row.text(2)?).await?;
        Ok(true)
    }

    /// The loop breaker holds the delivery of this key no longer: whoever replays it has seen why it was held.
    pub(super) async fn release(&mut self, key: &str) -> Result<(), StoreError> {
        const RELEASE: &str = "UPDATE deliveries SET held = NULL WHERE interaction_id = $1 AND held IS NOT NULL";
        let Some(interaction) = key.strip_prefix("deliver:") else { return Ok(()) };
        self.tx.rows(RELEASE, vec![interaction.into()]).await.map(drop)
    }
}
