//! The mail an answer belongs to: what was kept of it for that, or the mail itself while it is stored.

use super::linked::Unlinked;
use super::{Delivery, Facts};
use crate::mail::compose::Answering;
use crate::model::address::Address;
use crate::model::outcome::Failure;
use crate::store::Message;

/// A mail that can be answered.
#[derive(Debug)]
pub struct Answerable {
    /// The message.
    pub message: Message,
    /// What an answer is made of.
    pub answering: Answering,
    /// The address by which its route found it.
    pub matched_recipient: Option<Address>,
}

impl Delivery {
    /// The mail of this interaction, as far as an answer needs it.
    ///
    /// # Errors
    /// It is not known, not any more, or not just now.
    pub async fn answered(&self, interaction: &str) -> Result<Answerable, Unlinked> {
        let row = self.store.delivery(interaction).await?.ok_or(Unlinked::Unknown)?;
        let matched_recipient = Facts::read(&row.facts)?.matched_recipient;
        let answering = match self.store.answering(row.message.id).await? {
            Some(stored) => Answering::read(&stored).map_err(Failure::permanent)?,
            // Accepted by a version that kept nothing for answers.
            None if row.message.content_dropped_at.is_some() => return Err(Unlinked::Gone),
            None => {
                let _room = self.room(&row).await?;
                let mail = self.content.of(&self.store, &row.message).await?;
                Answering::of(&mail.mail, &mail.classification)
            }
        };
        Ok(Answerable { message: row.message, answering, matched_recipient })
    }
}
