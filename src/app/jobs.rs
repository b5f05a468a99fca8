//! Which part of the house runs which kind of job, and with how much patience.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::ground::Ground;
use super::paused::{HeldLanes, PausedMailboxes};
use super::wiring::Wiring;
use crate::delivery::ROLLOUT_MS;
use crate::model::backoff::{Backoff, Then};
use crate::model::clock::{UnixMillis, rfc3339};
use crate::model::outcome::{Failure, Outcome};
use crate::model::token::BoxFuture;
use crate::model::work::{Job, Lane, Work};
use crate::ops::tidy;
use crate::queue::{Plan, Standing, Works};
use crate::store::Across;

/// Requests one mailbox may have in flight. Graph allows four per app and mailbox and counts until its own end, so
/// four of ours can be five of Graph's (learn.microsoft.com/graph/throttling-limits).
const MAILBOX_ROOM: u32 = 3;
/// Mails that leave one mailbox at once; reading shares its requests with them.
const SENDING_ROOM: u32 = 2;
/// Jobs that work in one mailbox over all replicas, each of which makes one request at a time. One replica alone may have
/// more in hand: there they wait for each other.
const CALLS_PER_MAILBOX: u32 = 4;
/// Jobs of one tenant's mailboxes at once, over all of them; of those that read, and of those that send.
const TENANT_ROOM: u32 = 256;
/// Subscriptions of one tenant that are made or renewed at once; as many as `graph` lets through, so that none waits
/// for its turn inside its attempt.
const SUBSCRIPTIONS_ROOM: u32 = 16;
/// Upkeep is rare and small.
const UPKEEP_ROOM: u32 = 2;
/// A look or sweep reads pages of metadata.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// A fetch may carry 150 MB.
const FETCH_TIMEOUT: Duration = Duration::from_secs(300);
/// Two minutes of uploading, and what stands before and after it.
const SEND_TIMEOUT: Duration = Duration::from_secs(240);
/// Small requests.
const SMALL_TIMEOUT: Duration = Duration::from_secs(60);
/// What an attempt needs around the destination's own time: reading and parsing before, writing after.
const AROUND_DELIVERY: Duration = Duration::from_secs(10);

/// Patience with Graph for work that must never stop, in seconds.
const UPKEEP_STEPS: [u64; 7] = [0, 1, 5, 15, 30, 60, 300];
/// Patience with push, in seconds: meanwhile the mailbox is polled.
const RENEW_STEPS: [u64; 6] = [0, 5, 15, 60, 300, 900];
/// Patience with one message at first, in seconds.
const FETCH_STEPS: [u64; 6] = [0, 1, 3, 10, 30, 120];
/// Patience with one submission, in seconds. When it is given up is its own to say.
const SEND_STEPS: [u64; 7] = [0, 1, 3, 10, 30, 120, 300];
/// Then it is asked for this often, in seconds: a message must not wait for hours after Graph has recovered …
const FETCH_TURN: u64 = 900;
/// … and so many times, which is three days, before it is parked.
const FETCH_TURNS: usize = 288;

/// Work in a mailbox that was taken out of the configuration as it began is left alone for this long.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// One route's share of the house.
#[derive(Clone)]
pub(super) struct RoutePlan {
    /// How many deliveries run at once.
    pub(super) room: u32,
    /// How one is attempted.
    pub(super) plan: Plan,
}

/// All the work there is.
pub(super) struct Jobs {
    pub(super) ground: Ground,
    present: watch::Sender<Arc<Wiring>>,
    pub(super) standings: Mutex<HashMap<Lane, Standing>>,
    pub(super) paused_mailboxes: PausedMailboxes,
    /// Mailboxes that are on their way to another folder.
    pub(super) moving: HeldLanes,
    redirected: Mutex<Vec<Lane>>,
    /// Routes that have work and are not configured here, and when they were first seen.
    strangers: Mutex<HashMap<Lane, UnixMillis>>,
}

impl Wiring {
    fn route(&self, lane: &Lane) -> Option<&RoutePlan> {
        match lane.of_route() {
            Some(name) => self.plans.get(name),
            None => self.callbacks.as_ref().filter(|_| *lane == Lane::callbacks()),
        }
    }
}

