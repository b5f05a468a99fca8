//! The runner by itself: one tenant whose every mailbox hangs takes nothing from a route, and a step of the clock is seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mailspan::model::backoff::{Backoff, Then};
use mailspan::model::clock::SharedClock;
use mailspan::model::outcome::{Next, Outcome};
use mailspan::model::token::BoxFuture;
use mailspan::model::work::{Job, Lane, Work, ahead_of_backlog};
use mailspan::queue::{Plan, Runner, Standing, Works};
use mailspan::store::Across;
use tokio_util::sync::CancellationToken;

use crate::store_world::*;
use crate::world::DEADLINE;

const SHARE: u32 = 100;
/// Nothing that hangs is given up while a story lasts.
const NEVER: Duration = Duration::from_secs(24 * 3600);
/// A turn of whoever waits: of these there are none while the machine stands still.
const TURN: Duration = Duration::from_millis(5);

/// Mailboxes never answer; routes do at once.
#[derive(Default)]
struct HangingTenant {
    hanging: AtomicU32,
    delivered: AtomicU32,
}

impl Works for HangingTenant {
    fn attempt<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if matches!(job.work, Work::Deliver { .. }) {
                self.delivered.fetch_add(1, Ordering::SeqCst);
                return Ok(Next::Done);
            }
            self.hanging.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        })
    }

    fn plan(&self, _: &Work) -> Plan {
        Plan { timeout: NEVER, backoff: Backoff { steps: vec![Duration::ZERO], then: Then::Repeat } }
    }

    fn room(&self, _: &Lane) -> u32 {
        3
    }

    fn share<'a>(&self, lane: &'a Lane) -> (&'a str, u32) {
        lane.0.split_once('/').map_or((&lane.0, u32::MAX), |(tenant, _)| (tenant, SHARE))
    }

    fn across(&self, _: &Lane) -> Option<Across> {
        None
    }

    fn longest(&self, _: &Lane) -> Duration {
        NEVER
    }

    fn stands(&self, _: &Lane, _: &Standing) {}

    fn redirected(&self) -> Vec<Lane> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_tenant_that_hangs_takes_nothing_from_a_route() {
    let world = World::sqlite().await;
    let store = world.open().await;
    let (works, stop) = (Arc::new(HangingTenant::default()), CancellationToken::new());
    let looks = (0..600).map(|n| Work::Look { mailbox: mailbox(&format!("m{n}")) }.due(ahead_of_backlog(world.now())));
    store.enqueue(looks.collect()).await.unwrap();
    let runner = Runner::new(store.clone(), Arc::clone(&works), world.clock.clone() as SharedClock);
    let running = tokio::spawn(runner.run(stop.clone(), Duration::ZERO));
    until(|| works.hanging.load(Ordering::SeqCst) >= SHARE).await;

    store.enqueue(vec![deliver("crm", "ix_1").due(world.now())]).await.unwrap();
    until(|| works.delivered.load(Ordering::SeqCst) == 1).await;
    assert_eq!(works.hanging.load(Ordering::SeqCst), SHARE, "the tenant has its share and no more");

    stop.cancel();
    running.await.unwrap();
    let held = "SELECT COUNT(*) FROM jobs WHERE leased_until IS NOT NULL";
    crate::world::until_so("what was in flight is given back", async || world.count(held).await == 0).await;
    let waiting: u64 = store.counts().await.unwrap().iter().map(|lane| lane.waiting).sum();
    assert_eq!(waiting, 600, "and nothing of it is lost");
}

#[tokio::test]
async fn a_store_that_closes_ends_the_loop() {
    let world = World::sqlite().await;
    let store = world.open().await;
    let works = Arc::new(HangingTenant::default());
    let runner = Runner::new(store.clone(), works, world.clock.clone() as SharedClock);
    store.close().await;
    let running = tokio::spawn(runner.run(CancellationToken::new(), Duration::ZERO));
    tokio::time::timeout(DEADLINE, running).await.expect("the loop ends").unwrap();
}

#[tokio::test]
async fn what_a_step_of_the_clock_made_due_is_begun_at_once() {
    let world = World::sqlite().await;
    let store = world.open().await;
    let (works, stop) = (Arc::new(HangingTenant::default()), CancellationToken::new());
    let hour = 3_600_000;
    store
        .enqueue((1..=3).map(|n| deliver("crm", &format!("ix_{n}")).due(world.now() + n * hour)).collect())
        .await
        .unwrap();
    let runner = Runner::new(store.clone(), Arc::clone(&works), world.clock.clone() as SharedClock);
    let running = tokio::spawn(runner.run(stop.clone(), Duration::ZERO));
    let turns = |n: u64| tokio::time::sleep(Duration::from_millis(1_100 * n));
    for delivered in 1..=3 {
        turns(2).await;
        assert_eq!(works.delivered.load(Ordering::SeqCst), delivered - 1, "nothing is due");
        // Before the table is read of itself, which is every half a minute.
        world.pass(hour);
        let mut turns_left = 3_500;
        while works.delivered.load(Ordering::SeqCst) < delivered {
            assert!(turns_left > 0, "the step is not noticed");
            turns_left -= 1;
            tokio::time::sleep(TURN).await;
        }
    }
    stop.cancel();
    running.await.unwrap();
}

async fn until(mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(TURN).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("it comes to pass");
}
