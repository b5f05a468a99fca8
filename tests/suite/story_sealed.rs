//! Keys of stored mail while a bridge runs: one that is missing is told by its name, parks nothing and loses nothing, and when
//! it is there again, mail goes on.

use std::time::Duration;

use mailspan::store::Seal;
use serde_json::Value;

use crate::identity_keys::write;
use crate::receiver::Answer;
use crate::world::{Bridge, Plan, SUPPORT, World, until_so};

const A: &str = "Cw3Qb4WcQ8pYp1rB7nXvH2mK5tLs9eJfUoZ6iDgAkEM=";
const B: &str = "7f1c0e9b6a2d4835c1b0f7e6d5a49382716f5e4d3c2b1a09f8e7d6c5b4a39281";

fn id(key: &str) -> String {
    Seal::of_text(key).unwrap().sealing().to_string()
}

async fn until_store_says(plan: &Plan, what: &str) {
    let says = |it: &Value| match what {
        "ok" => it["status"] == "ok",
        _ => it["status"] == "degraded" && it["reason"].as_str().is_some_and(|it| it.contains(what)),
    };
    plan.until_check("store", "store", what, says).await;
}

/// Longer than what lacks a key is left alone: a minute, and up to a fifth more.
const WITHOUT_KEY: Duration = Duration::from_secs(75);
/// How often deliveries that wait were taken out, in all.
const TAKEN_OUT: &str = "SELECT CAST(COALESCE(SUM(fence), 0) AS BIGINT) FROM jobs WHERE kind = 'deliver'";

/// Waits until no delivery is being attempted. Returns how often those that wait were taken out.
async fn until_set_aside(world: &World) -> i64 {
    let held = "SELECT COUNT(*) FROM jobs WHERE kind = 'deliver' AND leased_until IS NOT NULL";
    until_so("the end of every attempt", async || world.number(held).await == 0).await;
    world.number(TAKEN_OUT).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_under_a_key_that_is_missing_waits_until_the_key_is_there_again() {
    let world = World::new().await;
    let keys = world.path("store-keys");
    write(&keys, A);
    let plan = world
        .bare_plan()
        .mailbox(SUPPORT, "")
        .route("all", "retry = [\"0s\", \"1h\", \"1h\"]", &world.inbox)
        .text("store", "encryption_key_file", &keys.display().to_string());
    world.inbox.usually_answers(Answer::Status(503));
    let bridge = Bridge::start(&plan).await;
    until_store_says(&plan, "ok").await;
    world.receives("Under the old key");
    until_so("a delivery that failed", async || !world.inbox.received().is_empty()).await;
    bridge.stop().await;
    let attempt = "SELECT attempt FROM jobs WHERE kind = 'deliver' AND parked_at IS NULL";
    assert_eq!(world.number(attempt).await, 1);
    // It stays away until that is due again.
    world.database.execute("UPDATE jobs SET due_at = 1 WHERE kind = 'deliver'").await;

    // Replaced, and the old one forgotten.
    write(&keys, B);
    world.inbox.usually_answers(Answer::Status(200));
    let bridge = Bridge::start(&plan).await;
    until_store_says(&plan, &format!("the key {}, which store.encryption_key_file does not hold", id(A))).await;
    world.receives("Under the new key");
    world.inbox.until_has(&["Under the new key"]).await;
    plan.until_check("route", "all", "one waits", |it| it["parked"] == 0 && it["queue_depth"] == 1).await;
    for _ in 0..5 {
        let taken_out = until_set_aside(&world).await;
        bridge.pass(WITHOUT_KEY).await;
        until_so("another try", async || world.number(TAKEN_OUT).await > taken_out).await;
    }
    until_set_aside(&world).await;
    assert_eq!(world.inbox.received().len(), 2, "nothing is handed over that cannot be read");
    let route = plan.check("route", "all").await;
    assert_eq!((&route["parked"], &route["queue_depth"]), (&0.into(), &1.into()), "{route}");
    assert_eq!(world.number(attempt).await, 1, "waiting for a key counts as no attempt");

    // Added while it runs.
    write(&keys, &format!("{B}\n{A}\n"));
    bridge.pass(WITHOUT_KEY).await;
    world.inbox.until_has(&["Under the old key", "Under the new key"]).await;
    until_store_says(&plan, "ok").await;
    bridge.stop().await;
    world.inbox.has_exactly(&["Under the old key", "Under the new key"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_is_damaged_while_the_bridge_runs_is_told_and_what_was_read_holds() {
    let world = World::new().await;
    let keys = world.path("store-keys");
    write(&keys, A);
    let plan = world.plan().text("store", "encryption_key_file", &keys.display().to_string());
    let bridge = Bridge::start(&plan).await;
    write(&keys, "half a k");
    bridge.daemon.store.seal().unwrap().refresh().unwrap_err();
    until_store_says(&plan, "the keys read before stay in use, because ").await;
    world.receives("All the same");
    world.inbox.until_has(&["All the same"]).await;
    write(&keys, A);
    bridge.daemon.store.seal().unwrap().refresh().unwrap();
    until_store_says(&plan, "ok").await;
    bridge.stop().await;
}
