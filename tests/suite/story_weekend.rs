//! A destination that is dead for sixty hours, beside a slow and a healthy one.
//!
//! The hours pass on the clocks of the bridge and of the tenant; what is asked of the dead one is counted.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

use crate::receiver::Answer;
use crate::story_order::{is_in_order, mail_of, subject_of};
use crate::world::{Bridge, Inbox, SUPPORT, World, until_so};

const HOUR: Duration = Duration::from_secs(3600);
const CONVERSATIONS: usize = 30;
const MAILS: usize = 150;

/// As the manual says when none is configured.
const RETRY: &str =
    "retry = [\"0s\", \"5s\", \"30s\", \"5m\", \"30m\", \"2h\", \"5h\", \"10h\", \"14h\", \"20h\", \"24h\"]";

async fn a_weekend(world: World) {
    let (slow, healthy) = (Inbox::start().await, Inbox::start().await);
    world.inbox.usually_answers(Answer::Status(503));
    slow.usually_answers(Answer::Late(Duration::from_millis(40)));
    let plan = world.bare_plan().mailbox(SUPPORT, "");
    let plan = plan.route("dead", &format!("order = \"thread\"\n{RETRY}"), &world.inbox);
    let plan = plan.route("slow", &format!("concurrency = 1\n{RETRY}"), &slow).route("healthy", RETRY, &healthy);
    let bridge = Bridge::start(&plan).await;
    let mut wanted = Vec::new();
    for number in 0..MAILS {
        // In no regular order, so that conversations are told apart by what is said, not by when.
        let (n, conversation) = (number / CONVERSATIONS, number * 7 % CONVERSATIONS);
        world.tenant.receive(SUPPORT, mail_of(conversation, n));
        wanted.push(subject_of(conversation, n));
        until_so("the healthy route to go on", async || healthy.accepted().len() > number).await;
        // Of these two nothing is left to begin: what begins in the moment in which time passes would be handed over twice.
        until_so("the slow route to follow", async || slow.accepted().len() > number).await;
        let by = 60 * HOUR / u32::try_from(MAILS).unwrap();
        until_settled(&world).await;
        world.tenant.advance(by);
        bridge.pass(by).await;
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    slow.until_has(&wanted).await;
    let check = plan.check("route", "dead").await;
    let number = |key: &str| check[key].as_u64().unwrap();
    assert_eq!((&check["state"], &check["status"]), (&"paused".into(), &"failing".into()), "{check}");
    assert!(check["paused_until"].is_string() && number("consecutive_failures") >= 10, "{check}");
    assert!(check["reason"].as_str().unwrap().contains("503"), "{check}");
    assert_eq!((number("queue_depth"), number("parked")), (150, 0), "{check}");
    assert!(number("queue_oldest_seconds") >= 59 * 3600, "{check}");
    let (_, metrics) = plan.page("/metrics").await.unwrap();
    assert!(metrics.contains("mailspan_route_paused{route=\"dead\"} 1"));
    assert!(metrics.contains("mailspan_route_paused{route=\"healthy\"} 0"));
    let tried = world.inbox.received();
    // A probe every five minutes would be 720.
    assert!(tried.len() < 800, "the dead route was tried {} times", tried.len());
    let different: HashSet<&str> = tried.iter().map(|it| it.header("webhook-id")).collect();
    assert!(different.len() >= 10, "only {} different mails were tried", different.len());
    assert!(world.tenant.unread(SUPPORT) == MAILS, "not every route has accepted them");

    world.inbox.usually_answers(Answer::Status(200));
    until_settled(&world).await;
    bridge.pass(Duration::from_secs(301)).await;
    let arrived = world.inbox.until_has(&wanted).await;
    is_in_order(&arrived);
    assert!(arrived.iter().all(|it| it.body["data"]["thread"]["gap"] == Value::Array(vec![])), "nothing was parked");
    until_so("everything read", async || world.tenant.unread(SUPPORT) == 0).await;
    for inbox in [&world.inbox, &slow, &healthy] {
        inbox.has_exactly(&wanted).await;
        let ids: HashSet<String> = inbox.accepted().into_iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), MAILS, "once per id");
    }
    let check = plan.until_check("route", "dead", "it runs", |it| it["status"] == "ok").await;
    assert_eq!((&check["state"], &check["consecutive_failures"]), (&"running".into(), &0.into()), "{check}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_dead_for_sixty_hours_gets_everything_in_order_once_and_nothing_is_parked() {
    Box::pin(a_weekend(World::sqlite().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_dead_for_sixty_hours_gets_everything_on_postgres_as_well() {
    if let Some(world) = World::postgres().await {
        Box::pin(a_weekend(world)).await;
    }
}

/// Waits until what came of each attempt is written down. Before that no time may pass, or the next would be later by it,
/// and what is under way would outlive its lease and be handed over twice.
async fn until_settled(world: &World) {
    let begun = "SELECT COUNT(*) FROM jobs WHERE kind = 'deliver' AND leased_until IS NOT NULL";
    until_so("every outcome is written", async || world.number(begun).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_back_is_noticed_although_no_delivery_is_due() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(503));
    let patient = "retry = [\"0s\", \"1m\", \"1m\", \"4m\", \"24h\", \"24h\"]";
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("dead", patient, &world.inbox);
    let bridge = Bridge::start(&plan).await;
    for conversation in 0..3 {
        world.tenant.receive(SUPPORT, mail_of(conversation, 0));
    }
    // Each fails four times, and waits for a day then.
    for (minutes, attempts) in [(0, 3), (2, 6), (2, 9), (6, 10)] {
        bridge.pass(Duration::from_secs(60 * minutes)).await;
        world.inbox.until_received(attempts).await;
        until_settled(&world).await;
    }
    plan.until_check("route", "dead", "it is paused", |it| it["state"] == "paused").await;
    let mut tried = world.inbox.received().len();
    for _ in 0..8 {
        bridge.pass(Duration::from_secs(301)).await;
        world.inbox.until_received(tried + 1).await;
        until_so("the end of the probe", async || {
            let before = world.inbox.received().len();
            tokio::time::sleep(Duration::from_millis(40)).await;
            before == world.inbox.received().len()
        })
        .await;
        until_settled(&world).await;
        tried = world.inbox.received().len();
    }
    let check = plan.check("route", "dead").await;
    assert_eq!(
        (&check["parked"], &check["queue_depth"]),
        (&0.into(), &3.into()),
        "a probe ahead of its time is no attempt"
    );
    world.inbox.usually_answers(Answer::Status(200));
    bridge.pass(Duration::from_secs(301)).await;
    until_so("everything accepted", async || world.inbox.accepted().len() == 3).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_route_is_not_stormed_after_a_restart() {
    const WAITING: usize = 60;
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(503));
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("dead", "retry = [\"0s\", \"1h\", \"24h\"]", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    for conversation in 0..WAITING {
        world.tenant.receive(SUPPORT, mail_of(conversation, 0));
    }
    world.inbox.until_received(WAITING).await;
    bridge.stop().await;
    // It is away until all of them are due.
    world.database.execute("UPDATE jobs SET due_at = 1 WHERE kind = 'deliver'").await;
    let before = world.inbox.received().len();
    let bridge = Bridge::start(&plan).await;
    plan.until_check("route", "dead", "it is paused", |it| it["state"] == "paused").await;
    world.until_looked_again(2).await;
    let tried = world.inbox.received().len() - before;
    assert!((3..=4).contains(&tried), "{tried} attempts after a restart, of {WAITING} that were due");
    world.inbox.usually_answers(Answer::Status(200));
    until_settled(&world).await;
    bridge.pass(Duration::from_secs(31)).await;
    until_so("everything accepted", async || world.inbox.accepted().len() == WAITING).await;
    bridge.stop().await;
}
