//! Where is my mail? Whatever somebody remembers of it leads to its whole journey.

use serde_json::Value;

use crate::api::Api;
use crate::receiver::Answer;
use crate::world::{Bridge, Inbox, SUPPORT, World, until, until_so};

/// A text as a query carries it.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// What a trace of this text answers.
async fn traced(api: &Api, text: &str) -> Value {
    api.found(&format!("/trace?q={}", encoded(text))).await
}

/// The one message that a text leads to.
async fn only(api: &Api, text: &str) -> Value {
    let trace = traced(api, text).await;
    let messages = trace["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1, "{text} leads to {trace}");
    messages[0].clone()
}

/// The steps, without the attempts that failed.
fn steps(message: &Value) -> Vec<&str> {
    let steps = message["steps"].as_array().unwrap();
    steps.iter().map(|it| it["what"].as_str().unwrap()).filter(|it| *it != "failed").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_mail_is_found_by_anything_that_is_known_of_it() {
    let world = World::new().await;
    let archive = Inbox::start().await;
    let plan = world.plan().route("archive", "", &archive);
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let id = world.receives("Über Rechnung 4711 / 100% \"fertig\"");
    world.until_read(&id).await;
    until_so("the mark is written", async || {
        world.number("SELECT COUNT(*) FROM messages WHERE mark = 'done'").await == 1
    })
    .await;
    let message = only(&api, "rechnung 4711").await;
    assert_eq!((&message["state"], &message["kind"]), (&"delivered".into(), &"human".into()), "{message}");
    assert_eq!(message["mailbox"], format!("contoso/{SUPPORT}"));
    assert_eq!(message["subject"], "Über Rechnung 4711 / 100% \"fertig\"");
    assert_eq!(steps(&message), ["received", "found", "stored", "accepted", "accepted", "marked"], "{message}");
    assert!(message["thread_id"].is_string() && message["size"].as_u64().unwrap() > 100);
    let deliveries = message["deliveries"].as_array().unwrap();
    assert!(deliveries.iter().all(|it| it["state"] == "accepted" && it["last_error"].is_null()), "{message}");

    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let message_id = text(&message["internet_message_id"]);
    for known in [
        message_id.trim_matches(['<', '>']).to_owned(),
        text(&message["message_key"]),
        text(&message["immutable_id"]),
        text(&deliveries[0]["interaction_id"]),
        text(&deliveries[1]["interaction_id"]),
        format!("  {message_id} "),
        "ÜBER".into(),
        "100% \"fertig".into(),
        "4711 / 100%".into(),
    ] {
        assert_eq!(only(&api, &known).await["immutable_id"], message["immutable_id"], "{known}");
    }
    for unknown in ["Rechnung 4712", "%", "_", "'; DROP TABLE messages; --", "a@nowhere.example"] {
        let trace = traced(&api, unknown).await;
        let found = trace["messages"].as_array().unwrap().len();
        assert_eq!(found, usize::from(unknown == "%"), "{unknown}");
        assert!(found == 1 || trace["hint"].as_str().unwrap().contains("mailspan audit"), "{trace}");
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_did_not_arrive_says_where_it_stands_and_why() {
    let world = World::new().await;
    let failing = Inbox::start().await;
    failing.usually_answers(Answer::Status(503));
    let plan = world.bare_plan().mailbox(SUPPORT, "");
    let plan = plan.route("failing", "retry = [\"0s\"]\nsubject = \"Refused\"", &failing);
    let plan = plan.route("slow", "retry = [\"0s\", \"6h\"]\nsubject = \"Late\"", &failing);
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    for subject in ["Refused", "Late", "For nobody"] {
        world.receives(subject);
    }
    let so = async |subject: &str, state: &str| {
        let what = format!("{subject} is {state}");
        until(&what, async || Some(only(&api, subject).await).filter(|it| it["state"] == state)).await
    };
    until_so("all are found", async || world.number("SELECT COUNT(*) FROM messages").await == 3).await;

    let refused = so("Refused", "parked").await;
    assert_eq!(steps(&refused), ["received", "found", "stored", "parked"], "{refused}");
    let parked = refused["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(parked["route"], "failing");
    assert!(parked["detail"].as_str().unwrap().contains("503"), "{refused}");
    assert_eq!(refused["deliveries"][0]["state"], "parked");

    until_so("one failed attempt", async || only(&api, "Late").await["deliveries"][0]["state"] == "retrying").await;
    let late = so("Late", "pending").await;
    let delivery = &late["deliveries"][0];
    assert!(delivery["next_attempt_at"].is_string() && delivery["attempts"] == 1, "{late}");
    assert!(delivery["last_error"].as_str().unwrap().contains("503"), "{late}");

    let unmatched = so("For nobody", "parked").await;
    assert_eq!(steps(&unmatched), ["received", "found", "parked"], "{unmatched}");
    let parked = unmatched["steps"].as_array().unwrap().last().unwrap();
    assert!(parked["detail"].as_str().unwrap().contains("no route takes"), "{unmatched}");
    bridge.stop().await;

    let bridge = Bridge::start(&plan.text("routing", "unmatched", "ignore")).await;
    world.receives("Nobody either");
    until_so("it is found", async || world.number("SELECT COUNT(*) FROM messages").await == 4).await;
    let what = "the mail is filtered";
    let filtered = until(what, async || Some(only(&api, "either").await).filter(|it| it["state"] == "filtered")).await;
    assert_eq!(steps(&filtered), ["received", "found", "filtered"], "{filtered}");
    assert_eq!(filtered["steps"][2]["detail"], "no route takes it");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_for_is_answered_or_refused_and_never_fails() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    world.receives("Re: a/b?c&d=e #1 100% 'quoted' \"twice\" \\ back");
    until_so("it is found", async || world.number("SELECT COUNT(*) FROM messages").await == 1).await;
    for part in ["a/b?c&d=e", "#1", "100% '", "\"TWICE\"", "\\ back", "a/b?c&d=e  #1"] {
        only(&api, part).await;
    }
    let long = |length: usize| format!("/trace?q={}", "x".repeat(length));
    for (path, status) in [
        ("/trace", 400),
        ("/trace?q=", 400),
        ("/trace?q=%20%09", 400),
        ("/trace?q=%ff", 200),
        ("/trace?q=%00", 200),
        ("/trace?q=%3C%3E", 200),
        ("/trace?q=a&q=b", 400),
        ("/trace?q=a&limit=0", 400),
        ("/trace?q=a&since=soon", 400),
        ("/trace?q=a&colour=red", 400),
        (long(998).as_str(), 200),
        (long(999).as_str(), 400),
        (long(5_000).as_str(), 400),
        ("/trace?q=quoted&since=999999d&limit=1", 200),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, status, "{path:.60}: {}", answer.body);
    }
    assert!(traced(&api, "1 hour from now").await["messages"].as_array().unwrap().is_empty());
    let later = api.found("/trace?q=quoted&since=2999-01-01T00:00:00Z").await;
    assert!(later["messages"].as_array().unwrap().is_empty(), "{later}");
    bridge.stop().await;
}
