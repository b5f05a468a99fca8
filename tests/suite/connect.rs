//! An instance of Amazon Connect on a real socket, written from its published model: strict about members, lengths, counts
//! and words. It starts a contact once per ClientToken.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

pub(crate) const ACCESS_KEY: &str = "AKIDSUITE";
pub(crate) const SECRET_KEY: &str = "swordfish/Connect+key";
pub(crate) const ADDRESS: &str = "support@contact-centre.example";

/// How a call is answered, once.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Refused with this status and error.
    Refuse(u16, &'static str),
    /// Taken, and never answered.
    TakeAndHang,
    /// Not taken, and never answered.
    Hang,
}

#[derive(Default)]
struct Desk {
    /// Contacts in order: their requests.
    contacts: Vec<Value>,
    replies: VecDeque<Reply>,
    calls: usize,
    violations: Vec<String>,
}

/// The instance. It listens until it is dropped.
pub(crate) struct Connect {
    pub(crate) url: String,
    desk: Arc<Mutex<Desk>>,
    server: tokio::task::JoinHandle<()>,
}

impl Connect {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let desk = Arc::new(Mutex::new(Desk::default()));
        let app = Router::new().route("/contact/email", put(start_email_contact)).with_state(desk.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, desk, server }
    }

    pub(crate) fn section(&self, more: &str) -> String {
        section(&self.url, more)
    }

    pub(crate) fn will(&self, replies: impl IntoIterator<Item = Reply>) {
        self.desk.lock().unwrap().replies.extend(replies);
    }

    pub(crate) fn contacts(&self) -> Vec<Value> {
        self.desk.lock().unwrap().contacts.clone()
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        self.contacts().iter().map(|it| it["ClientToken"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn calls(&self) -> usize {
        self.desk.lock().unwrap().calls
    }
}

impl Drop for Connect {
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
        "kind = 'amazon_connect'\nregion = 'eu-central-1'\nendpoint_url = '{url}'\ninstance_id = 'inst-1'\n\
         address = '{ADDRESS}'\naccess_key_id = '{ACCESS_KEY}'\nsecret_access_key = '{SECRET_KEY}'\n{more}"
    )
}

async fn start_email_contact(State(desk): State<Arc<Mutex<Desk>>>, headers: HeaderMap, body: Bytes) -> Response {
    let reply = {
        let mut desk = desk.lock().unwrap();
        desk.calls += 1;
        desk.replies.pop_front()
    };
    if let Some(Reply::Refuse(status, kind)) = reply {
        return refusal(status, kind);
    }
    let text = |name: &str| headers.get(name).map_or("", |it| it.to_str().unwrap());
    let signed = text("authorization").starts_with(&format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/"))
        && text("authorization")
            .contains("/eu-central-1/connect/aws4_request, SignedHeaders=content-type;host;x-amz-date")
        && text("x-amz-date").len() == 16
        && text("content-type") == "application/json";
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut wrong = vec![];
    if !signed {
        wrong.push("it is not signed".to_owned());
    }
    look(&request, &mut wrong);
    if !wrong.is_empty() {
        desk.lock().unwrap().violations.extend(wrong);
        return refusal(400, "InvalidRequestException");
    }
    if matches!(reply, Some(Reply::Hang)) {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    let id = {
        let mut desk = desk.lock().unwrap();
        match desk.contacts.iter().position(|it| it["ClientToken"] == request["ClientToken"]) {
            Some(known) if desk.contacts[known] != request => return refusal(409, "IdempotencyException"),
            Some(known) => known,
            None => {
                desk.contacts.push(request);
                desk.contacts.len() - 1
            }
        }
    };
    if matches!(reply, Some(Reply::TakeAndHang)) {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    axum::Json(json!({ "ContactId": format!("contact-{id}") })).into_response()
}

fn refusal(status: u16, kind: &str) -> Response {
    let body = axum::Json(json!({ "Message": "about ada@example.net" }));
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    let kind = format!("{kind}:http://internal.amazon.com/coral/");
    response.headers_mut().insert("x-amzn-errortype", kind.parse().unwrap());
    response
}

/// The members of the model and how long or many each may be.
fn look(request: &Value, wrong: &mut Vec<String>) {
    const MEMBERS: [&str; 14] = [
        "InstanceId",
        "FromEmailAddress",
        "DestinationEmailAddress",
        "EmailMessage",
        "AdditionalRecipients",
        "Attachments",
        "ContactFlowId",
        "RelatedContactId",
        "Name",
        "Description",
        "References",
        "Attributes",
        "SegmentAttributes",
        "ClientToken",
    ];
    only(request, &MEMBERS, "", wrong);
    text(request, "/InstanceId", 1, 100, wrong);
    text(request, "/DestinationEmailAddress", 3, 255, wrong);
    text(request, "/ClientToken", 1, 500, wrong);
    address(&request["FromEmailAddress"], wrong);
    let message = &request["EmailMessage"];
    only(message, &["MessageSourceType", "RawMessage"], "EmailMessage", wrong);
    if message["MessageSourceType"] != "RAW" {
        wrong.push("MessageSourceType".into());
    }
    only(&message["RawMessage"], &["Subject", "Body", "ContentType", "Headers"], "RawMessage", wrong);
    text(message, "/RawMessage/Subject", 0, 998, wrong);
    text(message, "/RawMessage/Body", 1, 5_242_880, wrong);
    if !["text/plain", "text/html"].map(Value::from).contains(&message["RawMessage"]["ContentType"]) {
        wrong.push("ContentType".into());
    }
    if let Some(headers) = message["RawMessage"].get("Headers") {
        only(headers, &["MESSAGE_ID", "IN_REPLY_TO", "REFERENCES"], "Headers", wrong);
        for name in headers.as_object().unwrap().keys() {
            text(headers, &format!("/{name}"), 1, 20_000, wrong);
        }
    }
    let mut recipients = 1;
    if let Some(more) = request.get("AdditionalRecipients") {
        only(more, &["ToAddresses", "CcAddresses"], "AdditionalRecipients", wrong);
        for list in more.as_object().unwrap().values().map(|it| it.as_array().unwrap()) {
            recipients += list.len();
            list.iter().for_each(|it| address(it, wrong));
            if list.is_empty() {
                wrong.push("an empty list of recipients".into());
            }
        }
    }
    if recipients > 50 {
        wrong.push(format!("{recipients} recipients"));
    }
    let attached = request.get("Attachments").map(|it| it.as_array().unwrap().clone()).unwrap_or_default();
    if attached.len() > 50 {
        wrong.push("too many attachments".into());
    }
    for it in &attached {
        only(it, &["FileName", "S3Url"], "Attachments", wrong);
        text(it, "/FileName", 1, 256, wrong);
        text(it, "/S3Url", 1, 2_000, wrong);
    }
    let attributes = request["Attributes"].as_object().cloned().unwrap_or_default();
    if attributes.values().any(|it| !it.is_string()) {
        wrong.push("attributes that are no texts".into());
    }
    for reference in request["References"].as_object().cloned().unwrap_or_default().values() {
        only(reference, &["Value", "Type"], "References", wrong);
        if reference["Type"] != "URL" {
            wrong.push("a reference that is no URL".into());
        }
    }
}

fn only(value: &Value, members: &[&str], of: &str, wrong: &mut Vec<String>) {
    match value.as_object() {
        Some(object) => {
            wrong.extend(object.keys().filter(|it| !members.contains(&it.as_str())).map(|it| format!("{of}.{it}")));
        }
        None => wrong.push(format!("{of} is no structure")),
    }
}

fn text(value: &Value, at: &str, least: usize, most: usize, wrong: &mut Vec<String>) {
    let length = value.pointer(at).and_then(Value::as_str).map(|it| it.chars().count());
    let has_controls = at == "/FileName" && value["FileName"].as_str().is_some_and(|it| it.contains(char::is_control));
    if length.is_none_or(|it| it < least || it > most) || has_controls {
        wrong.push(format!("{at}: {length:?}"));
    }
}

fn address(value: &Value, wrong: &mut Vec<String>) {
    only(value, &["EmailAddress", "DisplayName"], "an address", wrong);
    text(value, "/EmailAddress", 1, 255, wrong);
    if value.get("DisplayName").is_some() {
        text(value, "/DisplayName", 0, 256, wrong);
    }
    let good = value["EmailAddress"].as_str().and_then(|it| it.split_once('@')).is_some_and(|(_, it)| it.contains('.'));
    if !good {
        wrong.push("an address that is none".into());
    }
}
