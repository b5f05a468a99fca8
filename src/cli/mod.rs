//! Room.
pub mod config;
