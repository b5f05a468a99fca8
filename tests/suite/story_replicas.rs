//! Several bridges on one PostgreSQL, each a process of its own: they take over from each other, and say where they differ.

use std::time::Duration;

use crate::receiver::Answer;
use crate::story_program::awaited;
use crate::world::*;
use crate::world_bridge::free_port;
use crate::world_program::Program;

/// The same plan for another replica: listeners of its own, one public address for both.
pub(crate) fn replica(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    (plan.public, plan.admin) = (free_port(), free_port());
    let (public, admin) = (plan.public.to_string(), plan.admin.to_string());
    plan.text("server", "webhook_listen", &public).text("server", "admin_listen", &admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopping_replica_gives_back_another_takes_at_once() {
    let Some(world) = World::postgres().await else { return };
    // The receiver holds the first request for longer than the stop has patience, and the lease lasts as long.
    world.inbox.will_answer([Answer::Late(Duration::from_secs(300))]);
    let plan = world.bare_plan().mailbox(SUPPORT, "").route_to("all", "", &awaited(&world.inbox));
    let plan = plan.text("server", "shutdown_timeout", "1s");
    let first = Program::start(&plan, &world.path("first.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    world.receives("held");
    world.inbox.until_received(1).await;
    let other = replica(&plan);
    let second = Program::start(&other, &world.path("second.toml"));
    other.until_ready().await;
    other
        .until_check("replicas", "replicas", "both live", |it| it["living"].as_array().is_some_and(|it| it.len() == 2))
        .await;

    assert_eq!(first.terminate().await, Some(0));
    let received = tokio::time::timeout(DEADLINE, world.inbox.until_received(2)).await.expect("it is taken");
    // What is given back was no attempt; a lease that is released or runs out was one.
    let attempts = [0, 1].map(|at: usize| received[at].header("mailspan-attempt"));
    assert_eq!(attempts, ["1", "1"], "it was given back");
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"), "the same id");
    assert_eq!(received[0].body, received[1].body);
    for n in 0..5 {
        world.receives(&format!("after {n}"));
    }
    let all: Vec<String> = (0..5).map(|n| format!("after {n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    world.inbox.until_has(&all).await;
    assert_eq!(second.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_configured_differently_say_so() {
    let Some(world) = World::postgres().await else { return };
    let plan = world.plan().text("telemetry", "log", "info");
    let first = Program::start(&plan, &world.path("first.toml"));
    plan.until_ready().await;
    let other = replica(&plan).route("vip", "senders = [\"*@partner.example\"]", &world.inbox);
    let second = Program::start(&other, &world.path("second.toml"));
    other.until_ready().await;
    for plan in [&plan, &other] {
        let check = plan.until_check("replicas", "replicas", "they differ", |it| it["status"] == "degraded").await;
        let reason = check["reason"].as_str().unwrap();
        assert!(reason.starts_with("replicas differ in routes since "), "{reason}");
        let metrics = plan.page("/metrics").await.unwrap().1;
        assert!(metrics.contains("mailspan_replicas 2"), "{metrics}");
    }
    second.until_says("eplicas differ in routes since").await;
    assert_eq!(second.terminate().await, Some(0));
    plan.until_check("replicas", "replicas", "one is left", |it| it["status"] == "ok").await;
    first.until_says("Replicas are configured alike again").await;
    assert_eq!(first.terminate().await, Some(0));
}
