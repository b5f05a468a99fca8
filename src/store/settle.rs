//! How an attempt ends: fenced, so whoever lost the lease changes nothing and is told so.
//!
//! A job that was made due while its attempt ran runs once more; parking keeps its story and frees its key.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Store;
use super::attempts::FailedAttempt;
use super::error::StoreError;
use super::listed::Listed;
use super::value::Value;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::reason::Reason;
use crate::model::work::Claim;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing is left to do. If the job was made due meanwhile it waits again, as a fresh job.
    Done,
    /// Due again, as a fresh job; earlier if it was made due meanwhile.
    Again {
        /// When.
        due_at: UnixMillis,
    },
    /// The attempt failed and is counted.
    Retry {
        /// When to try again.
        due_at: UnixMillis,
        /// What happened.
        error: Reason,
    },
    /// The attempt was not made and is not counted.
    GiveBack {
        /// When it is due.
        due_at: UnixMillis,
    },
    /// A person must decide.
    Park {
        /// What happened.
        error: Reason,
    },
}

impl Store {
    /// Ends an attempt. `false`: the lease was lost to another claim, or the attempt was settled already; nothing changed.
    ///
    /// # Errors
    /// The end is not written. The lease will run out and the job be due again.
    pub async fn settle(&self, claim: Claim, end: End) -> Result<bool, StoreError> {
        self.settle_after(claim, end, Duration::ZERO).await
    }

    /// As [`Self::settle`], for an attempt that took this long.
    ///
    /// # Errors
    /// The end is not written. The lease will run out and the job be due again.
    pub async fn settle_after(&self, claim: Claim, end: End, took: Duration) -> Result<bool, StoreError> {
        self.ask(Settle { claim, end, took }).await
    }
}

/// The end of one attempt.
pub(super) struct Settle {
    claim: Claim,
    end: End,
    took: Duration,
}

impl Op for Settle {
    type Answer = bool;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<bool>, StoreError> {
        // The first to settle a claim settles it; whoever comes second finds it settled.
        let mut seen = HashSet::new();
        let first: Vec<bool> = all.iter().map(|op| seen.insert(op.claim)).collect();
        let firsts = || all.iter().zip(&first).filter(|(_, first)| **first).map(|(op, _)| *op);
        let done: Vec<Claim> = firsts().filter(|op| op.end == End::Done).map(|op| op.claim).collect();
        let mut won = writing.end_unless_due_again(&done).await?;
        let rest: Vec<&Self> = firsts().filter(|op| !won.contains(&op.claim)).collect();
        won.extend(writing.wait_again(&rest).await?);
        Ok(all.iter().zip(&first).map(|(op, first)| *first && won.contains(&op.claim)).collect())
    }
}

