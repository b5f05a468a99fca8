//! The job table: leases, fences, making due, parking, wakes; and a kill between any two steps.

use std::sync::Arc;

use mailspan::model::work::{Claim, Lane, Work};
use mailspan::store::{End, Heard, Store, StoreError, Wake, Wakes};

use crate::store_world::*;

async fn one_job(store: &Store, world: &World) -> Lane {
    store.enqueue(vec![deliver("crm", "ix_1").due(world.now())]).await.unwrap();
    Lane::route("crm")
}

/// The next wakes; that something may have been missed before is no news here.
async fn due(wakes: &mut Wakes) -> Arc<[Wake]> {
    loop {
        if let Heard::Due(due) = wakes.next().await.unwrap() {
            return due;
        }
    }
}

on_both! {
    async fn a_claimed_job_is_due_again_when_its_lease_ends(world: World) {
        let store = world.open().await;
        let lane = one_job(&store, &world).await;
        let first = claim(&store, &lane, 5).await;
        assert_eq!(first.jobs[0].attempt, 1);
        assert_eq!(first.next, [(lane.clone(), Some(world.now() + LEASE))]);
        assert!(claim(&store, &lane, 5).await.jobs.is_empty());

        world.pass(LEASE);
        let second = only(&store, &lane).await;
        assert_eq!(second.attempt, 2);
        assert!(second.claim.fence > first.jobs[0].claim.fence);
        assert!(!store.settle(first.jobs[0].claim, End::Done).await.unwrap(), "the first lease was lost");
        assert!(store.settle(second.claim, End::Done).await.unwrap());
        assert!(!store.settle(second.claim, End::Done).await.unwrap(), "settled once");
        assert_eq!(claim(&store, &lane, 5).await.next, [(lane, None)]);
    }

    async fn the_earliest_due_goes_first_and_no_lane_takes_anothers_room(world: World) {
        let store = world.open().await;
        let now = world.now();
        let job = |route: &str, n: i64, due| deliver(route, &format!("{route}{n}")).due(due);
        let mut jobs: Vec<_> = (0..100).map(|n| job("slow", n, now - n)).collect();
        jobs.extend((0..3).map(|n| job("quick", n, now)));
        jobs.push(job("quick", 9, now + 1));
        store.enqueue(jobs).await.unwrap();

        let (slow, quick) = (Lane::route("slow"), Lane::route("quick"));
        let claims = store.claim(vec![room(&slow, 2), room(&quick, 10), room(&Lane::upkeep(), 1)]).await.unwrap();
        let keys: Vec<_> = claims.jobs.iter().map(|job| job.work.key()).collect();
        assert_eq!(keys, ["deliver:quick0", "deliver:quick1", "deliver:quick2", "deliver:slow99", "deliver:slow98"]);
        assert_eq!(claims.next, [(slow, Some(now - 97)), (quick, Some(now + 1)), (Lane::upkeep(), None)]);
    }

    async fn a_fetch_that_was_given_back_is_brought_forward_and_other_work_keeps_its_time(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let lane = Lane::mailbox(&support);
        let (given_back, _) = fetch(&store, &world, &support, "AAk1").await;
        assert!(store.settle(given_back, End::GiveBack { due_at: world.now() + LEASE }).await.unwrap());
        store.enqueue(vec![Work::Sweep { mailbox: support }.due(world.now() + LEASE)]).await.unwrap();
        assert!(claim(&store, &lane, 9).await.jobs.is_empty());
        store.bring_forward(&lane, world.now()).await.unwrap();
        let brought = claim(&store, &lane, 9).await.jobs;
        assert_eq!(brought.iter().map(|it| it.claim.id).collect::<Vec<_>>(), [given_back.id]);
        assert_eq!(brought[0].attempt, 1, "being given back counts as no attempt");
    }

    async fn hundreds_of_lanes_are_claimed_at_once(world: World) {
        let store = world.open().await;
        let lanes: Vec<Lane> = (0..200).map(|n| Lane::route(&format!("r{n}"))).collect();
        store.enqueue((0..200).map(|n| deliver(&format!("r{n}"), &format!("i{n}")).due(world.now())).collect()).await.unwrap();
        let mut agenda = store.agenda(world.now()).await.unwrap();
        assert_eq!(agenda.len(), 200);
        let claims = store.claim(lanes.iter().map(|lane| room(lane, 3)).collect()).await.unwrap();
        assert_eq!(claims.jobs.len(), 200);
        assert_eq!(claims.next.len(), 200);
        agenda = store.agenda(world.now()).await.unwrap();
        assert!(agenda.is_empty(), "leases are not due yet");
        assert_eq!(store.agenda(world.now() + LEASE).await.unwrap().len(), 200);
    }

    async fn making_due_brings_forward_and_never_back(world: World) {
        let store = world.open().await;
        let now = world.now();
        let lane = one_job(&store, &world).await;
        store.enqueue(vec![deliver("crm", "ix_1").due(now + 5000)]).await.unwrap();
        let job = only(&store, &lane).await;
        store.settle(job.claim, End::Retry { due_at: now + 9000, error: "busy".into() }).await.unwrap();
        store.enqueue(vec![deliver("crm", "ix_1").due(now + 500), deliver("crm", "ix_1").due(now + 700)]).await.unwrap();
        assert_eq!(store.agenda(now + 9000).await.unwrap(), [(lane, now + 500)]);
    }

    async fn a_hint_during_a_look_is_another_look(world: World) {
        let store = world.open().await;
        let look = Work::Look { mailbox: mailbox("support") };
        let lane = look.lane();
        store.enqueue(vec![look.clone().due(world.now())]).await.unwrap();
        let running = only(&store, &lane).await;
        store.enqueue(vec![look.clone().due(world.now() + 10)]).await.unwrap();
        store.enqueue(vec![look.clone().due(world.now() - 10)]).await.unwrap();
        assert!(claim(&store, &lane, 1).await.jobs.is_empty(), "never two at once");
        assert!(store.settle(running.claim, End::Done).await.unwrap());
        let again = only(&store, &lane).await;
        assert_eq!(again.attempt, 1);
        assert!(!store.settle(running.claim, End::Done).await.unwrap());
        assert!(store.settle(again.claim, End::Done).await.unwrap());
        assert!(store.counts().await.unwrap().is_empty());
    }

    async fn a_hint_after_the_lease_ran_out_is_not_lost_either(world: World) {
        let store = world.open().await;
        let look = Work::Look { mailbox: mailbox("support") };
        store.enqueue(vec![look.clone().due(world.now())]).await.unwrap();
        let slow = only(&store, &look.lane()).await;
        world.pass(LEASE + 1);
        store.enqueue(vec![look.clone().due(world.now())]).await.unwrap();
        assert!(store.settle(slow.claim, End::Done).await.unwrap(), "nobody else claimed it");
        assert_eq!(only(&store, &look.lane()).await.attempt, 1);
    }

    async fn an_attempt_that_was_given_back_is_not_counted(world: World) {
        let store = world.open().await;
        let lane = one_job(&store, &world).await;
        for _ in 0..3 {
            let job = only(&store, &lane).await;
            assert_eq!(job.attempt, 1);
            assert!(store.settle(job.claim, End::GiveBack { due_at: world.now() }).await.unwrap());
        }
        let job = only(&store, &lane).await;
        store.settle(job.claim, End::Retry { due_at: world.now(), error: "refused".into() }).await.unwrap();
        assert_eq!(only(&store, &lane).await.attempt, 2);
    }

    async fn again_is_a_fresh_job(world: World) {
        let store = world.open().await;
        let lane = one_job(&store, &world).await;
        let job = only(&store, &lane).await;
        world.pass(1000);
        store.settle(job.claim, End::Again { due_at: world.now() + 5 }).await.unwrap();
        assert_eq!(store.counts().await.unwrap()[0].oldest_created_at, Some(world.now()));
        world.pass(5);
        assert_eq!(only(&store, &lane).await.attempt, 1);
    }

    async fn a_parked_job_keeps_its_story_and_frees_its_key(world: World) {
        let store = world.open().await;
        let lane = one_job(&store, &world).await;
        let job = only(&store, &lane).await;
        assert!(store.settle(job.claim, End::Park { error: "404 from the destination".into() }).await.unwrap());
        let parked = store.parked(Some(&lane), 10).await.unwrap().remove(0);
        assert_eq!((parked.key.as_str(), parked.kind.as_str(), parked.attempt), ("deliver:ix_1", "deliver", 1));
        assert_eq!(parked.last_error.as_deref(), Some("404 from the destination"));
        assert_eq!(parked.parked_at, world.now());
        assert!(store.parked(Some(&Lane::upkeep()), 10).await.unwrap().is_empty());
        assert!(claim(&store, &lane, 1).await.jobs.is_empty());

        store.enqueue(vec![deliver("crm", "ix_1").due(world.now())]).await.unwrap();
        let count = store.counts().await.unwrap().remove(0);
        assert_eq!((count.waiting, count.parked), (1, 1));
        assert!(!store.unpark(parked.id).await.unwrap(), "its successor is alive");
        let successor = only(&store, &lane).await;
        store.settle(successor.claim, End::Done).await.unwrap();
        assert!(store.unpark(parked.id).await.unwrap());
        assert!(!store.unpark(parked.id).await.unwrap());
        assert!(!store.settle(job.claim, End::Done).await.unwrap(), "the old claim stays lost");
        let replayed = only(&store, &lane).await;
        assert_eq!((replayed.claim.id, replayed.attempt), (parked.id, 1));
    }

    async fn nothing_that_was_answered_is_lost_by_a_kill(world: World) {
        let store = world.open().await;
        let lane = one_job(&store, &world).await;
        let job = only(&store, &lane).await;
        drop(store);

        let store = world.open().await;
        if !world.is_sqlite() {
            // On SQLite nobody else can hold the lease, so the restart need not wait for its end.
            assert!(claim(&store, &lane, 1).await.jobs.is_empty(), "the lease outlives the process");
            world.pass(LEASE);
        }
        assert_eq!(only(&store, &lane).await.attempt, 2, "the attempt that died is counted");
        assert!(!store.settle(job.claim, End::Done).await.unwrap());
    }

    async fn closing_writes_what_was_asked_and_refuses_the_rest(world: World) {
        let store = world.open().await;
        let asked: Vec<_> = (0..50)
            .map(|n| {
                let (store, now) = (store.clone(), world.now());
                tokio::spawn(async move { store.enqueue(vec![deliver("crm", &format!("i{n}")).due(now)]).await })
            })
            .collect();
        tokio::task::yield_now().await;
        store.close().await;
        let mut written = 0;
        for asked in asked {
            match asked.await.unwrap() {
                Ok(()) => written += 1,
                Err(error) => assert_eq!(error, StoreError::Closed),
            }
        }
        assert_eq!(store.enqueue(vec![deliver("crm", "late").due(0)]).await, Err(StoreError::Closed));
        assert_eq!(store.ping().await, Err(StoreError::Closed));
        let counts = world.open().await.counts().await.unwrap();
        assert_eq!(counts.first().map_or(0, |count| count.waiting), written);
    }

    async fn whoever_listens_hears_of_due_jobs(world: World) {
        let store = world.open().await;
        let mut wakes = store.wakes();
        let lane = one_job(&store, &world).await;
        assert_eq!(*due(&mut wakes).await, [Wake { lane: lane.clone(), due_at: world.now() }]);
        let job = only(&store, &lane).await;
        store.settle(job.claim, End::Retry { due_at: world.now() + 7, error: "busy".into() }).await.unwrap();
        assert_eq!(*due(&mut wakes).await, [Wake { lane, due_at: world.now() + 7 }]);
    }

    async fn a_group_with_one_write_that_fails_loses_only_that_one(world: World) {
        let store = world.open().await;
        store.enqueue((0..30).map(|n| deliver("crm", &format!("i{n}")).due(world.now())).collect()).await.unwrap();
        let jobs = claim(&store, &Lane::route("crm"), 30).await.jobs;
        // All of these are asked before the writer gets its turn, so they are one group.
        let settles = jobs.iter().map(|job| store.settle(job.claim, End::Done));
        let wrong = Claim { id: jobs[0].claim.id, fence: 99 };
        let missing = store.accept(wrong, mail(4711, "mk_1", &["crm"], mailspan::store::MarkWhen::Never, "raw"));
        let job = store.enqueue(vec![Work::Tidy.due(world.now())]);
        let (settled, missing, job) = tokio::join!(futures_util::future::join_all(settles), missing, job);
        assert!(settled.into_iter().all(|it| it == Ok(true)));
        assert_eq!(missing, Ok(None));
        job.unwrap();

        // Now one whose lease is good and whose message does not exist.
        store.enqueue(vec![deliver("crm", "a").due(world.now()), deliver("crm", "b").due(world.now())]).await.unwrap();
        let jobs = claim(&store, &Lane::route("crm"), 2).await.jobs;
        let (wrong, fine) = tokio::join!(
            store.accept(jobs[0].claim, mail(4711, "mk_1", &["crm"], mailspan::store::MarkWhen::Never, "raw")),
            store.settle(jobs[1].claim, End::Done),
        );
        assert!(matches!(wrong, Err(StoreError::Refused(_))), "{wrong:?}");
        assert_eq!(fine, Ok(true));
        assert_eq!(store.settle(jobs[0].claim, End::Done).await, Ok(true), "its job was not touched");
    }

    async fn two_ends_of_one_claim_in_one_group_are_one_end(world: World) {
        let store = world.open().await;
        let lane = one_job(&store, &world).await;
        let job = only(&store, &lane).await;
        let (a, b, c) = tokio::join!(
            store.settle(job.claim, End::Done),
            store.settle(job.claim, End::Retry { due_at: world.now(), error: "late".into() }),
            store.enqueue(vec![deliver("crm", "ix_1").due(world.now())]),
        );
        c.unwrap();
        assert_eq!((a, b), (Ok(true), Ok(false)), "the first wins");
        assert_eq!(only(&store, &lane).await.work.key(), "deliver:ix_1", "made due after it ended, or while it ran");
    }

    async fn a_job_of_another_version_is_parked_in_sight(world: World) {
        let store = world.open().await;
        let lane = one_job(&store, &world).await;
        world.execute("UPDATE jobs SET payload = '{\"kind\":\"levitate\"}'").await;
        assert!(claim(&store, &lane, 5).await.jobs.is_empty());
        let parked = store.parked(None, 5).await.unwrap();
        assert!(parked[0].last_error.as_deref().unwrap().contains("does not know"));
    }
}
