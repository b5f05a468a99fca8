//! A folder: what lies in it, in order of time, and the log of its changes that delta reads.
//!
//! The log keeps one entry for each message that ever came in, so a round costs what has changed and no more.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// A message's place in time: when it was received, and its number.
pub(crate) type Place = (i64, u32);

/// The folders every mailbox has: well-known name, name shown.
pub(crate) const WELL_KNOWN: [(&str, &str); 10] = [
    ("inbox", "Inbox"),
    ("drafts", "Drafts"),
    ("sentitems", "Sent Items"),
    ("deleteditems", "Deleted Items"),
    ("archive", "Archive"),
    ("junkemail", "Junk Email"),
    ("outbox", "Outbox"),
    ("msgfolderroot", "Top of Information Store"),
    ("recoverableitemsdeletions", "Deletions"),
    ("recoverableitemspurges", "Purges"),
];

pub(crate) const DRAFTS: u32 = 1;
pub(crate) const SENT_ITEMS: u32 = 2;
pub(crate) const DELETED_ITEMS: u32 = 3;
pub(crate) const ROOT: u32 = 7;
pub(crate) const DELETIONS: u32 = 8;
/// What lies here is found by no client.
pub(crate) const PURGES: u32 = 9;

#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// The well-known name; empty for a folder somebody made.
    pub(crate) name: String,
    pub(crate) display: String,
    pub(crate) shelf: Shelf,
    pub(crate) log: Log,
}

/// Messages by time received, and the unread among them.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) all: BTreeSet<Place>,
    pub(crate) unread: BTreeSet<Place>,
}

impl Shelf {
    pub(crate) fn put(&mut self, place: Place, is_read: bool) {
        self.all.insert(place);
        self.mark(place, is_read);
    }

    pub(crate) fn take(&mut self, place: Place) {
        self.all.remove(&place);
        self.unread.remove(&place);
    }

    pub(crate) fn mark(&mut self, place: Place, is_read: bool) {
        if is_read {
            self.unread.remove(&place);
        } else {
            self.unread.insert(place);
        }
    }
}

/// The changes of a folder in order of their sequence numbers, at most one per message.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: BTreeMap<u64, Entry>,
    latest: HashMap<u32, u64>,
    /// Arrivals that have not reached every server yet: sequence number and when they will have.
    hidden: VecDeque<(u64, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    /// The move the message was at, for ids that change with it.
    pub(crate) incarnation: u32,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the folder since `entered`; `edited` is the last change that was more than a read flip.
    Present {
        entered: u64,
        edited: u64,
    },
    Gone {
        deleted: bool,
    },
}

/// What happened to a message in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    Entered,
    Edited,
    ReadFlipped,
    Left { deleted: bool },
}

impl Log {
    /// Notes what happened as change number `seq`, which must grow.
    pub(crate) fn note(&mut self, seq: u64, number: u32, incarnation: u32, happening: Happening) {
        let before = self.latest.insert(number, seq).and_then(|seq| self.entries.remove(&seq));
        let kind = match (happening, before.map(|entry| entry.kind)) {
            (Happening::Left { deleted }, _) => Kind::Gone { deleted },
            (Happening::Edited, Some(Kind::Present { entered, .. })) => Kind::Present { entered, edited: seq },
            (Happening::ReadFlipped, Some(Kind::Present { entered, edited })) => Kind::Present { entered, edited },
            _ => Kind::Present { entered: seq, edited: seq },
        };
        self.entries.insert(seq, Entry { number, incarnation, kind });
    }

    /// Forgets that a message left: it came back, and nobody is told of either.
    pub(crate) fn forget(&mut self, number: u32) {
        if let Some(seq) = self.latest.remove(&number) {
            self.entries.remove(&seq);
        }
    }

    /// Whether the message has been here before.
    pub(crate) fn knows(&self, number: u32) -> bool {
        self.latest.contains_key(&number)
    }

    pub(crate) fn hide(&mut self, seq: u64, until_ms: i64) {
        self.hidden.push_back((seq, until_ms));
    }

    /// The last change that may be shown now, `head` being the last there is.
    pub(crate) fn shown(&mut self, head: u64, now_ms: i64) -> u64 {
        while self.hidden.front().is_some_and(|(_, until)| *until <= now_ms) {
            self.hidden.pop_front();
        }
        self.hidden.front().map_or(head, |(seq, _)| seq.saturating_sub(1))
    }

    /// The changes after `from` up to and with `to`.
    pub(crate) fn between(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let range = (from < to).then(|| self.entries.range(from + 1..=to));
        range.into_iter().flatten().map(|(seq, entry)| (*seq, *entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(log: &Log) -> Vec<(u64, Entry)> {
        log.between(0, u64::MAX - 1).collect()
    }

    #[test]
    fn a_message_has_one_entry_and_it_is_the_last() {
        let mut log = Log::default();
        log.note(1, 7, 0, Happening::Entered);
        log.note(2, 8, 0, Happening::Entered);
        log.note(3, 7, 0, Happening::ReadFlipped);
        let kind = Kind::Present { entered: 1, edited: 1 };
        assert_eq!(all(&log).last(), Some(&(3, Entry { number: 7, incarnation: 0, kind })));
        assert_eq!(all(&log).len(), 2);

        log.note(4, 7, 0, Happening::Edited);
        log.note(5, 7, 0, Happening::ReadFlipped);
        assert_eq!(all(&log).last().map(|(_, e)| e.kind), Some(Kind::Present { entered: 1, edited: 4 }));

        log.note(6, 7, 0, Happening::Left { deleted: false });
        log.note(7, 7, 1, Happening::Entered);
        assert_eq!(all(&log).last().map(|(_, e)| e.kind), Some(Kind::Present { entered: 7, edited: 7 }));
    }

    #[test]
    fn what_is_hidden_holds_back_all_that_came_after() {
        let mut log = Log::default();
        log.note(4, 1, 0, Happening::Entered);
        log.hide(4, 1_000);
        assert_eq!(log.shown(9, 500), 3);
        assert_eq!(log.shown(9, 1_000), 9);
    }
}
