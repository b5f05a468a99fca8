//! Every URL of both listeners in one table each; their limits and time-outs; how they start and stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;

use crate::app::Daemon;
use crate::config::network::Network;
use crate::config::server::TlsConfig;
use crate::inbound::webhook::{self, Door};
use crate::ops::health::Status;

/// Graph's batches stay far below this; what is larger is not Graph's.
const BODY_LIMIT: usize = 4 << 20;
/// A request's head must have come within this time: half-sent requests must not hold a connection or a shutdown.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often certificate files are looked at for a change.
const CERTIFICATE_TURN: Duration = Duration::from_secs(10);

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

/// The private listener: health and metrics.
pub fn admin(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
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

/// A bound listener that has not begun to serve.
pub struct Listener {
    socket: std::net::TcpListener,
    tls: Option<TlsConfig>,
    handle: Handle<SocketAddr>,
}

impl Listener {
    /// Binds the address, so that what is wrong with it is known before anything starts.
    ///
    /// # Errors
    /// The address is taken or not ours; the message names it.
    pub fn bind(address: SocketAddr, tls: Option<TlsConfig>) -> anyhow::Result<Self> {
        let bound = std::net::TcpListener::bind(address);
        let socket = bound.map_err(|error| anyhow::anyhow!("cannot listen on {address}: {error}"))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tls, handle: Handle::new() })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Stops it: nothing more is accepted, requests in flight get `grace`.
    pub fn handle(&self) -> Handle<SocketAddr> {
        self.handle.clone()
    }

    /// Serves until stopped by its handle.
    ///
    /// # Errors
    /// The listener broke, or its certificate cannot be used.
    pub async fn serve(self, router: Router) -> anyhow::Result<()> {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let Some(tls) = self.tls else {
            let mut server = axum_server::from_tcp(self.socket)?.handle(self.handle);
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            server.http_builder().http2().timer(TokioTimer::new());
            return Ok(server.serve(service).await?);
        };
        let certificate = RustlsConfig::from_pem_file(&tls.cert_file, &tls.key_file).await;
        let certificate = certificate.map_err(|error| {
            anyhow::anyhow!("cannot use {} with {}: {error}", tls.cert_file.display(), tls.key_file.display())
        })?;
        let mut server = axum_server::from_tcp_rustls(self.socket, certificate.clone())?.handle(self.handle);
        server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        server.http_builder().http2().timer(TokioTimer::new());
        tokio::select! {
            served = server.serve(service) => Ok(served?),
            never = follow(certificate, tls) => match never {},
        }
    }
}

/// Reads the certificate again when its files change. A broken pair keeps the old one, and says so.
async fn follow(certificate: RustlsConfig, tls: TlsConfig) -> std::convert::Infallible {
    let mut seen = changed_at(&tls);
    loop {
        tokio::time::sleep(CERTIFICATE_TURN).await;
        let now = changed_at(&tls);
        if now == seen {
            continue;
        }
        match certificate.reload_from_pem_file(&tls.cert_file, &tls.key_file).await {
            Ok(()) => {
                tracing::info!(file = %tls.cert_file.display(), "The listener's certificate was read anew");
                seen = now;
            }
            // Perhaps only one of the two files is in place yet: looked at again on the next turn.
            Err(error) => {
                tracing::error!(file = %tls.cert_file.display(), reason = %error, "The new certificate cannot be used; the old one stays");
            }
        }
    }
}

fn changed_at(tls: &TlsConfig) -> [Option<std::time::SystemTime>; 2] {
    [&tls.cert_file, &tls.key_file].map(|path| std::fs::metadata(path).and_then(|it| it.modified()).ok())
}
