//! A receiver that answers at once: it reads a webhook to its end, remembers its id and says 202.
//!
//! It checks no signature, so that what it costs is little and the same for whoever is measured.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt as _;

/// A receiver that is running.
#[derive(Clone)]
pub(crate) struct Receiver {
    inbox: Arc<Mutex<Inbox>>,
    address: SocketAddr,
}

#[derive(Default)]
struct Inbox {
    ids: HashSet<String>,
    posts: usize,
    bytes: u64,
    last: Option<Instant>,
}

impl Receiver {
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let receiver = Self { inbox: Arc::default(), address: listener.local_addr()? };
        let router = Router::new().fallback(accept).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(receiver)
    }

    /// Where a route's webhooks go.
    pub(crate) fn url(&self, route: &str) -> String {
        format!("http://{}/{route}", self.address)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Interactions that came, each counted once.
    pub(crate) fn distinct(&self) -> usize {
        self.inbox().ids.len()
    }

    /// Webhooks that came.
    pub(crate) fn posts(&self) -> usize {
        self.inbox().posts
    }

    /// The mean size of a webhook's body.
    pub(crate) fn mean_bytes(&self) -> u64 {
        let inbox = self.inbox();
        inbox.bytes / (inbox.posts as u64).max(1)
    }

    /// When the last interaction came that had not come before.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.inbox().last
    }
}

async fn accept(State(receiver): State<Receiver>, headers: HeaderMap, body: Body) -> StatusCode {
    let mut bytes = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else { return StatusCode::BAD_REQUEST };
        bytes += chunk.len() as u64;
    }
    let Some(id) = headers.get("webhook-id").and_then(|id| id.to_str().ok()) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut inbox = receiver.inbox();
    inbox.posts += 1;
    inbox.bytes += bytes;
    if inbox.ids.insert(id.to_owned()) {
        inbox.last = Some(Instant::now());
    }
    StatusCode::ACCEPTED
}
