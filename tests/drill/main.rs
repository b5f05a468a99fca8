//! The crash drills: the real program is ended, frozen, starved and confused while mail flows, and loses none of it.
//!
//! `tests/run --drill` runs them in a release build. One at a time: each measures and strains the whole machine.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy knows test functions, not their helpers"
)]

mod clock;
mod full_disk;
mod kills;
mod memory;
mod moments;
#[path = "../suite/own_postgres.rs"]
#[expect(dead_code, reason = "the suite uses all of it")]
mod own_postgres;
mod postgres;
mod replicas;
mod replicated;
mod sending;
mod sign_ins;
mod signed_in;
mod stops;
mod submissions;
mod world;

/// Held by whichever drill runs.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
