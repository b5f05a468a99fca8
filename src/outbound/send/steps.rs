//! What to do next with a submission, from what is known of it. No I/O: every rule about sending once stands here.
//!
//! What may have been done is looked for before it is done again; nothing is concluded from an answer that did not come.

use std::time::Duration;

use crate::model::clock::UnixMillis;

/// A draft whose making was not answered is looked for this long before another one is made.
const DRAFT_SHOWS_AFTER_MS: i64 = 10_000;
/// A turn that was missed by more than this is given out anew.
const SLOT_KEPT_MS: i64 = 2 * 60_000;
/// A draft that may have left and still lies there is sent again no sooner than this.
const RESEND_AFTER_MS: i64 = 60_000;
/// What was not found for so long is not looked for any longer …
const LOOK_FOR_MS: i64 = 3_600_000;
/// … and the waits between two looks are half of the time that has passed, within these.
const LOOK_WAITS: (i64, i64) = (1_000, 300_000);

/// What is known of a submission that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// Its turn to leave.
    pub(super) slot_at: Option<UnixMillis>,
    /// Its draft.
    pub(super) draft: Draft,
    /// Whether files are to be attached.
    pub(super) has_files_left: bool,
    /// Since when it may have left.
    pub(super) leaving_at: Option<UnixMillis>,
    /// Whether it was found sent, and its copy is not wanted.
    pub(super) has_unwanted_copy: bool,
}

/// What is known of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draft {
    /// There is none.
    None,
    /// One may have been made then.
    Asked(UnixMillis),
    /// There is one.
    Made,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Todo {
    /// Ask when its turn is.
    TakeSlot,
    /// Wait for its turn.
    AwaitTurn(Duration),
    /// Make the draft.
    MakeDraft,
    /// Look whether the draft was made that was asked for then.
    FindDraft(UnixMillis),
    /// Attach what is still to be attached.
    AttachFiles,
    /// Let it leave.
    Leave,
    /// Look what became of it.
    LookForIt(UnixMillis),
    /// Remove the copy nobody wants.
    DropCopy,
}

/// What to do next with it.
pub(super) fn next(known: &Known, now: UnixMillis) -> Todo {
    let turn = known.slot_at.filter(|at| now - at <= SLOT_KEPT_MS);
    match (known.leaving_at, known.draft) {
        _ if known.has_unwanted_copy => Todo::DropCopy,
        (Some(at), _) => Todo::LookForIt(at),
        (None, Draft::Asked(at)) => Todo::FindDraft(at),
        (None, Draft::Made) if known.has_files_left => Todo::AttachFiles,
        (None, _) => match (turn, known.draft) {
            (None, _) => Todo::TakeSlot,
            (Some(at), _) if at > now => Todo::AwaitTurn(millis(at - now)),
            (Some(_), Draft::Made) => Todo::Leave,
            (Some(_), _) => Todo::MakeDraft,
        },
    }
}

/// Whether a draft that was asked for at `asked_at` and is not found was not made; else how long to wait before looking
/// again.
pub(super) fn is_not_made(asked_at: UnixMillis, now: UnixMillis) -> Result<(), Duration> {
    match asked_at + DRAFT_SHOWS_AFTER_MS - now {
        left if left > 0 => Err(millis(left.min(DRAFT_SHOWS_AFTER_MS))),
        _ => Ok(()),
    }
}

/// Where a mail was found that may have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It was sent.
    Sent,
    /// It lies in the mailbox as a draft.
    Draft,
    /// Nowhere: Exchange is carrying it, or it is gone.
    Nowhere,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was sent.
    Sent,
    /// It has not left: it is sent again.
    SendAgain,
    /// It is looked for again after a while.
    LookAgain(Duration),
    /// Exchange said that it took it; that nothing shows it is no reason to doubt that.
    TakenAsSent,
    /// Nobody can say whether it left.
    MayHaveLeft,
}

