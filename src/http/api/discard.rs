//! `POST /deliveries/{id}/discard`: a person decides that the route needs it no more, and says why.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::access::Caller;
use super::asked::{Body, Path};
use super::deliveries::{ID, unknown};
use super::operation::{Door, Operation};
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::store::{DeliveryId, DeliveryState, Discarded};

/// The longest reason, in characters.
const LONGEST: usize = 500;

pub(super) fn operation() -> Operation {
    let says = "Discards a delivery that was not accepted, or a message that was not fetched: it is not tried any more, and counts as finished.";
    Operation::post("/deliveries/{id}/discard", "discardDelivery", Door::Scope(Scope::Operate), says, discard)
        .name("id", ID)
        .body::<Wanted>()
        .answers::<Done>(200, "It is discarded, or was before.")
        .refuses(&[404, 409])
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DiscardDelivery")]
struct Wanted {
    /// Why; it is kept with the delivery, with the time and the name of the token.
    reason: Reason,
}

/// Why something is discarded: said, and not at length.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Reason(String);

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("say why".into());
        }
        if text.chars().count() > LONGEST {
            return Err(format!("say it in {LONGEST} characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl JsonSchema for Reason {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DiscardReason".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "\\S" })
    }
}

/// A delivery that is discarded.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DiscardedDelivery")]
struct Done {
    /// Its id.
    id: String,
    /// `discarded`.
    state: DeliveryState,
}

async fn discard(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Done>, Problem> {
    let Ok(id) = id.parse::<DeliveryId>();
    let conflict = |name, detail: &str| Err(Problem::new(StatusCode::CONFLICT, name, detail));
    match daemon.store.discard(id.clone(), &caller.name, &wanted.reason.0).await? {
        Discarded::Done => {
            tracing::info!(delivery = %id, who = caller.name, "{id} is discarded");
            Ok(Json(Done { id: id.to_string(), state: DeliveryState::Discarded }))
        }
        Discarded::Before => Ok(Json(Done { id: id.to_string(), state: DeliveryState::Discarded })),
        Discarded::Unknown => Err(unknown()),
        Discarded::Accepted => conflict("already-accepted", "it was accepted, so there is nothing left to discard"),
        Discarded::Running => conflict("attempt-under-way", "an attempt is under way; see what comes of it"),
    }
}
