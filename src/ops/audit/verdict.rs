//! The judgement over one message: what the mailbox shows of it, held against what is written of it. Pure.
//!
//! Every message gets exactly one verdict, whatever is in the books.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::clock::UnixMillis;
use crate::store::{Book, MessageState};

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every route that takes it has accepted it.
    Delivered,
    /// It is finished, because a person decided that it, or one of its deliveries, is needed no more.
    Discarded,
    /// It, or one of its deliveries, waits for a person.
    Parked,
    /// No route takes it.
    Filtered,
    /// On its way, or too young to be known.
    Pending,
    /// Received before the bridge began to watch, and never taken up.
    Earlier,
    /// In the folder, and not known.
    Unknown,
    /// Known and not finished, and nothing drives it on.
    InTheDark,
    /// Known, and a delivery it must have is missing.
    Short,
}

impl Verdict {
    /// Whether nobody would ever deliver the message.
    pub fn is_imbalance(self) -> bool {
        matches!(self, Self::Unknown | Self::InTheDark | Self::Short)
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Discarded => "discarded",
            Self::Parked => "parked",
            Self::Filtered => "filtered",
            Self::Pending => "pending",
            Self::Earlier => "earlier",
            Self::Unknown => "unknown",
            Self::InTheDark => "in_the_dark",
            Self::Short => "short",
        }
    }
}

/// From when to when a message must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// What was received before this was there before the bridge watched.
    pub earliest: UnixMillis,
    /// What was received at or after this may be unknown: the mailbox was not read since.
    pub known_until: UnixMillis,
}

/// The verdict over a message that lies in the folder, received at this time and last changed at that.
pub(super) fn of_shown(
    received_at: Option<UnixMillis>,
    changed_at: Option<UnixMillis>,
    book: Option<&Book>,
    bounds: Bounds,
) -> Verdict {
    let gone_at = match book {
        Some(book) if book.state != MessageState::Gone => return of_book(book),
        // It was gone and is back: as good as unknown.
        Some(book) => book.finished_at,
        None => None,
    };
    // Without a time it counts as one that must be known: looking closer is the safe side.
    let Some(received_at) = received_at else { return Verdict::Unknown };
    // Old mail that somebody has just moved into the folder changed just now.
    let last = [Some(received_at), changed_at, gone_at].into_iter().flatten().max();
    if received_at < bounds.earliest && gone_at.is_none() {
        Verdict::Earlier
    } else if last.is_some_and(|at| at >= bounds.known_until) {
        Verdict::Pending
    } else {
        Verdict::Unknown
    }
}

/// The verdict over a message that is written, wherever it lies now. `None`: it is gone from its mailbox.
pub(super) fn of_absent(book: &Book) -> Option<Verdict> {
    (book.state != MessageState::Gone).then(|| of_book(book))
}

fn of_book(book: &Book) -> Verdict {
    match book.state {
        MessageState::Filtered if book.is_discarded => Verdict::Discarded,
        MessageState::Filtered => Verdict::Filtered,
        MessageState::Found if book.fetch_lives => Verdict::Pending,
        MessageState::Found if book.fetch_parked => Verdict::Parked,
        MessageState::Found => Verdict::InTheDark,
        // Its deliveries went with its record; that they were accepted is why it is finished.
        MessageState::Delivered | MessageState::Gone if book.is_tidied => Verdict::Delivered,
        MessageState::Accepted | MessageState::Delivered | MessageState::Gone => of_deliveries(book),
    }
}

