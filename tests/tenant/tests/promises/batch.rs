use std::{collections::HashMap, time::Duration};

use mailspan_tenant::{Fault, FaultAction, Operation, Options, RetryAfter};
use serde_json::{Value, json};

use crate::client::{Answer, Client, MAILBOX, mail, message};

fn mark_read(n: usize, id: &mailspan_tenant::MessageId) -> Value {
    json!({
        "id": n.to_string(), "method": "PATCH", "url": message(id), "body": { "isRead": true },
        "headers": { "Content-Type": "application/json", "Prefer": "IdType=\"ImmutableId\"" },
    })
}

fn by_id(answer: &Answer) -> HashMap<String, Value> {
    let all = answer.json["responses"].as_array().unwrap_or_else(|| panic!("{}", answer.json));
    all.iter().map(|one| (one["id"].as_str().unwrap().to_owned(), one.clone())).collect()
}

#[tokio::test]
async fn twenty_requests_go_as_one_and_each_has_its_outcome() {
    let client = Client::new().await;
    let ids: Vec<_> = (0..19).map(|n| client.tenant.receive(MAILBOX, mail(n))).collect();
    let mut requests: Vec<_> = ids.iter().enumerate().map(|(n, id)| mark_read(n, id)).collect();
    requests.push(json!({ "id": "x", "method": "GET", "url": "/users/nobody@x.org/messages/y" }));
    let answer = client.post("/$batch", json!({ "requests": requests })).await;
    assert_eq!(answer.status, 200);
    let responses = by_id(&answer);
    assert_eq!(responses.len(), 20);
    assert_eq!(responses["7"]["status"], 200);
    assert_eq!(responses["7"]["body"]["id"], ids[7].as_str());
    assert!(responses["7"]["headers"]["Content-Type"].as_str().unwrap().starts_with("application/json"));
    assert_eq!(responses["x"]["status"], 404);
    assert_eq!(responses["x"]["body"]["error"]["code"], "ErrorInvalidUser");
    assert_eq!(client.tenant.unread(MAILBOX), 0);
    assert_eq!(client.tenant.graph_requests(), 1);
    assert_eq!(client.tenant.requests()["batch_item"], 20);
    assert_eq!(client.tenant.requests()["batch_item:patch"], 19);
    assert!(client.tenant.most_at_once(MAILBOX) <= 4);
}

#[tokio::test]
async fn mime_in_a_batch_is_base64() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let request = json!({ "id": "1", "method": "GET", "url": message(&id) + "/$value" });
    let answer = client.post("/$batch", json!({ "requests": [request] })).await;
    let body = by_id(&answer)["1"]["body"].as_str().unwrap().to_owned();
    use base64::Engine;
    assert_eq!(base64::engine::general_purpose::URL_SAFE.decode(body).unwrap(), mail(1).as_bytes());
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_is_refused_as_a_whole() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let get = |n: &str| json!({ "id": n, "method": "GET", "url": message(&id) });
    let mut untyped = mark_read(1, &id);
    untyped["headers"] = json!({});
    for requests in [
        json!((0..21).map(|n| mark_read(n, &id)).collect::<Vec<_>>()),
        json!([]),
        json!([get("a"), get("A")]),
        json!([untyped]),
        json!([{ "id": "1", "method": "GET", "url": client.tenant.graph_endpoint() + &message(&id) }]),
        json!([{ "id": "1", "method": "FETCH", "url": "/" }]),
        json!([{ "id": "1", "method": "GET", "url": message(&id), "dependsOn": ["2"] }]),
        json!([{ "id": "1", "method": "GET", "url": message(&id), "colour": "blue" }]),
    ] {
        let answer = client.post("/$batch", json!({ "requests": requests })).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "BadRequest"), "{requests}");
    }
    let nested = json!({ "id": "1", "method": "POST", "url": "/$batch", "body": {}, "headers": { "content-type": "application/json" } });
    let answer = client.post("/$batch", json!({ "requests": [nested] })).await;
    assert_eq!(by_id(&answer)["1"]["status"], 400);
    assert_eq!(client.tenant.unread(MAILBOX), 1);
}

#[tokio::test]
async fn what_depends_on_a_failure_fails_too() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let mut second = mark_read(2, &id);
    second["dependsOn"] = json!(["1"]);
    let first = json!({ "id": "1", "method": "GET", "url": format!("/users/{MAILBOX}/messages/x") });
    let answer = client.post("/$batch", json!({ "requests": [first, second] })).await;
    let responses = by_id(&answer);
    assert_eq!((&responses["1"]["status"], &responses["2"]["status"]), (&json!(400), &json!(424)));
    assert_eq!(client.tenant.unread(MAILBOX), 1);
}

#[tokio::test]
async fn single_items_can_be_throttled() {
    let client = Client::new().await;
    let ids: Vec<_> = (0..10).map(|n| client.tenant.receive(MAILBOX, mail(n))).collect();
    let throttle = FaultAction::throttle(RetryAfter::Fraction(2.128));
    client.tenant.fault(Fault::on(Operation::BatchItem, throttle).times(3));
    let requests: Vec<_> = ids.iter().enumerate().map(|(n, id)| mark_read(n, id)).collect();
    let answer = client.post("/$batch", json!({ "requests": requests })).await;
    assert_eq!(answer.status, 200);
    let throttled: Vec<_> = by_id(&answer).into_values().filter(|one| one["status"] == 429).collect();
    assert_eq!(throttled.len(), 3);
    assert_eq!(throttled[0]["headers"]["Retry-After"], "2.128");
    assert_eq!(throttled[0]["body"]["error"]["code"], "ApplicationThrottled");
    assert_eq!(client.tenant.unread(MAILBOX), 3);
}

#[tokio::test]
async fn two_batches_at_once_are_over_the_mailboxs_limit() {
    let client = Client::with(Options { latency: Duration::from_secs(1), ..Options::default() }).await;
    let ids: Vec<_> = (0..8).map(|n| client.tenant.receive(MAILBOX, mail(n))).collect();
    let requests: Vec<_> = ids.iter().enumerate().map(|(n, id)| mark_read(n, id)).collect();
    let batch = || client.post("/$batch", json!({ "requests": requests }));
    let (one, two) = tokio::join!(batch(), batch());
    let throttled =
        by_id(&one).into_values().chain(by_id(&two).into_values()).filter(|one| one["status"] == 429).count();
    assert!(throttled > 0);
    assert_eq!(client.tenant.counters().too_many_at_once, throttled as u64);
    assert_eq!(client.tenant.most_at_once(MAILBOX), 4);
}
