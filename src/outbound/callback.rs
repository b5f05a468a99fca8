//! Job Callback: whoever submitted a mail is told of a final state of it, with the body that was written with the state.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Outbound;
use crate::destinations::{About, Handover};
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::reason::Code;
use crate::model::work::Job;

/// What a callback is handed over as; no route has this name, for it goes to none.
const ROUTE: &str = "outbound.callback";

/// So long a callback waits for a replica that knows where it goes: configurations reach replicas one after the other …
const ROLLOUT_MS: i64 = 10 * 60 * 1000;
/// … and so soon another is to find it.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(5);

impl Outbound {
    /// Makes one callback and records that it was taken.
    ///
    /// # Errors
    /// It was not taken; its schedule says when it is tried again.
    pub async fn call_back(&self, job: &Job, id: &str) -> Outcome {
        let begun = Instant::now();
        let Some(callback) = self.store.callback(id).await? else {
            return Ok(Next::Done);
        };
        if callback.accepted_at.or(callback.discarded_at).is_some() {
            return Ok(Next::Done);
        }
        let Some(to) = &self.callback else {
            // A replica may not have read yet what another knows already.
            if self.store.is_shared() && self.clock.now() - job.created_at < ROLLOUT_MS {
                let reason = "outbound.callback is not configured in this replica yet".to_owned();
                return Err(Failure::Postponed { reason: reason.into(), after: LEFT_TO_OTHERS });
            }
            let failure = Failure::permanent("outbound.callback is no longer configured");
            return Err(failure.coded(Code::RouteRemoved));
        };
        let handover = Handover {
            interaction: callback.id,
            attempt: job.attempt,
            route: ROUTE.into(),
            body: Bytes::from(callback.body),
            content_type: "application/json",
            headers: Vec::new(),
            raw: Bytes::new(),
            about: About::default(),
        };
        let taken = to.deliver(&handover).await;
        let outcome = match &taken {
            Ok(()) => "accepted",
            Err(Failure::Transient { .. } | Failure::Postponed { .. }) => "transient",
            Err(Failure::Permanent { .. } | Failure::Gone { .. }) => "refused",
        };
        metrics::counter!("mailspan_callbacks_total", "outcome" => outcome).increment(1);
        taken?;
        if !self.store.called_back(job.claim, id, (job.attempt, begun.elapsed())).await? {
            tracing::warn!(
                callback = id,
                "The lease was lost while {id} was handed over; its receiver may see the same id again"
            );
        }
        Ok(Next::Settled)
    }
}
