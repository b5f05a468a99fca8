//! Notifications are hints: lost, doubled, late, forged or wrong, they change when a mail comes, never whether.
//!
//! The public listener answers as Graph wants it, from memory, and nothing else answers there.

use std::str::FromStr as _;
use std::time::Duration;

use mailspan_tenant::{Lifecycle, NotificationPolicy, Options, Tenant};
use serde_json::{Value, json};

use crate::world::{Bridge, DEADLINE, Plan, SUPPORT, World, client, mail, mail_to, options, until, until_so};

const SALES: &str = "sales@contoso.example";

fn subjects(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("Order {number}")).collect()
}

async fn until_push(world: &World) -> String {
    until("a subscription", async || world.tenant.subscriptions_of(SUPPORT).pop()).await.id
}

/// The same, once the bridge has written it down: what is announced before that is a stranger's.
async fn until_pushed(world: &World, plan: &Plan) -> String {
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    until_push(world).await
}

/// Posts notifications, however long the answer takes. Returns its status.
async fn posted(url: &str, body: &Value) -> u16 {
    client().post(url).timeout(DEADLINE).json(body).send().await.unwrap().status().as_u16()
}

/// A notification of a new mail, as Graph words it.
fn announcing(subscription: &str, client_state: &str, message: &str) -> Value {
    json!({ "value": [{
        "subscriptionId": subscription, "clientState": client_state, "changeType": "created",
        "subscriptionExpirationDateTime": "2026-11-27T22:11:09.952Z",
        "resource": format!("Users/x/Messages/{message}"), "resourceData": { "id": message },
    }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_delivered_when_every_notification_is_lost() {
    let world = World::new().await;
    world.tenant.notifications(NotificationPolicy::silent());
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    until_push(&world).await;
    let ids: Vec<_> = ["One", "Two", "Three"].map(|it| world.receives(it)).into();
    world.inbox.until_has(&["One", "Two", "Three"]).await;
    for id in &ids {
        world.until_read(id).await;
    }
    world.until_swept_again(2).await;
    world.inbox.has_exactly(&["One", "Two", "Three"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_doubled_reordered_and_delayed_deliver_each_mail_once() {
    let world = World::new().await;
    let policy = NotificationPolicy {
        double: 0.7,
        reorder: true,
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(400),
        ..NotificationPolicy::fast()
    };
    world.tenant.notifications(policy);
    // No sweep helps within the story.
    let plan = world.plan().text("sync", "sweep_interval", "15m");
    let bridge = Bridge::start(&plan).await;
    until_push(&world).await;
    let wanted = subjects(30);
    for subject in &wanted {
        world.receives(subject);
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    world.inbox.until_has(&wanted).await;
    until_so("every notification acknowledged", async || {
        let counts = world.tenant.notification_counts();
        counts.delivered == counts.sent
    })
    .await;
    world.inbox.has_exactly(&wanted).await;
    assert_eq!(world.tenant.counters().without_immutable_ids, 0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_alone_brings_the_mail_at_once() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "sweep_interval", "15m").text("sync", "poll_interval", "15m");
    let bridge = Bridge::start(&plan).await;
    until_pushed(&world, &plan).await;
    // The look that follows a new subscription is over, so that nothing but the push finds the mail.
    world.until_at_rest().await;
    world.receives("Announced");
    world.inbox.until_has(&["Announced"]).await;
    let is_told = |it: &Value| it["last_notification_at"].is_string();
    let check = plan.until_check("mailbox", SUPPORT, "something was announced", is_told).await;
    assert!(check["subscription_expires_at"].is_string(), "{check}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_unknown_notifications_are_answered_202_and_do_nothing() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "sweep_interval", "15m").text("sync", "poll_interval", "15m");
    let bridge = Bridge::start(&plan).await;
    let subscription = until_pushed(&world, &plan).await;
    world.tenant.notifications(NotificationPolicy::silent());
    // What the start makes due may still be under way.
    world.until_at_rest().await;
    let hidden = world.receives("Hidden");
    let asked = world.tenant.graph_requests();
    for (id, state) in [(subscription.as_str(), "guessed"), (subscription.as_str(), ""), ("no-such-id", "guessed")] {
        let status = posted(&plan.notifications(), &announcing(id, state, hidden.as_str())).await;
        assert_eq!(status, 202, "{id} {state}");
    }
    let lifecycle = plan.notifications().replace("notifications", "lifecycle");
    let removed = json!({ "value": [{
        "subscriptionId": subscription, "clientState": "guessed", "lifecycleEvent": "subscriptionRemoved",
        "subscriptionExpirationDateTime": "2026-11-27T22:11:09.952Z", "tenantId": world.tenant.tenant_id(),
    }] });
    assert_eq!(posted(&lifecycle, &removed).await, 202);
    until_so("the forgeries counted", async || {
        let Some((_, text)) = plan.page("/metrics").await else { return false };
        let count = |result: &str| {
            let name = format!("mailspan_notifications_total{{result=\"{result}\"}} ");
            text.lines().find_map(|it| it.strip_prefix(&name)).map_or(0, |it| it.parse().unwrap())
        };
        // Which of the two a forgery is depends on whether the bridge has written down its own subscription yet.
        count("forged") + count("unknown") == 4
    })
    .await;
    assert_eq!(world.tenant.graph_requests(), asked, "a forged notification made the bridge ask Graph");
    world.inbox.has_exactly(&[]).await;
    assert_eq!(world.tenant.subscriptions_of(SUPPORT).len(), 1);
    // A true one still counts.
    let state = world.tenant.subscriptions_of(SUPPORT)[0].client_state.clone().unwrap();
    assert!((16..=128).contains(&state.len()), "a client state must be hard to guess");
    let true_one = announcing(&subscription, &state, hidden.as_str());
    assert_eq!(posted(&plan.notifications(), &true_one).await, 202);
    world.inbox.until_has(&["Hidden"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_event_makes_the_bridge_look() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "sweep_interval", "15m").text("sync", "poll_interval", "15m");
    let bridge = Bridge::start(&plan).await;
    let subscription = until_pushed(&world, &plan).await;
    world.tenant.notifications(NotificationPolicy::silent());
    world.until_at_rest().await;
    world.receives("Missed");
    world.tenant.notifications(NotificationPolicy::fast());
    assert!(world.tenant.lifecycle(&subscription, Lifecycle::Missed));
    world.inbox.until_has(&["Missed"]).await;
    assert_eq!(world.tenant.subscriptions_of(SUPPORT)[0].id, subscription, "missed needs no new subscription");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_subscription_is_made_anew_and_the_gap_is_read() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "sweep_interval", "15m").text("sync", "poll_interval", "15m");
    let bridge = Bridge::start(&plan).await;
    let old = until_pushed(&world, &plan).await;
    world.tenant.notifications(NotificationPolicy::silent());
    world.receives("In the gap");
    world.tenant.notifications(NotificationPolicy::fast());
    assert!(world.tenant.lifecycle(&old, Lifecycle::SubscriptionRemoved));
    until_so("a new subscription", async || world.tenant.subscriptions_of(SUPPORT).iter().any(|it| it.id != old)).await;
    world.inbox.until_has(&["In the gap"]).await;
    plan.until_check("mailbox", SUPPORT, "push stands again", |it| it["mode"] == "push").await;
    world.receives("After the gap");
    world.inbox.until_has(&["In the gap", "After the gap"]).await;
    world.inbox.has_exactly(&["After the gap", "In the gap"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_to_be_reauthorized_is_renewed_by_patch_alone() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "sweep_interval", "15m").text("sync", "poll_interval", "15m");
    let bridge = Bridge::start(&plan).await;
    let subscription = until_pushed(&world, &plan).await;
    for _ in 0..3 {
        assert!(world.tenant.lifecycle(&subscription, Lifecycle::ReauthorizationRequired));
    }
    // One that was asked for while another was under way needs another.
    let renewed = until("a renewal that answers all of them", async || {
        let all = world.tenant.subscriptions_of(SUPPORT);
        all.into_iter().find(|it| it.id == subscription && it.patches > 0 && !it.challenged)
    })
    .await;
    assert_eq!(renewed.reauthorizations, 0);
    assert_eq!(world.tenant.counters().reauthorize_clashes, 0);
    // Had it not been renewed, its notifications would pause now.
    world.tenant.advance(Duration::from_secs(1_200));
    world.receives("Still announced");
    world.inbox.until_has(&["Still announced"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_post_may_speak_of_several_mailboxes_and_two_tenants() {
    let world = World::new().await;
    world.tenant.add_mailbox(SALES);
    let options = Options {
        tenant_id: "0c6cf9f1-58c7-4a5f-9d0c-7d8a5f4f0a11".into(),
        secrets: vec!["another~secret".into()],
        ..options()
    };
    let fabrikam = Tenant::start(options).await.unwrap();
    fabrikam.add_mailbox("help@fabrikam.example");
    let plan = world
        .bare_plan()
        .tenant("fabrikam", &fabrikam)
        .mailbox(SUPPORT, "tenant = \"contoso\"")
        .mailbox(SALES, "tenant = \"contoso\"")
        .mailbox("help@fabrikam.example", "tenant = \"fabrikam\"")
        .route("all", "", &world.inbox)
        .text("sync", "sweep_interval", "15m")
        .text("sync", "poll_interval", "15m");
    let bridge = Bridge::start(&plan).await;
    until_so("three subscriptions", async || world.tenant.subscriptions().len() + fabrikam.subscriptions().len() == 3)
        .await;
    world.tenant.notifications(NotificationPolicy::silent());
    fabrikam.notifications(NotificationPolicy::silent());
    let ids = [
        world.receives("To support"),
        world.tenant.receive(SALES, mail_to(SALES, "To sales")),
        fabrikam.receive("help@fabrikam.example", mail_to("help@fabrikam.example", "To fabrikam")),
    ];
    let owners = [(&world.tenant, SUPPORT), (&world.tenant, SALES), (&fabrikam, "help@fabrikam.example")];
    let items: Vec<_> = owners
        .iter()
        .zip(&ids)
        .map(|((tenant, mailbox), id)| {
            let subscription = tenant.subscriptions_of(mailbox).pop().unwrap();
            json!({
                "subscriptionId": subscription.id, "clientState": subscription.client_state, "changeType": "created",
                "tenantId": tenant.tenant_id(), "subscriptionExpirationDateTime": "2026-11-27T03:41:09.9521234+05:30",
                "resource": format!("users('x')/messages('{}')", id.as_str()),
                "resourceData": { "@odata.type": "#microsoft.graph.message", "id": id.as_str() },
            })
        })
        .collect();
    let stranger = json!({ "subscriptionId": "unknown", "clientState": "?", "lifecycleEvent": "brandNewEvent" });
    let mut all = vec![stranger];
    all.extend(items);
    assert_eq!(posted(&plan.notifications(), &json!({ "value": all })).await, 202);
    world.inbox.until_has(&["To support", "To sales", "To fabrikam"]).await;
    world.inbox.has_exactly(&["To support", "To sales", "To fabrikam"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handshake_echoes_the_decoded_token_as_plain_text() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::begin(&plan).await;
    for (path, token, echo) in [
        ("/graph/notifications", "a%20b%2Bc%3A1", "a b+c:1"),
        ("/graph/lifecycle", "Validation%3A+Testing+client%3Cscript%3E", "Validation: Testing client<script>"),
        ("/graph/notifications", "%E2%9C%93", "✓"),
    ] {
        let url = format!("http://{}{path}?other=1&validationToken={token}", plan.public);
        let answer = client().post(url).header("content-type", "text/plain; charset=utf-8").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let head = |name: &str| answer.headers().get(name).map_or("", |it| it.to_str().unwrap()).to_owned();
        assert!(head("content-type").starts_with("text/plain"), "{:?}", answer.headers());
        assert_eq!(head("x-content-type-options"), "nosniff");
        assert_eq!(answer.text().await.unwrap(), echo);
    }
    bridge.stop().await;
}

async fn status(plan: &Plan, method: &str, path: &str, body: Vec<u8>) -> u16 {
    let method = method.parse().unwrap();
    let request = client().request(method, format!("http://{}{path}", plan.public));
    request.header("content-type", "application/json").body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_notifications_answers_on_the_public_listener() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::begin(&plan).await;
    let empty = || b"{\"value\":[]}".to_vec();
    for (method, path, body, wanted) in [
        ("POST", "/graph/notifications", empty(), 202),
        ("POST", "/graph/lifecycle", empty(), 202),
        ("POST", "/graph/notifications", b"{\"value\":[".to_vec(), 400),
        ("POST", "/graph/lifecycle", b"\xff\xfe".to_vec(), 400),
        ("POST", "/graph/notifications", Vec::new(), 400),
        ("POST", "/graph/notifications", vec![b' '; (4 << 20) + 1], 413),
        ("GET", "/graph/notifications", Vec::new(), 404),
        ("PUT", "/graph/notifications", empty(), 404),
        ("OPTIONS", "/graph/lifecycle", Vec::new(), 404),
        ("POST", "/graph", empty(), 404),
        ("POST", "/graph/notifications/", empty(), 404),
        ("GET", "/", Vec::new(), 404),
        ("GET", "/health/live", Vec::new(), 404),
        ("GET", "/metrics", Vec::new(), 404),
        ("GET", "/api/v1/mailboxes", Vec::new(), 404),
    ] {
        assert_eq!(status(&plan, method, path, body).await, wanted, "{method} {path}");
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_acknowledged_while_the_store_cannot_write() {
    use sqlx::{ConnectOptions as _, Executor as _};
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let subscription = until_pushed(&world, &plan).await;
    // The bridge may be writing just now.
    let patient = sqlx::sqlite::SqliteConnectOptions::from_str(&world.database.url).unwrap().busy_timeout(DEADLINE);
    let mut hog = patient.connect().await.unwrap();
    hog.execute("BEGIN IMMEDIATE").await.unwrap();
    let id = world.tenant.receive(SUPPORT, mail("While the store is busy"));
    let state = world.tenant.subscriptions_of(SUPPORT)[0].client_state.clone().unwrap();
    let mut slow = 0;
    for _ in 0..50 {
        let begun = std::time::Instant::now();
        assert_eq!(posted(&plan.notifications(), &announcing(&subscription, &state, id.as_str())).await, 202);
        slow += usize::from(begun.elapsed() >= Duration::from_secs(5));
    }
    // The machine may be busy now and then; the store is away all the time, and whoever waits for it waits for ten seconds.
    assert!(slow < 10, "{slow} of 50 were acknowledged late");
    world.inbox.has_exactly(&[]).await;
    hog.execute("ROLLBACK").await.unwrap();
    world.inbox.until_has(&["While the store is busy"]).await;
    world.until_read(&id).await;
    world.inbox.has_exactly(&["While the store is busy"]).await;
    bridge.stop().await;
}
