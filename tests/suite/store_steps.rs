//! The tables of a PostgreSQL are brought up to date while others work on them: each step is taken once, whoever starts
//! beside it, and while it has to wait nobody waits behind it for long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mailspan::model::clock::SharedClock;
use mailspan::model::work::Lane;
use mailspan::store::Store;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::store_world::*;

/// What has not happened by then does not happen.
const DEADLINE: Duration = Duration::from_secs(60);
/// Which step is missing in a story, and what takes it back: a column, which needs its table for itself for a moment.
const STEP: &str = "5";
const TAKEN_BACK: &str = "ALTER TABLE messages DROP COLUMN has_attachments";

fn steps() -> i64 {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations/postgres");
    i64::try_from(std::fs::read_dir(folder).unwrap().count()).unwrap()
}

async fn taken(world: &World) -> i64 {
    world.count("SELECT COUNT(*) FROM _sqlx_migrations WHERE success").await
}

/// When each transaction that waits for a table right now was begun.
async fn waiting(connection: &mut PgConnection) -> Vec<String> {
    const WAITING: &str = "SELECT xact_start::text FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'relation'";
    sqlx::query_scalar(WAITING).fetch_all(connection).await.unwrap()
}

on_postgres! {
    async fn several_that_open_an_empty_database_at_once_take_each_step_once(world: World) {
        let opened = join_all((0..6).map(|_| Store::open(&world.url, Arc::clone(&world.clock) as SharedClock))).await;
        for store in opened {
            let store = store.unwrap_or_else(|it| panic!("{it}"));
            store.ping().await.unwrap();
            store.close().await;
        }
        assert_eq!(taken(&world).await, steps());
    }

    async fn while_a_step_waits_for_its_table_everybody_else_passes(world: World) {
        world.open().await.close().await;
        world.execute(&format!("{TAKEN_BACK}; DELETE FROM _sqlx_migrations WHERE version = {STEP}")).await;
        // Somebody reads in the table, and goes on reading.
        let mut reader = PgConnection::connect(&world.url).await.unwrap();
        reader.execute("BEGIN; SELECT COUNT(*) FROM messages").await.unwrap();

        let (url, clock) = (world.url.clone(), Arc::clone(&world.clock) as SharedClock);
        let opening = tokio::spawn(async move { Store::open(&url, clock).await });
        let mut watching = PgConnection::connect(&world.url).await.unwrap();
        let (begun, mut tries) = (Instant::now(), BTreeSet::new());
        while tries.len() < 3 {
            assert!(begun.elapsed() < DEADLINE, "it tried {} times", tries.len());
            let waits = waiting(&mut watching).await;
            if waits.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            tries.extend(waits);
            // Whoever comes now stands behind the step, until it lets them pass: the reader never ends here.
            let passes = world.execute("UPDATE messages SET mark = mark; SELECT COUNT(*) FROM messages");
            tokio::time::timeout(DEADLINE, passes).await.expect("others pass a step that waits");
            assert!(!opening.is_finished(), "the step was taken while somebody reads");
        }
        assert_eq!(taken(&world).await, steps() - 1);

        reader.execute("COMMIT").await.unwrap();
        let store = tokio::time::timeout(DEADLINE, opening).await.expect("the step is taken").unwrap().unwrap();
        assert_eq!(taken(&world).await, steps());
        store.enqueue(vec![deliver("crm", "i").due(world.now())]).await.unwrap();
        assert_eq!(only(&store, &Lane::route("crm")).await.attempt, 1);
    }

    async fn whoever_takes_the_same_step_at_the_same_time_finds_it_taken(world: World) {
        world.open().await.close().await;
        world.execute(&format!("{TAKEN_BACK}; DELETE FROM _sqlx_migrations WHERE version = {STEP}")).await;
        let mut reader = PgConnection::connect(&world.url).await.unwrap();
        reader.execute("BEGIN; SELECT COUNT(*) FROM messages").await.unwrap();
        let open = || {
            let (url, clock) = (world.url.clone(), Arc::clone(&world.clock) as SharedClock);
            tokio::spawn(async move { Store::open(&url, clock).await })
        };
        let opening = [open(), open(), open()];
        let (begun, mut watching) = (Instant::now(), PgConnection::connect(&world.url).await.unwrap());
        while waiting(&mut watching).await.is_empty() {
            assert!(begun.elapsed() < DEADLINE, "nobody takes the step");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        reader.execute("COMMIT").await.unwrap();
        for opening in opening {
            tokio::time::timeout(DEADLINE, opening).await.expect("it opens").unwrap().unwrap().close().await;
        }
        assert_eq!(taken(&world).await, steps());
    }

    async fn a_step_of_another_text_is_not_passed_over(world: World) {
        world.open().await.close().await;
        let other = format!("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = {STEP}");
        world.execute(&other).await;
        let error = Store::open(&world.url, Arc::clone(&world.clock) as SharedClock).await.err().unwrap().to_string();
        assert!(error.contains("step 5 was written by another build"), "{error}");
    }
}
