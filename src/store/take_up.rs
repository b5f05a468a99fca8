//! Taking up: messages that nobody drives on get their jobs again, as an audit finds them to be in the dark or short.
//!
//! What is driven, or waits for a person, is left as it is; so doing it twice changes nothing.

use super::Store;
use super::error::StoreError;
use super::value::Value;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::work::{MailboxId, Work};

/// The most messages and deliveries that are taken up at once.
const AT_ONCE: i64 = 10_000;

impl Store {
    /// Makes due whatever the unfinished messages of a mailbox lack, of those received since `since`: a fetch, a delivery;
    /// a message that lost a delivery is fetched again, which makes the delivery anew and repeats no other. Returns how
    /// many jobs were made.
    ///
    /// # Errors
    /// Nothing was made due.
    pub async fn take_up(&self, mailbox: &MailboxId, since: UnixMillis) -> Result<u64, StoreError> {
        let number = self.number(mailbox).await?;
        self.ask(TakeUp { mailbox: mailbox.clone(), number, since }).await
    }
}

/// What is to be taken up.
pub(super) struct TakeUp {
    mailbox: MailboxId,
    number: i64,
    since: UnixMillis,
}

impl Op for TakeUp {
    type Answer = u64;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<u64>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            writing.find_again(op).await?;
            answers.push(writing.fetch(op).await? + writing.deliver(op).await?);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    /// What lost a delivery counts as found once more, and is fetched like everything else that is found.
    async fn find_again(&mut self, op: &TakeUp) -> Result<(), StoreError> {
        const UPDATE: &str = "UPDATE messages SET state = 'found', finished_at = NULL WHERE id IN (
             SELECT m.id FROM messages AS m
             WHERE m.mailbox = $1 AND COALESCE(m.received_at, m.found_at) >= $2
               AND m.state IN ('accepted', 'delivered') AND m.tidied_at IS NULL
               AND (SELECT COUNT(*) FROM deliveries AS d WHERE d.message = m.id) < COALESCE(m.fan_out, 1)
             ORDER BY m.id LIMIT $3)";
        self.tx.rows(UPDATE, op.values()).await.map(drop)
    }

    async fn fetch(&mut self, op: &TakeUp) -> Result<u64, StoreError> {
        const SELECT: &str = "SELECT m.id FROM messages AS m
             WHERE m.mailbox = $1 AND COALESCE(m.received_at, m.found_at) >= $2 AND m.state = 'found'
               AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.key = 'fetch:' || m.id AND j.parked_at IS NULL)
               AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.key = 'fetch:' || m.id AND j.parked_at IS NOT NULL)
             ORDER BY m.id LIMIT $3";
        let rows = self.tx.rows(SELECT, op.values()).await?;
        for row in &rows {
            let fetch = Work::Fetch { mailbox: op.mailbox.clone(), message: row.int(0)? };
            self.due.add(fetch.due(self.now));
        }
        Ok(rows.len() as u64)
    }

    async fn deliver(&mut self, op: &TakeUp) -> Result<u64, StoreError> {
        const SELECT: &str = "SELECT d.route, d.interaction_id FROM messages AS m
             JOIN deliveries AS d ON d.message = m.id AND d.accepted_at IS NULL AND d.discarded_at IS NULL
             WHERE m.mailbox = $1 AND COALESCE(m.received_at, m.found_at) >= $2
               AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.key = 'deliver:' || d.interaction_id AND j.parked_at IS NULL)
               AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.key = 'deliver:' || d.interaction_id AND j.parked_at IS NOT NULL)
             ORDER BY m.id, d.route LIMIT $3";
        let rows = self.tx.rows(SELECT, op.values()).await?;
        for row in &rows {
            self.due.add(Work::Deliver { route: row.text(0)?, interaction: row.text(1)? }.due(self.now));
        }
        Ok(rows.len() as u64)
    }
}

impl TakeUp {
    fn values(&self) -> Vec<Value> {
        vec![self.number.into(), self.since.into(), AT_ONCE.into()]
    }
}
