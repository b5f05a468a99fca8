//! Somebody hands in a mail over HTTP: what was accepted is on disk, can be asked for and taken back; what was not says why.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::world::{Bridge, Plan, SUPPORT, World};

const LATER: &str = "2100-01-01T00:00:00Z";

/// A mail that is to leave in a while, so that it stays where it is.
fn mail() -> Value {
    json!({
        "from": format!("Support <{SUPPORT}>"), "to": ["Ann <ann@customer.example>", { "name": "Bob", "email": "bob@customer.example" }],
        "cc": ["eve@customer.example"], "bcc": ["boss@contoso.example"], "subject": "Your order", "text": "It is on its way.",
        "metadata": { "order": 4711 },
    })
}

fn in_an_hour() -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    at.to_string()
}

fn with(mut mail: Value, name: &str, value: Value) -> Value {
    mail[name] = value;
    mail
}

async fn handed_in(api: &Api, mail: &Value, key: &str) -> Answer {
    let fields = [("content-type", "application/json"), ("idempotency-key", key)];
    api.request(Method::POST, "/messages", &fields, mail.to_string()).await
}

/// The places that are wrong, and the problem's name.
fn places(answer: &Answer) -> (String, Vec<String>) {
    let name = answer.body["type"].as_str().unwrap().trim_start_matches("urn:mailspan:problem:").to_owned();
    let problems = answer.body["problems"].as_array().into_iter().flatten();
    (name, problems.map(|it| it["field"].as_str().unwrap().to_owned()).collect())
}

