//! Two daemons on one database: no job is shared, nothing is lost between them, and each hears the other.

use std::collections::HashSet;
use std::time::Duration;

use mailspan::model::work::{Lane, Work};
use mailspan::store::{End, FoundBy, Heard, MarkWhen, MessageState, Store};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::store_world::*;

async fn work_off(store: Store, lanes: Vec<Lane>) -> Vec<i64> {
    let mut mine = Vec::new();
    loop {
        let claims = store.claim(lanes.iter().map(|lane| room(lane, 7)).collect()).await.unwrap();
        if claims.jobs.is_empty() {
            return mine;
        }
        for job in claims.jobs {
            assert!(store.settle(job.claim, End::Done).await.unwrap());
            mine.push(job.claim.id);
        }
    }
}

on_postgres! {
    async fn no_job_is_claimed_by_two(world: World) {
        let (a, b) = (world.open().await, world.open().await);
        let lanes: Vec<Lane> = ["crm", "archive"].map(Lane::route).to_vec();
        let jobs = (0..400).map(|n| deliver(if n % 2 == 0 { "crm" } else { "archive" }, &format!("i{n}")).due(world.now()));
        a.enqueue(jobs.collect()).await.unwrap();
        let workers = [&a, &b, &a, &b].map(|store| tokio::spawn(work_off(store.clone(), lanes.clone())));
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.await.unwrap());
        }
        assert_eq!(all.len(), 400);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 400);
        assert!(a.counts().await.unwrap().is_empty());
    }

    async fn the_last_two_deliveries_on_two_replicas_finish_the_message(world: World) {
        let (a, b) = (world.open().await, world.open().await);
        let support = mailbox("support");
        for n in 0..25 {
            let (claim, message) = fetch(&a, &world, &support, &format!("AAk{n}")).await;
            let accept = mail(message, &format!("mk_{n}"), &["crm", "archive"], MarkWhen::OnDelivered, "raw");
            let interactions = a.accept(claim, accept).await.unwrap().unwrap().interactions;
            let crm = only(&a, &Lane::route("crm")).await;
            let archive = only(&b, &Lane::route("archive")).await;
            let (x, y) = tokio::join!(a.delivered(crm.claim, &interactions[0]), b.delivered(archive.claim, &interactions[1]));
            assert!(x.unwrap() && y.unwrap());
            assert_eq!(b.message(message).await.unwrap().unwrap().state, MessageState::Delivered, "message {n}");
        }
        assert_eq!(b.to_mark(&support, 100).await.unwrap().len(), 25);
    }

    async fn a_copy_accepted_while_the_first_is_delivered_is_delivered_too(world: World) {
        let (a, b) = (world.open().await, world.open().await);
        let (support, sales) = (mailbox("support"), mailbox("sales"));
        for n in 0..60 {
            let (first, one) = fetch(&a, &world, &support, &format!("AAk{n}")).await;
            let (second, other) = fetch(&a, &world, &sales, &format!("AAs{n}")).await;
            let copy = |message| mail(message, &format!("mk_{n}"), &["crm"], MarkWhen::Never, "raw");
            let interaction = a.accept(first, copy(one)).await.unwrap().unwrap().interactions.remove(0);
            let crm = only(&a, &Lane::route("crm")).await;
            let (x, y) = tokio::join!(a.delivered(crm.claim, &interaction), b.accept(second, copy(other)));
            assert!(x.unwrap() && y.unwrap().is_some());
            assert_eq!(a.message(other).await.unwrap().unwrap().state, MessageState::Delivered, "copy {n}");
        }
    }

    async fn the_same_page_seen_by_two_is_found_once(world: World) {
        let (a, b) = (world.open().await, world.open().await);
        let support = mailbox("support");
        for n in 0..10 {
            let page = |back: bool| {
                let mut page: Vec<_> = (0..20).map(|m| found(&format!("AAk{n}-{m}"), world.now())).collect();
                if back {
                    page.reverse();
                }
                page
            };
            let (x, y) = tokio::join!(
                a.found(&support, page(false), FoundBy::Push, None),
                b.found(&support, page(true), FoundBy::Sweep, None),
            );
            assert_eq!(x.unwrap() + y.unwrap(), 20);
        }
        assert_eq!(a.counts().await.unwrap()[0].waiting, 200);
    }

    async fn copies_accepted_by_two_replicas_get_keys_of_their_own(world: World) {
        let (a, b) = (world.open().await, world.open().await);
        let support = mailbox("support");
        for n in 0..10 {
            let page = vec![found(&format!("x{n}"), 0), found(&format!("y{n}"), 0)];
            a.found(&support, page, FoundBy::Push, None).await.unwrap();
            let jobs = claim(&a, &Lane::mailbox(&support), 2).await.jobs;
            let message = |at: usize| match jobs[at].work {
                Work::Fetch { message, .. } => message,
                _ => panic!("a fetch"),
            };
            let accept = |at| mail(message(at), &format!("mk_{n}"), &["crm"], MarkWhen::Never, "raw");
            let (x, y) = tokio::join!(a.accept(jobs[0].claim, accept(0)), b.accept(jobs[1].claim, accept(1)));
            let keys = HashSet::from([x.unwrap().unwrap().message_key, y.unwrap().unwrap().message_key]);
            assert_eq!(keys, HashSet::from([format!("mk_{n}"), format!("mk_{n}_2")]));
        }
    }
}

