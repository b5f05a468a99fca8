//! `/api/v1`: THE LIST of operations, each a file of its own, and the document that is made of it.
//!
//! What is not on the list is answered with a problem as well (RFC 9457).

mod access;
pub(super) mod asked;
mod audit;
mod cancel;
mod deliveries;
mod delivery;
mod discard;
mod document;
mod mailboxes;
mod message;
mod messages;
mod operation;
mod page;
mod pause;
mod replay;
mod reply;
mod routes;
mod sign_in;
mod submission;
mod submit;
mod sync;
mod times;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};

pub use access::{Access, Caller};
pub(super) use operation::{Door, Operation};
pub(super) use sign_in::delegated;

use super::content;
use super::problem::Problem;
use crate::app::Daemon;

/// What every path of the API begins with.
const BASE: &str = "/api/v1";
/// The JSON of a request stays far below this.
const BODY_LIMIT: usize = 256 << 10;

/// Every operation there is.
fn operations() -> Vec<Operation> {
    vec![
        deliveries::listing(),
        deliveries::showing(),
        replay::one(),
        replay::many(),
        discard::operation(),
        mailboxes::operation(),
        sync::operation(),
        pause::pausing(),
        pause::resuming(),
        sign_in::beginning(),
        sign_in::showing(),
        routes::operation(),
        trace::operation(),
        audit::operation(),
        submit::operation(),
        messages::listing(),
        messages::showing(),
        cancel::operation(),
        reply::operation(),
        content::interaction_schema(),
        content::get_interaction(),
        content::get_raw(),
        content::get_attachment(),
    ]
}

/// The API, and a problem for everything else below `/api`.
pub(super) fn router(daemon: &Arc<Daemon>) -> Router<Arc<Daemon>> {
    let operations = operations();
    let written = |wants_tokens| -> Arc<str> { document::document(&operations, wants_tokens).to_string().into() };
    let documents = [written(false), written(true)];
    let mut paths: BTreeMap<&'static str, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        paths.entry(operation.path).or_default().push(operation);
    }
    let shown = move |State(daemon): State<Arc<Daemon>>| async move {
        let [without, with] = documents;
        let document = if daemon.access().wants_tokens() { with } else { without };
        ([(header::CONTENT_TYPE, "application/json")], document.to_string())
    };
    let mut router = Router::new()
        .route(&format!("{BASE}/openapi.json"), get(shown).fallback(|| async { not_allowed("GET, HEAD") }))
        .route("/api", any(unknown))
        .route("/api/", any(unknown))
        .route("/api/{*rest}", any(unknown));
    for (path, operations) in paths {
        let allowed = allowed(&operations);
        let methods = operations.into_iter().map(|it| it.guarded(daemon));
        if let Some(methods) = methods.reduce(axum::routing::MethodRouter::merge) {
            let methods = methods.fallback(move || async move { not_allowed(&allowed) });
            router = router.route(&format!("{BASE}{path}"), methods);
        }
    }
    router.layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// The methods a path knows, for `Allow`.
fn allowed(operations: &[Operation]) -> String {
    let names = operations.iter().map(|it| if it.method == Method::GET { "GET, HEAD" } else { it.method.as_str() });
    names.collect::<Vec<_>>().join(", ")
}

fn not_allowed(allowed: &str) -> Response {
    let detail = format!("this path knows {allowed}");
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
    problem.with(header::ALLOW, HeaderValue::from_str(allowed).ok()).into_response()
}

async fn unknown() -> Problem {
    let detail = format!("there is nothing under this path; {BASE}/openapi.json lists what there is");
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", detail)
}
