//! What the bridge does to a mail in its mailbox: nothing before its time, and only what is configured.
//!
//! Unread means: not handed over yet.

use mailspan_tenant::{Fault, FaultAction, MessageState, Operation};

use crate::receiver::Answer;
use crate::world::{Bridge, SUPPORT, World, until, until_so};

async fn settled(world: &World, mailbox: &str, so: impl Fn(&MessageState) -> bool) -> MessageState {
    let plan = world.bare_plan().mailbox(SUPPORT, mailbox).route("all", "", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    // It is not handed over before it is as it should be.
    let held = world.tenant.fault(Fault::on(Operation::Mime, FaultAction::refuse(503, "ServiceUnavailable")));
    let id = world.receives("Marked");
    world.tenant.set_categories(&id, &["Red"]);
    world.tenant.clear_fault(held);
    world.inbox.until_has(&["Marked"]).await;
    until("the mark", async || world.tenant.message(&id).filter(|it| so(it))).await;
    until_so("nothing left to mark", async || {
        world.number("SELECT COUNT(*) FROM messages WHERE state = 'delivered' AND mark <> 'due'").await == 1
            && world.number("SELECT COUNT(*) FROM jobs WHERE kind = 'mark'").await == 0
    })
    .await;
    world.until_swept_again(2).await;
    world.inbox.has_exactly(&["Marked"]).await;
    bridge.stop().await;
    world.tenant.message(&id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_mail_is_read_and_otherwise_as_it_was() {
    let world = World::new().await;
    let message = settled(&world, "", |it| it.is_read).await;
    assert_eq!((message.folder.as_str(), message.categories.as_slice()), ("inbox", ["Red".to_owned()].as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_is_never_marked_stays_as_it_is() {
    let world = World::new().await;
    let message = settled(&world, "mark_read = \"never\"", |_| true).await;
    assert!(!message.is_read);
    assert_eq!(message.patches, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_is_added_to_those_that_stand() {
    let world = World::new().await;
    let message = settled(&world, "category = \"Mailspan: delivered\"", |it| it.categories.len() == 2).await;
    assert!(message.is_read);
    assert_eq!(message.categories, ["Red", "Mailspan: delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_is_given_also_where_nothing_is_marked_read() {
    let world = World::new().await;
    let mailbox = "mark_read = \"never\"\ncategory = \"Done\"";
    let message = settled(&world, mailbox, |it| it.categories.len() == 2).await;
    assert!(!message.is_read);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_mail_is_moved_where_it_should_go_and_not_found_again_there() {
    let world = World::new().await;
    let message = settled(&world, "move_to = \"archive\"", |it| it.folder == "archive").await;
    assert!(message.is_read);
    assert_eq!(message.folders_before, ["inbox"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_marked_or_moved_before_every_route_has_accepted() {
    let world = World::new().await;
    let slow = crate::world::Inbox::start().await;
    slow.usually_answers(Answer::Status(500));
    let patient = format!("retry = [\"0s\", \"200ms\"{}]", ", \"1s\"".repeat(150));
    let plan = world.bare_plan().mailbox(SUPPORT, "move_to = \"archive\"\ncategory = \"Done\"");
    let plan = plan.route("all", "", &world.inbox).route("slow", &patient, &slow);
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("Not yet");
    world.inbox.until_has(&["Not yet"]).await;
    until_so("three refusals", async || slow.received().len() >= 3).await;
    let message = world.tenant.message(&id).unwrap();
    assert!(!message.is_read && message.folder == "inbox" && message.categories.is_empty(), "{message:?}");
    slow.usually_answers(Answer::Status(200));
    let message = until("the move", async || world.tenant.message(&id).filter(|it| it.folder == "archive")).await;
    assert!(message.is_read);
    assert_eq!(message.categories, ["Done"]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_when_stored_it_is_read_though_nobody_has_accepted_it_yet() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(500));
    let patient = format!("retry = [\"0s\"{}]", ", \"1s\"".repeat(150));
    let plan = world.bare_plan().mailbox(SUPPORT, "mark_read = \"stored\"").route("all", &patient, &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("Stored");
    world.until_read(&id).await;
    world.inbox.has_exactly(&[]).await;
    world.inbox.usually_answers(Answer::Status(200));
    world.inbox.until_has(&["Stored"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_purged_after_delivery_does_not_hold_up_the_marks_of_others() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    world.inbox.will_answer([Answer::Held]);
    let purged = world.receives("Purged");
    until_so("its delivery", async || !world.inbox.received().is_empty()).await;
    world.tenant.purge_message(&purged);
    world.inbox.release();
    let kept = world.receives("Kept");
    world.until_read(&kept).await;
    world.inbox.until_has(&["Purged", "Kept"]).await;
    until_so("no mark left over", async || world.number("SELECT COUNT(*) FROM messages WHERE mark = 'due'").await == 0)
        .await;
    bridge.stop().await;
}