#[tokio::test]
async fn a_replica_hears_what_another_makes_due() {
    let Some(world) = World::postgres().await else { return };
    let (a, b) = (world.open().await, world.open().await);
    let mut wakes = b.wakes();
    let heard = async {
        let mut n = 0;
        loop {
            // Until it listens, nothing reaches it; once it does, the next one will.
            a.enqueue(vec![deliver("crm", &format!("i{n}")).due(world.now())]).await.unwrap();
            n += 1;
            if let Ok(Some(Heard::Due(due))) = tokio::time::timeout(Duration::from_millis(50), wakes.next()).await {
                return due;
            }
        }
    };
    let due = tokio::time::timeout(Duration::from_secs(60), heard).await.expect("the other replica is heard");
    assert_eq!(due[0].lane, Lane::route("crm"));
}

#[tokio::test]
async fn a_database_that_went_away_is_used_again_when_it_is_back() {
    let Some(world) = World::postgres().await else { return };
    let store = world.open().await;
    store.enqueue(vec![deliver("crm", "i0").due(world.now())]).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    world.execute(cut).await;
    answered(async || store.enqueue(vec![deliver("crm", "i1").due(world.now())]).await).await;
    // Whoever hears others tries the way by itself, and who asks meanwhile is sent away once more.
    let claims = answered(async || store.claim(vec![room(&Lane::route("crm"), 5)]).await).await;
    assert_eq!(claims.jobs.len(), 2);
}

#[tokio::test]
async fn what_a_dead_replica_held_is_found_without_reading_every_job() {
    let Some(world) = World::postgres().await else { return };
    let store = world.open().await;
    store.enqueue((0..2000).map(|n| deliver("crm", &format!("i{n}")).due(world.now())).collect()).await.unwrap();
    claim(&store, &Lane::route("crm"), 5).await;
    let mut database = PgConnection::connect(&world.url).await.unwrap();
    database.execute("ANALYZE jobs").await.unwrap();
    let plan = "EXPLAIN UPDATE jobs SET leased_until = NULL
         WHERE holder = 4711 AND leased_until IS NOT NULL AND parked_at IS NULL";
    let plan: Vec<String> = sqlx::query_scalar(plan).fetch_all(&mut database).await.unwrap();
    assert!(plan.iter().any(|it| it.contains("jobs_of_holder")), "{plan:#?}");
}
