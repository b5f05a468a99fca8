//! The door for Graph's notifications. 202 means "we will look"; the mailbox itself says what there is to see.
//!
//! Answers from memory, without touching the store. A notification that is not ours is counted and still answered
//! 202, so that probing teaches nothing (learn.microsoft.com/graph/change-notifications-delivery-webhooks).

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::hints::{Hints, Lifecycle, Stranger};
use crate::model::clock::SharedClock;

/// What the door needs.
#[derive(Clone)]
pub struct Door {
    /// Where hints are left.
    pub hints: Arc<Hints>,
    /// For the time of the last notification.
    pub clock: SharedClock,
}

/// `changeNotificationCollection`, as far as a hint needs it. Casing and presence of the rest vary.
#[derive(Debug, Deserialize)]
struct Notifications {
    value: Vec<Item>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    subscription_id: Option<String>,
    client_state: Option<String>,
    lifecycle_event: Option<String>,
    resource_data: Option<ResourceData>,
}

#[derive(Debug, Deserialize)]
struct ResourceData {
    id: Option<String>,
}

/// `POST /graph/notifications` and `POST /graph/lifecycle`: both take either kind of item, as Graph mixes them.
pub async fn receive(State(door): State<Door>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let begun = Instant::now();
    if let Some(token) = query.as_deref().and_then(validation_token) {
        return echo(token);
    }
    let Ok(batch) = serde_json::from_slice::<Notifications>(&body) else {
        metrics::counter!("mailspan_notifications_total", "result" => "malformed").increment(1);
        return StatusCode::BAD_REQUEST.into_response();
    };
    let now = door.clock.now();
    for item in &batch.value {
        let result = take(&door.hints, item, now);
        metrics::counter!("mailspan_notifications_total", "result" => result).increment(1);
    }
    metrics::histogram!("mailspan_notification_ack_seconds").record(begun.elapsed());
    StatusCode::ACCEPTED.into_response()
}

/// Leaves the item's hint, if it is ours. Returns what became of it.
fn take(hints: &Hints, item: &Item, now: i64) -> &'static str {
    let subscription = item.subscription_id.as_deref().unwrap_or_default();
    let lifecycle = item.lifecycle_event.as_deref().map(|event| match event {
        "reauthorizationRequired" => Lifecycle::ReauthorizationRequired,
        "subscriptionRemoved" => Lifecycle::SubscriptionRemoved,
        // `missed`, and whatever Graph may add: looking is always right.
        _ => Lifecycle::Missed,
    });
    let id = item.resource_data.as_ref().and_then(|it| it.id.as_deref());
    let Some(mailbox) = hints.owner(subscription, item.client_state.as_deref()) else {
        if hints.knows(subscription) {
            return "forged";
        }
        hints.stranger(Stranger {
            subscription: subscription.to_owned(),
            client_state: item.client_state.clone(),
            lifecycle,
            id: id.map(str::to_owned),
        });
        return "unknown";
    };
    match lifecycle {
        None => {
            hints.message(&mailbox, id, now);
            "message"
        }
        Some(event) => {
            hints.lifecycle(&mailbox, event);
            "lifecycle"
        }
    }
}

/// The handshake: Graph proves the endpoint is ours and wants its token back, decoded, as plain text.
fn echo(token: String) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    (StatusCode::OK, headers, token).into_response()
}

/// The token among the query's parameters, decoded by the rules of forms (`+` is a space).
fn validation_token(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "validationToken")
        .map(|(_, it)| it.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_decoded_as_graph_wants_it() {
        for (query, expected) in [
            ("validationToken=a%20b%2Bc%3A1", Some("a b+c:1")),
            ("x=1&validationToken=Validation%3a+Testing", Some("Validation: Testing")),
            ("validationtoken=a", None),
            ("", None),
        ] {
            assert_eq!(validation_token(query).as_deref(), expected);
        }
    }

    #[test]
    fn items_without_a_resource_are_read() {
        let body = r#"{"value":[{"subscriptionId":"s","tenantId":"t","clientState":"c","lifecycleEvent":"missed"}]}"#;
        let batch: Notifications = serde_json::from_str(body).unwrap();
        assert_eq!(take(&Hints::default(), &batch.value[0], 0), "unknown");
    }
}
