//! Mailboxes by name and by number. A mailbox is made on first use; its number never changes, so it is remembered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Store;
use super::db::Db;
use super::error::StoreError;
use super::value::Row;
use super::writer::{Op, Writing};
use crate::model::address::Address;
use crate::model::work::MailboxId;

const NAME: &str = "SELECT tenant, address FROM mailboxes WHERE id = $1";

impl Store {
    /// The number of a mailbox, which is made on first use.
    pub(super) async fn number(&self, mailbox: &MailboxId) -> Result<i64, StoreError> {
        match self.names().number(mailbox) {
            Some(number) => Ok(number),
            None => {
                let number = self.ask(NewMailbox(mailbox.clone())).await?;
                self.names().keep(number, mailbox);
                Ok(number)
            }
        }
    }
}

/// The mailbox that the first two columns name.
pub(super) fn name(row: &Row) -> Result<MailboxId, StoreError> {
    let address =
        Address::parse(&row.text(1)?).map_err(|_| StoreError::Unreadable("a mailbox without an address".into()))?;
    Ok(MailboxId { tenant: row.text(0)?, address })
}

/// The numbers of mailboxes: they never change, so they are kept.
#[derive(Default)]
pub(super) struct Names(Mutex<Known>);

#[derive(Default)]
struct Known {
    numbers: HashMap<MailboxId, i64>,
    names: HashMap<i64, MailboxId>,
}

impl Names {
    /// The name of a mailbox by its number.
    pub(super) async fn named(&self, db: &Db, number: i64) -> Result<MailboxId, StoreError> {
        match self.mailbox(number) {
            Some(mailbox) => Ok(mailbox),
            None => self.learn(number, &db.rows(NAME, vec![number.into()]).await?),
        }
    }

    fn number(&self, mailbox: &MailboxId) -> Option<i64> {
        self.known().numbers.get(mailbox).copied()
    }

    fn mailbox(&self, number: i64) -> Option<MailboxId> {
        self.known().names.get(&number).cloned()
    }

    fn learn(&self, number: i64, rows: &[Row]) -> Result<MailboxId, StoreError> {
        let row = rows.first().ok_or_else(|| StoreError::Unreadable("a message without its mailbox".into()))?;
        let mailbox = name(row)?;
        self.keep(number, &mailbox);
        Ok(mailbox)
    }

    fn keep(&self, number: i64, mailbox: &MailboxId) {
        let mut known = self.known();
        known.numbers.insert(mailbox.clone(), number);
        known.names.insert(number, mailbox.clone());
    }

    // Two plain inserts cannot leave the maps broken, so a poisoned lock is taken as it is.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing<'_> {
    /// The name of a mailbox, which is committed or part of this transaction.
    pub(super) async fn named(&mut self, number: i64) -> Result<MailboxId, StoreError> {
        if let Some(mailbox) = self.names.mailbox(number) {
            return Ok(mailbox);
        }
        let rows = self.tx.rows(NAME, vec![number.into()]).await?;
        self.names.learn(number, &rows)
    }
}

/// A mailbox that may have to be made.
pub(super) struct NewMailbox(MailboxId);

impl Op for NewMailbox {
    type Answer = i64;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<i64>, StoreError> {
        const INSERT: &str = "INSERT INTO mailboxes (key, tenant, address, started_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (key) DO NOTHING";
        const SELECT: &str = "SELECT id FROM mailboxes WHERE key = $1";
        let mut numbers = Vec::with_capacity(all.len());
        for Self(mailbox) in all {
            let key = mailbox.to_string();
            let MailboxId { tenant, address } = mailbox;
            let values = vec![key.clone().into(), tenant.as_str().into(), address.as_str().into(), writing.now.into()];
            writing.tx.rows(INSERT, values).await?;
            let rows = writing.tx.rows(SELECT, vec![key.into()]).await?;
            let row = rows.first().ok_or_else(|| StoreError::Contended("a mailbox that two make at once".into()))?;
            numbers.push(row.int(0)?);
        }
        Ok(numbers)
    }
}
