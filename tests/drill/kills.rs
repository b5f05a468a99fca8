//! SIGKILL at random moments, hundreds of times.

use std::time::Duration;

use crate::ONE_AT_A_TIME;
use crate::world::{Setting, World};

/// Contract, promise 6.
const KILLS: u32 = 220;
/// How long it lives between two kills, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 50..900;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_instant_loses_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut world = World::start(Setting::new("random kills")).await;
    for _ in 0..KILLS {
        world.bridge.live(Duration::from_millis(fastrand::u64(LIFE_MS))).await;
        world.bridge.kill().await;
    }
    let report = world.end(Duration::from_secs(45)).await;
    assert_eq!(report.kills, KILLS);
    assert!(report.mails > 1000, "only {} mails", report.mails);
}
