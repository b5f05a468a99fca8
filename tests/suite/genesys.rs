//! A Genesys Cloud on a real socket, written from its published models: strict about fields, types, words and limits.
//!
//! It keeps conversations and what was said in them. What it would refuse, and what it should never have been sent, is
//! remembered and fails the test when it is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, StatusCode};
use mailspan::model::clock::parse_rfc3339;
use serde_json::{Map, Value, json};

pub(crate) const CLIENT_ID: &str = "client-7";
pub(crate) const CLIENT_SECRET: &str = "swordfish~Genesys";
pub(crate) const FLOW: &str = "0c1d2e3f-4a5b-4d6e-8a55-9a7e1c524f0b";

/// `InboundMessageRequest`, and what `CreateEmailRequest` has beyond it.
const FIELDS: [(&str, &str); 12] = [
    ("queueId", "text"),
    ("flowId", "text"),
    ("provider", "text"),
    ("skillIds", "texts"),
    ("languageId", "text"),
    ("priority", "number"),
    ("attributes", "map"),
    ("toAddress", "text"),
    ("toName", "text"),
    ("fromAddress", "text"),
    ("fromName", "text"),
    ("subject", "text"),
];
const MORE_TO_CREATE: [(&str, &str); 5] = [
    ("skillExpression", "text"),
    ("direction", "text"),
    ("htmlBody", "text"),
    ("textBody", "text"),
    ("utilizationLabel", "text"),
];
const MOST_ATTRIBUTES: usize = 20_000;
const PAGE: usize = 2;

/// How a call is answered, once.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Refused with this status and header fields; nothing is taken.
    Refuse(u16, Vec<(&'static str, String)>),
    /// Taken, and answered with this status.
    TakeAndSay(u16),
    /// Taken, and never answered.
    TakeAndHang,
    /// Not taken, and never answered.
    Hang,
}

/// A conversation.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) id: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// What was sent into it: the first made it.
    pub(crate) messages: Vec<Value>,
    pub(crate) ended: bool,
    began: i64,
}

#[derive(Default)]
struct Desk {
    conversations: Vec<Conversation>,
    replies: VecDeque<Reply>,
    /// Answers carry this count of the window.
    count: u64,
    logins: usize,
    good_token: usize,
    calls: usize,
    searches: usize,
    violations: Vec<String>,
    hangs_login: bool,
}

type Shared = Arc<Mutex<Desk>>;

/// The organisation. It listens until it is dropped.
pub(crate) struct Genesys {
    pub(crate) url: String,
    desk: Shared,
    server: tokio::task::JoinHandle<()>,
}

impl Genesys {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let desk = Shared::default();
        let app = Router::new()
            .route("/oauth/token", post(login))
            .route("/api/v2/conversations/emails", post(create))
            .route("/api/v2/conversations/emails/{id}/inboundmessages", post(follow))
            .route("/api/v2/conversations/participants/attributes/search", post(search))
            .with_state(desk.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, desk, server }
    }

    /// The section of a route that leads here, and further lines.
    pub(crate) fn section(&self, more: &str) -> String {
        section(&self.url, more)
    }

    pub(crate) fn will(&self, replies: impl IntoIterator<Item = Reply>) {
        self.desk.lock().unwrap().replies.extend(replies);
    }

    pub(crate) fn conversations(&self) -> Vec<Conversation> {
        self.desk.lock().unwrap().conversations.clone()
    }

    /// The interactions it holds, in order, each as often as it was sent.
    pub(crate) fn interactions(&self) -> Vec<String> {
        let id = |it: &Value| it["attributes"]["mb_interaction_id"].as_str().unwrap().to_owned();
        self.conversations().iter().flat_map(|it| &it.messages).map(id).collect()
    }

    pub(crate) fn subjects(&self) -> Vec<String> {
        let subject = |it: &Value| it["subject"].as_str().unwrap().to_owned();
        self.conversations().iter().flat_map(|it| &it.messages).map(subject).collect()
    }

    pub(crate) fn end_conversations(&self) {
        self.desk.lock().unwrap().conversations.iter_mut().for_each(|it| it.ended = true);
    }

    /// Every token issued so far is refused from now on.
    pub(crate) fn forget_tokens(&self) {
        let mut desk = self.desk.lock().unwrap();
        desk.good_token = desk.logins + 1;
    }

    pub(crate) fn hang_logins(&self) {
        self.desk.lock().unwrap().hangs_login = true;
    }

    pub(crate) fn count_calls_as(&self, count: u64) {
        self.desk.lock().unwrap().count = count;
    }

    /// Logins, calls (searches included), searches.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let desk = self.desk.lock().unwrap();
        (desk.logins, desk.calls, desk.searches)
    }
}

