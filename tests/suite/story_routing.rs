//! Which route gets which mail, how often, and what becomes of the mail in the mailbox.
//!
//! Rules read the mail as a person would; a mailbox counts also where our address stands nowhere.

use mailspan_tenant::MessageId;

use crate::world::{Bridge, Inbox, Plan, SUPPORT, World, mail, mail_to, until_so, written};

const SALES: &str = "sales@contoso.example";

/// A bridge with one route by this rule and one for the rest; mails in, subjects the rule took out.
async fn taken_by(rule: &str, mails: &[(&str, Vec<u8>)]) -> Vec<String> {
    let world = World::new().await;
    let rest = Inbox::start().await;
    let plan = world.bare_plan().mailbox(SUPPORT, "").value("routing", "multiple_destinations", "false");
    let plan = plan.route("ruled", rule, &world.inbox).route("rest", "", &rest);
    let bridge = Bridge::start(&plan).await;
    for (_, mime) in mails {
        world.tenant.receive(SUPPORT, mime.clone());
    }
    until_so("every mail at one of the routes", async || {
        world.inbox.accepted().len() + rest.accepted().len() >= mails.len()
    })
    .await;
    assert_eq!(world.inbox.accepted().len() + rest.accepted().len(), mails.len());
    bridge.stop().await;
    world.inbox.subjects()
}

fn to(address: &str, subject: &'static str) -> (&'static str, Vec<u8>) {
    (subject, mail_to(address, subject))
}

