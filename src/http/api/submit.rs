//! `POST /messages`: takes over a mail that is to be sent.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::access::Caller;
use super::operation::{Door, Operation};
use super::submission::{self, By, Envelope, EnvelopeFields, Kind, Receipt, RequestFields, SubmitMessage};
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::model::submission::Origin;

/// What is said of a mail that was accepted.
pub(super) const ACCEPTED: &str =
    "It is on disk and will be sent, or was accepted before under the same key. `Location` says where to ask for it.";

pub(super) fn operation() -> Operation {
    let says = "Takes over a mail and sends it: written out in JSON, or as it is (`message/rfc822`).";
    Operation::post("/messages", "submitMessage", Door::Scope(Scope::Send), says, submit)
        .headers::<RequestFields>()
        .query::<EnvelopeFields>()
        .body::<SubmitMessage>()
        .takes("message/rfc822")
        .answers::<Receipt>(202, ACCEPTED)
        .refuses(&[408, 422])
}

async fn submit(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let envelope = Envelope::read(query.as_deref().unwrap_or_default())?;
    let key = submission::key(request.headers())?;
    let by = By { origin: Origin::Api, name: &caller.name, key, answers: None };
    match submission::kind(request.headers())? {
        Kind::Raw => submission::raw(&daemon.outbound(), by, request, envelope).await,
        Kind::Json if query.is_none_or(|it| it.is_empty()) => {
            submission::written(&daemon.outbound(), by, request, |json, files, limits| {
                submission::submission(json, files, limits).map_err(submission::wrong)
            })
            .await
        }
        Kind::Json => {
            let detail = "the query belongs to `message/rfc822`; of JSON these are members";
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail))
        }
    }
}
