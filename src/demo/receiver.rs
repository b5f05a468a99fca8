//! The demo's contact centre: takes signed webhooks, checks every signature, and remembers what came how often.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

/// The secret all demo routes sign with; it signs nothing outside this process.
pub(super) const SIGNING_SECRET: &str = "whsec_ZGVtby1vbmx5LXNlY3JldC0wMTIzNDU2Nzg5YWJjZGVm";

/// Who writes from here is no customer.
const OWN_DOMAIN: &str = "@contoso.example";
/// The route that only keeps what others handle.
const ARCHIVE: &str = "archive";

/// What one route got for one message.
#[derive(Debug, Default, Clone)]
pub(super) struct Got {
    /// The interaction ids it came under: one, unless something is wrong.
    pub(super) ids: Vec<String>,
    /// How often it came.
    pub(super) times: u32,
}

/// Everything that came, by route and the message's immutable id.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    got: HashMap<(String, String), Got>,
    badly_signed: u32,
    latencies_ms: Vec<i64>,
    /// Interactions of customers that agents have not looked at, with their numbers.
    customers: VecDeque<(usize, String)>,
    customers_so_far: usize,
}

/// A receiver that is running.
#[derive(Clone)]
pub(super) struct Receiver {
    inbox: Arc<Mutex<Inbox>>,
    address: SocketAddr,
}

#[derive(Deserialize)]
struct Envelope {
    data: Interaction,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interaction {
    interaction_id: String,
    source: Source,
    classification: Classification,
    message: Message,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    immutable_id: String,
    received_date_time: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
struct Classification {
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    from: Vec<Person>,
    reply_to: Vec<Person>,
}

#[derive(Deserialize)]
struct Person {
    email: String,
}

impl Interaction {
    /// Whether a person outside wrote it, who can be answered.
    fn is_of_a_customer(&self) -> bool {
        let Message { from, reply_to } = &self.message;
        let answered = if reply_to.is_empty() { from } else { reply_to };
        self.classification.kind == "human"
            && !answered.is_empty()
            && answered.iter().all(|it| it.email.contains('@') && !it.email.to_lowercase().ends_with(OWN_DOMAIN))
    }
}

impl Receiver {
    /// Starts it on a free port of the loopback.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let receiver = Self { inbox: Arc::default(), address: listener.local_addr()? };
        let router = Router::new()
            .route("/{route}", post(accept))
            .layer(DefaultBodyLimit::max(256 << 20))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(receiver)
    }

    /// Where a route's webhooks go.
    pub(super) fn url(&self, route: &str) -> String {
        format!("http://{}/{route}", self.address)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a route got for a message.
    pub(super) fn got(&self, route: &str, message: &str) -> Option<Got> {
        self.inbox().got.get(&(route.to_owned(), message.to_owned())).cloned()
    }

    /// Interactions that came, each counted once.
    pub(super) fn distinct(&self) -> usize {
        self.inbox().got.len()
    }

    /// Requests whose signature did not hold.
    pub(super) fn badly_signed(&self) -> u32 {
        self.inbox().badly_signed
    }

    /// The next interaction of a customer, and which it is.
    pub(super) fn next_customer(&self) -> Option<(usize, String)> {
        self.inbox().customers.pop_front()
    }

    /// Whether agents have looked at every customer.
    pub(super) fn is_looked_through(&self) -> bool {
        self.inbox().customers.is_empty()
    }

    /// From received in the mailbox to here, in milliseconds, the shortest first.
    pub(super) fn latencies_ms(&self) -> Vec<i64> {
        let mut latencies = self.inbox().latencies_ms.clone();
        latencies.sort_unstable();
        latencies
    }
}

async fn accept(
    State(receiver): State<Receiver>,
    Path(route): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if !signed(&headers, &body) {
        receiver.inbox().badly_signed += 1;
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let is_of_a_customer = route != ARCHIVE && envelope.data.is_of_a_customer();
    let Interaction { interaction_id, source, .. } = envelope.data;
    let now = jiff::Timestamp::now().as_millisecond();
    let mut inbox = receiver.inbox();
    let got = inbox.got.entry((route, source.immutable_id)).or_default();
    got.times += 1;
    if !got.ids.contains(&interaction_id) {
        got.ids.push(interaction_id.clone());
    }
    let is_first = got.times == 1;
    if is_first && is_of_a_customer {
        let number = inbox.customers_so_far;
        inbox.customers_so_far += 1;
        inbox.customers.push_back((number, interaction_id));
    }
    if is_first && let Some(received) = source.received_date_time {
        inbox.latencies_ms.push((now - received.as_millisecond()).max(0));
    }
    StatusCode::ACCEPTED
}

/// Standard Webhooks: one of the signatures is the HMAC of `id.timestamp.body`.
fn signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(timestamp), Some(signatures)) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    else {
        return false;
    };
    let Ok(secret) = BASE64.decode(SIGNING_SECRET.trim_start_matches("whsec_")) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    let expected = BASE64.encode(context.sign());
    signatures.split(' ').any(|it| it.strip_prefix("v1,") == Some(expected.as_str()))
}