impl Jobs {
    pub(super) fn new(ground: Ground, wiring: Wiring, paused_mailboxes: PausedMailboxes) -> Self {
        ground.hints.read_here(wiring.read_mailboxes());
        let present = watch::Sender::new(Arc::new(wiring));
        let (standings, redirected, strangers) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { ground, present, standings, paused_mailboxes, moving: HeldLanes::default(), redirected, strangers }
    }

    /// The wiring of this moment. Whoever begins something with it ends it with it.
    pub(super) fn present(&self) -> Arc<Wiring> {
        Arc::clone(&self.present.borrow())
    }

    /// Puts another wiring in the place of the present one, which ends what was begun with it. What is known of
    /// `redirected` routes belongs to the places they led to before.
    pub(super) fn swap(&self, wiring: Wiring, redirected: Vec<Lane>) {
        self.redirected.lock().unwrap_or_else(PoisonError::into_inner).extend(redirected);
        let read = wiring.read_mailboxes();
        self.present.send_replace(Arc::new(wiring));
        self.ground.hints.read_here(read);
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether this route may be another replica's, who read its configuration first.
    fn is_left_to_others(&self, lane: &Lane) -> bool {
        if lane.of_route().is_none() || !self.ground.store.is_shared() {
            return false;
        }
        let now = self.ground.clock.now();
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        now - *strangers.entry(lane.clone()).or_insert(now) < ROLLOUT_MS
    }

    /// Hears of every swap.
    pub(super) fn swaps(&self) -> watch::Receiver<Arc<Wiring>> {
        self.present.subscribe()
    }

    /// How a route stands.
    pub(super) fn standing(&self, lane: &Lane) -> Standing {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).get(lane).cloned().unwrap_or_default()
    }
}

impl RoutePlan {
    /// A destination that answers within `timeout`, tried as `backoff` says.
    pub(super) fn new(room: u32, timeout: Duration, backoff: Backoff) -> Self {
        Self { room, plan: Plan { timeout: timeout + AROUND_DELIVERY, backoff } }
    }

    /// How long the whole schedule takes at the longest.
    pub(super) fn longest(&self) -> Duration {
        self.plan.backoff.longest(self.plan.timeout)
    }
}

