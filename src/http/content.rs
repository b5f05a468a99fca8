//! `/api/v1/interactions/…`: what links in interactions lead to, and the schema interactions keep to.
//!
//! What strangers sent is handed out as a file to be saved: no browser shows, runs or guesses at it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use tokio::sync::OwnedSemaphorePermit;

use super::api::asked::Path;
use super::api::{Door, Operation};
use super::disposition;
use super::flow;
use super::gate::Asker;
use super::problem::Problem;
use super::range::{self, Wanted};
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::delivery::linked::{Linked, Unlinked, Where};
use crate::model::link::Target;

/// `GET /interaction.schema.json`.
pub(super) fn interaction_schema() -> Operation {
    let says = "The JSON Schema (2020-12) interactions keep to.";
    Operation::get("/interaction.schema.json", "getInteractionSchema", Door::Open, says, schema).hands_out(
        200,
        Some("application/schema+json"),
        "The schema.",
    )
}

/// `GET /interactions/{interaction}`.
pub(super) fn get_interaction() -> Operation {
    let says = "An interaction as `format = \"json\"` writes it, in the shape of the schema at /api/v1/interaction.schema.json.";
    Operation::get("/interactions/{interaction}", "getInteraction", Door::Scope(Scope::Read), says, interaction)
        .name("interaction", INTERACTION)
        .answers::<serde_json::Map<String, serde_json::Value>>(200, "The interaction.")
        .refuses(&[404, 410])
}

/// `GET /interactions/{interaction}/raw`.
pub(super) fn get_raw() -> Operation {
    let says = "The mail itself as it came; ranges can be asked for. Also by signed link.";
    Operation::get("/interactions/{interaction}/raw", "getRaw", Door::Link, says, raw)
        .name("interaction", INTERACTION)
        .query::<Link>()
        .hands_out(200, Some("message/rfc822"), "The mail.")
        .hands_out(206, Some("message/rfc822"), "The range of it that was asked for.")
        .hands_out(304, None, "The asker has it already.")
        .refuses(&[404, 410, 416])
}

/// `GET /interactions/{interaction}/attachments/{part}`.
pub(super) fn get_attachment() -> Operation {
    let says = "An attachment, decoded; ranges can be asked for. Also by signed link.";
    let path = "/interactions/{interaction}/attachments/{part}";
    Operation::get(path, "getAttachment", Door::Link, says, attachment)
        .name("interaction", INTERACTION)
        .name("part", "The attachment's `partId`.")
        .query::<Link>()
        .hands_out(200, Some("*/*"), "The attachment, with its own media type.")
        .hands_out(206, Some("*/*"), "The range of it that was asked for.")
        .hands_out(304, None, "The asker has it already.")
        .refuses(&[404, 410, 416])
}

const INTERACTION: &str = "The interaction's id.";

/// What a signed link adds to an address.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "drawn in the document; the gate reads the query itself")]
struct Link {
    /// Until when the link is good, in seconds since 1970.
    expires: Option<i64>,
    /// What signs it.
    signature: Option<String>,
}

/// The JSON Schema of the interaction.
const SCHEMA: &str = include_str!("../../docs/interaction.schema.json");
/// How long a download waits for others to end.
const TURN_PATIENCE: Duration = Duration::from_secs(3);

/// `GET /api/v1/interaction.schema.json`. It holds nothing of anybody.
async fn schema() -> Response {
    ([(header::CONTENT_TYPE, "application/schema+json")], SCHEMA).into_response()
}

/// `GET /api/v1/interactions/{interaction}`, as `format = "json"` writes it.
async fn interaction(State(daemon): State<Arc<Daemon>>, Path(interaction): Path<String>) -> Result<Response, Problem> {
    let delivery = daemon.delivery();
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
async fn raw(
    State(daemon): State<Arc<Daemon>>,
    Path(interaction): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.as_deref().unwrap_or_default();
    let access = daemon.access();
    let asker = Asker { peer: peer.ip(), headers: &headers, query, access: &access };
    let delivery = daemon.delivery();
    asker.may(&delivery.links, &interaction, Target::Raw, delivery.clock.now())?;
    let permit = turn(&daemon).await?;
    let linked = delivery.raw(&interaction).await?;
    hand_out(&daemon, &method, &headers, linked, permit).await
}

/// `GET /api/v1/interactions/{interaction}/attachments/{part}`.
async fn attachment(
    State(daemon): State<Arc<Daemon>>,
    Path((interaction, part)): Path<(String, String)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.as_deref().unwrap_or_default();
    let access = daemon.access();
    let asker = Asker { peer: peer.ip(), headers: &headers, query, access: &access };
    let delivery = daemon.delivery();
    asker.may(&delivery.links, &interaction, Target::Attachment(&part), delivery.clock.now())?;
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
