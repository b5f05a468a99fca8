//! What Mailspan promises: one file per story.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking; clippy knows test functions, not their helpers")]

mod config_problems;
mod destination_conformance;
mod destination_egress;
mod destination_maildir;
mod destination_webhook;
mod receiver;
