//! What notifications told us, kept in memory only: a hint that is lost costs time, never mail.
//!
//! The webhook asks here whose subscription it is and leaves its hints here; one worker turns them into due looks,
//! at most one per mailbox and [`SPACING`], however many notifications arrive.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::hinted::Hinted;
use crate::model::clock::SharedClock;
use crate::model::secret::Secret;
use crate::model::work::{MailboxId, NewJob, Work, ahead_of_backlog};
use crate::store::Store;

/// A mailbox is looked at no more often than this because of hints. The first hint is never delayed; a burst is
/// folded into few looks, each of which reads all there is.
const SPACING: Duration = Duration::from_millis(250);
/// Notifications of subscriptions nobody here knows are kept up to this many until the store was asked: another
/// replica may have made the subscription, or Graph was faster than our own record of it.
const STRANGERS: usize = 1024;
/// Longer than any id or client state of Graph's: what is longer was not sent by Graph and is not kept.
const LONGEST: usize = 1024;
/// The store is asked about strangers no more often than this.
const STRANGERS_TURN: Duration = Duration::from_secs(1);
/// How long hints rest that could not be written down, by how often it was tried, in milliseconds; the last repeats.
const RESTS_MS: [u64; 4] = [250, 500, 1000, 2000];

/// Whose subscription, and what must come with it.
#[derive(Debug, Clone)]
struct Known {
    mailbox: MailboxId,
    client_state: Secret,
}

/// What a lifecycle notification asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Graph wants proof that we still may: renew.
    ReauthorizationRequired,
    /// The subscription is gone: make a new one, and look.
    SubscriptionRemoved,
    /// Notifications were lost: look.
    Missed,
}

/// Hints for one mailbox that no look has taken yet.
#[derive(Debug, Default)]
struct Waiting {
    look: bool,
    lifecycle: HashSet<&'static str>,
    not_before: i64,
}

#[derive(Debug, Default)]
struct State {
    subscriptions: HashMap<String, Known>,
    /// The subscription of each mailbox: it has one.
    by_mailbox: HashMap<MailboxId, String>,
    ids: Hinted,
    waiting: HashMap<MailboxId, Waiting>,
    heard: HashMap<MailboxId, i64>,
    strangers: Vec<Stranger>,
    asked_at: i64,
}

/// A notification whose subscription nobody here knows.
#[derive(Debug)]
pub(super) struct Stranger {
    pub(super) subscription: String,
    pub(super) client_state: Option<String>,
    pub(super) lifecycle: Option<Lifecycle>,
    pub(super) id: Option<String>,
}

impl State {
    fn forget(&mut self, mailbox: &MailboxId) {
        if let Some(subscription) = self.by_mailbox.remove(mailbox) {
            self.subscriptions.remove(&subscription);
        }
    }
}

/// The memory that the webhook and the looks share.
#[derive(Default)]
pub struct Hints {
    state: Mutex<State>,
    awake: Notify,
}

impl Hints {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifications of this subscription are ours when they carry this client state.
    pub fn expect(&self, subscription: &str, mailbox: &MailboxId, client_state: Secret) {
        let mut state = self.state();
        state.forget(mailbox);
        state.by_mailbox.insert(mailbox.clone(), subscription.to_owned());
        state.subscriptions.insert(subscription.to_owned(), Known { mailbox: mailbox.clone(), client_state });
    }

    /// Notifications of this mailbox's subscription are no longer ours.
    pub fn forget(&self, mailbox: &MailboxId) {
        self.state().forget(mailbox);
    }

    /// Whose subscription this is, if the client state agrees. Compared in constant time.
    pub(super) fn owner(&self, subscription: &str, client_state: Option<&str>) -> Option<MailboxId> {
        let state = self.state();
        let known = state.subscriptions.get(subscription)?;
        let given = client_state.unwrap_or_default().as_bytes();
        verify_slices_are_equal(known.client_state.expose().as_bytes(), given).ok()?;
        Some(known.mailbox.clone())
    }

    /// Whether anybody here knows this subscription, whatever came with it.
    pub(super) fn knows(&self, subscription: &str) -> bool {
        self.state().subscriptions.contains_key(subscription)
    }

    /// A notification to be judged once the store was asked.
    pub(super) fn stranger(&self, stranger: Stranger) {
        let texts = [Some(&stranger.subscription), stranger.client_state.as_ref(), stranger.id.as_ref()];
        if texts.into_iter().flatten().any(|text| text.len() > LONGEST) {
            return;
        }
        let mut state = self.state();
        if state.strangers.len() < STRANGERS {
            state.strangers.push(stranger);
            drop(state);
            self.awake.notify_one();
        }
    }

