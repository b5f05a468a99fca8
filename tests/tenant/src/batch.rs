//! `$batch`: up to twenty requests in one, each with its own outcome.
//!
//! As Graph does for Outlook, at most four items are at work at once, and the answers come in no order.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::{
    answer::{Answer, Content, Ending, error_body},
    call::{Call, Prefer},
    item::json_object,
    perform::perform,
    world::{World, random_uuid},
};

/// The most requests in a batch, and the most of them at work at once.
const MOST: usize = 20;
const AT_ONCE: usize = 4;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Item {
    id: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    depends_on: Vec<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "Graph accepts and ignores it")]
    atomicity_group: Option<String>,
}

/// Works on a batch; fails as a whole only if it cannot be read.
pub(crate) fn run<'a>(world: &'a Arc<World>, call: &'a Call) -> Outcome<'a> {
    // Boxed, since working on an item goes through the same door as the batch did.
    Box::pin(work(world, call))
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<Answer, Answer>> + Send + 'a>>;

async fn work(world: &Arc<World>, call: &Call) -> Result<Answer, Answer> {
    let mut waiting = items(call)?;
    let mut statuses: HashMap<String, u16> = HashMap::new();
    let mut responses = Vec::with_capacity(waiting.len());
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE {
            let ready = |item: &Item| item.depends_on.iter().all(|id| statuses.contains_key(&id.to_lowercase()));
            let Some(at) = waiting.iter().position(ready) else { break };
            let item = waiting.remove(at);
            let failed =
                item.depends_on.iter().any(|id| statuses.get(&id.to_lowercase()).is_none_or(|status| *status >= 400));
            if failed {
                let answer = Answer::error(424, "FailedDependency", "A request this one depends on has failed.");
                statuses.insert(item.id.to_lowercase(), answer.status);
                world.ledger.answered(answer.status);
                responses.push(written(world, &item.id, answer));
            } else {
                let (world, call) = (world.clone(), read(&item, call));
                running.spawn(async move { (item.id, perform(world, call).await) });
            }
        }
        match running.join_next().await {
            None => break,
            Some(Ok((id, answer))) => {
                statuses.insert(id.to_lowercase(), answer.status);
                responses.push(written(world, &id, answer));
            }
            Some(Err(_)) => return Err(Answer::error(500, "InternalServerError", "An item of the batch broke down.")),
        }
    }
    fastrand::shuffle(&mut responses);
    Ok(Answer::json(200, json!({ "responses": responses })))
}

fn items(call: &Call) -> Result<Vec<Item>, Answer> {
    let invalid = |reason: &str| Answer::bad_request(&format!("Invalid batch payload format. {reason}"));
    let mut body = json_object(call)?;
    let requests = body.remove("requests").ok_or_else(|| invalid("There are no requests."))?;
    let items: Vec<Item> = serde_json::from_value(requests).map_err(|error| invalid(&error.to_string()))?;
    if items.is_empty() {
        return Err(invalid("There are no requests."));
    }
    if items.len() > MOST {
        return Err(Answer::bad_request("Number of batch request steps exceeds the maximum value of 20."));
    }
    let mut seen: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        let id = item.id.to_lowercase();
        if id.is_empty() || seen.contains(&id) {
            return Err(invalid("The ids of its requests must be unique."));
        }
        // Only earlier requests can be depended on, so there is no circle.
        if item.depends_on.iter().any(|other| !seen.contains(&other.to_lowercase())) {
            return Err(invalid("A request depends on one that does not come before it."));
        }
        if !["GET", "POST", "PATCH", "PUT", "DELETE"].contains(&item.method.as_str()) {
            return Err(invalid("A request has no valid method."));
        }
        if item.url.is_empty() || item.url.contains("://") {
            return Err(invalid("The url of a request must be relative."));
        }
        if item.body.is_some() && header(item, "content-type").is_none() {
            let message = format!("Write request id : {} does not contain Content-Type header or body.", item.id);
            return Err(Answer::bad_request(&message));
        }
        seen.push(id);
    }
    Ok(items)
}

fn header<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn read(item: &Item, of: &Call) -> Call {
    let body = match &item.body {
        None => Bytes::new(),
        Some(Value::String(text)) => URL_SAFE.decode(text).map_or_else(|_| Bytes::from(text.clone()), Bytes::from),
        Some(json) => json.to_string().into(),
    };
    let mut prefer = Prefer::default();
    prefer.take(header(item, "prefer").unwrap_or_default());
    Call {
        prefer,
        content_type: header(item, "content-type").unwrap_or_default().to_owned(),
        in_batch: true,
        on_behalf: of.on_behalf.clone(),
        ..Call::read(&item.method, &item.url, body, of.app)
    }
}

/// An item's answer. A connection that would have been lost is a gateway's timeout here.
fn written(world: &World, id: &str, answer: Answer) -> Value {
    let answer = match answer.ending {
        Ending::Whole => answer,
        Ending::Dropped | Ending::Truncated => Answer::error(504, "UnknownError", ""),
    };
    let mut headers: Map<String, Value> =
        answer.headers.iter().map(|(name, value)| (titled(name), value.clone().into())).collect();
    headers.insert("Cache-Control".to_owned(), "private".into());
    let json_type =
        "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8";
    let body = match answer.content {
        Content::Nothing => None,
        Content::Json(json) => Some((json, json_type)),
        Content::Raw(bytes, media_type) => Some((URL_SAFE.encode(bytes).into(), media_type)),
        Content::Error { code, message } => {
            let request_id = random_uuid().to_string();
            Some((error_body(&code, &message, world.clock.now(), &request_id, &request_id), json_type))
        }
    };
    let mut response = json!({ "id": id, "status": answer.status });
    if let Some((body, media_type)) = body {
        headers.insert("Content-Type".to_owned(), media_type.into());
        response["body"] = body;
    }
    response["headers"] = headers.into();
    response
}

/// `retry-after` as `Retry-After`: a batch spells headers as their authors like them.
fn titled(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}
