//! The mail room: raw RFC 5322 bytes become a [`parse::Mail`], and a mail becomes the interaction a receiver gets.
//!
//! Whatever bytes arrive, something honest comes out: nothing here fails, blocks or looks at a clock.

pub mod addresses;
pub mod attachment;
pub mod beside;
pub mod body;
mod boundaries;
pub mod calendar;
pub mod charset;
pub mod classify;
pub mod cloudevent;
pub mod compose;
pub mod digest;
pub mod envelope;
pub mod facts;
mod guard;
pub mod header;
pub mod html;
pub mod html_text;
pub mod interaction;
pub mod kept;
mod lines;
pub mod parameters;
pub mod parse;
pub mod passing;
pub mod places;
pub mod plain;
pub mod privacy;
pub mod security;
pub mod shared;
pub mod structure;
pub mod style;
mod tags;
pub mod thread;
pub mod tnef;
pub mod transfer;
pub mod uuencode;
mod windows_zones;
mod zones;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs foreign code over bytes from outside. `None` when it panicked: a mail may be odd, the daemon goes on.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
