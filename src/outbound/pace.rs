//! How much may be brought into a mailbox: Graph takes 150 MB in five minutes and refuses what is more.
//!
//! Counted in memory; after a restart, or beside another replica, Graph's own refusal counts.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;

/// What Graph takes of one app in one mailbox (learn.microsoft.com/graph/throttling-limits#outlook-service-limits) …
const MOST: u64 = 150_000_000;
/// … within this time.
const WINDOW_MS: i64 = 5 * 60_000;

/// What was brought into each mailbox lately. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct UploadPace(Arc<Mutex<HashMap<MailboxId, Uploads>>>);

impl UploadPace {
    /// Takes room for so many bytes. Where there is none: how long until there is.
    pub(super) fn take(&self, mailbox: &MailboxId, bytes: u64, now: UnixMillis) -> Result<(), Duration> {
        let mut mailboxes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mailboxes.retain(|_, it| !it.is_idle(now));
        mailboxes.entry(mailbox.clone()).or_default().take(bytes, now)
    }
}

/// What was brought into one mailbox, the oldest first.
#[derive(Debug, Default)]
struct Uploads(VecDeque<(UnixMillis, u64)>);

impl Uploads {
    fn is_idle(&self, now: UnixMillis) -> bool {
        self.0.back().is_none_or(|(at, _)| counts_until(*at, now) <= now)
    }

    fn take(&mut self, bytes: u64, now: UnixMillis) -> Result<(), Duration> {
        while self.0.front().is_some_and(|(at, _)| counts_until(*at, now) <= now) {
            self.0.pop_front();
        }
        let mut together: u64 = self.0.iter().map(|it| it.1).sum();
        // What is larger than all there is goes alone.
        let mut free_at = now;
        for (at, brought) in &self.0 {
            if together + bytes <= MOST {
                break;
            }
            together -= brought;
            free_at = counts_until(*at, now);
        }
        if free_at > now {
            return Err(Duration::from_millis(u64::try_from(free_at - now).unwrap_or(0)));
        }
        self.0.push_back((now, bytes));
        Ok(())
    }
}

/// Until when an upload counts; a clock that was set back does not make it count for longer.
fn counts_until(at: UnixMillis, now: UnixMillis) -> UnixMillis {
    at.min(now) + WINDOW_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::Address;

    #[test]
    fn a_mailbox_takes_so_much_in_five_minutes_and_each_has_its_own() {
        let pace = UploadPace::default();
        let mailbox = |local: &str| MailboxId {
            tenant: "contoso".into(),
            address: Address::parse(&format!("{local}@contoso.com")).unwrap(),
        };
        let (support, sales) = (mailbox("support"), mailbox("sales"));
        let seconds = |n| Err(Duration::from_secs(n));
        assert_eq!(pace.take(&support, 100_000_000, 0), Ok(()));
        assert_eq!(pace.take(&support, 40_000_000, 60_000), Ok(()));
        assert_eq!(pace.take(&support, 20_000_000, 60_000), seconds(240));
        assert_eq!(pace.take(&support, 120_000_000, 60_000), seconds(300));
        assert_eq!(pace.take(&sales, 150_000_000, 60_000), Ok(()));
        assert_eq!(pace.take(&support, 10_000_000, 60_000), Ok(()));
        assert_eq!(pace.take(&support, 100_000_000, 300_000), Ok(()));
        assert_eq!(pace.take(&support, 500_000_000, 301_000), seconds(299));
        assert_eq!(pace.take(&support, 500_000_000, 600_000), Ok(()));
        assert_eq!(pace.0.lock().unwrap().len(), 1, "who brings nothing is forgotten");
    }
}
