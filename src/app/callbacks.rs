//! Callbacks, wired: where they go, and how they are attempted.

use std::sync::Arc;

use anyhow::Context as _;

use super::jobs::RoutePlan;
use crate::config::Config;
use crate::config::route::default_retry;
use crate::destinations::Destination;
use crate::destinations::webhook::Webhook;
use crate::egress::Egress;
use crate::model::backoff::{Backoff, Then};
use crate::model::clock::SharedClock;
use crate::outbound::Outbound;

/// Callbacks that are made at once.
const ROOM: u32 = 4;

/// The webhook that is told of final states.
pub(super) fn destination(
    config: &Config,
    egress: &Egress,
    clock: &SharedClock,
) -> anyhow::Result<Option<Arc<dyn Destination>>> {
    let Some(callback) = &config.outbound.callback else { return Ok(None) };
    let webhook = Webhook::new(&callback.webhook(), egress, Arc::clone(clock)).context("outbound.callback")?;
    Ok(Some(Arc::new(webhook)))
}

/// On the schedule a route has by itself.
pub(super) fn plan(outbound: &Outbound) -> Option<RoutePlan> {
    let backoff = || Backoff { steps: default_retry().iter().map(|it| it.0).collect(), then: Then::Park };
    outbound.callback.as_ref().map(|to| RoutePlan::new(ROOM, to.timeout(), backoff()))
}
