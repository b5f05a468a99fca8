//! The ledger of what leaves: of the mails a mailbox took over since some time, how many are where.

use std::collections::BTreeMap;

use crate::model::clock::UnixMillis;
use crate::model::submission::SubmissionState;
use crate::model::work::MailboxId;
use crate::store::Store;
use crate::store::error::StoreError;

/// The mails of one mailbox, by where they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// How many stand so.
    pub states: BTreeMap<&'static str, u64>,
    /// Of those that are not over: how many no job drives on.
    pub in_the_dark: u64,
}

impl Store {
    /// The ledger of each mailbox that took mail over since `since`.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn ledgers(&self, since: UnixMillis) -> Result<BTreeMap<MailboxId, Ledger>, StoreError> {
        const SELECT: &str = "SELECT s.mailbox, s.state, COUNT(*),
               SUM(CASE WHEN s.state IN ('queued', 'sending')
                 AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.key = 'send:' || s.number AND j.parked_at IS NULL)
                 AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.key = 'send:' || s.number AND j.parked_at IS NOT NULL)
               THEN 1 ELSE 0 END)
             FROM submissions AS s WHERE s.accepted_at >= $1 GROUP BY s.mailbox, s.state";
        let mut ledgers: BTreeMap<MailboxId, Ledger> = BTreeMap::new();
        for row in self.db().rows(SELECT, vec![since.into()]).await? {
            let mailbox = self.names().named(self.db(), row.int(0)?).await?;
            let state: SubmissionState = super::read::state(&row.text(1)?)?;
            let ledger = ledgers.entry(mailbox).or_default();
            *ledger.states.entry(state.as_str()).or_default() += row.int(2)?.unsigned_abs();
            ledger.in_the_dark += row.int(3)?.unsigned_abs();
        }
        Ok(ledgers)
    }
}