impl Writing<'_> {
    /// Removes the jobs that were claimed like this, whatever was asked of them meanwhile: their work is done for good.
    /// Returns those that were removed.
    pub(super) async fn end(&mut self, claims: &[Claim]) -> Result<HashSet<Claim>, StoreError> {
        static DELETE: Listed = Listed::values(
            "DELETE FROM jobs WHERE id IN ({firsts}) AND (id, fence) IN (VALUES {rows}) AND parked_at IS NULL RETURNING id, fence, lane, thread",
            "(?, ?)",
        );
        self.delete(&DELETE, claims).await
    }

    async fn end_unless_due_again(&mut self, claims: &[Claim]) -> Result<HashSet<Claim>, StoreError> {
        static DELETE: Listed = Listed::values(
            "DELETE FROM jobs WHERE id IN ({firsts}) AND (id, fence) IN (VALUES {rows}) AND again_at IS NULL AND leased_until IS NOT NULL RETURNING id, fence, lane, thread",
            "(?, ?)",
        );
        self.delete(&DELETE, claims).await
    }

    // SQLite finds rows by number through `id IN (…)`; the pair alone would make it read the whole table.
    async fn delete(&mut self, delete: &'static Listed, claims: &[Claim]) -> Result<HashSet<Claim>, StoreError> {
        let claims: Vec<Value> = claims.iter().flat_map(|claim| [claim.id.into(), claim.fence.into()]).collect();
        let mut ended = HashSet::new();
        for row in self.tx.each(delete, None, claims).await? {
            ended.insert(Claim { id: row.int(0)?, fence: row.int(1)? });
            self.leaves_its_place(row.text(2)?, row.maybe_text(3)?);
        }
        Ok(ended)
    }

    /// Writes every end that leaves the job in the table. Returns the claims that were still good.
    async fn wait_again(&mut self, ends: &[&Settle]) -> Result<HashSet<Claim>, StoreError> {
        // Columns: id, fence, due_at (NULL: only when it was made due meanwhile), fresh, uncounted, error, parked_at, code.
        static UPDATE: Listed = Listed::values(
            "UPDATE jobs SET
               fence = jobs.fence + 1,
               leased_until = NULL,
               holder = NULL,
               again_at = NULL,
               due_at = CASE WHEN v.column3 IS NULL OR (v.column4 + v.column5 > 0 AND jobs.again_at < v.column3)
                        THEN jobs.again_at ELSE v.column3 END,
               attempt = CASE WHEN v.column4 = 1 THEN 0 ELSE jobs.attempt - v.column5 END,
               created_at = CASE WHEN v.column4 = 1 THEN {fixed} ELSE jobs.created_at END,
               last_error = CASE WHEN v.column5 = 1 THEN jobs.last_error ELSE v.column6 END,
               parked_at = v.column7,
               code = CASE WHEN v.column5 = 1 THEN jobs.code ELSE v.column8 END
             FROM (VALUES {rows}) AS v
             WHERE jobs.id = v.column1 AND jobs.fence = v.column2 AND jobs.leased_until IS NOT NULL
               AND (v.column3 IS NOT NULL OR jobs.again_at IS NOT NULL)
             RETURNING id, fence, lane, due_at, parked_at, thread, key, attempt",
            "(?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let now = self.now;
        let mut rows: Vec<Value> = Vec::with_capacity(ends.len() * 8);
        let mut failed: HashMap<Claim, (&Reason, Duration)> = HashMap::new();
        for Settle { claim, end, took } in ends {
            let (due_at, fresh, uncounted, error, parked_at) = match end {
                End::Done => (None, 1, 0, None, None),
                End::Again { due_at } => (Some(*due_at), 1, 0, None, None),
                End::Retry { due_at, error } => (Some(*due_at), 0, 0, Some(error), None),
                End::GiveBack { due_at } => (Some(*due_at), 0, 1, None, None),
                End::Park { error } => (Some(now), 0, 0, Some(error), Some(now)),
            };
            rows.extend([
                claim.id.into(),
                claim.fence.into(),
                due_at.into(),
                Value::from(fresh),
                Value::from(uncounted),
            ]);
            let code = error.map(|it| it.code.as_str());
            rows.extend([error.map(|it| it.text.as_str()).into(), parked_at.into(), code.into()]);
            failed.extend(error.map(|error| (*claim, (error, *took))));
        }
        let (mut good, mut missing, mut attempts) = (HashSet::new(), Vec::new(), Vec::new());
        for row in self.tx.each(&UPDATE, Some(now.into()), rows).await? {
            let claim = Claim { id: row.int(0)?, fence: row.int(1)? - 1 };
            if let Some((reason, took)) = failed.remove(&claim) {
                attempts.push(FailedAttempt { key: row.text(6)?, attempt: row.int(7)?, reason, took });
            }
            good.insert(claim);
            let thread = row.maybe_text(5)?;
            if row.maybe_int(4)?.is_none() {
                self.wake(row.text(2)?, row.int(3)?);
            } else if thread.is_some() {
                missing.push(row.int(0)?);
            }
            self.leaves_its_place(row.text(2)?, thread);
        }
        self.leave_gaps(missing).await?;
        self.note_attempts(attempts).await?;
        Ok(good)
    }
}
