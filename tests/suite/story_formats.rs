//! The formats of a webhook through the real bridge: a CloudEvent, and the mail itself with its facts as headers.

use serde_json::Value;

use crate::receiver::Answer;
use crate::world::{Bridge, Plan, SIGNING_SECRET, SUPPORT, World, mail, until_so};

fn plan(world: &World, format: &str) -> Plan {
    let destination = format!(
        "kind = \"webhook\"\nurl = \"{}\"\nsigning_secret = {SIGNING_SECRET:?}\nallow_private_networks = true\nformat = {format:?}",
        world.inbox.url
    );
    // Neither a restart nor a busy machine uses it up.
    let patient = format!("retry = [\"0s\", \"200ms\"{}]", ", \"1s\"".repeat(60));
    let route = format!("attributes = {{ queue = \"für alle\" }}\n{patient}");
    world.bare_plan().mailbox(SUPPORT, "").route_to("all", &route, &destination)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_event_carries_the_interaction_and_is_signed() {
    let world = World::new().await;
    world.inbox.will_answer([Answer::Status(500)]);
    let bridge = Bridge::start(&plan(&world, "cloudevents")).await;
    let id = world.receives("As an event");
    world.until_read(&id).await;
    let attempts = world.inbox.received();
    let verifier = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    for attempt in &attempts {
        verifier.verify(&attempt.body, &attempt.headers).unwrap();
        assert_eq!(attempt.header("content-type"), "application/cloudevents+json; charset=utf-8");
        assert_eq!(attempt.body, attempts[0].body);
    }
    let event: Value = serde_json::from_slice(&attempts[0].body).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["id"], attempts[0].header("webhook-id"));
    assert_eq!(event["id"], event["data"]["interactionId"]);
    assert_eq!(event["subject"], event["data"]["messageKey"]);
    assert_eq!(event["time"], event["data"]["message"]["receivedAt"]);
    assert_eq!(event["source"], format!("/tenants/contoso/mailboxes/{SUPPORT}"));
    assert_eq!(event["data"]["message"]["subject"], "As an event");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mail_itself_comes_with_its_facts_as_headers_and_is_signed() {
    let world = World::new().await;
    world.inbox.will_answer([Answer::Status(500)]);
    let bridge = Bridge::start(&plan(&world, "mime")).await;
    let mime = mail("As it is");
    let id = world.tenant.receive(SUPPORT, mime.clone());
    world.until_read(&id).await;
    let attempts = world.inbox.received();
    assert_eq!(attempts.len(), 2);
    let verifier = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    for (at, attempt) in attempts.iter().enumerate() {
        verifier.verify(&attempt.body, &attempt.headers).unwrap();
        assert_eq!(attempt.body, mime, "byte for byte");
        let sha256 = mailspan::model::ids::sha256_hex(&mime);
        for (name, value) in [
            ("content-type", "message/rfc822"),
            ("mailspan-attempt", &(at + 1).to_string()),
            ("mailspan-interaction-id", attempt.header("webhook-id")),
            ("mailspan-tenant", "contoso"),
            ("mailspan-mailbox", SUPPORT),
            ("mailspan-route", "all"),
            ("mailspan-matched-by", "default"),
            ("mailspan-fan-out-count", "1"),
            ("mailspan-raw-sha256", &sha256),
            ("mailspan-attributes", "queue=f%C3%BCr%20alle"),
        ] {
            assert_eq!(attempt.header(name), value, "{name}");
        }
        assert!(attempt.header("mailspan-message-key").starts_with("mk_"));
        assert!(!attempt.headers.contains_key("mailspan-matched-recipient"), "nothing matched by a recipient");
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_format_is_the_one_of_the_day_the_mail_was_accepted() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(500));
    let bridge = Bridge::start(&plan(&world, "cloudevents")).await;
    world.receives("Before the change");
    until_so("a first attempt", async || !world.inbox.received().is_empty()).await;
    bridge.stop().await;
    world.inbox.usually_answers(Answer::Status(200));
    let bridge = Bridge::start(&plan(&world, "mime")).await;
    until_so("it is accepted", async || world.inbox.received().iter().any(|it| it.accepted)).await;
    let attempts = world.inbox.received();
    for attempt in &attempts {
        assert_eq!(
            (&attempt.body, attempt.header("content-type")),
            (&attempts[0].body, attempts[0].header("content-type"))
        );
    }
    bridge.stop().await;
}
