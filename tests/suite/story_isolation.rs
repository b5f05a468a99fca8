//! One poison message, one throttled mailbox, one broken answer, one dead receiver: nobody else is held up.
//!
//! And nothing is lost by it: what failed arrives once its cause is gone.

use std::time::Duration;

use mailspan_tenant::{Fault, FaultAction, FaultId, MessageId, Operation, Options, RetryAfter};
use serde_json::Value;

use crate::receiver::Answer;
use crate::world::{Bridge, Inbox, SIGNING_SECRET, SUPPORT, World, mail_to, options, until_so};

const SALES: &str = "sales@contoso.example";

fn subjects(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("Order {number:02}")).collect()
}

/// A mail that nobody fetches before this fault is there for it.
fn befallen(world: &World, subject: &str, fault: impl FnOnce(&MessageId) -> Fault) -> (MessageId, FaultId) {
    let all = world.tenant.fault(Fault::on(Operation::Mime, FaultAction::refuse(503, "serviceNotAvailable")));
    let id = world.receives(subject);
    let fault = world.tenant.fault(fault(&id));
    world.tenant.clear_fault(all);
    (id, fault)
}

/// Delivers mail into the fault and expects all of it, once, read, with the limit of Graph kept.
async fn nothing_is_lost_under(faults: Vec<Fault>, count: usize) {
    let world = World::with(Options { latency: Duration::from_millis(2), ..options() }).await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let ids: Vec<_> = faults.into_iter().map(|fault| world.tenant.fault(fault)).collect();
    let wanted = subjects(count);
    for subject in &wanted {
        world.receives(subject);
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    world.inbox.until_has(&wanted).await;
    for message in world.tenant.messages(SUPPORT) {
        world.until_read(&message.id).await;
    }
    world.until_swept_again(1).await;
    world.inbox.has_exactly(&wanted).await;
    for id in ids {
        assert!(world.tenant.fault_hits(id) > 0, "the fault was never met");
    }
    assert_eq!(world.tenant.counters().too_many_at_once, 0);
    assert!(world.tenant.most_at_once(SUPPORT) <= 4);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_that_graph_cannot_serve_holds_up_nobody() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let refusal = FaultAction::refuse(500, "ErrorInternalServerError");
    let (poison, fault) = befallen(&world, "Poison", |poison| Fault::everywhere(refusal).message(poison));
    let wanted = subjects(10);
    for subject in &wanted {
        world.receives(subject);
    }
    let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    world.inbox.until_has(&wanted).await;
    until_so("a try to fetch it", async || world.tenant.fault_hits(fault) > 0).await;
    world.tenant.clear_fault(fault);
    world.inbox.until_has(&["Poison"]).await;
    world.until_read(&poison).await;
    wanted.push("Poison");
    world.inbox.has_exactly(&wanted).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_graph_cannot_convert_is_kept_and_others_go_on() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let refusal = FaultAction::refuse(500, "ErrorContentConversionFailed");
    let on = |poison: &MessageId| Fault::on(Operation::Mime, refusal).message(poison);
    let (poison, fault) = befallen(&world, "Unconvertible", on);
    for number in 0..5 {
        world.receives(&format!("Fine {number}"));
    }
    world.inbox.until_has(&["Fine 0", "Fine 1", "Fine 2", "Fine 3", "Fine 4"]).await;
    until_so("a try to fetch it", async || world.tenant.fault_hits(fault) > 0).await;
    assert!(!world.tenant.message(&poison).unwrap().is_read);
    // It waits or is parked; either way it is known, not forgotten.
    let check = plan.check("mailbox", SUPPORT).await;
    assert_ne!((&check["waiting"], &check["parked"]), (&0.into(), &0.into()), "{check}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_of_429_in_seconds_lose_nothing() {
    nothing_is_lost_under(
        vec![Fault::everywhere(FaultAction::throttle(RetryAfter::Seconds(1))).chance(0.4).times(15)],
        30,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_of_429_in_fractions_lose_nothing() {
    nothing_is_lost_under(
        vec![Fault::everywhere(FaultAction::throttle(RetryAfter::Fraction(0.4))).chance(0.4).times(20)],
        30,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_of_429_with_a_date_lose_nothing() {
    nothing_is_lost_under(vec![Fault::everywhere(FaultAction::throttle(RetryAfter::Date(2))).chance(0.4).times(5)], 20)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_of_429_without_a_hint_or_with_nonsense_lose_nothing() {
    let nonsense = RetryAfter::Text("soon".into());
    let storm = |retry_after| Fault::everywhere(FaultAction::throttle(retry_after)).times(1);
    nothing_is_lost_under(vec![storm(RetryAfter::Absent), storm(nonsense)], 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_batch_marks_everything_in_the_end() {
    let item = Fault::on(Operation::BatchItem, FaultAction::throttle(RetryAfter::Seconds(1))).chance(0.5).times(20);
    nothing_is_lost_under(vec![item], 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_dropped_after_the_work_was_done_lose_and_double_nothing() {
    let on = |operation| Fault::on(operation, FaultAction::DropAfter).times(3);
    let faults = vec![on(Operation::Mime), on(Operation::Batch), on(Operation::Delta)];
    nothing_is_lost_under(faults, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_break_off_lose_and_double_nothing() {
    let on = |operation| Fault::on(operation, FaultAction::Truncate).times(3);
    let faults = vec![on(Operation::Mime), on(Operation::Batch), on(Operation::Delta)];
    nothing_is_lost_under(faults, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_in_trouble_lose_and_double_nothing() {
    // Every other of the first thirty-two requests, and none by chance: what happened to fail five times waits for a minute.
    let refuse = |status, code: &str| Fault::everywhere(FaultAction::refuse(status, code)).after(1).times(1);
    let late = FaultAction::FailAfter { status: 504, code: "UnknownError".into() };
    let both = || [refuse(503, "serviceNotAvailable"), refuse(504, "UnknownError")];
    let mut faults: Vec<Fault> = (0..8).flat_map(|_| both()).collect();
    faults.push(Fault::on(Operation::Batch, late).times(2));
    nothing_is_lost_under(faults, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_request_holds_up_neither_its_mailbox_nor_another() {
    let world = World::new().await;
    world.tenant.add_mailbox(SALES);
    let plan = world.bare_plan().mailbox(SUPPORT, "").mailbox(SALES, "").route("all", "", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    // However long a busy machine takes for the others: it hangs again until they have come.
    let hang = FaultAction::Hang(Duration::from_secs(20));
    let (_, hung) = befallen(&world, "Hung", |id| Fault::on(Operation::Mime, hang).message(id));
    until_so("a hung fetch", async || world.tenant.fault_hits(hung) > 0).await;
    world.receives("Beside it");
    world.tenant.receive(SALES, mail_to(SALES, "In another mailbox"));
    world.inbox.until_has(&["Beside it", "In another mailbox"]).await;
    world.inbox.has_exactly(&["Beside it", "In another mailbox"]).await;
    // The connection ends in time, and the mail is fetched after all.
    world.tenant.clear_fault(hung);
    world.inbox.until_has(&["Hung"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_mailbox_does_not_slow_another() {
    let world = World::new().await;
    world.tenant.add_mailbox(SALES);
    let plan = world.bare_plan().mailbox(SUPPORT, "").mailbox(SALES, "").route("all", "", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let throttled = Fault::everywhere(FaultAction::throttle(RetryAfter::Seconds(3_600))).mailbox(SUPPORT);
    let throttled = world.tenant.fault(throttled);
    world.receives("Throttled");
    until_so("the throttle", async || world.tenant.fault_hits(throttled) > 0).await;
    for number in 0..20 {
        world.tenant.receive(SALES, mail_to(SALES, &format!("Sale {number:02}")));
    }
    let wanted: Vec<String> = (0..20).map(|number| format!("Sale {number:02}")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    world.inbox.until_has(&wanted).await;
    world.inbox.has_exactly(&wanted).await;
    let hits = world.tenant.fault_hits(throttled);
    assert!(hits <= 4, "a mailbox told to wait an hour was asked {hits} times");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_route_among_three_misses_nothing_and_holds_up_nobody() {
    let world = World::new().await;
    let (second, third) = (Inbox::start().await, Inbox::start().await);
    world.inbox.usually_answers(Answer::DropBeforeReading);
    // Nothing is given up before the others have got all of theirs.
    let patient = format!("retry = [\"0s\", \"300ms\"{}]", ", \"2s\"".repeat(90));
    let plan = world.bare_plan().mailbox(SUPPORT, "").route("dead", &patient, &world.inbox);
    let plan = plan.route("second", "", &second).route("third", "", &third);
    let bridge = Bridge::start(&plan).await;
    let wanted = subjects(40);
    for subject in &wanted {
        world.receives(subject);
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    second.until_has(&wanted).await;
    third.until_has(&wanted).await;
    let is_full = |it: &Value| it["queue_depth"] == 40 && it["status"] != "ok";
    plan.until_check("route", "dead", "its queue is full, and it is not well", is_full).await;
    assert_eq!(world.tenant.unread(SUPPORT), 40, "not every route has accepted them");
    world.inbox.usually_answers(Answer::Status(200));
    world.inbox.until_has(&wanted).await;
    until_so("everything read", async || world.tenant.unread(SUPPORT) == 0).await;
    for inbox in [&world.inbox, &second, &third] {
        inbox.has_exactly(&wanted).await;
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_route_does_not_slow_the_others() {
    let world = World::new().await;
    let quick = Inbox::start().await;
    world.inbox.will_answer([Answer::Held]);
    let slow = format!(
        "kind = \"webhook\"\nurl = \"{}\"\nsigning_secret = {SIGNING_SECRET:?}\nallow_private_networks = true\ntimeout = \"2m\"",
        world.inbox.url
    );
    let plan = world.bare_plan().mailbox(SUPPORT, "").route_to("slow", "concurrency = 1", &slow);
    let plan = plan.route("quick", "", &quick);
    let bridge = Bridge::start(&plan).await;
    let wanted = subjects(10);
    for subject in &wanted {
        world.receives(subject);
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    quick.until_has(&wanted).await;
    let asked = world.inbox.until_received(1).await.len();
    assert_eq!(asked, 1, "the slow route takes one at a time, and the first is not answered yet");
    world.inbox.release();
    world.inbox.until_has(&wanted).await;
    bridge.stop().await;
}
