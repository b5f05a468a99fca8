//! Job Renew: the mailbox's change subscription is adopted, made, renewed by half its life at the latest, and made again
//! when lost.
//!
//! Renewing (PATCH) also reauthorizes, so reauthorize is never called (the two must not meet within ten minutes:
//! learn.microsoft.com/graph/change-notifications-lifecycle-events). Jobs of one key run one at a time, so a timer and
//! a challenge cannot race. Where push cannot be had, polling takes over and push is tried again.

use std::time::Duration;

use super::{Inbound, Mode, Watched};
use crate::graph::{GraphError, NewSubscription};
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::secret::Secret;
use crate::model::work::{Job, MailboxId, Work, ahead_of_backlog};
use crate::store::{Push, PushState, Subscription};

/// What we ask for: the maximum for Outlook messages (10,080 minutes) less half an hour for clocks that disagree.
const LIFE_MS: i64 = (10_080 - 30) * 60 * 1000;
/// Why there is no push where the configuration wants none.
pub(super) const CONFIGURED: &str = "configured";
/// A subscription is never renewed more often than this by its own timer.
const SHORTEST_TURN: Duration = Duration::from_secs(60);
/// The part of its turn by which a renewal may come earlier.
const EARLIER: f64 = 0.2;

impl Inbound {
    /// Keeps push alive for one mailbox.
    ///
    /// # Errors
    /// Push cannot be had just now; the mailbox is polled until the retry succeeds.
    pub async fn renew(&self, job: &Job, mailbox: &MailboxId) -> Outcome {
        let Some(watched) = self.mailboxes.get(mailbox) else {
            return self.part_with(job, mailbox).await;
        };
        let wanted = match &self.public_url {
            Some(url) if self.sync.mode == Mode::Push && watched.config.receive => url,
            _ => return self.give_up_push(mailbox, watched).await,
        };
        watched.follows(&self.store.mailbox(mailbox).await?)?;
        match self.subscribed(mailbox, watched, wanted).await {
            Ok(subscription) => {
                let before = self.store.mailbox(mailbox).await?;
                if let Err(other) = watched.follows(&before) {
                    // Made for a folder that nobody watches any more: it must not be taken for the new one's.
                    watched.graph.delete_subscription(&subscription.id).await?;
                    return Err(other);
                }
                let was_pushing = before.push.state == PushState::Push;
                let is_new = before.subscription.is_none_or(|known| known.id != subscription.id);
                self.hints.expect(&subscription.id, mailbox, subscription.client_state.clone());
                let expires_at = subscription.expires_at;
                self.store.save_subscription(mailbox, Some(subscription)).await?;
                if !was_pushing {
                    tracing::info!(mailbox = %mailbox, "Graph pushes notifications for this mailbox");
                    self.store.set_push(mailbox, Push { state: PushState::Push, reason: None }).await?;
                }
                if is_new || !was_pushing {
                    // Whatever came before the subscription stood was announced to nobody.
                    self.store
                        .enqueue(vec![Work::Look { mailbox: mailbox.clone() }.due(ahead_of_backlog(self.clock.now()))])
                        .await?;
                }
                let left = u64::try_from(expires_at - self.clock.now()).unwrap_or(0);
                Ok(Next::Again { after: turn(left, fastrand::f64()) })
            }
            Err(failure) => {
                self.poll_instead(mailbox, failure.reason()).await?;
                Err(match failure {
                    // Push is upkeep: it is tried again for ever, never parked.
                    Failure::Permanent { reason } | Failure::Gone { reason } => {
                        Failure::Transient { reason, after: None }
                    }
                    passing @ (Failure::Transient { .. } | Failure::Postponed { .. }) => passing,
                })
            }
        }
    }

