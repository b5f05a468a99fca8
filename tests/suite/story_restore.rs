//! An older copy of the store comes back: nothing that lies in the mailbox is missing, and repetitions have the ids they had.
//!
//! Copied and restored as docs/backup.md says, while the bridge works.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use mailspan_tenant::{Fault, FaultAction, Operation, RetryAfter};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::office::{Office, letter};
use crate::sending::submission;
use crate::world::{Bridge, Plan, SUPPORT, World, until_so};

/// `sqlite3 -readonly FILE "VACUUM INTO 'COPY'"`.
async fn copy(world: &World) -> PathBuf {
    let copy = world.path("copy.db");
    let options = SqliteConnectOptions::from_str(&world.database.url).unwrap().read_only(true);
    let mut connection = options.connect().await.unwrap();
    let into = AssertSqlSafe(format!("VACUUM INTO '{}'", copy.display()));
    sqlx::query(into).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    copy
}

/// The same bridge on the copy.
fn restored(plan: Plan, copy: &Path) -> Plan {
    plan.text("store", "url", &format!("sqlite:{}", copy.display()))
}

/// What the receiver accepted of a subject: its ids, in the order they came.
fn ids(world: &World, subject: &str) -> Vec<String> {
    world.inbox.accepted().into_iter().filter(|it| it.subject == subject).map(|it| it.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_store_repeats_what_came_since_with_its_ids_and_loses_nothing() {
    let office = Office::new().await;
    let world = &office.world;
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    let first = world.receives("Before the copy");
    world.until_read(&first).await;

    let copied = copy(world).await;

    let second = world.receives("After the copy");
    world.until_read(&second).await;
    let answered = plan.submit(&letter("Sent after the copy")).await.id();
    plan.until_state(&answered, "sent", None).await;
    bridge.stop().await;
    let third = world.receives("While it was down");

    let plan = restored(office.plan(), &copied);
    let bridge = Bridge::start(&plan).await;
    world.until_read(&third).await;
    until_so("a repetition", async || ids(world, "After the copy").len() == 2).await;
    world.until_swept_again(2).await;
    world.until_no_traffic().await;

    assert_eq!(ids(world, "Before the copy").len(), 1);
    assert_eq!(ids(world, "While it was down").len(), 1);
    let repeated = ids(world, "After the copy");
    assert_eq!(repeated.len(), 2, "{repeated:?}");
    assert_eq!(repeated[0], repeated[1]);
    // What was handed in since is not known any more, and does not leave again.
    let (status, _) = plan.page(&format!("/api/v1/messages/{answered}")).await.unwrap();
    assert_eq!(status, 404);
    assert_eq!(office.sent(), [("Sent after the copy".to_owned(), 1)].into());
    let (_, audit) = plan.page("/api/v1/audit?since=24h").await.unwrap();
    let audit: serde_json::Value = serde_json::from_str(&audit).unwrap();
    assert_eq!(audit["balanced"], true, "{audit}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_in_an_older_copy_can_be_taken_back_before_it_leaves_a_second_time() {
    let office = Office::new().await;
    let world = &office.world;
    let plan = office.plan();
    let hour = Duration::from_secs(3600);
    let bridge = Bridge::start(&plan).await;
    let mut mail = letter("Later today");
    mail["send_at"] = json!((jiff::Timestamp::now() + hour).to_string());
    let id = plan.submit(&mail).await.id();
    let copied = copy(world).await;
    bridge.pass(2 * hour).await;
    plan.until_state(&id, "sent", None).await;
    bridge.stop().await;

    // The copy does not know that it left: without sending, it is found and taken back.
    let silent = restored(office.plan_with("send = false"), &copied);
    let bridge = Bridge::start(&silent).await;
    bridge.pass(2 * hour).await;
    let says_why = |it: &Value| it["sending"]["trouble"].as_str().is_some_and(|it| it.contains("send = false"));
    silent.until_check("mailbox", SUPPORT, "why it waits", says_why).await;
    let (_, queued) = silent.page("/api/v1/messages?state=queued").await.unwrap();
    assert!(queued.contains(&id), "{queued}");
    let taken_back = silent.cancel(&id).await;
    assert!((200..300).contains(&taken_back.status), "{}", taken_back.body);
    bridge.stop().await;

    let plan = restored(office.plan(), &copied);
    let bridge = Bridge::start(&plan).await;
    bridge.pass(2 * hour).await;
    plan.until_state(&id, "cancelled", None).await;
    world.until_swept_again(2).await;
    assert_eq!(office.sent(), [("Later today".to_owned(), 1)].into());
    bridge.stop().await;
}

/// Two mails whose drafts are made and which Exchange does not let leave just now; the bridge has stopped.
async fn two_drafts(office: &Office) -> Vec<String> {
    let (world, plan) = (&office.world, office.plan());
    let bridge = Bridge::start(&plan).await;
    world.tenant.fault(Fault::on(Operation::Send, FaultAction::throttle(RetryAfter::Seconds(1))));
    let ids = vec![plan.submit(&letter("One")).await.id(), plan.submit(&letter("Two")).await.id()];
    until_so("two drafts that stay", async || {
        let rows = [submission(&bridge, &ids[0]).await, submission(&bridge, &ids[1]).await];
        rows.iter().all(|it| it.draft_id.is_some() && it.leaving_at.is_none())
    })
    .await;
    bridge.stop().await;
    world.tenant.clear_faults();
    assert!(office.sent().is_empty());
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_that_left_since_the_copy_was_made_are_found_without_sending_anything() {
    let office = Office::new().await;
    let ids = two_drafts(&office).await;
    let copied = copy(&office.world).await;
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    for id in &ids {
        plan.until_state(id, "sent", None).await;
    }
    bridge.stop().await;

    let silent = restored(office.plan_with("send = false"), &copied);
    let bridge = Bridge::start(&silent).await;
    for id in &ids {
        silent.until_state(id, "sent", None).await;
    }
    bridge.stop().await;
    assert_eq!(office.sent(), [("One".to_owned(), 1), ("Two".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_send_was_switched_off_waits_however_long() {
    let office = Office::new().await;
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    let mut mail = letter("Three");
    mail["send_at"] = json!((jiff::Timestamp::now() + Duration::from_secs(3600)).to_string());
    let mut ids = vec![plan.submit(&mail).await.id()];
    bridge.stop().await;
    ids.extend(two_drafts(&office).await);

    let silent = office.plan_with("send = false");
    let bridge = Bridge::start(&silent).await;
    for _ in 0..8 {
        bridge.pass(Duration::from_secs(24 * 3600)).await;
        let says_why = |it: &Value| it["sending"]["trouble"].as_str().is_some_and(|it| it.contains("send = false"));
        silent.until_check("mailbox", SUPPORT, "why it waits", says_why).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(submission(&bridge, &ids[0]).await.state.as_str(), "queued");
    assert!(office.sent().is_empty(), "nothing leaves");
    bridge.stop().await;

    let bridge = Bridge::start(&plan).await;
    bridge.pass(Duration::from_secs(9 * 24 * 3600)).await;
    for id in &ids {
        plan.until_state(id, "sent", None).await;
    }
    let once = ["One", "Two", "Three"].map(|it| (it.to_owned(), 1));
    assert_eq!(office.sent(), once.into());
    bridge.stop().await;
}
