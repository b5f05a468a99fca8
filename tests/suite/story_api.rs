//! The frame of the API: who is let in, what a refusal looks like, and that the document tells the truth.

use serde_json::{Value, json};

use crate::api::Api;
use crate::world::{Bridge, SUPPORT, World, client};

const READER: &str = "reader-0123456789abcdef";
const OPERATOR: &str = "operator-0123456789abcdef";

fn tokens() -> String {
    format!(
        "\n[[api_tokens]]\nname = \"reader\"\ntoken = {READER:?}\nscopes = [\"read\"]\n\
         \n[[api_tokens]]\nname = \"ops\"\ntoken = {OPERATOR:?}\nscopes = [\"read\", \"operate\"]\n"
    )
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_say() {
    let world = World::new().await;
    let plan = world.plan().more(&tokens());
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let sync = format!("/mailboxes/{SUPPORT}/sync");

    let none = api.get("/routes").await;
    assert_eq!((none.status, none.body["type"].as_str()), (401, Some("urn:mailspan:problem:token-needed")));
    assert_eq!(none.headers["www-authenticate"], "Bearer realm=\"mailspan\"");
    let wrong = api.with("operator-0123456789abcdeX").get("/routes").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));

    let reader = api.with(READER);
    assert_eq!(reader.found("/routes").await["items"][0]["name"], "all");
    let refused = reader.post(&sync, json!({})).await;
    assert_eq!((refused.status, refused.body["type"].as_str()), (403, Some("urn:mailspan:problem:scope-missing")));
    assert!(refused.headers["www-authenticate"].to_str().unwrap().contains("scope=\"operate\""));
    assert_eq!(api.with(OPERATOR).post(&sync, json!({})).await.status, 202);

    // Content is to be had by a token as well, and no longer by standing at the machine.
    world.receives("Invoice 4711");
    let id = world.inbox.until_has(&["Invoice 4711"]).await[0].id.clone();
    assert_eq!(api.get(&format!("/interactions/{id}")).await.status, 401);
    let found = reader.found(&format!("/interactions/{id}")).await;
    assert_eq!(found["data"]["interactionId"].as_str(), Some(id.as_str()));
    let raw = client().get(format!("http://{}/api/v1/interactions/{id}/raw", plan.admin));
    assert_eq!(raw.try_clone().unwrap().send().await.unwrap().status(), 401);
    assert_eq!(raw.bearer_auth(READER).send().await.unwrap().status(), 200);
    bridge.stop().await;
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_says_what_to_do() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let base = format!("http://{}/api/v1", plan.admin);
    let ask = |method: reqwest::Method, path: &str| client().request(method, format!("{base}{path}"));
    use reqwest::Method;
    let json = "application/json";
    let sync = format!("/mailboxes/{SUPPORT}/sync");
    let long = "x".repeat(300 << 10);
    for (request, status, name) in [
        (ask(Method::GET, "/nothing"), 404, "unknown-path"),
        (ask(Method::GET, ""), 404, "unknown-path"),
        (ask(Method::GET, "/mailboxes/"), 404, "unknown-path"),
        (ask(Method::DELETE, "/routes"), 405, "method-not-allowed"),
        (ask(Method::POST, "/openapi.json"), 405, "method-not-allowed"),
        (ask(Method::GET, "/mailboxes?limit=0"), 400, "bad-query"),
        (ask(Method::GET, "/mailboxes?limit=many"), 400, "bad-query"),
        (ask(Method::GET, "/mailboxes?colour=red"), 400, "bad-query"),
        (ask(Method::GET, "/mailboxes?cursor=x"), 400, "bad-cursor"),
        (ask(Method::GET, "/interactions/%ff"), 400, "bad-path"),
        (ask(Method::GET, "/interactions/ix_none"), 404, "no-such-content"),
        (ask(Method::POST, "/mailboxes/nobody@contoso.example/sync"), 404, "no-such-mailbox"),
        (ask(Method::POST, &sync).header("content-type", json).body("{"), 400, "bad-body"),
        (ask(Method::POST, &sync).header("content-type", json).body("{} {}"), 400, "bad-body"),
        (ask(Method::POST, &sync).header("content-type", json).body("{\"since\": \"soon\"}"), 400, "bad-body"),
        (ask(Method::POST, &sync).header("content-type", json).body("{\"until\": 1}"), 400, "bad-body"),
        (ask(Method::POST, &sync).header("content-type", "text/plain").body("{}"), 415, "unsupported-type"),
        (ask(Method::POST, &sync).header("content-type", json).body(long), 413, "too-large"),
        (ask(Method::GET, "/routes").header("origin", "https://evil.example"), 403, "not-local"),
        (ask(Method::POST, &sync).header("host", "evil.example"), 403, "not-local"),
        (ask(Method::GET, "/routes").header("x-forwarded-for", "192.0.2.1"), 403, "not-local"),
    ] {
        let answer = request.send().await.unwrap();
        let (found, kind) = (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap().to_owned());
        let allow = answer.headers().get("allow").map(|it| it.to_str().unwrap().to_owned());
        let body: Value = answer.json().await.unwrap();
        assert_eq!((found, body["type"].as_str()), (status, Some(&*format!("urn:mailspan:problem:{name}"))), "{body}");
        assert_eq!((kind.as_str(), body["status"].as_u64()), ("application/problem+json", Some(status.into())));
        assert!(body["detail"].as_str().is_some_and(|it| it.len() > 10), "{body}");
        assert_eq!(allow.is_some(), status == 405, "{allow:?}");
    }
    bridge.stop().await;
}

