//! How a route stands: running, or paused because what it leads to does not take anything, and then probed.
//!
//! A rule over what its attempts ended in and when; no I/O. Remembered in memory: after a restart it is found out anew.

use std::time::Duration;

use crate::model::clock::UnixMillis;
use crate::model::outcome::{Failure, Next, Outcome};

/// So many transient failures in a row …
const FAILURES: u32 = 10;
/// … over at least so long, in milliseconds: a schedule that is shorter parks as it is configured …
const OVER_MS: i64 = 5 * 60 * 1000;
/// … of at least so many different interactions pause a route: one poison mail does not.
const DIFFERENT: usize = 3;
/// How long a paused route waits before each probe, in milliseconds; the last repeats.
const PROBES_MS: [i64; 5] = [30_000, 60_000, 120_000, 240_000, 300_000];
/// How long a route rests whose other side said it is gone for good.
const GONE_REST: Duration = Duration::from_secs(3600);
/// A route on trial is paused after so many failures in a row.
const TRIAL_FAILURES: u32 = 3;

/// How a route stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    failures: u32,
    /// When the first of them was.
    since: UnixMillis,
    /// The first few different jobs among them.
    jobs: Vec<i64>,
    why: Option<String>,
    /// The latest time before which the other side asked not to be tried again.
    not_before: UnixMillis,
    /// When a delivery may be lent for a probe again.
    next_loan: UnixMillis,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// All its room.
    #[default]
    Running,
    /// One at a time until one succeeds, because deliveries were failing before the restart.
    OnTrial,
    /// Nothing until then, afterwards one at a time; so many probes have failed.
    Paused { until: UnixMillis, probes: usize },
}

/// What an attempt changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// What is shown of it.
    Shown,
    /// It was paused and runs again. What failed meanwhile may be tried from then on.
    Resumed(UnixMillis),
}

impl Standing {
    /// A route that had failing deliveries when the process began: it proves itself with one at a time.
    pub(super) fn on_trial() -> Self {
        Self { state: State::OnTrial, ..Self::default() }
    }

    /// Nothing that is known of it counts any more: one delivery at a time, from now on, until one succeeds.
    pub(super) fn probe(&mut self, now: UnixMillis) {
        *self = Self { why: self.why.take(), state: State::Paused { until: now, probes: 0 }, ..Self::default() };
    }

    /// Whether so many waiting deliveries that failed put a route on trial at the start.
    pub(super) fn wants_trial(retrying: u64) -> bool {
        retrying >= DIFFERENT as u64
    }

    /// An attempt ended. A permanent failure speaks of its mail, and a postponed attempt was none: neither says whether
    /// the other side takes mail. What had been accepted before does not either.
    pub(super) fn heard(&mut self, outcome: &Outcome, job: i64, now: UnixMillis) -> Change {
        match outcome {
            Ok(Next::Settled | Next::Again { .. }) => self.succeeded(now),
            Err(Failure::Transient { reason, after, .. }) => {
                let asked = after.map_or(0, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX));
                self.not_before = self.not_before.max(now.saturating_add(asked));
                self.failed(job, reason, now);
                Change::Shown
            }
            Err(Failure::Gone { reason, .. }) => {
                let rest = i64::try_from(GONE_REST.as_millis()).unwrap_or(i64::MAX);
                self.state = State::Paused { until: now.saturating_add(rest), probes: 0 };
                self.why = Some(reason.to_string());
                Change::Shown
            }
            Ok(Next::Done) | Err(Failure::Permanent { .. } | Failure::Postponed { .. }) => Change::None,
        }
    }

    /// How many of its deliveries may run at once, of `room`.
    pub(super) fn room(&self, room: u32, now: UnixMillis) -> u32 {
        match self.state {
            State::Running => room,
            State::OnTrial => room.min(1),
            State::Paused { until, .. } if until > now => 0,
            State::Paused { .. } => room.min(1),
        }
    }

    /// Whether a probe is due although no delivery is: one is tried ahead of its time then, or a destination that is back would
    /// be noticed hours later. Says so once for each probe.
    pub(super) fn wants_loan(&mut self, now: UnixMillis) -> bool {
        let is_due = matches!(self.state, State::Paused { until, .. } if until <= now);
        let wants = is_due && self.next_loan.max(self.not_before) <= now;
        if wants {
            self.next_loan = now + PROBES_MS[0];
        }
        wants
    }

    /// When it is probed next, where it is paused. In the past: it is being probed.
    pub fn paused_until(&self) -> Option<UnixMillis> {
        match self.state {
            State::Paused { until, .. } => Some(until),
            State::Running | State::OnTrial => None,
        }
    }

    /// Transient failures in a row, without a success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What the last of them ended with.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    fn succeeded(&mut self, now: UnixMillis) -> Change {
        let was = std::mem::take(self);
        match was.state {
            State::Paused { .. } => Change::Resumed(was.not_before.max(now)),
            State::OnTrial => Change::Shown,
            State::Running if was.failures > 0 => Change::Shown,
            State::Running => Change::None,
        }
    }

    fn failed(&mut self, job: i64, reason: &str, now: UnixMillis) {
        if self.failures == 0 {
            self.since = now;
        }
        self.failures = self.failures.saturating_add(1);
        if self.jobs.len() < DIFFERENT && !self.jobs.contains(&job) {
            self.jobs.push(job);
        }
        self.why = Some(reason.to_owned());
        let lasts = self.failures >= FAILURES && now - self.since >= OVER_MS && self.jobs.len() >= DIFFERENT;
        self.state = match self.state {
            State::Running if lasts => State::Paused { until: now + wait(0), probes: 0 },
            State::OnTrial if self.failures >= TRIAL_FAILURES => State::Paused { until: now + wait(0), probes: 0 },
            // What was under way when the route was paused is no probe.
            State::Paused { until, probes } if until <= now => {
                let probes = probes.saturating_add(1);
                State::Paused { until: now + wait(probes), probes }
            }
            unchanged => unchanged,
        };
    }
}

