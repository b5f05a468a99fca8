//! The ledger: what was seen in a mailbox against what became of it, so that an imbalance shows.

use std::collections::BTreeMap;

use super::Store;
use super::error::StoreError;
use super::words::MessageState;
use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;

/// What became of the messages of one mailbox: each is counted under exactly one of the first five.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Seen, not stored yet.
    pub found: u64,
    /// Stored, not accepted by every destination yet.
    pub accepted: u64,
    /// Accepted by every destination.
    pub delivered: u64,
    /// No longer there when fetched.
    pub gone: u64,
    /// Wanted by no route.
    pub filtered: u64,
    /// Of those found, the ones whose fetch is parked.
    pub parked_fetches: u64,
    /// Of those accepted, the ones with a parked delivery.
    pub parked_deliveries: u64,
}

impl Ledger {
    /// All that were seen.
    pub fn seen(&self) -> u64 {
        self.found + self.accepted + self.delivered + self.gone + self.filtered
    }
}

impl Store {
    /// The ledger of one mailbox or of all, over the messages found since `since`.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn ledger(
        &self,
        mailbox: Option<&MailboxId>,
        since: Option<UnixMillis>,
    ) -> Result<Vec<Ledger>, StoreError> {
        const STATES: &str = "SELECT mailbox, state, COUNT(*) FROM messages
             WHERE ($1 IS NULL OR mailbox = $1) AND found_at >= $2 GROUP BY mailbox, state";
        const FETCHES: &str = "SELECT m.mailbox, COUNT(DISTINCT m.id) FROM jobs AS j
             JOIN messages AS m ON m.id = CAST(SUBSTR(j.key, 7) AS BIGINT)
             WHERE j.parked_at IS NOT NULL AND j.kind = 'fetch' AND m.state = 'found'
               AND ($1 IS NULL OR m.mailbox = $1) AND m.found_at >= $2
               AND NOT EXISTS (SELECT 1 FROM jobs AS living WHERE living.key = j.key AND living.parked_at IS NULL)
             GROUP BY m.mailbox";
        const DELIVERIES: &str = "SELECT m.mailbox, COUNT(DISTINCT m.id) FROM jobs AS j
             JOIN deliveries AS d ON d.interaction_id = SUBSTR(j.key, 9)
             JOIN messages AS m ON m.id = d.message
             WHERE j.parked_at IS NOT NULL AND j.kind = 'deliver' AND m.state = 'accepted' AND d.accepted_at IS NULL
               AND ($1 IS NULL OR m.mailbox = $1) AND m.found_at >= $2
               AND NOT EXISTS (SELECT 1 FROM jobs AS living WHERE living.key = j.key AND living.parked_at IS NULL)
             GROUP BY m.mailbox";
        let number = match mailbox {
            Some(mailbox) => Some(self.number(mailbox).await?),
            None => None,
        };
        let which = || vec![number.into(), since.unwrap_or(i64::MIN).into()];
        let mut ledgers: BTreeMap<i64, Ledger> = BTreeMap::new();
        for row in self.db().rows(STATES, which()).await? {
            let ledger = self.page(&mut ledgers, row.int(0)?).await?;
            let messages = row.int(2)?.unsigned_abs();
            match row.word(1)? {
                MessageState::Found => ledger.found = messages,
                MessageState::Accepted => ledger.accepted = messages,
                MessageState::Delivered => ledger.delivered = messages,
                MessageState::Gone => ledger.gone = messages,
                MessageState::Filtered => ledger.filtered = messages,
            }
        }
        for row in self.db().rows(FETCHES, which()).await? {
            self.page(&mut ledgers, row.int(0)?).await?.parked_fetches = row.int(1)?.unsigned_abs();
        }
        for row in self.db().rows(DELIVERIES, which()).await? {
            self.page(&mut ledgers, row.int(0)?).await?.parked_deliveries = row.int(1)?.unsigned_abs();
        }
        Ok(ledgers.into_values().collect())
    }

    async fn page<'a>(
        &self,
        ledgers: &'a mut BTreeMap<i64, Ledger>,
        number: i64,
    ) -> Result<&'a mut Ledger, StoreError> {
        let mailbox = self.names().named(self.db(), number).await?;
        Ok(ledgers.entry(number).or_insert_with(|| Ledger {
            mailbox,
            found: 0,
            accepted: 0,
            delivered: 0,
            gone: 0,
            filtered: 0,
            parked_fetches: 0,
            parked_deliveries: 0,
        }))
    }
}
