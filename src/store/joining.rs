//! Which conversation a mail joins, decided over what was read of the store; the answer is written with the mail.
//!
//! In-Reply-To, then References from the last, then a token, then Exchange's conversation for somebody who took part in it.
//! Conversations that a mail shows to be one become one, under the older id.

use std::collections::BTreeMap;

use crate::model::clock::UnixMillis;
use crate::model::thread::{Basis, Clues, Joined, ThreadKey};

/// How fresh the time is at which something was last seen: writing it for every mail would be a write for nothing.
const FRESH_MS: i64 = 24 * 3600 * 1000;

/// Whether a row has to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    Unchanged,
    Changed,
    New,
}

/// Something that belongs to a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) thread: String,
    /// How a mail named it, which is how it is recognised when it comes.
    pub(super) basis: Basis,
    /// The mail that has this id, as [`Clues::carrier`] tells it; `None` while others only name it.
    pub(super) carried_by: Option<String>,
    pub(super) seen_at: UnixMillis,
    pub(super) row: Row,
}

/// A conversation. The last interaction of each route is kept with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) tenant: String,
    pub(super) created_at: UnixMillis,
    pub(super) merged_into: Option<String>,
    pub(super) last: BTreeMap<String, (String, UnixMillis)>,
    pub(super) row: Row,
}

/// What is known about the conversations of a group of mails. Sorted, so that two replicas take rows in the same order.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) now: UnixMillis,
    pub(super) keys: BTreeMap<ThreadKey, Key>,
    pub(super) threads: BTreeMap<String, Thread>,
}

impl Known {
    /// Puts a mail into its conversation.
    pub(super) fn join(&mut self, tenant: &str, clues: &Clues) -> Joined {
        let joined = self.place(tenant, clues);
        self.remember(&joined.thread, clues);
        joined
    }

    /// Puts a mail of ours into this conversation, if it is one of the tenant, together with all that its header names; else
    /// where its header belongs. Nobody is told of it by an interaction, so it is nobody's last one.
    pub(super) fn join_ours(&mut self, tenant: &str, clues: &Clues, into: Option<&str>) -> String {
        // What was tidied away begins anew under its old id.
        if let Some(forgotten) = into.filter(|it| !self.threads.contains_key(*it)) {
            self.begin_as(tenant, forgotten);
        }
        let into = into.filter(|it| self.is_living(tenant, it)).map(|it| self.resolved(it));
        let thread = match into {
            Some(into) => {
                let named = self.named(clues).into_iter().map(|(thread, _)| thread);
                let all: Vec<String> = std::iter::once(into).chain(named).collect();
                self.merge(all.into_iter())
            }
            None => self.place(tenant, clues).thread,
        };
        self.remember(&thread, clues);
        thread
    }

    /// Whether the id this mail carries came with the same mail before: a copy, here or in another mailbox.
    pub(super) fn may_be_copy(&self, clues: &Clues) -> bool {
        match clues.own.and_then(|it| self.keys.get(&it)) {
            Some(own) => own.carried_by.as_deref() == Some(&clues.carrier),
            None => clues.own.is_none() && self.threads.contains_key(&clues.fresh),
        }
    }

    /// The last interaction of a conversation and route.
    pub(super) fn previous(&self, thread: &str, route: &str) -> Option<&str> {
        self.threads.get(&self.resolved(thread))?.last.get(route).map(|(interaction, _)| interaction.as_str())
    }

    /// This interaction is the last of its conversation and route now.
    pub(super) fn handed_out(&mut self, thread: &str, route: &str, interaction: &str) {
        let (thread, now) = (self.resolved(thread), self.now);
        if let Some(thread) = self.threads.get_mut(&thread) {
            thread.last.insert(route.to_owned(), (interaction.to_owned(), now));
            thread.touch();
        }
    }

    fn place(&mut self, tenant: &str, clues: &Clues) -> Joined {
        let named = self.named(clues);
        if let Some((_, basis)) = named.first() {
            let basis = *basis;
            return Joined { thread: self.merge(named.into_iter().map(|(thread, _)| thread)), is_new: false, basis };
        }
        let token = clues.tokens.iter().filter(|it| self.is_living(tenant, it)).map(|it| (it.clone(), Basis::Token));
        let parts = clues.answering.iter().filter_map(|it| self.keys.get(it));
        let parts = parts.map(|it| (it.thread.clone(), Basis::ConversationId));
        if let Some((thread, basis)) = token.chain(parts).next() {
            return Joined { thread: self.resolved(&thread), is_new: false, basis };
        }
        self.begin(tenant, clues)
    }

