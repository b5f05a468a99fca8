//! What a person wants of a mailbox: that nothing is done in it, or that it is swept from some time on.

use super::Store;
use super::error::StoreError;
use super::mailboxes::What;
use super::names::name;
use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;

impl Store {
    /// A person wants it swept from this received time on: the next sweep begins there.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn sweep_since(&self, mailbox: &MailboxId, since: UnixMillis) -> Result<(), StoreError> {
        self.change(mailbox, What::SweepSince(since)).await
    }

    /// Nothing is to be done in it from now on, as `who` wants it; `None`: it is worked in again. What was paused before
    /// keeps its time and its name.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn pause(&self, mailbox: &MailboxId, who: Option<&str>) -> Result<(), StoreError> {
        self.change(mailbox, What::Paused(who.map(str::to_owned))).await
    }

    /// The mailboxes that are paused.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn paused_mailboxes(&self) -> Result<Vec<MailboxId>, StoreError> {
        const SELECT: &str = "SELECT tenant, address FROM mailboxes WHERE paused_at IS NOT NULL";
        self.db().rows(SELECT, vec![]).await?.iter().map(name).collect()
    }
}
