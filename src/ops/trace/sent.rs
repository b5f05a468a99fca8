//! The journey of a mail that leaves, told from what is written of it. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use super::Step;
use crate::model::clock::{UnixMillis, rfc3339};
use crate::model::submission::SubmissionState;
use crate::store::{DeliveryState, Trail};

/// One submission and its journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TracedSubmission {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: SubmissionState,
    /// The mailbox it leaves from, `tenant/address`.
    pub mailbox: String,
    /// Its Message-ID: as Exchange sent it, else as it was submitted.
    pub internet_message_id: String,
    /// Its subject.
    pub subject: String,
    /// Its conversation.
    pub thread_id: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// What happened, in order: `accepted`, `failed_attempt`, `drafted`, `left`, `sent`, `bounced` (one recipient), `reported`
    /// (what else a report says of one), `failed`, `cancelled`, `called_back`, `callback_parked`, `callback_discarded`.
    pub steps: Vec<Step>,
}

impl TracedSubmission {
    /// A trail, told.
    pub fn of(trail: Trail) -> Self {
        let steps = steps(&trail);
        let it = trail.submission;
        Self {
            id: it.id,
            state: it.state,
            mailbox: it.mailbox.to_string(),
            internet_message_id: format!("<{}>", it.sent_message_id.unwrap_or(it.message_id)),
            subject: it.subject,
            thread_id: it.thread,
            size: it.size,
            steps,
        }
    }
}

fn steps(trail: &Trail) -> Vec<Step> {
    let it = &trail.submission;
    let mut told: Vec<(UnixMillis, Step)> = Vec::new();
    let mut tell = |at: Option<UnixMillis>, what: &'static str, detail: Option<String>| {
        let Some(at) = at else { return };
        let after_ms = at - it.accepted_at;
        told.push((at, Step { at: rfc3339(at), after_ms, what, route: None, detail }));
    };
    let waits = it.send_at.map(|at| format!(", to leave at {}", rfc3339(at))).unwrap_or_default();
    tell(Some(it.accepted_at), "accepted", Some(format!("through {}{waits}", it.origin)));
    for made in trail.attempts.iter().filter(|made| made.code.is_some()) {
        let code = made.code.map(|it| it.as_str()).unwrap_or_default();
        let reason = made.reason.as_deref().unwrap_or_default();
        tell(Some(made.at), "failed_attempt", Some(format!("attempt {}: {code}: {reason}", made.attempt)));
    }
    tell(it.drafting_at, "drafted", None);
    tell(it.left_at.or(it.leaving_at), "left", None);
    let why = it.code.zip(it.reason.as_deref()).map(|(code, reason)| format!("{}: {reason}", code.as_str()));
    match it.state {
        SubmissionState::Failed => tell(it.ended_at, "failed", why),
        SubmissionState::Cancelled => tell(it.ended_at, "cancelled", None),
        SubmissionState::Sent | SubmissionState::Bounced => tell(it.ended_at.or(it.sent_at), "sent", why),
        SubmissionState::Queued | SubmissionState::Sending => {}
    }
    for bounce in &trail.bounces {
        let what = if bounce.action == "failed" { "bounced" } else { "reported" };
        let parts = [&bounce.action, bounce.status.as_deref().unwrap_or_default(), &bounce.recipient];
        let said = parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
        let diagnostic = bounce.diagnostic.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        tell(Some(bounce.at), what, Some(format!("{said}{diagnostic}")));
    }
    for (callback, line) in &trail.callbacks {
        let named = |more: &str| Some(format!("{} ({}){more}", callback.kind, callback.id));
        tell(callback.accepted_at, "called_back", named(""));
        tell(callback.discarded_at, "callback_discarded", named(""));
        if let Some(line) = line.as_ref().filter(|it| it.state == DeliveryState::Parked) {
            let reason = line.reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
            tell(line.parked_at, "callback_parked", named(&reason));
        }
    }
    // Stable: what is written under the same time keeps the order of the story.
    told.sort_by_key(|(at, _)| *at);
    told.into_iter().map(|(_, step)| step).collect()
}
