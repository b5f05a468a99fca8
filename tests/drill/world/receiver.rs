//! The receiver of a drill: checks every signature, writes down every request, and answers as its mood is.
//!
//! An acceptance is written down before its answer leaves, so whatever the bridge believes accepted stands here.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jiff::Timestamp;
use serde::Deserialize;

use super::mails::number_of;

/// What the routes sign with.
pub(crate) const SIGNING_SECRET: &str = "whsec_ZHJpbGwtc2VjcmV0LTAxMjM0NTY3ODlhYmNkZWY=";

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    /// The route it came by.
    pub(crate) route: String,
    /// `webhook-id`.
    pub(crate) id: String,
    /// Which letter it carries.
    pub(crate) number: u64,
    /// SHA-256 of the body.
    pub(crate) body: Vec<u8>,
    /// `webhook-timestamp`: the bridge's own time.
    pub(crate) sent_at: i64,
    /// When it was accepted; none: it was refused or left without an answer.
    pub(crate) accepted_at: Option<Timestamp>,
}

/// How it answers; chances are between 0 and 1.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mood {
    /// 503.
    pub(crate) refuse: f64,
    /// No answer for longer than any sender waits.
    pub(crate) hang: f64,
    /// Every answer takes up to this many milliseconds.
    pub(crate) up_to_ms: u64,
}

#[derive(Debug, Default)]
struct Book {
    handed: Vec<Handed>,
    accepted: u64,
    strange: Vec<String>,
    mood: Mood,
}

/// A receiver that is running.
#[derive(Clone)]
pub(crate) struct Receiver {
    book: Arc<Mutex<Book>>,
    address: SocketAddr,
}

#[derive(Deserialize)]
struct Event {
    data: Interaction,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interaction {
    interaction_id: String,
    message: Message,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: Vec<String>,
}

impl Receiver {
    /// Listens on a free port of this machine.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let receiver = Self { book: Arc::default(), address: listener.local_addr().unwrap() };
        let router = Router::new()
            .route("/{route}", post(take))
            .layer(DefaultBodyLimit::max(16 << 20))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// Where a route's webhooks go.
    pub(crate) fn url(&self, route: &str) -> String {
        format!("http://{}/{route}", self.address)
    }

    /// Changes how it answers from now on.
    pub(crate) fn mood(&self, mood: Mood) {
        self.book.lock().unwrap().mood = mood;
    }

    /// How many requests it accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.book.lock().unwrap().accepted
    }

    /// Everything that was handed over so far.
    pub(crate) fn handed(&self) -> Vec<Handed> {
        self.book.lock().unwrap().handed.clone()
    }

    /// Requests that were no valid interaction: none, unless something is wrong.
    pub(crate) fn strange(&self) -> Vec<String> {
        self.book.lock().unwrap().strange.clone()
    }
}

async fn take(
    State(receiver): State<Receiver>,
    Path(route): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mood = receiver.book.lock().unwrap().mood;
    let mut handed = match read(route, &headers, &body) {
        Ok(handed) => handed,
        Err(why) => {
            receiver.book.lock().unwrap().strange.push(why);
            return StatusCode::BAD_REQUEST;
        }
    };
    if mood.up_to_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..mood.up_to_ms))).await;
    }
    let chance = fastrand::f64();
    if chance >= mood.refuse + mood.hang {
        let mut book = receiver.book.lock().unwrap();
        handed.accepted_at = Some(Timestamp::now());
        book.handed.push(handed);
        book.accepted += 1;
        return StatusCode::OK;
    }
    receiver.book.lock().unwrap().handed.push(handed);
    if chance >= mood.refuse {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    StatusCode::SERVICE_UNAVAILABLE
}

fn read(route: String, headers: &HeaderMap, body: &[u8]) -> Result<Handed, String> {
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let id = header("webhook-id");
    let sent_at = header("webhook-timestamp").parse().map_err(|_| format!("{id}: no webhook-timestamp"))?;
    // Not `verify`: the bridge's clock may be an hour off in a drill, and the signature still covers its time.
    let signed = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap().sign(&id, sent_at, body);
    if signed.map_err(|error| format!("{id}: {error}"))? != header("webhook-signature") {
        return Err(format!("{id}: the signature does not hold"));
    }
    let event: Event = serde_json::from_slice(body).map_err(|error| format!("{id}: {error}"))?;
    if event.data.interaction_id != id {
        return Err(format!("{id}: the body says {}", event.data.interaction_id));
    }
    let number = event.data.message.message_id.first().and_then(|it| number_of(it));
    let number = number.ok_or_else(|| format!("{id}: no letter of ours"))?;
    let body = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body).as_ref().to_vec();
    Ok(Handed { route, id, number, body, sent_at, accepted_at: None })
}
