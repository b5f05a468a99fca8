//! Whether the database answers: while it does not, who asks is told so at once, and one at a time tries again.
//!
//! So an outage costs nobody the patience of a connection, and a database that comes back is not met by all at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::StoreError;

/// How long to wait for a connection while all is well: all of the pool may be in use.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long whoever tries again waits for one.
pub(super) const TRIAL: Duration = Duration::from_secs(3);
/// How long nobody tries after so many failures in a row, in milliseconds; the last repeats. A single one may be the
/// connection's, so the next is made at once.
const RESTS_MS: [u64; 6] = [0, 50, 200, 500, 1000, 2000];

/// What is known of the way to the database.
#[derive(Default)]
pub(super) struct Reach(Mutex<State>);

#[derive(Default)]
struct State {
    failures: usize,
    why: String,
    not_before: Option<Instant>,
}

impl Reach {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait for a connection.
    ///
    /// # Errors
    /// It did not answer a moment ago, and it is not time to try again.
    pub(super) fn admit(&self) -> Result<Duration, StoreError> {
        self.state().admit(Instant::now())
    }

    /// What became of asking.
    pub(super) fn heard<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let failed = answer.as_ref().err();
        self.state().heard(failed, Instant::now(), fastrand::f64());
        answer
    }
}

impl State {
    fn admit(&mut self, now: Instant) -> Result<Duration, StoreError> {
        if self.failures == 0 {
            return Ok(PATIENCE);
        }
        if self.not_before.is_some_and(|at| at > now) {
            return Err(StoreError::Unavailable(self.why.clone()));
        }
        self.not_before = Some(now + TRIAL);
        Ok(TRIAL)
    }

    fn heard(&mut self, failed: Option<&StoreError>, now: Instant, chance: f64) {
        match failed {
            Some(StoreError::Unavailable(why)) => {
                let rest = RESTS_MS[self.failures.min(RESTS_MS.len() - 1)];
                self.failures += 1;
                self.why.clone_from(why);
                self.not_before = Some(now + Duration::from_millis(rest).mul_f64(0.8 + 0.4 * chance));
            }
            // It answered, whatever it said.
            _ if self.failures > 0 => *self = Self::default(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> StoreError {
        StoreError::Unavailable("connection refused".into())
    }

    #[test]
    fn while_it_is_away_one_at_a_time_tries_and_ever_more_seldom() {
        let (mut state, mut now) = (State::default(), Instant::now());
        assert_eq!(state.admit(now), Ok(PATIENCE));
        let mut rests = Vec::new();
        for _ in 0..8 {
            state.heard(Some(&away()), now, 0.5);
            let begun = now;
            while state.admit(now).is_err() {
                now += Duration::from_millis(1);
            }
            rests.push((now - begun).as_millis());
            // Who comes while one tries is told what was wrong.
            assert_eq!(state.admit(now), Err(away()));
        }
        assert_eq!(rests, [0, 50, 200, 500, 1000, 2000, 2000, 2000]);
        state.heard(None, now, 0.5);
        assert_eq!((state.admit(now), state.admit(now)), (Ok(PATIENCE), Ok(PATIENCE)));
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let (mut state, now) = (State::default(), Instant::now());
        (0..3).for_each(|_| state.heard(Some(&away()), now, 0.5));
        assert_eq!(state.admit(now), Err(away()));
        state.heard(Some(&StoreError::Refused("no such column".into())), now, 0.5);
        assert_eq!(state.admit(now), Ok(PATIENCE));
    }
}
