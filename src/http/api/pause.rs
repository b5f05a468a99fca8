//! `POST /mailboxes/{address}/pause|resume`: nothing is done in a mailbox until somebody says so again.
//!
//! What comes meanwhile stays in the mailbox and is found afterwards; the subscription is kept alive.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Caller;
use super::asked::Path;
use super::mailboxes::{ADDRESS, named};
use super::operation::{Door, Operation};
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;

/// `POST /mailboxes/{address}/pause`.
pub(super) fn pausing() -> Operation {
    let says = "Pauses a mailbox: it is not looked at, nothing of it is fetched or marked, and nothing is lost.";
    Operation::post("/mailboxes/{address}/pause", "pauseMailbox", Door::Scope(Scope::Operate), says, pause)
        .name("address", ADDRESS)
        .answers::<Paused>(200, "It is paused; attempts that were under way end.")
        .refuses(&[404, 409])
}

/// `POST /mailboxes/{address}/resume`.
pub(super) fn resuming() -> Operation {
    let says = "Resumes a mailbox, and looks at it at once.";
    Operation::post("/mailboxes/{address}/resume", "resumeMailbox", Door::Scope(Scope::Operate), says, resume)
        .name("address", ADDRESS)
        .answers::<Paused>(200, "It is worked in again.")
        .refuses(&[404, 409])
}

/// Whether a mailbox is paused.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PausedMailbox")]
struct Paused {
    /// The mailbox.
    mailbox: String,
    /// Whether it is paused now.
    paused: bool,
}

async fn pause(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    Path(address): Path<String>,
) -> Result<Json<Paused>, Problem> {
    let mailbox = named(&daemon, &address)?;
    daemon.pause_mailbox(&mailbox, &caller.name).await?;
    tracing::info!(mailbox = %mailbox, who = caller.name, "{mailbox} is paused");
    Ok(Json(Paused { mailbox: mailbox.to_string(), paused: true }))
}

async fn resume(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    Path(address): Path<String>,
) -> Result<Json<Paused>, Problem> {
    let mailbox = named(&daemon, &address)?;
    daemon.resume_mailbox(&mailbox).await?;
    tracing::info!(mailbox = %mailbox, who = caller.name, "{mailbox} is resumed");
    Ok(Json(Paused { mailbox: mailbox.to_string(), paused: false }))
}
