//! Many small calls in one: `$batch`, with an outcome for each of its items.
//!
//! An item Graph does not answer is an error, never a success. A move waits for the change before it.

use std::borrow::Cow;
use std::collections::HashMap;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::GraphError;
use super::paths::{User, segment};
use super::refusal::Answer;
use super::request::{Call, IMMUTABLE_IDS, parse};
use super::{Graph, SLOTS_PER_MAILBOX};
use crate::model::address::Address;
use crate::model::retry_after;

/// Graph takes no more requests in one batch (learn.microsoft.com/graph/json-batching).
const MOST_IN_A_BATCH: usize = 20;
/// We read nothing of a changed message; without this it comes back whole.
const WITHOUT_ANSWER: &str = "IdType=\"ImmutableId\", return=minimal";

/// What to change about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its immutable id.
    pub id: String,
    /// Mark it as read; `false` leaves it as it is.
    pub mark_read: bool,
    /// Its categories from now on, all of them; `None` leaves them as they are.
    pub categories: Option<Vec<String>>,
    /// The folder to move it to, an id or a well-known name.
    pub move_to: Option<String>,
}

impl Graph {
    /// Changes messages of one mailbox. One outcome for each, in order.
    pub async fn update_batch(&self, mailbox: &Address, updates: &[Update]) -> Vec<Result<(), GraphError>> {
        let asks = updates.iter().map(|update| update.asks(mailbox));
        let answers = self.batch(mailbox, "update_batch", asks.collect()).await;
        answers.into_iter().map(|answer| answer.map(|_| ())).collect()
    }

    /// The categories of messages of one mailbox. One outcome for each, in order.
    pub async fn categories(&self, mailbox: &Address, ids: &[&str]) -> Vec<Result<Vec<String>, GraphError>> {
        let asks = ids.iter().map(|id| {
            let url = format!("{}/messages/{}?$select=id,categories", User(mailbox), segment(id)?);
            Ok(vec![Ask::new("GET", url, IMMUTABLE_IDS)])
        });
        let answers = self.batch(mailbox, "categories", asks.collect()).await;
        let read = |body: Box<RawValue>| Ok(parse::<WireCategories>(body.get().as_bytes())?.categories);
        answers.into_iter().map(|answer| answer.and_then(|body| body.map_or(Ok(Vec::new()), read))).collect()
    }

    /// Sends the steps of each item in as few batches as they fit in. The last step's body is an item's answer.
    async fn batch(
        &self,
        mailbox: &Address,
        operation: &'static str,
        items: Vec<Result<Vec<Ask>, GraphError>>,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(items.len());
        let mut batch = Batch::default();
        for item in items {
            if batch.asks.len() + item.as_ref().map_or(0, Vec::len) > MOST_IN_A_BATCH {
                outcomes.extend(self.one_batch(mailbox, operation, std::mem::take(&mut batch)).await);
            }
            batch.add(item);
        }
        outcomes.extend(self.one_batch(mailbox, operation, batch).await);
        outcomes
    }

    async fn one_batch(&self, mailbox: &Address, operation: &'static str, batch: Batch) -> Vec<Outcome> {
        let answers = match batch.asks.is_empty() {
            true => Ok(HashMap::new()),
            false => self.answers(mailbox, operation, &batch.asks).await,
        };
        batch.outcomes(&answers)
    }

    async fn answers(
        &self,
        mailbox: &Address,
        operation: &'static str,
        asks: &[Ask],
    ) -> Result<HashMap<usize, Outcome>, GraphError> {
        let room = self.room(mailbox);
        // Graph runs up to four items of a batch at once, so a batch has the mailbox for itself.
        let slots = asks.len().min(SLOTS_PER_MAILBOX) as u32;
        let url = self.endpoint.at(format_args!("/$batch"))?;
        let call = Call::send(operation, Method::POST, url, &Requests { requests: asks })?;
        let body = self.ask(&room, slots, call).await?;
        let answers: Responses<'_> = parse(&body)?;
        let mut outcomes = HashMap::with_capacity(asks.len());
        for answer in answers.responses {
            let Some(id) = answer.id.as_deref().and_then(|id| id.parse().ok()) else { continue };
            let outcome = self.outcome(&answer);
            if let Err(GraphError::Throttled { after }) = &outcome {
                self.pause(&room, *after);
            }
            outcomes.insert(id, outcome);
        }
        Ok(outcomes)
    }

