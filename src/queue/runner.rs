//! The loop over the job table: room first, then claim, run, settle; and at the end, drain.
//!
//! Nothing is claimed that cannot start now. A job's lease outlives its attempt by construction.
//! Stopping: nothing more is claimed, attempts in flight get their time, the rest is given back uncounted.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::agenda::Agenda;
use super::settle::{self, STORE_PATIENCE};
use super::standing::{Change, Standing};
use super::steps::Steps;
use super::works::Works;
use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::outcome::{Failure, Outcome};
use crate::model::reason::Code;
use crate::model::work::{Job, Lane};
use crate::store::{End, Heard, Room, Store, StoreError};

/// How much longer a lease lasts than the attempt it covers: the time to settle.
const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// Jobs in one claim.
const JOBS_PER_CLAIM: u32 = 512;
/// Lanes in one claim. The statement is prepared for powers of two up to this.
const LANES_PER_CLAIM: usize = 64;
/// How often the table's own agenda is read, in case a hint was lost.
const BACKSTOP: Duration = Duration::from_secs(30);
/// How long it sleeps at the longest before it looks at the clock again, which may have been set ahead.
const CLOCK_TURN: Duration = Duration::from_secs(1);
/// A clock that is off by more was set.
const STEP: Duration = Duration::from_secs(5);
/// How long after the grace of a stop what is left is given back.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// Jobs that are due but that nobody could claim are looked at again after this.
const CONTENTION_PATIENCE: Duration = Duration::from_millis(10);

/// A lane in which other replicas left no room is looked at again after this, or when an attempt of ours in it ends.
const FULL_ELSEWHERE_MS: UnixMillis = 500;

/// The loop and what it remembers between two turns.
pub struct Runner<W> {
    store: Store,
    works: Arc<W>,
    clock: SharedClock,
    agenda: Agenda,
    in_flight: HashMap<Lane, u32>,
    /// The same by share.
    in_shares: HashMap<String, u32>,
    /// The routes that do not simply run.
    standings: HashMap<Lane, Standing>,
    /// Jobs that were made due for a probe, and when they are due by their own schedule.
    loans: HashMap<i64, UnixMillis>,
    /// The last of each lane.
    last_lent: HashMap<Lane, i64>,
    attempts: JoinSet<Ended>,
    running: HashMap<Id, Job>,
    settling: JoinSet<()>,
    /// Whether the last claim found no store: then what others made due meanwhile was not heard.
    was_away: bool,
    /// Lanes in which other replicas left no room: the next attempt that ends here makes some.
    full_elsewhere: HashSet<Lane>,
    steps: Steps,
}

struct Ended {
    job: Job,
    outcome: Outcome,
    took: Duration,
}

impl<W: Works> Runner<W> {
    /// A runner that has not started yet.
    pub fn new(store: Store, works: Arc<W>, clock: SharedClock) -> Self {
        let steps = Steps::new(clock.now(), Instant::now());
        Self {
            store,
            works,
            clock,
            steps,
            agenda: Agenda::default(),
            in_flight: HashMap::new(),
            in_shares: HashMap::new(),
            standings: HashMap::new(),
            loans: HashMap::new(),
            last_lent: HashMap::new(),
            attempts: JoinSet::new(),
            running: HashMap::new(),
            settling: JoinSet::new(),
            was_away: false,
            full_elsewhere: HashSet::new(),
        }
    }

