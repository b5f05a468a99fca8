//! Replicas that read their new configuration one after the other: what one of them does not know is left to the others,
//! and what one takes down another builds again.

use std::time::{Duration, Instant};

use crate::world::{Inbox, SUPPORT, World, mail_to, until_so};
use crate::world_live::Live;
use crate::world_program::Program;

const SALES: &str = "sales@contoso.example";

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_and_a_route_that_one_replica_does_not_know_yet_are_left_to_the_other() {
    let Some(world) = World::postgres().await else { return };
    world.tenant.add_mailbox(SALES);
    let other = Inbox::start().await;
    let old = world.plan();
    let public = format!("http://{}", old.public);
    let new = world.plan().text("server", "public_url", &public).mailbox(SALES, "").route("second", "", &other);
    let behind = Live::start_by(&old, &world.path("behind.toml")).await;
    let ahead = Live::start_by(&new, &world.path("ahead.toml")).await;
    until_so("a subscription", async || world.tenant.subscriptions_of(SALES).len() == 1).await;
    let mut sent = Vec::new();
    for number in 0..30 {
        for (to, name) in [(SUPPORT, "support"), (SALES, "sales")] {
            sent.push(format!("To {name} {number:02}"));
            world.tenant.receive(to, mail_to(to, sent.last().unwrap()));
        }
    }
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    world.inbox.until_has(&sent).await;
    world.inbox.has_exactly(&sent).await;
    // Which replica fetches a mail decides whether the new route gets it; of what it is to get nothing is given up.
    let due = async || world.number("SELECT count(*) FROM deliveries WHERE route = 'second'").await;
    until_so("all of the new route", async || i64::try_from(other.accepted().len()).unwrap() == due().await).await;
    assert!(other.accepted().len() >= 30, "only the one that knows the mailbox fetches its mail");
    assert_eq!(world.number("SELECT count(*) FROM jobs WHERE parked_at IS NOT NULL").await, 0);
    assert_eq!(world.tenant.subscriptions_of(SALES).len(), 1, "and it keeps its subscription");

    behind.change(&new.on(&behind.at).text("server", "public_url", &public)).await;
    assert_eq!(ahead.program.terminate().await, Some(0));
    world.tenant.receive(SALES, mail_to(SALES, "To the one that learnt"));
    other.until_has(&["To the one that learnt"]).await;
    assert_eq!(behind.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn push_that_one_replica_gives_up_is_taken_back_by_the_other() {
    let Some(world) = World::postgres().await else { return };
    let on = world.plan();
    let public = format!("http://{}", on.public);
    let off = world.bare_plan().text("server", "public_url", &public).mailbox(SUPPORT, "receive = false");
    let keeps = Live::start_by(&on, &world.path("keeps.toml")).await;
    keeps.at.until_check("mailbox", SUPPORT, "push stands", |it| it["mode"] == "push").await;
    assert_eq!(world.tenant.subscriptions_of(SUPPORT).len(), 1);
    // While the one that wants it stands still, the other does as its own configuration says.
    stands_still(&world, &keeps).await;
    let off = off.route("all", "", &world.inbox);
    let gives_up = Program::start(&off, &world.path("gives-up.toml"));
    until_count(&world, 0).await;
    keeps.program.signal("CONT").await;
    assert_eq!(gives_up.terminate().await, Some(0));
    until_count(&world, 1).await;
    world.receives("For whoever wants it");
    world.inbox.until_has(&["For whoever wants it"]).await;
    keeps.at.until_check("mailbox", SUPPORT, "push is back", |it| it["mode"] == "push").await;
    assert_eq!(keeps.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_no_longer_reads_is_polled_by_the_other_long_before_its_next_sweep() {
    let Some(world) = World::postgres().await else { return };
    let on = world.plan().text("sync", "sweep_interval", "1h");
    let public = format!("http://{}", on.public);
    let off = world.bare_plan().text("server", "public_url", &public).text("sync", "sweep_interval", "1h");
    let off = off.mailbox(SUPPORT, "receive = false").route("all", "", &world.inbox);
    let keeps = Live::start_by(&on, &world.path("keeps.toml")).await;
    keeps.at.until_check("mailbox", SUPPORT, "push stands", |it| it["mode"] == "push").await;
    stands_still(&world, &keeps).await;
    let gives_up = Program::start(&off, &world.path("gives-up.toml"));
    until_count(&world, 0).await;
    // It was taken up, and was not ended.
    let look = "SELECT count(*) FROM jobs WHERE kind = 'look' AND fence > 0 AND leased_until IS NULL";
    until_so("a look that is left to the other", async || world.number(look).await == 1).await;
    assert_eq!(gives_up.terminate().await, Some(0));
    keeps.program.signal("CONT").await;
    world.receives("Announced to nobody");
    // It may have to find its work by its own look at the table.
    let received = tokio::time::timeout(Duration::from_secs(90), world.inbox.until_received(1));
    assert!(received.await.is_ok(), "it is not looked for: {:#?}", keeps.program.log());
    world.inbox.until_has(&["Announced to nobody"]).await;
    keeps.at.until_check("mailbox", SUPPORT, "it is polled", |it| it["mode"] == "polling").await;
    assert_eq!(keeps.program.terminate().await, Some(0));
}

/// Whether every thread of a process stands still.
fn is_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let states = threads.map(|it| std::fs::read_to_string(it.unwrap().path().join("stat")).unwrap_or_default());
    // The state stands behind the name, which is in brackets.
    let mut states = states.map(|it| it.rsplit(") ").next().is_some_and(|it| it.starts_with('T')));
    states.all(|it| it)
}

/// How often the database is asked whether something of a process that was stopped has reached it.
const LOOKS: usize = 20;

/// Stops it between two works: what it had in hand would be its own until its lease ends, and what it was about to write
/// would keep the rows from others.
async fn stands_still(world: &World, bridge: &Live) {
    const IN_HAND: &str = "SELECT (SELECT count(*) FROM jobs WHERE leased_until IS NOT NULL) + (SELECT count(*) \
        FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
        AND backend_type = 'client backend' AND state <> 'idle')";
    until_so("a stop between two works", async || {
        until_so("a moment without work", async || world.number(IN_HAND).await == 0).await;
        bridge.program.signal("STOP").await;
        until_so("a process that stands still", async || is_stopped(bridge.program.id())).await;
        let mut is_free = true;
        for _ in 0..LOOKS {
            is_free &= world.number(IN_HAND).await == 0;
        }
        if !is_free {
            bridge.program.signal("CONT").await;
        }
        is_free
    })
    .await;
}

/// Waits for so many subscriptions of the mailbox. A replica that stood still may have to find its work by its own look at
/// the table, every half minute.
async fn until_count(world: &World, wanted: usize) {
    let begun = Instant::now();
    while world.tenant.subscriptions_of(SUPPORT).len() != wanted {
        assert!(begun.elapsed() < Duration::from_secs(90), "there are not {wanted} subscriptions");
        tokio::time::sleep(crate::world::TURN).await;
    }
}
