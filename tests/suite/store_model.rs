//! The job table against a plain model of itself: whatever is done in whatever order, both say the same.

use mailspan::model::clock::UnixMillis;
use mailspan::model::work::{Claim, Lane, NewJob};
use mailspan::store::{End, Room, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::store_world::{LEASE, World, deliver};

const ROUTES: [&str; 3] = ["a", "b", "c"];

/// What can be done to the table.
#[derive(Debug, Clone)]
enum Step {
    Enqueue(Vec<(usize, i64)>),
    Claim(Vec<(usize, u32)>),
    /// Settles the claim that many claims ago.
    Settle(usize, Ending),
    Unpark(usize),
    Pass(i64),
    Kill,
}

#[derive(Debug, Clone)]
enum Ending {
    Done,
    Again(i64),
    Retry(i64),
    GiveBack(i64),
    Park,
}

fn step() -> impl Strategy<Value = Step> {
    let due = -50..200_i64;
    let ending = prop_oneof![
        3 => Just(Ending::Done),
        1 => due.clone().prop_map(Ending::Again),
        2 => due.clone().prop_map(Ending::Retry),
        1 => due.clone().prop_map(Ending::GiveBack),
        1 => Just(Ending::Park),
    ];
    prop_oneof![
        6 => prop::collection::vec((0..6_usize, due), 1..4).prop_map(Step::Enqueue),
        6 => prop::sample::subsequence(vec![0, 1, 2_usize], 1..=3)
            .prop_flat_map(|lanes| lanes.into_iter().map(|lane| (Just(lane), 0..4_u32)).collect::<Vec<_>>())
            .prop_map(Step::Claim),
        6 => (0..4_usize, ending).prop_map(|(ago, ending)| Step::Settle(ago, ending)),
        1 => (0..3_usize).prop_map(Step::Unpark),
        2 => prop_oneof![0..150_i64, Just(LEASE - 1), Just(LEASE), Just(2 * LEASE)].prop_map(Step::Pass),
        1 => Just(Step::Kill),
    ]
}

/// One job as the model keeps it. Its place in the list is the order of its number.
#[derive(Debug, Clone)]
struct Row {
    route: usize,
    key: String,
    attempt: u32,
    fence: i64,
    due_at: UnixMillis,
    leased: bool,
    again_at: Option<UnixMillis>,
    created_at: UnixMillis,
    parked: bool,
    gone: bool,
}

#[derive(Default)]
struct Model {
    rows: Vec<Row>,
}

impl Model {
    fn enqueue(&mut self, jobs: &[(usize, UnixMillis)], now: UnixMillis) {
        let mut jobs = jobs.to_vec();
        jobs.sort();
        for (n, due_at) in jobs {
            let key = format!("deliver:i{n}");
            match self.rows.iter_mut().find(|row| row.key == key && !row.parked && !row.gone) {
                Some(row) if row.leased => row.again_at = Some(row.again_at.map_or(due_at, |known| known.min(due_at))),
                Some(row) => row.due_at = row.due_at.min(due_at),
                None => self.rows.push(Row {
                    route: n % ROUTES.len(),
                    key,
                    attempt: 0,
                    fence: 0,
                    due_at,
                    leased: false,
                    again_at: None,
                    created_at: now,
                    parked: false,
                    gone: false,
                }),
            }
        }
    }

    fn living(&self, route: usize) -> impl Iterator<Item = (usize, &Row)> {
        self.rows.iter().enumerate().filter(move |(_, row)| row.route == route && !row.parked && !row.gone)
    }

    fn claim(&mut self, route: usize, room: u32, now: UnixMillis) -> Vec<usize> {
        let mut due: Vec<_> =
            self.living(route).filter(|(_, row)| row.due_at <= now).map(|(at, row)| (row.due_at, at)).collect();
        due.sort_unstable();
        let taken: Vec<usize> = due.into_iter().take(room as usize).map(|(_, at)| at).collect();
        for &at in &taken {
            let row = &mut self.rows[at];
            row.attempt += 1;
            row.fence += 1;
            row.due_at = now + LEASE;
            row.leased = true;
            row.again_at = row.again_at.filter(|again| *again > now);
        }
        taken
    }

    fn settle(&mut self, at: usize, fence: i64, end: &End, now: UnixMillis) -> bool {
        let row = &mut self.rows[at];
        if row.gone || row.parked || !row.leased || row.fence != fence {
            return false;
        }
        let again = row.again_at.take();
        row.fence += 1;
        row.leased = false;
        match (end, again) {
            (End::Done, None) => row.gone = true,
            (End::Done, Some(again)) => (row.due_at, row.attempt, row.created_at) = (again, 0, now),
            (End::Again { due_at }, again) => {
                (row.due_at, row.attempt, row.created_at) = (again.map_or(*due_at, |again| again.min(*due_at)), 0, now);
            }
            (End::Retry { due_at, .. }, _) => row.due_at = *due_at,
            (End::GiveBack { due_at }, again) => {
                row.due_at = again.map_or(*due_at, |again| again.min(*due_at));
                row.attempt -= 1;
            }
            (End::Park { .. }, _) => row.parked = true,
        }
        true
    }

    fn unpark(&mut self, at: usize, now: UnixMillis) -> bool {
        let key = &self.rows[at].key;
        if self.rows.iter().any(|row| row.key == *key && !row.parked && !row.gone) {
            return false;
        }
        let row = &mut self.rows[at];
        (row.parked, row.attempt, row.due_at, row.created_at) = (false, 0, now, now);
        row.fence += 1;
        true
    }

    /// A SQLite file has one user: whoever held a lease is dead, so what it held is due.
    fn restart(&mut self, now: UnixMillis) {
        for row in self.rows.iter_mut().filter(|row| row.leased && !row.parked && !row.gone) {
            row.due_at = row.again_at.take().map_or(now, |again| again.min(now));
            row.leased = false;
        }
    }

    fn next(&self, route: usize) -> Option<UnixMillis> {
        self.living(route).map(|(_, row)| row.due_at).min()
    }
}

/// The table, the model, and the claims that were made: the real one, and the model's row and fence.
struct Both<'a> {
    world: &'a World,
    store: Option<Store>,
    model: Model,
    claims: Vec<(Claim, usize, i64)>,
}

