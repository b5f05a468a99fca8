//! `GET /messages` and `GET /messages/{id}`: what was handed in, where each mail stands, and what is known of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::asked::{Path, Query};
use super::mailboxes;
use super::message::{Message, MessageStory};
use super::operation::{Door, Operation};
use super::page::{self, Limit, Page};
use super::times::Moment;
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::model::submission::SubmissionState;
use crate::store::SubmissionFilter;

/// What is said of a path's `{id}`.
pub(super) const ID: &str = "The message's id, `sub_` and 32 digits.";

/// `GET /messages`.
pub(super) fn listing() -> Operation {
    let says = "Messages that were handed in to be sent, the latest first.";
    Operation::get("/messages", "listMessages", Door::Scope(Scope::Read), says, list)
        .query::<Wanted>()
        .answers::<Page<Message>>(200, "A page of messages.")
        .refuses(&[404, 409])
}

/// `GET /messages/{id}`.
pub(super) fn showing() -> Operation {
    let says =
        "One message: where it stands and why, whom it names, its files, what came back, and what was told of it.";
    Operation::get("/messages/{id}", "getMessage", Door::Scope(Scope::Read), says, show)
        .name("id", ID)
        .answers::<MessageStory>(200, "The message.")
        .refuses(&[404])
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// In this state.
    state: Option<SubmissionState>,
    /// That leave from this mailbox: its address, or `tenant/address`.
    mailbox: Option<String>,
    /// Accepted at this time or later.
    since: Option<Moment>,
    /// Accepted before this time.
    until: Option<Moment>,
    /// Where the page begins: `next_cursor` of the one before.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]+$"))]
    cursor: Option<String>,
    /// How many to show.
    #[serde(default)]
    limit: Limit,
}

async fn list(State(daemon): State<Arc<Daemon>>, Query(wanted): Query<Wanted>) -> Result<Json<Page<Message>>, Problem> {
    let after: Option<i64> = page::after(wanted.cursor.as_deref())?;
    let now = daemon.now();
    let filter = SubmissionFilter {
        state: wanted.state,
        mailbox: wanted.mailbox.map(|it| mailboxes::named(&daemon, &it)).transpose()?,
        since: wanted.since.map(|it| it.at(now)),
        until: wanted.until.map(|it| it.at(now)),
    };
    let found = daemon.store.submissions(&filter, after, wanted.limit.to_read()).await?;
    Ok(Json(Page::cut(found, wanted.limit, |it| it.number).map(Message::from)))
}

async fn show(State(daemon): State<Arc<Daemon>>, Path(id): Path<String>) -> Result<Json<MessageStory>, Problem> {
    let store = &daemon.store;
    let submission = store.submission(&id).await?.ok_or_else(unknown)?;
    let files = store.submission_files(submission.number).await?;
    let bounces = store.bounces(submission.number).await?;
    let callbacks = store.callbacks(submission.number).await?;
    Ok(Json(MessageStory::of(submission, files, bounces, callbacks)))
}

/// There is no such message.
pub(super) fn unknown() -> Problem {
    let detail = "there is no such message, or its record is no longer kept";
    Problem::new(StatusCode::NOT_FOUND, "no-such-message", detail)
}
