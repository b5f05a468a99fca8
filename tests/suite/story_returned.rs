//! What comes back of a mail goes to whoever submitted it, and to no flow that does not ask for it.

use mailspan::model::submission::SubmissionState;
use mailspan::store::Submission;
use mailspan_tenant::{Operation, Quirks, Refusing};
use serde_json::{Value, json};

use crate::api::Api;
use crate::callback_schema::violations;
use crate::mail_returned::report;
use crate::receiver::{Answer, Receiver};
use crate::sending::{about, accept, submission, written};
use crate::world::{Bridge, Plan, SIGNING_SECRET, SUPPORT, World, until, until_so};

const ANN: &str = "ann@example.org";
const CAMPAIGN: &str = "campaign@contoso.example";

fn told_at(plan: Plan, hooks: &Receiver) -> Plan {
    let url = hooks.url.as_str();
    let callback = format!(
        "{{ url = {url:?}, signing_secret = {SIGNING_SECRET:?}, allow_private_networks = true, timeout = \"30s\" }}"
    );
    plan.value("outbound", "callback", &callback)
}

async fn until_bounced(bridge: &Bridge, id: &str) -> Submission {
    until("a bounce", async || {
        let row = submission(bridge, id).await;
        (row.state == SubmissionState::Bounced).then_some(row)
    })
    .await
}

