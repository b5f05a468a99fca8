//! SIGKILL on PostgreSQL, where the leases of the dead must run out before anybody takes their work.
//!
//! Needs `MAILSPAN_TEST_POSTGRES`, a server that may be given a database of its own.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};

use crate::ONE_AT_A_TIME;
use crate::world::{Setting, World};

const KILLS: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_on_postgres_loses_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Ok(server) = std::env::var("MAILSPAN_TEST_POSTGRES") else {
        println!("kills on PostgreSQL: SKIPPED, MAILSPAN_TEST_POSTGRES names no server");
        return;
    };
    let database = format!("mailspan_drill_{}", std::process::id());
    let mut admin = PgConnection::connect(&server).await.unwrap();
    admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"))).await.unwrap();
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&database);

    let setting = Setting { store: Some(url.to_string()), ..Setting::new("kills on PostgreSQL") };
    let mut world = World::start(setting).await;
    for _ in 0..KILLS {
        world.bridge.live(Duration::from_millis(fastrand::u64(500..3000))).await;
        world.bridge.kill().await;
    }
    world.bridge.live(Duration::from_secs(2)).await;
    // A fetch may take five minutes, and so long the dead keep theirs.
    let report = world.end(Duration::from_secs(330)).await;
    assert_eq!(report.kills, KILLS);
    admin.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {database} WITH (FORCE)"))).await.unwrap();
}
