//! `GET /deliveries` and `GET /deliveries/{id}`: what waits, what failed, what was accepted, what needs a person.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::asked::{Path, Query};
use super::delivery::{Delivery, Made};
use super::mailboxes;
use super::operation::{Door, Operation};
use super::page::{self, Limit, Page};
use super::times::Moment;
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::model::reason::Code;
use crate::store::{DeliveryCursor, DeliveryFilter, DeliveryId, DeliveryLine, DeliveryState};

/// What is said of a path's `{id}`.
pub(super) const ID: &str = "The interaction's id, `fetch_` and a number, or a callback's id.";

/// `GET /deliveries`.
pub(super) fn listing() -> Operation {
    let says = "Deliveries, the latest mail first; parked messages that have no route yet, and parked callbacks, stand among them.";
    Operation::get("/deliveries", "listDeliveries", Door::Scope(Scope::Read), says, list)
        .query::<Wanted>()
        .answers::<Page<Delivery>>(200, "A page of deliveries.")
        .refuses(&[404, 409])
}

/// `GET /deliveries/{id}`.
pub(super) fn showing() -> Operation {
    let says = "One delivery with its attempts.";
    Operation::get("/deliveries/{id}", "getDelivery", Door::Scope(Scope::Read), says, show)
        .name("id", ID)
        .answers::<Story>(200, "The delivery.")
        .refuses(&[404])
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Of this route.
    route: Option<String>,
    /// In this state.
    state: Option<DeliveryState>,
    /// Whose mail lies in this mailbox: its address, or `tenant/address`.
    mailbox: Option<String>,
    /// Made at this time or later.
    since: Option<Moment>,
    /// Made before this time.
    until: Option<Moment>,
    /// Parked for this reason, or whose last attempt failed for it.
    code: Option<Code>,
    /// Where the page begins: `next_cursor` of the one before.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]+$"))]
    cursor: Option<String>,
    /// How many to show.
    #[serde(default)]
    limit: Limit,
}

/// Which deliveries; what is left out asks nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DeliveryFilter")]
pub(super) struct Filter {
    /// Of this route.
    pub(super) route: Option<String>,
    /// In this state; left out: `parked`.
    pub(super) state: Option<DeliveryState>,
    /// Whose mail lies in this mailbox: its address, or `tenant/address`.
    pub(super) mailbox: Option<String>,
    /// Made at this time or later.
    pub(super) since: Option<Moment>,
    /// Made before this time.
    pub(super) until: Option<Moment>,
    /// Parked for this reason, or whose last attempt failed for it.
    pub(super) code: Option<Code>,
}

impl Filter {
    /// The filter as the store takes it.
    pub(super) fn read(self, daemon: &Daemon) -> Result<DeliveryFilter, Problem> {
        let now = daemon.now();
        Ok(DeliveryFilter {
            route: self.route,
            state: self.state,
            mailbox: self.mailbox.map(|it| mailboxes::named(daemon, &it)).transpose()?,
            since: self.since.map(|it| it.at(now)),
            until: self.until.map(|it| it.at(now)),
            code: self.code,
        })
    }
}

/// A delivery with its attempts.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeliveryStory")]
struct Story {
    #[serde(flatten)]
    delivery: Delivery,
    /// Its attempts as far as they are kept, the first of them first; those before a replay included.
    attempts: Vec<Made>,
}

async fn list(
    State(daemon): State<Arc<Daemon>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Page<Delivery>>, Problem> {
    let Wanted { route, state, mailbox, since, until, code, cursor, limit } = wanted;
    let after: Option<DeliveryCursor> = page::after(cursor.as_deref())?;
    let filter = Filter { route, state, mailbox, since, until, code }.read(&daemon)?;
    let found = daemon.store.deliveries(&filter, after.as_ref(), limit.to_read()).await?;
    Ok(Json(Page::cut(found, limit, DeliveryLine::cursor).map(Delivery::from)))
}

async fn show(State(daemon): State<Arc<Daemon>>, Path(id): Path<String>) -> Result<Json<Story>, Problem> {
    let Ok(id) = id.parse::<DeliveryId>();
    let story = daemon.store.delivery_story(&id).await?.ok_or_else(unknown)?;
    let accepted = story.line.accepted();
    let mut attempts: Vec<Made> = story.attempts.into_iter().map(Made::from).collect();
    attempts.extend(accepted.map(Made::from));
    Ok(Json(Story { delivery: story.line.into(), attempts }))
}

/// There is no such delivery.
pub(super) fn unknown() -> Problem {
    let detail = "there is no such delivery, or its record is no longer kept; a message that was fetched since has deliveries of its own";
    Problem::new(StatusCode::NOT_FOUND, "no-such-delivery", detail)
}
