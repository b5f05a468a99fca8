//! Replicas on one database: what they share of a mailbox's room, and what becomes of those that die.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mailspan::model::work::{Lane, Work};
use mailspan::store::{Across, End, FoundBy, Presence, Room, Store};

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
            assert!(begun.elapsed() < Duration::from_secs(30), "{done} of 60");
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
        lives.beat(shows("lives")).await.unwrap();
        let lane = Lane::route("crm");
        lives.enqueue((0..3).map(|n| deliver("crm", &format!("i{n}")).due(world.now())).collect()).await.unwrap();
        let held = claim(&dead, &lane, 2).await.jobs;
        let own = only(&lives, &lane).await;
        let begun = Instant::now();
        let taken = loop {
            // Its clock stands still, which must not make it dead.
            world.pass(1);
            lives.beat(shows("lives")).await.unwrap();
            let taken = claim(&lives, &lane, 9).await.jobs;
            if !taken.is_empty() {
                break taken;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody finds it dead");
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
}
