//! The short crash drills: the real program, killed while mail comes in, and while it goes out. The long ones are in `tests/drill`.

#[path = "../drill/sending/mod.rs"]
#[expect(dead_code, reason = "the long drills use all of it")]
mod sending;
#[path = "../drill/signed_in/mod.rs"]
mod signed_in;
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

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_instant_then_a_restart_sends_what_was_taken_over_once() {
    const KILLS: u32 = 6;
    let setting = sending::Setting {
        name: "six kills while sending",
        store: None,
        letters: 48,
        at_once: 6,
        pause: Duration::from_millis(400),
        smtp: true,
        lost: 0.1,
    };
    let mut world = sending::World::start(setting).await;
    while !world.clients.are_done() || world.bridge.kills < KILLS {
        world.bridge.live(Duration::from_millis(fastrand::u64(700..1500))).await;
        if world.bridge.kills < KILLS {
            world.bridge.kill().await;
        }
    }
    let (kills, sums) = world.end(Duration::from_secs(90)).await;
    assert_eq!(kills, KILLS);
    assert_eq!(sums.promised.values().copied().collect::<Vec<_>>(), [12; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_survives_kills_during_rotation() {
    const KILLS: u32 = 8;
    let mut world = signed_in::World::start().await;
    for _ in 0..KILLS {
        world.kill_in_rotation(Duration::from_millis(fastrand::u64(0..250))).await;
    }
    let sums = world.end().await;
    assert_eq!((sums.kills, sums.mails), (KILLS, KILLS as usize + 1));
    assert!(sums.handed_out > 1, "only {} rotations", sums.handed_out);
}
