//! Ids that notifications named, kept until a look shows them: so many and no more, and only of mailboxes that are read
//! here, for nobody else takes them.

use std::collections::{HashMap, HashSet};

use crate::model::work::MailboxId;

/// Ids remembered per mailbox, and of all. Beyond them the look alone must do, which it does.
const IDS_PER_MAILBOX: usize = 4096;
const IDS: usize = 65_536;

/// The hinted ids of each mailbox, with the number of looks that did not find them yet.
#[derive(Debug, Default)]
pub(super) struct Hinted {
    read: HashSet<MailboxId>,
    ids: HashMap<MailboxId, HashMap<String, u32>>,
    /// How many they are.
    count: usize,
}

impl Hinted {
    /// These mailboxes are read here, and ids of no others are kept.
    pub(super) fn read_here(&mut self, mailboxes: HashSet<MailboxId>) {
        self.ids.retain(|mailbox, _| mailboxes.contains(mailbox));
        self.count = self.ids.values().map(HashMap::len).sum();
        self.read = mailboxes;
    }

    /// A notification named this id.
    pub(super) fn add(&mut self, mailbox: &MailboxId, id: &str) {
        if self.count >= IDS || !self.read.contains(mailbox) {
            return;
        }
        let ids = self.ids.entry(mailbox.clone()).or_default();
        if ids.len() < IDS_PER_MAILBOX && ids.insert(id.to_owned(), 0).is_none() {
            self.count += 1;
        }
    }

    /// All of this mailbox.
    pub(super) fn take(&mut self, mailbox: &MailboxId) -> HashMap<String, u32> {
        let taken = self.ids.remove(mailbox).unwrap_or_default();
        self.count = self.count.saturating_sub(taken.len());
        taken
    }

    /// Ids that a look did not find.
    pub(super) fn put_back(&mut self, mailbox: &MailboxId, ids: HashMap<String, u32>) {
        if !self.read.contains(mailbox) {
            return;
        }
        let known = self.ids.entry(mailbox.clone()).or_default();
        let before = known.len();
        for (id, looks) in ids {
            let entry = known.entry(id).or_default();
            *entry = looks.max(*entry);
        }
        self.count += known.len() - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::Address;

    fn mailbox(name: &str) -> MailboxId {
        MailboxId { tenant: "contoso".into(), address: Address::parse(&format!("{name}@contoso.com")).unwrap() }
    }

    fn reading(names: &[&str]) -> HashSet<MailboxId> {
        names.iter().map(|it| mailbox(it)).collect()
    }

    #[test]
    fn mailboxes_that_are_read_no_longer_take_no_room_from_the_others() {
        let (mut hinted, names) = (Hinted::default(), ["a", "b", "c", "d", "e", "f", "g", "h"]);
        let boxes: Vec<String> = (0..2).flat_map(|n| names.map(|it| format!("{it}{n}"))).collect();
        let boxes: Vec<&str> = boxes.iter().map(String::as_str).collect();
        hinted.read_here(reading(&boxes));
        for name in &boxes {
            (0..IDS_PER_MAILBOX).for_each(|n| hinted.add(&mailbox(name), &n.to_string()));
        }
        assert_eq!(hinted.count, IDS);
        hinted.read_here(reading(&["support"]));
        assert_eq!(hinted.count, 0);
        hinted.add(&mailbox("support"), "one");
        // A look at a mailbox that was removed meanwhile ends late, and notifications of it still come.
        hinted.put_back(&mailbox("a0"), HashMap::from([("two".to_owned(), 1)]));
        hinted.add(&mailbox("a0"), "three");
        assert_eq!(
            (hinted.count, hinted.take(&mailbox("a0")).len(), hinted.take(&mailbox("support")).len()),
            (1, 0, 1)
        );
        assert_eq!(hinted.count, 0);
    }

    #[test]
    fn what_is_put_back_keeps_its_looks_and_is_counted_once() {
        let mut hinted = Hinted::default();
        hinted.read_here(reading(&["support"]));
        hinted.add(&mailbox("support"), "one");
        let taken: HashMap<String, u32> = hinted.take(&mailbox("support")).into_keys().map(|id| (id, 2)).collect();
        hinted.add(&mailbox("support"), "one");
        hinted.put_back(&mailbox("support"), taken);
        assert_eq!(hinted.count, 1);
        assert_eq!(hinted.take(&mailbox("support")), HashMap::from([("one".to_owned(), 2)]));
    }
}
