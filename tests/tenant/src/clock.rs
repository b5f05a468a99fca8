//! The tenant's time: the machine's, moved forward as a test asks.
//!
//! Tokens, subscriptions and received times all read this one clock, so an hour can pass in no time.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use jiff::{Timestamp, tz::TimeZone};

/// A clock that may be set ahead or behind.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead_ms: AtomicI64,
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        from_ms(self.now_ms())
    }

    pub(crate) fn now_ms(&self) -> i64 {
        Timestamp::now().as_millisecond().saturating_add(self.ahead_ms())
    }

    pub(crate) fn ahead_ms(&self) -> i64 {
        self.ahead_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self, ms: i64) {
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// The time of so many milliseconds since 1970; beyond what a calendar holds, the epoch itself.
pub(crate) fn from_ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `2026-11-21T18:55:56Z`, the precision in which Exchange shows times of messages.
pub(crate) fn seconds(ms: i64) -> String {
    from_ms(ms).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `Sat, 21 Nov 2026 18:55:56 GMT`, as HTTP headers carry it.
pub(crate) fn http_date(ms: i64) -> String {
    from_ms(ms).to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The lock's content, also after a panic of another holder: a simulated tenant goes on.
pub(crate) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
