//! The sums of an audit: by the hour in which mail was received, and of all hours. Pure.
//!
//! What was seen is the sum of all verdicts over it; what the folder does not hold any more is counted beside it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::verdict::Verdict;
use crate::model::clock::UnixMillis;

/// An hour, in milliseconds.
const HOUR_MS: i64 = 3600 * 1000;

/// How many messages got which verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Sums {
    /// In the folder, received since the bridge watches.
    pub seen: u64,
    /// Of those seen: accepted by every route that takes them.
    pub delivered: u64,
    /// Of those seen: needed no more, as a person decided.
    pub discarded: u64,
    /// Of those seen: waiting for a person.
    pub parked: u64,
    /// Of those seen: taken by no route.
    pub filtered: u64,
    /// Of those seen: on their way, or too young to be known.
    pub pending: u64,
    /// Of those seen: not known. An imbalance.
    pub unknown: u64,
    /// Of those seen: known, not finished, and driven by nothing. An imbalance.
    pub in_the_dark: u64,
    /// Of those seen: a delivery is missing. An imbalance.
    pub short: u64,
    /// In the folder, received before the bridge watched it; not among those seen.
    pub earlier: u64,
    /// Known, and not in the folder any more: moved or deleted.
    pub absent: u64,
    /// Of the absent: in the dark or short. An imbalance.
    pub absent_unaccounted: u64,
}

impl Sums {
    /// How many messages nobody would ever deliver.
    pub fn unaccounted(&self) -> u64 {
        self.unknown + self.in_the_dark + self.short + self.absent_unaccounted
    }

    fn place(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::Delivered => &mut self.delivered,
            Verdict::Discarded => &mut self.discarded,
            Verdict::Parked => &mut self.parked,
            Verdict::Filtered => &mut self.filtered,
            Verdict::Pending => &mut self.pending,
            Verdict::Earlier => &mut self.earlier,
            Verdict::Unknown => &mut self.unknown,
            Verdict::InTheDark => &mut self.in_the_dark,
            Verdict::Short => &mut self.short,
        }
    }

    fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        for verdict in ALL {
            *self.place(verdict) += *other.clone().place(verdict);
        }
        self.absent += other.absent;
        self.absent_unaccounted += other.absent_unaccounted;
    }
}

const ALL: [Verdict; 9] = [
    Verdict::Delivered,
    Verdict::Discarded,
    Verdict::Parked,
    Verdict::Filtered,
    Verdict::Pending,
    Verdict::Earlier,
    Verdict::Unknown,
    Verdict::InTheDark,
    Verdict::Short,
];

/// The sums of each hour in which anything was received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hours(BTreeMap<UnixMillis, Sums>);

impl Hours {
    /// Counts a message that lies in the folder.
    pub fn shown(&mut self, received_at: UnixMillis, verdict: Verdict) {
        let sums = self.of(received_at);
        sums.seen += u64::from(verdict != Verdict::Earlier);
        *sums.place(verdict) += 1;
    }

    /// Counts a message that is known and does not lie in the folder any more. `None`: it is written as gone.
    pub fn absent(&mut self, time: UnixMillis, verdict: Option<Verdict>) {
        let sums = self.of(time);
        sums.absent += 1;
        sums.absent_unaccounted += u64::from(verdict.is_some_and(Verdict::is_imbalance));
    }

    /// A message that lies in the folder got another verdict at a second look.
    pub fn revise(&mut self, received_at: UnixMillis, first: Verdict, second: Verdict) {
        let sums = self.of(received_at);
        *sums.place(first) = sums.place(first).saturating_sub(1);
        sums.seen = sums.seen.saturating_sub(u64::from(first != Verdict::Earlier));
        self.shown(received_at, second);
    }

    /// The beginning of each hour and its sums, the oldest first.
    pub fn each(&self) -> impl Iterator<Item = (UnixMillis, &Sums)> {
        self.0.iter().map(|(hour, sums)| (*hour, sums))
    }

    /// All hours together.
    pub fn total(&self) -> Sums {
        let mut total = Sums::default();
        self.0.values().for_each(|sums| total.add(sums));
        total
    }

    fn of(&mut self, time: UnixMillis) -> &mut Sums {
        self.0.entry(time - time.rem_euclid(HOUR_MS)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ops::audit::verdict::tests::any_book;
    use crate::ops::audit::verdict::{Bounds, of_absent, of_shown};

    fn adds_up(sums: &Sums) -> bool {
        let fine = sums.delivered + sums.discarded + sums.parked + sums.filtered + sums.pending;
        sums.seen == fine + sums.unknown + sums.in_the_dark + sums.short && sums.absent_unaccounted <= sums.absent
    }

    #[test]
    fn hours_are_kept_apart_and_a_second_look_replaces_the_first() {
        let mut hours = Hours::default();
        hours.shown(0, Verdict::Delivered);
        hours.shown(HOUR_MS - 1, Verdict::Unknown);
        hours.shown(HOUR_MS, Verdict::Earlier);
        hours.absent(HOUR_MS, None);
        hours.absent(2 * HOUR_MS, Some(Verdict::Short));
        let seen: Vec<_> = hours.each().map(|(hour, it)| (hour, it.seen, it.earlier, it.absent)).collect();
        assert_eq!(seen, [(0, 2, 0, 0), (HOUR_MS, 0, 1, 1), (2 * HOUR_MS, 0, 0, 1)]);
        assert_eq!(hours.total().unaccounted(), 2);
        hours.revise(HOUR_MS - 1, Verdict::Unknown, Verdict::Pending);
        let total = hours.total();
        assert_eq!((total.seen, total.pending, total.unknown, total.unaccounted()), (2, 1, 0, 1));
    }

    proptest! {
        #[test]
        fn every_message_is_counted_once_and_the_sums_agree(
            all in prop::collection::vec((prop::option::of(0..20_000_000_i64), prop::option::of(any_book()), any::<bool>()), 0..40),
        ) {
            let bounds = Bounds { earliest: 3_000_000, known_until: 15_000_000 };
            let (mut hours, mut shown, mut absent, mut imbalances) = (Hours::default(), 0, 0, 0);
            for (received_at, book, is_shown) in &all {
                if *is_shown || book.is_none() {
                    let verdict = of_shown(*received_at, None, book.as_ref(), bounds);
                    hours.shown(received_at.unwrap_or(0), verdict);
                    shown += 1;
                    imbalances += u64::from(verdict.is_imbalance());
                } else if let Some(book) = book {
                    let verdict = of_absent(book);
                    hours.absent(book.time(), verdict);
                    absent += 1;
                    imbalances += u64::from(verdict.is_some_and(Verdict::is_imbalance));
                }
            }
            let total = hours.total();
            prop_assert!(adds_up(&total) && hours.each().all(|(_, sums)| adds_up(sums)));
            prop_assert_eq!((total.seen + total.earlier, total.absent, total.unaccounted()), (shown, absent, imbalances));
        }
    }
}
