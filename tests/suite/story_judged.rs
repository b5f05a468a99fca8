//! What the bridge sends, judged by others: the public libraries of Standard Webhooks and CloudEvents, and the models in
//! the vendors' own SDKs. Each judge is shown something bad as well, and must say so.

use std::path::Path;

use serde_json::{Value, json};

use crate::connect::{ADDRESS, SECRET_KEY};
use crate::genesys::Genesys;
use crate::judges::{Judge, body, case, instead};
use crate::receiver::{Answer, Received, Receiver};
use crate::story_genesys::link;
use crate::world::{Bridge, Plan, SIGNING_SECRET, SUPPORT, World, until_so};

/// Every mail of the fixtures and a thread of three, to these routes. Returns why deliveries were parked.
async fn delivered(world: &World, plan: &Plan) -> Vec<String> {
    let mut mails: Vec<Vec<u8>> = (0..3).map(link).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mail");
    for entry in std::fs::read_dir(folder).unwrap() {
        mails.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(mails.len() > 15, "the fixtures are where they were");
    let bridge = Bridge::start(plan).await;
    let all = mails.len();
    for mail in mails {
        world.tenant.receive(SUPPORT, mail);
    }
    let stored = "SELECT COUNT(*) FROM messages WHERE state IN ('accepted', 'delivered')";
    let left = "SELECT COUNT(*) FROM jobs WHERE kind = 'deliver' AND parked_at IS NULL";
    until_so("all mails handed over or parked", async || {
        usize::try_from(world.number(stored).await).unwrap() == all && world.number(left).await == 0
    })
    .await;
    bridge.stop().await;
    world.texts("SELECT last_error FROM jobs WHERE parked_at IS NOT NULL").await
}

fn webhook(url: &str, more: &str) -> String {
    format!(
        "kind = \"webhook\"\nurl = \"{url}\"\nsigning_secret = {SIGNING_SECRET:?}\nallow_private_networks = true\n{more}"
    )
}

fn base(received: &Receiver) -> String {
    received.url.origin().ascii_serialization()
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_accepted_by_the_public_libraries_and_events_by_the_public_sdk() {
    let Some(python) = Judge::python() else { return };
    let world = World::new().await;
    let events = Receiver::start().await;
    world.inbox.will_answer([Answer::Status(503)]);
    let plan = world.plan().route_to("events", "", &webhook(events.url.as_str(), "format = \"cloudevents\""));
    let parked = delivered(&world, &plan).await;
    assert!(parked.is_empty(), "{parked:?}");

    let secret = json!({ "secret": SIGNING_SECRET });
    let signed = |it: &Received| case("standard_webhook", it, "http://x", &secret);
    let mut cases: Vec<Value> = world.inbox.received().iter().map(signed).collect();
    cases.extend(events.received().iter().map(signed));
    python.accepts(&cases);
    let tampered = instead(&cases[0], &json!({ "type": "interaction.email.received" }));
    assert!(python.blames(&tampered));
    let mut stolen = cases[0].clone();
    // The second attempt of a mail has the id of its first.
    let ids = cases.iter().map(|it| &it["headers"]["webhook-id"]);
    stolen["headers"]["webhook-id"] = ids.clone().find(|it| Some(*it) != ids.clone().next()).unwrap().clone();
    assert!(python.blames(&stolen));
    if let Some(javascript) = Judge::javascript() {
        javascript.accepts(&cases);
        assert!(javascript.blames(&tampered) && javascript.blames(&stolen));
    }

    let events: Vec<Value> =
        events.received().iter().map(|it| case("cloud_event", it, "http://x", &json!({}))).collect();
    python.accepts(&events);
    let mut nameless = body(&events[0]);
    nameless.as_object_mut().unwrap().remove("id");
    assert!(python.blames(&instead(&events[0], &nameless)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_genesys_gets_is_what_the_models_of_its_own_sdk_name() {
    let Some(python) = Judge::python() else { return };
    let world = World::new().await;
    let genesys = Genesys::start().await;
    let plan = world.bare_plan().text("server", "content_url", "https://bridge.example").mailbox(SUPPORT, "");
    let more = "priority = 5\nskill_ids = ['2c1d2e3f-4a5b-4d6e-8a55-9a7e1c524f0b']";
    let plan = plan.route_to("genesys", "attributes = { brand = 'acme' }", &genesys.section(more));
    let parked = delivered(&world, &plan).await;
    assert!(parked.is_empty(), "{parked:?}");

    let judged = |model: &str, message: &Value| {
        let bare = json!({ "as": "genesys", "model": model });
        instead(&bare, message)
    };
    let conversations = genesys.conversations();
    let made = conversations.iter().map(|it| judged("CreateEmailRequest", &it.messages[0]));
    let followed = conversations.iter().flat_map(|it| &it.messages[1..]).map(|it| judged("InboundMessageRequest", it));
    let mut cases: Vec<_> = made.chain(followed).collect();
    let good = cases.len();
    let first = cases[0].clone();
    assert!(cases.iter().any(|it| it["model"] == "InboundMessageRequest"));
    assert_eq!(body(&first)["direction"], "INBOUND");
    let wrong = [
        ("direction", json!("SIDEWAYS")),
        ("priority", json!("5")),
        ("attributes", json!({ "brand": 1 })),
        ("bodyHtml", json!("")),
    ];
    for (key, wrong) in &wrong {
        let mut message = body(&first);
        message[key] = wrong.clone();
        cases.push(instead(&first, &message));
    }
    // All at once: reading its SDK takes Python seconds.
    for (n, blamed) in python.judge(&cases).into_iter().enumerate() {
        assert_eq!(blamed.is_empty(), n < good, "{n}: {blamed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_amazon_connect_gets_is_what_the_model_of_its_own_sdk_names_and_signed_as_that_signs() {
    let Some(python) = Judge::python() else { return };
    let world = World::new().await;
    let connect = Receiver::start().await;
    connect.usually_answers(Answer::Says(200, json!({ "ContactId": "contact-1" }).to_string()));
    let plan = world.bare_plan().text("server", "content_url", "https://bridge.example").mailbox(SUPPORT, "");
    let section = crate::connect::section(&base(&connect), "");
    let plan = plan.route_to("connect", "attributes = { brand = 'acme' }", &section);
    let parked = delivered(&world, &plan).await;
    assert_eq!(parked, ["it has no sender, and Amazon Connect takes no mail without"; 2]);

    let key = json!({ "secret": SECRET_KEY, "region": "eu-central-1" });
    let calls: Vec<Value> = connect.received().iter().map(|it| case("connect", it, &base(&connect), &key)).collect();
    python.accepts(&calls);
    assert_eq!(body(&calls[0])["DestinationEmailAddress"], ADDRESS);
    let mut forged = calls[0].clone();
    forged["secret"] = "another".into();
    assert!(python.blames(&forged), "another key signs otherwise");
    let first = body(&calls[0]);
    for (at, wrong) in [
        ("/EmailMessage/MessageSourceType", json!("COOKED")),
        ("/EmailMessage/RawMessage/Subject", json!("x".repeat(999))),
        ("/ClientToken", json!("x".repeat(501))),
        ("/FromEmailAddress", json!({})),
    ] {
        let mut call = first.clone();
        *call.pointer_mut(at).unwrap() = wrong;
        let blamed = python.judge(&[instead(&calls[0], &call)]).remove(0);
        assert!(blamed.iter().any(|it| !it.contains("signature")), "{at}: {blamed:?}");
    }
}
