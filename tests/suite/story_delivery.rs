//! Delivery as a receiver sees it: the same bytes on every attempt, its answers respected, its ids for ever.
//!
//! What a receiver refuses for good is kept for a person, never dropped.

use std::time::Duration;

use crate::receiver::Answer;
use crate::world::{Bridge, Inbox, Interaction, SIGNING_SECRET, SUPPORT, World, mail, until, until_so};

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_carries_the_same_signed_bytes() {
    let world = World::new().await;
    world.inbox.will_answer([Answer::Status(500), Answer::DropAfterReading, Answer::Status(302), Answer::Status(404)]);
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("Tried five times");
    world.inbox.until_has(&["Tried five times"]).await;
    let attempts = world.inbox.received();
    assert_eq!(attempts.len(), 5);
    let verifier = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    for (at, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt.body, attempts[0].body, "attempt {at} differs");
        assert_eq!(attempt.header("webhook-id"), attempts[0].header("webhook-id"));
        assert_eq!(attempt.header("mailspan-attempt"), (at + 1).to_string());
        verifier.verify(&attempt.body, &attempt.headers).unwrap();
    }
    world.until_read(&id).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_parks_the_delivery_and_pauses_the_route() {
    let world = World::new().await;
    let other = Inbox::start().await;
    world.inbox.usually_answers(Answer::Status(410));
    let plan = world.plan().route("other", "", &other);
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("First");
    other.until_has(&["First"]).await;
    let gone = plan.until_check("route", "all", "it is paused", |it| it["parked"] == 1).await;
    assert_eq!(gone["state"], "paused", "{gone}");
    world.receives("Second");
    other.until_has(&["First", "Second"]).await;
    world.until_swept_again(2).await;
    assert_eq!(world.inbox.received().len(), 1, "a paused route is not tried");
    assert!(!world.tenant.message(&id).unwrap().is_read, "not every route has accepted it");
    let (_, health) = plan.health().await;
    assert_ne!(health["status"], "ok", "{health}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_of_a_receiver_is_respected() {
    let world = World::new().await;
    world
        .inbox
        .will_answer([Answer::With(429, "retry-after", "2".into()), Answer::With(503, "retry-after", "1".into())]);
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    world.receives("Later");
    world.inbox.until_has(&["Later"]).await;
    let came: Vec<_> = world.inbox.received().iter().map(|it| it.at).collect();
    assert!(came.len() >= 3, "two refusals and an acceptance");
    for (pair, wait) in came.windows(2).zip([1_900, 900].map(Duration::from_millis)) {
        assert!(pair[1] - pair[0] >= wait, "asked again after {:?}", pair[1] - pair[0]);
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let world = World::new().await;
    let elsewhere = Inbox::start().await;
    world.inbox.will_answer([Answer::With(307, "location", elsewhere.url.to_string())]);
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    world.receives("Stay here");
    world.inbox.until_has(&["Stay here"]).await;
    assert_eq!(elsewhere.connections(), 0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_bytes_survive_a_restart() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(500));
    let patient = format!("retry = [\"0s\"{}]", ", \"1s\"".repeat(60));
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("all", &patient, &world.inbox);
    let bridge = Bridge::start(&plan).await;
    world.receives("Across a restart");
    until_so("a first attempt", async || !world.inbox.received().is_empty()).await;
    bridge.stop().await;
    world.inbox.usually_answers(Answer::Status(200));
    let bridge = Bridge::start(&plan).await;
    world.inbox.until_has(&["Across a restart"]).await;
    let attempts = world.inbox.received();
    let (first, last) = (&attempts[0], &attempts[attempts.len() - 1]);
    assert_eq!(Interaction::read(first).id, Interaction::read(last).id);
    assert_eq!(first.body, last.body);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maildir_gets_the_mail_as_it_is() {
    let world = World::new().await;
    let folder = world.path("support");
    let plan = world.plan().route_to("disk", "", &format!("kind = \"maildir\"\npath = {folder:?}"));
    let bridge = Bridge::start(&plan).await;
    let mime = mail("For the disk");
    let id = world.tenant.receive(SUPPORT, mime.clone());
    world.until_read(&id).await;
    let files: Vec<_> = std::fs::read_dir(folder.join("new")).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let content = std::fs::read(&files[0]).unwrap();
    assert!(content.ends_with(&mime), "the mail is not at the end of the file, byte for byte");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_too_large_for_one_route_is_parked_there_and_delivered_elsewhere() {
    let world = World::new().await;
    let small = Inbox::start().await;
    let plan = world.plan().route("small", "max_message_size = \"2KiB\"", &small);
    let bridge = Bridge::start(&plan).await;
    let mut mime = mail("Large");
    mime.extend(b"and so on, and so forth\r\n".repeat(200));
    let id = world.tenant.receive(SUPPORT, mime);
    world.receives("Little");
    world.inbox.until_has(&["Large", "Little"]).await;
    small.until_has(&["Little"]).await;
    plan.until_check("route", "small", "one is parked", |it| it["parked"] == 1).await;
    small.has_exactly(&["Little"]).await;
    assert!(!world.tenant.message(&id).unwrap().is_read);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_larger_than_the_house_takes_is_parked_unread_and_others_go_on() {
    let world = World::new().await;
    let plan = world.plan().text("limits", "max_message_size", "64KiB");
    let bridge = Bridge::start(&plan).await;
    let mut mime = mail("Enormous");
    mime.extend(b"and so on, and so forth\r\n".repeat(10_000));
    let id = world.tenant.receive(SUPPORT, mime);
    world.receives("Little");
    world.inbox.until_has(&["Little"]).await;
    plan.until_check("mailbox", SUPPORT, "one is parked", |it| it["parked"] == 1).await;
    world.inbox.has_exactly(&["Little"]).await;
    assert!(!world.tenant.message(&id).unwrap().is_read);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_schedule_parks_the_delivery_and_leaves_the_mail_unread() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(500));
    let plan =
        world.bare_plan().mailbox(SUPPORT, "").route("all", "retry = [\"0s\", \"50ms\", \"50ms\"]", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("Refused");
    plan.until_check("route", "all", "one is parked", |it| it["parked"] == 1).await;
    assert_eq!(world.inbox.received().len(), 3);
    world.until_swept_again(2).await;
    assert_eq!(world.inbox.received().len(), 3);
    assert!(!world.tenant.message(&id).unwrap().is_read);
    let metric = until("mailspan_parked", async || {
        let (_, text) = plan.page("/metrics").await?;
        text.lines().find(|it| it.starts_with("mailspan_parked{") && it.ends_with(" 1")).map(str::to_owned)
    })
    .await;
    assert!(metric.contains("route=\"all\""), "{metric}");
    bridge.stop().await;
}
