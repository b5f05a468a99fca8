//! The short crash drill: the real program, killed ten times while mail flows. The long ones are in `tests/drill`.

#[path = "../drill/world/mod.rs"]
#[expect(dead_code, reason = "the long drills use all of it")]
mod world;

use std::time::Duration;

use world::{Setting, World};

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_instant_then_a_restart_loses_nothing() {
    const KILLS: u32 = 10;
    let mut world = World::start(Setting::new("ten kills")).await;
    for _ in 0..KILLS {
        world.bridge.live(Duration::from_millis(fastrand::u64(50..900))).await;
        world.bridge.kill().await;
    }
    let report = world.end(Duration::from_secs(30)).await;
    assert_eq!(report.kills, KILLS);
    assert!(report.deliveries > report.mails, "{} deliveries of {} mails", report.deliveries, report.mails);
}