    /// The conversations its header names, the strongest first.
    fn named(&self, clues: &Clues) -> Vec<(String, Basis)> {
        let known = |basis| move |key: &ThreadKey| self.keys.get(key).map(|it| (self.resolved(&it.thread), basis));
        let mut named: Vec<_> = clues.in_reply_to.iter().filter_map(known(Basis::InReplyTo)).collect();
        named.extend(clues.references.iter().filter_map(known(Basis::References)));
        let own = clues.own.and_then(|it| self.keys.get(&it));
        // An id that came with another mail is one its sender uses for everything; it connects nothing.
        let own = own.filter(|it| it.carried_by.as_deref().is_none_or(|by| by == clues.carrier));
        named.extend(
            own.map(|it| (self.resolved(&it.thread), if it.carried_by.is_some() { Basis::None } else { it.basis })),
        );
        named
    }

    /// The one of these that is oldest; the others become part of it.
    fn merge(&mut self, threads: impl Iterator<Item = String>) -> String {
        let mut all: Vec<String> = threads.collect();
        all.sort_by_key(|it| (self.threads.get(it).map_or(UnixMillis::MAX, |thread| thread.created_at), it.clone()));
        all.dedup();
        let mut all = all.into_iter();
        let oldest = all.next().unwrap_or_default();
        for younger in all {
            let Some(thread) = self.threads.get_mut(&younger) else { continue };
            thread.merged_into = Some(oldest.clone());
            thread.touch();
            let last = std::mem::take(&mut thread.last);
            let Some(older) = self.threads.get_mut(&oldest) else { continue };
            older.touch();
            for (route, (interaction, at)) in last {
                let known = older.last.get(&route).map(|(_, at)| *at);
                if known.is_none_or(|known| known < at) {
                    older.last.insert(route, (interaction, at));
                }
            }
        }
        oldest
    }

    fn begin(&mut self, tenant: &str, clues: &Clues) -> Joined {
        if !self.threads.contains_key(&clues.fresh) {
            return self.begin_as(tenant, &clues.fresh);
        }
        if clues.root != Basis::None {
            return Joined { thread: self.resolved(&clues.fresh), is_new: false, basis: clues.root };
        }
        // Its own id began another mail's conversation.
        self.begin_as(tenant, &clues.alone)
    }

    fn begin_as(&mut self, tenant: &str, id: &str) -> Joined {
        let is_new = !self.threads.contains_key(id);
        if is_new {
            self.threads.insert(id.to_owned(), Thread::new(tenant, self.now));
        }
        Joined { thread: self.resolved(id), is_new, basis: Basis::None }
    }

    /// Writes down what belongs to the conversation from now on.
    fn remember(&mut self, thread: &str, clues: &Clues) {
        if let Some(kept) = self.threads.get_mut(thread) {
            kept.touch();
        }
        if let Some(own) = clues.own {
            let is_others = |key: &Key| key.carried_by.as_deref().is_some_and(|by| by != clues.carrier);
            if !self.keys.get(&own).is_some_and(is_others) {
                self.keep(own, thread, Basis::None, Some(&clues.carrier));
            }
        }
        for (keys, basis) in [
            (&clues.in_reply_to, Basis::InReplyTo),
            (&clues.references, Basis::References),
            (&clues.present, Basis::ConversationId),
        ] {
            for key in keys {
                self.keep(*key, thread, basis, None);
            }
        }
    }

    fn keep(&mut self, key: ThreadKey, thread: &str, basis: Basis, carried_by: Option<&str>) {
        let now = self.now;
        let Some(kept) = self.keys.get_mut(&key) else {
            let (thread, carried_by) = (thread.to_owned(), carried_by.map(str::to_owned));
            self.keys.insert(key, Key { thread, basis, carried_by, seen_at: now, row: Row::New });
            return;
        };
        let is_carried_now = carried_by.is_some() && kept.carried_by.is_none();
        if kept.thread == thread && !is_carried_now && now - kept.seen_at < FRESH_MS {
            return;
        }
        thread.clone_into(&mut kept.thread);
        kept.seen_at = now;
        if is_carried_now {
            kept.carried_by = carried_by.map(str::to_owned);
        }
        if kept.row == Row::Unchanged {
            kept.row = Row::Changed;
        }
    }

