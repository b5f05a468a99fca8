//! The short crash drills: the real program, killed while mail comes in, and while it goes out, alone and as one of several.
//! The long ones are in `tests/drill`.

#[path = "../drill/replicated/mod.rs"]
#[expect(dead_code, reason = "the long drills use all of it")]
mod replicated;
#[path = "../drill/sending/mod.rs"]
#[expect(dead_code, reason = "the long drills use all of it")]
mod sending;
#[path = "../drill/signed_in/mod.rs"]
mod signed_in;
#[path = "../drill/world/mod.rs"]
#[expect(dead_code, reason = "the long drills use all of it")]
mod world;

use std::time::{Duration, Instant};

use world::bridge::GRACE;
use world::receiver::Mood;
use world::{Setting, World};

use crate::store_world;

/// How long nothing may move before what is missing counts as lost: what failed time after time is tried again after five
/// minutes, and a fifth.
const PATIENCE: Duration = Duration::from_secs(400);

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_instant_then_a_restart_loses_nothing() {
    const KILLS: u32 = 10;
    let mut world = World::start(Setting::new("ten kills")).await;
    for _ in 0..KILLS {
        world.bridge.live(Duration::from_millis(fastrand::u64(50..900))).await;
        world.bridge.kill().await;
    }
    let report = world.end(PATIENCE).await;
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
        // Few enough that hardly any mail meets its fifth in a row, after which it waits for minutes.
        lost: 0.05,
    };
    let mut world = sending::World::start(setting).await;
    while !world.clients.are_done() || world.bridge.kills < KILLS {
        world.bridge.live(Duration::from_millis(fastrand::u64(700..1500))).await;
        if world.bridge.kills < KILLS {
            world.bridge.kill().await;
        }
    }
    let (kills, sums) = world.end(PATIENCE).await;
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

/// Three replicas on this database, which a debug build on a busy machine keeps up with.
fn three(name: &'static str, database: &store_world::World, timeout: &'static str) -> replicated::Setting {
    replicated::Setting { name, store: database.url.clone(), pause_ms: 150..350, timeout, sweep: "5s" }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_of_which_two_are_killed_and_one_sleeps_past_its_leases_lose_nothing_and_send_nothing_twice() {
    // What a route's delivery is leased for where a receiver may take two seconds, and some more.
    const SLEEP: Duration = Duration::from_secs(25);
    let Some(database) = store_world::World::postgres().await else { return };
    let mut world = replicated::World::start(three("two kills and a sleep", &database, "2s")).await;
    // Whoever ends or falls asleep has deliveries under way.
    world.receiver.mood(Mood { up_to_ms: 800, ..Mood::default() });
    world.until_promised(3).await;
    world.replicas[0].signal("STOP").await;
    let asleep = Instant::now();
    for replica in &mut world.replicas[1..] {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(500..1500))).await;
        replica.kill().await;
        replica.until_ready().await;
    }
    tokio::time::sleep(SLEEP.saturating_sub(asleep.elapsed())).await;
    world.replicas[0].signal("CONT").await;
    world.until_promised(3).await;
    let sums = world.end().await;
    assert!(sums.mails > 20 && sums.deliveries > sums.mails, "{sums}");
    assert!(sums.promised > 5 && sums.left >= sums.promised, "{sums}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_replaced_one_after_the_other_lose_nothing_and_repeat_nothing() {
    let Some(database) = store_world::World::postgres().await else { return };
    // A receiver that is only slow, because the machine is busy, is waited for, and within the grace.
    let mut world = replicated::World::start(three("a rolling update", &database, "8s")).await;
    world.receiver.mood(Mood { up_to_ms: 300, ..Mood::default() });
    for replica in &mut world.replicas {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1000..2500))).await;
        // It ends with 0, or this panics.
        let took = replica.stop().await;
        assert!(took < GRACE, "it took {took:?} to stop");
        replica.start_again();
        replica.until_ready().await;
    }
    let sums = world.end().await;
    assert!(sums.mails > 10 && sums.deliveries > sums.mails && sums.promised > 0, "{sums}");
    assert_eq!(sums.repetitions, 0, "{sums}");
}
