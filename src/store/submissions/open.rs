//! What is still to be sent, counted by mailbox.

use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;
use crate::store::Store;
use crate::store::error::StoreError;

use super::unsigned;

/// The submissions of a mailbox that have not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSubmissions {
    /// The mailbox they leave from.
    pub mailbox: MailboxId,
    /// How many.
    pub count: u64,
    /// Since when the oldest could have left; `None`: each is for later.
    pub oldest_since: Option<UnixMillis>,
}

impl Store {
    /// What is still to be sent, of each mailbox that has any.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn open_submissions(&self, now: UnixMillis) -> Result<Vec<OpenSubmissions>, StoreError> {
        const SELECT: &str = "SELECT mailbox, COUNT(*),
               MIN(CASE WHEN send_at IS NULL THEN accepted_at WHEN send_at <= $1 THEN send_at END)
             FROM submissions WHERE state IN ('queued', 'sending') GROUP BY mailbox";
        let mut open = Vec::new();
        for row in self.db().rows(SELECT, vec![now.into()]).await? {
            open.push(OpenSubmissions {
                mailbox: self.names().named(self.db(), row.int(0)?).await?,
                count: unsigned(row.int(1)?),
                oldest_since: row.maybe_int(2)?,
            });
        }
        Ok(open)
    }
}
