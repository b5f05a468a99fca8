//! Mailspan.

pub mod cli;
pub mod config;
pub mod delivery;
pub mod destinations;
pub mod egress;
pub mod graph;
pub mod identity;
pub mod inbound;
pub mod mail;
pub mod model;
pub mod ops;
pub mod queue;
pub mod secrets;
pub mod store;
pub mod telemetry;