fn wait(probes: usize) -> i64 {
    PROBES_MS[probes.min(PROBES_MS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn down() -> Outcome {
        Err(Failure::transient("no answer"))
    }

    /// So many failures of so many different jobs, spread evenly over this time; how the route stands then.
    fn failing(count: i64, different: i64, over: i64) -> Standing {
        let mut standing = Standing::default();
        for n in 0..count {
            standing.heard(&down(), n % different, n * over / (count - 1).max(1));
        }
        standing
    }

    #[test]
    fn only_failures_in_number_over_time_and_of_different_mails_pause() {
        for (count, different, over, paused) in [
            (10, 3, 5 * MINUTE, true),
            (9, 3, 5 * MINUTE, false),
            (10, 2, 5 * MINUTE, false),
            (500, 1, 60 * MINUTE, false),
            (10, 3, 5 * MINUTE - 1, false),
            (5000, 5000, 4 * MINUTE, false),
            (40, 8, 6 * MINUTE, true),
        ] {
            let standing = failing(count, different, over);
            assert_eq!(standing.paused_until().is_some(), paused, "{count} of {different} over {over}");
            assert_eq!(standing.room(8, over) == 8, !paused);
        }
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew() {
        let mut standing = failing(9, 3, 5 * MINUTE);
        assert_eq!(standing.heard(&Ok(Next::Settled), 99, 5 * MINUTE), Change::Shown);
        assert_eq!(standing, Standing::default());
        standing.heard(&down(), 100, 6 * MINUTE);
        assert_eq!((standing.failures(), standing.paused_until()), (1, None));
    }

    #[test]
    fn probes_come_after_half_a_minute_and_ever_more_seldom() {
        let mut standing = failing(10, 3, 5 * MINUTE);
        let mut now = 5 * MINUTE;
        let mut waits = Vec::new();
        for job in 0..7 {
            let until = standing.paused_until().expect("it is paused");
            waits.push((until - now) / 1000);
            assert_eq!(standing.room(8, until - 1), 0, "nothing is tried before its time");
            assert_eq!(standing.room(8, until), 1, "one at a time is tried");
            now = until;
            standing.heard(&down(), job, now);
        }
        assert_eq!(waits, [30, 60, 120, 240, 300, 300, 300]);
    }

    #[test]
    fn the_first_success_gives_all_the_room_back() {
        let mut standing = failing(10, 3, 5 * MINUTE);
        let until = standing.paused_until().expect("it is paused");
        assert_eq!(standing.heard(&Ok(Next::Settled), 1, until), Change::Resumed(until));
        assert_eq!(standing.room(8, until), 8);
        assert_eq!((standing.failures(), standing.why()), (0, None));
    }

    #[test]
    fn what_the_other_side_asked_for_is_kept_when_it_is_well_again() {
        let mut standing = failing(10, 3, 5 * MINUTE);
        let busy = Failure::Transient { reason: "503".into(), after: Some(Duration::from_secs(3600)) };
        standing.heard(&Err(busy), 1, 5 * MINUTE);
        let change = standing.heard(&Ok(Next::Settled), 2, 6 * MINUTE);
        assert_eq!(change, Change::Resumed(65 * MINUTE));
    }

    #[test]
    fn a_probe_is_lent_once_and_not_before_the_time_that_was_asked_for() {
        let mut standing = failing(10, 3, 5 * MINUTE);
        let until = standing.paused_until().expect("it is paused");
        assert!(!standing.wants_loan(until - 1));
        assert!(standing.wants_loan(until) && !standing.wants_loan(until) && standing.wants_loan(until + 30_000));
        let busy = Failure::Transient { reason: "429".into(), after: Some(Duration::from_secs(3600)) };
        standing.heard(&Err(busy), 1, until);
        assert!(!standing.wants_loan(until + 59 * MINUTE) && standing.wants_loan(until + 60 * MINUTE));
    }

    #[test]
    fn what_was_under_way_is_no_probe() {
        let mut standing = failing(10, 3, 5 * MINUTE);
        let until = standing.paused_until();
        standing.heard(&down(), 11, 5 * MINUTE + 1);
        assert_eq!(standing.paused_until(), until);
        assert_eq!(standing.failures(), 11);
    }

    #[test]
    fn permanent_failures_and_postponed_attempts_count_neither_way() {
        let postponed = Err(Failure::Postponed { reason: "no room".into(), after: Duration::from_secs(5) });
        for outcome in [Err(Failure::permanent("refused")), postponed, Ok(Next::Done)] {
            let mut standing = failing(9, 3, 5 * MINUTE);
            let before = standing.clone();
            assert_eq!(standing.heard(&outcome, 77, 6 * MINUTE), Change::None);
            assert_eq!(standing, before);
            standing.heard(&down(), 78, 6 * MINUTE);
            assert!(standing.paused_until().is_some(), "the row was not broken");
        }
    }

    #[test]
    fn who_says_it_is_gone_rests_for_an_hour_and_is_probed_then() {
        let mut standing = Standing::default();
        standing.heard(&Err(Failure::Gone { reason: "410".into() }), 1, 1000);
        assert_eq!(standing.paused_until(), Some(1000 + 60 * MINUTE));
        assert_eq!((standing.room(8, 1000 + 60 * MINUTE), standing.why()), (1, Some("410")));
        assert_eq!(standing.heard(&Ok(Next::Settled), 2, 1000 + 61 * MINUTE), Change::Resumed(1000 + 61 * MINUTE));
        assert_eq!(standing.room(8, 1000), 8);
    }

    #[test]
    fn a_route_that_leads_elsewhere_is_probed_at_once_whatever_the_old_place_asked_for() {
        let busy = Failure::Transient { reason: "429".into(), after: Some(Duration::from_secs(3600)) };
        for last in [Failure::Gone { reason: "410".into() }, busy, Failure::transient("no answer")] {
            let mut standing = failing(10, 3, 5 * MINUTE);
            standing.heard(&Err(last), 1, 5 * MINUTE);
            standing.probe(6 * MINUTE);
            assert_eq!((standing.room(8, 6 * MINUTE), standing.failures()), (1, 0));
            assert!(standing.wants_loan(6 * MINUTE));
            assert_eq!(standing.heard(&Ok(Next::Settled), 2, 7 * MINUTE), Change::Resumed(7 * MINUTE));
        }
    }

    #[test]
    fn after_a_restart_a_route_that_had_failures_tries_one_at_a_time() {
        assert!(!Standing::wants_trial(2) && Standing::wants_trial(3));
        let mut standing = Standing::on_trial();
        assert_eq!((standing.room(8, 0), standing.paused_until()), (1, None));
        for job in 0..3 {
            standing.heard(&down(), job, job);
        }
        assert_eq!(standing.paused_until(), Some(2 + 30_000));
        let mut well = Standing::on_trial();
        well.heard(&Ok(Next::Settled), 1, 0);
        assert_eq!(well.room(8, 0), 8);
    }
}
