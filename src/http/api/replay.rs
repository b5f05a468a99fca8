//! `POST /deliveries/{id}/replay` and `POST /deliveries/replay`: attempts begin anew, now.
//!
//! An interaction keeps its id, so a receiver that has it already can tell.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::Caller;
use super::asked::{Body, Path};
use super::deliveries::{Filter, ID, unknown};
use super::operation::{Door, Operation};
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::store::{DeliveryId, DeliveryLine, DeliveryState, Replayed, StoreError};

/// The most deliveries one call replays.
const MOST: u32 = 1000;
/// How many are replayed in one transaction, so that other writes are not held up.
const TOGETHER: usize = 100;
/// How many ids the answer shows.
const SHOWN: usize = 20;

/// `POST /deliveries/{id}/replay`.
pub(super) fn one() -> Operation {
    let says =
        "Makes a delivery due now: one that is parked, held or to be tried again; with `again` also one that is over.";
    Operation::post("/deliveries/{id}/replay", "replayDelivery", Door::Scope(Scope::Operate), says, replay)
        .name("id", ID)
        .body::<Wanted>()
        .answers::<Due>(202, "It is due.")
        .refuses(&[404, 409])
}

/// `POST /deliveries/replay`.
pub(super) fn many() -> Operation {
    let says =
        "Makes the deliveries that fit a filter due now, at most a thousand at a time; `dry_run` only counts them.";
    Operation::post("/deliveries/replay", "replayDeliveries", Door::Scope(Scope::Operate), says, replay_all)
        .body::<Bulk>()
        .answers::<Sum>(200, "What was replayed, or would be.")
        .refuses(&[404, 409])
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Replay")]
struct Wanted {
    /// Also if it was accepted or discarded: the same id is sent again, as long as the content is kept.
    #[serde(default)]
    again: bool,
}

/// A delivery that is due.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DueDelivery")]
struct Due {
    /// Its id.
    id: String,
    /// `waiting`.
    state: DeliveryState,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ReplayOfMany")]
struct Bulk {
    /// Which deliveries. An empty one takes all that are parked; to send again what was accepted, ask for that state.
    filter: Filter,
    /// Whether to count only.
    #[serde(default)]
    dry_run: bool,
}

/// What a replay of many did.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayedMany")]
struct Sum {
    /// Whether it only counted.
    dry_run: bool,
    /// How many deliveries fit, up to a thousand.
    matched: usize,
    /// Whether more fit; ask again.
    more: bool,
    /// How many are due now.
    replayed: usize,
    /// The first of those that fit.
    first: Vec<String>,
    /// The first of those that were not replayed, and why.
    refused: Vec<Refused>,
}

/// A delivery that was not replayed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RefusedReplay")]
struct Refused {
    /// Its id.
    id: String,
    /// The name of the problem.
    problem: &'static str,
    /// What to do.
    detail: String,
}

async fn replay(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Result<(StatusCode, Json<Due>), Problem> {
    let Ok(id) = id.parse::<DeliveryId>();
    let story = daemon.store.delivery_story(&id).await?.ok_or_else(unknown)?;
    if let Some(problem) = route_removed(&daemon, &story.line) {
        return Err(problem);
    }
    let done = daemon.store.replay(vec![id.clone()], wanted.again).await?;
    match done.first().and_then(|it| refusal(*it)) {
        Some(problem) => Err(problem),
        None => {
            tracing::info!(delivery = %id, who = caller.name, "{id} is replayed");
            Ok((StatusCode::ACCEPTED, Json(Due { id: id.to_string(), state: DeliveryState::Waiting })))
        }
    }
}

async fn replay_all(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<Bulk>,
) -> Result<Json<Sum>, Problem> {
    let mut filter = wanted.filter.read(&daemon)?;
    let state = *filter.state.get_or_insert(DeliveryState::Parked);
    let mut found = daemon.store.deliveries(&filter, None, MOST + 1).await?;
    let more = found.len() > MOST as usize;
    found.truncate(MOST as usize);
    // The oldest of them go first, as they would have.
    found.reverse();
    let mut sum = Sum {
        dry_run: wanted.dry_run,
        matched: found.len(),
        more,
        replayed: 0,
        first: found.iter().take(SHOWN).map(|it| it.id.to_string()).collect(),
        refused: Vec::new(),
    };
    let mut due = Vec::with_capacity(found.len());
    for line in found {
        match route_removed(&daemon, &line) {
            Some(problem) => sum.refuse(&line.id, &problem),
            None => due.push(line.id),
        }
    }
    if !wanted.dry_run {
        let again = matches!(state, DeliveryState::Accepted | DeliveryState::Discarded);
        sum.replay(&daemon, due, again).await?;
        tracing::info!(matched = sum.matched, replayed = sum.replayed, who = caller.name, "Deliveries are replayed");
    }
    Ok(Json(sum))
}

impl Sum {
    async fn replay(&mut self, daemon: &Daemon, due: Vec<DeliveryId>, again: bool) -> Result<(), StoreError> {
        for together in due.chunks(TOGETHER) {
            let done = daemon.store.replay(together.to_vec(), again).await?;
            for (id, done) in together.iter().zip(done) {
                match refusal(done) {
                    Some(problem) => self.refuse(id, &problem),
                    None => self.replayed += 1,
                }
            }
        }
        Ok(())
    }

    fn refuse(&mut self, id: &DeliveryId, problem: &Problem) {
        if self.refused.len() < SHOWN {
            let (problem, detail) = (problem.name(), problem.detail().to_owned());
            self.refused.push(Refused { id: id.to_string(), problem, detail });
        }
    }
}

fn route_removed(daemon: &Daemon, line: &DeliveryLine) -> Option<Problem> {
    let route = line.route.as_ref().filter(|it| !daemon.routes().contains(it))?;
    let detail = format!("the route `{route}` is no longer configured; configure it again, or discard the delivery");
    Some(Problem::new(StatusCode::CONFLICT, "route-removed", detail))
}

/// The one place where what came of a replay becomes an answer.
fn refusal(replayed: Replayed) -> Option<Problem> {
    let conflict = |name, detail: &str| Some(Problem::new(StatusCode::CONFLICT, name, detail));
    match replayed {
        Replayed::Due => None,
        Replayed::Unknown => Some(unknown()),
        Replayed::Running => conflict("attempt-under-way", "an attempt is under way; see what comes of it"),
        Replayed::Accepted => {
            conflict("already-accepted", "it was accepted; send `again: true` to send the same id once more")
        }
        Replayed::Discarded => {
            conflict("already-discarded", "it was discarded; send `again: true` to take that back and deliver it")
        }
        Replayed::ContentGone => conflict(
            "content-gone",
            "its content is no longer kept, so it cannot be sent again; the mailbox has the mail",
        ),
    }
}
