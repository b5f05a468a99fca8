//! One interaction goes to one route: job Deliver.
//!
//! The body is made from what was stored when the mail was accepted, so every attempt sends the same bytes, whatever
//! the configuration says by then.

mod answered;
mod content;
mod conversing;
pub mod linked;
mod parts;
mod render;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::destinations::body::Format;
use crate::destinations::{About, Destination, Handover};
use crate::mail;
use crate::mail::addresses::Mailbox;
use crate::mail::facts::Thread;
use crate::mail::interaction::{Prepared, Source};
use crate::mail::kept::Understood;
use crate::memory::{Budget, WEIGHT};
use crate::model::address::Address;
use crate::model::clock::SharedClock;
use crate::model::link::LinkKey;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::reason::Code;
use crate::model::route::MatchedBy;
use crate::model::thread::Joined;
use crate::model::work::Job;
use crate::store::{Delivery as Row, Leaves, Store};
pub use answered::Answerable;
pub use content::Content;
use render::Rendered;
pub use render::{Linking, Rendering};

/// How long a delivery waits for room in memory before it gives its place to others …
const ROOM_PATIENCE: Duration = Duration::from_secs(3);
/// … and how long it stays away then. Neither is counted as an attempt.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// A new route reaches all replicas within so long, in milliseconds. A delivery of a route that one of them does not know
/// is left to the others …
pub const ROLLOUT_MS: i64 = 10 * 60 * 1000;
/// … who find it after this.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(5);

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
    /// Signs the links to content.
    pub links: LinkKey,
}

/// How long an acceptance is kept that cannot be recorded: within what an attempt may take around its handover.
const STORE_PATIENCE: Duration = Duration::from_secs(6);
/// How often it is tried.
const STORE_WAIT: Duration = Duration::from_millis(300);

/// One route as deliveries need it.
pub struct Route {
    /// Where it leads.
    pub destination: Arc<dyn Destination>,
    /// Larger mail is parked, unless its content is linked.
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

impl Facts {
    fn read(stored: &str) -> Result<Self, Failure> {
        serde_json::from_str(stored)
            .map_err(|error| Failure::permanent(format!("the stored facts of this delivery cannot be read: {error}")))
            .map_err(|it| it.coded(Code::Unreadable))
    }
}

impl Delivery {
    /// Hands one interaction to its destination and records that it was accepted.
    ///
    /// # Errors
    /// The destination did not accept; the route's schedule says when it is tried again.
    pub async fn deliver(&self, job: &Job, route: &str, interaction: &str) -> Outcome {
        let begun = Instant::now();
        let Some(row) = self.store.delivery(interaction).await? else {
            return Ok(Next::Done);
        };
        if row.accepted_at.or(row.discarded_at).is_some() {
            return Ok(Next::Done);
        }
        if let Some(reason) = &row.held {
            metrics::counter!("mailspan_deliveries_total", "route" => route.to_owned(), "outcome" => "held")
                .increment(1);
            return Err(Failure::permanent(format!("loop suspected: {reason}")).coded(Code::LoopSuspected));
        }
        let Some(to) = self.routes.get(route) else {
            if self.store.is_shared() && self.clock.now() - job.created_at < ROLLOUT_MS {
                let reason = "the route is not configured here, perhaps not yet; another replica may know it".into();
                return Err(Failure::Postponed { reason, after: LEFT_TO_OTHERS });
            }
            return Err(Failure::permanent("the route is no longer configured").coded(Code::RouteRemoved));
        };
        let facts = Facts::read(&row.facts)?;
        let is_too_large = row.message.size.is_some_and(|size| size > to.max_message_size);
        if is_too_large && !facts.rendering.takes_any_size() {
            let failure = Failure::permanent("the mail is larger than the route's max_message_size");
            return Err(failure.coded(Code::TooLarge));
        }
        // The mail itself, and its attachments once more as base64 in the body.
        let weight = row.message.size.unwrap_or(0) * WEIGHT;
        let Ok(_room) = tokio::time::timeout(ROOM_PATIENCE, self.memory.take(weight)).await else {
            return Err(Failure::Postponed { reason: "no room in memory just now".into(), after: ROOM_WAIT });
        };
        let expires = facts.rendering.expires(job.created_at, self.clock.now());
        let handover = self.handover(job, &row, &facts, expires).await?;
        let sent = match to.destination.conversations() {
            Some(conversations) => {
                let until = Instant::now() + to.destination.timeout();
                self.converse(conversations, &handover, until).await
            }
            None => to.destination.deliver(&handover).await.map(|()| None),
        };
        let outcome = match &sent {
            Ok(_) => "accepted",
            Err(Failure::Transient { .. } | Failure::Postponed { .. }) => "transient",
            Err(Failure::Permanent { .. } | Failure::Gone { .. }) => "refused",
        };
        metrics::counter!("mailspan_deliveries_total", "route" => route.to_owned(), "outcome" => outcome).increment(1);
        let conversation = sent?;
        let waited = self.clock.now() - row.message.received_at.unwrap_or(row.message.found_at);
        #[expect(clippy::cast_precision_loss, reason = "seconds in a histogram need no exact millisecond")]
        metrics::histogram!("mailspan_delivery_seconds", "route" => route.to_owned())
            .record(waited.max(0) as f64 / 1000.0);
        let linked = expires.map(|at| (row.message.id, at.saturating_mul(1000)));
        let leaves = Leaves { linked, conversation, attempt: Some((job.attempt, begun.elapsed())) };
        let settled = self.written(job, interaction, leaves).await?;
        if !settled {
            tracing::warn!(
                interaction,
                route,
                "The lease was lost while {interaction} was handed over; its receiver may see the same id again"
            );
        }
        Ok(Next::Settled)
    }

