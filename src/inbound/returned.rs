//! Mail of ours that came back: a report on it is handed to whoever submitted it, and to no flow that does not ask for it.
//!
//! What reports on nothing of ours is mail like any other, whoever wrote it.

use std::borrow::Cow;

use super::fetch::mark_when;
use super::{Inbound, Watched};
use crate::mail::classify::returned;
use crate::mail::facts::Kind;
use crate::mail::kept::Understood;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::route::Rule;
use crate::model::work::Job;
use crate::store::Tie;

impl Inbound {
    /// The submission this mail reports on.
    pub(super) async fn tie(&self, tenant: &str, understood: &Understood) -> Result<Option<Tie>, Failure> {
        if understood.classification.kind != Kind::Dsn {
            return Ok(None);
        }
        Ok(self.store.tie(tenant, returned(&understood.mail, &understood.raw)).await?)
    }

    /// The routes that may get this mail: of a report on our own mail those that ask for reports by their kind.
    pub(super) fn rules_for(&self, is_own_report: bool) -> Cow<'_, [Rule]> {
        if !is_own_report {
            return Cow::Borrowed(&self.rules);
        }
        let asks = |rule: &&Rule| rule.kinds.iter().any(|it| it == Kind::Dsn.as_str());
        Cow::Owned(self.rules.iter().filter(asks).cloned().collect())
    }

    /// The report was handed over, to the submitter; the message ends here.
    pub(super) async fn returned(&self, job: &Job, watched: &Watched, message: i64, tie: Tie) -> Outcome {
        let submission = tie.id.clone();
        match self.store.returned(job.claim, message, tie, mark_when(watched)).await? {
            Some(is_first) => {
                metrics::counter!("mailspan_messages_filtered_total").increment(1);
                tracing::info!(message, submission, "Message {message} reports on {submission} and is noted with it");
                if is_first {
                    count_bounce();
                }
            }
            None => tracing::warn!(
                message,
                "The lease was lost while message {message} was fetched; whoever holds it now stores it"
            ),
        }
        Ok(Next::Settled)
    }
}

/// A submission came back.
pub(super) fn count_bounce() {
    metrics::counter!("mailspan_submissions_total", "outcome" => "bounced").increment(1);
}
