//! Callbacks, wired: where they go, and how they are attempted.

use std::sync::Arc;

use anyhow::Context as _;

use super::ground::Ground;
use super::jobs::RoutePlan;
use super::wiring::Wiring;
use crate::config::Config;
use crate::config::route::default_retry;
use crate::destinations::Destination;
use crate::destinations::webhook::Webhook;
use crate::model::backoff::{Backoff, Then};
use crate::outbound::Outbound;

/// Callbacks that are made at once.
const ROOM: u32 = 4;

/// The webhook that is told of final states; the same as before where nothing of it changed.
pub(super) fn destination(
    config: &Config,
    ground: &Ground,
    before: Option<&Wiring>,
) -> anyhow::Result<Option<Arc<dyn Destination>>> {
    let Some(callback) = &config.outbound.callback else { return Ok(None) };
    if let Some(before) = before.filter(|it| it.config.outbound.callback.as_ref() == Some(callback)) {
        return Ok(before.outbound.callback.clone());
    }
    let clock = Arc::clone(&ground.clock);
    let webhook = Webhook::new(&callback.webhook(), &ground.egress, clock).context("outbound.callback")?;
    Ok(Some(Arc::new(webhook)))
}

/// On the schedule a route has by itself.
pub(super) fn plan(outbound: &Outbound) -> Option<RoutePlan> {
    let backoff = || Backoff { steps: default_retry().iter().map(|it| it.0).collect(), then: Then::Park };
    outbound.callback.as_ref().map(|to| RoutePlan::new(ROOM, to.timeout(), backoff()))
}
