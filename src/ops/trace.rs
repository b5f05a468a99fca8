//! Where is my mail? The journey of a message, told from what is written of it: what happened when, and what it waits
//! for. Pure.

use super::traced::{Step, Trace, Traced, TracedDelivery};
use crate::model::clock::{UnixMillis, rfc3339};
use crate::model::subject::Subject;
use crate::store::{Cut, Driver, Failed, FoundBy, Journey, Leg, Mark, MessageState, Sought, Store, StoreError, Tracks};

/// What a search may be for, in characters: the longest Message-ID a header line holds.
pub const LONGEST: usize = 998;

/// What a text that was found nowhere means.
const NOT_KNOWN: &str = "No message is known by this. Either it never reached a watched folder (was it moved by a rule, \
     quarantined, or sent to another address?), or it was received before the bridge began to watch, or its record is \
     older than store.retain. `mailspan audit` tells whether a watched folder holds mail that is not known.";

/// Traces a text: as an id of any kind, else as a part of a subject.
///
/// # Errors
/// The store could not be read.
pub async fn trace(store: &Store, text: &str, since: Since, limit: u32) -> Result<Trace, StoreError> {
    let text = text.trim();
    let ids = store.journeys(&Sought::Id(text.to_owned()), since.asked.unwrap_or(i64::MIN), limit).await?;
    let subject = Subject::new(text);
    let tracks = if ids.journeys.is_empty() && !subject.as_str().is_empty() {
        store.journeys(&Sought::Subject(subject), since.asked.unwrap_or(since.retained), limit).await?
    } else {
        ids
    };
    Ok(told(tracks))
}

/// How far back is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// As asked for; ids are found however old they are if nothing is.
    pub asked: Option<UnixMillis>,
    /// How far back records are kept.
    pub retained: UnixMillis,
}

fn told(tracks: Tracks) -> Trace {
    let cut = tracks.cut.map(|cut| match cut {
        Cut::Enough => "There are more. Ask for more with limit, or for less with since or a longer text.".to_owned(),
        Cut::Searched(at) => format!(
            "Only the newest messages were searched, back to {}. Trace a Message-ID, which is found however old.",
            rfc3339(at)
        ),
    });
    let messages: Vec<Traced> = tracks.journeys.into_iter().map(Traced::of).collect();
    let hint = messages.is_empty().then_some(NOT_KNOWN);
    Trace { messages, cut, hint }
}

impl Traced {
    /// A journey, told.
    pub fn of(journey: Journey) -> Self {
        let steps = steps(&journey);
        let state = state(&journey);
        let Journey { message, subject, kind, deliveries, .. } = journey;
        Self {
            mailbox: message.mailbox.to_string(),
            immutable_id: message.immutable_id,
            internet_message_id: message.internet_message_id,
            message_key: message.message_key,
            subject: subject.map(|it| it.as_str().to_owned()),
            kind,
            thread_id: message.joined.map(|it| it.thread),
            size: message.size,
            state,
            deliveries: deliveries.into_iter().map(TracedDelivery::of).collect(),
            steps,
        }
    }
}

impl TracedDelivery {
    fn of(leg: Leg) -> Self {
        let state = leg_state(&leg);
        let waiting = leg.job.as_ref().filter(|it| it.parked_at.is_none() && !it.is_running);
        Self {
            state,
            next_attempt_at: waiting.map(|it| rfc3339(it.due_at)),
            attempts: leg.job.as_ref().map(|it| it.attempt),
            last_error: leg.job.and_then(|it| it.last_error),
            route: leg.route,
            interaction_id: leg.interaction_id,
        }
    }
}

fn state(journey: &Journey) -> &'static str {
    match journey.message.state {
        MessageState::Delivered => "delivered",
        MessageState::Filtered => "filtered",
        MessageState::Gone => "gone",
        MessageState::Found => match &journey.fetch {
            Some(job) if job.parked_at.is_some() => "parked",
            Some(_) => "pending",
            None => "in_the_dark",
        },
        MessageState::Accepted => {
            let has = |state: &str| journey.deliveries.iter().any(|it| leg_state(it) == state);
            match () {
                () if has("in_the_dark") || journey.deliveries.is_empty() => "in_the_dark",
                () if has("parked") || has("held") => "parked",
                () => "pending",
            }
        }
    }
}

fn leg_state(leg: &Leg) -> &'static str {
    match &leg.job {
        _ if leg.accepted_at.is_some() => "accepted",
        _ if leg.discarded.is_some() => "discarded",
        None => "in_the_dark",
        Some(job) if job.parked_at.is_some() && leg.held.is_some() => "held",
        Some(job) if job.parked_at.is_some() => "parked",
        Some(job) if job.is_running => "running",
        Some(job) if job.last_error.is_some() => "retrying",
        Some(_) => "waiting",
    }
}

