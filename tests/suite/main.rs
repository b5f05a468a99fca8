//! Suite.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking; clippy knows test functions, not their helpers")]

mod destination_conformance;
mod destination_egress;
mod destination_maildir;
mod destination_webhook;
mod receiver;
