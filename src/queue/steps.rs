//! Whether the clock took a step: it was set, or the machine slept. What is due then has to be read anew.

use std::time::{Duration, Instant};

use crate::model::clock::UnixMillis;

/// The clock and a watch that nobody sets, when both were last looked at.
pub(super) struct Steps {
    now: UnixMillis,
    at: Instant,
}

impl Steps {
    pub(super) fn new(now: UnixMillis, at: Instant) -> Self {
        Self { now, at }
    }

    /// Whether the clock went on, since the last look, by far more or less than the watch: by more than `far`.
    pub(super) fn took_one(&mut self, now: UnixMillis, at: Instant, far: Duration) -> bool {
        let watched = i64::try_from(at.saturating_duration_since(self.at).as_millis()).unwrap_or(i64::MAX);
        let off = now.saturating_sub(self.now).saturating_sub(watched);
        *self = Self::new(now, at);
        u128::from(off.unsigned_abs()) > far.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_what_the_watch_does_not_know_of() {
        let start = Instant::now();
        let mut steps = Steps::new(1_000_000, start);
        let mut look = |second: u64, now: UnixMillis| {
            steps.took_one(now, start + Duration::from_secs(second), Duration::from_secs(5))
        };
        assert!(!look(0, 1_000_000));
        assert!(!look(3600, 4_600_000), "nobody looked for an hour");
        assert!(!look(3601, 4_604_000), "a correction");
        assert!(look(3602, 8_205_000), "an hour ahead");
        assert!(!look(3603, 8_206_000), "told once");
        assert!(look(3604, 4_607_000), "and back");
        assert!(look(3605, UnixMillis::MAX) && look(3605, UnixMillis::MIN));
    }
}
