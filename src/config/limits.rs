//! `[limits]` and `[routing]`: what holds for the daemon as a whole.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inbound::loops::Loops;
use crate::model::units::Size;

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Memory for message bytes in flight; work waits for room instead of growing beyond it.
    pub memory_budget: Size,
    /// Messages larger than this are parked.
    pub max_message_size: Size,
}

/// `[routing]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutingConfig {
    /// Whether every route that matches takes the message; false: only the first, in file order.
    pub multiple_destinations: bool,
    /// What happens to a message no route takes.
    pub unmatched: Unmatched,
    /// Whether mail that seems to go round in a circle is held for a person.
    pub loop_breaker: bool,
    /// How many automatic mails of one sender a route takes within ten minutes.
    pub automatic_limit: NonZeroU32,
    /// How many mails of one sender in one conversation are taken within ten minutes; 0: any number.
    pub thread_limit: u32,
}

impl RoutingConfig {
    /// What the loop breaker goes by.
    pub fn loops(&self) -> Loops {
        Loops {
            breaker: self.loop_breaker,
            automatic_limit: self.automatic_limit.get(),
            thread_limit: self.thread_limit,
        }
    }
}

/// What happens to a message no route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unmatched {
    /// It is parked: a person decides.
    Park,
    /// It is left alone and counted as filtered.
    Ignore,
}
