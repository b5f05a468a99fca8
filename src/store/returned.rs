//! A report on delivery that is about a mail of ours and goes to no route: it ends as filtered, for it was handed over, to
//! whoever submitted the mail.

use super::Store;
use super::accept::MarkWhen;
use super::error::StoreError;
use super::submissions::Tie;
use super::value::Value;
use super::words::Mark;
use super::writer::{Op, Writing};
use crate::model::work::{Claim, Work};

impl Store {
    /// Notes what a report says with the submission it is about, and ends its Fetch job, in one transaction. Returns whether
    /// it is the first that tells of a failure. `None`: the lease was lost; nothing changed.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn returned(
        &self,
        claim: Claim,
        message: i64,
        tie: Tie,
        mark: MarkWhen,
    ) -> Result<Option<bool>, StoreError> {
        self.ask(Returning { claim, message, tie, mark }).await
    }
}

/// A report that goes to no route.
pub(super) struct Returning {
    claim: Claim,
    message: i64,
    tie: Tie,
    mark: MarkWhen,
}

impl Op for Returning {
    type Answer = Option<bool>;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Option<bool>>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            let is_held = !writing.end(&[op.claim]).await?.is_empty();
            answers.push(if is_held { Some(writing.returned(op).await?) } else { None });
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    async fn returned(&mut self, op: &Returning) -> Result<bool, StoreError> {
        const UPDATE: &str =
            "UPDATE messages SET state = 'filtered', state_reason = $2, finished_at = $3, kind = 'dsn',
               mark = CASE WHEN mark = 'done' THEN mark ELSE $4 END
             WHERE id = $1 AND state = 'found' RETURNING mailbox";
        let mark = if op.mark == MarkWhen::Never { Mark::Never } else { Mark::Due };
        let why = format!("bounce of submission {}", op.tie.id);
        let mut values: Vec<Value> = vec![op.message.into(), why.into(), self.now.into()];
        values.push(mark.as_str().into());
        let rows = self.tx.rows(UPDATE, values).await?;
        if let Some(row) = rows.first().filter(|_| mark == Mark::Due) {
            let mailbox = self.named(row.int(0)?).await?;
            self.due.add(Work::Mark { mailbox }.due(self.now));
        }
        self.came_back(&op.tie).await
    }
}