    /// Asks the store whose the strangers are, if it is time to.
    async fn judge_strangers(&self, store: &Store, now: i64) {
        let strangers = {
            let mut state = self.state();
            if state.strangers.is_empty() || (0..millis(STRANGERS_TURN)).contains(&(now - state.asked_at)) {
                return;
            }
            state.asked_at = now;
            std::mem::take(&mut state.strangers)
        };
        match store.mailboxes().await {
            Ok(mailboxes) => {
                for mailbox in mailboxes {
                    if let Some(known) = mailbox.subscription {
                        self.expect(&known.id, &mailbox.mailbox, known.client_state);
                    }
                }
            }
            Err(error) => {
                if !error.is_told() {
                    tracing::warn!(reason = %error, "Whose notifications these are cannot be looked up; asking again shortly");
                }
                let mut state = self.state();
                let room = STRANGERS - state.strangers.len();
                return state.strangers.extend(strangers.into_iter().take(room));
            }
        }
        for stranger in strangers {
            let Some(mailbox) = self.owner(&stranger.subscription, stranger.client_state.as_deref()) else { continue };
            match stranger.lifecycle {
                None => self.message(&mailbox, stranger.id.as_deref(), now),
                Some(event) => self.lifecycle(&mailbox, event),
            }
        }
    }

    /// A message may have come.
    pub(super) fn message(&self, mailbox: &MailboxId, id: Option<&str>, now: i64) {
        let mut state = self.state();
        state.heard.insert(mailbox.clone(), now);
        if let Some(id) = id {
            state.ids.add(mailbox, id);
        }
        state.waiting.entry(mailbox.clone()).or_default().look = true;
        drop(state);
        self.awake.notify_one();
    }

    /// The subscription itself changed.
    pub(super) fn lifecycle(&self, mailbox: &MailboxId, event: Lifecycle) {
        let name = match event {
            Lifecycle::ReauthorizationRequired => "renew",
            Lifecycle::SubscriptionRemoved => "removed",
            Lifecycle::Missed => "missed",
        };
        self.state().waiting.entry(mailbox.clone()).or_default().lifecycle.insert(name);
        self.awake.notify_one();
    }

    /// These mailboxes are read here: ids are remembered of no others.
    pub fn read_here(&self, mailboxes: HashSet<MailboxId>) {
        self.state().ids.read_here(mailboxes);
    }

    /// The hinted ids of a mailbox with the number of looks that did not find them yet.
    pub(super) fn take_ids(&self, mailbox: &MailboxId) -> HashMap<String, u32> {
        self.state().ids.take(mailbox)
    }

    /// Ids that a look did not find: the next look asks again.
    pub(super) fn put_back(&self, mailbox: &MailboxId, ids: HashMap<String, u32>) {
        self.state().ids.put_back(mailbox, ids);
    }

    /// When each mailbox was last notified of something.
    pub fn last_heard(&self, mailbox: &MailboxId) -> Option<i64> {
        self.state().heard.get(mailbox).copied()
    }

