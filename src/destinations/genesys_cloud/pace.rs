//! Our own pace: never more calls within a minute than agreed, and none while Genesys asks for rest.
//!
//! Whoever has no turn is told how long to wait and holds nothing meanwhile. Time is an argument.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// The calls of the last minute.
#[derive(Debug)]
pub(super) struct Pace {
    per_minute: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    begun: VecDeque<Instant>,
    rests_until: Option<Instant>,
}

impl Pace {
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        Self { per_minute: usize::try_from(per_minute.get()).unwrap_or(usize::MAX), state: Mutex::default() }
    }

    /// Takes a turn, or says how long until there may be one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = state.rests_until.filter(|until| *until > now) {
            return Err(until - now);
        }
        while state.begun.front().is_some_and(|at| *at + MINUTE <= now) {
            state.begun.pop_front();
        }
        if let Some(first) = state.begun.front().filter(|_| state.begun.len() >= self.per_minute) {
            return Err(*first + MINUTE - now);
        }
        state.begun.push_back(now);
        Ok(())
    }

    /// No call before this time.
    pub(super) fn rest(&self, until: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rests_until = state.rests_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_holds_more_calls_than_agreed() {
        let pace = Pace::new(NonZeroU32::new(3).unwrap());
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        for (seconds, expected) in [
            (0, Ok(())),
            (1, Ok(())),
            (1, Ok(())),
            (2, Err(58)),
            (59, Err(1)),
            (60, Ok(())),
            (60, Err(1)),
            (61, Ok(())),
        ] {
            assert_eq!(pace.take(at(seconds)), expected.map_err(Duration::from_secs), "{seconds}");
        }
    }

    #[test]
    fn a_rest_holds_for_all_and_is_never_cut_short() {
        let pace = Pace::new(NonZeroU32::new(300).unwrap());
        let begin = Instant::now();
        pace.rest(begin + Duration::from_secs(20));
        pace.rest(begin + Duration::from_secs(5));
        assert_eq!(pace.take(begin + Duration::from_secs(6)), Err(Duration::from_secs(14)));
        assert_eq!(pace.take(begin + Duration::from_secs(20)), Ok(()));
    }
}
