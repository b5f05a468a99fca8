//! The steps of a journey: what is written of a message, told in the order in which it happened. Pure.

use super::Step;
use crate::model::clock::{UnixMillis, rfc3339};
use crate::store::{Driver, Failed, FoundBy, Journey, Mark, MessageState};

/// What is written of a message, as steps in time.
pub(super) fn steps(journey: &Journey) -> Vec<Step> {
    let message = &journey.message;
    let begun = message.received_at.unwrap_or(message.found_at);
    let mut told: Vec<(UnixMillis, Step)> = Vec::new();
    let mut tell = |at: Option<UnixMillis>, what: &'static str, route: Option<&str>, detail: Option<String>| {
        let Some(at) = at else { return };
        let route = route.map(str::to_owned);
        told.push((at, Step { at: rfc3339(at), after_ms: at - begun, what, route, detail }));
    };
    tell(message.received_at, "received", None, None);
    tell(Some(message.found_at), "found", None, Some(found_by(message.found_by).to_owned()));
    for it in &journey.failed {
        tell(Some(it.at), "failed", None, Some(failed(it)));
    }
    if let Some(job) = &journey.fetch {
        tell(job.parked_at, "parked", None, why(job));
    }
    tell(message.accepted_at, "stored", None, stored(journey));
    for leg in &journey.deliveries {
        let route = Some(leg.route.as_str());
        for it in &leg.failed {
            tell(Some(it.at), "failed", route, Some(failed(it)));
        }
        let took = leg.attempt.map(|(attempt, took)| format!("at attempt {attempt}, in {took} ms"));
        tell(leg.accepted_at, "accepted", route, took);
        if let Some((at, reason)) = &leg.discarded {
            tell(Some(*at), "discarded", route, Some(reason.clone()));
        }
        if let Some(job) = leg.job.as_ref().filter(|_| leg.accepted_at.is_none()) {
            tell(job.parked_at, "parked", route, leg.held.clone().or_else(|| why(job)));
        }
    }
    match message.state {
        MessageState::Filtered => tell(message.finished_at, "filtered", None, message.state_reason.clone()),
        MessageState::Gone => tell(message.finished_at, "gone", None, message.state_reason.clone()),
        MessageState::Found | MessageState::Accepted | MessageState::Delivered => {}
    }
    tell(message.marked_at.filter(|_| message.mark == Mark::Done), "marked", None, None);
    tell(message.content_dropped_at, "content_dropped", None, None);
    tell(journey.tidied_at, "tidied", None, None);
    // Stable: what is written under the same time keeps the order of the story.
    told.sort_by_key(|(at, _)| *at);
    told.into_iter().map(|(_, step)| step).collect()
}

fn found_by(found_by: FoundBy) -> &'static str {
    match found_by {
        FoundBy::Push => "push: a notification announced it",
        FoundBy::Poll => "poll: a look on a timer",
        FoundBy::Sweep => "sweep: neither push nor delta had shown it",
        FoundBy::Start => "start: the first round of the mailbox",
        FoundBy::Report => "report: the mailbox only sends, and it looks like a report on mail that was sent",
        FoundBy::Hint => "push: a notification named it, delta did not show it",
    }
}

fn stored(journey: &Journey) -> Option<String> {
    let routes: Vec<&str> = journey.deliveries.iter().map(|it| it.route.as_str()).collect();
    let kind = journey.kind.as_deref().map(|kind| format!("kind {kind}"));
    let to = (!routes.is_empty()).then(|| format!("to {}", routes.join(", ")));
    let all: Vec<String> = kind.into_iter().chain(to).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn failed(it: &Failed) -> String {
    let reason = it.reason.as_deref().unwrap_or_default();
    format!("attempt {}: {}: {reason}", it.attempt, it.code)
}

fn why(job: &Driver) -> Option<String> {
    job.last_error.clone()
}