    /// The worker: turns hints into due jobs until `stop`.
    pub async fn run(&self, store: Store, clock: SharedClock, stop: CancellationToken) {
        let mut in_vain = 0;
        loop {
            self.judge_strangers(&store, clock.now()).await;
            let (due, wait) = self.take_due(clock.now());
            if !due.is_empty() && !self.make_due(&store, &clock, due).await {
                let rest = Duration::from_millis(RESTS_MS[in_vain.min(RESTS_MS.len() - 1)]);
                in_vain += 1;
                // Meanwhile more are gathered.
                let rest = tokio::time::sleep(rest.mul_f64(0.8 + 0.4 * fastrand::f64()));
                match stop.run_until_cancelled(rest).await {
                    Some(()) => continue,
                    None => return,
                }
            }
            in_vain = 0;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.awake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// What may become due now, and how long until something that must wait may.
    fn take_due(&self, now: i64) -> (Vec<(MailboxId, Waiting)>, Duration) {
        let spacing = millis(SPACING);
        let mut state = self.state();
        let mut due = Vec::new();
        let mut wait = if state.strangers.is_empty() { Duration::from_secs(60) } else { STRANGERS_TURN };
        // A clock that was set back must not turn the space into an hour.
        let spaced = |waiting: &Waiting| (1..=spacing).contains(&(waiting.not_before - now));
        state.waiting.retain(|mailbox, waiting| {
            if !waiting.look && waiting.lifecycle.is_empty() {
                // Kept only to space the next look; forgotten once its time has passed.
                return spaced(waiting);
            }
            if spaced(waiting) && waiting.lifecycle.is_empty() {
                wait = wait.min(Duration::from_millis(u64::try_from(waiting.not_before - now).unwrap_or(0)));
                return true;
            }
            let taken = std::mem::replace(waiting, Waiting { not_before: now + spacing, ..Waiting::default() });
            due.push((mailbox.clone(), taken));
            true
        });
        (due, wait)
    }

    /// Whether they are written down; else they are kept.
    async fn make_due(&self, store: &Store, clock: &SharedClock, due: Vec<(MailboxId, Waiting)>) -> bool {
        let now = clock.now();
        let mut jobs: Vec<NewJob> = Vec::with_capacity(due.len());
        for (mailbox, waiting) in &due {
            if waiting.look || waiting.lifecycle.contains("removed") || waiting.lifecycle.contains("missed") {
                jobs.push(Work::Look { mailbox: mailbox.clone() }.due(ahead_of_backlog(now)));
            }
            if waiting.lifecycle.contains("missed") {
                jobs.push(Work::Sweep { mailbox: mailbox.clone() }.due(now));
            }
            if waiting.lifecycle.contains("removed") {
                self.forget(mailbox);
                if let Err(error) = store.save_subscription(mailbox, None).await
                    && !error.is_told()
                {
                    tracing::warn!(mailbox = %mailbox, reason = %error, "A removed subscription could not be recorded; renewing finds out by itself");
                }
            }
            if waiting.lifecycle.contains("removed") || waiting.lifecycle.contains("renew") {
                jobs.push(Work::Renew { mailbox: mailbox.clone() }.due(ahead_of_backlog(now)));
            }
        }
        let Err(error) = store.enqueue(jobs).await else { return true };
        if !error.is_told() {
            tracing::warn!(reason = %error, "Hints could not be written down; they are kept in memory");
        }
        let mut state = self.state();
        for (mailbox, waiting) in due {
            let kept = state.waiting.entry(mailbox).or_default();
            kept.look |= waiting.look;
            kept.lifecycle.extend(waiting.lifecycle);
        }
        false
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::Address;

    fn mailbox() -> MailboxId {
        MailboxId { tenant: "contoso".into(), address: Address::parse("support@contoso.com").unwrap() }
    }

    #[test]
    fn only_the_right_client_state_is_ours() {
        let hints = Hints::default();
        hints.expect("s1", &mailbox(), Secret::new("state"));
        assert_eq!(hints.owner("s1", Some("state")), Some(mailbox()));
        for (subscription, state) in [("s1", Some("stat")), ("s1", Some("")), ("s1", None), ("s2", Some("state"))] {
            assert_eq!(hints.owner(subscription, state), None);
        }
        hints.forget(&mailbox());
        assert_eq!(hints.owner("s1", Some("state")), None);
    }

    #[test]
    fn a_mailbox_has_one_subscription_and_others_keep_theirs() {
        let (hints, other) = (Hints::default(), MailboxId { tenant: "fabrikam".into(), ..mailbox() });
        hints.expect("s1", &mailbox(), Secret::new("state"));
        hints.expect("s2", &other, Secret::new("state"));
        hints.expect("s3", &mailbox(), Secret::new("state"));
        assert_eq!(["s1", "s2", "s3"].map(|it| hints.owner(it, Some("state"))), [None, Some(other), Some(mailbox())]);
        assert!(!hints.knows("s1"));
    }

    #[test]
    fn strangers_are_few_and_small() {
        let hints = Hints::default();
        let stranger =
            |id: String| Stranger { subscription: "s".into(), client_state: None, lifecycle: None, id: Some(id) };
        hints.stranger(stranger("x".repeat(LONGEST + 1)));
        assert!(hints.state().strangers.is_empty());
        (0..2 * STRANGERS).for_each(|n| hints.stranger(stranger(n.to_string())));
        assert_eq!(hints.state().strangers.len(), STRANGERS);
    }

    #[test]
    fn a_clock_that_was_set_back_delays_no_hint() {
        let hints = Hints::default();
        hints.message(&mailbox(), None, 10_000_000);
        assert_eq!(hints.take_due(10_000_000).0.len(), 1);
        hints.message(&mailbox(), None, 6_400_000);
        assert_eq!(hints.take_due(6_400_000).0.len(), 1);
    }

    #[test]
    fn a_burst_is_one_look_and_the_first_hint_is_not_delayed() {
        let hints = Hints::default();
        hints.read_here(HashSet::from([mailbox()]));
        for n in 0..100 {
            hints.message(&mailbox(), Some(&n.to_string()), 1_000);
        }
        assert_eq!(hints.take_due(1_000).0.len(), 1);
        hints.message(&mailbox(), Some("late"), 1_010);
        let (due, wait) = hints.take_due(1_010);
        assert!(due.is_empty());
        assert_eq!(wait, Duration::from_millis(240));
        assert_eq!(hints.take_due(1_250).0.len(), 1);
        assert_eq!(hints.take_ids(&mailbox()).len(), 101);
        assert!(hints.take_ids(&mailbox()).is_empty());
    }

    #[test]
    fn lifecycle_events_do_not_wait() {
        let hints = Hints::default();
        hints.message(&mailbox(), None, 0);
        hints.take_due(0);
        hints.lifecycle(&mailbox(), Lifecycle::SubscriptionRemoved);
        assert_eq!(hints.take_due(1).0.len(), 1);
    }
}
