//! Every URL of both listeners in one table each, and what is allowed to ask for it.

pub mod api;
mod content;
mod disposition;
mod flow;
mod gate;
mod listener;
mod patience;
mod problem;
mod range;
mod sign_in;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::app::Daemon;
use crate::config::network::Network;
use crate::inbound::webhook::{self, Door};
use crate::ops::health::Status;
pub use flow::downloads;
pub use listener::Listener;

/// Graph's batches stay far below this; what is larger is not Graph's.
const BODY_LIMIT: usize = 4 << 20;

/// The public listener: Graph's notifications and nothing else. With `allowed` networks, others find nothing here.
pub fn public(door: Door, allowed: Vec<Network>) -> Router {
    let receive = || post(webhook::receive).fallback(nothing_here);
    let router = Router::new()
        .route("/graph/notifications", receive())
        .route("/graph/lifecycle", receive())
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(door);
    if allowed.is_empty() {
        return router;
    }
    let allowed: Arc<[Network]> = allowed.into();
    router.layer(axum::middleware::from_fn(move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request, next: Next| {
        let welcome = allowed.iter().any(|network| network.contains(peer.ip()));
        async move { if welcome { next.run(request).await } else { StatusCode::NOT_FOUND.into_response() } }
    }))
}

/// The private listener: health, metrics, and the API with the content that links lead to.
pub fn admin(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .merge(sign_in::router())
        .merge(api::router(&daemon))
        .fallback(nothing_here)
        .with_state(daemon)
}

async fn nothing_here() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn live() -> &'static str {
    "alive\n"
}

async fn ready(State(daemon): State<Arc<Daemon>>) -> Response {
    if daemon.draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match daemon.store.ping().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("store: {error}\n")).into_response(),
    }
}

async fn health(State(daemon): State<Arc<Daemon>>) -> Response {
    let health = daemon.health().await;
    let code = if health.status == Status::Failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(health)).into_response()
}

async fn metrics(State(daemon): State<Arc<Daemon>>) -> Response {
    daemon.read_gauges().await;
    let text = daemon.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
