//! What the last audit of a mailbox found, kept with the mailbox: a restart does not hide it.

use super::Store;
use super::error::StoreError;
use super::value::Row;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audited {
    /// When it looked.
    pub at: UnixMillis,
    /// How many messages it could not account for.
    pub unaccounted: u64,
}

impl Audited {
    /// As two columns hold it, the first of which is this one. `None`: it was never audited.
    pub(super) fn of(row: &Row, column: usize) -> Result<Option<Self>, StoreError> {
        let both = row.maybe_int(column)?.zip(row.maybe_int(column + 1)?);
        Ok(both.map(|(at, unaccounted)| Self { at, unaccounted: unaccounted.unsigned_abs() }))
    }
}

impl Store {
    /// An audit of a mailbox came to its end.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn audited(&self, mailbox: &MailboxId, audited: Audited) -> Result<(), StoreError> {
        let number = self.number(mailbox).await?;
        self.ask(KeepAudit { number, audited }).await
    }
}

/// A result to be kept.
pub(super) struct KeepAudit {
    number: i64,
    audited: Audited,
}

impl Op for KeepAudit {
    type Answer = ();

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<()>, StoreError> {
        const UPDATE: &str = "UPDATE mailboxes SET audited_at = $1, unaccounted = $2 WHERE id = $3";
        for Self { number, audited } in all {
            let unaccounted = i64::try_from(audited.unaccounted).unwrap_or(i64::MAX);
            writing.tx.rows(UPDATE, vec![audited.at.into(), unaccounted.into(), (*number).into()]).await?;
        }
        Ok(vec![(); all.len()])
    }
}
