//! `mailspan run` as a supervisor sees it: signals, exit codes, and what it says when it cannot start.
//!
//! 0: stopped in order. 1: it ran and found trouble. 2: it cannot be used as it is configured.

use std::time::Duration;

use crate::receiver::Answer;
use crate::world::{Inbox, Plan, SIGNING_SECRET, SUPPORT, World, until_so};
use crate::world_program::Program;

/// A destination that is waited for until it answers, longer than any story lasts.
pub(crate) fn awaited(inbox: &Inbox) -> String {
    format!(
        "kind = \"webhook\"\nurl = \"{}\"\nsigning_secret = {SIGNING_SECRET:?}\nallow_private_networks = true\ntimeout = \"300s\"",
        inbox.url
    )
}

/// A plan whose receiver is longer in answering than anybody waits for the end of a program.
fn never_ends(world: &World) -> Plan {
    world.inbox.usually_answers(Answer::Late(Duration::from_secs(300)));
    world.bare_plan().mailbox(SUPPORT, "").route_to("all", "", &awaited(&world.inbox))
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_and_sigint_stop_in_order_within_the_grace_time() {
    for signal in ["TERM", "INT"] {
        let world = World::new().await;
        let plan = never_ends(&world).text("server", "shutdown_timeout", "1s");
        let mut program = Program::start(&plan, &world.path("mailspan.toml"));
        plan.until_ready().await;
        plan.until_watching().await;
        world.receives("Never ends");
        until_so("an attempt in flight", async || !world.inbox.received().is_empty()).await;
        program.signal(signal).await;
        assert_eq!(program.ends().await, Some(0), "{:#?}", program.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let world = World::new().await;
    // Longer than is waited for its end below.
    let plan = never_ends(&world).text("server", "shutdown_timeout", "200s").text("telemetry", "log", "info");
    let mut program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    world.receives("Never ends");
    until_so("an attempt in flight", async || !world.inbox.received().is_empty()).await;
    program.signal("TERM").await;
    program.until_says("Stopping").await;
    program.signal("TERM").await;
    assert_eq!(program.ends().await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_exit_code_2_with_every_problem_located() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "poll_interval", "soon").text("server", "publik_url", "http://x");
    let plan = plan.route_to("second", "concurrency = 0", "kind = \"webhok\"");
    let mut program = Program::start(&plan, &world.path("mailspan.toml"));
    assert_eq!(program.ends().await, Some(2));
    let said = program.until_silent().await.join("\n");
    for telling in ["mailspan.toml", "poll_interval", "publik_url", "concurrency", "webhok", "line "] {
        assert!(said.contains(telling), "{telling} is not in: {said}");
    }
    assert!(!said.contains(world.tenant.client_secret()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_opened_is_exit_code_2_and_says_why() {
    let world = World::new().await;
    let taken = world.path("taken");
    std::fs::write(&taken, "a file where a folder is needed").unwrap();
    for url in [format!("sqlite:{}", taken.join("mailspan.db").display()), "sqlite:/proc/mailspan.db".to_owned()] {
        let plan = world.plan().text("store", "url", &url).text("telemetry", "log", "info");
        let mut program = Program::start(&plan, &world.path("mailspan.toml"));
        assert_eq!(program.ends().await, Some(2));
        let said = program.until_silent().await.join("\n");
        assert!(said.contains("store.url"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_sqlite_file_does_not_start() {
    let world = World::new().await;
    let first_plan = world.plan();
    let first = Program::start(&first_plan, &world.path("first.toml"));
    first_plan.until_ready().await;
    let second_plan = world.plan().text("telemetry", "log", "info");
    let mut second = Program::start(&second_plan, &world.path("second.toml"));
    assert_eq!(second.ends().await, Some(2));
    let said = second.until_silent().await.join("\n");
    assert!(said.contains("store.url") && said.to_lowercase().contains("another"), "{said}");
    first_plan.until_watching().await;
    world.receives("For the first");
    world.inbox.until_has(&["For the first"]).await;
    assert_eq!(first.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_exit_code_2_and_says_which() {
    let world = World::new().await;
    let plan = world.plan().text("telemetry", "log", "info");
    let _taken = std::net::TcpListener::bind(plan.admin).unwrap();
    let mut program = Program::start(&plan, &world.path("mailspan.toml"));
    assert_eq!(program.ends().await, Some(2));
    let said = program.until_silent().await.join("\n");
    assert!(said.contains("server.admin_listen"), "{said}");
}
