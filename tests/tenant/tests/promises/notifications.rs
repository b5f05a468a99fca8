use std::{collections::BTreeSet, time::Duration};

use mailspan_tenant::{Lifecycle, NotificationPolicy, Options};
use serde_json::{Value, json};

use crate::{
    client::{Client, MAILBOX, mail, message},
    endpoint::{Endpoint, items},
    subscriptions::wanted,
};

/// Quick, and patient with the endpoint: what comes a second time does so because it was refused.
fn patient() -> NotificationPolicy {
    let timeout = Duration::from_secs(30);
    NotificationPolicy { first_timeout: timeout, retry_timeout: timeout, ..NotificationPolicy::fast() }
}

async fn subscribed(change: &[(&str, &str)]) -> (Client, Endpoint, String) {
    let client = Client::with(Options { notifications: patient(), ..Options::default() }).await;
    let endpoint = Endpoint::start().await;
    let mut body = wanted(&client, &endpoint);
    change.iter().for_each(|(name, value)| body[*name] = (*value).into());
    let made = client.post("/subscriptions", body).await;
    assert_eq!(made.status, 201, "{}", made.json);
    let id = made.json["id"].as_str().unwrap().to_owned();
    (client, endpoint, id)
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["resourceData"]["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_new_mail_is_notified_with_all_that_a_client_checks() {
    let (client, endpoint, subscription) = subscribed(&[]).await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let items = endpoint.until_items(1).await;
    let item = &items[0];
    assert_eq!(item["subscriptionId"], subscription.as_str());
    assert_eq!(item["clientState"], "our secret");
    assert_eq!(item["changeType"], "created");
    assert_eq!(item["tenantId"], client.tenant.tenant_id());
    assert_eq!(item["resourceData"]["id"], id.as_str());
    assert!(item["resource"].as_str().unwrap().to_lowercase().starts_with("users"));
    let expires: jiff::Timestamp = item["subscriptionExpirationDateTime"].as_str().unwrap().parse().unwrap();
    assert_eq!(expires, client.tenant.subscriptions()[0].expires);
}

#[tokio::test]
async fn resources_and_times_are_spelt_in_several_ways() {
    let (client, endpoint, _) = subscribed(&[]).await;
    (0..12).for_each(|n| drop(client.tenant.receive(MAILBOX, mail(n))));
    let items = endpoint.until_items(12).await;
    let shapes: BTreeSet<_> = items.iter().map(|item| item["resource"].as_str().unwrap()[..6].to_owned()).collect();
    assert!(shapes.len() >= 3, "{shapes:?}");
    let expires = client.tenant.subscriptions()[0].expires;
    for item in &items {
        let time: jiff::Timestamp = item["subscriptionExpirationDateTime"].as_str().unwrap().parse().unwrap();
        assert_eq!(time, expires);
    }
}

#[tokio::test]
async fn a_burst_comes_in_few_posts() {
    let (client, endpoint, _) = subscribed(&[]).await;
    let policy = NotificationPolicy { max_batch: 25, gather: Duration::from_millis(50), ..patient() };
    client.tenant.notifications(policy);
    (0..100).for_each(|n| drop(client.tenant.receive(MAILBOX, mail(n))));
    endpoint.until_items(100).await;
    assert_eq!(endpoint.posts().len(), 4);
}

#[tokio::test]
async fn a_refused_notification_comes_again_until_it_is_acknowledged() {
    let (client, endpoint, _) = subscribed(&[]).await;
    endpoint.answers(&[503, 500, 404]);
    let id = client.tenant.receive(MAILBOX, mail(1));
    let posts = endpoint.until_posts(4).await;
    assert_eq!(ids(&items(&posts)), [id.as_str(); 4]);
    until(|| client.tenant.notification_counts().delivered == 1).await;
    assert_eq!(client.tenant.notification_counts().failed_posts, 3);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_given_up() {
    let (client, endpoint, _) = subscribed(&[]).await;
    let policy = NotificationPolicy { give_up_after: Duration::from_millis(100), ..patient() };
    client.tenant.notifications(policy);
    endpoint.answers(&[500; 50]);
    client.tenant.receive(MAILBOX, mail(1));
    until(|| client.tenant.notification_counts().given_up == 1).await;
}

#[tokio::test]
async fn notifications_can_be_lost_and_doubled() {
    let (client, endpoint, _) = subscribed(&[]).await;
    client.tenant.notifications(NotificationPolicy::silent());
    client.tenant.receive(MAILBOX, mail(1));
    client.tenant.notifications(NotificationPolicy { double: 1.0, ..patient() });
    let id = client.tenant.receive(MAILBOX, mail(2));
    assert_eq!(ids(&endpoint.until_items(2).await), [id.as_str(); 2]);
    let counts = client.tenant.notification_counts();
    assert_eq!((counts.lost, counts.doubled, counts.sent), (1, 1, 2));
}

#[tokio::test]
async fn an_expired_subscription_is_silent() {
    let (client, endpoint, _) = subscribed(&[]).await;
    client.tenant.advance(Duration::from_secs(86_401));
    client.tenant.receive(MAILBOX, mail(1));
    assert_eq!(client.tenant.notification_counts().sent, 0);
    assert!(endpoint.posts().is_empty());
}

#[tokio::test]
async fn each_kind_of_change_goes_to_those_who_asked_for_it() {
    let (client, endpoint, _) = subscribed(&[("changeType", "updated,deleted")]).await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    assert_eq!(client.patch(&message(&id), json!({ "isRead": true })).await.status, 200);
    endpoint.until_items(1).await;
    client.tenant.move_message(&id, "archive");
    let items = endpoint.until_items(2).await;
    let kinds: Vec<_> = items.iter().map(|item| item["changeType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["updated", "deleted"]);
}

#[tokio::test]
async fn under_a_filter_of_unread_reading_is_deletion() {
    let resource = format!("users/{MAILBOX}/messages?$filter=isRead eq false");
    let (client, endpoint, _) = subscribed(&[("changeType", "created,updated,deleted"), ("resource", &resource)]).await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    endpoint.until_items(1).await;
    client.tenant.set_read(&id, true);
    endpoint.until_items(2).await;
    client.tenant.set_read(&id, false);
    let items = endpoint.until_items(3).await;
    let kinds: Vec<_> = items.iter().map(|item| item["changeType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "deleted", "created"]);
}

#[tokio::test]
async fn lifecycle_events_have_no_resource() {
    let (client, endpoint, subscription) = subscribed(&[]).await;
    assert!(client.tenant.lifecycle(&subscription, Lifecycle::Missed));
    let first = endpoint.until_items(1).await;
    assert_eq!(first[0]["lifecycleEvent"], "missed");
    assert_eq!(first[0]["clientState"], "our secret");
    assert!(first[0].get("resource").is_none() && first[0].get("changeType").is_none());

    assert!(client.tenant.lifecycle(&subscription, Lifecycle::SubscriptionRemoved));
    endpoint.until_items(2).await;
    assert_eq!(client.get(&format!("/subscriptions/{subscription}")).await.status, 404);
    assert!(!client.tenant.lifecycle(&subscription, Lifecycle::Missed));
}

#[tokio::test]
async fn a_subscription_that_is_not_reauthorized_pauses_and_loses() {
    let (client, endpoint, subscription) = subscribed(&[]).await;
    client.tenant.lifecycle(&subscription, Lifecycle::ReauthorizationRequired);
    endpoint.until_items(1).await;
    client.tenant.advance(Duration::from_secs(601));
    client.tenant.receive(MAILBOX, mail(1));
    assert_eq!(client.tenant.notification_counts().sent, 1);
    assert_eq!(client.post(&format!("/subscriptions/{subscription}/reauthorize"), json!({})).await.status, 204);
    let id = client.tenant.receive(MAILBOX, mail(2));
    assert_eq!(endpoint.until_items(2).await[1]["resourceData"]["id"], id.as_str());
}

#[tokio::test]
async fn a_forger_posts_what_he_likes() {
    let (client, endpoint, subscription) = subscribed(&[]).await;
    let status = client.tenant.forge_notification(&endpoint.url, &subscription, "a guess", "AAMk").await;
    assert_eq!(status, Some(202));
    assert_eq!(endpoint.until_items(1).await[0]["clientState"], "a guess");
}

async fn until(mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("done in time");
}
