//! Seen from outside: health, metrics, and the upkeep of what is stored.

pub mod audit;
pub mod health;
pub mod replicas;
pub mod tidy;
pub mod trace;
