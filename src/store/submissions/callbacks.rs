//! Callbacks: what the submitter is told of a final state; the body is written once, and its job goes on until it is taken.

use crate::model::clock::UnixMillis;
use crate::model::work::{Claim, Work};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::value::{Row, Value};
use crate::store::writer::{Op, Writing};

/// A callback to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCallback {
    /// Its id, which is the same on every attempt; one that is known already is not made again.
    pub id: String,
    /// Its type, `submission.sent` and so on.
    pub kind: String,
    /// When what it tells happened.
    pub at: UnixMillis,
    /// The body, the same bytes on every attempt.
    pub body: String,
}

/// A callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Its id.
    pub id: String,
    /// The submission it tells of.
    pub number: i64,
    /// Its type.
    pub kind: String,
    /// When what it tells happened.
    pub at: UnixMillis,
    /// The body.
    pub body: String,
    /// When it was taken.
    pub accepted_at: Option<UnixMillis>,
}

impl Store {
    /// A callback by its id.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn callback(&self, id: &str) -> Result<Option<Callback>, StoreError> {
        const SELECT: &str = "SELECT id, number, kind, at, body, accepted_at FROM submission_callbacks WHERE id = $1";
        self.db().rows(SELECT, vec![id.into()]).await?.first().map(callback_of).transpose()
    }

    /// The callbacks of a submission, the first first.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn callbacks(&self, number: i64) -> Result<Vec<Callback>, StoreError> {
        const SELECT: &str = "SELECT id, number, kind, at, body, accepted_at FROM submission_callbacks
             WHERE number = $1 ORDER BY at, id";
        self.db().rows(SELECT, vec![number.into()]).await?.iter().map(callback_of).collect()
    }

    /// A callback was taken: ends its job. `false`: the lease was lost; nothing changed.
    ///
    /// # Errors
    /// Nothing changed; it will be made again with the same id.
    pub async fn callback_accepted(&self, claim: Claim, id: &str) -> Result<bool, StoreError> {
        self.ask(CalledBack { claim, id: id.to_owned() }).await
    }
}

fn callback_of(row: &Row) -> Result<Callback, StoreError> {
    Ok(Callback {
        id: row.text(0)?,
        number: row.int(1)?,
        kind: row.text(2)?,
        at: row.int(3)?,
        body: row.text(4)?,
        accepted_at: row.maybe_int(5)?,
    })
}

/// A callback that was taken.
pub(in crate::store) struct CalledBack {
    claim: Claim,
    id: String,
}

impl Op for CalledBack {
    type Answer = bool;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<bool>, StoreError> {
        const UPDATE: &str = "UPDATE submission_callbacks SET accepted_at = $2 WHERE id = $1 AND accepted_at IS NULL";
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            let is_held = !writing.end(&[op.claim]).await?.is_empty();
            if is_held {
                writing.tx.rows(UPDATE, vec![op.id.as_str().into(), writing.now.into()]).await?;
            }
            answers.push(is_held);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    /// Stores a callback and makes it due, once.
    pub(super) async fn add_callback(&mut self, number: i64, it: &NewCallback) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO submission_callbacks (id, number, kind, at, body) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO NOTHING RETURNING 1";
        let mut values: Vec<Value> = vec![it.id.as_str().into(), number.into(), it.kind.as_str().into()];
        values.extend([it.at.into(), it.body.as_str().into()]);
        if !self.tx.rows(INSERT, values).await?.is_empty() {
            self.due.add(Work::Callback { callback: it.id.clone() }.due(self.now));
        }
        Ok(())
    }
}
