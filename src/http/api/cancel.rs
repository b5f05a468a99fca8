//! `DELETE /messages/{id}`: takes a message back, as long as nothing of it has left.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Caller;
use super::asked::Path;
use super::messages::{ID, unknown};
use super::operation::{Door, Operation};
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::model::submission::SubmissionState;
use crate::store::Cancelled;

pub(super) fn operation() -> Operation {
    let says = "Takes back a message that is still queued: it will not be sent.";
    Operation::delete("/messages/{id}", "cancelMessage", Door::Scope(Scope::Send), says, cancel)
        .name("id", ID)
        .answers::<Done>(200, "It is cancelled, or was before.")
        .refuses(&[404, 409])
}

/// A message that was taken back.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CancelledMessage")]
struct Done {
    /// Its id.
    id: String,
    /// `cancelled`.
    state: SubmissionState,
}

async fn cancel(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    match daemon.outbound().cancel(&id).await? {
        Cancelled::Done => tracing::info!(submission = id, who = caller.name, "{id} is cancelled"),
        Cancelled::TooLate(SubmissionState::Cancelled) => {}
        Cancelled::TooLate(state) => return Err(too_late(state)),
        Cancelled::Unknown => return Err(unknown()),
    }
    Ok(Json(Done { id, state: SubmissionState::Cancelled }))
}

fn too_late(state: SubmissionState) -> Problem {
    let detail = match state {
        SubmissionState::Sent | SubmissionState::Bounced => {
            "it was sent, and a mail that was sent cannot be taken back"
        }
        SubmissionState::Failed => "it failed and will not be sent; there is nothing left to cancel",
        SubmissionState::Queued | SubmissionState::Sending | SubmissionState::Cancelled => {
            "it is being sent: a draft of it may exist, or it may have left already"
        }
    };
    Problem::new(StatusCode::CONFLICT, "too-late", detail)
}
