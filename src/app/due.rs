//! What is to be done for mailboxes that were put in: at the start for all of them, later for those that changed.
//!
//! The restart is the recovery, and a changed configuration is a small restart: the same jobs are made due.

use std::time::Duration;

use tokio::task::JoinSet;

use super::audits;
use super::jobs::Jobs;
use super::wiring::Wiring;
use crate::model::clock::UnixMillis;
use crate::model::work::{MailboxId, NewJob, Work};
use crate::store::{Store, StoreError};

/// A sweep is not due before this, so that the first look comes first.
const FIRST_SWEEP: Duration = Duration::from_secs(60);

/// Writes down which folder of each of these mailboxes is watched; many together, so that they share commits.
pub(super) async fn watch(store: &Store, wiring: &Wiring, mailboxes: &[MailboxId]) -> anyhow::Result<()> {
    let mut written = JoinSet::new();
    for mailbox in mailboxes {
        let Some(watched) = wiring.inbound.mailboxes.get(mailbox) else { continue };
        let (store, mailbox, folder) = (store.clone(), mailbox.clone(), watched.config.folder.clone());
        written.spawn(async move { store.watching(&mailbox, &folder).await });
    }
    while let Some(one) = written.join_next().await {
        one??;
    }
    Ok(())
}

/// What is due at the start.
pub(super) async fn first_jobs(jobs: &Jobs) -> Result<Vec<NewJob>, StoreError> {
    let (wiring, now) = (jobs.present(), jobs.ground.clock.now());
    let mut due = vec![Work::Tidy.due(now)];
    due.extend(audits::first_audits(&wiring.mailboxes, now));
    due.extend(looks(&wiring, &wiring.mailboxes, now));
    due.extend(farewells(&jobs.ground.store, &wiring, now).await?);
    Ok(due)
}

/// What is due for mailboxes that are new or not as they were. Sweeps are spread over their interval, so that ten thousand
/// mailboxes do not sweep at once.
pub(super) fn looks(wiring: &Wiring, mailboxes: &[MailboxId], now: UnixMillis) -> Vec<NewJob> {
    let spread = wiring.config.sync.sweep_interval.millis();
    let first = i64::try_from(FIRST_SWEEP.as_millis()).unwrap_or(0).min(spread);
    let shares = i64::try_from(mailboxes.len()).unwrap_or(i64::MAX).max(1);
    let mut jobs = Vec::with_capacity(4 * mailboxes.len());
    for (mailbox, index) in mailboxes.iter().zip(0..) {
        jobs.push(Work::Renew { mailbox: mailbox.clone() }.due(now));
        jobs.push(Work::Look { mailbox: mailbox.clone() }.due(now));
        jobs.push(Work::Mark { mailbox: mailbox.clone() }.due(now));
        jobs.push(Work::Sweep { mailbox: mailbox.clone() }.due(now + first + index * spread / shares));
    }
    jobs
}

/// What is due for mailboxes that are not configured and have a subscription. Found by looking at what there is, so a
/// crash between two steps leaves nothing behind.
pub(super) async fn farewells(store: &Store, wiring: &Wiring, now: UnixMillis) -> Result<Vec<NewJob>, StoreError> {
    let left = store.mailboxes().await?.into_iter().filter(|it| it.subscription.is_some());
    let left = left.filter(|it| !wiring.inbound.mailboxes.contains_key(&it.mailbox));
    Ok(left.map(|it| Work::Renew { mailbox: it.mailbox }.due(now)).collect())
}