impl Works for Jobs {
    fn attempt<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        // Taken together: whoever swaps knows from then on who is still at work with the old one.
        let (wiring, presence) = {
            let present = self.present.borrow();
            (Arc::clone(&present), job.work.mailbox().and_then(|it| present.presence(it)))
        };
        Box::pin(async move {
            let _presence = presence;
            let lane = job.work.lane();
            // Claimed in the moment in which another configuration came: left as it would have been a moment later.
            if !wiring.works_in(&lane) || self.moving.holds(&lane) {
                let reason =
                    "another configuration has just come into force, and this mailbox is left alone".to_owned();
                return Err(Failure::Postponed { reason: reason.into(), after: LEFT_ALONE });
            }
            match &job.work {
                Work::Look { mailbox } => wiring.inbound.look(job, mailbox).await,
                Work::Sweep { mailbox } => wiring.inbound.sweep(mailbox).await,
                Work::Fetch { mailbox, message } => wiring.inbound.fetch(job, mailbox, *message).await,
                Work::Mark { mailbox } => wiring.inbound.mark(mailbox).await,
                Work::Renew { mailbox } => wiring.inbound.renew(job, mailbox).await,
                Work::Deliver { route, interaction } => wiring.delivery.deliver(job, route, interaction).await,
                Work::Audit { mailbox } => wiring.audit(mailbox).await,
                Work::Send { mailbox, submission } => wiring.outbound.send(job, mailbox, *submission).await,
                Work::Callback { callback } => wiring.outbound.call_back(job, callback).await,
                Work::Tidy => tidy::tidy(&self.ground.store, &self.ground.clock, wiring.config.store.retain.0).await,
            }
        })
    }

    fn plan(&self, work: &Work) -> Plan {
        let upkeep = |timeout, steps: &[u64]| Plan { timeout, backoff: seconds(steps, Then::Repeat) };
        match work {
            Work::Look { .. } | Work::Sweep { .. } => upkeep(READ_TIMEOUT, &UPKEEP_STEPS),
            // As long as the lane allows: a day of a busy mailbox is many pages.
            Work::Audit { .. } => upkeep(FETCH_TIMEOUT, &UPKEEP_STEPS),
            Work::Fetch { .. } => Plan { timeout: FETCH_TIMEOUT, backoff: fetch_backoff() },
            Work::Send { .. } => upkeep(SEND_TIMEOUT, &SEND_STEPS),
            Work::Mark { .. } | Work::Tidy => upkeep(SMALL_TIMEOUT, &UPKEEP_STEPS),
            Work::Renew { .. } => upkeep(SMALL_TIMEOUT, &RENEW_STEPS),
            Work::Deliver { .. } | Work::Callback { .. } => match self.present().route(&work.lane()) {
                Some(route) => route.plan.clone(),
                // A route that left the configuration: its deliveries are parked at their next attempt.
                None => Plan { timeout: SMALL_TIMEOUT, backoff: seconds(&[0], Then::Park) },
            },
        }
    }

    fn room(&self, lane: &Lane) -> u32 {
        let wiring = self.present();
        match wiring.route(lane) {
            Some(route) => route.room,
            // What is due stays due until the mailbox is resumed.
            None if self.paused_mailboxes.holds(lane) => 0,
            // Nor is it lost: another replica may know the mailbox, and it may be configured again.
            None if !wiring.works_in(lane) || self.moving.holds(lane) => 0,
            None if self.is_left_to_others(lane) => 0,
            None if lane.0.starts_with("mailbox:") => MAILBOX_ROOM,
            None if lane.0.starts_with("sending:") => SENDING_ROOM,
            None if lane.0.starts_with("subscriptions:") => SUBSCRIPTIONS_ROOM,
            None => UPKEEP_ROOM,
        }
    }

    fn share<'a>(&self, lane: &'a Lane) -> (&'a str, u32) {
        match lane.0.split_once('/') {
            // The name of a tenant holds no slash.
            Some((tenant, _)) if tenant.starts_with("mailbox:") || tenant.starts_with("sending:") => {
                (tenant, TENANT_ROOM)
            }
            _ => (&lane.0, u32::MAX),
        }
    }

    fn across(&self, lane: &Lane) -> Option<Across> {
        let (kind, mailbox) = lane.0.split_once(':')?;
        let both = || ["mailbox", "sending"].map(|it| Lane(format!("{it}:{mailbox}"))).to_vec();
        Some(match kind {
            "mailbox" => Across { lanes: both(), together: CALLS_PER_MAILBOX, most: MAILBOX_ROOM },
            "sending" => Across { lanes: both(), together: CALLS_PER_MAILBOX, most: SENDING_ROOM },
            "subscriptions" => {
                Across { lanes: vec![lane.clone()], together: SUBSCRIPTIONS_ROOM, most: SUBSCRIPTIONS_ROOM }
            }
            _ => return None,
        })
    }

    fn longest(&self, lane: &Lane) -> Duration {
        match self.present().route(lane) {
            Some(route) => route.plan.timeout,
            None if lane.0.starts_with("mailbox:") => FETCH_TIMEOUT,
            None if lane.0.starts_with("sending:") => SEND_TIMEOUT,
            None => SMALL_TIMEOUT,
        }
    }

    fn redirected(&self) -> Vec<Lane> {
        std::mem::take(&mut *self.redirected.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stands(&self, lane: &Lane, standing: &Standing) {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let before = standings.insert(lane.clone(), standing.clone());
        let was_paused = before.is_some_and(|it| it.paused_until().is_some());
        let failures = standing.failures();
        match standing.paused_until() {
            // A route that was led elsewhere is probed at once and was not found out.
            Some(until) if !was_paused && until > self.ground.clock.now() => {
                let (until, reason) = (rfc3339(until), standing.why());
                tracing::warn!(
                    lane = lane.0,
                    failures,
                    until,
                    reason,
                    "{lane} is paused, because its other side takes nothing; from {until} on one delivery at a time is tried"
                );
            }
            None if was_paused => tracing::info!(lane = lane.0, "{lane} runs again"),
            _ => {}
        }
    }
}

fn fetch_backoff() -> Backoff {
    let turns = std::iter::repeat_n(FETCH_TURN, FETCH_TURNS);
    let steps: Vec<u64> = FETCH_STEPS.into_iter().chain(turns).collect();
    seconds(&steps, Then::Park)
}

fn seconds(steps: &[u64], then: Then) -> Backoff {
    Backoff { steps: steps.iter().copied().map(Duration::from_secs).collect(), then }
}

/// A route plan for every configured route.
pub(super) type RoutePlans = HashMap<String, RoutePlan>;
