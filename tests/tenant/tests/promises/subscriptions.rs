use std::time::Duration;

use mailspan_tenant::{Access, Options};
use serde_json::{Value, json};

use crate::{
    client::{Client, MAILBOX},
    endpoint::{Echo, Endpoint},
};

pub(crate) fn wanted(client: &Client, endpoint: &Endpoint) -> Value {
    json!({
        "changeType": "created",
        "notificationUrl": endpoint.url,
        "lifecycleNotificationUrl": endpoint.url,
        "resource": format!("users/{MAILBOX}/mailFolders('inbox')/messages"),
        "expirationDateTime": (client.tenant.now() + Duration::from_secs(86_400)).to_string(),
        "clientState": "our secret",
    })
}

#[tokio::test]
async fn a_subscription_is_made_after_both_handshakes_and_its_secret_is_told_once() {
    let client = Client::new().await;
    let endpoint = Endpoint::start().await;
    let made = client.post("/subscriptions", wanted(&client, &endpoint)).await;
    assert_eq!(made.status, 201, "{}", made.json);
    assert_eq!(client.tenant.counters().validations, 2);
    assert_eq!(made.json["clientState"], "our secret");
    let id = made.json["id"].as_str().unwrap();
    for name in ["resource", "changeType", "notificationUrl", "expirationDateTime", "applicationId", "creatorId"] {
        assert!(made.json[name].is_string(), "{name}");
    }
    let one = client.get(&format!("/subscriptions/{id}")).await;
    assert_eq!((one.json["id"].as_str(), &one.json["clientState"]), (Some(id), &Value::Null));
    let all = client.get("/subscriptions").await;
    assert_eq!(all.ids(), [id]);
    assert_eq!(all.json["value"][0]["clientState"], Value::Null);
    assert!(client.tenant.subscriptions()[0].immutable_ids);

    assert_eq!(client.delete(&format!("/subscriptions/{id}")).await.status, 204);
    assert_eq!(client.delete(&format!("/subscriptions/{id}")).await.status, 404);
}

#[tokio::test]
async fn an_endpoint_that_does_not_echo_rightly_gets_no_subscription() {
    let patient = Client::with(Options { validation_timeout: Duration::from_secs(30), ..Options::default() }).await;
    let impatient =
        Client::with(Options { validation_timeout: Duration::from_millis(200), ..Options::default() }).await;
    let endpoint = Endpoint::start().await;
    for (client, echo, says) in [
        (&patient, Echo::Encoded, "validation token"),
        (&patient, Echo::WrongType, "text/plain"),
        (&patient, Echo::Forbidden, "HTTP status code is 'Forbidden'."),
        (&impatient, Echo::Slow, "timed out"),
    ] {
        endpoint.echoes(echo);
        let refused = client.post("/subscriptions", wanted(client, &endpoint)).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (400, "ValidationError"));
        let message = refused.json["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("Subscription validation request") && message.contains(says), "{message}");
    }
    let mut nowhere = wanted(&patient, &endpoint);
    nowhere["notificationUrl"] = "http://127.0.0.1:1/".into();
    assert_eq!(patient.post("/subscriptions", nowhere).await.status, 400);
    assert!(patient.tenant.subscriptions().is_empty() && impatient.tenant.subscriptions().is_empty());
}

#[tokio::test]
async fn duplicates_quotas_and_strange_mailboxes_are_refused() {
    let client = Client::with(Options { subscription_quota: 2, ..Options::default() }).await;
    let endpoint = Endpoint::start().await;
    let body = wanted(&client, &endpoint);
    let made = client.post("/subscriptions", body.clone()).await;
    let again = client.post("/subscriptions", body.clone()).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "ObjectIdentifierInUse"));
    assert!(again.json["error"]["message"].as_str().unwrap().contains(made.json["id"].as_str().unwrap()));

    let with = |name: &str, value: &str| {
        let mut body = body.clone();
        body[name] = value.into();
        body
    };
    assert_eq!(client.post("/subscriptions", with("changeType", "updated")).await.status, 201);
    assert_eq!(client.post("/subscriptions", with("changeType", "deleted")).await.status, 403);
    let stranger = client.post("/subscriptions", with("resource", "users/nobody@x.org/messages")).await;
    assert_eq!(stranger.status, 404);
    client.tenant.set_access(MAILBOX, Access::Denied);
    let denied = client.post("/subscriptions", body.clone()).await;
    assert_eq!((denied.status.as_u16(), denied.code()), (403, "ExtensionError"));
}

#[tokio::test]
async fn renewing_extends_and_a_dead_subscription_is_not_found() {
    let client = Client::new().await;
    let endpoint = Endpoint::start().await;
    let made = client.post("/subscriptions", wanted(&client, &endpoint)).await;
    let path = format!("/subscriptions/{}", made.json["id"].as_str().unwrap());
    let soon = (client.tenant.now() + Duration::from_secs(60)).to_string();
    let renewed = client.patch(&path, json!({ "expirationDateTime": soon })).await;
    assert_eq!(renewed.status, 200);
    let granted: jiff::Timestamp = renewed.json["expirationDateTime"].as_str().unwrap().parse().unwrap();
    assert!(granted > client.tenant.now() + Duration::from_secs(44 * 60));
    assert_eq!(client.patch(&path, json!({})).await.status, 400);
    assert_eq!(client.patch(&path, json!({ "lifecycleNotificationUrl": endpoint.url })).await.status, 400);

    client.tenant.advance(Duration::from_secs(46 * 60));
    assert!(client.tenant.subscriptions_of(MAILBOX).is_empty());
    let late = (client.tenant.now() + Duration::from_secs(86_400)).to_string();
    assert_eq!(client.patch(&path, json!({ "expirationDateTime": late })).await.status, 404);
}

#[tokio::test]
async fn renewing_and_reauthorizing_within_ten_minutes_is_counted() {
    let client = Client::new().await;
    let endpoint = Endpoint::start().await;
    let made = client.post("/subscriptions", wanted(&client, &endpoint)).await;
    let path = format!("/subscriptions/{}", made.json["id"].as_str().unwrap());
    let reauthorize = async || client.post(&(path.clone() + "/reauthorize"), json!({})).await;
    assert_eq!(reauthorize().await.status, 204);
    assert_eq!(client.tenant.counters().reauthorize_clashes, 0);
    let renew = async || {
        let later = (client.tenant.now() + Duration::from_secs(86_400)).to_string();
        client.patch(&path, json!({ "expirationDateTime": later })).await
    };
    client.tenant.advance(Duration::from_secs(601));
    assert_eq!(renew().await.status, 200);
    assert_eq!(client.tenant.counters().reauthorize_clashes, 0);
    client.tenant.advance(Duration::from_secs(300));
    reauthorize().await;
    assert_eq!(client.tenant.counters().reauthorize_clashes, 1);
}
