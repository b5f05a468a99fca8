//! Tokens for Graph.

pub mod config;
