//! From an outcome to the table: what becomes of a job after an attempt, decided in one place and logged in one line.

use std::time::{Duration, Instant};

use crate::model::backoff::{Backoff, Then};
use crate::model::clock::UnixMillis;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::work::Job;
use crate::store::{End, Store};

/// What found no store is tried again after this: a claim, and the end of an attempt.
pub(super) const STORE_PATIENCE: Duration = Duration::from_millis(500);

/// What becomes of a job. `None`: the attempt wrote the end of its job itself.
pub(super) fn end(outcome: &Outcome, attempt: u32, backoff: &Backoff, now: UnixMillis, chance: f64) -> Option<End> {
    // Upkeep is never parked: whatever stands in its way, a person mends it elsewhere, and then it must go on.
    let upkeep = backoff.then == Then::Repeat;
    let later = |wait: Duration| now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    match outcome {
        Ok(Next::Settled) => None,
        Ok(Next::Done) => Some(End::Done),
        Ok(Next::Again { after }) => Some(End::Again { due_at: later(*after) }),
        Err(Failure::Transient { reason, after }) => Some(match backoff.wait(attempt, chance, *after) {
            Some(wait) => End::Retry { due_at: later(wait), error: reason.clone() },
            None => End::Park { error: reason.used_up(attempt) },
        }),
        Err(Failure::Postponed { after, .. }) => {
            Some(End::GiveBack { due_at: later(after.mul_f64(1.0 + 0.2 * chance)) })
        }
        Err(Failure::Permanent { reason } | Failure::Gone { reason }) if upkeep => {
            let wait = backoff.wait(attempt, chance, None).unwrap_or_default();
            Some(End::Retry { due_at: later(wait), error: reason.clone() })
        }
        Err(Failure::Permanent { reason } | Failure::Gone { reason }) => Some(End::Park { error: reason.clone() }),
    }
}

/// Writes the end of an attempt. While the store is away it is kept for as long as the lease lasts: what is done need not
/// be done again for a database that restarted.
pub(super) async fn write(store: Store, job: Job, end: End, took: Duration, until: Instant) {
    let id = job.claim.id;
    loop {
        match store.settle_after(job.claim, end.clone(), took).await {
            Ok(true) => return,
            Ok(false) => {
                return tracing::warn!(job = id, "The lease was lost; whoever holds it now settles the job");
            }
            Err(error) if error.may_pass() && Instant::now() < until => {
                tokio::time::sleep(around(STORE_PATIENCE)).await;
            }
            Err(error) => {
                return tracing::error!(job = id, reason = %error, "An outcome could not be written; the job is due again when its lease ends");
            }
        }
    }
}

/// About as long: many that failed at once must not come again at once.
pub(super) fn around(wait: Duration) -> Duration {
    wait.mul_f64(0.6 + 0.8 * fastrand::f64())
}

/// The one log line of an attempt: a sentence and its fields.
pub(super) fn log(job: &Job, outcome: Option<&Outcome>, end: Option<&End>, now: UnixMillis, took: Duration) {
    let kind = job.work.kind();
    let (id, lane, attempt) = (job.claim.id, job.work.lane().0, job.attempt);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let wait_s = |due_at: i64| (due_at - now).max(0) / 1000;
    match end {
        None | Some(End::Done) => {
            tracing::debug!(job = id, kind, lane, attempt, took_ms, outcome = "done", "{kind} {id} is done");
        }
        Some(End::Again { due_at }) => {
            let wait_s = wait_s(*due_at);
            tracing::debug!(
                job = id,
                kind,
                lane,
                attempt,
                took_ms,
                wait_s,
                outcome = "again",
                "{kind} {id} runs again in {wait_s} s"
            );
        }
        Some(End::GiveBack { due_at }) => {
            let wait_s = wait_s(*due_at);
            let reason = outcome.and_then(|it| it.as_ref().err()).map_or("stopping", Failure::reason);
            tracing::info!(
                job = id,
                kind,
                lane,
                attempt,
                took_ms,
                wait_s,
                outcome = "given_back",
                reason,
                "{kind} {id} was given back uncounted and is due in {wait_s} s"
            );
        }
        Some(End::Retry { due_at, error }) => {
            let wait_s = wait_s(*due_at);
            tracing::warn!(
                job = id,
                kind,
                lane,
                attempt,
                took_ms,
                wait_s,
                outcome = "transient",
                reason = &**error,
                code = error.attempt_code().as_str(),
                "{kind} {id} will be tried again in {wait_s} s"
            );
        }
        Some(End::Park { error }) => {
            tracing::error!(
                job = id,
                kind,
                lane,
                attempt,
                took_ms,
                outcome = "parked",
                reason = &**error,
                code = error.attempt_code().as_str(),
                "{kind} {id} is parked and needs a person"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reason::Reason;

    fn backoff(then: Then) -> Backoff {
        Backoff { steps: [0, 10, 60].map(Duration::from_secs).to_vec(), then }
    }

    #[test]
    fn every_outcome_has_one_end() {
        let park = backoff(Then::Park);
        let transient = || Failure::transient("no answer");
        let postponed = || Failure::Postponed { reason: "no token".into(), after: Duration::from_secs(60) };
        for (outcome, attempt, expected) in [
            (Ok(Next::Done), 1, Some(End::Done)),
            (Ok(Next::Settled), 1, None),
            (Ok(Next::Again { after: Duration::from_secs(5) }), 1, Some(End::Again { due_at: 6_000 })),
            (Err(transient()), 1, Some(End::Retry { due_at: 11_000, error: "no answer".into() })),
            (Err(transient()), 2, Some(End::Retry { due_at: 61_000, error: "no answer".into() })),
            (Err(transient()), 3, Some(End::Park { error: Reason::from("no answer").used_up(3) })),
            (Err(Failure::permanent("refused")), 1, Some(End::Park { error: "refused".into() })),
            (Err(Failure::Gone { reason: "410".into() }), 1, Some(End::Park { error: "410".into() })),
            (Err(postponed()), 900, Some(End::GiveBack { due_at: 67_000 })),
        ] {
            assert_eq!(end(&outcome, attempt, &park, 1_000, 0.5), expected, "{outcome:?}");
        }
    }

    #[test]
    fn upkeep_is_never_parked_for_lack_of_patience() {
        let end = end(&Err(Failure::transient("down")), 500, &backoff(Then::Repeat), 0, 0.5);
        assert_eq!(end, Some(End::Retry { due_at: 60_000, error: "down".into() }));
        let refused = super::end(&Err(Failure::permanent("refused")), 1, &backoff(Then::Repeat), 0, 0.5);
        assert_eq!(refused, Some(End::Retry { due_at: 10_000, error: "refused".into() }));
    }
}
