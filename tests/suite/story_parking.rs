//! The parking lot: what failed is seen with its reasons, replayed once it can be delivered, or discarded by somebody.

use serde_json::{Value, json};

use crate::api::Api;
use crate::receiver::Answer;
use crate::world::{Bridge, SUPPORT, World, until, until_so};

const QUICK: &str = "retry = [\"0s\", \"100ms\"]";

/// Waits until so many deliveries stand there.
async fn until_there(api: &Api, query: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} deliveries of {query}"), async || {
        let found = api.found(&format!("/deliveries?{query}")).await["items"].as_array().unwrap().clone();
        (found.len() == count).then_some(found)
    })
    .await
}

fn ids(found: &[Value]) -> Vec<String> {
    found.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

async fn what_is_parked_is_seen_and_replayed(world: World) {
    let refusal = "down for ann@customer.example, authorization: Bearer abcdefgh12345678";
    world.inbox.usually_answers(Answer::Says(503, refusal.into()));
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("all", QUICK, &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let mails: Vec<_> = ["One", "Two", "Three"].map(|it| world.receives(it)).into();
    let parked = until_there(&api, "state=parked", 3).await;
    assert!(parked.iter().all(|it| it["code"] == "schedule_used_up" && it["attempt"] == 2 && it["route"] == "all"));
    assert_eq!(
        until_there(&api, "state=parked&code=unavailable&route=all", 3).await,
        parked,
        "the last attempt's code"
    );
    for (query, count) in [
        (format!("mailbox={SUPPORT}"), 3),
        ("since=1h".into(), 3),
        ("until=1h".into(), 0),
        ("route=other".into(), 0),
        ("code=gone".into(), 0),
        ("state=retrying".into(), 0),
        ("state=accepted".into(), 0),
    ] {
        until_there(&api, &query, count).await;
    }

    let id = &ids(&parked)[0];
    let story = api.found(&format!("/deliveries/{id}")).await;
    let attempts = story["attempts"].as_array().unwrap();
    assert_eq!(attempts.iter().map(|it| it["attempt"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    for attempt in attempts {
        assert_eq!((&attempt["outcome"], &attempt["code"]), (&json!("failed"), &json!("unavailable")));
        assert_eq!(
            attempt["answer"], "503 Service Unavailable down for [address], authorization: [removed]",
            "{attempt}"
        );
    }

    // Nothing is replayed by counting, and nothing by a filter that fits nothing.
    let dry = api.post("/deliveries/replay", json!({ "filter": {}, "dry_run": true })).await.body;
    assert_eq!(
        (&dry["matched"], &dry["replayed"], dry["first"].as_array().map(Vec::len)),
        (&json!(3), &json!(0), Some(3))
    );
    let none = json!({ "filter": { "until": "2020-01-01T00:00:00Z" } });
    assert_eq!(api.post("/deliveries/replay", none).await.body["matched"], 0);
    world.inbox.usually_answers(Answer::Status(200));
    until_there(&api, "state=parked", 3).await;

    assert_eq!(api.post(&format!("/deliveries/{id}/replay"), json!({})).await.status, 202);
    until_there(&api, "state=accepted", 1).await;
    assert_eq!(world.inbox.accepted().len(), 1);
    let story = api.found(&format!("/deliveries/{id}")).await;
    let outcomes: Vec<&Value> = story["attempts"].as_array().unwrap().iter().map(|it| &it["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed", "accepted"], "the attempts before the replay are kept");
    assert_eq!((&story["attempt"], &story["code"]), (&json!(1), &Value::Null));

    let window = json!({ "filter": { "since": "1h", "route": "all", "code": "schedule_used_up" } });
    let done = api.post("/deliveries/replay", window).await.body;
    assert_eq!((&done["matched"], &done["replayed"], &done["more"]), (&json!(2), &json!(2), &json!(false)), "{done}");
    until_there(&api, "state=accepted", 3).await;
    for mail in &mails {
        world.until_read(mail).await;
    }
    world.inbox.has_exactly(&["One", "Two", "Three"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_seen_and_replayed_on_sqlite() {
    what_is_parked_is_seen_and_replayed(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_seen_and_replayed_on_postgres() {
    if let Some(world) = World::postgres().await {
        what_is_parked_is_seen_and_replayed(world).await;
    }
}

async fn a_discarded_delivery_is_finished(world: World) {
    let plan = world.plan().route("broken", QUICK, &world.inbox);
    world.inbox.usually_answers(Answer::Status(422));
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let mail = world.receives("For nobody");
    let parked = until_there(&api, "state=parked", 2).await;
    world.inbox.usually_answers(Answer::Status(200));
    let [unwanted, wanted] = &ids(&parked)[..] else { panic!("{parked:?}") };
    assert_eq!(api.post(&format!("/deliveries/{wanted}/replay"), json!({})).await.status, 202);
    until_there(&api, "state=accepted", 1).await;
    assert!(!world.tenant.message(&mail).unwrap().is_read, "one delivery is still open");

    let path = format!("/deliveries/{unwanted}/discard");
    assert_eq!(api.post(&path, json!({})).await.status, 400, "a reason is needed");
    assert_eq!(api.post(&path, json!({ "reason": "  " })).await.status, 400);
    assert_eq!(api.post(&path, json!({ "reason": "the queue is closed" })).await.status, 200);
    world.until_read(&mail).await;
    let story = api.found(&format!("/deliveries/{unwanted}")).await;
    let said = &story["discarded"];
    assert_eq!((&said["by"], &said["reason"]), (&json!("local"), &json!("the queue is closed")), "{story}");
    assert!(story["attempts"].as_array().is_some_and(|it| it.len() >= 2), "its story is kept");
    assert_eq!(api.post(&path, json!({ "reason": "again" })).await.status, 200, "it was before");
    assert_eq!(api.found(&format!("/deliveries/{unwanted}")).await["discarded"]["reason"], "the queue is closed");
    let accepted = api.post(&format!("/deliveries/{wanted}/discard"), json!({ "reason": "late" })).await;
    assert_eq!((accepted.status, accepted.body["type"].as_str()), (409, Some("urn:mailspan:problem:already-accepted")));
    assert_eq!(world.inbox.accepted().len(), 1);

    // A decision can be taken back, and what was accepted can be sent again, under the same id.
    for id in [unwanted, wanted] {
        let path = format!("/deliveries/{id}/replay");
        assert_eq!(api.post(&path, json!({})).await.status, 409);
        assert_eq!(api.post(&path, json!({ "again": true })).await.status, 202);
    }
    until_there(&api, "state=accepted", 2).await;
    let mut sent: Vec<String> = world.inbox.accepted().into_iter().map(|it| it.id).collect();
    sent.sort();
    let mut due = [unwanted.clone(), wanted.clone(), wanted.clone()];
    due.sort();
    assert_eq!(sent, due);
    let story = api.found(&format!("/deliveries/{wanted}")).await;
    let outcomes = story["attempts"].as_array().unwrap().iter().filter(|it| it["outcome"] == "accepted").count();
    assert_eq!(outcomes, 2, "{story}");

    // Without the content there is nothing to send.
    world.number("UPDATE messages SET content_dropped_at = 1 RETURNING id").await;
    let gone = api.post(&format!("/deliveries/{wanted}/replay"), json!({ "again": true })).await;
    assert_eq!((gone.status, gone.body["type"].as_str()), (409, Some("urn:mailspan:problem:content-gone")));
    let all = api.post("/deliveries/replay", json!({ "filter": { "state": "accepted" } })).await.body;
    assert_eq!((&all["matched"], &all["replayed"]), (&json!(2), &json!(0)), "{all}");
    assert_eq!(all["refused"][0]["problem"], "content-gone");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_delivery_is_finished_on_sqlite() {
    Box::pin(a_discarded_delivery_is_finished(World::sqlite().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_delivery_is_finished_on_postgres() {
    if let Some(world) = World::postgres().await {
        Box::pin(a_discarded_delivery_is_finished(world)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_no_route_takes_is_parked_in_sight_and_matched_anew() {
    let world = World::new().await;
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("narrow", "subject = \"order\"", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    // One after the other: Graph tells no order within a second.
    let hello = world.receives("Hello");
    until_there(&api, "state=parked", 1).await;
    let spam = world.receives("Cheap watches");
    let parked = until_there(&api, "state=parked", 2).await;
    assert!(parked.iter().all(|it| it["route"].is_null() && it["code"] == "unmatched"), "{parked:?}");
    assert_eq!(until_there(&api, "code=unmatched", 2).await, parked);
    // The latest comes first.
    let [watches, greeting] = &ids(&parked)[..] else { panic!("{parked:?}") };
    let discard = json!({ "reason": "nobody wants it" });
    assert_eq!(api.post(&format!("/deliveries/{watches}/discard"), discard).await.status, 200);
    let story = api.found(&format!("/deliveries/{watches}")).await;
    assert_eq!((&story["state"], &story["discarded"]["reason"]), (&json!("discarded"), &json!("nobody wants it")));
    bridge.stop().await;

    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    until_there(&api, "state=parked", 1).await;
    assert_eq!(api.post(&format!("/deliveries/{greeting}/replay"), json!({})).await.status, 202);
    world.inbox.until_has(&["Hello"]).await;
    world.until_read(&hello).await;
    assert!(!world.tenant.message(&spam).unwrap().is_read);
    assert_eq!(api.get(&format!("/deliveries/{greeting}")).await.status, 404, "it has deliveries of its own now");
    assert_eq!(api.post(&format!("/deliveries/{watches}/replay"), json!({})).await.status, 409);
    assert_eq!(api.post(&format!("/deliveries/{watches}/replay"), json!({ "again": true })).await.status, 202);
    world.inbox.until_has(&["Hello", "Cheap watches"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_neither_double_nor_hide_while_mail_comes_in() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let first: Vec<String> = (0..7).map(|it| format!("Mail {it}")).collect();
    first.iter().for_each(|it| drop(world.receives(it)));
    let expected = ids(&until_there(&api, "state=accepted", 7).await);
    let (mut seen, mut cursor, mut more) = (Vec::new(), String::new(), 0);
    loop {
        let page = api.found(&format!("/deliveries?limit=2{cursor}")).await;
        seen.extend(ids(page["items"].as_array().unwrap()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        more += 1;
        world.receives(&format!("Later {more}"));
        until_so("a later mail", async || world.inbox.accepted().len() == 7 + more).await;
    }
    assert_eq!(seen, expected, "what came later stands before the first page");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_a_removed_route_is_not_replayed() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(500));
    let with = world.bare_plan().mailbox(SUPPORT, "").route("old", QUICK, &world.inbox);
    let bridge = Bridge::start(&with).await;
    world.receives("Left behind");
    until_there(&Api::of(&with).await, "state=parked", 1).await;
    bridge.stop().await;

    let without = world.plan();
    let bridge = Bridge::start(&without).await;
    let api = Api::of(&without).await;
    let id = ids(&until_there(&api, "state=parked", 1).await)[0].clone();
    let refused = api.post(&format!("/deliveries/{id}/replay"), json!({})).await;
    assert_eq!((refused.status, refused.body["type"].as_str()), (409, Some("urn:mailspan:problem:route-removed")));
    let all = api.post("/deliveries/replay", json!({ "filter": {} })).await.body;
    assert_eq!((&all["replayed"], &all["refused"][0]["problem"]), (&json!(0), &json!("route-removed")));
    assert_eq!(api.post(&format!("/deliveries/{id}/discard"), json!({ "reason": "gone" })).await.status, 200);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_next_attempt_is_tried_at_once_when_it_is_replayed() {
    let world = World::new().await;
    world.inbox.will_answer([Answer::Status(503)]);
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("all", "retry = [\"0s\", \"1h\"]", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    world.receives("Patient");
    let waiting = until_there(&api, "state=retrying", 1).await;
    assert!(waiting[0]["next_attempt_at"].is_string() && waiting[0]["code"] == "unavailable", "{waiting:?}");
    let id = &ids(&waiting)[0];
    assert_eq!(api.post(&format!("/deliveries/{id}/replay"), json!({})).await.status, 202);
    world.inbox.until_has(&["Patient"]).await;
    assert_eq!(until_there(&api, "state=accepted", 1).await[0]["attempt"], 2);
    bridge.stop().await;
}
