//! Graph over real HTTP: a server that answers as told, and tokens that are counted.

mod batch;
mod calls;
mod limits;
mod sending;
mod upload;

use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use super::*;
use crate::model::address::Address;
use crate::model::clock::{Clock, UnixMillis};
use crate::model::secret::Secret;
use crate::model::token::{AccessToken, BoxFuture, TokenError};

/// A Graph that answers the n-th request (from 0) as told.
struct Fake {
    graph: Arc<Graph>,
    clock: Arc<Hands>,
    purse: Arc<Purse>,
    asked: Arc<Mutex<Vec<(Parts, Bytes)>>>,
    base: String,
}

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> UnixMillis {
        self.0.load(Ordering::SeqCst)
    }
}

/// Gives `t0` until it is refused, then `t1`, and so on.
#[derive(Default)]
struct Purse {
    refused: AtomicUsize,
}

impl Tokens for Purse {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(async { Ok(AccessToken(Secret::new(format!("t{}", self.refused.load(Ordering::SeqCst))))) })
    }

    fn refused(&self, _: &AccessToken) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }
}

impl Fake {
    async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(usize, Parts, Bytes) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response> + Send,
    {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let app = axum::Router::new().fallback(move |request: Request| {
            let (seen, answer) = (seen.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push((parts.clone(), body.clone()));
                    seen.len() - 1
                };
                answer(number, parts, body).await
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1.0", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self::at(base, asked)
    }

    /// With the same answer for every request.
    async fn always(status: u16, body: &'static str) -> Self {
        Self::start(move |_, _, _| async move { json(status, body) }).await
    }

    fn at(base: String, asked: Arc<Mutex<Vec<(Parts, Bytes)>>>) -> Self {
        let long = Duration::from_secs(30);
        Self::waiting(base, asked, (long, long, 2 * long))
    }

    /// Asked by somebody who waits so long for an answer, for more of it, and for all of it.
    fn waiting(base: String, asked: Arc<Mutex<Vec<(Parts, Bytes)>>>, within: (Duration, Duration, Duration)) -> Self {
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000)));
        let purse = Arc::new(Purse::default());
        let (answer_within, idle, whole) = within;
        let options = Options { answer_within, idle, whole, uploads: &["office.com"], ..Options::new(clock.clone()) };
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let graph = Graph::new(base.parse().unwrap(), "contoso".into(), purse.clone(), http, options);
        Self { graph: Arc::new(graph), clock, purse, asked, base }
    }

    fn later(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Method, path with query, and body of the n-th request.
    fn request(&self, number: usize) -> (String, String, serde_json::Value) {
        let (parts, body) = self.asked.lock().unwrap()[number].clone();
        let body = serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null);
        (parts.method.to_string(), parts.uri.to_string(), body)
    }

    fn header(&self, number: usize, name: &str) -> String {
        let asked = self.asked.lock().unwrap();
        asked[number].0.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }
}

fn json(status: u16, body: impl Into<String>) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/json"), ("request-id", "rid-1")], body.into()).into_response()
}

/// A place where nobody listens, and nobody else will as long as this is held.
fn closed() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}/v1.0", socket.local_addr().unwrap());
    (socket, base)
}

fn support() -> Address {
    Address::parse("support@contoso.com").unwrap()
}