fn with(head: &str, subject: &'static str) -> (&'static str, Vec<u8>) {
    (subject, written(&format!("Message-ID: <{:x}@x.example>\r\n{head}", fastrand::u64(..)), subject))
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_matched_in_to_and_cc_with_wildcards_and_plus() {
    let rule = "recipients = [\"help@contoso.example\", \"case-*@contoso.example\"]";
    let taken = taken_by(
        rule,
        &[
            to("help@contoso.example", "A plain"),
            to("\"Help, please\" <HELP@Contoso.Example>", "B case and name"),
            to("help+4711@contoso.example", "C plus"),
            to("case-99@contoso.example", "D wildcard"),
            with("From: a@x.example\r\nTo: somebody@x.example\r\nCc: b@x.example, help@contoso.example", "E cc"),
            to("helper@contoso.example", "X longer"),
            to("help@contoso.example.evil.example", "Y another domain"),
            with("From: help@contoso.example\r\nTo: somebody@x.example", "Z only from"),
        ],
    )
    .await;
    assert_eq!(taken, ["A plain", "B case and name", "C plus", "D wildcard", "E cc"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_by_bcc_or_a_list_is_matched_by_its_mailbox() {
    let rule = format!("mailboxes = [\"{SUPPORT}\"]");
    let taken = taken_by(
        &rule,
        &[
            with("From: a@x.example\r\nTo: undisclosed-recipients:;", "A bcc"),
            with("From: a@x.example\r\nTo: everybody@list.example\r\nList-Id: <everybody.list.example>", "B list"),
            with("From: a@x.example", "C nobody"),
        ],
    )
    .await;
    assert_eq!(taken, ["A bcc", "B list", "C nobody"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_are_a_rule_so_that_absence_and_bounces_stay_out_of_a_flow() {
    let taken = taken_by(
        "kinds = [\"human\", \"list\"]",
        &[
            with("From: a@x.example", "A letter"),
            with("From: a@x.example\r\nX-Auto-Response-Suppress: All", "B quiet letter"),
            with("From: a@x.example\r\nList-Id: <a.x.example>", "C list"),
            with("From: a@x.example\r\nAuto-Submitted: auto-replied", "Out of office"),
            with("From: MAILER-DAEMON@x.example\r\nReturn-Path: <>", "Undelivered Mail Returned to Sender"),
            with("From: noreply@x.example", "Z notification"),
        ],
    )
    .await;
    assert_eq!(taken, ["A letter", "B quiet letter", "C list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_subjects_and_attachments_are_rules_and_all_must_match() {
    let mixed = |from: &str| format!("From: {from}\r\nTo: {SUPPORT}\r\nX-Part: 1");
    let attached = |from: &str, subject: &str| {
        format!(
            "From: {from}\r\nTo: {SUPPORT}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHi\r\n--b\r\n\
             Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--b--\r\n"
        )
        .into_bytes()
    };
    let rule = "senders = [\"*@partner.example\"]\nsubject = \"(?i)order [0-9]+\"\nhas_attachments = true";
    let taken = taken_by(
        rule,
        &[
            ("Order 1", attached("Bob <bob@Partner.example>", "Order 1")),
            ("Re: ORDER 22", attached("bob@partner.example", "Re: =?utf-8?q?ORDER_22?=")),
            ("no number", attached("bob@partner.example", "Order")),
            ("stranger", attached("bob@stranger.example", "Order 3")),
            with(&mixed("bob@partner.example"), "Order 4"),
        ],
    )
    .await;
    assert_eq!(taken, ["Order 1", "Re: ORDER 22"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_matching_route_gets_the_mail_or_only_the_first_as_configured() {
    for (multiple, second_gets) in [("true", vec!["Both"]), ("false", vec![])] {
        let world = World::new().await;
        let second = Inbox::start().await;
        let plan = world.plan().route("second", "", &second).value("routing", "multiple_destinations", multiple);
        let bridge = Bridge::start(&plan).await;
        let id = world.receives("Both");
        world.until_read(&id).await;
        world.inbox.has_exactly(&["Both"]).await;
        second.has_exactly(&second_gets).await;
        let route = &world.inbox.accepted()[0].body["data"]["route"];
        assert_eq!((&route["fanOutIndex"], &route["fanOutCount"]), (&0.into(), &(1 + second_gets.len()).into()));
        bridge.stop().await;
    }
}

fn only_orders(world: &World, unmatched: &str) -> Plan {
    let plan = world.bare_plan().mailbox(SUPPORT, "").text("routing", "unmatched", unmatched);
    plan.route("orders", "subject = \"^Order\"", &world.inbox)
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_no_route_takes_is_parked_stays_unread_and_shows() {
    let world = World::new().await;
    let plan = only_orders(&world, "park");
    let bridge = Bridge::start(&plan).await;
    let stray = world.receives("Stray");
    let order = world.receives("Order 1");
    world.until_read(&order).await;
    let check = plan.until_check("mailbox", SUPPORT, "one is parked", |it| it["parked"] == 1).await;
    assert_eq!(check["status"], "degraded", "{check}");
    world.until_swept_again(2).await;
    assert!(!world.tenant.message(&stray).unwrap().is_read);
    world.inbox.has_exactly(&["Order 1"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_no_route_takes_is_left_alone_when_that_is_configured() {
    let world = World::new().await;
    let plan = only_orders(&world, "ignore");
    let bridge = Bridge::start(&plan).await;
    let stray = world.receives("Stray");
    until_so("a record that it was filtered", async || {
        world.number("SELECT COUNT(*) FROM messages WHERE state = 'filtered'").await == 1
    })
    .await;
    let order = world.receives("Order 1");
    world.until_read(&order).await;
    // Until there is push a mailbox is not well.
    let check = plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    assert_eq!((&check["parked"], &check["status"]), (&0.into(), &"ok".into()), "{check}");
    assert!(!world.tenant.message(&stray).unwrap().is_read);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_mail_in_two_mailboxes_is_one_interaction_per_route_and_read_in_both() {
    let world = World::new().await;
    world.tenant.add_mailbox(SALES);
    let plan = world.bare_plan().mailbox(SUPPORT, "").mailbox(SALES, "").route("all", "", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let mime = mail_to(&format!("{SUPPORT}, {SALES}"), "To both");
    let ids = [world.tenant.receive(SUPPORT, mime.clone()), world.tenant.receive(SALES, mime)];
    for id in &ids {
        world.until_read(id).await;
    }
    world.until_swept_again(2).await;
    world.inbox.has_exactly(&["To both"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_message_id_with_other_content_is_another_mail() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let head = format!("From: a@x.example\r\nTo: {SUPPORT}\r\nMessage-ID: <always-the-same@x.example>");
    let ids: Vec<MessageId> =
        ["First", "Second", "Third"].map(|subject| world.tenant.receive(SUPPORT, written(&head, subject))).into();
    world.inbox.until_has(&["First", "Second", "Third"]).await;
    for id in &ids {
        world.until_read(id).await;
    }
    world.inbox.has_exactly(&["First", "Second", "Third"]).await;
    let ids: std::collections::BTreeSet<String> = world.inbox.accepted().into_iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), 3);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_identical_copies_in_one_mailbox_are_both_delivered() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let mime = mail("Twice");
    let ids = [world.tenant.receive(SUPPORT, mime.clone()), world.tenant.receive(SUPPORT, mime)];
    for id in &ids {
        world.until_read(id).await;
    }
    world.inbox.has_exactly(&["Twice", "Twice"]).await;
    let accepted = world.inbox.accepted();
    assert_ne!(accepted[0].id, accepted[1].id);
    assert_ne!(accepted[0].immutable_id, accepted[1].immutable_id);
    bridge.stop().await;
}
