//! What has left the tenant, and who may send as whom.
//!
//! A mail counts once for each time it was sent; nothing here is ever forgotten.

use std::{collections::HashSet, sync::Mutex};

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    clock::held,
    envelope::{Envelope, Person},
    ids::{MessageId, Named},
    tenant::Tenant,
    world::{Mailbox, World},
};

/// A mail that left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMail {
    /// The message in Sent Items; none if it was not kept.
    pub id: Option<MessageId>,
    /// The mailbox it was sent from.
    pub mailbox: String,
    /// Whom it says it is from.
    pub from: String,
    /// Everybody it went to, those of Bcc at the end.
    pub recipients: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// Its Message-ID, with its angle brackets.
    pub internet_message_id: String,
    /// The bytes that left.
    pub mime: Bytes,
    /// When it left.
    pub at: Timestamp,
}

/// The mails that left, and the addresses that mailboxes may send as.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    mails: Mutex<Vec<SentMail>>,
    grants: Mutex<HashSet<(u32, String)>>,
}

impl Departures {
    /// Whether an address is one that some mailbox may send as, and so one that exists.
    pub(crate) fn is_alias(&self, address: &str) -> bool {
        held(&self.grants).iter().any(|(_, alias)| alias.eq_ignore_ascii_case(address))
    }

    pub(crate) fn may_send_as(&self, mailbox: u32, address: &str) -> bool {
        held(&self.grants).contains(&(mailbox, address.to_lowercase()))
    }
}

impl World {
    pub(crate) fn note_sent(
        &self,
        mailbox: &Mailbox,
        number: Option<u32>,
        envelope: &Envelope,
        bcc: &[Person],
        mime: Bytes,
    ) {
        let id = |number| MessageId(Named::Immutable { mailbox: mailbox.number, number }.write(self.seed));
        let from = envelope.from.as_ref().map_or(mailbox.address.as_str(), |it| it.address.as_str());
        let recipients = envelope.to.iter().chain(&envelope.cc).chain(bcc);
        held(&self.sent.mails).push(SentMail {
            id: number.map(id),
            mailbox: mailbox.address.clone(),
            from: from.to_owned(),
            recipients: recipients.map(|it| it.address.clone()).collect(),
            subject: envelope.subject.clone(),
            internet_message_id: envelope.message_id.clone(),
            mime,
            at: self.clock.now(),
        });
    }
}

impl Tenant {
    /// Every mail that left, in the order they left.
    pub fn sent(&self) -> Vec<SentMail> {
        held(&self.world.sent.mails).clone()
    }

    /// How many mails left.
    pub fn sent_count(&self) -> usize {
        held(&self.world.sent.mails).len()
    }

    /// Lets a mailbox send as another address.
    pub fn grant_send_as(&self, mailbox: &str, address: &str) {
        let mailbox = self.world.add_mailbox(mailbox);
        held(&self.world.sent.grants).insert((mailbox.number, address.to_lowercase()));
    }
}