    /// Runs until `stop` or until the store is closed, then drains for at most `grace`.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let mut wakes = self.store.wakes();
        self.put_on_trial().await;
        let mut backstop = tokio::time::interval(BACKSTOP);
        backstop.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            if self.steps.took_one(self.clock.now(), Instant::now(), STEP) && !self.read_agenda().await {
                break;
            }
            // A store that is closed while we run stays closed: only a new start helps.
            let Some(wait) = self.take_work().await else { break };
            tokio::select! {
                () = stop.cancelled() => break,
                heard = wakes.next() => match heard {
                    Some(Heard::Due(wakes)) => {
                        wakes.iter().for_each(|wake| self.agenda.bring(wake.lane.clone(), wake.due_at));
                    }
                    // Hints were lost in a burst: the table knows.
                    Some(Heard::Missed) => if !self.read_agenda().await { break },
                    None => break,
                },
                Some(ended) = self.attempts.join_next_with_id() => {
                    self.ended(ended);
                    while let Some(ended) = self.attempts.try_join_next_with_id() {
                        self.ended(ended);
                    }
                }
                // All that are over: more begin in one turn than one turn could take one by one.
                Some(_) = self.settling.join_next() => while self.settling.try_join_next().is_some() {},
                _ = backstop.tick() => if !self.read_agenda().await { break },
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.drain(grace).await;
    }

    /// Claims what can start now and starts it. Returns how long there is nothing to do unless something happens;
    /// `None` when nothing can ever be claimed again.
    async fn take_work(&mut self) -> Option<Duration> {
        self.probe_redirected();
        self.lend_probes().await;
        loop {
            let now = self.clock.now();
            let mut left: HashMap<&str, u32> = HashMap::new();
            let ready = self.agenda.ready(now, JOBS_PER_CLAIM, LANES_PER_CLAIM, |lane, most| {
                let (share, room) = self.works.share(lane);
                let taken = || self.in_shares.get(share).copied().unwrap_or(0);
                let left = left.entry(share).or_insert_with(|| room.saturating_sub(taken()));
                let free = if *left == 0 { 0 } else { self.free(lane, now).min(*left).min(most) };
                *left -= free;
                free
            });
            if ready.is_empty() {
                // What is due in a lane that is paused waits for its next probe.
                let probes = self.standings.values().filter_map(Standing::paused_until).filter(|at| *at > now);
                let next = probes.chain(self.agenda.next_after(now)).min();
                return Some(next.map_or(CLOCK_TURN, |at| millis(at - now)).min(CLOCK_TURN));
            }
            // How long an attempt takes at the longest may be another matter a moment later; the claim goes by this.
            let longest: HashMap<Lane, Duration> =
                ready.iter().map(|(lane, _)| (lane.clone(), self.works.longest(lane))).collect();
            let shares = self.store.has_others();
            let rooms = ready.into_iter().map(|(lane, room)| {
                // The lease outlives the attempt by construction: it is computed, not configured.
                let lease = longest.get(&lane).copied().unwrap_or_default() + LEASE_MARGIN;
                let across = shares.then(|| self.works.across(&lane)).flatten();
                Room { lane, room, lease_ms: i64::try_from(lease.as_millis()).unwrap_or(i64::MAX), across }
            });
            match self.store.claim(rooms.collect()).await {
                Ok(claims) => {
                    if std::mem::take(&mut self.was_away) && !self.read_agenda().await {
                        return None;
                    }
                    let mut next = claims.next;
                    next.retain(|(lane, _)| !claims.full.contains(lane));
                    let contended =
                        claims.jobs.is_empty() && next.iter().any(|(_, next)| next.is_some_and(|at| at <= now));
                    for (lane, next) in next {
                        self.agenda.set(lane, next);
                    }
                    for lane in claims.full {
                        self.agenda.set(lane.clone(), Some(now + FULL_ELSEWHERE_MS));
                        self.full_elsewhere.insert(lane);
                    }
                    for job in claims.jobs {
                        let most = longest.get(&job.work.lane()).copied().unwrap_or_default();
                        self.start(job, most);
                    }
                    if contended {
                        // Another replica holds these rows at this moment; its commit decides.
                        return Some(CONTENTION_PATIENCE);
                    }
                }
                Err(error @ StoreError::Closed) => {
                    tracing::error!(reason = %error, "No job can be claimed any more");
                    return None;
                }
                Err(error) => {
                    if !error.is_told() {
                        tracing::error!(reason = %error, "No job can be claimed; trying again shortly");
                    }
                    self.was_away = true;
                    return Some(settle::around(STORE_PATIENCE));
                }
            }
        }
    }

