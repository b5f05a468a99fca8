//! Reading a mailbox through everything Graph does to its readers: resets, empty pages, moves, edits, disappearances.
//!
//! The result is always the same: each mail that came is delivered once.

use std::time::Duration;

use mailspan_tenant::{Fault, FaultAction, NotificationPolicy, Operation, Quirks};
use serde_json::Value;

use crate::world::{Bridge, SUPPORT, World, until_so};

fn subjects(word: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{word} {number:03}")).collect()
}

fn texts(subjects: &[String]) -> Vec<&str> {
    subjects.iter().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_between_rounds_delivers_nothing_twice_and_loses_nothing() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    for round in 0..4 {
        world.receives(&format!("Order {round}"));
        world.tenant.reset_delta(SUPPORT);
        world.receives(&format!("Invoice {round}"));
    }
    let wanted: Vec<String> = (0..4).flat_map(|it| [format!("Order {it}"), format!("Invoice {it}")]).collect();
    world.inbox.until_has(&texts(&wanted)).await;
    world.tenant.reset_delta(SUPPORT);
    world.until_swept_again(3).await;
    world.receives("Last");
    world.inbox.until_has(&["Last"]).await;
    let mut wanted = wanted;
    wanted.push("Last".into());
    world.inbox.has_exactly(&texts(&wanted)).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_in_the_middle_of_a_round_starts_it_again() {
    let world = World::new().await;
    let wanted = subjects("Old", 150);
    for subject in &wanted {
        world.receives(subject);
    }
    // Every fourth page of a round meets a link that went stale.
    let gone = FaultAction::refuse(410, "SyncStateNotFound");
    world.tenant.fault(Fault::on(Operation::Delta, gone.clone()).after(1).times(1));
    world.tenant.fault(Fault::on(Operation::Delta, gone).after(4).times(1));
    let plan = world.plan().text("sync", "start_from", "all");
    let bridge = Bridge::start(&plan).await;
    world.inbox.until_has(&texts(&wanted)).await;
    world.until_swept_again(2).await;
    world.inbox.has_exactly(&texts(&wanted)).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_and_repeated_items_change_nothing() {
    let world = World::new().await;
    world.tenant.set_quirks(Quirks { empty_pages: 0.5, repeated_items: 0.8, ..Quirks::default() });
    let old = subjects("Old", 60);
    for subject in &old {
        world.receives(subject);
    }
    let plan = world.plan().text("sync", "start_from", "all");
    let bridge = Bridge::start(&plan).await;
    let new = subjects("New", 20);
    for subject in &new {
        world.receives(subject);
    }
    let wanted: Vec<&str> = texts(&old).into_iter().chain(texts(&new)).collect();
    world.inbox.until_has(&wanted).await;
    world.until_swept_again(2).await;
    world.inbox.has_exactly(&wanted).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_moved_out_and_back_is_delivered_once_even_where_delta_forgets_it() {
    let world = World::new().await;
    world.tenant.set_quirks(Quirks { forget_returned: true, ..Quirks::default() });
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    // While it is away nobody can look: the whole excursion falls between two looks.
    let blind = world.tenant.fault(Fault::on(Operation::Delta, FaultAction::refuse(503, "serviceNotAvailable")));
    let listless = world.tenant.fault(Fault::on(Operation::List, FaultAction::refuse(503, "serviceNotAvailable")));
    let id = world.receives("There and back");
    world.tenant.move_message(&id, "archive");
    world.tenant.move_message(&id, "inbox");
    world.tenant.clear_fault(blind);
    world.tenant.clear_fault(listless);
    world.inbox.until_has(&["There and back"]).await;
    world.until_read(&id).await;
    world.tenant.move_message(&id, "archive");
    world.until_looked_again(2).await;
    world.tenant.move_message(&id, "inbox");
    world.until_swept_again(3).await;
    world.inbox.has_exactly(&["There and back"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_moved_into_the_folder_by_a_colleague_is_delivered() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let now = world.tenant.now();
    let id = world.tenant.receive_at(SUPPORT, crate::world::mail("Found in junk"), now, false, "junkemail");
    world.until_looked_again(2).await;
    world.inbox.has_exactly(&[]).await;
    world.tenant.move_message(&id, "inbox");
    world.inbox.until_has(&["Found in junk"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_deleted_before_it_could_be_fetched_is_gone_and_holds_nobody_up() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let slow = world.tenant.fault(Fault::on(Operation::Mime, FaultAction::refuse(503, "serviceNotAvailable")));
    let purged = world.receives("Purged");
    until_so("a try to fetch it", async || world.tenant.fault_hits(slow) > 0).await;
    world.tenant.purge_message(&purged);
    world.tenant.clear_fault(slow);
    world.receives("Kept");
    world.inbox.until_has(&["Kept"]).await;
    // A notification can run ahead of the mailbox for minutes, so nothing counts as gone at once.
    bridge.pass(Duration::from_secs(600)).await;
    world.tenant.advance(Duration::from_secs(600));
    until_so("a record that it is gone", async || {
        world.number("SELECT COUNT(*) FROM messages WHERE state = 'gone'").await == 1
    })
    .await;
    assert_eq!(plan.check("mailbox", SUPPORT).await["parked"], 0);
    world.inbox.has_exactly(&["Kept"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_not_found_yet_is_fetched_when_it_shows() {
    let world = World::new().await;
    let delay = Duration::from_millis(1_500);
    world.tenant.set_quirks(Quirks { replication_delay: delay, ..Quirks::default() });
    let plan = world.plan().text("sync", "sweep_interval", "15m");
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("Announced before it can be read");
    world.inbox.until_has(&["Announced before it can be read"]).await;
    world.until_read(&id).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn colleagues_reading_and_filing_mail_do_not_hide_or_double_it() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let slow = world.tenant.fault(Fault::on(Operation::Mime, FaultAction::refuse(503, "serviceNotAvailable")));
    let wanted = subjects("Busy", 10);
    let ids: Vec<_> = wanted.iter().map(|subject| world.receives(subject)).collect();
    for (number, id) in ids.iter().enumerate() {
        world.tenant.set_read(id, true);
        world.tenant.set_categories(id, &["Red"]);
        if number % 2 == 0 {
            world.tenant.set_read(id, false);
        }
    }
    world.tenant.clear_fault(slow);
    world.inbox.until_has(&texts(&wanted)).await;
    for id in &ids {
        world.until_read(id).await;
        // A category somebody else gave stays.
        assert_eq!(world.tenant.message(id).unwrap().categories, ["Red"]);
    }
    for id in &ids {
        world.tenant.set_read(id, false);
        world.tenant.set_categories(id, &["Blue"]);
    }
    world.until_swept_again(3).await;
    world.inbox.has_exactly(&texts(&wanted)).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_polled_when_push_is_not_possible_and_pushed_when_it_is() {
    let world = World::new().await;
    let refused = world.tenant.fault(Fault::on(Operation::Subscriptions, FaultAction::refuse(400, "ValidationError")));
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    world.receives("Polled");
    world.inbox.until_has(&["Polled"]).await;
    // It is polled from the beginning; that push is not possible is found out beside that.
    let polled = |it: &Value| it["mode"] == "polling" && it["status"] == "degraded";
    let check = plan.until_check("mailbox", SUPPORT, "it is polled", polled).await;
    assert!(check["reason"].as_str().is_some_and(|it| it.starts_with("polling instead of push")), "{check}");
    world.tenant.clear_fault(refused);
    bridge.stop().await;
    let bridge = Bridge::start(&plan).await;
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poll_mode_needs_no_subscription_and_no_public_url() {
    let world = World::new().await;
    world.tenant.notifications(NotificationPolicy::silent());
    let plan = world.plan().text("sync", "mode", "poll").text("sync", "sweep_interval", "15m");
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("Polled");
    world.inbox.until_has(&["Polled"]).await;
    world.until_read(&id).await;
    assert_eq!(world.tenant.subscriptions().len(), 0);
    until_so("everything to be well", async || plan.health().await.1["status"] == "ok").await;
    bridge.stop().await;
}