/// What follows for a mail that may have left at `leaving_at`; `is_acknowledged`: Exchange said that it took it.
pub(super) fn judge(found: Found, leaving_at: UnixMillis, is_acknowledged: bool, now: UnixMillis) -> Verdict {
    // A clock that was set back must not make anything older, or younger, than it can be.
    let passed = (now - leaving_at).max(0);
    let again = |wait: i64| Verdict::LookAgain(millis(wait.clamp(LOOK_WAITS.0, LOOK_WAITS.1)));
    // What Exchange took may wait there for long: it delays those who send too fast.
    let resend_after = if is_acknowledged { LOOK_FOR_MS } else { RESEND_AFTER_MS };
    match found {
        Found::Sent => Verdict::Sent,
        Found::Draft if passed >= resend_after => Verdict::SendAgain,
        Found::Draft => again((passed / 2).min(resend_after - passed)),
        Found::Nowhere if passed < LOOK_FOR_MS => again(passed / 2),
        Found::Nowhere if is_acknowledged => Verdict::TakenAsSent,
        Found::Nowhere => Verdict::MayHaveLeft,
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_000_000_000;
    const FRESH: Known =
        Known { slot_at: None, draft: Draft::None, has_files_left: false, leaving_at: None, has_unwanted_copy: false };

    #[test]
    fn each_step_follows_from_what_is_known() {
        let turn = Known { slot_at: Some(NOW), ..FRESH };
        let made = Known { draft: Draft::Made, ..turn };
        for (known, todo) in [
            (FRESH, Todo::TakeSlot),
            (Known { slot_at: Some(NOW + 1), ..FRESH }, Todo::AwaitTurn(Duration::from_millis(1))),
            (turn, Todo::MakeDraft),
            (Known { slot_at: Some(NOW - SLOT_KEPT_MS - 1), ..FRESH }, Todo::TakeSlot),
            (Known { draft: Draft::Asked(7), ..FRESH }, Todo::FindDraft(7)),
            (Known { has_files_left: true, slot_at: None, ..made }, Todo::AttachFiles),
            (Known { slot_at: Some(NOW - SLOT_KEPT_MS - 1), ..made }, Todo::TakeSlot),
            (made, Todo::Leave),
            (Known { leaving_at: Some(5), ..made }, Todo::LookForIt(5)),
            (Known { leaving_at: Some(5), slot_at: None, has_files_left: true, ..made }, Todo::LookForIt(5)),
            (Known { leaving_at: Some(5), has_unwanted_copy: true, ..made }, Todo::DropCopy),
        ] {
            assert_eq!(next(&known, NOW), todo, "{known:?}");
        }
    }

    #[test]
    fn what_may_have_left_is_looked_for_and_never_guessed() {
        let wait = |ms| Verdict::LookAgain(Duration::from_millis(ms));
        for (found, passed, is_acknowledged, verdict) in [
            (Found::Sent, 0, false, Verdict::Sent),
            (Found::Draft, 0, false, wait(1_000)),
            (Found::Draft, 50_000, false, wait(10_000)),
            (Found::Draft, 59_999, false, wait(1_000)),
            (Found::Draft, 60_000, false, Verdict::SendAgain),
            (Found::Draft, 60_000, true, wait(30_000)),
            (Found::Draft, 3_600_000, true, Verdict::SendAgain),
            (Found::Nowhere, 0, true, wait(1_000)),
            (Found::Nowhere, 60_000, false, wait(30_000)),
            (Found::Nowhere, 1_800_000, false, wait(300_000)),
            (Found::Nowhere, 3_600_000, true, Verdict::TakenAsSent),
            (Found::Nowhere, 3_600_000, false, Verdict::MayHaveLeft),
            (Found::Nowhere, -5_000, false, wait(1_000)),
        ] {
            assert_eq!(judge(found, NOW - passed, is_acknowledged, NOW), verdict, "{found:?} after {passed}");
        }
        assert_eq!(is_not_made(NOW, NOW), Err(Duration::from_secs(10)));
        assert_eq!(is_not_made(NOW - 10_000, NOW), Ok(()));
        assert_eq!(is_not_made(NOW + 3_600_000, NOW), Err(Duration::from_secs(10)));
    }

    /// A mailbox in the small, in which each call is done or not, and answered or not.
    struct Office {
        drafts: u32,
        sent: u32,
        known: Known,
        is_acknowledged: bool,
        now: UnixMillis,
    }

    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Done,
        Refused,
        LostBefore,
        LostAfter,
        CrashBefore,
        CrashAfter,
    }

    impl Office {
        /// One step; whatever is lost or crashes, only what was written before the call is known after it.
        fn step(&mut self, fate: Fate) {
            let is_done = matches!(fate, Fate::Done | Fate::LostAfter | Fate::CrashAfter);
            match next(&self.known, self.now) {
                Todo::TakeSlot => self.known.slot_at = Some(self.now + 500),
                Todo::AwaitTurn(wait) => self.now += i64::try_from(wait.as_millis()).unwrap(),
                Todo::MakeDraft => {
                    self.known.draft = Draft::Asked(self.now);
                    self.drafts += u32::from(is_done);
                    match fate {
                        Fate::Done => self.known.draft = Draft::Made,
                        Fate::Refused => self.known.draft = Draft::None,
                        _ => {}
                    }
                }
                Todo::FindDraft(_) if self.drafts > 0 => self.known.draft = Draft::Made,
                Todo::FindDraft(at) => match is_not_made(at, self.now) {
                    Ok(()) => self.known.draft = Draft::None,
                    Err(wait) => self.now += i64::try_from(wait.as_millis()).unwrap(),
                },
                Todo::Leave => self.leave(fate, is_done),
                Todo::LookForIt(at) => {
                    let found = if self.sent > 0 { Found::Sent } else { Found::Draft };
                    match judge(found, at, self.is_acknowledged, self.now) {
                        Verdict::SendAgain => self.leave(fate, is_done),
                        Verdict::LookAgain(wait) => self.now += i64::try_from(wait.as_millis()).unwrap(),
                        Verdict::Sent => {}
                        verdict => panic!("{verdict:?} of a mail that is there"),
                    }
                }
                todo @ (Todo::AttachFiles | Todo::DropCopy) => panic!("{todo:?}"),
            }
        }

        fn leave(&mut self, fate: Fate, is_done: bool) {
            assert_eq!(self.sent, 0, "it is never sent again");
            self.known.leaving_at = Some(self.now);
            self.sent += u32::from(is_done);
            match fate {
                Fate::Done => self.is_acknowledged = true,
                Fate::Refused => self.known.leaving_at = None,
                _ => {}
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_lost_it_is_sent_once(fates in proptest::collection::vec(0..6_u8, 0..40)) {
            let fate = |n: &u8| [Fate::Done, Fate::Refused, Fate::LostBefore, Fate::LostAfter, Fate::CrashBefore, Fate::CrashAfter][usize::from(*n)];
            let mut office = Office { drafts: 0, sent: 0, known: FRESH, is_acknowledged: false, now: NOW };
            fates.iter().map(fate).for_each(|fate| office.step(fate));
            for _ in 0..60 {
                office.step(Fate::Done);
            }
            proptest::prop_assert_eq!(office.sent, 1);
        }
    }
}
