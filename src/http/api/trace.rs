//! `GET /trace`: where is my mail? By any id, else by a part of its subject.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::asked::Query;
use super::operation::{Door, Operation};
use super::page::Limit;
use super::times::Moment;
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::ops::trace::{LONGEST, Since, Trace, trace};

pub(super) fn operation() -> Operation {
    let says = "Where is my mail? The journeys of the messages and submissions that go by an id, or whose subject holds a text.";
    Operation::get("/trace", "trace", Door::Scope(Scope::Read), says, answer)
        .query::<Wanted>()
        .answers::<Trace>(200, "The messages and submissions, the newest first; none: nothing is known by this.")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// A Message-ID (with or without its angle brackets), an interaction id, a submission id, a message key, a message's id in its
    /// mailbox,
    /// or else a subject or a part of one, in upper or lower case.
    #[schemars(length(min = 1, max = LONGEST))]
    q: String,
    /// Only messages found since then. Without it ids are found however old they are, subjects within `store.retain`.
    since: Option<Moment>,
    /// How many messages to show.
    #[serde(default)]
    limit: Limit,
}

async fn answer(State(daemon): State<Arc<Daemon>>, Query(wanted): Query<Wanted>) -> Result<Json<Trace>, Problem> {
    let refuse = |detail: String| Err(Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail));
    if wanted.q.trim().is_empty() {
        return refuse("q is empty; write a Message-ID, an interaction id or a part of a subject".into());
    }
    if wanted.q.chars().count() > LONGEST {
        return refuse(format!("q is too long; an id or a part of a subject has at most {LONGEST} characters"));
    }
    let now = daemon.now();
    let since = Since { asked: wanted.since.map(|it| it.at(now)), retained: daemon.retained_since() };
    let limit = u32::try_from(wanted.limit.rows()).unwrap_or(u32::MAX);
    Ok(Json(trace(&daemon.store, &wanted.q, since, limit).await?))
}