fn of_deliveries(book: &Book) -> Verdict {
    let wanted = book.fan_out.unwrap_or(book.deliveries).max(1);
    if book.deliveries < wanted {
        Verdict::Short
    } else if book.open > book.driven + book.parked {
        Verdict::InTheDark
    } else if book.open == 0 && book.state == MessageState::Accepted {
        // Every destination has it, and nobody will ever say so: it is neither marked nor tidied.
        Verdict::InTheDark
    } else if book.open == 0 && book.is_discarded {
        Verdict::Discarded
    } else if book.open == 0 {
        Verdict::Delivered
    } else if book.parked > 0 {
        Verdict::Parked
    } else {
        Verdict::Pending
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { earliest: 1000, known_until: 9000 };

    pub(in crate::ops::audit) fn book(state: MessageState, deliveries: [u64; 4]) -> Book {
        let [deliveries, open, driven, parked] = deliveries;
        Book {
            message: 1,
            immutable_id: "AAk1".into(),
            internet_message_id: None,
            received_at: Some(5000),
            found_at: 5001,
            finished_at: None,
            is_tidied: false,
            state,
            fan_out: Some(2),
            deliveries,
            is_discarded: false,
            open,
            driven,
            parked,
            fetch_lives: false,
            fetch_parked: false,
        }
    }

    #[test]
    fn each_story_of_a_message_has_its_verdict() {
        use MessageState::{Accepted, Delivered, Filtered, Found, Gone};
        let fetched = |lives, parked| Book { fetch_lives: lives, fetch_parked: parked, ..book(Found, [0; 4]) };
        for (what, book, verdict) in [
            ("accepted by both routes", book(Delivered, [2, 0, 0, 0]), Verdict::Delivered),
            ("tidied away", Book { is_tidied: true, ..book(Delivered, [0; 4]) }, Verdict::Delivered),
            ("two to go", book(Accepted, [2, 2, 2, 0]), Verdict::Pending),
            ("one parked, one to go", book(Accepted, [2, 2, 1, 1]), Verdict::Parked),
            ("one parked, one accepted", book(Accepted, [2, 1, 0, 1]), Verdict::Parked),
            ("the job of one is gone", book(Accepted, [2, 2, 1, 0]), Verdict::InTheDark),
            ("one parked, the job of the other gone", book(Accepted, [2, 2, 0, 1]), Verdict::InTheDark),
            ("accepted, and nobody said so", book(Accepted, [2, 0, 0, 0]), Verdict::InTheDark),
            ("said to be delivered, and one is open", book(Delivered, [2, 1, 0, 0]), Verdict::InTheDark),
            ("one discarded", Book { is_discarded: true, ..book(Delivered, [2, 0, 0, 0]) }, Verdict::Discarded),
            ("one discarded, one to go", Book { is_discarded: true, ..book(Accepted, [2, 1, 1, 0]) }, Verdict::Pending),
            ("nobody needs it", Book { is_discarded: true, ..book(Filtered, [0; 4]) }, Verdict::Discarded),
            ("one delivery is gone", book(Accepted, [1, 1, 1, 0]), Verdict::Short),
            ("one is gone, the other accepted", book(Delivered, [1, 0, 0, 0]), Verdict::Short),
            ("all deliveries are gone", book(Delivered, [0; 4]), Verdict::Short),
            ("none counted, none there", Book { fan_out: None, ..book(Delivered, [0; 4]) }, Verdict::Short),
            ("none counted, one there", Book { fan_out: None, ..book(Delivered, [1, 0, 0, 0]) }, Verdict::Delivered),
            ("no route takes it", book(Filtered, [0; 4]), Verdict::Filtered),
            ("to be fetched", fetched(true, false), Verdict::Pending),
            ("fetched again after it was parked", fetched(true, true), Verdict::Pending),
            ("cannot be fetched", fetched(false, true), Verdict::Parked),
            ("nobody fetches it", fetched(false, false), Verdict::InTheDark),
        ] {
            assert_eq!(of_shown(book.received_at, None, Some(&book), BOUNDS), verdict, "{what}");
            assert_eq!(of_absent(&book), Some(verdict), "{what}, moved away");
        }
        assert_eq!(of_absent(&book(Gone, [0; 4])), None);
    }

    #[test]
    fn what_is_not_written_is_judged_by_its_time() {
        let gone = Book { finished_at: Some(8999), ..book(MessageState::Gone, [0; 4]) };
        let just_gone = Book { finished_at: Some(9000), ..gone.clone() };
        for (received_at, book, verdict) in [
            (Some(999), None, Verdict::Earlier),
            (Some(1000), None, Verdict::Unknown),
            (Some(8999), None, Verdict::Unknown),
            (Some(9000), None, Verdict::Pending),
            (None, None, Verdict::Unknown),
            (Some(5000), Some(&gone), Verdict::Unknown),
            (Some(999), Some(&gone), Verdict::Unknown),
            (Some(5000), Some(&just_gone), Verdict::Pending),
        ] {
            assert_eq!(of_shown(received_at, None, book, BOUNDS), verdict, "{received_at:?}");
        }
        assert_eq!(of_shown(Some(1000), Some(8999), None, BOUNDS), Verdict::Unknown);
        assert_eq!(of_shown(Some(1000), Some(9000), None, BOUNDS), Verdict::Pending, "moved in just now");
        let never_read = Bounds { earliest: 0, known_until: i64::MIN };
        assert_eq!(of_shown(Some(5), None, None, never_read), Verdict::Pending);
    }

    pub(in crate::ops::audit) fn any_book() -> impl Strategy<Value = Book> {
        use MessageState::{Accepted, Delivered, Filtered, Found, Gone};
        let state = prop::sample::select(vec![Found, Accepted, Delivered, Filtered, Gone]);
        let counts = (0..4_u64, 0..4_u64, 0..4_u64, 0..4_u64);
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (state, counts, flags, prop::option::of(0..4_u64)).prop_map(|(state, counts, flags, fan_out)| Book {
            fan_out,
            is_tidied: flags.0,
            fetch_lives: flags.1,
            fetch_parked: flags.2,
            is_discarded: flags.3,
            ..book(state, [counts.0, counts.1, counts.2, counts.3])
        })
    }

    proptest! {
        #[test]
        fn nothing_unfinished_without_a_job_is_ever_called_fine(book in any_book()) {
            let verdict = of_absent(&book);
            let dark = match book.state {
                MessageState::Found => !book.fetch_lives && !book.fetch_parked,
                MessageState::Accepted => book.open > book.driven + book.parked || book.open == 0,
                _ => false,
            };
            if dark {
                prop_assert!(verdict.is_some_and(Verdict::is_imbalance), "{verdict:?}");
            }
            if book.state == MessageState::Gone {
                prop_assert_eq!(verdict, None);
            }
        }
    }
}
