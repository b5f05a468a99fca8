//! A mail that Graph does not show is asked for again; it counts as gone only when Graph says so of the mail itself.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use mailspan::graph::{Graph, Options};
use mailspan::inbound::hints::Hints;
use mailspan::inbound::loops::Loops;
use mailspan::inbound::{Inbound, MailboxConfig, Removed, Watched};
use mailspan::memory::Budget;
use mailspan::model::clock::SharedClock;
use mailspan::model::outcome::{Failure, Next, Outcome};
use mailspan::model::secret::Secret;
use mailspan::model::thread::ThreadNames;
use mailspan::model::token::{AccessToken, BoxFuture, TokenError, Tokens};
use mailspan::model::work::{Job, Lane};
use mailspan::store::{End, FoundBy, MessageState, Store};

use crate::store_world::*;

const MISSING: &str =
    r#"{"error":{"code":"ErrorItemNotFound","message":"The specified object was not found in the store."}}"#;

struct OneToken;

impl Tokens for OneToken {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(async { Ok(AccessToken(Secret::new("token"))) })
    }

    fn refused(&self, _: &AccessToken) {}
}

/// What Graph answers for the content of a mail and for the mail without it.
type Answers = Arc<Mutex<[(StatusCode, &'static str); 2]>>;

async fn graph(answers: Answers) -> url::Url {
    let app = Router::new().fallback(move |uri: Uri| {
        let [content, message] = *answers.lock().unwrap();
        let (status, body) = if uri.path().ends_with("/$value") { content } else { message };
        async move { (status, [(header::CONTENT_TYPE, "application/json")], body).into_response() }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/v1.0").parse().unwrap()
}

async fn inbound(world: &World, store: &Store, answers: &Answers) -> Inbound {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = world.clock.clone() as SharedClock;
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let options = Options::new(clock.clone());
    let graph = Graph::new(graph(answers.clone()).await, "contoso".into(), Arc::new(OneToken), client, options);
    let config: MailboxConfig =
        serde_json::from_value(serde_json::json!({ "address": "support@contoso.com" })).unwrap();
    let watched = Watched { config, graph: Arc::new(graph), silent_sweeps: Arc::default() };
    let sync = serde_json::json!({
        "mode": "poll", "sweep_interval": "15m", "poll_interval": "1m", "start_from": "now"
    });
    Inbound {
        store: store.clone(),
        clock,
        mailboxes: HashMap::from([(mailbox("support"), watched)]),
        tenants: HashMap::new(),
        parted: HashMap::new(),
        hints: Arc::new(Hints::default()),
        rules: Vec::new(),
        renderings: HashMap::new(),
        multiple_destinations: true,
        park_unmatched: true,
        sync: serde_json::from_value(sync).unwrap(),
        public_url: None,
        max_message_size: 1 << 20,
        kept: Arc::new(mailspan::mail::kept::KeptMail::new(1 << 20)),
        memory: Budget::new(1 << 20),
        first_waits: HashMap::new(),
        in_turn: HashSet::new(),
        thread_names: ThreadNames::new(&[7; 32]),
        loops: Loops { breaker: true, automatic_limit: 10, thread_limit: 30 },
        removed: Removed::default(),
    }
}

/// One attempt at the only fetch there is, counted and put back as the loop would.
async fn attempt(store: &Store, inbound: &Inbound, message: i64) -> Outcome {
    let job: Job = only(store, &Lane::mailbox(&mailbox("support"))).await;
    let outcome = inbound.fetch(&job, &mailbox("support"), message).await;
    if let Err(failure) = &outcome {
        let end = End::Retry { due_at: inbound.clock.now(), error: failure.reason().into() };
        assert!(store.settle(job.claim, end).await.unwrap());
    }
    outcome
}

#[tokio::test]
async fn a_mail_is_gone_only_when_graph_says_so_of_the_mail_itself_and_after_a_while() {
    let world = World::sqlite().await;
    let store = world.open().await;
    let answers = Answers::new(Mutex::new([(StatusCode::SERVICE_UNAVAILABLE, ""); 2]));
    let inbound = inbound(&world, &store, &answers).await;
    let support = mailbox("support");
    store.found(&support, vec![found("AAk1", world.now())], FoundBy::Push, None).await.unwrap();
    let message = 1;

    let missing = (StatusCode::NOT_FOUND, MISSING);
    let stands = (StatusCode::OK, r#"{"id":"AAk1"}"#);
    let page = (StatusCode::NOT_FOUND, "<html>not here</html>");
    // However often it failed before, the first "not found" is no proof.
    for _ in 0..9 {
        assert!(matches!(attempt(&store, &inbound, message).await, Err(Failure::Transient { .. })));
    }
    for (content, message_itself, passed) in [
        (missing, missing, Duration::ZERO),
        (page, page, Duration::from_secs(3600)),
        (missing, page, Duration::ZERO),
        (missing, stands, Duration::ZERO),
    ] {
        world.pass(i64::try_from(passed.as_millis()).unwrap());
        *answers.lock().unwrap() = [content, message_itself];
        let outcome = attempt(&store, &inbound, message).await;
        assert!(matches!(outcome, Err(Failure::Transient { .. })), "{outcome:?}");
        assert_eq!(store.message(message).await.unwrap().unwrap().state, MessageState::Found);
    }
    *answers.lock().unwrap() = [missing, missing];
    assert_eq!(attempt(&store, &inbound, message).await, Ok(Next::Settled));
    assert_eq!(store.message(message).await.unwrap().unwrap().state, MessageState::Gone);
}
