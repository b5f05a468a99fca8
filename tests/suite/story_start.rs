//! Which mail counts when a mailbox is first seen, and what happened while nobody was looking.
//!
//! Mail from before the start stays where it was, whatever is done to it; mail from after it is delivered.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use mailspan_tenant::{MessageId, NotificationPolicy};

use crate::receiver::Answer;
use crate::store_world::on_both;
use crate::world::{Bridge, SUPPORT, World, mail, until_so};
use crate::world_program::Program;

/// A mail that came this many hours ago.
fn old(world: &World, subject: &str, hours: i64, is_read: bool) -> MessageId {
    let received = Timestamp::now().checked_sub(hours.hours()).unwrap();
    world.tenant.receive_at(SUPPORT, mail(subject), received, is_read, "inbox")
}

on_both! {
    async fn a_mail_that_arrives_while_the_bridge_is_down_is_delivered_after_the_restart(world: World) {
        let plan = world.plan();
        let bridge = Bridge::start(&plan).await;
        let before = world.receives("Before");
        world.inbox.until_has(&["Before"]).await;
        world.until_read(&before).await;
        bridge.stop().await;
        world.tenant.notifications(NotificationPolicy::silent());
        let id = world.receives("Meanwhile");
        let read = world.receives("Meanwhile, and read by a colleague");
        world.tenant.set_read(&read, true);
        let bridge = Bridge::start(&plan).await;
        world.inbox.until_has(&["Meanwhile", "Meanwhile, and read by a colleague"]).await;
        world.until_read(&id).await;
        world.until_swept_again(2).await;
        world.inbox.has_exactly(&["Before", "Meanwhile", "Meanwhile, and read by a colleague"]).await;
        bridge.stop().await;
    }

    async fn a_bridge_that_was_killed_takes_up_what_it_had_begun(world: World) {
        let plan = world.plan();
        world.inbox.usually_answers(Answer::Late(Duration::from_millis(300)));
        let program = Program::start(&plan, &world.path("mailspan.toml"));
        plan.until_ready().await;
        plan.until_watching().await;
        let wanted: Vec<String> = (0..10).map(|number| format!("Order {number}")).collect();
        for subject in &wanted {
            world.receives(subject);
        }
        until_so("attempts under way", async || world.inbox.received().len() >= 3).await;
        program.kill().await;
        if !world.database.is_sqlite() {
            // What it had said last is done, or undone, before its leases are looked at.
            let sessions = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                 AND backend_type = 'client backend'";
            until_so("the end of its sessions", async || world.number(sessions).await == 0).await;
            // A replica that died keeps its leases until they run out; here that time passes at once.
            world.database.execute("UPDATE jobs SET leased_until = 1, due_at = 1 WHERE leased_until IS NOT NULL").await;
        }
        let program = Program::start(&plan, &world.path("mailspan.toml"));
        plan.until_ready().await;
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let accepted = world.inbox.until_has(&wanted).await;
        for message in world.tenant.messages(SUPPORT) {
            world.until_read(&message.id).await;
        }
        // What was under way may come again: then with the same id.
        let ids: BTreeSet<String> = accepted.iter().map(|it| it.id.clone()).collect();
        assert_eq!(ids.len(), wanted.len());
        assert_eq!(program.terminate().await, Some(0));
    }

    async fn starting_from_all_delivers_the_whole_folder_once(world: World) {
        for number in 0..25 {
            old(&world, &format!("Old {number:02}"), 1 + number * 100, number % 2 == 0);
        }
        let plan = world.plan().text("sync", "start_from", "all");
        let bridge = Bridge::start(&plan).await;
        world.receives("New");
        let mut wanted: Vec<String> = (0..25).map(|number| format!("Old {number:02}")).collect();
        wanted.push("New".into());
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        world.inbox.until_has(&wanted).await;
        world.until_swept_again(2).await;
        world.inbox.has_exactly(&wanted).await;
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_from_now_takes_mail_of_the_same_second_and_none_from_before() {
    let world = World::new().await;
    old(&world, "Old unread", 5, false);
    old(&world, "Old read", 48, true);
    let plan = world.plan();
    // Exchange shows times in whole seconds, so this one seems to have come before the bridge began.
    let bridge = Bridge::begin(&plan).await;
    world.receives("In the same second");
    plan.until_watching().await;
    world.receives("New");
    world.inbox.until_has(&["In the same second", "New"]).await;
    world.until_swept_again(2).await;
    world.inbox.has_exactly(&["In the same second", "New"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_mail_that_is_touched_after_a_start_from_now_is_not_delivered() {
    let world = World::new().await;
    let toggled = old(&world, "Old and toggled", 5, false);
    let filed = old(&world, "Old and categorised", 30, true);
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    world.tenant.set_read(&toggled, true);
    world.tenant.set_read(&toggled, false);
    world.tenant.set_categories(&filed, &["Red"]);
    world.receives("New");
    world.inbox.until_has(&["New"]).await;
    world.until_swept_again(3).await;
    world.inbox.has_exactly(&["New"]).await;
    assert!(!world.tenant.message(&toggled).unwrap().is_read, "what is not ours is left alone");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_from_unread_delivers_the_unread_and_what_comes() {
    let world = World::new().await;
    old(&world, "Old unread", 5, false);
    let read = old(&world, "Old read", 5, true);
    let plan = world.plan().text("sync", "start_from", "unread");
    let bridge = Bridge::start(&plan).await;
    world.receives("New");
    world.inbox.until_has(&["Old unread", "New"]).await;
    world.tenant.set_categories(&read, &["Red"]);
    world.until_swept_again(3).await;
    world.inbox.has_exactly(&["New", "Old unread"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_from_a_time_delivers_from_that_time_on() {
    let world = World::new().await;
    let early = old(&world, "Too early", 30, false);
    old(&world, "Late enough", 10, false);
    old(&world, "Late enough and read", 9, true);
    let from = Timestamp::now().checked_sub(20.hours()).unwrap();
    let plan = world.plan().text("sync", "start_from", &from.to_string());
    let bridge = Bridge::start(&plan).await;
    world.inbox.until_has(&["Late enough", "Late enough and read"]).await;
    world.tenant.set_read(&early, true);
    world.until_swept_again(3).await;
    world.inbox.has_exactly(&["Late enough", "Late enough and read"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_start_from_now_again() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    bridge.stop().await;
    // It came hours ago as far as anybody can tell: the bridge was away for a day.
    world.tenant.notifications(NotificationPolicy::silent());
    world.receives("During a long absence");
    // Graph tells when a mail came in whole seconds: one of the second in which the bridge begins is taken in any case.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let later = world.plan();
    let bridge = Bridge::start(&later).await;
    world.inbox.until_has(&["During a long absence"]).await;
    bridge.stop().await;
}
