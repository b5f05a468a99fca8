//! A SQLite file belongs to one daemon: a second one is told so, and a restart waits for nobody.

use std::sync::Arc;

use mailspan::model::clock::SharedClock;
use mailspan::model::work::Lane;
use mailspan::store::{Store, StoreError};

use crate::store_world::{World, deliver, only};

async fn second(world: &World) -> Result<Store, StoreError> {
    Store::open(&world.url, Arc::clone(&world.clock) as SharedClock).await
}

#[tokio::test]
async fn a_second_daemon_on_the_same_file_is_told_so() {
    let world = World::sqlite().await;
    let first = world.open().await;
    let error = second(&world).await.err().unwrap().to_string();
    assert!(error.contains("is in use by another mailspan"), "{error}");
    first.close().await;
    second(&world).await.unwrap();
}

#[tokio::test]
async fn what_was_being_done_at_a_kill_is_due_at_once_after_the_restart() {
    let world = World::sqlite().await;
    let store = world.open().await;
    store.enqueue(vec![deliver("crm", "ix_1").due(world.now())]).await.unwrap();
    let lane = Lane::route("crm");
    assert_eq!(only(&store, &lane).await.attempt, 1);
    drop(store);
    assert_eq!(only(&world.open().await, &lane).await.attempt, 2);
}
