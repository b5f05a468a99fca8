//! Mailboxes in which nothing is to be done: what is due there stays due, and nothing of it is lost.
//!
//! The store says which they are. A replica that was not asked itself notices within seconds.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Daemon;
use crate::model::work::{Lane, MailboxId, Work, ahead_of_backlog};
use crate::store::{Store, StoreError};

/// How often the store is asked which mailboxes are paused.
const TURN: Duration = Duration::from_secs(5);

/// The lanes of paused mailboxes, as the store last said.
#[derive(Debug, Default)]
pub(super) struct PausedMailboxes(HeldLanes);

/// Lanes in which nothing is begun.
#[derive(Debug, Default)]
pub(super) struct HeldLanes(RwLock<HashSet<Lane>>);

impl PausedMailboxes {
    /// Those the store knows.
    pub(super) async fn read(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(HeldLanes(RwLock::new(lanes(&store.paused_mailboxes().await?)))))
    }

    /// Whether nothing is to be done in this lane.
    pub(super) fn holds(&self, lane: &Lane) -> bool {
        self.0.holds(lane)
    }
}

impl HeldLanes {
    /// Whether this lane is held.
    pub(super) fn holds(&self, lane: &Lane) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(lane)
    }

    /// Replaces what is known. Returns whether a lane was held and is no longer.
    pub(super) fn replace(&self, lanes: HashSet<Lane>) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_released = !known.is_subset(&lanes);
        *known = lanes;
        is_released
    }
}

fn lanes(mailboxes: &[MailboxId]) -> HashSet<Lane> {
    mailboxes.iter().flat_map(|it| [Lane::mailbox(it), Lane::sending(it)]).collect()
}

impl Daemon {
    /// Pauses a mailbox, as `who` wants it. Attempts in flight end as they would have.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn pause_mailbox(&self, mailbox: &MailboxId, who: &str) -> Result<(), StoreError> {
        self.store.pause(mailbox, Some(who)).await?;
        self.learn_pauses().await.map(drop)
    }

    /// Resumes a mailbox, and looks at it at once.
    ///
    /// # Errors
    /// It may still be paused.
    pub async fn resume_mailbox(&self, mailbox: &MailboxId) -> Result<(), StoreError> {
        self.store.pause(mailbox, None).await?;
        self.learn_pauses().await?;
        let look = Work::Look { mailbox: mailbox.clone() };
        self.store.enqueue(vec![look.due(ahead_of_backlog(self.now()))]).await
    }

    /// Whether a mailbox is paused, as far as this process knows.
    pub fn is_paused(&self, mailbox: &MailboxId) -> bool {
        self.jobs.paused_mailboxes.holds(&Lane::mailbox(mailbox))
    }

    /// Keeps up with what other replicas were asked, until the stop.
    pub(super) async fn follow_pauses(&self, stop: CancellationToken) {
        let following = async {
            loop {
                tokio::time::sleep(TURN).await;
                match self.learn_pauses().await {
                    Ok(true) => self.ask_for_room().await,
                    Ok(false) => {}
                    Err(error) if error.is_told() => {}
                    Err(error) => {
                        tracing::warn!(reason = %error, "It could not be read which mailboxes are paused; asking again shortly");
                    }
                }
            }
        };
        stop.run_until_cancelled(following).await;
    }

    async fn learn_pauses(&self) -> Result<bool, StoreError> {
        let paused = self.store.paused_mailboxes().await?;
        Ok(self.jobs.paused_mailboxes.0.replace(lanes(&paused)))
    }
}