    /// Records that it was accepted. A store that is away for a moment is waited for: what is not recorded is handed over
    /// again.
    async fn written(&self, job: &Job, interaction: &str, leaves: Leaves) -> Result<bool, Failure> {
        let until = Instant::now() + STORE_PATIENCE;
        loop {
            match self.store.delivered_with(job.claim, interaction, leaves.clone()).await {
                Err(error) if error.may_pass() && Instant::now() < until => tokio::time::sleep(STORE_WAIT).await,
                written => return Ok(written?),
            }
        }
    }

    async fn handover(&self, job: &Job, row: &Row, facts: &Facts, expires: Option<i64>) -> Result<Handover, Failure> {
        let kept = self.content.of(&self.store, &row.message).await?;
        let Rendered { body, content_type, headers } =
            self.rendered(row, facts, &kept, facts.rendering.format, expires)?;
        Ok(Handover {
            interaction: row.interaction_id.clone(),
            attempt: job.attempt,
            route: row.route.clone(),
            body,
            content_type,
            headers,
            raw: kept.raw.clone(),
            about: About {
                tenant: row.message.mailbox.tenant.to_string(),
                received_at: row.message.received_at.unwrap_or(row.message.found_at),
                thread: thread_id(row),
                parts: kept,
            },
        })
    }

    fn rendered(
        &self,
        row: &Row,
        facts: &Facts,
        kept: &Understood,
        format: Format,
        expires: Option<i64>,
    ) -> Result<Rendered, Failure> {
        let interaction = row.interaction_id.as_str();
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
            calendar: kept.mail.calendar.as_ref(),
        };
        let thread = thread(row, message_key);
        let linking = facts.rendering.links.as_ref().zip(expires);
        let links = linking.map(|(linking, expires)| render::links(&self.links, linking, interaction, kept, expires));
        let own = mail::interaction::Handover {
            interaction_id: interaction,
            route: &row.route,
            matched_by: facts.matched_by,
            matched_recipient: facts.matched_recipient.as_ref(),
            fan_out_index: facts.fan_out_index,
            fan_out_count: facts.fan_out_count,
            bcc: &facts.bcc,
            headers: facts.rendering.headers.as_deref(),
            remote_images: facts.rendering.remote_images,
            attributes: &facts.rendering.attributes,
            inline_limit: facts.rendering.inline_limit,
            beside: facts.rendering.beside,
            links: links.as_ref(),
            thread: &thread,
        };
        let prepared = Prepared::new(&kept.mail, &kept.raw, &kept.shared, source);
        let rendered = render::write(format, &prepared, &own, &kept.raw);
        rendered.map_err(|error| {
            Failure::permanent(format!("the interaction cannot be written: {error}")).coded(Code::Unsendable)
        })
    }
}

/// The conversation, as it was when the mail was accepted. What was accepted before conversations were kept has none.
fn thread(row: &Row, message_key: &str) -> Thread {
    match row.message.joined.clone() {
        Some(Joined { thread, is_new, basis }) => {
            let (previous_interaction_id, gap) = (row.previous.clone(), row.gap.clone());
            Thread { thread_id: thread, is_new, previous_interaction_id, basis, gap }
        }
        None => Thread::alone(message_key),
    }
}

fn thread_id(row: &Row) -> String {
    match &row.message.joined {
        Some(joined) => joined.thread.clone(),
        None => Thread::alone(row.message.message_key.as_deref().unwrap_or_default()).thread_id,
    }
}
