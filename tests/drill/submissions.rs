//! A thousand submissions through three doors, while the program is killed and the tenant loses its answers.

use std::time::Duration;

use crate::ONE_AT_A_TIME;
use crate::sending::{Setting, World};

/// Kills while letters are submitted: at least so many, and no more than so many, however slow the machine is.
const KILLS: std::ops::RangeInclusive<u32> = 60..=150;
/// How long it lives between two kills, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 150..1500;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_over_is_sent_once_and_called_back_whatever_is_killed_or_lost() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let pause = Duration::from_millis(300);
    let setting = Setting {
        name: "a thousand submissions",
        store: None,
        letters: 1000,
        at_once: 8,
        pause,
        smtp: true,
        lost: 0.1,
    };
    let mut world = World::start(setting).await;
    while !world.clients.are_done() || world.bridge.kills < *KILLS.start() {
        // Every third time at its beginning; else nothing but beginnings would be killed on a slow machine.
        if !world.bridge.kills.is_multiple_of(3) {
            world.bridge.until_ready().await;
        }
        world.bridge.live(Duration::from_millis(fastrand::u64(LIFE_MS))).await;
        if world.bridge.kills < *KILLS.end() {
            world.bridge.kill().await;
        }
    }
    // A mail whose attempts were killed or cut six times in a row waits a quarter of an hour.
    let (kills, sums) = world.end(Duration::from_secs(1_100)).await;
    assert!(KILLS.contains(&kills), "{kills} kills");
    assert!(sums.promised.values().all(|count| *count == 250), "{:?}", sums.promised);
}
