//! One interaction goes to one route: job Deliver.
//!
//! The body is made from what was stored when the mail was accepted, so every attempt sends the same bytes, whatever
//! the configuration says by then.

mod content;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::destinations::{Destination, Handover};
use crate::mail;
use crate::mail::addresses::Mailbox;
use crate::mail::facts::Thread;
use crate::mail::interaction::{Prepared, Source};
use crate::mail::shared::RemoteImages;
use crate::memory::{Budget, WEIGHT};
use crate::model::address::Address;
use crate::model::clock::SharedClock;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::pattern::NamePattern;
use crate::model::route::MatchedBy;
use crate::model::work::Job;
use crate::store::{Delivery as Row, Store};
pub use content::Content;

/// How long a delivery waits for room in memory before it gives its place to others …
const ROOM_PATIENCE: Duration = Duration::from_secs(3);
/// … and how long it stays away then. Neither is counted as an attempt.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// Everything the delivery jobs work with, wired by the roof.
pub struct Delivery {
    /// What is on disk.
    pub store: Store,
    /// The time.
    pub clock: SharedClock,
    /// The routes by name.
    pub routes: HashMap<String, Route>,
    /// Where the mail itself comes from.
    pub content: Content,
    /// Message bytes in flight.
    pub memory: Budget,
}

/// One route as deliveries need it.
pub struct Route {
    /// Where it leads.
    pub destination: Arc<dyn Destination>,
    /// Larger mail is parked.
    pub max_message_size: u64,
}

/// What was decided when the mail was accepted, as `inbound` wrote it down.
#[derive(Debug, Deserialize)]
struct Facts {
    matched_by: MatchedBy,
    matched_recipient: Option<Address>,
    fan_out_index: usize,
    fan_out_count: usize,
    folder: String,
    /// Those whom Bcc fields named and the route takes mail for.
    #[serde(default)]
    bcc: Vec<Mailbox>,
    rendering: Rendering,
}

/// How a route's interactions are rendered: fixed when the mail is accepted.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
pub struct Rendering {
    /// Attachments larger than this are left out of the body and say so.
    pub inline_limit: u64,
    /// The header fields that are shown; `None` for all.
    pub headers: Option<Vec<NamePattern>>,
    /// What becomes of remote images in HTML.
    #[serde(default)]
    pub remote_images: RemoteImages,
    /// The route's own attributes.
    pub attributes: std::collections::BTreeMap<String, String>,
}

impl Delivery {
    /// Hands one interaction to its destination and records that it was accepted.
    ///
    /// # Errors
    /// The destination did not accept; the route's schedule says when it is tried again.
    pub async fn deliver(&self, job: &Job, route: &str, interaction: &str) -> Outcome {
        let Some(row) = self.store.delivery(interaction).await? else {
            return Ok(Next::Done);
        };
        if row.accepted_at.is_some() {
            return Ok(Next::Done);
        }
        let Some(to) = self.routes.get(route) else {
            return Err(Failure::permanent("the route is no longer configured"));
        };
        if row.message.size.is_some_and(|size| size > to.max_message_size) {
            return Err(Failure::permanent("the mail is larger than the route's max_message_size"));
        }
        // The mail itself, and its attachments once more as base64 in the body.
        let weight = row.message.size.unwrap_or(0) * WEIGHT;
        let Ok(_room) = tokio::time::timeout(ROOM_PATIENCE, self.memory.take(weight)).await else {
            return Err(Failure::Postponed { reason: "no room in memory just now".into(), after: ROOM_WAIT });
        };
        let handover = self.handover(job, route, interaction, &row).await?;
        let sent = to.destination.deliver(&handover).await;
        let outcome = match &sent {
            Ok(()) => "accepted",
            Err(Failure::Transient { .. } | Failure::Postponed { .. }) => "transient",
            Err(Failure::Permanent { .. } | Failure::Gone { .. }) => "refused",
        };
        metrics::counter!("mailspan_deliveries_total", "route" => route.to_owned(), "outcome" => outcome).increment(1);
        sent?;
        let waited = self.clock.now() - row.message.received_at.unwrap_or(row.message.found_at);
        #[expect(clippy::cast_precision_loss, reason = "seconds in a histogram need no exact millisecond")]
        metrics::histogram!("mailspan_delivery_seconds", "route" => route.to_owned())
            .record(waited.max(0) as f64 / 1000.0);
        if !self.store.delivered(job.claim, interaction).await? {
            tracing::warn!(
                interaction,
                route,
                "The lease was lost while {interaction} was handed over; its receiver may see the same id again"
            );
        }
        Ok(Next::Settled)
    }

    async fn handover(&self, job: &Job, route: &str, interaction: &str, row: &Row) -> Result<Handover, Failure> {
        let facts: Facts = serde_json::from_str(&row.facts).map_err(|error| {
            Failure::permanent(format!("the stored facts of this delivery cannot be read: {error}"))
        })?;
        let kept = self.content.of(&self.store, &row.message).await?;
        let message_key = row.message.message_key.as_deref().unwrap_or_default();
        let source = Source {
            tenant: &row.message.mailbox.tenant,
            message_key,
            mailbox: &row.message.mailbox.address,
            folder: &facts.folder,
            immutable_id: &row.message.immutable_id,
            conversation_id: row.message.conversation_id.as_deref(),
            internet_message_id: row.message.internet_message_id.as_deref(),
            received_at: row.message.received_at.unwrap_or(row.message.found_at),
            raw_sha256: row.message.sha256.as_deref().unwrap_or_default(),
            classification: &kept.classification,
            calendar: None,
        };
        let thread = Thread::alone(message_key);
        let own = mail::interaction::Handover {
            interaction_id: interaction,
            route,
            matched_by: facts.matched_by,
            matched_recipient: facts.matched_recipient.as_ref(),
            fan_out_index: facts.fan_out_index,
            fan_out_count: facts.fan_out_count,
            bcc: &facts.bcc,
            headers: facts.rendering.headers.as_deref(),
            remote_images: facts.rendering.remote_images,
            attributes: &facts.rendering.attributes,
            inline_limit: facts.rendering.inline_limit,
            links: None,
            thread: &thread,
        };
        let body = Prepared::new(&kept.mail, &kept.raw, &kept.shared, source).event(&own);
        let body = body.map_err(|error| Failure::permanent(format!("the interaction cannot be written: {error}")))?;
        Ok(Handover {
            interaction: interaction.to_owned(),
            attempt: job.attempt,
            route: route.to_owned(),
            body: body.into(),
            content_type: "application/json",
            headers: Vec::new(),
            raw: kept.raw.clone(),
        })
    }
}
