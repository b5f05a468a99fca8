//! Whole daemons behind a pooler that hands out sessions by transaction: mail comes in and answers go out as anywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::api::Api;
use crate::own_postgres::OwnPostgres;
use crate::story_replicas::replica;
use crate::world::*;
use crate::world_program::Program;

const MAILS: usize = 24;
const ANSWERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_in_transaction_mode_mail_comes_in_and_answers_go_out() {
    let Some(server) = OwnPostgres::start(&[]) else { return };
    let Some(pooler) = server.pooler("transaction") else { return };
    let world = World::at(&server.url()).await;
    let pooled = pooler.url("postgres");
    let plan = world.plan().route("in-order", "order = \"thread\"", &world.inbox);
    let plan = plan.text("telemetry", "log", "info").text("telemetry", "format", "json");
    // One is told, the other finds out.
    let told = plan.text("store", "url", &format!("{pooled}?pooler=transaction"));
    let other = replica(&told).text("store", "url", &pooled);
    let programs = [Program::start(&told, &world.path("told.toml")), Program::start(&other, &world.path("other.toml"))];
    for (plan, program) in [&told, &other].into_iter().zip(&programs) {
        plan.until_ready().await;
        program.until_says("A pooler in transaction mode stands before the database").await;
    }
    told.until_watching().await;
    other
        .until_check("replicas", "replicas", "both live", |it| it["living"].as_array().is_some_and(|it| it.len() == 2))
        .await;

    // A new mail each, and answers within one conversation.
    for n in 0..MAILS {
        let of = if n % 3 == 0 { "<long@customer.example>".to_owned() } else { format!("<own-{n}@customer.example>") };
        let head = format!(
            "From: Ann <ann@customer.example>\r\nTo: {SUPPORT}\r\nMessage-ID: <m{n}@customer.example>\r\nReferences: {of}"
        );
        // A second apart: within one, Graph tells no order.
        let at = world.tenant.now() + Duration::from_secs(u64::try_from(n).unwrap());
        world.tenant.receive_at(SUPPORT, written(&head, &format!("mail {n:02}")), at, false, "inbox");
        tokio::time::sleep(TURN).await;
    }
    let subjects: Vec<String> = (0..MAILS).flat_map(|n| vec![format!("mail {n:02}"); 2]).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    // Two debug builds behind six sessions may take their time for all of it.
    for share in 1..=6 {
        until_so("every mail at both routes", async || world.inbox.subjects().len() >= subjects.len() * share / 6)
            .await;
    }
    world.inbox.has_exactly(&subjects).await;
    let handed = world.inbox.accepted();
    let thread: Vec<&str> = handed
        .iter()
        .filter(|it| it.body["data"]["route"]["name"] == "in-order")
        .map(|it| it.subject.as_str())
        .filter(|it| it[5..].parse::<usize>().is_ok_and(|n| n % 3 == 0))
        .collect();
    assert!(thread.is_sorted() && thread.len() == MAILS / 3, "{thread:?}");

    // Answers are handed in through either daemon.
    let apis = [Api::of(&told).await, Api::of(&other).await];
    let by_subject: BTreeMap<&str, &Interaction> = handed.iter().map(|it| (it.subject.as_str(), it)).collect();
    for (n, interaction) in by_subject.values().take(ANSWERS).enumerate() {
        let answer =
            apis[n % 2].post(&format!("/interactions/{}/reply", interaction.id), json!({ "text": "Yes." })).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    for count in 1..=ANSWERS {
        until_so("every answer sent", async || world.tenant.sent_count() >= count).await;
    }
    until_so("every answer found sent", async || {
        world.number("SELECT COUNT(*) FROM submissions WHERE state <> 'sent'").await == 0
    })
    .await;
    until_so("every mail marked", async || {
        world.number("SELECT COUNT(*) FROM messages WHERE mark <> 'done'").await == 0
    })
    .await;
    let accepted = apis[0].found("/deliveries?state=accepted&limit=500").await;
    assert_eq!(accepted["items"].as_array().map(Vec::len), Some(2 * MAILS), "{accepted}");
    assert!(apis[1].found("/trace?q=mail+07").await.to_string().contains("mail 07"));

    for program in programs {
        let log = program.log();
        assert_eq!(program.terminate().await, Some(0));
        let bad: Vec<&String> = log.iter().filter(|it| it.contains("\"level\":\"ERROR\"")).collect();
        assert!(bad.is_empty(), "{bad:#?}");
        assert!(!log.iter().any(|it| it.contains("prepared statement")), "{log:#?}");
    }
    world.inbox.has_exactly(&subjects).await;
    assert_eq!(world.tenant.sent_count(), ANSWERS);
}