/// What is written of a message, as steps in time.
fn steps(journey: &Journey) -> Vec<Step> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::Address;
    use crate::model::work::MailboxId;
    use crate::store::Message;

    fn journey(state: MessageState) -> Journey {
        let address = Address::parse("support@contoso.example").unwrap();
        let message = Message {
            id: 1,
            mailbox: MailboxId { tenant: "contoso".into(), address },
            immutable_id: "AAk1".into(),
            found_at: 2_000,
            found_by: FoundBy::Sweep,
            received_at: Some(1_000),
            conversation_id: None,
            internet_message_id: Some("<1@customer.example>".into()),
            state,
            state_reason: Some("why so".into()),
            message_key: None,
            size: None,
            sha256: None,
            accepted_at: None,
            finished_at: None,
            mark: Mark::Never,
            marked_at: None,
            content_dropped_at: None,
            beside: None,
            has_attachments: None,
            joined: None,
        };
        let kind = Some("human".to_owned());
        let failed = Vec::new();
        Journey { message, subject: None, kind, tidied_at: None, fetch: None, failed, deliveries: Vec::new() }
    }

    fn job() -> Driver {
        Driver { attempt: 2, due_at: 9_000, is_running: false, last_error: None, parked_at: None }
    }

    fn leg(accepted_at: Option<i64>, job: Option<Driver>) -> Leg {
        let (route, interaction_id) = ("crm".to_owned(), "ix_1".to_owned());
        let attempt = accepted_at.map(|_| (2, 35));
        let failed = vec![Failed { attempt: 1, at: 3_500, code: "unavailable".into(), reason: Some("503".into()) }];
        Leg { route, interaction_id, created_at: 3_000, accepted_at, attempt, discarded: None, held: None, job, failed }
    }

    fn story(journey: Journey) -> Vec<(i64, &'static str, Option<String>)> {
        let steps = Traced::of(journey).steps;
        steps.into_iter().map(|it| (it.after_ms, it.what, it.detail)).collect()
    }

    #[test]
    fn where_a_message_stands_follows_from_what_drives_it() {
        use MessageState::{Accepted, Delivered, Filtered, Found, Gone};
        let parked = || Driver { parked_at: Some(5_000), last_error: Some("422".into()), ..job() };
        let fetched = |job| Journey { fetch: job, ..journey(Found) };
        let accepted = |legs| Journey { deliveries: legs, ..journey(Accepted) };
        let held = Leg { held: Some("a loop".into()), ..leg(None, Some(parked())) };
        for (journey, state) in [
            (fetched(Some(job())), "pending"),
            (fetched(Some(parked())), "parked"),
            (fetched(None), "in_the_dark"),
            (accepted(vec![leg(Some(4_000), None), leg(None, Some(job()))]), "pending"),
            (accepted(vec![leg(None, Some(parked())), leg(None, Some(job()))]), "parked"),
            (accepted(vec![held]), "parked"),
            (accepted(vec![leg(None, None), leg(None, Some(parked()))]), "in_the_dark"),
            (accepted(vec![]), "in_the_dark"),
            (journey(Delivered), "delivered"),
            (journey(Filtered), "filtered"),
            (journey(Gone), "gone"),
        ] {
            let told = Traced::of(journey);
            assert_eq!(told.state, state, "{told:?}");
        }
    }

    #[test]
    fn each_delivery_says_how_it_stands() {
        let failed = |job: Driver| Driver { last_error: Some("503".into()), ..job };
        for (job, state, is_due) in [
            (None, "in_the_dark", false),
            (Some(job()), "waiting", true),
            (Some(failed(job())), "retrying", true),
            (Some(Driver { is_running: true, ..failed(job()) }), "running", false),
            (Some(Driver { parked_at: Some(1), ..failed(job()) }), "parked", false),
        ] {
            let told = TracedDelivery::of(leg(None, job));
            assert_eq!((told.state, told.next_attempt_at.is_some()), (state, is_due));
        }
        assert_eq!(TracedDelivery::of(leg(Some(1), Some(job()))).state, "accepted");
        let discarded = Leg { discarded: Some((4_000, "not needed".into())), ..leg(None, None) };
        assert_eq!(TracedDelivery::of(discarded).state, "discarded");
    }

    #[test]
    fn the_steps_are_told_in_the_order_in_which_they_happened() {
        let mut gone = journey(MessageState::Gone);
        gone.message.finished_at = Some(4_000);
        let swept = Some("sweep: neither push nor delta had shown it".to_owned());
        let begun = [(0, "received", None), (1_000, "found", swept)];
        assert_eq!(story(gone)[..2], begun);
        let mut done = journey(MessageState::Delivered);
        done.message.accepted_at = Some(3_000);
        done.message.marked_at = Some(6_000);
        done.message.mark = Mark::Done;
        done.message.content_dropped_at = Some(7_000);
        done.deliveries = vec![leg(Some(5_000), None)];
        assert_eq!(
            story(done)[2..],
            [
                (2_000, "stored", Some("kind human; to crm".to_owned())),
                (2_500, "failed", Some("attempt 1: unavailable: 503".to_owned())),
                (4_000, "accepted", Some("at attempt 2, in 35 ms".to_owned())),
                (5_000, "marked", None),
                (6_000, "content_dropped", None)
            ]
        );
        let filtered = story(Journey {
            fetch: Some(job()),
            ..{
                let mut it = journey(MessageState::Filtered);
                it.message.finished_at = Some(2_500);
                it.message.received_at = None;
                it
            }
        });
        assert_eq!(filtered[1], (500, "filtered", Some("why so".to_owned())), "counted from when it was found");
    }
}
