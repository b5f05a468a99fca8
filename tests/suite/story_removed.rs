//! A route that leaves the configuration leaves its deliveries parked and in sight, and finds them again when it is back.
//!
//! Nothing else waits for it.

use std::sync::Arc;

use mailspan::app::SystemClock;
use mailspan::model::work::Lane;
use mailspan::store::Store;

use crate::receiver::Answer;
use crate::world::{Bridge, Inbox, World, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_route_leaves_its_deliveries_parked_and_in_sight() {
    let world = World::new().await;
    let old = Inbox::start().await;
    old.usually_answers(Answer::Status(503));
    let without = world.plan();
    // However often it fails before the restart, it is due soon after it.
    let patient = format!("retry = [\"0s\"{}]", ", \"2s\"".repeat(60));
    let with = without.clone().route("old", &patient, &old);
    let bridge = Bridge::start(&with).await;
    let id = world.receives("For both");
    world.inbox.until_has(&["For both"]).await;
    with.until_check("route", "old", "one failed", |it| it["status"] == "degraded").await;
    bridge.stop().await;

    let bridge = Bridge::start(&without).await;
    let check = without.until_check("route", "old", "it is parked", |it| it["parked"] == 1).await;
    assert_eq!((&check["status"], &check["state"]), (&"degraded".into(), &"removed".into()), "{check}");
    assert!(check["reason"].as_str().is_some_and(|it| it.contains("no longer configured")), "{check}");
    assert_eq!(without.check("route", "all").await["state"], "running");
    let gauge = until("mailspan_parked of the removed route", async || {
        let (_, text) = without.page("/metrics").await?;
        text.lines().find(|it| it.starts_with("mailspan_parked{route=\"old\"}")).map(str::to_owned)
    });
    assert!(gauge.await.ends_with(" 1"));
    world.receives("For one");
    world.inbox.until_has(&["For both", "For one"]).await;
    assert!(!world.tenant.message(&id).unwrap().is_read, "not every route has accepted it");
    bridge.stop().await;

    let store = Store::open(&world.database.url, Arc::new(SystemClock)).await.unwrap();
    let parked = store.parked(Some(&Lane::route("old")), 10).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].last_error.as_deref(), Some("the route is no longer configured"));
    assert!(store.unpark(parked[0].id).await.unwrap());
    store.close().await;

    old.usually_answers(Answer::Status(200));
    let bridge = Bridge::start(&with).await;
    let delivered = old.until_has(&["For both"]).await;
    world.until_read(&id).await;
    let first = old.received()[0].header("webhook-id").to_owned();
    assert!(delivered.len() == 1 && old.received().iter().all(|it| it.header("webhook-id") == first));
    assert_eq!(with.check("route", "old").await["state"], "running");
    bridge.stop().await;
}
