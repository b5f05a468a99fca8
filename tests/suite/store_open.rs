//! Opening the store: made when missing, and a plain sentence when it cannot be.

use std::sync::Arc;

use mailspan::model::clock::{Clock, SharedClock};
use mailspan::store::{Store, StoreError};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> i64 {
        0
    }
}

async fn refused(url: &str) -> String {
    match Store::open(url, Arc::new(Noon) as SharedClock).await {
        Err(StoreError::Open(sentence)) => sentence,
        Err(other) => panic!("{url}: {other}"),
        Ok(_) => panic!("{url} was opened"),
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_said_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| format!("sqlite:{}", dir.path().join(path).display());
    assert!(refused("mysql://x").await.contains("sqlite:path or postgres://"));
    assert!(refused("sqlite::memory:").await.contains("names no file"));
    assert!(refused(&at("nowhere/mailspan.db")).await.contains("does not exist; create it"));
    assert!(refused(&format!("sqlite:{}", dir.path().display())).await.contains("is a folder"));
    // The one folder that nobody can write to, root included.
    #[cfg(target_os = "linux")]
    assert!(refused("sqlite:/proc/mailspan.db").await.contains("/proc cannot be written to"));
    std::fs::write(dir.path().join("text.db"), "this is not a database, it is a text of some length").unwrap();
    assert!(refused(&at("text.db")).await.contains("text.db"));
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(refused(&at("file/mailspan.db")).await.contains("is not a folder"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let sentence = refused("postgres://user:hunter2@127.0.0.1:1/mail").await;
    assert!(sentence.contains("127.0.0.1:1") && !sentence.contains("hunter2"), "{sentence}");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let world = crate::store_world::World::sqlite().await;
    world.open().await.close().await;
    world
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
             VALUES (9999, 'later', '2030-01-01', 1, x'00', 0)",
        )
        .await;
    assert!(refused(&world.url).await.contains("newer mailspan"));
}