    /// A subscription that stands: renewed if we have one, made otherwise.
    async fn subscribed(
        &self,
        mailbox: &MailboxId,
        watched: &Watched,
        public_url: &str,
    ) -> Result<Subscription, Failure> {
        let notification_url = format!("{public_url}/graph/notifications");
        let now = self.clock.now();
        if let Some(known) = self.store.mailbox(mailbox).await?.subscription {
            if known.notification_url != notification_url {
                watched.graph.delete_subscription(&known.id).await?;
            } else {
                match watched.graph.renew_subscription(&known.id, now + LIFE_MS).await {
                    Ok(renewed) => return Ok(Subscription { expires_at: renewed.expires_at, ..known }),
                    // Gone: retrying a PATCH cannot help, a new one can.
                    Err(GraphError::NotFound(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.create(watched, public_url, notification_url).await
    }

    async fn create(
        &self,
        watched: &Watched,
        public_url: &str,
        notification_url: String,
    ) -> Result<Subscription, Failure> {
        let client_state = client_state();
        let wanted = NewSubscription {
            mailbox: &watched.config.address,
            folder: &watched.config.folder,
            lifecycle_url: &endpoint(public_url, "lifecycle")?,
            notification_url: &endpoint(public_url, "notifications")?,
            client_state: client_state.expose(),
            expires_at: self.clock.now() + LIFE_MS,
        };
        let made = match watched.graph.create_subscription(wanted).await {
            Err(GraphError::Conflict { existing, .. }) => {
                // One stands whose client state we do not know (a lost store, or an earlier life of this mailbox).
                self.remove_duplicates(watched, &wanted.resource(), existing).await?;
                watched.graph.create_subscription(wanted).await
            }
            made => made,
        }?;
        Ok(Subscription { id: made.id, client_state, expires_at: made.expires_at, notification_url })
    }

    async fn remove_duplicates(&self, watched: &Watched, resource: &str, named: Option<String>) -> Result<(), Failure> {
        let ids = match named {
            Some(id) => vec![id],
            None => {
                let standing = watched.graph.list_subscriptions().await?;
                let same = |it: &str| it.trim_start_matches('/').eq_ignore_ascii_case(resource);
                standing.into_iter().filter(|it| it.resource.as_deref().is_some_and(same)).map(|it| it.id).collect()
            }
        };
        for id in ids {
            watched.graph.delete_subscription(&id).await?;
        }
        Ok(())
    }

    /// Push is not wanted: what stands is removed, and polling is the configured way.
    async fn give_up_push(&self, mailbox: &MailboxId, watched: &Watched) -> Outcome {
        let known = self.store.mailbox(mailbox).await?.subscription;
        if let Some(known) = &known {
            watched.graph.delete_subscription(&known.id).await?;
            self.store.save_subscription(mailbox, None).await?;
        }
        self.hints.forget(mailbox);
        self.store.set_push(mailbox, Push { state: PushState::Polling, reason: Some(CONFIGURED.into()) }).await?;
        if known.is_some() {
            self.leave_to_others(mailbox).await?;
        }
        Ok(Next::Done)
    }

    /// Polling takes over, and says so once.
    pub(super) async fn poll_instead(&self, mailbox: &MailboxId, reason: &str) -> Result<(), Failure> {
        let state = self.store.mailbox(mailbox).await?;
        let already = state.push.state == PushState::Polling && state.push.reason.is_some();
        if !already {
            tracing::warn!(mailbox = %mailbox, reason, "Push cannot be had; polling takes over until it can");
        }
        self.store.set_push(mailbox, Push { state: PushState::Polling, reason: Some(reason.to_owned()) }).await?;
        if !already {
            self.store
                .enqueue(vec![Work::Look { mailbox: mailbox.clone() }.due(ahead_of_backlog(self.clock.now()))])
                .await?;
        }
        Ok(())
    }
}

/// When a subscription that lives this long is renewed: by half its life, or up to a fifth earlier. Those that a start
/// made together drift apart, so that thousands are not renewed at once for ever.
fn turn(left_ms: u64, chance: f64) -> Duration {
    Duration::from_millis(left_ms / 2).mul_f64(1.0 - chance * EARLIER).max(SHORTEST_TURN)
}

fn endpoint(public_url: &str, name: &str) -> Result<url::Url, Failure> {
    url::Url::parse(&format!("{public_url}/graph/{name}")).map_err(Failure::permanent)
}

/// 244 random bits as text, well under Graph's limit of 128 characters.
fn client_state() -> Secret {
    Secret::new(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_are_spread_and_none_is_late() {
        let week = 7 * 24 * 3600 * 1000;
        for (left, chance, hours) in [(week, 0.0, 84), (week, 0.5, 75), (week, 1.0, 67)] {
            assert_eq!(turn(left, chance).as_secs() / 3600, hours, "{chance}");
        }
        assert_eq!(turn(0, 0.3), SHORTEST_TURN);
    }
}
