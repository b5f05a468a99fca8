//! The contact centre of a drill: it takes interactions and callbacks, checks every signature, and remembers each.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

use super::letters::Letter;

/// What routes and callbacks sign with.
pub(crate) const SIGNING_SECRET: &str = "whsec_c2VuZGluZy1kcmlsbC1zZWNyZXQtMDEyMzQ1Njc4OWFi";

/// One callback, however often it came.
#[derive(Debug, Clone)]
pub(crate) struct Callback {
    pub(crate) kind: String,
    pub(crate) submission: String,
    pub(crate) body: Bytes,
    pub(crate) accepted: u32,
    refused: u32,
}

#[derive(Default)]
struct Book {
    /// Interaction ids by the number of the letter that answers.
    interactions: BTreeMap<u64, String>,
    /// Interactions that are no customer's question: none, if bounces are told from mail.
    other: Vec<String>,
    callbacks: HashMap<String, Callback>,
    strange: Vec<String>,
    refuse: f64,
}

/// A desk that is open.
#[derive(Clone)]
pub(crate) struct Desk {
    book: Arc<Mutex<Book>>,
    address: SocketAddr,
}

impl Desk {
    /// Listens on a free port of this machine.
    pub(crate) async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let desk = Self { book: Arc::default(), address: listener.local_addr().unwrap() };
        let router =
            Router::new().route("/{what}", post(take)).layer(DefaultBodyLimit::max(16 << 20)).with_state(desk.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        desk
    }

    /// Where interactions or callbacks go.
    pub(crate) fn url(&self, what: &str) -> String {
        format!("http://{}/{what}", self.address)
    }

    /// How likely a callback is refused (503) from now on.
    pub(crate) fn refuses(&self, chance: f64) {
        self.book.lock().unwrap().refuse = chance;
    }

    /// The interaction that a letter answers, once it came.
    pub(crate) fn question_of(&self, letter: Letter) -> Option<String> {
        self.book.lock().unwrap().interactions.get(&letter.0).cloned()
    }

    /// How many questions came.
    pub(crate) fn questions(&self) -> usize {
        self.book.lock().unwrap().interactions.len()
    }

    /// Everything that came and was no question: subjects.
    pub(crate) fn other(&self) -> Vec<String> {
        self.book.lock().unwrap().other.clone()
    }

    /// All callbacks by their ids.
    pub(crate) fn callbacks(&self) -> HashMap<String, Callback> {
        self.book.lock().unwrap().callbacks.clone()
    }

    /// Requests that were not as the manual says.
    pub(crate) fn strange(&self) -> Vec<String> {
        self.book.lock().unwrap().strange.clone()
    }
}

async fn take(State(desk): State<Desk>, Path(what): Path<String>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut book = desk.book.lock().unwrap();
    match read(&what, &headers, &body, &mut book) {
        Ok(status) => status,
        Err(why) => {
            book.strange.push(why);
            StatusCode::BAD_REQUEST
        }
    }
}

fn read(what: &str, headers: &HeaderMap, body: &Bytes, book: &mut Book) -> Result<StatusCode, String> {
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let id = header("webhook-id").to_owned();
    let verified = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap().verify(body, headers);
    verified.map_err(|error| format!("{what} {id}: {error}"))?;
    let event: Value = serde_json::from_slice(body).map_err(|error| format!("{what} {id}: {error}"))?;
    let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    if what != "callbacks" {
        match Letter::questioned(&text("/data/message/messageId/0")) {
            Some(letter) => drop(book.interactions.insert(letter.0, id)),
            None => book.other.push(text("/data/message/subject")),
        }
        return Ok(StatusCode::OK);
    }
    let new =
        Callback { kind: text("/type"), submission: text("/data/id"), body: body.clone(), accepted: 0, refused: 0 };
    if !new.submission.starts_with("sub_") || !event["timestamp"].is_string() {
        return Err(format!("callback {id} says of no submission that something became of it: {event}"));
    }
    let known = book.callbacks.entry(id.clone()).or_insert(new);
    if known.body != body {
        return Err(format!("callback {id} came with two bodies"));
    }
    // After the third time it would come again in five minutes.
    if known.refused < 2 && fastrand::f64() < book.refuse {
        known.refused += 1;
        return Ok(StatusCode::SERVICE_UNAVAILABLE);
    }
    known.accepted += 1;
    Ok(StatusCode::OK)
}
