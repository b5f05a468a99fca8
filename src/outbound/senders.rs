//! Which mailbox sends for an address: its own, or one that may send as it.

use crate::model::address::{Address, AddressPattern};
use crate::model::work::MailboxId;

/// A mailbox that sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Further addresses it sends for. Exchange must allow it, too.
    pub send_as: Vec<AddressPattern>,
}

impl Sender {
    fn is(&self, from: &Address) -> bool {
        self.mailbox.address == *from
    }

    fn may_send_as(&self, from: &Address) -> bool {
        self.send_as.iter().any(|it| it.matches(from))
    }
}

/// The mailbox that sends for this address: the one that answers, if it may; the one whose address it is; the first that
/// may send as it.
pub fn sender<'a>(senders: &'a [Sender], from: &Address, answering: Option<&MailboxId>) -> Option<&'a Sender> {
    let answers = senders.iter().find(|it| Some(&it.mailbox) == answering);
    answers
        .filter(|it| it.is(from) || it.may_send_as(from))
        .or_else(|| senders.iter().find(|it| it.is(from)))
        .or_else(|| senders.iter().find(|it| it.may_send_as(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MailboxId {
        let (tenant, address) = text.split_once('/').unwrap();
        MailboxId { tenant: tenant.into(), address: Address::parse(address).unwrap() }
    }

    #[test]
    fn an_address_is_sent_for_by_its_mailbox_or_by_one_that_may() {
        let sender_of = |mailbox: &str, send_as: &[&str]| Sender {
            mailbox: id(mailbox),
            send_as: send_as.iter().map(|it| AddressPattern::parse(it).unwrap()).collect(),
        };
        let senders = [
            sender_of("a/support@contoso.com", &["campaign@contoso.com", "*@news.contoso.com"]),
            sender_of("a/campaign@contoso.com", &[]),
            sender_of("a/sales@contoso.com", &["*@news.contoso.com", "team@contoso.com"]),
            sender_of("b/support@contoso.com", &[]),
        ];
        for (from, answering, expected) in [
            ("support@contoso.com", None, Some("a/support@contoso.com")),
            ("SUPPORT@contoso.com", None, Some("a/support@contoso.com")),
            ("support@contoso.com", Some("b/support@contoso.com"), Some("b/support@contoso.com")),
            ("support+7@contoso.com", None, None),
            ("campaign@contoso.com", None, Some("a/campaign@contoso.com")),
            ("campaign@contoso.com", Some("a/support@contoso.com"), Some("a/support@contoso.com")),
            ("campaign@contoso.com", Some("a/sales@contoso.com"), Some("a/campaign@contoso.com")),
            ("x@news.contoso.com", None, Some("a/support@contoso.com")),
            ("x@news.contoso.com", Some("a/sales@contoso.com"), Some("a/sales@contoso.com")),
            ("team@contoso.com", None, Some("a/sales@contoso.com")),
            ("news@contoso.com", None, None),
            ("support@contoso.com.evil.example", Some("a/support@contoso.com"), None),
        ] {
            let from = Address::parse(from).unwrap();
            let found = sender(&senders, &from, answering.map(id).as_ref()).map(|it| it.mailbox.clone());
            assert_eq!(found, expected.map(id), "{from} {answering:?}");
        }
    }
}