    fn outcome(&self, answer: &Response<'_>) -> Outcome {
        let status = answer.status.unwrap_or_default();
        if (200..300).contains(&status) {
            return Ok(answer.body.map(ToOwned::to_owned));
        }
        let retry_after = answer
            .header("retry-after")
            .and_then(|value| retry_after::parse(&value, self.options.clock.now(), retry_after::MOST));
        let request_id = answer.header("request-id");
        let body = answer.body.map_or(&b""[..], |body| body.get().as_bytes());
        Err(Answer { status, retry_after, request_id: request_id.as_deref(), body }.into_error())
    }
}

/// What an item ended in: the body of its answer, if it has one.
type Outcome = Result<Option<Box<RawValue>>, GraphError>;

/// The requests of one batch and whose they are.
#[derive(Default)]
struct Batch {
    asks: Vec<Ask>,
    /// For each item its requests, as a range of `asks`, or why it has none.
    items: Vec<Result<std::ops::Range<usize>, GraphError>>,
}

impl Batch {
    fn add(&mut self, item: Result<Vec<Ask>, GraphError>) {
        let item = item.map(|steps| {
            let first = self.asks.len();
            for (step, mut ask) in steps.into_iter().enumerate() {
                let id = self.asks.len();
                ask.id = id.to_string();
                ask.depends_on = (step > 0).then(|| [(id - 1).to_string()]);
                self.asks.push(ask);
            }
            first..self.asks.len()
        });
        self.items.push(item);
    }

    /// An item's outcome is its first failure, else its last answer.
    fn outcomes(self, answers: &Result<HashMap<usize, Outcome>, GraphError>) -> Vec<Outcome> {
        let outcome = |item: Result<std::ops::Range<usize>, GraphError>| {
            let mut last = Ok(None);
            for id in item? {
                last = match answers {
                    Err(error) => Err(error.clone()),
                    Ok(answers) => answers.get(&id).map_or_else(
                        || Err(GraphError::bad("a batch without an answer to one of its requests")),
                        Outcome::clone,
                    ),
                };
                if last.is_err() {
                    break;
                }
            }
            last
        };
        self.items.into_iter().map(outcome).collect()
    }
}

impl Update {
    /// The requests it takes, in order; none when there is nothing to change.
    fn asks(&self, mailbox: &Address) -> Result<Vec<Ask>, GraphError> {
        let message = format!("{}/messages/{}", User(mailbox), segment(&self.id)?);
        let mut asks = Vec::with_capacity(2);
        if self.mark_read || self.categories.is_some() {
            let body = Body::Change { is_read: self.mark_read.then_some(true), categories: self.categories.clone() };
            asks.push(Ask::new("PATCH", message.clone(), WITHOUT_ANSWER).with(body));
        }
        if let Some(folder) = &self.move_to {
            let body = Body::Move { destination_id: folder.clone() };
            asks.push(Ask::new("POST", message + "/move", WITHOUT_ANSWER).with(body));
        }
        Ok(asks)
    }
}

#[derive(Serialize)]
struct Requests<'a> {
    requests: &'a [Ask],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ask {
    id: String,
    method: &'static str,
    url: String,
    headers: AskHeaders,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depends_on: Option<[String; 1]>,
}

/// Every request has its own: those of the batch itself do not hold for its items.
#[derive(Serialize)]
struct AskHeaders {
    #[serde(rename = "Prefer")]
    prefer: &'static str,
    #[serde(rename = "Content-Type", skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Body {
    Change {
        #[serde(skip_serializing_if = "Option::is_none")]
        is_read: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        categories: Option<Vec<String>>,
    },
    Move {
        destination_id: String,
    },
}

impl Ask {
    fn new(method: &'static str, url: String, prefer: &'static str) -> Self {
        let headers = AskHeaders { prefer, content_type: None };
        Self { id: String::new(), method, url, headers, body: None, depends_on: None }
    }

    fn with(mut self, body: Body) -> Self {
        self.headers.content_type = Some("application/json");
        self.body = Some(body);
        self
    }
}

#[derive(Deserialize)]
struct Responses<'a> {
    #[serde(borrow)]
    responses: Vec<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    status: Option<u16>,
    #[serde(borrow)]
    headers: Option<HashMap<Cow<'a, str>, Value>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

impl Response<'_> {
    /// A header, its name's case aside.
    fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.as_ref()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct WireCategories {
    #[serde(default)]
    categories: Vec<String>,
}
