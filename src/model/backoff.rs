//! When a failed attempt is tried again: a plain table with jitter.

use std::time::Duration;

/// How far jitter moves a wait, as a part of it, each way (Standard Webhooks advises jitter; Svix uses the same fifth).
const JITTER: f64 = 0.2;

/// A retry schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    /// The wait before each attempt, the first attempt's included.
    pub steps: Vec<Duration>,
    /// What happens after the last step.
    pub then: Then,
}

/// What a schedule does when its steps are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Gives up: the job is parked.
    Park,
    /// Goes on with the last step for ever: upkeep that must not stop.
    Repeat,
}

impl Backoff {
    /// The wait after attempt `attempt` (from 1) failed, or `None` when it is time to park.
    /// `chance` in 0..1 spreads the waits; `at_least` is what the other side asked for and is never undercut.
    pub fn wait(&self, attempt: u32, chance: f64, at_least: Option<Duration>) -> Option<Duration> {
        let step = self.steps.get(attempt as usize).or(match self.then {
            Then::Park => None,
            Then::Repeat => self.steps.last(),
        })?;
        let spread = step.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0));
        Some(at_least.map_or(spread, |least| spread.max(least)))
    }

    /// How long the whole schedule takes at the longest, where each attempt takes up to `attempt` and nobody asks for
    /// more patience.
    pub fn longest(&self, attempt: Duration) -> Duration {
        self.steps.iter().map(|step| step.mul_f64(1.0 + JITTER).saturating_add(attempt)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(steps: &[u64], then: Then) -> Backoff {
        Backoff { steps: steps.iter().copied().map(Duration::from_secs).collect(), then }
    }

    #[test]
    fn every_step_is_used_once_and_then_the_job_is_parked() {
        let backoff = secs(&[0, 10, 60], Then::Park);
        let waits: Vec<_> = (1..=3).map(|n| backoff.wait(n, 0.5, None).map(|d| d.as_secs())).collect();
        assert_eq!(waits, [Some(10), Some(60), None]);
    }

    #[test]
    fn the_whole_schedule_takes_its_waits_their_spread_and_its_attempts() {
        assert_eq!(secs(&[0, 10, 60], Then::Park).longest(Duration::from_secs(2)), Duration::from_secs(84 + 6));
    }

    #[test]
    fn upkeep_repeats_its_last_step_for_ever() {
        let backoff = secs(&[0, 10, 60], Then::Repeat);
        assert_eq!(backoff.wait(1000, 0.5, None), Some(Duration::from_secs(60)));
    }

    #[test]
    fn what_the_other_side_asks_for_is_never_undercut() {
        let backoff = secs(&[0, 10], Then::Park);
        assert_eq!(backoff.wait(1, 0.5, Some(Duration::from_secs(90))), Some(Duration::from_secs(90)));
        assert_eq!(backoff.wait(1, 0.5, Some(Duration::from_secs(1))), Some(Duration::from_secs(10)));
    }

    proptest::proptest! {
        #[test]
        fn jitter_stays_within_a_fifth(chance in 0.0..1.0f64) {
            let wait = secs(&[0, 100], Then::Park).wait(1, chance, None).unwrap();
            proptest::prop_assert!(wait >= Duration::from_secs(80) && wait <= Duration::from_secs(120));
        }
    }
}
