//! An agent answers a mail that was delivered: to whom, about what and in which conversation is taken from the mail, also
//! when its content is long gone.

use mailspan_tenant::MessageId;
use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::world::{Bridge, Interaction, SUPPORT, World, until, until_so, written};

fn in_an_hour() -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string()
}

/// A mail of Ann's to support and others, in the middle of a conversation.
fn letter(subject: &str, more: &str) -> Vec<u8> {
    let head = format!(
        "From: Ann <ann@customer.example>\r\nTo: Support <{SUPPORT}>, bob@customer.example\r\nCc: Eve <eve@customer.example>\r\n\
         Message-ID: <third@customer.example>\r\nIn-Reply-To: <second@customer.example>\r\n\
         References: <first@customer.example> <second@customer.example>{more}"
    );
    written(&head, subject)
}

async fn received(world: &World, subject: &str, more: &str) -> (MessageId, Interaction) {
    let id = world.tenant.receive(SUPPORT, letter(subject, more));
    world.inbox.until_has(&[subject]).await;
    let found = world.inbox.accepted().into_iter().find(|it| it.subject == subject).unwrap();
    (id, found)
}

async fn replied(api: &Api, interaction: &Interaction, mut reply: Value) -> Answer {
    reply["send_at"] = in_an_hour().into();
    api.post(&format!("/interactions/{}/reply", interaction.id), reply).await
}

async fn shown(api: &Api, answer: &Answer) -> Value {
    assert_eq!(answer.status, 202, "{}", answer.body);
    api.found(&format!("/messages/{}", answer.body["id"].as_str().unwrap())).await
}

fn emails(people: &Value) -> Vec<&str> {
    people.as_array().unwrap().iter().map(|it| it["email"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_takes_from_the_mail_what_is_left_out() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let (_, interaction) = received(&world, "AW: Invoice 4711", "").await;
    let thread = &interaction.body["data"]["thread"]["threadId"];

    let message = shown(&api, &replied(&api, &interaction, json!({ "text": "Found it." })).await).await;
    assert_eq!((&message["origin"], &message["subject"]), (&json!("reply"), &json!("Re: Invoice 4711")));
    assert_eq!((&message["from"]["email"], emails(&message["to"])), (&json!(SUPPORT), vec!["ann@customer.example"]));
    assert_eq!((&message["in_reply_to"], &message["thread_id"]), (&json!(["third@customer.example"]), thread));
    assert_eq!(message["cc"], json!([]));
    let told = world.texts("SELECT told FROM submissions").await;
    let told: Value = serde_json::from_str(&told[0]).unwrap();
    let chain = json!(["first@customer.example", "second@customer.example", "third@customer.example"]);
    assert_eq!(told["references"], chain);

    let all = json!({ "html": "<p>Found it.", "reply_all": true, "cc": ["boss@contoso.example"], "subject": "Paid" });
    let message = shown(&api, &replied(&api, &interaction, all).await).await;
    assert_eq!(emails(&message["to"]), ["ann@customer.example"]);
    assert_eq!(emails(&message["cc"]), ["boss@contoso.example", "bob@customer.example", "eve@customer.example"]);
    assert_eq!(message["subject"], "Paid");

    let wrong = replied(&api, &interaction, json!({ "in_reply_to": "x@y", "to": [] })).await;
    let fields: Vec<&str> =
        wrong.body["problems"].as_array().unwrap().iter().map(|it| it["field"].as_str().unwrap()).collect();
    assert_eq!((wrong.status, fields), (422, vec!["in_reply_to", "to"]));
    assert_eq!(api.post("/interactions/ix_none/reply", json!({})).await.status, 404);
    assert_eq!(api.post(&format!("/interactions/{}/reply?to=x", interaction.id), json!({})).await.status, 400);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_can_be_answered_when_its_content_is_gone() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let (id, interaction) = received(&world, "Invoice 4711", "").await;
    world.until_read(&id).await;
    let before = shown(&api, &replied(&api, &interaction, json!({ "reply_all": true })).await).await;
    // What is not marked keeps its content, and is tidied no sooner than a minute later.
    until_so("the mark written down", async || {
        world.number("SELECT COUNT(*) FROM messages WHERE mark = 'done'").await == 1
    })
    .await;
    bridge.pass(std::time::Duration::from_secs(7200)).await;
    until_so("a store without content", async || world.number("SELECT COUNT(*) FROM contents").await == 0).await;
    let answer = api.post(&format!("/interactions/{}/reply", interaction.id), json!({ "reply_all": true })).await;
    let after = shown(&api, &answer).await;
    for name in ["from", "to", "cc", "subject", "in_reply_to", "thread_id"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_program_answers_a_mail_that_wants_no_automatic_answer() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let (_, person) = received(&world, "From a person", "").await;
    let (_, program) = received(&world, "From a program", "\r\nAuto-Submitted: auto-replied").await;
    let automatic = json!({ "text": "We got your mail.", "auto_submitted": "auto-replied" });
    assert_eq!(replied(&api, &person, automatic.clone()).await.status, 202);
    let refused = replied(&api, &program, automatic).await;
    assert_eq!((refused.status, &refused.body["type"]), (409, &json!("urn:mailspan:problem:no-automatic-reply")));
    assert_eq!(replied(&api, &program, json!({ "text": "A person reads this." })).await.status, 202);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_leaves_once_and_stands_in_the_conversation() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let (_, interaction) = received(&world, "Invoice 4711", "").await;
    let reply = json!({ "text": "Found it.", "html": "<p>Found it. <img src=\"cid:logo\">", "auto_submitted": "auto-replied",
        "attachments": [{ "name": "logo.png", "type": "image/png", "content": "iVBORw0KGgo=", "cid": "logo" }] });
    let answer = api.post(&format!("/interactions/{}/reply", interaction.id), reply).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let path = format!("/messages/{}", answer.body["id"].as_str().unwrap());
    let message = until("a reply that was sent", async || {
        let message = api.found(&path).await;
        (message["state"] == "sent").then_some(message)
    })
    .await;
    assert!(message["sent_at"].is_string() && message["reason"].is_null(), "{message}");
    let [sent] = &world.tenant.sent()[..] else { panic!("one mail left") };
    assert_eq!(
        (sent.recipients.as_slice(), sent.subject.as_str()),
        (&["ann@customer.example".to_owned()][..], "Re: Invoice 4711")
    );
    let mime = String::from_utf8_lossy(&sent.mime);
    for field in
        ["third@customer.example", "first@customer.example", "X-Auto-Response-Suppress: All", "Content-ID: <logo>"]
    {
        assert!(mime.contains(field), "{field} in {mime}");
    }
    assert_eq!(api.delete(&path).await.status, 409, "too late");
    bridge.stop().await;
}