/// The callbacks that were taken, by type: id and body.
async fn until_told(hooks: &Receiver, kinds: &[&str]) -> Vec<(String, Value)> {
    until("callbacks", async || {
        let taken = hooks.received().into_iter().filter(|it| it.accepted);
        let told: Vec<(String, Value)> =
            taken.map(|it| (it.header("webhook-id").to_owned(), serde_json::from_slice(&it.body).unwrap())).collect();
        let has = |kind: &&str| told.iter().any(|(_, event)| event["type"] == **kind);
        kinds.iter().all(has).then_some(told)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_goes_to_the_submitter_and_to_no_flow() {
    for world in [Some(World::sqlite().await), World::postgres().await].into_iter().flatten() {
        world.tenant.set_quirks(Quirks { rename_sent: true, ..Quirks::default() });
        world.tenant.refuse_mail_to(ANN, Refusing::new("5.1.1", "no such user"));
        let hooks = Receiver::start().await;
        hooks.will_answer([Answer::Status(503)]);
        let plan = told_at(world.plan(), &hooks);
        let bridge = Bridge::start(&plan).await;
        let api = Api::of(&plan).await;
        let id = accept(&bridge, about("Your order")).await;
        let row = until_bounced(&bridge, &id).await;
        let [bounce] = &bridge.daemon.store.bounces(row.number).await.unwrap()[..] else { panic!("one came back") };
        assert_eq!((bounce.recipient.as_str(), bounce.status.as_deref()), (ANN, Some("5.1.1")));
        until_so("the report marked as read", async || world.tenant.unread(SUPPORT) == 0).await;
        assert_eq!(world.inbox.accepted().len(), 0, "no flow asked for it");
        let reason = world.texts("SELECT state_reason FROM messages").await;
        assert_eq!(reason, [format!("bounce of submission {id}")]);

        let told = until_told(&hooks, &["submission.sent", "submission.bounced"]).await;
        assert_eq!(told.len(), 2, "each is told once");
        for (_, event) in &told {
            assert_eq!(violations(event), Vec::<String>::new(), "{event:#}");
            assert_eq!((&event["data"]["id"], &event["data"]["metadata"]), (&json!(id), &json!({ "order": 7 })));
        }
        let bounced = told.iter().find(|it| it.1["type"] == "submission.bounced").unwrap();
        assert_eq!(bounced.1["data"]["bounces"][0]["recipient"], ANN);
        assert!(bounced.0.starts_with("cb_"));
        let attempts = hooks.received();
        let refused = attempts.iter().find(|it| !it.accepted).unwrap();
        let again = attempts.iter().find(|it| it.accepted && it.header("webhook-id") == refused.header("webhook-id"));
        assert_eq!(again.unwrap().body, refused.body, "every attempt sends the same bytes under the same id");
        // Whoever is told may hear of it before it is counted.
        until_so("it is counted", async || {
            let (_, metrics) = plan.page("/metrics").await.unwrap();
            metrics.contains("mailspan_submissions_total{outcome=\"bounced\"}")
        })
        .await;

        until_so("every step in its trace", async || {
            let trace = api.found(&format!("/trace?q={id}")).await;
            let steps = trace["submissions"][0]["steps"].as_array().unwrap();
            let has = |what| steps.iter().any(|it| it["what"] == what);
            ["accepted", "drafted", "left", "sent", "bounced", "called_back"].into_iter().all(has)
        })
        .await;
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_on_nothing_of_ours_is_mail_like_any_other() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    for name in ["unknown_recipient", "refused_headers", "postfix"] {
        world.tenant.receive(SUPPORT, report(name));
    }
    until_so("three reports", async || world.inbox.accepted().len() == 3).await;
    let kinds: Vec<Value> =
        world.inbox.accepted().iter().map(|it| it.body["data"]["classification"]["kind"].clone()).collect();
    assert_eq!(kinds, ["dsn", "dsn", "dsn"]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_asks_for_reports_gets_them_as_well() {
    let world = World::new().await;
    world.tenant.refuse_mail_to(ANN, Refusing::new("5.1.1", "no such user"));
    let reports = crate::world::Inbox::start().await;
    let plan = world.plan().route("reports", "kinds = [\"dsn\"]", &reports);
    let bridge = Bridge::start(&plan).await;
    let id = accept(&bridge, about("Your order")).await;
    until_bounced(&bridge, &id).await;
    until_so("the report", async || reports.accepted().len() == 1).await;
    assert_eq!(world.inbox.accepted().len(), 0, "the route without a rule takes everything but this");
    assert_eq!(world.number("SELECT COUNT(*) FROM submission_callbacks").await, 0, "nobody asked to be told");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_to_a_mailbox_that_only_sends_is_found_and_the_rest_is_left_alone() {
    let world = World::new().await;
    world.tenant.add_mailbox(CAMPAIGN);
    world.tenant.refuse_mail_to(ANN, Refusing::new("5.1.1", "no such user"));
    let only_sends = format!("\n[[mailboxes]]\naddress = {CAMPAIGN:?}\nreceive = false\n");
    let bridge = Bridge::start(&world.plan().more(&only_sends)).await;
    let letter = world.tenant.receive(CAMPAIGN, crate::world::mail_to(CAMPAIGN, "A question"));
    let strange = world.tenant.receive(CAMPAIGN, report("unknown_recipient"));
    let id = accept(&bridge, written(about("Our offer"), |it| it.from.email = CAMPAIGN.into())).await;
    until_bounced(&bridge, &id).await;
    until_so("the report marked as read", async || world.tenant.unread(CAMPAIGN) == 2).await;
    let is_read = |id| world.tenant.message(id).unwrap().is_read;
    assert!(!is_read(&letter) && !is_read(&strange), "what is not ours stays as it is");
    until_so("both reports understood", async || {
        world.number("SELECT COUNT(*) FROM messages WHERE state = 'filtered'").await == 2
    })
    .await;
    assert_eq!(world.number("SELECT COUNT(*) FROM messages").await, 2, "people's mail is not even noted");
    assert_eq!(world.tenant.requests().get(Operation::Mime.name()).copied(), Some(2), "and not fetched");
    assert_eq!(world.inbox.accepted().len(), 0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_nobody_takes_is_parked_in_sight_and_discarded_or_made_again() {
    let world = World::new().await;
    let hooks = Receiver::start().await;
    hooks.usually_answers(Answer::Status(410));
    let plan = told_at(world.plan(), &hooks);
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    accept(&bridge, about("Your order")).await;
    let parked = until("a parked callback", async || {
        let page = api.found("/deliveries?state=parked").await;
        page["items"].as_array().and_then(|it| it.first()).cloned()
    })
    .await;
    let id = parked["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("cb_") && parked["route"].is_null(), "{parked}");
    assert_eq!((&parked["code"], &parked["mailbox"]), (&json!("gone"), &json!(format!("contoso/{SUPPORT}"))));
    plan.until_check("callbacks", "outbound.callback", "callbacks are parked", |it| it["parked"] == 1).await;
    let story = api.found(&format!("/deliveries/{id}")).await;
    assert_eq!(story["attempts"].as_array().unwrap().len(), 1, "{story}");

    hooks.usually_answers(Answer::Status(204));
    bridge.pass(std::time::Duration::from_secs(3601)).await;
    let replayed = api.post(&format!("/deliveries/{id}/replay"), json!({})).await;
    assert_eq!(replayed.status, 202, "{}", replayed.body);
    let told = until_told(&hooks, &["submission.sent"]).await;
    assert_eq!(told[0].0, id);
    until_so("its acceptance written down", async || {
        api.found(&format!("/deliveries/{id}")).await["state"] == "accepted"
    })
    .await;
    let parked = api.found("/deliveries?state=parked").await;
    assert!(parked["items"].as_array().is_some_and(Vec::is_empty), "{parked}");
    bridge.stop().await;
}
