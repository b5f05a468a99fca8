//! Three replicas on one PostgreSQL, one of them ended every few seconds, under a stream of mail both ways. The database
//! restarts twice, and one replica sleeps past its leases and wakes again.
//!
//! `MAILSPAN_DRILL_SECONDS` says how long; ten minutes by default. The server is the drill's own.

use std::time::{Duration, Instant};

use crate::ONE_AT_A_TIME;
use crate::own_postgres::OwnPostgres;
use crate::replicated::{REPLICAS, Setting, World};

/// How long it sleeps: past the leases of routes, and until the others have declared it dead.
const SLEEP: Duration = Duration::from_secs(55);

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the figures are what a drill is run for")]
async fn three_replicas_of_which_one_is_always_ending_lose_nothing_and_send_nothing_twice() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let seconds = std::env::var("MAILSPAN_DRILL_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(600);
    let Some(server) = OwnPostgres::start(&["max_connections=100"]) else { return };
    let setting = Setting { name: "replicas", store: server.url(), pause_ms: 30..90, timeout: "2s", sweep: "20s" };
    let mut world = World::start(setting).await;
    world.until_promised(1).await;
    let counts = strain(&mut world, &server, Duration::from_secs(seconds)).await;
    println!("replicas: {counts:?}");
    world.excused_until = Instant::now() + Duration::from_secs(10);
    world.revive();
    let sums = world.end().await;
    assert!(sums.mails > 0 && sums.deliveries > sums.mails && sums.left >= sums.promised, "{sums}");
}

#[derive(Debug, Default)]
struct Counts {
    kills: u32,
    stops: u32,
    sleeps: u32,
    outages: u32,
    revived: u32,
}

async fn strain(world: &mut World, server: &OwnPostgres, duration: Duration) -> Counts {
    let mut counts = Counts::default();
    let begun = world.begun;
    let part = |n: u32| begun + duration * n / 12;
    let mut outages = vec![(part(3), "fast"), (part(8), "immediate")];
    let mut sleeps = vec![part(5)];
    let mut asleep: Option<(usize, Instant)> = None;
    let end = begun + duration;
    while Instant::now() < end || asleep.is_some() {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1500..4000))).await;
        let now = Instant::now();
        counts.revived += world.revive();
        if let Some((replica, _)) = asleep.take_if(|(_, until)| now > *until) {
            world.replicas[replica].signal("CONT").await;
        }
        if sleeps.pop_if(|at| now > *at).is_some() {
            let replica = fastrand::usize(..REPLICAS);
            world.replicas[replica].until_ready().await;
            world.replicas[replica].signal("STOP").await;
            asleep = Some((replica, now + SLEEP));
            counts.sleeps += 1;
        }
        if !outages.is_empty() && now > outages[0].0 {
            let (_, mode) = outages.remove(0);
            world.excused_until = now + Duration::from_secs(40);
            server.stop(mode);
            tokio::time::sleep(Duration::from_secs(6)).await;
            server.start_again();
            world.excused_until = Instant::now() + Duration::from_secs(10);
            counts.outages += 1;
            continue;
        }
        if now < end {
            end_one(world, asleep.map(|it| it.0), &mut counts).await;
        }
    }
    counts
}

/// Ends one replica that is awake: most often without a word. The others take over.
async fn end_one(world: &mut World, asleep: Option<usize>, counts: &mut Counts) {
    let awake: Vec<usize> = (0..REPLICAS).filter(|it| Some(*it) != asleep).collect();
    let replica = &mut world.replicas[awake[fastrand::usize(..awake.len())]];
    if !replica.is_ready().await {
        return;
    }
    if fastrand::u32(..10) < 6 {
        replica.kill().await;
        counts.kills += 1;
    } else {
        replica.stop().await;
        replica.start_again();
        counts.stops += 1;
    }
}
