//! `/api/v1/interactions/…`: what links in interactions lead to, and the schema interactions keep to.
//!
//! What strangers sent is handed out as a file to be saved: no browser shows, runs or guesses at it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::disposition;
use super::flow;
use super::gate::Asker;
use super::problem::Problem;
use super::range::{self, Wanted};
use crate::app::Daemon;
use crate::delivery::linked::{Linked, Unlinked, Where};
use crate::model::link::Target;

/// The JSON Schema of the interaction.
const SCHEMA: &str = include_str!("../../docs/interaction.schema.json");
/// How long a download waits for others to end.
const TURN_PATIENCE: Duration = Duration::from_secs(3);

/// `GET /api/v1/interaction.schema.json`. It holds nothing of anybody.
pub(super) async fn schema() -> Response {
    ([(header::CONTENT_TYPE, "application/schema+json")], SCHEMA).into_response()
}

/// `GET /api/v1/interactions/{interaction}`, as `format = "json"` writes it.
pub(super) async fn interaction(
    State(daemon): State<Arc<Daemon>>,
    Path(interaction): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.as_deref().unwrap_or_default();
    let asker = Asker { peer: peer.ip(), headers: &headers, query, links_only: daemon.links_only };
    let delivery = daemon.delivery();
    asker.may(&delivery.links, &interaction, None, delivery.clock.now())?;
    let permit = turn(&daemon).await?;
    let (body, room) = delivery.interaction(&interaction).await?;
    let sha256 = crate::model::ids::sha256_hex(&body);
    let size = body.len() as u64;
    let linked = Linked { name: None, kind: "application/json".into(), size, sha256, place: Where::Here(body, room) };
    let mut response = hand_out(&daemon, &Method::GET, &HeaderMap::new(), linked, permit).await?;
    response.headers_mut().remove(header::CONTENT_DISPOSITION);
    Ok(response)
}

/// `GET /api/v1/interactions/{interaction}/raw`.
pub(super) async fn raw(
    State(daemon): State<Arc<Daemon>>,
    Path(interaction): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.as_deref().unwrap_or_default();
    let asker = Asker { peer: peer.ip(), headers: &headers, query, links_only: daemon.links_only };
    let delivery = daemon.delivery();
    asker.may(&delivery.links, &interaction, Some(Target::Raw), delivery.clock.now())?;
    let permit = turn(&daemon).await?;
    let linked = delivery.raw(&interaction).await?;
    hand_out(&daemon, &method, &headers, linked, permit).await
}

/// `GET /api/v1/interactions/{interaction}/attachments/{part}`.
pub(super) async fn attachment(
    State(daemon): State<Arc<Daemon>>,
    Path((interaction, part)): Path<(String, String)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.as_deref().unwrap_or_default();
    let asker = Asker { peer: peer.ip(), headers: &headers, query, links_only: daemon.links_only };
    let delivery = daemon.delivery();
    asker.may(&delivery.links, &interaction, Some(Target::Attachment(&part)), delivery.clock.now())?;
    let permit = turn(&daemon).await?;
    let linked = delivery.attachment(&interaction, &part).await?;
    hand_out(&daemon, &method, &headers, linked, permit).await
}

/// A turn among those who download.
async fn turn(daemon: &Daemon) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = tokio::time::timeout(TURN_PATIENCE, Arc::clone(&daemon.downloads).acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| Unlinked::Busy.into())
}

/// Content as an answer: all of it or a range, or word that the asker has it already.
async fn hand_out(
    daemon: &Daemon,
    method: &Method,
    asked: &HeaderMap,
    linked: Linked,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let (size, tag) = (linked.size, format!("\"{}\"", linked.sha256));
    let mut headers = HeaderMap::new();
    let mut set = |name, value: &str| {
        // What HTTP cannot carry is left out; a body without a type is bytes.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, "application/octet-stream");
    set(header::CONTENT_TYPE, &linked.kind);
    set(header::CONTENT_DISPOSITION, &disposition::attachment(linked.name.as_deref()));
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
    set(header::CACHE_CONTROL, "private, no-store");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::ACCEPT_RANGES, "bytes");
    set(header::ETAG, &tag);
    if range::is_known(asked, &tag) {
        headers.remove(header::CONTENT_TYPE);
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    // Ranges are defined for GET alone (RFC 9110 §14.2).
    let wanted = if method == Method::GET { range::wanted(asked, size, &tag) } else { Wanted::Whole };
    let (status, part) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0..size),
        Wanted::Part(from, until) => {
            let place = format!("bytes {from}-{}/{size}", until - 1);
            headers.extend(HeaderValue::from_str(&place).ok().map(|it| (header::CONTENT_RANGE, it)));
            (StatusCode::PARTIAL_CONTENT, from..until)
        }
        Wanted::Nothing => {
            let detail = format!("the content has {size} bytes; ask for some of those");
            let mut response = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "no-such-range", detail).into_response();
            let place = HeaderValue::from_str(&format!("bytes */{size}")).ok();
            response.headers_mut().extend(place.map(|it| (header::CONTENT_RANGE, it)));
            return Ok(response);
        }
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    if method == Method::HEAD {
        return Ok((status, headers).into_response());
    }
    let body = flow::body(daemon.store.clone(), linked, part, permit).await?;
    Ok((status, headers, body).into_response())
}

impl From<Unlinked> for Problem {
    /// The one place where content that cannot be had becomes an answer.
    fn from(unlinked: Unlinked) -> Self {
        let (status, name) = match &unlinked {
            Unlinked::Unknown => (StatusCode::NOT_FOUND, "no-such-content"),
            Unlinked::Gone => (StatusCode::GONE, "content-gone"),
            Unlinked::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Unlinked::Failed(failure) => {
                tracing::warn!(reason = failure.reason(), "Content could not be handed out: {failure}");
                (StatusCode::INTERNAL_SERVER_ERROR, "content-unreadable")
            }
        };
        Self::new(status, name, unlinked)
    }
}