async fn bridge(plan: &Plan) -> (Bridge, Api) {
    let bridge = Bridge::start(plan).await;
    (bridge, Api::of(plan).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_taken_over_shown_and_taken_back() {
    let world = World::new().await;
    let (bridge, api) = bridge(&world.plan()).await;
    let answer = api.post("/messages", with(mail(), "send_at", in_an_hour().into())).await;
    assert_eq!(
        (answer.status, &answer.body["state"], &answer.body["repeated"]),
        (202, &json!("queued"), &json!(false))
    );
    let id = answer.body["id"].as_str().unwrap();
    assert!(id.starts_with("sub_") && id.len() == 36, "{id}");
    let place = answer.headers["location"].to_str().unwrap();
    assert_eq!(place, format!("/api/v1/messages/{id}"));

    let shown = api.found(&format!("/messages/{id}")).await;
    assert_eq!(shown["to"][1], json!({ "name": "Bob", "email": "bob@customer.example" }));
    assert_eq!(
        (&shown["bcc"][0]["email"], &shown["metadata"]),
        (&json!("boss@contoso.example"), &json!({ "order": 4711 }))
    );
    assert_eq!((&shown["recipients"], &shown["subject"]), (&json!(4), &json!("Your order")));
    assert_eq!((&shown["mailbox"], &shown["origin"]), (&json!(format!("contoso/{SUPPORT}")), &json!("api")));
    assert!(shown["internet_message_id"].as_str().unwrap().starts_with(id), "{shown}");
    assert!(shown["next_attempt_at"].is_string() && shown["ended_at"].is_null(), "{shown}");

    let other = api.post("/messages", with(mail(), "send_at", in_an_hour().into())).await.body["id"].clone();
    let page = api.found(&format!("/messages?state=queued&mailbox={SUPPORT}&since=1h&limit=1")).await;
    assert_eq!(page["items"][0]["id"], other, "the latest first");
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = api.found(&format!("/messages?limit=1&cursor={cursor}")).await;
    assert_eq!((&page["items"][0]["id"], &page["next_cursor"]), (&json!(id), &Value::Null));
    assert_eq!(api.found("/messages?state=sent").await["items"], json!([]));
    assert_eq!(api.found("/messages?until=1h").await["items"], json!([]));

    for _ in 0..2 {
        let answer = api.delete(&format!("/messages/{id}")).await;
        assert_eq!((answer.status, &answer.body["state"]), (200, &json!("cancelled")));
    }
    let shown = api.found(&format!("/messages/{id}")).await;
    assert!(shown["state"] == "cancelled" && shown["ended_at"].is_string() && shown["next_attempt_at"].is_null());
    assert_eq!(api.delete("/messages/sub_none").await.status, 404);
    assert_eq!(api.get("/messages/sub_none").await.status, 404);
    assert_eq!(api.get("/messages?state=lost").await.status, 400);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_mail_under_the_same_key_is_one_mail() {
    let world = World::new().await;
    let tokens = ["ops", "crm"].map(|name| {
        format!(
            "[[api_tokens]]\nname = \"{name}\"\ntoken = \"{name}-0123456789abcdef\"\nscopes = [\"read\", \"send\"]\n"
        )
    });
    let plan = world.plan().more(&tokens.concat());
    let (bridge, api) = bridge(&plan).await;
    let (ops, crm) = (api.with("ops-0123456789abcdef"), api.with("crm-0123456789abcdef"));
    let mail = with(mail(), "send_at", in_an_hour().into());
    let first = handed_in(&ops, &mail, "order-4711").await;
    assert_eq!((first.status, &first.body["repeated"]), (202, &json!(false)));
    for key in ["order-4711", "\"order-4711\""] {
        let again = handed_in(&ops, &mail, key).await;
        assert_eq!((again.status, &again.body["repeated"]), (202, &json!(true)));
        assert_eq!((&again.body["id"], &again.headers["location"]), (&first.body["id"], &first.headers["location"]));
    }
    let other = handed_in(&ops, &with(mail.clone(), "text", "It is late.".into()), "order-4711").await;
    assert_eq!((other.status, places(&other).0.as_str()), (422, "idempotency-key-reused"));
    let theirs = handed_in(&crm, &mail, "order-4711").await;
    assert_eq!(theirs.body["repeated"], false, "a key is its submitter's own");
    assert_eq!(world.number("SELECT COUNT(*) FROM submissions").await, 2);
    assert_eq!(ops.found(&format!("/messages/{}", first.body["id"].as_str().unwrap())).await["submitted_by"], "ops");

    // At once, as clients do that lost an answer.
    let all = futures_util::future::join_all((0..8).map(|_| handed_in(&ops, &mail, "at-once"))).await;
    assert!(all.iter().all(|it| it.status == 202 && it.body["id"] == all[0].body["id"]));
    assert_eq!(all.iter().filter(|it| it.body["repeated"] == false).count(), 1);
    let tokenless =
        api.request(Method::POST, "/messages", &[("content-type", "application/json")], mail.to_string()).await;
    assert_eq!(tokenless.status, 401);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_with_every_reason() {
    let world = World::new().await;
    let plan = world.plan().text("outbound", "max_message_size", "1MiB");
    let (bridge, api) = bridge(&plan).await;
    let file = |content: &str| json!([{ "name": "a.txt", "content": content }]);
    // what is sent, the status, the problem, the places
    let cases: Vec<(Value, u16, &str, Vec<&str>)> = vec![
        (json!({}), 422, "mail-refused", vec!["from", "to"]),
        (json!([]), 422, "mail-refused", vec![""]),
        (with(mail(), "from", "nobody@elsewhere.example".into()), 422, "no-sender", vec!["from"]),
        (with(mail(), "attachments", file("no base64!")), 422, "mail-refused", vec!["attachments[0].content"]),
        (
            with(mail(), "attachments", json!([{}])),
            422,
            "mail-refused",
            vec!["attachments[0].name", "attachments[0].content"],
        ),
        (with(mail(), "to", json!(["a b@x.org"])), 422, "mail-refused", vec!["to[0]"]),
        (with(mail(), "recipient", json!("a@x.org")), 422, "mail-refused", vec!["recipient"]),
        (with(mail(), "subject", "a\r\nBcc: b@x.org".into()), 422, "mail-refused", vec!["subject"]),
        (with(mail(), "send_at", "soon".into()), 422, "mail-refused", vec!["send_at"]),
        (with(mail(), "send_at", LATER.into()), 422, "mail-refused", vec!["send_at"]),
        (with(mail(), "headers", json!({ "Received": "x" })), 422, "mail-refused", vec!["headers.Received"]),
        (with(mail(), "metadata", json!({ "a": "x".repeat(20_000) })), 422, "mail-refused", vec!["metadata"]),
        (with(mail(), "attachments", file(&"QUFB".repeat(300_000))), 413, "too-large", vec![]),
    ];
    for (body, status, name, fields) in cases {
        let answer = api.post("/messages", body.clone()).await;
        let shown: String = body.to_string().chars().take(200).collect();
        assert_eq!(
            (answer.status, places(&answer)),
            (status, (name.into(), fields.into_iter().map(Into::into).collect())),
            "{shown}"
        );
    }
    let json = [("content-type", "application/json")];
    for (path, fields, body, status, name) in [
        ("/messages", &json[..], "{\"from\": ", 400, "bad-body"),
        ("/messages", &json, "{}{}", 400, "bad-body"),
        ("/messages", &json, "", 400, "bad-body"),
        ("/messages", &[("content-type", "text/plain")], "Hello", 415, "unsupported-type"),
        ("/messages", &[], "Hello", 415, "unsupported-type"),
        ("/messages?send_at=2026-11-21T18:00:00Z", &json, "{}", 400, "bad-query"),
        ("/messages?from=nobody", &[("content-type", "message/rfc822")], "Hello", 400, "bad-query"),
        (
            "/messages",
            &[("content-type", "application/json"), ("idempotency-key", "")],
            "{}",
            400,
            "bad-idempotency-key",
        ),
    ] {
        let answer = api.request(Method::POST, path, fields, body).await;
        assert_eq!((answer.status, places(&answer).0.as_str()), (status, name), "{path} {fields:?} {body}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM submissions").await, 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM submission_pieces").await, 0, "what is refused leaves nothing");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_mail_is_taken_as_it_is() {
    let world = World::new().await;
    let (bridge, api) = bridge(&world.plan()).await;
    let mail = format!(
        "From: Support <{SUPPORT}>\r\nTo: Ann <ann@customer.example>\r\nBcc: boss@contoso.example\r\nSubject: As it is\r\n\
         Message-ID: <own@contoso.example>\r\nX-Campaign: 7\r\n\r\nHello,\nthis line ends as it likes.\n"
    );
    let raw = [("content-type", "message/rfc822")];
    let path = format!("/messages?send_at={}", in_an_hour());
    let answer = api.request(Method::POST, &path, &raw, mail.clone()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let shown = api.found(&format!("/messages/{}", answer.body["id"].as_str().unwrap())).await;
    assert_eq!((&shown["subject"], &shown["to"][0]["email"]), (&json!("As it is"), &json!("ann@customer.example")));
    assert_eq!((&shown["recipients"], &shown["internet_message_id"]), (&json!(2), &json!("own@contoso.example")));

    let path =
        format!("{path}&from={SUPPORT}&to=one@customer.example&to=two@customer.example&save_to_sent_items=false");
    let answer = api.request(Method::POST, &path, &raw, mail.clone()).await;
    let shown = api.found(&format!("/messages/{}", answer.body["id"].as_str().unwrap())).await;
    assert_eq!(shown["recipients"], 2);
    assert_eq!(world.number("SELECT COUNT(*) FROM submissions WHERE save_copy = 0").await, 1);

    let fields = [("content-type", "message/rfc822"), ("idempotency-key", "raw-1")];
    let first = api.request(Method::POST, &path, &fields, mail.clone()).await;
    let again = api.request(Method::POST, &path, &fields, mail.clone()).await;
    assert_eq!((&first.body["id"], &again.body["repeated"]), (&again.body["id"], &json!(true)));
    let elsewhere = mail.replace(SUPPORT, "nobody@elsewhere.example");
    let refused = api.request(Method::POST, "/messages", &raw, elsewhere).await;
    assert_eq!((refused.status, places(&refused)), (422, ("no-sender".into(), vec!["from".into()])));
    let refused = api.request(Method::POST, "/messages?from=boss@contoso.example", &raw, mail.clone()).await;
    assert_eq!((refused.status, places(&refused)), (422, ("mail-refused".into(), vec!["from".into()])));
    let refused = api.request(Method::POST, "/messages", &raw, "no mail at all").await;
    assert_eq!((refused.status, places(&refused).0.as_str()), (422, "mail-refused"));
    bridge.stop().await;
}
