//! A paused mailbox: nothing is done in it, nothing is lost, also over a restart, and a look comes with the end of it.

use serde_json::json;

use crate::api::Api;
use crate::world::{Bridge, SUPPORT, World, until_so};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_mailbox_is_left_alone_until_it_is_resumed() {
    for world in [Some(World::sqlite().await), World::postgres().await].into_iter().flatten() {
        let other = "sales@contoso.example";
        world.tenant.add_mailbox(other);
        let plan = world.plan().mailbox(other, "");
        let bridge = Bridge::start(&plan).await;
        let api = Api::of(&plan).await;
        let act = |action: &str| format!("/mailboxes/{SUPPORT}/{action}");
        assert_eq!(api.post(&act("pause"), json!({})).await.body["paused"], true);
        let check = plan.check("mailbox", SUPPORT).await;
        assert_eq!(
            (&check["mode"], &check["status"], &check["paused_by"]),
            (&json!("paused"), &json!("degraded"), &json!("local"))
        );
        // What was in hand there ends as it would have, and what was being claimed is in hand by the time that others are
        // looked at again.
        world.until_swept_again(3).await;
        let in_hand =
            format!("SELECT COUNT(*) FROM jobs WHERE lane = 'mailbox:contoso/{SUPPORT}' AND leased_until IS NOT NULL");
        until_so("nothing in hand there", async || world.number(&in_hand).await == 0).await;
        let mail = world.receives("While paused");
        world.tenant.receive(other, crate::world::mail_to(other, "Elsewhere"));
        world.inbox.until_has(&["Elsewhere"]).await;
        let sync = api.post(&act("sync"), json!({})).await;
        assert_eq!((sync.status, sync.body["type"].as_str()), (409, Some("urn:mailspan:problem:mailbox-paused")));
        bridge.stop().await;

        // It holds over a restart, at which every mailbox would be looked at.
        let bridge = Bridge::begin(&plan).await;
        world.tenant.receive(other, crate::world::mail_to(other, "After the restart"));
        world.inbox.until_has(&["Elsewhere", "After the restart"]).await;
        world.inbox.has_exactly(&["Elsewhere", "After the restart"]).await;
        assert!(!world.tenant.message(&mail).unwrap().is_read);
        let api = Api::of(&plan).await;
        let listed = api.found("/mailboxes").await;
        let modes: Vec<_> = listed["items"].as_array().unwrap().iter().map(|it| it["mode"].as_str().unwrap()).collect();
        assert_eq!(modes.iter().filter(|it| **it == "paused").count(), 1, "{listed}");

        assert_eq!(api.post(&act("resume"), json!({})).await.body["paused"], false);
        world.inbox.until_has(&["While paused"]).await;
        world.until_read(&mail).await;
        plan.until_check("mailbox", SUPPORT, "it is well", |it| it["status"] == "ok").await;
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_asked_for_by_hand_finds_what_was_lost_from_our_tables() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "sweep_interval", "1h");
    let bridge = Bridge::start(&plan).await;
    let lost = world.receives("Lost");
    world.inbox.until_has(&["Lost"]).await;
    world.until_read(&lost).await;
    let in_hand = "SELECT (SELECT COUNT(*) FROM messages WHERE mark = 'due') \
        + (SELECT COUNT(*) FROM jobs WHERE leased_until IS NOT NULL)";
    until_so("all of it written down", async || world.number(in_hand).await == 0).await;
    world.until_no_traffic().await;
    for table in ["deliveries", "contents", "messages"] {
        world.number(&format!("DELETE FROM {table} RETURNING 1")).await;
    }
    let api = Api::of(&plan).await;
    let due = api.post(&format!("/mailboxes/{SUPPORT}/sync"), json!({ "since": "1h" })).await;
    assert_eq!((due.status, due.body["due"].as_str()), (202, Some("sweep")));
    until_so("the lost mail, once more", async || world.inbox.accepted().len() == 2).await;
    let [first, second] = &world.inbox.accepted()[..] else { panic!("two were accepted") };
    assert_eq!(first.id, second.id, "the same mail is the same interaction");
    bridge.stop().await;
}
