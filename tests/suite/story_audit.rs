//! Did we lose any? An audit finds what was taken out of the tables by hand, and nothing else.
//!
//! The mailbox itself is what it is held against.

use std::time::Duration;

use mailspan_tenant::{Access, MessageId, Operation};
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Api;
use crate::receiver::Answer;
use crate::world::{Bridge, Inbox, Plan, SUPPORT, World, mail, mail_to, until, until_so};

/// The audit of the last day, however long it takes.
async fn audit(api: &Api) -> Value {
    let answer = api.request(Method::GET, "/audit?since=26h", &[], Vec::new()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn sums<const N: usize>(report: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|it| report["mailboxes"][0]["total"][it].as_u64().unwrap_or_else(|| panic!("{it} in {report}")))
}

/// Every hour adds up, and all of them to the total.
fn adds_up(report: &Value) {
    for mailbox in report["mailboxes"].as_array().unwrap() {
        let number = |sums: &Value, name: &str| sums[name].as_u64().unwrap();
        let hours = mailbox["hours"].as_array().unwrap();
        for sums in hours.iter().chain([&mailbox["total"]]) {
            let classes =
                ["delivered", "discarded", "parked", "filtered", "pending", "unknown", "in_the_dark", "short"];
            let all: u64 = classes.iter().map(|it| number(sums, it)).sum();
            assert_eq!(number(sums, "seen"), all, "{sums}");
        }
        let seen: u64 = hours.iter().map(|it| number(it, "seen")).sum();
        assert_eq!(seen, number(&mailbox["total"], "seen"));
    }
}

/// Two routes, a mailbox that is read every second and swept once a minute after the start and then no more.
fn plan(world: &World, archive: &Inbox) -> Plan {
    let retry = "retry = [\"0s\", \"12h\"]";
    let routes = world.bare_plan().mailbox(SUPPORT, "");
    let routes = routes.route("all", retry, &world.inbox).route("archive", retry, archive);
    routes.text("sync", "mode", "poll").text("sync", "sweep_interval", "24h")
}

/// Lets so much time pass that whatever came is due to be known, until the one sweep is over and the mailbox was read to
/// its end after that. From then on nothing finds by itself what is taken out of the tables.
async fn grow_old(world: &World, bridge: &Bridge) {
    bridge.pass(Duration::from_secs(600)).await;
    until_so("the one sweep, written down", async || {
        world.number("SELECT COUNT(*) FROM mailboxes WHERE swept_until IS NULL").await == 0
    })
    .await;
    let read = || world.tenant.requests().get(Operation::Delta.name()).copied().unwrap_or_default();
    let begun = read();
    // The first may belong to a look that was under way; when the last of these begins, a whole look has ended.
    until_so("looks from beginning to end", async || read() >= begun + 4).await;
}

async fn removed_by_hand(world: World) {
    let archive = Inbox::start().await;
    let plan = plan(&world, &archive);
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let subjects = ["Kept", "Row", "Delivery"];
    let ids: Vec<MessageId> = subjects.iter().map(|it| world.receives(it)).collect();
    world.inbox.until_has(&subjects).await;
    archive.until_has(&subjects).await;
    archive.usually_answers(Answer::Status(503));
    let waiting = world.receives("Job");
    world.inbox.until_has(&["Job"]).await;
    until_so("a retry, and all that was accepted written down", async || {
        world.number("SELECT COUNT(*) FROM jobs WHERE last_error IS NOT NULL").await == 1
            && world.number("SELECT COUNT(*) FROM deliveries WHERE accepted_at IS NOT NULL").await == 7
    })
    .await;
    // A mail that is marked has changed, so the next look is shown it once more.
    for id in &ids {
        world.until_read(id).await;
    }
    grow_old(&world, &bridge).await;

    let before = audit(&api).await;
    adds_up(&before);
    assert_eq!(before["balanced"], true, "{before}");
    assert_eq!(sums(&before, ["seen", "delivered", "pending", "absent"]), [4, 3, 1, 0]);

    let number = |id: &MessageId| format!("SELECT id FROM messages WHERE immutable_id = '{}'", id.as_str());
    for table in ["contents", "deliveries"] {
        world.database.execute(&format!("DELETE FROM {table} WHERE message IN ({})", number(&ids[1]))).await;
    }
    world.database.execute(&format!("DELETE FROM messages WHERE immutable_id = '{}'", ids[1].as_str())).await;
    let row = format!("DELETE FROM deliveries WHERE route = 'archive' AND message IN ({})", number(&ids[2]));
    world.database.execute(&row).await;
    world.database.execute("DELETE FROM jobs WHERE kind = 'deliver'").await;

    let after = audit(&api).await;
    adds_up(&after);
    assert_eq!(after["balanced"], false);
    let classes = ["seen", "delivered", "pending", "unknown", "in_the_dark", "short", "absent"];
    assert_eq!(sums(&after, classes), [4, 1, 0, 1, 1, 1, 0], "{after}");
    let missing = after["mailboxes"][0]["missing"].as_array().unwrap();
    for (id, verdict) in [(&ids[1], "unknown"), (&ids[2], "short"), (&waiting, "in_the_dark")] {
        let named = missing.iter().find(|it| it["immutable_id"] == id.as_str());
        let named = named.unwrap_or_else(|| panic!("{verdict} is named in {after}"));
        assert_eq!((&named["verdict"], &named["in_folder"]), (&verdict.into(), &true.into()));
        assert!(named["internet_message_id"].is_string() && named["received_at"].is_string(), "{named}");
    }
    let mend = after["mailboxes"][0]["mend"].as_str().unwrap();
    assert!(mend.starts_with(&format!("mailspan mailbox sync contoso/{SUPPORT} --since 20")), "{mend}");

    let check = plan.check("mailbox", SUPPORT).await;
    assert_eq!(check["status"], "degraded");
    assert!(check["reason"].as_str().unwrap().contains("could not account for 3 messages"), "{check}");
    bridge.stop().await;

    // The restart does not hide it.
    let bridge = Bridge::start(&plan).await;
    let imbalance = async || {
        let (_, text) = plan.page("/metrics").await?;
        text.lines().find(|it| it.starts_with("mailspan_audit_imbalance{")).map(str::to_owned)
    };
    assert!(until("the result of the last audit", imbalance).await.ends_with(" 3"));

    // The command it names brings all of them back, and repeats no delivery that was made.
    archive.usually_answers(Answer::Status(200));
    let (before, since) = (archive.accepted().len(), mend.rsplit(' ').next().unwrap());
    let due = api.post(&format!("/mailboxes/{SUPPORT}/sync"), json!({ "since": since })).await;
    assert_eq!((due.status, &due.body["taken_up"]), (202, &2.into()), "{}", due.body);
    until_so("all are delivered", async || {
        let report = audit(&api).await;
        report["balanced"] == true && sums(&report, ["seen", "delivered"]) == [4, 4]
    })
    .await;
    let again: Vec<String> = archive.accepted().split_off(before).into_iter().map(|it| it.subject).collect();
    assert!(again.len() == 3 && !again.contains(&"Kept".to_owned()), "{again:?}");
    assert!(until("the healed result", imbalance).await.ends_with(" 0"));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_from_the_tables_by_hand_is_found_on_sqlite() {
    Box::pin(removed_by_hand(World::sqlite().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_from_the_tables_by_hand_is_found_on_postgres() {
    if let Some(world) = World::postgres().await {
        Box::pin(removed_by_hand(world)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_normal_day_balances() {
    let world = World::new().await;
    let (refusing, slow) = (Inbox::start().await, Inbox::start().await);
    refusing.usually_answers(Answer::Status(400));
    slow.usually_answers(Answer::Status(503));
    world.receives("Before the bridge was there");
    let plan =
        world.bare_plan().mailbox(SUPPORT, "").text("sync", "mode", "poll").text("routing", "unmatched", "ignore");
    let plan = plan.route("orders", "subject = \"Order\"", &world.inbox);
    let plan = plan.route("refusing", "retry = [\"0s\"]\nsubject = \"Refused\"", &refusing);
    let plan = plan.route("slow", "retry = [\"0s\", \"12h\"]\nsubject = \"Late\"", &slow);
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
    world.tenant.receive_at(SUPPORT, mail("Order of old"), long_ago, false, "inbox");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let orders = ["Order 1", "Order 2", "Order 3", "Order 4"];
    let ids: Vec<MessageId> = orders.iter().map(|it| world.receives(it)).collect();
    for subject in ["Refused", "Late", "Newsletter 1", "Newsletter 2"] {
        world.receives(subject);
    }
    world.inbox.until_has(&orders).await;
    until_so("four are accepted, one is parked, one retries, two are filtered", async || {
        let question = "SELECT (SELECT COUNT(*) FROM jobs WHERE kind = 'deliver' AND last_error IS NOT NULL)
             + (SELECT COUNT(*) FROM messages WHERE state = 'filtered')
             + (SELECT COUNT(*) FROM deliveries WHERE accepted_at IS NOT NULL)";
        world.number(question).await == 8
    })
    .await;
    world.tenant.move_message(&ids[0], "archive");
    world.tenant.delete_message(&ids[1]);
    world.tenant.purge_message(&ids[2]);
    let young = audit(&api).await;
    bridge.pass(Duration::from_secs(600)).await;
    world.until_looked_again(3).await;
    for report in [young, audit(&api).await] {
        adds_up(&report);
        assert_eq!(report["balanced"], true, "{report}");
        let classes = ["seen", "delivered", "parked", "filtered", "pending", "earlier", "absent"];
        assert_eq!(sums(&report, classes), [5, 1, 1, 2, 1, 2, 3], "{report}");
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_comes_while_it_is_audited_raises_no_alarm() {
    let world = World::new().await;
    let plan = world.bare_plan().mailbox(SUPPORT, "move_to = \"archive\"").route("all", "", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let subjects: Vec<String> = (0..300).map(|it| format!("Order {it:03}")).collect();
    let mut pending = 0;
    for some in subjects.chunks(10) {
        some.iter().for_each(|it| drop(world.receives(it)));
        let report = audit(&api).await;
        adds_up(&report);
        assert_eq!(report["balanced"], true, "{report}");
        pending += sums(&report, ["pending"])[0];
    }
    world.inbox.until_has(&subjects.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(pending > 0, "it was never audited while mail was on its way");
    bridge.pass(Duration::from_secs(600)).await;
    world.until_looked_again(3).await;
    until_so("everything is moved away", async || {
        let report = audit(&api).await;
        assert_eq!(report["balanced"], true, "{report}");
        sums(&report, ["seen", "absent"]) == [0, 300]
    })
    .await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_mail_that_is_moved_into_the_folder_is_not_missed_before_it_can_be_known() {
    let world = World::new().await;
    // Nothing finds it before it is audited.
    let plan = world.plan().text("sync", "mode", "poll").text("sync", "poll_interval", "1h");
    let plan = plan.text("sync", "sweep_interval", "1h").text("sync", "start_from", "all");
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let hours_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(3);
    let id = world.tenant.receive_at(SUPPORT, mail("Moved by hand"), hours_ago, false, "private");
    world.tenant.move_message(&id, "inbox");
    let report = audit(&api).await;
    assert_eq!((report["balanced"].as_bool(), sums(&report, ["seen", "pending"])), (Some(true), [1, 1]), "{report}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_folder_is_read_to_its_end_also_where_a_second_holds_more_than_a_page() {
    let world = World::new().await;
    let hour = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(3);
    for number in 0..450 {
        world.tenant.receive_at(SUPPORT, mail(&format!("Same second {number}")), hour, false, "inbox");
    }
    for number in 1..=350 {
        let at = hour + jiff::SignedDuration::from_secs(number * 20);
        world.tenant.receive_at(SUPPORT, mail(&format!("Later {number}")), at, false, "inbox");
    }
    let plan = world.plan().text("sync", "start_from", "all").text("sync", "mode", "poll");
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    until_so("all are known", async || world.number("SELECT COUNT(*) FROM messages").await == 800).await;
    let report = audit(&api).await;
    adds_up(&report);
    assert_eq!((report["balanced"].as_bool(), sums(&report, ["seen", "absent", "earlier"])), (Some(true), [800, 0, 0]));
    assert!(report["mailboxes"][0]["hours"].as_array().unwrap().len() >= 2);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_cannot_be_read_is_said_to_be_so_and_the_others_are_audited() {
    const SALES: &str = "sales@contoso.example";
    let world = World::new().await;
    world.tenant.add_mailbox(SALES);
    let plan = world.plan().mailbox(SALES, "");
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    world.receives("Order");
    world.tenant.receive(SALES, mail_to(SALES, "Offer"));
    world.inbox.until_has(&["Order", "Offer"]).await;
    world.tenant.set_access(SALES, Access::Denied);
    let report = audit(&api).await;
    assert_eq!(report["balanced"], false);
    let mailboxes = report["mailboxes"].as_array().unwrap();
    assert_eq!((&mailboxes[0]["balanced"], &mailboxes[1]["balanced"]), (&false.into(), &true.into()), "{report}");
    assert!(mailboxes[0]["problem"].as_str().unwrap().contains("could not be audited"), "{report}");
    assert_eq!(mailboxes[1]["total"]["seen"], 1);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mailbox_is_audited_once_a_day_by_itself() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "mode", "poll");
    let bridge = Bridge::start(&plan).await;
    world.receives("Order");
    world.inbox.until_has(&["Order"]).await;
    let last = async || world.number("SELECT COALESCE(MAX(audited_at), 0) FROM mailboxes").await;
    assert_eq!(last().await, 0, "not at the start");
    bridge.pass(Duration::from_secs(13 * 3600)).await;
    let first = until("the first audit", async || Some(last().await).filter(|at| *at > 0)).await;
    // Its outcome is written after its result, and says when the next is due, counted from then.
    let planned =
        format!("SELECT COUNT(*) FROM jobs WHERE kind = 'audit' AND leased_until IS NULL AND due_at > {first}");
    until_so("the next audit planned", async || world.number(&planned).await == 1).await;
    bridge.pass(Duration::from_secs(25 * 3600)).await;
    until_so("the next day's audit", async || last().await >= first + 24 * 3600 * 1000).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_cannot_be_made_as_asked_says_why() {
    let world = World::new().await;
    let plan = world.plan().mailbox("outbound@contoso.example", "receive = false");
    let bridge = Bridge::begin(&plan).await;
    let api = Api::of(&plan).await;
    for (query, status, name) in [
        ("?since=yesterday", 400, "bad-query"),
        ("?since=2999-01-01T00:00:00Z", 400, "bad-query"),
        ("?since=999999d", 400, "bad-query"),
        ("?since=0001-01-01T00:00:00Z", 400, "bad-query"),
        ("?until=24h", 400, "bad-query"),
        ("?mailbox=nobody@contoso.example", 404, "no-such-mailbox"),
        ("?mailbox=", 404, "no-such-mailbox"),
        ("?mailbox=outbound@contoso.example", 409, "not-received"),
    ] {
        let answer = api.get(&format!("/audit{query}")).await;
        let kind = answer.body["type"].as_str().unwrap_or_default().to_owned();
        assert_eq!((answer.status, kind), (status, format!("urn:mailspan:problem:{name}")), "{query}");
    }
    let mailboxes = api.found("/audit").await["mailboxes"].as_array().unwrap().len();
    assert_eq!(mailboxes, 1, "only those that are read");
    for name in [SUPPORT.to_owned(), format!("contoso%2F{SUPPORT}"), SUPPORT.to_uppercase()] {
        let report = api.found(&format!("/audit?since=1h&mailbox={name}")).await;
        assert_eq!(report["mailboxes"][0]["mailbox"], format!("contoso/{SUPPORT}"));
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM mailboxes WHERE audited_at > 0").await, 1, "the whole day counts");
    bridge.stop().await;
}
