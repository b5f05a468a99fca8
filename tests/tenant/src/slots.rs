//! The MailboxConcurrency limit: how many requests of one app may be at work on one mailbox.
//!
//! A slot is given back when its request is done, whatever became of its connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use crate::{clock::held, options::Options, world::Mailbox};

/// Requests at work, by app.
#[derive(Debug, Default)]
pub(crate) struct Slots(Mutex<HashMap<usize, Use>>);

#[derive(Debug, Default, Clone, Copy)]
struct Use {
    now: u32,
    most: u32,
    window_began: i64,
    in_window: u32,
    upload_began: i64,
    uploaded: u64,
}

/// A request at work.
pub(crate) struct Slot {
    mailbox: Arc<Mailbox>,
    app: usize,
}

/// Why no slot was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    AtOnce,
    InTenMinutes { seconds_left: u64 },
    Uploaded { seconds_left: u64 },
}

const WINDOW_MS: i64 = 600_000;
const UPLOAD_WINDOW_MS: i64 = 300_000;

impl Slot {
    /// A slot for a request that writes so many bytes.
    pub(crate) fn take(
        mailbox: &Arc<Mailbox>,
        app: usize,
        writes: usize,
        options: &Options,
        now_ms: i64,
    ) -> Result<Self, Full> {
        let mut apps = held(&mailbox.slots.0);
        let used = apps.entry(app).or_default();
        if let Some(limit) = options.requests_per_ten_minutes {
            if now_ms - used.window_began >= WINDOW_MS {
                (used.window_began, used.in_window) = (now_ms, 0);
            }
            used.in_window += 1;
            if used.in_window > limit {
                return Err(Full::InTenMinutes { seconds_left: left(used.window_began + WINDOW_MS - now_ms) });
            }
        }
        if options.enforce_concurrency && used.now >= options.concurrency {
            return Err(Full::AtOnce);
        }
        if let Some(limit) = options.upload_per_five_minutes.filter(|_| writes > 0) {
            if now_ms - used.upload_began >= UPLOAD_WINDOW_MS {
                (used.upload_began, used.uploaded) = (now_ms, 0);
            }
            if used.uploaded >= limit {
                return Err(Full::Uploaded { seconds_left: left(used.upload_began + UPLOAD_WINDOW_MS - now_ms) });
            }
            used.uploaded += writes as u64;
        }
        used.now += 1;
        used.most = used.most.max(used.now);
        Ok(Self { mailbox: mailbox.clone(), app })
    }
}

/// Whole seconds of what is left of a window.
fn left(ms: i64) -> u64 {
    ms.max(0).unsigned_abs().div_ceil(1000)
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(used) = held(&self.mailbox.slots.0).get_mut(&self.app) {
            used.now = used.now.saturating_sub(1);
        }
    }
}

impl Slots {
    /// The requests at work now.
    pub(crate) fn now(&self) -> u32 {
        held(&self.0).values().map(|used| used.now).sum()
    }

    /// The most requests of one app that were ever at work at the same time.
    pub(crate) fn most(&self) -> u32 {
        held(&self.0).values().map(|used| used.most).max().unwrap_or(0)
    }
}
