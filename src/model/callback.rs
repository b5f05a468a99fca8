//! What a submitter is told of a final state of his mail: the event of a callback (contract §5).
//!
//! Written once, when the state is reached; what becomes of the mail later is another event.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::bounce::Bounce;
use super::clock::{UnixMillis, rfc3339};
use super::ids::event_id;
use super::reason::Code;
use super::submission::{Origin, SubmissionState};

/// Which schema the event follows.
const SCHEMA: &str = "mailspan.submission/1";

/// The event of a callback, in the shape of Standard Webhooks.
#[derive(Serialize, JsonSchema)]
pub struct CallbackEvent {
    /// What happened.
    #[serde(rename = "type")]
    kind: EventKind,
    /// When.
    timestamp: String,
    /// The submission, as it stood then.
    data: SubmissionEvent,
}

/// What happened to a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum EventKind {
    /// Exchange took it over.
    #[serde(rename = "submission.sent")]
    Sent,
    /// It came back from at least one recipient.
    #[serde(rename = "submission.bounced")]
    Bounced,
    /// It was not sent, and will not be.
    #[serde(rename = "submission.failed")]
    Failed,
}

impl EventKind {
    /// The event of a state. `None`: nobody is told of it.
    pub fn of(state: SubmissionState) -> Option<Self> {
        match state {
            SubmissionState::Sent => Some(Self::Sent),
            SubmissionState::Bounced => Some(Self::Bounced),
            SubmissionState::Failed => Some(Self::Failed),
            // Whoever takes a mail back is answered when he does.
            SubmissionState::Queued | SubmissionState::Sending | SubmissionState::Cancelled => None,
        }
    }

    /// The type, as receivers read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "submission.sent",
            Self::Bounced => "submission.bounced",
            Self::Failed => "submission.failed",
        }
    }
}

/// A submission and what became of it. Absent values are null, lists are never null.
#[derive(Serialize, JsonSchema)]
struct SubmissionEvent {
    /// Always `mailspan.submission/1`.
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    /// The submission's id.
    id: String,
    /// Its state, which is what the event tells.
    state: SubmissionState,
    /// The door it came through.
    origin: Origin,
    /// When it was accepted.
    accepted_at: String,
    /// When it was to leave, where that was asked for.
    send_at: Option<String>,
    /// When Exchange sent it; null: it was not sent.
    sent_at: Option<String>,
    /// Who it is from.
    #[schemars(with = "Option<Correspondent>")]
    from: Value,
    /// To.
    #[schemars(with = "Vec<Correspondent>")]
    to: Value,
    /// Cc.
    #[schemars(with = "Vec<Correspondent>")]
    cc: Value,
    /// Who gets it unseen.
    #[schemars(with = "Vec<Correspondent>")]
    bcc: Value,
    /// The subject.
    subject: String,
    /// Its Message-ID as it was submitted, without `<` and `>`.
    message_id: String,
    /// Its Message-ID as Exchange sent it, without `<` and `>`; null: it is not known.
    sent_message_id: Option<String>,
    /// The conversation it belongs to: the interactions of it have the same `threadId`.
    thread_id: Option<String>,
    /// The interaction it answers.
    #[schemars(with = "Option<String>")]
    interaction_id: Value,
    /// Why it failed, or what is to be known of how it was sent.
    reason: Option<Why>,
    /// What reports say of its recipients.
    bounces: Vec<BounceEvent>,
    /// What was handed in with it to be found again.
    metadata: Map<String, Value>,
}

/// An address.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "drawn in the schema; the values are those that were accepted")]
struct Correspondent {
    /// The display name.
    name: Option<String>,
    /// The address.
    email: String,
}

/// A reason.
#[derive(Serialize, JsonSchema)]
struct Why {
    /// For machines.
    code: Code,
    /// For a person.
    detail: String,
}

/// What a report says of a recipient.
#[derive(Serialize, JsonSchema)]
struct BounceEvent {
    #[serde(flatten)]
    bounce: Bounce,
    /// When the report was read.
    at: String,
}

/// A submission, as its row has it.
pub struct Told {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: SubmissionState,
    /// The door it came through.
    pub origin: Origin,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// When it was to leave.
    pub send_at: Option<UnixMillis>,
    /// When it was sent.
    pub sent_at: Option<UnixMillis>,
    /// What is shown of it, as it was accepted (a JSON object).
    pub shown: String,
    /// The subject.
    pub subject: String,
    /// Its Message-ID.
    pub message_id: String,
    /// Its Message-ID as Exchange sent it.
    pub sent_message_id: Option<String>,
    /// Its conversation.
    pub thread: Option<String>,
    /// Why it failed.
    pub reason: Option<(Code, String)>,
    /// What reports say, and when they were read.
    pub bounces: Vec<(Bounce, UnixMillis)>,
}

