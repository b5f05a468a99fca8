//! `GET /routes`: the routes and how each stands.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::operation::{Door, Operation};
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::ops::health::{Details, Status};

pub(super) fn operation() -> Operation {
    let says = "The routes in the order they are asked, and those no longer configured that left deliveries behind.";
    Operation::get("/routes", "listRoutes", Door::Scope(Scope::Read), says, list).answers::<Routes>(200, "The routes.")
}

#[derive(Serialize, JsonSchema)]
struct Routes {
    /// The routes.
    items: Vec<Route>,
}

/// A route.
#[derive(Serialize, JsonSchema)]
struct Route {
    /// Its configured name.
    name: String,
    /// How well it is.
    status: Status,
    /// What is wrong, when something is.
    reason: Option<String>,
    /// `running`, `paused`, or `removed` from the configuration with deliveries left.
    state: &'static str,
    /// Deliveries that wait, those being made included.
    queue_depth: u64,
    /// Seconds since the oldest of them was made.
    queue_oldest_seconds: i64,
    /// Deliveries that need a person.
    parked: u64,
}

async fn list(State(daemon): State<Arc<Daemon>>) -> Result<Json<Routes>, Problem> {
    let checks = daemon.checks().await?;
    let route = |check: crate::ops::health::Check| match check.details {
        Details::Route { state, queue_depth, queue_oldest_seconds, parked, .. } => Some(Route {
            name: check.name,
            status: check.status,
            reason: check.reason,
            state,
            queue_depth,
            queue_oldest_seconds,
            parked,
        }),
        _ => None,
    };
    Ok(Json(Routes { items: checks.into_iter().filter_map(route).collect() }))
}
