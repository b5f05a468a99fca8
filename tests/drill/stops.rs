//! Ends and breaks that are no crash: SIGTERM, and a program that is frozen until its leases have lapsed.

use std::time::Duration;

use crate::ONE_AT_A_TIME;
use crate::world::bridge::GRACE;
use crate::world::receiver::Mood;
use crate::world::{Setting, World};

const RESTARTS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_restarts_lose_nothing_and_repeat_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut world = World::start(Setting::new("SIGTERM restarts")).await;
    world.receiver.mood(Mood { up_to_ms: 60, ..Mood::default() });
    for _ in 0..RESTARTS {
        world.bridge.until_ready().await;
        world.bridge.live(Duration::from_millis(fastrand::u64(50..1000))).await;
        let took = world.bridge.stop().await;
        assert!(took < GRACE, "it took {took:?} to stop");
        world.bridge.start_again();
    }
    let report = world.end(Duration::from_secs(45)).await;
    assert_eq!(report.repetitions, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_was_frozen_past_its_leases_loses_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut world = World::start(Setting { pause_ms: 50..150, ..Setting::new("frozen for 40 s") }).await;
    world.receiver.mood(Mood { up_to_ms: 800, ..Mood::default() });
    world.bridge.live(Duration::from_secs(3)).await;
    world.bridge.signal("STOP").await;
    // Deliveries are leased for 22 s here: 2 s for the receiver and 20 s around it.
    tokio::time::sleep(Duration::from_secs(40)).await;
    world.bridge.signal("CONT").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.end(Duration::from_secs(45)).await;
}
