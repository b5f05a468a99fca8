//! Accepting a mail as a program wrote it: understood, mended and parted, then it goes the way of every other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::accept::{LARGEST_DRAFT, ROOM_PATIENCE, Ready};
use super::senders::sender as sending;
use super::{Outbound, Refused};
use crate::mail::compose::{Limits, Outgoing, Problem, Raw, own_message_id, raw};
use crate::memory::{Held, WEIGHT};
use crate::model::address::Address;
use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;

/// A larger mail is understood beside the threads that answer.
const SMALL: usize = 256 << 10;

/// Message-IDs of mails that are being accepted. By a Message-ID a mail is found again after a lost answer, so no two may
/// have the same: of a mail that is handed in several times, for different people, the first keeps it.
#[derive(Debug, Clone, Default)]
pub struct OwnIds(Arc<Mutex<HashSet<String>>>);

/// A Message-ID nobody else may take until this is dropped.
pub(super) struct Claimed {
    ids: OwnIds,
    id: String,
}

impl OwnIds {
    /// `None`: another mail has it.
    fn claim(&self, id: String) -> Option<Claimed> {
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        is_free.then(|| Claimed { ids: self.clone(), id })
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.ids.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// What was handed in.
pub(super) struct Handed {
    pub(super) mail: Bytes,
    pub(super) sender: Option<Address>,
    pub(super) recipients: Option<Vec<Address>>,
}

impl Outbound {
    /// Makes a mail of the bytes.
    pub(super) async fn raw(
        &self,
        handed: Handed,
        answering: Option<&MailboxId>,
        (id, now): (&str, UnixMillis),
        mut problems: Vec<Problem>,
    ) -> Result<(Ready, Held), Refused> {
        let limit = self.max_message_size;
        let size = handed.mail.len() as u64;
        if size > limit {
            return Err(Refused::TooLarge { limit });
        }
        let weight = size.min(LARGEST_DRAFT) * WEIGHT + size;
        let room = tokio::time::timeout(ROOM_PATIENCE, self.memory.take(weight)).await.map_err(|_| Refused::Busy)?;
        let claimed = self.own_id(&handed.mail).await?;
        let limits = Limits { size: limit, ..Limits::default() };
        let (id, keeps_message_id) = (id.to_owned(), claimed.is_some());
        let made = move || made(&handed, &id, now, keeps_message_id, &limits);
        let made = match size <= SMALL as u64 {
            true => made(),
            // It ends without an answer only when the daemon does.
            false => tokio::task::spawn_blocking(made).await.map_err(|_| Refused::Busy)?,
        };
        let mail = match made {
            Ok(mail) if problems.is_empty() => mail,
            Ok(_) => return Err(Refused::Problems(problems)),
            Err(found) => {
                problems.extend(found);
                return Err(Refused::Problems(problems));
            }
        };
        let from = Address::parse(&mail.from.email).map_err(|_| Refused::NoSender)?;
        let mailbox = sending(&self.senders, &from, answering).ok_or(Refused::NoSender)?.mailbox.clone();
        let numbers = (0..).zip(&mail.files).map(|(n, _)| n).collect();
        Ok((Ready { mail, numbers, mailbox, stage: None, digests: Vec::new(), _claimed: claimed }, room))
    }

    /// The mail's own Message-ID, if it has one and no other mail does.
    async fn own_id(&self, mail: &[u8]) -> Result<Option<Claimed>, Refused> {
        let Some(claimed) = own_message_id(mail).and_then(|id| self.own_ids.claim(id)) else { return Ok(None) };
        let is_taken = self.store.submission_by_message_id(&claimed.id).await?.is_some();
        Ok((!is_taken).then_some(claimed))
    }
}

fn made(
    handed: &Handed,
    id: &str,
    date: UnixMillis,
    keeps_message_id: bool,
    limits: &Limits,
) -> Result<Outgoing, Vec<Problem>> {
    let (sender, recipients) = (handed.sender.as_ref(), handed.recipients.as_deref());
    raw(&Raw { mail: &handed.mail, sender, recipients, id, date, keeps_message_id }, limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_one_mails_until_it_is_stored() {
        let ids = OwnIds::default();
        let first = ids.claim("a@x".into());
        assert!(first.is_some() && ids.claim("a@x".into()).is_none() && ids.claim("b@x".into()).is_some());
        drop(first);
        assert!(ids.claim("a@x".into()).is_some());
    }
}