impl Drop for Genesys {
    fn drop(&mut self) {
        self.server.abort();
        if !std::thread::panicking() {
            let desk = self.desk.lock().unwrap();
            assert!(desk.violations.is_empty(), "{:#?}", desk.violations);
        }
    }
}

/// The section of a route that leads to this address.
pub(crate) fn section(url: &str, more: &str) -> String {
    format!(
        "kind = 'genesys_cloud'\nlogin_url = '{url}'\napi_url = '{url}'\nclient_id = '{CLIENT_ID}'\n\
         client_secret = '{CLIENT_SECRET}'\nflow_id = '{FLOW}'\n{more}"
    )
}

async fn login(State(desk): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let hangs = desk.lock().unwrap().hangs_login;
    if hangs {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    let mut desk = desk.lock().unwrap();
    desk.logins += 1;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    if headers.get("authorization").is_none_or(|it| *it != basic) {
        return (StatusCode::UNAUTHORIZED, axum::Json(json!({ "error": "invalid_client" }))).into_response();
    }
    if body != "grant_type=client_credentials" {
        desk.violations.push(format!("a login that says {body:?}"));
    }
    let token = format!("token-{}", desk.logins);
    axum::Json(json!({ "access_token": token, "token_type": "bearer", "expires_in": 86400 })).into_response()
}

/// What happens to a call before it is looked at.
fn enter(desk: &Shared, headers: &HeaderMap, may_be_scripted: bool) -> Result<Option<Reply>, Box<Response>> {
    let mut desk = desk.lock().unwrap();
    desk.calls += 1;
    let token = headers.get("authorization").and_then(|it| it.to_str().ok()?.strip_prefix("Bearer token-"));
    let number = token.and_then(|it| it.parse::<usize>().ok());
    if number.is_none_or(|it| it < desk.good_token || it > desk.logins) {
        return Err(Box::new(refusal(401, "bad.credentials")));
    }
    if headers.get("content-type").is_none_or(|it| it != "application/json") {
        desk.violations.push("a call that is not application/json".into());
    }
    let reply = if may_be_scripted { desk.replies.pop_front() } else { None };
    if let Some(Reply::Refuse(status, fields)) = reply {
        let mut response = refusal(status, "bad.request");
        for (name, value) in fields {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        return Err(Box::new(response));
    }
    Ok(reply)
}

fn refusal(status: u16, code: &str) -> Response {
    let body = json!({ "status": status, "code": code, "message": "about ada@example.net", "messageParams": {} });
    let mut response = (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response();
    response.headers_mut().insert("inin-correlation-id", "c0ffee-1".parse().unwrap());
    response
}

async fn leave(desk: Shared, reply: Option<Reply>, id: &str) -> Response {
    match reply {
        Some(Reply::TakeAndSay(status)) => return refusal(status, "internal"),
        Some(Reply::TakeAndHang | Reply::Hang) => tokio::time::sleep(Duration::from_secs(3600)).await,
        _ => {}
    }
    let count = desk.lock().unwrap().count.to_string();
    let mut response = axum::Json(json!({ "id": id, "participants": [], "selfUri": "" })).into_response();
    for (name, value) in
        [("inin-ratelimit-count", count.as_str()), ("inin-ratelimit-allowed", "300"), ("inin-ratelimit-reset", "42")]
    {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

async fn create(State(desk): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let reply = match enter(&desk, &headers, true) {
        Ok(reply) => reply,
        Err(response) => return *response,
    };
    let fields: Vec<_> = FIELDS.iter().chain(&MORE_TO_CREATE).copied().collect();
    let mut problems = vec![];
    let message = checked(&body, &fields, &mut problems);
    if message["direction"] != "INBOUND" {
        problems.push("a direction that makes no external conversation".into());
    }
    if !problems.is_empty() {
        desk.lock().unwrap().violations.extend(problems);
        return refusal(400, "bad.request");
    }
    if matches!(reply, Some(Reply::Hang)) {
        return leave(desk, reply, "").await;
    }
    let id = {
        let mut desk = desk.lock().unwrap();
        let id = format!("c0000000-{:04}", desk.conversations.len() + 1);
        let began = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let attributes = texts(&message["attributes"]);
        let messages = vec![message];
        desk.conversations.push(Conversation { id: id.clone(), attributes, messages, ended: false, began });
        id
    };
    leave(desk, reply, &id).await
}

async fn follow(State(desk): State<Shared>, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let reply = match enter(&desk, &headers, true) {
        Ok(reply) => reply,
        Err(response) => return *response,
    };
    let mut problems = vec![];
    let message = checked(&body, &FIELDS, &mut problems);
    if !problems.is_empty() {
        desk.lock().unwrap().violations.extend(problems);
        return refusal(400, "bad.request");
    }
    if matches!(reply, Some(Reply::Hang)) {
        return leave(desk, reply, "").await;
    }
    {
        let mut desk = desk.lock().unwrap();
        let Some(found) = desk.conversations.iter_mut().find(|it| it.id == id && !it.ended) else {
            return refusal(404, "not.found");
        };
        found.attributes.extend(texts(&message["attributes"]));
        found.messages.push(message);
    }
    leave(desk, reply, &id).await
}

/// A body with these fields and no others.
fn checked(body: &[u8], fields: &[(&str, &str)], problems: &mut Vec<String>) -> Value {
    let object: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    for (name, value) in &object {
        let is_text = |it: &Value| it.as_str().is_some_and(|it| !it.is_empty());
        let good = match fields.iter().find(|(field, _)| field == name).map(|(_, kind)| *kind) {
            Some("text") => value.is_string(),
            Some("number") => value.is_i64(),
            Some("texts") => value.as_array().is_some_and(|it| it.iter().all(is_text)),
            Some("map") => value.as_object().is_some_and(|it| it.values().all(Value::is_string)),
            _ => false,
        };
        if !good {
            problems.push(format!("{name} is no field of this call, or of another type"));
        }
    }
    let message = Value::Object(object);
    if message["provider"].as_str().is_none_or(|it| it.is_empty() || it == "PureCloud Email") {
        problems.push("no provider, or the reserved one".into());
    }
    if message["flowId"].is_string() == message["queueId"].is_string() {
        problems.push("not just one of flowId and queueId".into());
    }
    let size: usize = texts(&message["attributes"]).iter().map(|(name, value)| name.len() + value.len()).sum();
    if size >= MOST_ATTRIBUTES {
        problems.push(format!("{size} bytes of attributes"));
    }
    message
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let map = map.as_object().cloned().unwrap_or_default();
    map.into_iter().map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned())).collect()
}

/// It searches by a conversation's id or by when it began, and by nothing else.
async fn search(State(desk): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(response) = enter(&desk, &headers, false) {
        return *response;
    }
    let query: Value = serde_json::from_slice(&body).unwrap_or_default();
    let only = |value: &Value, names: &[&str]| {
        value.as_object().is_some_and(|it| it.keys().all(|name| names.contains(&name.as_str())))
    };
    let criterion = &query["query"][0];
    let by_id = criterion["type"] == "EXACT"
        && criterion["fields"] == json!(["conversationId"])
        && only(criterion, &["type", "fields", "value"]);
    let time = |name: &str| criterion[name].as_str().and_then(parse_rfc3339);
    let range = time("startValue").zip(time("endValue"));
    let by_time = criterion["type"] == "DATE_RANGE"
        && criterion["fields"] == json!(["startTime"])
        && only(criterion, &["type", "fields", "startValue", "endValue"])
        && range.is_some_and(|(from, to)| from < to && to - from <= 4 * 3_600_000);
    let mut desk = desk.lock().unwrap();
    desk.searches += 1;
    let is_one = query["query"].as_array().is_some_and(|it| it.len() == 1);
    if !(is_one && only(&query, &["query", "cursor"]) && (by_id || by_time)) {
        desk.violations.push(format!("a search for {query}"));
        return refusal(400, "search.not.supported");
    }
    let matches = |it: &&Conversation| match range {
        Some((from, to)) => (from..=to).contains(&it.began),
        None => criterion["value"] == it.id.as_str(),
    };
    let first: usize = query["cursor"].as_str().map_or(0, |it| it.parse().unwrap());
    let all: Vec<_> = desk.conversations.iter().filter(matches).collect();
    let row = |it: &&Conversation| {
        json!({ "conversationId": it.id, "startTime": "2026-11-21T00:00:00.000Z", "divisionIds": [], "truncatedData": false,
            "participantData": [
                { "participantPurpose": "workflow", "participantId": "w", "sessionIds": [], "participantAttributes": {} },
                { "participantPurpose": "customer", "participantId": "p", "sessionIds": [], "participantAttributes": it.attributes },
            ] })
    };
    let rows: Vec<Value> = all.iter().skip(first).take(PAGE).map(row).collect();
    let mut answer = json!({ "types": [], "results": rows });
    if all.len() > first + PAGE {
        answer["cursor"] = json!((first + PAGE).to_string());
    }
    axum::Json(answer).into_response()
}