/// A callback, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id, the same for the same submission and state: what a receiver deduplicates by.
    pub id: String,
    /// Its type.
    pub kind: EventKind,
    /// The body, the same bytes on every attempt.
    pub body: String,
}

impl Event {
    /// The event of a submission that reached its state now. `None`: nobody is told of that state.
    ///
    /// # Errors
    /// It cannot be written as JSON, which texts and numbers never cause.
    pub fn of(told: Told, now: UnixMillis) -> serde_json::Result<Option<Self>> {
        let Some(kind) = EventKind::of(told.state) else { return Ok(None) };
        let id = event_id(&told.id, told.state.as_str());
        let mut shown: Map<String, Value> = serde_json::from_str(&told.shown).unwrap_or_default();
        let mut take = |name: &str| shown.remove(name);
        let mut list = |name: &str| take(name).filter(Value::is_array).unwrap_or_else(|| Value::Array(Vec::new()));
        let (to, cc, bcc) = (list("to"), list("cc"), list("bcc"));
        let event = CallbackEvent {
            kind,
            timestamp: rfc3339(now),
            data: SubmissionEvent {
                schema: SCHEMA,
                id: told.id,
                state: told.state,
                origin: told.origin,
                accepted_at: rfc3339(told.accepted_at),
                send_at: told.send_at.map(rfc3339),
                sent_at: told.sent_at.map(rfc3339),
                from: take("from").unwrap_or(Value::Null),
                to,
                cc,
                bcc,
                subject: told.subject,
                message_id: told.message_id,
                sent_message_id: told.sent_message_id,
                thread_id: told.thread,
                interaction_id: take("interaction_id").unwrap_or(Value::Null),
                reason: told.reason.map(|(code, detail)| Why { code, detail }),
                bounces: told.bounces.into_iter().map(|(bounce, at)| BounceEvent { bounce, at: rfc3339(at) }).collect(),
                metadata: match take("metadata") {
                    Some(Value::Object(metadata)) => metadata,
                    _ => Map::new(),
                },
            },
        };
        Ok(Some(Self { id, kind, body: serde_json::to_string(&event)? }))
    }
}

/// The JSON Schema of the event.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(CallbackEvent).to_value();
    if let Value::Object(all) = &mut schema {
        all.insert("title".into(), "A submission reached a final state".into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::bounce::BounceAction;

    fn told(state: SubmissionState) -> Told {
        Told {
            id: "sub_1".into(),
            state,
            origin: Origin::Reply,
            accepted_at: 1_000,
            send_at: None,
            sent_at: Some(2_000),
            shown: r#"{"from":{"name":null,"email":"a@x.example"},"to":[],"metadata":{"case":7}}"#.into(),
            subject: "Re: Order".into(),
            message_id: "sub_1@x.example".into(),
            sent_message_id: None,
            thread: None,
            reason: None,
            bounces: Vec::new(),
        }
    }

    #[test]
    fn each_final_state_has_one_event_and_the_others_have_none() {
        use SubmissionState::{Bounced, Cancelled, Failed, Queued, Sending, Sent};
        let id = |state| Event::of(told(state), 3_000).unwrap().map(|it| it.id);
        for state in [Queued, Sending, Cancelled] {
            assert_eq!(id(state), None);
        }
        let ids = [Sent, Bounced, Failed].map(|state| id(state).unwrap());
        assert_eq!(ids, [Sent, Bounced, Failed].map(|state| id(state).unwrap()), "the same on every look");
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        assert!(ids.iter().all(|it| it.starts_with("cb_") && !it.contains('.')), "{ids:?}");
    }

    #[test]
    fn an_event_shows_what_was_accepted_and_what_came_of_it() {
        let failed = Bounce {
            recipient: Some("b@x.example".into()),
            action: BounceAction::Failed,
            status: Some("5.1.1".into()),
            diagnostic: None,
        };
        let bounced = Told { bounces: vec![(failed, 2_500)], ..told(SubmissionState::Bounced) };
        let event: Value = serde_json::from_str(&Event::of(bounced, 3_000).unwrap().unwrap().body).unwrap();
        assert_eq!((&event["type"], &event["timestamp"]), (&"submission.bounced".into(), &rfc3339(3_000).into()));
        let data = &event["data"];
        assert_eq!(data["bounces"][0]["recipient"], "b@x.example");
        assert_eq!((&data["bounces"][0]["at"], &data["metadata"]["case"]), (&rfc3339(2_500).into(), &7.into()));
        assert_eq!((&data["cc"], &data["interaction_id"]), (&Value::Array(vec![]), &Value::Null));
        // What is stored may be anything; an event there is all the same.
        let odd = Told { shown: "[]".into(), ..told(SubmissionState::Sent) };
        let event: Value = serde_json::from_str(&Event::of(odd, 3_000).unwrap().unwrap().body).unwrap();
        assert_eq!((&event["data"]["from"], &event["data"]["metadata"]), (&Value::Null, &serde_json::json!({})));
    }
}