    /// Conversations that became part of an older one just now, and that one.
    pub(super) fn merged(&self) -> impl Iterator<Item = (&str, String)> {
        let merged = self.threads.iter().filter(|(_, it)| it.row != Row::Unchanged && it.merged_into.is_some());
        merged.map(|(id, _)| (id.as_str(), self.resolved(id)))
    }

    fn is_living(&self, tenant: &str, thread: &str) -> bool {
        self.threads.get(thread).is_some_and(|it| it.tenant == tenant)
    }

    /// The conversation this one is part of by now.
    pub(super) fn resolved(&self, thread: &str) -> String {
        let mut at = thread;
        // Merging goes to the older, so it never goes round; the bound is for a table somebody wrote into.
        for _ in 0..self.threads.len() {
            match self.threads.get(at).and_then(|it| it.merged_into.as_deref()) {
                Some(older) if self.threads.contains_key(older) => at = older,
                _ => break,
            }
        }
        at.to_owned()
    }
}

impl Thread {
    pub(super) fn new(tenant: &str, now: UnixMillis) -> Self {
        Self { tenant: tenant.to_owned(), created_at: now, merged_into: None, last: BTreeMap::new(), row: Row::New }
    }

    fn touch(&mut self) {
        if self.row == Row::Unchanged {
            self.row = Row::Changed;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> ThreadKey {
        ThreadKey([n; 16])
    }

    fn mail(n: u8, in_reply_to: &[u8], references: &[u8]) -> Clues {
        let keys = |ids: &[u8]| ids.iter().map(|it| key(*it)).collect::<Vec<_>>();
        let (root, fresh) = match (references.last(), in_reply_to.first()) {
            (Some(id), _) => (Basis::References, *id),
            (None, Some(id)) => (Basis::InReplyTo, *id),
            (None, None) => (Basis::None, n),
        };
        Clues {
            own: Some(key(n)),
            carrier: format!("carrier {n}"),
            in_reply_to: keys(in_reply_to),
            references: keys(references),
            root,
            alone: format!("alone {n}"),
            ..Clues::none(&format!("th {fresh}"))
        }
    }

    fn join(known: &mut Known, clues: &Clues) -> Joined {
        known.now += 1;
        known.join("contoso", clues)
    }

    /// As if everything had been written and read again.
    fn settle(known: &mut Known) {
        known.keys.values_mut().for_each(|it| it.row = Row::Unchanged);
        known.threads.values_mut().for_each(|it| it.row = Row::Unchanged);
    }

    #[test]
    fn the_strongest_link_names_the_basis() {
        let mut known = Known::default();
        join(&mut known, &mail(1, &[], &[]));
        for (clues, basis) in [
            (mail(2, &[1], &[9, 1]), Basis::InReplyTo),
            (mail(3, &[8], &[9, 1]), Basis::References),
            (Clues { tokens: vec!["th 1".into()], ..mail(4, &[7], &[]) }, Basis::Token),
            (Clues { tokens: vec!["th 1".into()], ..mail(5, &[1], &[]) }, Basis::InReplyTo),
        ] {
            let joined = join(&mut known, &clues);
            assert_eq!((joined.thread.as_str(), joined.is_new, joined.basis), ("th 1", false, basis));
        }
    }

    #[test]
    fn a_mail_of_ours_belongs_where_it_answers_and_its_names_lead_there() {
        let mut known = Known::default();
        join(&mut known, &mail(1, &[], &[]));
        // An answer, told where it belongs, with an id of its own.
        let ours = |id: u8| Clues { references: vec![key(id)], ..Clues::none(&format!("th {id}")) };
        assert_eq!(known.join_ours("contoso", &ours(2), Some("th 1")), "th 1");
        let joined = join(&mut known, &mail(3, &[2], &[]));
        assert_eq!((joined.thread.as_str(), joined.basis), ("th 1", Basis::InReplyTo));
        // The customer answered before the name that Exchange gave the mail was known.
        let early = join(&mut known, &mail(4, &[9], &[]));
        assert_eq!((early.thread.as_str(), early.is_new), ("th 9", true));
        assert_eq!(known.join_ours("contoso", &ours(9), Some("th 1")), "th 1");
        assert_eq!(known.resolved("th 9"), "th 1");
        // Without a place it goes where its header says, or begins.
        assert_eq!(known.join_ours("contoso", &Clues { in_reply_to: vec![key(3)], ..ours(5) }, None), "th 1");
        assert_eq!(known.join_ours("contoso", &ours(6), None), "th 6");
        // A conversation of somebody else is none.
        assert_eq!(known.join_ours("fabrikam", &ours(7), Some("th 1")), "th 7");
        assert_eq!(known.join_ours("contoso", &ours(8), Some("th forgotten")), "th forgotten");
        assert!(known.threads.values().all(|it| it.last.is_empty()), "no interaction says anything of it");
    }

    #[test]
    fn only_what_changed_is_written() {
        let mut known = Known::default();
        join(&mut known, &mail(1, &[], &[]));
        settle(&mut known);
        join(&mut known, &mail(2, &[1], &[]));
        let rows: Vec<_> = known.keys.iter().map(|(key, it)| (key.0[0], it.row)).collect();
        assert_eq!(rows, [(1, Row::Unchanged), (2, Row::New)]);
        assert_eq!(known.threads["th 1"].row, Row::Changed, "somebody wrote in it");
        settle(&mut known);
        known.now += FRESH_MS;
        join(&mut known, &mail(3, &[1], &[]));
        assert_eq!(known.keys[&key(1)].row, Row::Changed, "it was seen again after a while");
        assert_eq!(known.keys[&key(2)].row, Row::Unchanged);
    }

    #[test]
    fn a_table_that_goes_round_in_a_circle_stops_nobody() {
        let mut known = Known::default();
        join(&mut known, &mail(1, &[], &[]));
        join(&mut known, &mail(2, &[], &[]));
        for (one, other) in [("th 1", "th 2"), ("th 2", "th 1")] {
            known.threads.get_mut(one).unwrap().merged_into = Some(other.into());
        }
        assert!(["th 1", "th 2"].contains(&join(&mut known, &mail(3, &[1], &[])).thread.as_str()));
    }

    proptest! {
        /// Mails and whom each answers, arriving in any order: what hangs together ends in one conversation, what does not
        /// stays apart, and whatever was handed out still leads there.
        #[test]
        fn what_hangs_together_ends_in_one_conversation(
            parents in prop::collection::vec(prop::option::of(0..40_u8), 1..40),
            order in prop::collection::vec(any::<u16>(), 40),
            full in any::<bool>(),
        ) {
            let count = u8::try_from(parents.len()).unwrap();
            // A parent is an earlier mail, or one that never arrives.
            let parent = |n: u8| parents[usize::from(n)].filter(|it| *it < n || *it >= count);
            let ancestors = |n: u8| std::iter::successors(parent(n), |it| (*it < count).then(|| parent(*it)).flatten());
            let root = |n: u8| ancestors(n).last().unwrap_or(n);
            let mut arrival: Vec<u8> = (0..count).collect();
            arrival.sort_by_key(|n| order[usize::from(*n)]);
            let mut known = Known::default();
            let mut told = BTreeMap::new();
            for n in arrival {
                let references: Vec<u8> = if full { ancestors(n).collect() } else { Vec::new() };
                let joined = join(&mut known, &mail(n, parent(n).as_slice(), &references));
                prop_assert!(joined.is_new == (joined.basis == Basis::None));
                told.insert(n, joined.thread);
                settle(&mut known);
            }
            for a in 0..count {
                for b in 0..count {
                    let together = known.resolved(&told[&a]) == known.resolved(&told[&b]);
                    prop_assert_eq!(together, root(a) == root(b), "{} and {}", a, b);
                    if full && together {
                        prop_assert_eq!(&told[&a], &told[&b], "with all references they agree from the beginning");
                    }
                }
                let answer = known.join("contoso", &mail(200, &[a], &[]));
                prop_assert_eq!(answer.thread, known.resolved(&told[&a]));
                known.keys.remove(&key(200));
            }
        }
    }
}