    fn free(&self, lane: &Lane, now: UnixMillis) -> u32 {
        let room = self.works.room(lane);
        let room = self.standings.get(lane).map_or(room, |it| it.room(room, now));
        room.saturating_sub(self.in_flight.get(lane).copied().unwrap_or(0))
    }

    fn start(&mut self, job: Job, most: Duration) {
        let lane = job.work.lane();
        *self.in_shares.entry(self.works.share(&lane).0.to_owned()).or_default() += 1;
        *self.in_flight.entry(lane).or_default() += 1;
        let works = Arc::clone(&self.works);
        let attempted = job.clone();
        let handle = self.attempts.spawn(async move {
            let begun = Instant::now();
            let timeout = works.plan(&attempted.work).timeout.min(most);
            let outcome = match tokio::time::timeout(timeout, works.attempt(&attempted)).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    Err(Failure::transient(format!("no end after {} s", timeout.as_secs())).coded(Code::TimedOut))
                }
            };
            Ended { job: attempted, outcome, took: begun.elapsed() }
        });
        self.running.insert(handle.id(), job);
    }

    /// Frees the room of an attempt and settles it beside the loop: many outcomes, one commit.
    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let ended = match ended {
            Ok((id, ended)) => {
                self.running.remove(&id);
                ended
            }
            Err(error) => match self.running.remove(&error.id()) {
                // A panic in one attempt is a transient failure of that job.
                Some(job) => {
                    let failure = Failure::transient("the attempt panicked").coded(Code::Panicked);
                    Ended { job, outcome: Err(failure), took: Duration::ZERO }
                }
                None => return,
            },
        };
        let lane = ended.job.work.lane();
        one_less(&mut self.in_flight, &lane);
        one_less(&mut self.in_shares, self.works.share(&lane).0);
        let now = self.clock.now();
        if self.full_elsewhere.remove(&lane) {
            self.agenda.bring(lane.clone(), now);
        }
        self.hear(&lane, &ended, now);
        let backoff = self.works.plan(&ended.job.work).backoff;
        let end = settle::end(&ended.outcome, ended.job.attempt, &backoff, now, fastrand::f64());
        // A probe ahead of its time is no attempt of the delivery's own schedule.
        let own = self.loans.remove(&ended.job.claim.id).filter(|own| *own > now);
        let end = match (own, end) {
            (Some(due_at), Some(End::Retry { .. } | End::GiveBack { .. })) => Some(End::GiveBack { due_at }),
            (Some(due_at), Some(End::Park { .. })) if matches!(ended.outcome, Err(Failure::Transient { .. })) => {
                Some(End::GiveBack { due_at })
            }
            (_, end) => end,
        };
        settle::log(&ended.job, Some(&ended.outcome), end.as_ref(), now, ended.took);
        if let Some(end) = end {
            self.write(ended.job, end, ended.took);
        }
    }

    fn write(&mut self, job: Job, end: End, took: Duration) {
        let lease = self.works.longest(&job.work.lane()) + LEASE_MARGIN;
        let until = Instant::now() + lease.saturating_sub(took);
        self.settling.spawn(settle::write(self.store.clone(), job, end, took, until));
    }

    /// What this attempt says of its route.
    fn hear(&mut self, lane: &Lane, ended: &Ended, now: UnixMillis) {
        let fails = matches!(ended.outcome, Err(Failure::Transient { .. } | Failure::Gone { .. }));
        if !lane.hands_over() || !(fails || self.standings.contains_key(lane)) {
            return;
        }
        let standing = self.standings.entry(lane.clone()).or_default();
        let change = standing.heard(&ended.outcome, ended.job.claim.id, now);
        if change != Change::None {
            self.works.stands(lane, standing);
        }
        if *standing == Standing::default() {
            self.standings.remove(lane);
        }
        if let Change::Resumed(at) = change {
            let (store, lane) = (self.store.clone(), lane.clone());
            self.settling.spawn(async move {
                if let Err(error) = store.bring_forward(&lane, at).await {
                    tracing::error!(lane = lane.0, reason = %error, "What failed while {lane} was paused waits for its own schedule");
                }
            });
        }
    }

    /// Whoever was failing and leads elsewhere now proves itself at once, with one at a time.
    fn probe_redirected(&mut self) {
        let now = self.clock.now();
        for lane in self.works.redirected() {
            if let Some(standing) = self.standings.get_mut(&lane) {
                standing.probe(now);
                self.works.stands(&lane, standing);
            }
        }
    }

    /// Where a probe is due and no delivery is, one is made due before its time.
    async fn lend_probes(&mut self) {
        let now = self.clock.now();
        let (agenda, in_flight) = (&self.agenda, &self.in_flight);
        let idle = |lane: &Lane| !agenda.is_due(lane, now) && !in_flight.contains_key(lane);
        let idle = self.standings.iter_mut().filter(|(lane, _)| idle(lane));
        let wanting = idle.filter_map(|(lane, it)| it.wants_loan(now).then(|| lane.clone()));
        let wanting: Vec<Lane> = wanting.collect();
        for lane in wanting {
            let after = self.last_lent.get(&lane).copied().unwrap_or(0);
            match self.store.lend(&lane, after).await {
                Ok(Some((job, due_at))) => {
                    self.loans.insert(job, due_at);
                    self.agenda.bring(lane.clone(), now);
                    self.last_lent.insert(lane, job);
                }
                Ok(None) => {}
                Err(error) if error.is_told() => return,
                Err(error) => tracing::error!(lane = lane.0, reason = %error, "{lane} is not probed this time"),
            }
        }
    }

    /// Routes whose deliveries were failing prove themselves first: a restart must not be a storm on a destination that is down.
    async fn put_on_trial(&mut self) {
        match self.store.counts().await {
            Ok(counts) => {
                let failing = counts.into_iter().filter(|it| it.lane.hands_over());
                let failing = failing.filter(|it| Standing::wants_trial(it.retrying)).map(|it| it.lane);
                self.standings.extend(failing.map(|lane| (lane, Standing::on_trial())));
            }
            Err(error) => tracing::error!(reason = %error, "It cannot be read which routes were failing"),
        }
    }

    /// Reads what is due from the table. `false`: the store is closed.
    async fn read_agenda(&mut self) -> bool {
        let horizon = self.clock.now() + i64::try_from(2 * BACKSTOP.as_millis()).unwrap_or(0);
        match self.store.agenda(horizon).await {
            Ok(lanes) => lanes.into_iter().for_each(|(lane, at)| self.agenda.bring(lane, at)),
            Err(StoreError::Closed) => return false,
            Err(error) if error.is_told() => self.was_away = true,
            Err(error) => tracing::error!(reason = %error, "The agenda cannot be read; trying again shortly"),
        }
        true
    }

    async fn drain(&mut self, grace: Duration) {
        let deadline = tokio::time::Instant::now() + grace;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.attempts.join_next_with_id()).await {
            self.ended(ended);
        }
        self.attempts.abort_all();
        let now = self.clock.now();
        for (_, job) in std::mem::take(&mut self.running) {
            let end = End::GiveBack { due_at: now };
            settle::log(&job, None, Some(&end), now, grace);
            self.write(job, end, grace);
        }
        // A store that is away must not keep a daemon from ending: the leases do the rest.
        let deadline = deadline.max(tokio::time::Instant::now()) + GIVING_BACK;
        while let Ok(Some(_)) = tokio::time::timeout_at(deadline, self.settling.join_next()).await {}
    }
}

fn one_less<K, Q>(counts: &mut HashMap<K, u32>, key: &Q)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
