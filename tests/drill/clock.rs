//! A clock that steps by an hour, forward and back, while mail flows.
//!
//! Needs libfaketime (Debian: faketime); the webhooks' own timestamps prove that the program believed it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ONE_AT_A_TIME;
use crate::world::{Setting, World};

const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];
/// The steps in hours; the last brings back what a step back has put off.
const HOURS: [i64; 6] = [1, 0, -1, 0, -1, 1];
/// How far a step may look short, for what was under way: seconds.
const BLUR: i64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_by_an_hour_loses_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(library) = LIBRARIES.into_iter().find(|it| Path::new(it).exists()) else {
        println!("clock steps: SKIPPED, libfaketime is not installed (Debian: apt-get install faketime)");
        return;
    };
    let hands = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("drill-clock-{}", std::process::id()));
    let set = |hours: i64| {
        let next = hands.with_extension("next");
        std::fs::write(&next, format!("{:+}\n", hours * 3600)).unwrap();
        std::fs::rename(&next, &hands).unwrap();
    };
    set(0);
    let variables = [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", hands.to_str().unwrap()),
        ("FAKETIME_CACHE_DURATION", "1"),
        // Only the clock on the wall steps; the one that measures spans cannot.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut world = World::start(Setting { variables, ..Setting::new("clock steps") }).await;
    let begun = jiff::Timestamp::now().as_second();
    for hours in HOURS {
        world.bridge.live(Duration::from_secs(6)).await;
        set(hours);
    }
    world.bridge.live(Duration::from_secs(6)).await;
    let times: Vec<i64> = world.receiver.handed().iter().map(|it| it.sent_at - begun).collect();
    let (early, late) = (times.iter().min().copied().unwrap(), times.iter().max().copied().unwrap());
    assert!(early < BLUR - 3600 && late > 3600 - BLUR, "the program did not believe the clock: {early} to {late} s");
    world.end(Duration::from_secs(45)).await;
    drop(std::fs::remove_file(&hands));
}
