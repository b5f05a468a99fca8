//! Seen from outside: health, metrics, what is wrong with a set-up, and the upkeep of what is stored.

pub mod audit;
pub mod doctor;
pub mod health;
pub mod replicas;
pub mod tidy;
pub mod trace;
