//! What the operator sees: health, metrics and logs, of a bridge that does well and of one in trouble.
//!
//! Nothing that a mail or a secret says is ever in them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::receiver::Answer;
use crate::story_program::awaited;
use crate::world::{Bridge, SIGNING_SECRET, SUPPORT, World, until, until_so, written};
use crate::world_program::Program;

/// The metrics of contract §7 that this version has, with a label each must carry.
const METRICS: [(&str, &str); 19] = [
    ("mailspan_notifications_total", "result="),
    ("mailspan_notification_ack_seconds", ""),
    ("mailspan_graph_requests_total", "operation="),
    ("mailspan_graph_requests_total", "status="),
    ("mailspan_graph_request_seconds", ""),
    ("mailspan_token_refreshes_total", "tenant=\"contoso\""),
    ("mailspan_credential_expiry_timestamp_seconds", ""),
    ("mailspan_credential_accepted", "credential=\"1\""),
    ("mailspan_subscription_expiry_timestamp_seconds", "mailbox="),
    ("mailspan_mailbox_push", "mailbox="),
    ("mailspan_messages_found_total", "trigger="),
    ("mailspan_deliveries_total", "route=\"all\""),
    ("mailspan_deliveries_total", "outcome="),
    ("mailspan_delivery_seconds", "route=\"all\""),
    ("mailspan_queue_depth", "route=\"all\""),
    ("mailspan_parked", "route=\"all\""),
    ("mailspan_store_seconds", "operation="),
    ("mailspan_memory_budget_bytes", "state="),
    ("mailspan_build_info", "version="),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_at_work_is_live_ready_and_ok() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    assert_eq!(plan.page("/health/live").await.unwrap().0, 200);
    assert_eq!(plan.page("/health/ready").await.unwrap().0, 200);
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    let (status, health) = plan.health().await;
    assert_eq!((status, &health["status"]), (200, &"ok".into()), "{health}");
    assert!(health["version"].is_string());
    for (kind, name) in [("tenant", "contoso"), ("mailbox", SUPPORT), ("route", "all"), ("store", "")] {
        assert_eq!(plan.check(kind, name).await["status"], "ok");
    }
    assert_eq!(plan.page("/nothing").await.unwrap().0, 404);
    bridge.stop().await;
    assert!(plan.page("/health/live").await.is_none(), "a stopped bridge does not answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_route_degrades_the_health_and_names_itself() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(500));
    // It must not be given up before anybody has looked.
    let patient = format!("retry = [\"0s\"{}]", ", \"500ms\"".repeat(120));
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("all", &patient, &world.inbox);
    let bridge = Bridge::start(&plan).await;
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    world.receives("In trouble");
    let check = plan.until_check("route", "all", "it is degraded", |it| it["status"] == "degraded").await;
    assert_eq!(check["queue_depth"], 1, "{check}");
    assert!(check["queue_oldest_seconds"].is_number(), "{check}");
    let (status, health) = plan.health().await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()));
    assert!(!health.to_string().contains("In trouble"));
    world.inbox.usually_answers(Answer::Status(200));
    plan.until_check("route", "all", "it is well again", |it| it["status"] == "ok").await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_drains_the_bridge_is_live_but_not_ready() {
    let world = World::new().await;
    // It drains for as long as somebody looks at it.
    world.inbox.usually_answers(Answer::Held);
    let plan = world.bare_plan().mailbox(SUPPORT, "").route_to("all", "", &awaited(&world.inbox));
    let plan = plan.text("server", "shutdown_timeout", "60s");
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("In flight");
    until_so("an attempt in flight", async || !world.inbox.received().is_empty()).await;
    bridge.ask_to_stop();
    until_so("503 from /health/ready", async || plan.page("/health/ready").await.is_some_and(|it| it.0 == 503)).await;
    assert_eq!(plan.page("/health/live").await.unwrap().0, 200);
    world.inbox.release();
    bridge.stop().await;
    // The attempt in flight got its time, and its end is on record.
    assert_eq!(world.inbox.received().len(), 1);
    let bridge = Bridge::start(&plan).await;
    world.until_read(&id).await;
    world.inbox.has_exactly(&["In flight"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_of_the_contract_are_there_and_well_formed() {
    let world = World::new().await;
    let expiring = format!(
        "{{ kind = \"client_secret\", secret = {:?}, expires = \"2099-03-01\" }}",
        world.tenant.client_secret()
    );
    let plan = world.bare_plan().only_tenant("contoso", &world.tenant, &expiring).mailbox(SUPPORT, "");
    let plan = plan.route("all", "", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    let id = world.receives("Measured");
    world.until_read(&id).await;
    let mut missing = Vec::new();
    let mut text = String::new();
    until_so("every metric of the contract", async || {
        text = plan.page("/metrics").await.unwrap().1;
        let there = |(name, label): &(&str, &str)| text.lines().any(|it| it.starts_with(name) && it.contains(label));
        missing = METRICS.into_iter().filter(|it| !there(it)).collect();
        if !missing.is_empty() {
            eprintln!("not there yet: {missing:?}");
        }
        missing.is_empty()
    })
    .await;
    assert!(!text.contains("Measured") && !text.contains("ann@customer.example"), "metrics hold what a mail says");
    match Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(mut promtool) => {
            promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let said = promtool.wait_with_output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        }
        Err(_) => eprintln!("promtool is not installed: `promtool check metrics` is skipped"),
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_holds_an_address_a_subject_a_body_or_a_secret() {
    let world = World::new().await;
    world.inbox.will_answer([Answer::Status(500), Answer::DropBeforeReading]);
    let plan = world.plan().text("telemetry", "log", "debug").text("telemetry", "format", "json");
    let mut program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    let head = format!(
        "From: \"Clara Confidential\" <clara@private.example>\r\nTo: {SUPPORT}\r\nCc: <dora@hidden.example>\r\n\
         Message-ID: <whispered@private.example>"
    );
    let ids = ["Diagnosis of a patient", "Salary of a colleague"]
        .map(|subject| world.tenant.receive(SUPPORT, written(&head, subject)));
    let strange = world.tenant.receive(SUPPORT, b"\xff\xfe From nobody: Garbled-but-secret\r\n\r\n\0\0".to_vec());
    world.tenant.expire_tokens();
    for id in ids.iter().chain([&strange]) {
        world.until_read(id).await;
    }
    let subscribed = async || world.tenant.subscriptions_of(SUPPORT).pop().and_then(|it| it.client_state);
    let state = until("a subscription", subscribed).await;
    program.signal("TERM").await;
    assert_eq!(program.ends().await, Some(0));
    let log = program.until_silent().await;
    assert!(log.len() > 20, "debug says something");
    for line in &log {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|it| it["message"].is_string()), "{line}");
    }
    let secret = world.tenant.client_secret();
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let key = SIGNING_SECRET.trim_start_matches("whsec_");
    for telling in [
        "clara",
        "Confidential",
        "private.example",
        "hidden.example",
        "whispered",
        "Diagnosis",
        "Salary",
        "Garbled",
        "this is about",
        secret,
        &encoded,
        key,
        &state,
        "Bearer",
        "eyJ",
    ] {
        let lines: Vec<_> = log.iter().filter(|line| line.contains(telling)).collect();
        assert!(lines.is_empty(), "{telling} is in the log: {lines:#?}");
    }
}
