//! Attempts: each that failed is a row with its time, its reason and what the other side said.
//!
//! Written in the transaction that settles the job, bounded per job, and tidied with the message. One that was accepted
//! needs no row: it stands with its delivery.

use std::time::Duration;

use super::Store;
use super::error::StoreError;
use super::listed::Listed;
use super::value::Value;
use super::writer::Writing;
use crate::model::clock::UnixMillis;
use crate::model::reason::{Code, Reason};

/// The attempts that are kept of one job, the last ones.
const KEPT: usize = 50;
/// Whose attempts are kept, by how their keys begin.
const KINDS: [&str; 4] = ["deliver:", "fetch:", "send:", "callback:"];

/// One attempt at a delivery or a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which it was, from 1; a replay begins anew.
    pub attempt: u32,
    /// When it ended.
    pub at: UnixMillis,
    /// How long it took.
    pub took: Duration,
    /// Why it failed; `None`: it was accepted.
    pub code: Option<Code>,
    /// The same for a person.
    pub reason: Option<String>,
    /// What the other side said.
    pub answer: Option<String>,
}

/// An attempt to be written.
pub(super) struct FailedAttempt<'a> {
    /// The key of its job.
    pub(super) key: String,
    pub(super) attempt: i64,
    pub(super) reason: &'a Reason,
    pub(super) took: Duration,
}

impl Store {
    /// The attempts that were made under this key, the first of those that are kept first.
    ///
    /// # Errors
    /// They could not be read.
    pub(super) async fn attempts(&self, key: &str) -> Result<Vec<Attempt>, StoreError> {
        const SELECT: &str =
            "SELECT attempt, at, took_ms, code, reason, answer FROM attempts WHERE key = $1 ORDER BY id";
        let mut attempts = Vec::new();
        for row in self.db().rows(SELECT, vec![key.into()]).await? {
            attempts.push(Attempt {
                attempt: u32::try_from(row.int(0)?).unwrap_or(u32::MAX),
                at: row.int(1)?,
                took: Duration::from_millis(u64::try_from(row.int(2)?).unwrap_or(0)),
                code: row.maybe_text(3)?.map(|it| code(&it)),
                reason: row.maybe_text(4)?,
                answer: row.maybe_text(5)?,
            });
        }
        Ok(attempts)
    }
}

/// A code as it is stored; one of another version is none of ours.
pub(super) fn code(text: &str) -> Code {
    text.parse().unwrap_or(Code::Failed)
}

impl Writing<'_> {
    /// Writes attempts at what has an end; what never ends has no story to keep.
    pub(super) async fn note_attempts(&mut self, attempts: Vec<FailedAttempt<'_>>) -> Result<(), StoreError> {
        static INSERT: Listed = Listed::values(
            "INSERT INTO attempts (key, attempt, at, took_ms, code, reason, answer)
             SELECT column1, column2, {fixed}, column3, column4, column5, column6 FROM (VALUES {rows}) AS v
             WHERE column1 IS NOT NULL",
            "(?, ?, ?, ?, ?, ?)",
        );
        static FORGET: Listed = Listed::values(
            "DELETE FROM attempts WHERE key IN ({rows}) AND id <= (SELECT last.id FROM attempts AS last
               WHERE last.key = attempts.key ORDER BY last.id DESC LIMIT 1 OFFSET {fixed})",
            "?",
        );
        let kept = |it: &FailedAttempt<'_>| KINDS.iter().any(|kind| it.key.starts_with(kind));
        let (mut rows, mut keys): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for it in attempts.into_iter().filter(kept) {
            keys.push(it.key.as_str().into());
            let took = i64::try_from(it.took.as_millis()).unwrap_or(i64::MAX);
            rows.extend([it.key.into(), it.attempt.into(), took.into()]);
            rows.extend([it.reason.attempt_code().as_str().into(), it.reason.text.as_str().into()]);
            rows.push(it.reason.answer.as_ref().map(|it| it.as_str()).into());
        }
        if keys.is_empty() {
            return Ok(());
        }
        self.tx.each(&INSERT, Some(self.now.into()), rows).await?;
        let kept = i64::try_from(KEPT).unwrap_or(i64::MAX);
        self.tx.each(&FORGET, Some(kept.into()), keys).await.map(drop)
    }
}
