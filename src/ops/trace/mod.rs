//! Where is my mail? The journey of a message, told from what is written of it: what happened when, and what it waits
//! for. Pure.

mod sent;
mod steps;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::clock::{UnixMillis, rfc3339};
use crate::model::subject::Subject;
use crate::store::{Cut, Journey, Leg, MessageState, Sought, Store, StoreError, Tracks, Trail};
pub use sent::TracedSubmission;

/// What a search may be for, in characters: the longest Message-ID a header line holds.
pub const LONGEST: usize = 998;

/// What a trace answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Trace {
    /// The messages, the newest first.
    pub messages: Vec<Traced>,
    /// The submissions, the newest first.
    pub submissions: Vec<TracedSubmission>,
    /// Why there may be more, and what to do; null: these are all.
    pub cut: Option<String>,
    /// When nothing was found: what that means, and what to do.
    pub hint: Option<&'static str>,
}

/// One message and its journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Traced {
    /// The mailbox it lies in, `tenant/address`.
    pub mailbox: String,
    /// Its id there.
    pub immutable_id: String,
    /// Its Message-ID.
    pub internet_message_id: Option<String>,
    /// Its key, the same over routes; null until it is stored.
    pub message_key: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// What kind of mail it is.
    pub kind: Option<String>,
    /// Its conversation.
    pub thread_id: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Where it stands: `pending`, `parked`, `delivered`, `filtered`, `gone`, or `in_the_dark` (nothing drives it on).
    pub state: &'static str,
    /// Its deliveries.
    pub deliveries: Vec<TracedDelivery>,
    /// What happened, in order.
    pub steps: Vec<Step>,
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TracedDelivery {
    /// The route's configured name.
    pub route: String,
    /// The interaction's id: the receiver knows it by this one.
    pub interaction_id: String,
    /// `waiting`, `retrying`, `running`, `accepted`, `parked`, `held`, `discarded` or `in_the_dark`.
    pub state: &'static str,
    /// How many attempts its schedule has had.
    pub attempts: Option<u32>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<String>,
    /// What the last attempt ended with.
    pub last_error: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Step {
    /// When.
    pub at: String,
    /// Milliseconds since the mailbox received the message, or since it was found if nobody said when that was; since a
    /// submission was accepted.
    pub after_ms: i64,
    /// What: of a message `received`, `found`, `failed` (an attempt), `stored`, `accepted`, `parked`, `discarded`, `filtered`, `gone`,
    /// `marked`, `content_dropped`, `tidied`.
    pub what: &'static str,
    /// At which route.
    pub route: Option<String>,
    /// More about it.
    pub detail: Option<String>,
}

/// What a text that was found nowhere means.
const NOT_KNOWN: &str = "No message and no submission is known by this. Either it never reached a watched folder (was it moved by a rule, \
     quarantined, or sent to another address?), or it was received before the bridge began to watch, or its record is \
     older than store.retain. `mailspan audit` tells whether a watched folder holds mail that is not known.";

/// Traces a text: as an id of any kind, else as a part of a subject.
///
/// # Errors
/// The store could not be read.
pub async fn trace(store: &Store, text: &str, since: Since, limit: u32) -> Result<Trace, StoreError> {
    let text = text.trim();
    let (id, of_id) = (Sought::Id(text.to_owned()), since.asked.unwrap_or(i64::MIN));
    let found = (store.journeys(&id, of_id, limit).await?, store.trails(&id, of_id, limit).await?);
    let subject = Subject::new(text);
    if found.0.journeys.is_empty() && found.1.is_empty() && !subject.as_str().is_empty() {
        let (subject, since) = (Sought::Subject(subject), since.asked.unwrap_or(since.retained));
        let trails = store.trails(&subject, since, limit).await?;
        return Ok(told(store.journeys(&subject, since, limit).await?, trails));
    }
    Ok(told(found.0, found.1))
}

/// How far back is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// As asked for; ids are found however old they are if nothing is.
    pub asked: Option<UnixMillis>,
    /// How far back records are kept.
    pub retained: UnixMillis,
}

fn told(tracks: Tracks, trails: Vec<Trail>) -> Trace {
    let cut = tracks.cut.map(|cut| match cut {
        Cut::Enough => "There are more. Ask for more with limit, or for less with since or a longer text.".to_owned(),
        Cut::Searched(at) => format!(
            "Only the newest messages were searched, back to {}. Trace a Message-ID, which is found however old.",
            rfc3339(at)
        ),
    });
    let messages: Vec<Traced> = tracks.journeys.into_iter().map(Traced::of).collect();
    let submissions: Vec<TracedSubmission> = trails.into_iter().map(TracedSubmission::of).collect();
    let hint = (messages.is_empty() && submissions.is_empty()).then_some(NOT_KNOWN);
    Trace { messages, submissions, cut, hint }
}

impl Traced {
    /// A journey, told.
    pub fn of(journey: Journey) -> Self {
        let steps = steps::steps(&journey);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::Address;
    use crate::model::work::MailboxId;
    use crate::store::{Driver, Failed, FoundBy, Mark, Message};

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
