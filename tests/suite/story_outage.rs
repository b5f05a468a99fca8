//! The database goes away under a running bridge and comes back: nothing is lost, and whoever asks is told to ask again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::own_postgres::OwnPostgres;
use crate::world::*;
use crate::world_program::Program;

/// How long nobody answers.
const OUTAGE: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_hints_are_taken_nothing_is_promised_and_then_all_is_delivered() {
    let Some(server) = OwnPostgres::start(&[]) else { return };
    let world = World::at(&server.url()).await;
    let plan = world.plan().text("telemetry", "log", "info").text("telemetry", "format", "json");
    let program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    world.receives("before");
    world.inbox.until_has(&["before"]).await;
    let subscription = until("a subscription", async || world.tenant.subscriptions().pop()).await;

    server.stop("fast");
    let away = Instant::now();
    let mail = json!({ "from": SUPPORT, "to": ["a@example.net"], "subject": "s", "text": "t" });
    let mut rounds = 0;
    let mut subjects = vec!["before".to_owned()];
    while away.elapsed() < OUTAGE || rounds < 6 {
        subjects.push(format!("meanwhile {}", subjects.len()));
        world.receives(&subjects[subjects.len() - 1]);
        let hint = json!({ "value": [{ "subscriptionId": subscription.id, "clientState": "stranger", "changeType": "created" }] });
        let answer = client().post(plan.notifications()).json(&hint).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let answer = client().post(format!("http://{}/api/v1/messages", plan.admin)).json(&mail).send().await.unwrap();
        assert_eq!(answer.status(), 503, "nothing is promised that is not on disk");
        let (status, health) = plan.health().await;
        assert_eq!((status, &health["status"]), (503, &json!("failing")), "{health}");
        let store = plan.check("store", "store").await;
        assert!(store["reason"].as_str().is_some_and(|it| it.contains("cannot be used right now")), "{store}");
        assert_eq!(plan.page("/health/live").await.unwrap().0, 200, "a restart would help nobody");
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.start_again();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    world.inbox.until_has(&subjects).await;
    plan.until_check("store", "store", "the store is well", |it| it["status"] == "ok").await;
    program.until_says("The store takes writes again").await;
    let outage = away.elapsed();

    let log = program.log();
    let of = |level: &str| log.iter().filter(|it| it.contains(&format!("\"level\":\"{level}\""))).count();
    assert_eq!(log.iter().filter(|it| it.contains("Nothing can be written")).count(), 1, "{log:#?}");
    let most = 30 + 2 * usize::try_from(outage.saturating_sub(OUTAGE).as_secs()).unwrap();
    assert!(of("ERROR") + of("WARN") < most, "a storm of lines in {outage:?}: {log:#?}");
    assert_eq!(world.tenant.sent_count(), 0);
    assert_eq!(program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_told_to_stop_while_the_database_is_away_stops() {
    let Some(server) = OwnPostgres::start(&[]) else { return };
    let world = World::at(&server.url()).await;
    let plan = world.plan();
    let program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    server.stop("immediate");
    world.receives("meanwhile");
    assert_eq!(program.terminate().await, Some(0));
    server.start_again();
    let program = Program::start(&plan, &world.path("mailspan.toml"));
    // What the first had in hand could not be given back: it is free when the first has not shown itself for a while.
    let received = tokio::time::timeout(Duration::from_secs(120), world.inbox.until_received(1));
    assert!(received.await.is_ok(), "{:#?}", program.log());
    world.inbox.until_has(&["meanwhile"]).await;
    assert_eq!(program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_moves_from_a_file_to_a_server_with_mail_in_flight() {
    let (world, Some(server)) = (World::sqlite().await, crate::store_world::World::postgres().await) else { return };
    world.inbox.usually_answers(crate::receiver::Answer::Status(503));
    let retry = format!("retry = [\"0s\", \"500ms\", \"500ms\"{}]", ", \"1s\"".repeat(100));
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("all", &retry, &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let subjects: Vec<String> = (0..12).map(|n| format!("mail {n}")).collect();
    subjects.iter().for_each(|it| drop(world.receives(it)));
    let tried = || world.inbox.received().iter().map(|it| it.header("webhook-id").to_owned()).collect::<HashSet<_>>();
    until_so("eight mails that were tried", async || tried().len() >= 8).await;
    bridge.stop().await;

    let copied = tokio::process::Command::new(env!("CARGO_BIN_EXE_mailspan"))
        .args(["store", "copy", "--json", &world.database.url, &server.url])
        .output()
        .await
        .unwrap();
    assert!(copied.status.success(), "{copied:?}");
    let said: serde_json::Value = serde_json::from_slice(&copied.stdout).unwrap();
    assert!(said["rows"].as_u64().is_some_and(|it| it > 12), "{said}");

    world.inbox.usually_answers(crate::receiver::Answer::Status(200));
    let plan = plan.text("store", "url", &server.url);
    let bridge = Bridge::start(&plan).await;
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    world.inbox.until_has(&subjects).await;
    world.inbox.has_exactly(&subjects).await;
    bridge.stop().await;
}
