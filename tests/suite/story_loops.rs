//! The loop breaker: what goes round in a circle is parked, shown and can be replayed; what people write is not touched.

use std::sync::Arc;

use mailspan::app::SystemClock;
use mailspan::model::work::Lane;
use mailspan::store::Store;

use crate::world::{Bridge, Plan, SUPPORT, World, until_so, written};

/// A store's worth of parked deliveries, replayed while the bridge is down.
async fn replay(world: &World) -> usize {
    let store = Store::open(&world.database.url, Arc::new(SystemClock)).await.unwrap();
    let parked = store.parked(Some(&Lane::route("all")), 100).await.unwrap();
    for job in &parked {
        assert!(job.last_error.as_deref().is_some_and(|it| it.starts_with("loop suspected: ")), "{:?}", job.last_error);
        assert!(store.unpark(job.id).await.unwrap());
    }
    store.close().await;
    parked.len()
}

fn robot(n: usize) -> Vec<u8> {
    let head = format!("From: robot@x.example\r\nTo: {SUPPORT}\r\nMessage-ID: <{n}@robot.example>");
    written(&format!("{head}\r\nAuto-Submitted: auto-replied"), &format!("Automatic {n}"))
}

fn passed_on(subject: &str, ids: &[&str]) -> Vec<u8> {
    let mut head = format!("From: ann@x.example\r\nTo: {SUPPORT}\r\nMessage-ID: <{}@x.example>", fastrand::u64(..));
    for id in ids {
        head += &format!("\r\nX-Mailspan-Interaction-Id: {id}");
    }
    written(&head, subject)
}

async fn until_parked(plan: &Plan, count: u64) {
    let what = format!("{count} are parked");
    let check = plan.until_check("route", "all", &what, |it| it["parked"] == count).await;
    assert_eq!(check["status"], "degraded", "{check}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_war_of_auto_responders_is_parked_beyond_the_limit_and_can_be_replayed() {
    let world = World::new().await;
    let plan = world.plan().value("routing", "automatic_limit", "3");
    let bridge = Bridge::start(&plan).await;
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(world.tenant.receive(SUPPORT, robot(n)));
    }
    until_parked(&plan, 5).await;
    let person = world.receives("A person writes");
    world.until_read(&person).await;
    let read = || ids.iter().filter(|it| world.tenant.message(it).unwrap().is_read).count();
    until_so("three read mails", async || read() == 3).await;
    assert_eq!(world.inbox.accepted().len(), 4, "three of the robot, and the person's");
    bridge.stop().await;

    assert_eq!(replay(&world).await, 5);
    let bridge = Bridge::start(&plan).await;
    until_so("every mail of the robot", async || world.inbox.accepted().len() == 9).await;
    until_so("all of them read", async || read() == 8).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_we_passed_on_is_parked_when_it_comes_back() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    world.receives("Passed on");
    let first = world.inbox.until_has(&["Passed on"]).await.remove(0);
    let others: Vec<String> = (0..11).map(|n| format!("ix_{n:032x}")).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    world.tenant.receive(SUPPORT, passed_on("Came back", &[others[0], &first.id]));
    until_parked(&plan, 1).await;
    world.tenant.receive(SUPPORT, passed_on("Went round among many", &others));
    until_parked(&plan, 2).await;
    world.tenant.receive(SUPPORT, passed_on("Somebody else's", &others[..2]));
    world.inbox.until_has(&["Somebody else's"]).await;
    world.inbox.has_exactly(&["Passed on", "Somebody else's"]).await;
    bridge.stop().await;

    assert_eq!(replay(&world).await, 2);
    let bridge = Bridge::start(&plan).await;
    world.inbox.until_has(&["Came back", "Went round among many"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_asks_for_loops_gets_them_and_so_does_everybody_without_the_breaker() {
    for (rule, breaker) in [("kinds = [\"loop\", \"unknown\", \"human\"]", "true"), ("", "false")] {
        let world = World::new().await;
        let plan = world.bare_plan().mailbox(SUPPORT, "").route("all", rule, &world.inbox);
        let plan = plan.value("routing", "loop_breaker", breaker).value("routing", "automatic_limit", "1");
        let bridge = Bridge::start(&plan).await;
        world.receives("Passed on");
        let first = world.inbox.until_has(&["Passed on"]).await.remove(0);
        world.tenant.receive(SUPPORT, passed_on("Came back", &[&first.id]));
        world.inbox.until_has(&["Came back"]).await;
        bridge.stop().await;
    }
}
