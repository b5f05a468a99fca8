//! The conversation a mail of ours belongs to: by what its header names, and by the names that Exchange gives it.

use super::accept::Ready;
use super::{Outbound, Told};
use crate::mail::thread::{Ours, clues_of_ours, clues_of_sent};
use crate::model::address::Address;
use crate::model::thread::Clues;
use crate::model::work::MailboxId;
use crate::store::Submission;

impl Outbound {
    /// What connects a mail with others. Whoever says which conversation it answers in need not be guessed at.
    pub(super) fn clues(&self, ready: &Ready, id: &str, is_told: bool) -> Clues {
        let mail = &ready.mail;
        let named = |ids| if is_told { &[][..] } else { ids };
        let header = Ours {
            message_id: &mail.message_id,
            in_reply_to: named(&mail.in_reply_to),
            references: named(&mail.references),
        };
        clues_of_ours(&self.thread_names, &ready.mailbox.tenant, id, header)
    }

    /// What connects it once it was sent: an answer may name it as Exchange does, or come within Exchange's conversation.
    pub(super) fn clues_of_sent(&self, row: &Submission) -> Clues {
        let tenant = &row.mailbox.tenant;
        let told: Option<Told> = serde_json::from_str(&row.told).ok();
        let people = told.iter().flat_map(|it| it.to.iter().chain(&it.cc).chain(&it.bcc));
        let recipients: Vec<&str> = people.map(|it| it.email.as_str()).collect();
        let names = (row.sent_message_id.as_deref(), row.conversation_id.as_deref());
        let is_ours = |address: &str| {
            let mailbox = |address| MailboxId { tenant: tenant.clone(), address };
            Address::parse(address).is_ok_and(|it| self.graphs.contains_key(&mailbox(it)))
        };
        clues_of_sent(&self.thread_names, tenant, &row.id, names, &recipients, &is_ours)
    }
}
