//! Submissions over the API: taken over once whatever is repeated, taken back in time, and their state told as it is.

use std::time::Duration;

use mailspan_tenant::Refusing;
use serde_json::{Value, json};

use crate::office::{ANN, Office, letter};
use crate::world::{Bridge, SUPPORT, World, until_so};
use crate::world_program::Program;

async fn the_same_key_is_the_same_mail(office: Office) {
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    let first = plan.submit_as("/messages", "order-1", &letter("First")).await.unwrap().id();
    plan.until_state(&first, "sent", None).await;
    for _ in 0..2 {
        let again = plan.submit_as("/messages", "order-1", &letter("First")).await.unwrap();
        assert!((200..300).contains(&again.status), "{}", again.body);
        assert_eq!(again.body["id"], first.as_str());
    }
    let other = plan.submit_as("/messages", "order-2", &letter("First")).await.unwrap().id();
    assert_ne!(other, first);
    let reused = plan.submit_as("/messages", "order-1", &letter("Another")).await.unwrap();
    assert!(matches!(reused.status, 409 | 422), "{} {}", reused.status, reused.body);
    plan.until_state(&other, "sent", None).await;

    // At once, as impatient clients do: one of them is the first.
    let third = letter("Third");
    let impatient = || plan.submit_as("/messages", "order-3", &third);
    let (a, b, c, d) = tokio::join!(impatient(), impatient(), impatient(), impatient());
    // One that is asked to come again later is told no id.
    let told = [a, b, c, d].into_iter().filter_map(|it| it?.body["id"].as_str().map(str::to_owned));
    let ids: std::collections::BTreeSet<String> = told.collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    plan.until_state(ids.first().unwrap(), "sent", None).await;
    assert_eq!(office.sent(), [("First".to_owned(), 2), ("Third".to_owned(), 1)].into());
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_a_mail_and_another_content_under_it_is_refused() {
    the_same_key_is_the_same_mail(Office::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_a_mail_on_postgres_too() {
    let Some(world) = World::postgres().await else { return };
    the_same_key_is_the_same_mail(Office::of(world).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_a_mail_after_a_kill() {
    let office = Office::new().await;
    let plan = office.plan();
    let program = Program::start(&plan, &office.world.path("mailspan.toml"));
    plan.until_ready().await;
    let id = plan.submit_as("/messages", "order-1", &letter("Killed")).await.unwrap().id();
    program.kill().await;
    let program = Program::start(&plan, &office.world.path("mailspan.toml"));
    plan.until_ready().await;
    let again = plan.submit_as("/messages", "order-1", &letter("Killed")).await.unwrap();
    assert_eq!(again.body["id"], id.as_str());
    plan.until_state(&id, "sent", None).await;
    office.until_called(&id, "submission.sent").await;
    assert_eq!(office.sent(), [("Killed".to_owned(), 1)].into());
    assert_eq!(program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_for_later_waits_and_can_be_taken_back() {
    let office = Office::new().await;
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    let later = |subject: &str| {
        let mut later = letter(subject);
        later["send_at"] = (jiff::Timestamp::now() + Duration::from_secs(3600)).to_string().into();
        later
    };
    let (kept, back) = (plan.submit(&later("Kept")).await.id(), plan.submit(&later("Taken back")).await.id());
    let now = plan.submit(&letter("Now")).await.id();
    plan.until_state(&now, "sent", None).await;
    for id in [&kept, &back] {
        assert_eq!(plan.submission(id).await["state"], "queued");
    }
    let cancelled = plan.cancel(&back).await;
    assert!((200..300).contains(&cancelled.status), "{} {}", cancelled.status, cancelled.body);
    assert_eq!(plan.submission(&back).await["state"], "cancelled");
    assert_eq!(plan.cancel(&now).await.status, 409, "what was sent cannot be taken back");
    assert_eq!(plan.cancel("sub_00000000000000000000000000000000").await.status, 404);
    bridge.pass(Duration::from_secs(3601)).await;
    plan.until_state(&kept, "sent", None).await;
    assert_eq!(office.sent(), [("Kept".to_owned(), 1), ("Now".to_owned(), 1)].into());
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_taken_back_while_it_leaves_is_either_sent_or_cancelled() {
    let office = Office::new().await;
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    let mut ended = std::collections::BTreeMap::<&str, usize>::new();
    for number in 0..12_u64 {
        let subject = format!("Race {number}");
        let id = plan.submit(&letter(&subject)).await.id();
        tokio::time::sleep(Duration::from_millis(number % 10 * 3)).await;
        let state = match plan.cancel(&id).await.status {
            409 => "sent",
            _ => "cancelled",
        };
        plan.until_state(&id, state, None).await;
        *ended.entry(state).or_default() += 1;
        let left = office.world.tenant.sent().iter().filter(|it| it.subject == subject).count();
        assert_eq!(left, usize::from(state == "sent"), "{subject} is {state}");
    }
    // Whoever was told `cancelled` hears of no mail afterwards either.
    office.world.until_no_traffic().await;
    assert_eq!(office.world.tenant.sent_count(), ended.get("sent").copied().unwrap_or(0), "{ended:?}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_is_told_as_it_is_and_called_back() {
    let office = Office::new().await;
    let gone = "gone@customer.example";
    office.world.tenant.refuse_mail_to(gone, Refusing::new("5.1.1", "no such user"));
    let plan = office.plan_with("send = true\nsend_as = [\"campaign@contoso.example\"]");
    let bridge = Bridge::start(&plan).await;

    let mut mail = letter("Well");
    mail["metadata"] = json!({ "ticket": "4711" });
    let sent = plan.submit(&mail).await.id();
    let shown = plan.until_state(&sent, "sent", None).await;
    assert_eq!(shown["metadata"]["ticket"], "4711", "{shown}");
    office.until_called(&sent, "submission.sent").await;

    let mut mail = letter("Gone");
    mail["to"] = json!([ANN, gone]);
    let bounced = plan.submit(&mail).await.id();
    let shown = plan.until_state(&bounced, "bounced", None).await;
    assert!(shown.to_string().contains("5.1.1") && shown.to_string().contains(gone), "{shown}");
    office.until_called(&bounced, "submission.bounced").await;

    let mut mail = letter("Not allowed");
    mail["from"] = "campaign@contoso.example".into();
    let failed = plan.submit(&mail).await.id();
    let shown = plan.until_state(&failed, "failed", None).await;
    assert!(shown.to_string().to_lowercase().contains("send"), "{shown}");
    office.until_called(&failed, "submission.failed").await;
    office.world.tenant.grant_send_as(SUPPORT, "campaign@contoso.example");
    mail["subject"] = "Allowed".into();
    let allowed = plan.submit(&mail).await.id();
    plan.until_state(&allowed, "sent", None).await;
    assert_eq!(office.until_left("Allowed").await.from, "campaign@contoso.example");

    assert_eq!(office.sent(), [("Allowed", 1), ("Gone", 1), ("Well", 1)].map(|(a, b)| (a.to_owned(), b)).into());
    // The report is ours to understand, and no customer's mail.
    until_so("the report to be dealt with", async || office.world.tenant.unread(SUPPORT) == 0).await;
    assert!(office.world.inbox.accepted().is_empty(), "a report was delivered as mail");
    assert_eq!(office.called(&sent), ["submission.sent"]);
    assert_eq!(office.called(&failed), ["submission.failed"]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_before_it_is_taken_over() {
    let office = Office::new().await;
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    let with = |key: &str, value: Value| {
        let mut mail = letter("Refused");
        mail[key] = value;
        mail
    };
    for (wrong, why) in [
        (with("from", "stranger@elsewhere.example".into()), "a sender of nobody's"),
        (with("to", json!([])), "no recipient"),
        (with("to", json!(["not an address"])), "a malformed recipient"),
        (with("unknown", "x".into()), "an unknown member"),
        (with("attachments", json!([{ "name": "a", "type": "text/plain", "content": "no base64!" }])), "no base64"),
        (with("send_at", "tomorrow".into()), "no time"),
        (with("to", json!(["a\r\nBcc: b@x.example"])), "a line end in an address"),
        (with("headers", json!({ "Subject": "another" })), "a field that is ours"),
    ] {
        let said = plan.submit(&wrong).await;
        assert!((400..500).contains(&said.status), "{why}: {} {}", said.status, said.body);
        assert!(said.body["title"].is_string(), "{why}: {}", said.body);
    }
    assert_eq!(office.world.number("SELECT COUNT(*) FROM submissions").await, 0);
    assert_eq!(office.world.tenant.sent_count(), 0);
    bridge.stop().await;
}
