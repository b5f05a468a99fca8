//! PostgreSQL as it is in the world: it restarts, it hangs, a pooler stands before it, it speaks TLS only.

use std::time::{Duration, Instant};

use mailspan::model::work::Lane;
use mailspan::store::{End, Heard, Store, StoreError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::task::JoinSet;

use crate::own_postgres::OwnPostgres;
use crate::store_world::*;
use crate::swallowing::Way;

/// What has not happened by then does not happen.
const DEADLINE: Duration = Duration::from_secs(60);

async fn open(world: &World, url: &str) -> Result<Store, StoreError> {
    Store::open(url, world.clock.clone()).await
}

/// Makes jobs due in one store until the other is woken by one of them.
async fn until_heard(a: &Store, b: &Store, world: &World, name: &str) {
    let mut wakes = b.wakes();
    let begun = Instant::now();
    for n in 0.. {
        assert!(begun.elapsed() < DEADLINE, "wake-ups are not heard");
        // Whoever listens tries the way as well, and who comes meanwhile is sent away.
        answered(async || a.enqueue(vec![deliver("crm", &format!("{name}{n}")).due(world.now())]).await).await;
        if let Ok(Some(Heard::Due(_))) = tokio::time::timeout(Duration::from_millis(50), wakes.next()).await {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_costs_time_and_nothing_else() {
    let Some(server) = OwnPostgres::start(&[]) else { return };
    let world = World::at(&server.url());
    let (a, b) = (world.open().await, world.open().await);
    until_heard(&a, &b, &world, "before").await;
    let lane = Lane::route("crm");
    let before = claim(&a, &lane, 1).await.jobs.remove(0);
    for mode in ["fast", "immediate"] {
        server.stop(mode);
        let refused = a.enqueue(vec![deliver("crm", "lost").due(world.now())]).await.unwrap_err();
        assert!(refused.may_pass(), "{refused}");
        // Once it is known to be away, nobody waits for it, but for one who tries now and then, three seconds at most:
        // so many who all tried would take ten minutes.
        let asked = Instant::now();
        for _ in 0..100 {
            assert!(a.enqueue(vec![deliver("crm", "lost").due(world.now())]).await.is_err());
            assert!(a.counts().await.is_err() && a.ping().await.is_err());
        }
        assert!(asked.elapsed() < DEADLINE * 4, "{:?}", asked.elapsed());

        server.start_again();
        until(|| async {
            a.enqueue(vec![deliver("crm", "again").due(world.now())]).await.is_ok() && a.ping().await.is_ok()
        })
        .await;
        until_heard(&a, &b, &world, mode).await;
    }
    assert!(
        answered(async || a.settle(before.claim, End::Done).await).await,
        "the claim from before the outage still holds"
    );
    assert_eq!(world.count("SELECT COUNT(*) FROM jobs WHERE key = 'deliver:lost'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_nobody_hears_from_any_more_are_given_up_with_whoever_waited() {
    let Some(base) = World::postgres().await else { return };
    for pooler in ["none", "transaction"] {
        let way = Way::to_server_of(&base.url).await;
        let store = World::at(&way.url(&base.url, pooler)).open().await;
        let own = store.connections().unwrap().own;
        // Everybody waits for an answer, on every connection there can be.
        let mut holds = PgConnection::connect(&base.url).await.unwrap();
        holds.execute("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let mut asking: JoinSet<()> = JoinSet::new();
        for _ in 0..own {
            let store = store.clone();
            asking.spawn(async move {
                // Who is sent away, or has waited in vain, asks again: in the end all of them wait.
                loop {
                    drop(store.counts().await);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        let waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'jobs'::regclass";
        let pool = i64::from(own) - i64::from(pooler == "none");
        until(|| async { base.count(waiting).await >= pool }).await;
        way.swallow();
        asking.shutdown().await;
        holds.execute("ROLLBACK").await.unwrap();

        answered(async || store.ping().await).await;
        answered(async || store.enqueue(vec![deliver("crm", pooler).due(base.now())]).await).await;
        tokio::time::timeout(DEADLINE, store.close()).await.expect("nothing keeps it from being closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stands_still_in_the_middle_of_a_change_holds_others_up_for_seconds_and_makes_it_anew() {
    let Some(base) = World::postgres().await else { return };
    let other = base.open().await;
    for pooler in ["none", "transaction"] {
        let way = Way::to_server_of(&base.url).await;
        let stands = World::at(&way.url(&base.url, pooler)).open().await;
        let work = || vec![deliver("crm", pooler).due(base.now())];
        // Its change is made, and it does not hear of it yet.
        other.enqueue(work()).await.unwrap();
        let mut holds = PgConnection::connect(&base.url).await.unwrap();
        holds.execute("BEGIN; DELETE FROM jobs").await.unwrap();
        let (store, first) = (stands.clone(), work());
        let changing = tokio::spawn(async move { store.enqueue(first).await.map(drop) });
        let ours = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND";
        until(|| async { base.count(&format!("{ours} wait_event_type = 'Lock'")).await == 1 }).await;
        way.stand_still(true);
        holds.execute("COMMIT").await.unwrap();
        until(|| async { base.count(&format!("{ours} state = 'idle in transaction'")).await == 1 }).await;
        // The same job: whoever is second waits for the first.
        let asked = Instant::now();
        let made = other.enqueue(work()).await;
        assert!(made.is_ok() && asked.elapsed() < Duration::from_secs(45), "{pooler}: {made:?}, {:?}", asked.elapsed());
        assert_eq!(base.count("SELECT COUNT(*) FROM jobs").await, 1, "{pooler}");
        // It goes on: its transaction is gone, and it makes the change anew.
        way.stand_still(false);
        assert!(changing.await.unwrap().is_ok(), "{pooler}");
        assert_eq!(base.count("SELECT COUNT(*) FROM jobs").await, 1, "{pooler}");
        base.execute("DELETE FROM jobs").await;
    }
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_in_transaction_mode_everything_works_and_others_work_is_found() {
    let Some(server) = OwnPostgres::start(&[]) else { return };
    for (mode, asks) in [("transaction", true), ("session", false)] {
        let Some(pooler) = server.pooler(mode) else { return };
        let world = World::at(&pooler.url("postgres"));
        let (a, b) = (world.open().await, world.open().await);
        // Many at once, so that statements meet every session of the pooler.
        let mut work = JoinSet::new();
        for n in 0..12 {
            let (store, now) = ([&a, &b][n % 2].clone(), world.now());
            work.spawn(async move {
                let lane = Lane::route(&format!("r{n}"));
                for m in 0..15 {
                    store.enqueue(vec![deliver(&format!("r{n}"), &format!("{n}-{m}")).due(now)]).await.unwrap();
                    let job = claim(&store, &lane, 1).await.jobs.remove(0);
                    store.counts().await.unwrap();
                    store.agenda(now).await.unwrap();
                    assert!(store.settle(job.claim, End::Done).await.unwrap());
                }
            });
        }
        while let Some(done) = work.join_next().await {
            done.unwrap();
        }
        if asks {
            let mut wakes = b.wakes();
            let heard = tokio::time::timeout(DEADLINE, wakes.next()).await.expect("it asks");
            assert_eq!(heard, Some(Heard::Missed));
        } else {
            until_heard(&a, &b, &world, "s").await;
        }
        a.close().await;
        b.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_tls_is_verified_with_the_roots_it_is_given() {
    let Some(server) = OwnPostgres::start(&[]) else { return };
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params.clone(), KeyPair::generate().unwrap()).unwrap();
    let another = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let (certificate, key) =
        (server.write("server.crt", &certificate.pem()), server.write("server.key", &key.serialize_pem()));
    let conf = std::fs::read_to_string(server.path("data/postgresql.conf")).unwrap();
    let (certificate, key) = (certificate.display(), key.display());
    server.write(
        "data/postgresql.conf",
        &format!("{conf}\nssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n"),
    );
    server.write("data/pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\nhostnossl all all 127.0.0.1/32 reject\n");
    server.stop("fast");
    server.start_again();
    let roots = server.write("roots.pem", &authority.pem());
    let others = server.write("others.pem", &another.pem());

    let world = World::at(&server.url());
    let at = |host: &str, rest: &str| format!("postgres://postgres@{host}:{}/postgres?{rest}", server.port);
    let verify = |roots: &std::path::Path| format!("sslmode=verify-full&sslrootcert={}", roots.display());
    let store = open(&world, &at("localhost", &verify(&roots))).await.unwrap();
    let other = open(&world, &at("localhost", &verify(&roots))).await.unwrap();
    until_heard(&store, &other, &world, "tls").await;
    for (why, url) in [
        ("a stranger's root", at("localhost", &verify(&others))),
        ("no root", at("localhost", "sslmode=verify-full")),
        ("another name", at("127.0.0.1", &verify(&roots))),
        ("no TLS", at("localhost", "sslmode=disable")),
    ] {
        assert!(matches!(open(&world, &url).await, Err(StoreError::Open(_))), "{why}");
    }
}
