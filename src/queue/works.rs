//! What the loop asks of the work it runs: how it is attempted, how much of it goes on at once, and who shares what.

use std::time::Duration;

use super::standing::Standing;
use crate::model::backoff::Backoff;
use crate::model::outcome::Outcome;
use crate::model::token::BoxFuture;
use crate::model::work::{Job, Lane, Work};
use crate::store::Across;

/// How one kind of work is attempted.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The longest an attempt may take.
    pub timeout: Duration,
    /// When a failed attempt is tried again.
    pub backoff: Backoff,
}

/// The work itself, as the roof wires it.
pub trait Works: Send + Sync + 'static {
    /// One attempt.
    fn attempt<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome>;
    /// How this work is attempted.
    fn plan(&self, work: &Work) -> Plan;
    /// How many jobs of this lane may run at once.
    fn room(&self, lane: &Lane) -> u32;
    /// What the lane draws on together with others, by name, and how many jobs may run in all of them at once: so that
    /// one tenant that hangs, however many mailboxes it has, takes nothing from the others.
    fn share<'a>(&self, lane: &'a Lane) -> (&'a str, u32);
    /// What the lane may have in hand over all replicas; none: as much as each of them gives it.
    fn across(&self, lane: &Lane) -> Option<Across>;
    /// The longest any attempt in this lane may take.
    fn longest(&self, lane: &Lane) -> Duration;
    /// How a route stands has changed; for health and metrics.
    fn stands(&self, lane: &Lane, standing: &Standing);
    /// Routes that lead elsewhere than a moment ago: what is known of how they stand belongs to the old place. Each is
    /// told once.
    fn redirected(&self) -> Vec<Lane>;
}
