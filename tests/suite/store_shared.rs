//! Replicas on one database: what they share of a mailbox's room, and what becomes of those that die.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mailspan::model::work::{Lane, Work};
use mailspan::store::{Across, End, FoundBy, Presence, Room, Store};
use sqlx::{Connection as _, Executor as _};

use crate::store_world::*;

fn shows(name: &str) -> Presence {
    Presence { name: name.into(), version: "1".into(), started_at: 0, configured_at: 0, parts: BTreeMap::new() }
}

/// The room of a mailbox's lane, as a daemon asks for it while others live.
fn shared(lane: &Lane, room: u32) -> Room {
    let across = Some(Across { lanes: vec![lane.clone()], together: 3, most: 3 });
    Room { lane: lane.clone(), room, lease_ms: LEASE, across }
}

async fn claims(store: &Store, lane: &Lane) -> (Vec<mailspan::model::work::Job>, bool) {
    let claims = store.claim(vec![shared(lane, 3)]).await.unwrap();
    (claims.jobs, claims.full.contains(lane))
}

/// As if whoever looked at the others last had done so just this long ago, however long this machine took since.
async fn earlier(world: &World, by: Duration) {
    let now = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";
    world.execute(&format!("UPDATE silences SET looked_at = {now} - {}", by.as_millis())).await;
}

async fn living(store: &Store, name: &str) -> usize {
    store.beat(shows(name)).await.unwrap().len()
}

on_postgres! {
    async fn three_replicas_make_no_nine_calls_into_one_mailbox(world: World) {
        let (a, b, c) = (world.open().await, world.open().await, world.open().await);
        for (store, name) in [(&a, "a"), (&b, "b"), (&c, "c")] {
            assert!(!store.has_others());
            store.beat(shows(name)).await.unwrap();
        }
        let living: Vec<String> = a.beat(shows("a")).await.unwrap().into_iter().map(|it| it.shows.name).collect();
        assert_eq!((living.len(), a.has_others()), (3, true));
        let mailbox = mailbox("support");
        let lane = Lane::mailbox(&mailbox);
        let page: Vec<_> = (0..60).map(|n| found(&format!("AAk{n}"), world.now())).collect();
        a.found(&mailbox, page, FoundBy::Push, None).await.unwrap();

        // All at once, again and again: never more than three in hand, and all of it gets done.
        let (mut in_hand, mut done, mut met) = (Vec::new(), 0, 0);
        let begun = Instant::now();
        while done < 60 {
            assert!(begun.elapsed() < Duration::from_secs(300), "{done} of 60");
            let (x, y, z) = tokio::join!(claims(&a, &lane), claims(&b, &lane), claims(&c, &lane));
            for (jobs, is_full) in [x, y, z] {
                met += usize::from(is_full);
                in_hand.extend(jobs);
            }
            assert!(in_hand.len() <= 3, "{} in hand", in_hand.len());
            if let Some(job) = in_hand.pop() {
                assert!(b.settle(job.claim, End::Done).await.unwrap());
                done += 1;
            }
        }
        assert!(met > 30, "others were met {met} times");
        a.leave().await.unwrap();
        b.leave().await.unwrap();
        assert_eq!(c.beat(shows("c")).await.unwrap().len(), 1);
        assert!(!c.has_others());
    }

    async fn what_the_dead_held_is_due_again_and_their_fences_hold_no_longer(world: World) {
        let (dead, lives) = (world.open().await, world.open().await);
        dead.beat(shows("dead")).await.unwrap();
        // Before it is seen for the first time: from then on it is counted.
        let begun = Instant::now();
        lives.beat(shows("lives")).await.unwrap();
        let lane = Lane::route("crm");
        lives.enqueue((0..3).map(|n| deliver("crm", &format!("i{n}")).due(world.now())).collect()).await.unwrap();
        let held = claim(&dead, &lane, 2).await.jobs;
        let own = only(&lives, &lane).await;
        let taken = loop {
            // Its clock stands still, which must not make it dead.
            world.pass(1);
            lives.beat(shows("lives")).await.unwrap();
            let taken = claim(&lives, &lane, 9).await.jobs;
            if !taken.is_empty() {
                break taken;
            }
            assert!(begun.elapsed() < Duration::from_secs(300), "nobody finds it dead");
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        assert!(begun.elapsed() > Duration::from_secs(29), "{:?}", begun.elapsed());
        let ids = |jobs: &[mailspan::model::work::Job]| jobs.iter().map(|it| it.claim.id).collect::<Vec<_>>();
        assert_eq!(ids(&taken), ids(&held));
        assert!(taken.iter().all(|it| it.attempt == 2 && matches!(it.work, Work::Deliver { .. })));
        for job in held {
            assert!(!dead.settle(job.claim, End::Done).await.unwrap(), "who slept settles nothing");
        }
        for job in taken.into_iter().chain([own]) {
            assert!(lives.settle(job.claim, End::Done).await.unwrap());
        }
        // It wakes, shows itself, and works again.
        assert_eq!(dead.beat(shows("dead")).await.unwrap().len(), 2);
    }

    async fn the_dead_are_found_by_replicas_of_which_none_lives_long(world: World) {
        let (dead, lane) = (world.open().await, Lane::route("crm"));
        living(&dead, "dead").await;
        dead.enqueue(vec![deliver("crm", "i0").due(world.now())]).await.unwrap();
        let held = only(&dead, &lane).await;
        for name in ["a", "b", "c"] {
            let brief = world.open().await;
            earlier(&world, Duration::from_secs(11)).await;
            living(&brief, name).await;
            assert!(claim(&brief, &lane, 1).await.jobs.is_empty(), "{name} takes it from one that may live");
        }
        let next = world.open().await;
        earlier(&world, Duration::from_secs(11)).await;
        // "a" was silent as long as the dead, less one look.
        assert_eq!(living(&next, "d").await, 4);
        assert_eq!(only(&next, &lane).await.claim.id, held.claim.id);
        assert!(!dead.settle(held.claim, End::Done).await.unwrap(), "it is dead");
    }

    async fn nobody_dies_of_time_in_which_nobody_looked(world: World) {
        let (a, b) = (world.open().await, world.open().await);
        living(&b, "b").await;
        for _ in 0..5 {
            assert_eq!(living(&a, "a").await, 2);
            earlier(&world, Duration::from_secs(300)).await;
        }
        // Nor where the clock of the database was set back.
        for _ in 0..5 {
            world.execute("UPDATE silences SET looked_at = looked_at + 3600000").await;
            assert_eq!(living(&a, "a").await, 2);
        }
        b.leave().await.unwrap();
        assert_eq!(living(&a, "a").await, 1);
        assert_eq!(world.count("SELECT COUNT(*) FROM silences").await, 0, "who is gone is forgotten");
    }

    async fn a_replica_that_stops_in_the_middle_of_looking_holds_up_nobody(world: World) {
        let (a, b) = (world.open().await, world.open().await);
        living(&b, "b").await;
        living(&a, "a").await;
        let mut stopped = sqlx::PgConnection::connect(&world.url).await.unwrap();
        stopped.execute("BEGIN; SELECT pg_advisory_xact_lock(7309945106436288); UPDATE silences SET silent_ms = 0").await.unwrap();
        for _ in 0..5 {
            let beats = async { (living(&a, "a").await, living(&b, "b").await) };
            let both = tokio::time::timeout(Duration::from_secs(60), beats).await.expect("they wait for nobody");
            assert_eq!(both, (2, 2));
        }
    }
}