#[tokio::test]
async fn mailboxes_are_shown_page_by_page() {
    let world = World::new().await;
    let mut plan = world.plan();
    for name in ["anna", "bert", "cleo"] {
        let address = format!("{name}@contoso.example");
        world.tenant.add_mailbox(&address);
        plan = plan.mailbox(&address, "");
    }
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.found(&format!("/mailboxes?limit=3{cursor}")).await;
        names.extend(page["items"].as_array().unwrap().iter().map(|it| it["address"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(
        names.join(" "),
        "anna@contoso.example bert@contoso.example cleo@contoso.example support@contoso.example"
    );
    bridge.stop().await;
}

#[tokio::test]
async fn a_look_asked_for_by_hand_finds_mail_at_once() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "mode", "poll").text("sync", "poll_interval", "1h");
    let plan = plan.text("sync", "sweep_interval", "1h");
    let bridge = Bridge::start(&plan).await;
    world.until_at_rest().await;
    world.receives("Invoice 4711");
    let api = Api::of(&plan).await;
    let due = api.post(&format!("/mailboxes/contoso%2F{SUPPORT}/sync"), json!({})).await;
    assert_eq!((due.status, due.body["due"].as_str()), (202, Some("look")));
    world.inbox.until_has(&["Invoice 4711"]).await;
    assert_eq!(world.texts("SELECT found_by FROM messages").await, ["poll"], "no sweep came first");
    bridge.stop().await;
}

#[tokio::test]
async fn the_document_is_openapi_with_an_answer_and_a_problem_for_every_operation() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::begin(&plan).await;
    let api = Api::of(&plan).await;
    let document = api.document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            count += 1;
            assert!(
                operation["responses"].as_object().unwrap().keys().any(|it| it.starts_with('2')),
                "{method} {path}"
            );
            let is_open = operation["security"].as_array().unwrap().is_empty();
            assert_eq!(operation["responses"]["401"].is_object(), !is_open, "{method} {path}");
        }
    }
    assert!(count >= 8, "{count}");
    bridge.stop().await;
}

#[test]
fn the_manual_says_of_every_code_what_to_do() {
    let manual = include_str!("../../docs/operations.md");
    for code in mailspan::model::reason::Code::ALL {
        assert!(manual.contains(&format!("\n| `{code}` | ")), "docs/operations.md does not explain {code}");
    }
}
