//! Callbacks: what the submitter is told of a final state; written with the state, and its job goes on until it is taken.

use std::time::Duration;

use super::bounces::BOUNCES;
use crate::model::bounce::{Bounce, BounceAction};
use crate::model::callback::{Event, Told};
use crate::model::clock::UnixMillis;
use crate::model::submission::Origin;
use crate::model::work::{Claim, Work};
use crate::store::Store;
use crate::store::attempts::code;
use crate::store::error::StoreError;
use crate::store::value::{Row, Value};
use crate::store::writer::{Op, Writing};

/// A callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Its id, the same on every attempt.
    pub id: String,
    /// The store's number of the submission it tells of.
    pub number: i64,
    /// Its type, `submission.sent` and so on.
    pub kind: String,
    /// When what it tells happened.
    pub at: UnixMillis,
    /// The body, the same bytes on every attempt.
    pub body: String,
    /// When it was taken.
    pub accepted_at: Option<UnixMillis>,
    /// When a person decided that nobody needs it.
    pub discarded_at: Option<UnixMillis>,
}

impl Store {
    /// A callback by its id.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn callback(&self, id: &str) -> Result<Option<Callback>, StoreError> {
        const SELECT: &str = "SELECT id, number, kind, at, body, accepted_at, discarded_at FROM submission_callbacks
             WHERE id = $1";
        self.db().rows(SELECT, vec![id.into()]).await?.first().map(callback_of).transpose()
    }

    /// The callbacks of a submission, the first first.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn callbacks(&self, number: i64) -> Result<Vec<Callback>, StoreError> {
        const SELECT: &str = "SELECT id, number, kind, at, body, accepted_at, discarded_at FROM submission_callbacks
             WHERE number = $1 ORDER BY at, id";
        self.db().rows(SELECT, vec![number.into()]).await?.iter().map(callback_of).collect()
    }

    /// A callback was taken at this attempt, in this time: ends its job. `false`: the lease was lost; nothing changed.
    ///
    /// # Errors
    /// Nothing changed; it will be made again with the same id.
    pub async fn called_back(&self, claim: Claim, id: &str, made: (u32, Duration)) -> Result<bool, StoreError> {
        self.ask(CalledBack { claim, id: id.to_owned(), made }).await
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
        discarded_at: row.maybe_int(6)?,
    })
}

/// A callback that was taken.
pub(in crate::store) struct CalledBack {
    claim: Claim,
    id: String,
    made: (u32, Duration),
}

impl Op for CalledBack {
    type Answer = bool;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<bool>, StoreError> {
        const UPDATE: &str = "UPDATE submission_callbacks SET accepted_at = $2, attempt = $3, took_ms = $4
             WHERE id = $1 AND accepted_at IS NULL";
        let mut answers = Vec::with_capacity(all.len());
        for Self { claim, id, made: (attempt, took) } in all {
            let is_held = !writing.end(&[*claim]).await?.is_empty();
            if is_held {
                let took = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
                let mut values: Vec<Value> = vec![id.as_str().into(), writing.now.into()];
                values.extend([i64::from(*attempt).into(), took.into()]);
                writing.tx.rows(UPDATE, values).await?;
            }
            answers.push(is_held);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    /// Tells whoever submitted this mail of the state it has reached, if it is one to be told of and somebody asked to be.
    /// Called again for the same state it changes nothing.
    pub(super) async fn call_back(&mut self, number: i64) -> Result<(), StoreError> {
        const SELECT: &str = "SELECT id, state, origin, accepted_at, send_at, sent_at, told, subject, message_id,
               sent_message_id, thread, code, reason FROM submissions WHERE number = $1 AND calls_back = 1";
        const INSERT: &str = "INSERT INTO submission_callbacks (id, number, kind, at, body) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO NOTHING RETURNING 1";
        let rows = self.tx.rows(SELECT, vec![number.into()]).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let bounces = self.tx.rows(BOUNCES, vec![number.into()]).await?;
        let event = Event::of(told(row, &bounces)?, self.now);
        let Some(event) = event.map_err(|error| StoreError::Refused(error.to_string()))? else { return Ok(()) };
        let mut values: Vec<Value> = vec![event.id.as_str().into(), number.into(), event.kind.as_str().into()];
        values.extend([self.now.into(), event.body.into()]);
        if !self.tx.rows(INSERT, values).await?.is_empty() {
            self.due.add(Work::Callback { callback: event.id }.due(self.now));
        }
        Ok(())
    }
}

fn told(row: &Row, bounces: &[Row]) -> Result<Told, StoreError> {
    let origin: Result<Origin, ()> = row.text(2)?.parse();
    let why = row.maybe_text(11)?.zip(row.maybe_text(12)?);
    Ok(Told {
        id: row.text(0)?,
        state: super::read::state(&row.text(1)?)?,
        origin: origin.map_err(|()| StoreError::Unreadable("an unknown door".into()))?,
        accepted_at: row.int(3)?,
        send_at: row.maybe_int(4)?,
        sent_at: row.maybe_int(5)?,
        shown: row.text(6)?,
        subject: row.text(7)?,
        message_id: row.text(8)?,
        sent_message_id: row.maybe_text(9)?,
        thread: row.maybe_text(10)?,
        reason: why.map(|(word, detail)| (code(&word), detail)),
        bounces: bounces.iter().map(bounce).collect::<Result<_, _>>()?,
    })
}

fn bounce(row: &Row) -> Result<(Bounce, UnixMillis), StoreError> {
    let action = BounceAction::parse(&row.text(1)?);
    let bounce = Bounce {
        recipient: Some(row.text(0)?).filter(|it| !it.is_empty()),
        action: action.ok_or_else(|| StoreError::Unreadable("an unknown end of a mail".into()))?,
        status: row.maybe_text(2)?,
        diagnostic: row.maybe_text(3)?,
    };
    Ok((bounce, row.int(4)?))
}
