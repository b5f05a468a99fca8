//! Order within a conversation: one mail at a time as they were received, over failures, restarts, and what was parked.
//!
//! Conversations go side by side: one that fails holds up no other.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::receiver::Answer;
use crate::world::{Bridge, Inbox, Interaction, SUPPORT, World, until_so, written};

const ORDERED: &str = "order = \"thread\"";

/// The `n`-th mail of a conversation; its subject is `cC nN`.
pub(crate) fn mail_of(conversation: usize, n: usize) -> Vec<u8> {
    let id = |n: usize| format!("<{conversation}.{n}@chain.example>");
    let mut head = format!("From: c{conversation}n{n}@customer.example\r\nTo: {SUPPORT}\r\nMessage-ID: {}", id(n));
    if n > 0 {
        head += &format!("\r\nReferences: {}", (0..n).map(id).collect::<Vec<_>>().join("\r\n "));
    }
    written(&head, &subject_of(conversation, n))
}

/// It comes a second after the one before it: Graph tells times of receipt to the second.
fn receives(world: &World, conversation: usize, n: usize) {
    let at = world.tenant.now() + Duration::from_secs(u64::try_from(n).unwrap());
    world.tenant.receive_at(SUPPORT, mail_of(conversation, n), at, false, "inbox");
}

pub(crate) fn subject_of(conversation: usize, n: usize) -> String {
    format!("c{conversation:02} n{n:02}")
}

/// Each conversation came in order; repetitions do not count.
pub(crate) fn is_in_order(accepted: &[Interaction]) {
    let (mut seen, mut last) = (HashSet::new(), BTreeMap::new());
    for interaction in accepted.iter().filter(|it| seen.insert(it.id.clone())) {
        let (conversation, number) = interaction.subject.split_once(' ').expect("a mail of a conversation");
        let before = last.insert(conversation.to_owned(), number.to_owned());
        assert!(before.as_deref().is_none_or(|it| it < number), "{conversation}: {number} came after {before:?}");
    }
}

fn gap(interaction: &Interaction) -> &Value {
    &interaction.body["data"]["thread"]["gap"]
}

async fn conversations_come_in_order(world: World) {
    const CONVERSATIONS: usize = 6;
    const MAILS: usize = 6;
    // More attempts than there are refusals: whoever meets most of them is not given up either.
    let patient = format!("{ORDERED}\nretry = [\"0s\"{}]", ", \"200ms\"".repeat(15));
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("ordered", &patient, &world.inbox);
    world.inbox.will_answer((0..30).map(|n| Answer::Status(if n % 3 == 0 { 503 } else { 200 })));
    let mut bridge = Bridge::start(&plan).await;
    let mut wanted = Vec::new();
    for n in 0..MAILS {
        for conversation in 0..CONVERSATIONS {
            receives(&world, conversation, n);
            wanted.push(subject_of(conversation, n));
        }
        if n == MAILS / 2 {
            bridge.stop().await;
            bridge = Bridge::start(&plan).await;
        }
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let accepted = world.inbox.until_has(&wanted).await;
    is_in_order(&accepted);
    assert!(accepted.iter().all(|it| *gap(it) == json!([])), "nothing was parked");
    until_so("everything read", async || world.tenant.unread(SUPPORT) == 0).await;
    world.inbox.has_exactly(&wanted).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_comes_in_order_over_failures_and_a_restart() {
    conversations_come_in_order(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_comes_in_order_over_failures_and_a_restart_on_postgres() {
    if let Some(world) = World::postgres().await {
        conversations_come_in_order(world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_fails_waits_and_every_other_goes_on() {
    let world = World::new().await;
    let plan = world.bare_plan().mailbox(SUPPORT, "");
    let plan = plan.route("ordered", &format!("{ORDERED}\nconcurrency = 2\nretry = [\"0s\", \"1h\"]"), &world.inbox);
    let bridge = Bridge::start(&plan).await;
    world.inbox.will_answer([Answer::Status(503)]);
    receives(&world, 0, 0);
    world.inbox.until_received(1).await;
    for n in 1..20 {
        receives(&world, 0, n);
    }
    for conversation in 1..6 {
        receives(&world, conversation, 0);
    }
    let others: Vec<String> = (1..6).map(|it| subject_of(it, 0)).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    world.inbox.until_has(&others).await;
    // Its failure is written down: what is not before time passes is due that much later.
    let all_wait = |it: &Value| it["queue_depth"] == 20 && it["status"] == "degraded";
    plan.until_check("route", "ordered", "twenty wait", all_wait).await;
    world.inbox.has_exactly(&others).await;
    bridge.pass(Duration::from_secs(2 * 3600)).await;
    let all: Vec<String> = (0..20).map(|n| subject_of(0, n)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).chain(others).collect();
    is_in_order(&world.inbox.until_has(&all).await);
    world.inbox.has_exactly(&all).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_mail_leaves_a_gap_that_the_next_one_shows() {
    let world = World::new().await;
    let plan = world.bare_plan().mailbox(SUPPORT, "");
    let plan = plan.route("ordered", &format!("{ORDERED}\nretry = [\"0s\", \"100ms\"]"), &world.inbox);
    let bridge = Bridge::start(&plan).await;
    // Parked after two attempts; then the next fails once, and says the same again.
    world.inbox.will_answer([Answer::Status(500), Answer::Status(500), Answer::Status(503)]);
    receives(&world, 0, 0);
    plan.until_check("route", "ordered", "it is parked", |it| it["parked"] == 1).await;
    let parked = world.inbox.received()[0].header("webhook-id").to_owned();
    receives(&world, 0, 1);
    world.inbox.until_received(3).await;
    receives(&world, 0, 2);
    let accepted = world.inbox.until_has(&[&subject_of(0, 1), &subject_of(0, 2)]).await;
    assert_eq!(*gap(&accepted[0]), json!([parked]));
    assert_eq!(accepted[0].body["data"]["thread"]["previousInteractionId"], parked);
    assert_eq!(*gap(&accepted[1]), json!([]), "it is named once");
    let attempts: Vec<_> =
        world.inbox.received().into_iter().filter(|it| it.header("webhook-id") == accepted[0].id).collect();
    assert!(attempts.len() == 2 && attempts[0].body == attempts[1].body, "every attempt sends the same bytes");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_removed_parks_also_what_waits_for_its_turn() {
    let world = World::new().await;
    let old = Inbox::start().await;
    old.usually_answers(Answer::Status(503));
    let without = world.plan();
    // However often the first fails before the restart, it is due soon after it.
    let patient = format!("{ORDERED}\nretry = [\"0s\"{}]", ", \"2s\"".repeat(60));
    let with = without.clone().route("old", &patient, &old);
    let bridge = Bridge::start(&with).await;
    for n in 0..5 {
        receives(&world, 0, n);
    }
    with.until_check("route", "old", "five wait", |it| it["queue_depth"] == 5).await;
    bridge.stop().await;
    let bridge = Bridge::start(&without).await;
    let check = without.until_check("route", "old", "all are parked", |it| it["parked"] == 5).await;
    assert_eq!((&check["state"], &check["queue_depth"]), (&"removed".into(), &0.into()), "{check}");
    bridge.stop().await;
}