impl Both<'_> {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open between two steps")
    }

    async fn step(&mut self, step: Step) {
        let now = self.world.now();
        match step {
            Step::Enqueue(jobs) => {
                let jobs: Vec<_> = jobs.into_iter().map(|(n, after)| (n, now + after)).collect();
                let real: Vec<NewJob> = jobs
                    .iter()
                    .map(|(n, due_at)| deliver(ROUTES[n % ROUTES.len()], &format!("i{n}")).due(*due_at))
                    .collect();
                self.store().enqueue(real).await.unwrap();
                self.model.enqueue(&jobs, now);
            }
            Step::Claim(rooms) => self.claim(&rooms, now).await,
            Step::Settle(ago, ending) => {
                let Some(&(claim, at, fence)) = self.claims.iter().rev().nth(ago) else { return };
                let end = match ending {
                    Ending::Done => End::Done,
                    Ending::Again(after) => End::Again { due_at: now + after },
                    Ending::Retry(after) => End::Retry { due_at: now + after, error: "refused".into() },
                    Ending::GiveBack(after) => End::GiveBack { due_at: now + after },
                    Ending::Park => End::Park { error: "refused".into() },
                };
                let good = self.store().settle(claim, end.clone()).await.unwrap();
                assert_eq!(good, self.model.settle(at, fence, &end, now), "settling {end:?}");
            }
            Step::Unpark(n) => {
                let parked = self.store().parked(None, 10).await.unwrap();
                let Some(parked) = parked.get(n) else { return };
                let claimed = self.claims.iter().find(|(claim, ..)| claim.id == parked.id);
                let at = claimed.expect("what is parked was claimed once").1;
                assert_eq!(self.store().unpark(parked.id).await.unwrap(), self.model.unpark(at, now));
            }
            Step::Pass(ms) => self.world.pass(ms),
            Step::Kill => {
                drop(self.store.take());
                self.store = Some(self.world.open().await);
                if self.world.is_sqlite() {
                    self.model.restart(now);
                }
            }
        }
        self.compare().await;
    }

    async fn claim(&mut self, rooms: &[(usize, u32)], now: UnixMillis) {
        let real = rooms.iter().map(|(lane, room)| Room {
            lane: Lane::route(ROUTES[*lane]),
            room: *room,
            lease_ms: LEASE,
            across: None,
        });
        let claims = self.store().claim(real.collect()).await.unwrap();
        let taken: Vec<usize> = rooms.iter().flat_map(|(lane, room)| self.model.claim(*lane, *room, now)).collect();
        let rows = taken.iter().map(|at| &self.model.rows[*at]);
        let expected: Vec<_> = rows.map(|row| (row.key.clone(), row.attempt, row.fence, row.created_at)).collect();
        let got = claims.jobs.iter().map(|job| (job.work.key(), job.attempt, job.claim.fence, job.created_at));
        assert_eq!(got.collect::<Vec<_>>(), expected);
        let next: Vec<_> = rooms.iter().map(|(lane, _)| (Lane::route(ROUTES[*lane]), self.model.next(*lane))).collect();
        assert_eq!(claims.next, next);
        self.claims.extend(claims.jobs.iter().zip(taken).map(|(job, at)| (job.claim, at, job.claim.fence)));
    }

    async fn compare(&self) {
        let lanes = 0..ROUTES.len();
        let agenda: Vec<_> =
            lanes.clone().filter_map(|lane| Some((Lane::route(ROUTES[lane]), self.model.next(lane)?))).collect();
        assert_eq!(self.store().agenda(i64::MAX).await.unwrap(), agenda);
        let counts = self.store().counts().await.unwrap();
        let counts: Vec<_> =
            counts.into_iter().map(|it| (it.lane, it.waiting, it.oldest_created_at, it.parked)).collect();
        let expected: Vec<_> = lanes
            .map(|lane| {
                let living: Vec<_> = self.model.living(lane).collect();
                let parked = self.model.rows.iter().filter(|row| row.route == lane && row.parked).count() as u64;
                let oldest = living.iter().map(|(_, row)| row.created_at).min();
                (Lane::route(ROUTES[lane]), living.len() as u64, oldest, parked)
            })
            .filter(|(_, living, _, parked)| living + parked > 0)
            .collect();
        assert_eq!(counts, expected);
    }
}

fn check(cases: u32, world: impl Future<Output = Option<World>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let Some(world) = runtime.block_on(world) else { return };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..60), |steps| {
            runtime.block_on(async {
                let store = world.open().await;
                world.execute("DELETE FROM jobs").await;
                let mut both = Both { world: &world, store: Some(store), model: Model::default(), claims: Vec::new() };
                for step in steps {
                    both.step(step).await;
                }
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_job_table_does_what_its_model_does_on_sqlite() {
    check(48, async { Some(World::sqlite().await) });
}

#[test]
fn the_job_table_does_what_its_model_does_on_postgres() {
    check(24, World::postgres());
}
