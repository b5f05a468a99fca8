//! How fast a mailbox may send: so many mails in any minute, so many recipients in any day.
//!
//! What is beyond waits; nothing is refused for it. Exchange itself delays what is faster, without saying so.

use std::num::NonZeroU32;

use super::clock::UnixMillis;

/// A day in milliseconds.
pub const DAY_MS: i64 = 24 * 3600 * 1000;
const MINUTE_MS: i64 = 60_000;

/// What a mailbox may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendPace {
    /// Mails in any minute.
    pub per_minute: NonZeroU32,
    /// Recipients in any day.
    pub recipients_per_day: NonZeroU32,
}

/// The turns that were given out in a mailbox, as far as they say when the next one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slots {
    /// The latest.
    pub latest: Option<UnixMillis>,
    /// The one with which a minute is full: the latest but `per_minute` - 1.
    pub minute_ago: Option<UnixMillis>,
    /// The one from which on the latest have too many recipients for another mail within a day.
    pub day_full: Option<UnixMillis>,
}

impl SendPace {
    /// When the next mail may leave. What fits into the minute leaves at once; what does not is spread, each a step after
    /// the one before.
    pub fn next(&self, now: UnixMillis, slots: &Slots) -> UnixMillis {
        let step = MINUTE_MS / i64::from(self.per_minute.get());
        let after_minute = slots.minute_ago.map_or(now, |at| at + MINUTE_MS);
        let after_day = slots.day_full.map_or(now, |at| at + DAY_MS);
        let in_line = slots.latest.filter(|latest| *latest > now).map_or(now, |latest| latest + step);
        now.max(after_minute).max(after_day).max(in_line)
    }

    /// How many recipients others may have in a day beside a mail with so many. More than a day takes goes alone.
    pub fn room_for_others(&self, recipients: u32) -> i64 {
        i64::from(self.recipients_per_day.get().saturating_sub(recipients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(per_minute: u32, recipients_per_day: u32) -> SendPace {
        let number = |it| NonZeroU32::new(it).unwrap();
        SendPace { per_minute: number(per_minute), recipients_per_day: number(recipients_per_day) }
    }

    /// Gives out turns to mails that ask at these times, as the store looks them up.
    fn given(pace: SendPace, asked: &[(UnixMillis, u32)]) -> Vec<UnixMillis> {
        let mut taken: Vec<(UnixMillis, u32)> = Vec::new();
        for &(now, recipients) in asked {
            let mut sorted = taken.clone();
            sorted.sort_by(|a, b| b.cmp(a));
            let mut together = 0;
            let room = pace.room_for_others(recipients);
            let day_full = sorted.iter().filter(|it| it.0 > now - DAY_MS).find(|it| {
                together += i64::from(it.1);
                together > room
            });
            let slots = Slots {
                latest: sorted.first().map(|it| it.0),
                minute_ago: sorted.get(pace.per_minute.get() as usize - 1).map(|it| it.0),
                day_full: day_full.map(|it| it.0),
            };
            taken.push((pace.next(now, &slots), recipients));
        }
        taken.into_iter().map(|it| it.0).collect()
    }

    #[test]
    fn a_burst_goes_at_once_as_far_as_it_fits_and_the_rest_is_spread() {
        let slots = given(pace(3, 10_000), &[(1000, 1); 8]);
        assert_eq!(slots, [1000, 1000, 1000, 61_000, 81_000, 101_000, 121_000, 141_000]);
        assert_eq!(
            given(pace(3, 10_000), &[(0, 1), (30_000, 1), (100_000, 1), (100_001, 1)]),
            [0, 30_000, 100_000, 100_001]
        );
    }

    #[test]
    fn a_day_takes_so_many_recipients_and_a_larger_mail_goes_alone() {
        let slots = given(pace(30, 100), &[(0, 60), (10, 40), (20, 1), (20, 60), (30, 500), (40, 1)]);
        assert_eq!(slots, [0, 10, DAY_MS, DAY_MS + 2000, 2 * DAY_MS + 2000, 3 * DAY_MS + 2000]);
    }

    proptest::proptest! {
        #[test]
        fn no_minute_and_no_day_holds_more_than_it_may(
            per_minute in 1..6_u32,
            per_day in 1..40_u32,
            gaps in proptest::collection::vec((0..40_000_i64, 1..12_u32), 1..60),
        ) {
            let mut now = 0;
            let asked: Vec<_> = gaps.iter().map(|(gap, recipients)| { now += gap; (now, *recipients) }).collect();
            let slots = given(pace(per_minute, per_day), &asked);
            for (at, slot) in slots.iter().enumerate() {
                let minute = slots.iter().filter(|it| **it > slot - MINUTE_MS && *it <= slot).count();
                proptest::prop_assert!(minute <= per_minute as usize, "{slots:?}");
                let day = slots.iter().zip(&asked).filter(|(it, _)| **it > slot - DAY_MS && *it <= slot);
                let (count, recipients) = day.fold((0, 0), |(count, sum), (_, asked)| (count + 1, sum + asked.1));
                proptest::prop_assert!(recipients <= per_day || count == 1, "{slots:?}");
                proptest::prop_assert!(*slot >= asked[at].0);
            }
        }
    }
}
