//! Answers that do not come: whatever was done, it is looked for, and the mail leaves once.

use std::time::{Duration, Instant};

use mailspan::model::reason::Code;
use mailspan::model::submission::SubmissionState;
use mailspan_tenant::{Fault, FaultAction, Operation, Quirks};

use crate::sending::{about, accept, left, lies_in, pass_between, submission, until_sent_later, until_state};
use crate::world::{Bridge, World, until, until_so};

/// A draft is looked for this long before another one is made.
const LOOKED_FOR: Duration = Duration::from_secs(10);

/// The ways in which the answer to something that was done is lost.
fn lost_after() -> [FaultAction; 3] {
    let gateway = FaultAction::FailAfter { status: 504, code: "GatewayTimeout".into() };
    [FaultAction::DropAfter, gateway, FaultAction::Truncate]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_whose_answer_was_lost_is_found() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    for (n, action) in lost_after().into_iter().enumerate() {
        world.tenant.fault(Fault::on(Operation::Draft, action.clone()).times(1));
        let id = accept(&bridge, about(&format!("Mail {n}"))).await;
        until_state(&bridge, &id, SubmissionState::Sent).await;
        assert_eq!(world.tenant.requests()[Operation::Draft.name()], n as u64 + 1, "{action:?}: one draft a mail");
    }
    assert_eq!(left(&world.tenant), ["Mail 0", "Mail 1", "Mail 2"]);
    assert_eq!(lies_in(&world.tenant, "drafts").len(), 0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_was_not_made_is_made_after_a_while() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let lost = world.tenant.fault(Fault::on(Operation::Draft, FaultAction::DropBefore).times(1));
    let begun = Instant::now();
    let id = accept(&bridge, about("Mail")).await;
    until_so("a lost request", async || world.tenant.fault_hits(lost) == 1).await;
    let state = submission(&bridge, &id).await.state;
    // Whoever looks later than that may find it sent.
    let is_early = begun.elapsed() < LOOKED_FOR;
    assert!(state == SubmissionState::Sending || !is_early, "a draft may exist: {}", state.as_str());
    until_sent_later(&world, &bridge, &id).await;
    assert_eq!((left(&world.tenant), lies_in(&world.tenant, "drafts").len()), (vec!["Mail".to_owned()], 0));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_sending_was_not_answered_is_not_sent_again() {
    let world = World::new().await;
    // Exchange takes a moment, in which the mail is nowhere to be seen.
    world.tenant.set_quirks(Quirks { sent_delay: Duration::from_millis(1500), ..Quirks::default() });
    let bridge = Bridge::start(&world.plan()).await;
    let actions = [FaultAction::DropAfter, FaultAction::FailAfter { status: 504, code: "GatewayTimeout".into() }];
    for (n, action) in actions.into_iter().enumerate() {
        world.tenant.fault(Fault::on(Operation::Send, action.clone()).times(1));
        let id = accept(&bridge, about(&format!("Mail {n}"))).await;
        until_state(&bridge, &id, SubmissionState::Sent).await;
        assert_eq!(world.tenant.requests()[Operation::Send.name()], n as u64 + 1, "{action:?}");
    }
    assert_eq!(left(&world.tenant), ["Mail 0", "Mail 1"]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_did_not_leave_is_sent_again_after_a_minute() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let lost = world.tenant.fault(Fault::on(Operation::Send, FaultAction::DropBefore).times(1));
    let id = accept(&bridge, about("Mail")).await;
    until_so("a lost request", async || world.tenant.fault_hits(lost) == 1).await;
    world.until_swept_again(3).await;
    assert_eq!(world.tenant.requests()[Operation::Send.name()], 1, "it is only looked for");
    let leaving_at = submission(&bridge, &id).await.leaving_at.unwrap();
    until_sent_later(&world, &bridge, &id).await;
    let again = submission(&bridge, &id).await.leaving_at.unwrap();
    assert!(again - leaving_at >= 60_000, "{}", again - leaving_at);
    assert_eq!(left(&world.tenant), ["Mail"]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exchange_took_and_never_shows_counts_as_sent_after_an_hour() {
    let world = World::new().await;
    world.tenant.set_quirks(Quirks { sent_delay: Duration::from_secs(36_000), ..Quirks::default() });
    let bridge = Bridge::start(&world.plan()).await;
    let id = accept(&bridge, about("Mail")).await;
    until_so("an answer", async || submission(&bridge, &id).await.left_at.is_some()).await;
    bridge.pass(Duration::from_secs(3000)).await;
    world.until_swept_again(3).await;
    assert_eq!(submission(&bridge, &id).await.state, SubmissionState::Sending);
    bridge.pass(Duration::from_secs(601)).await;
    let row = until_sent_later(&world, &bridge, &id).await;
    assert_eq!((row.code, row.sent_message_id), (Some(Code::NotInMailbox), None));
    assert!(row.reason.is_some_and(|it| it.contains("did not show it")));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_neither_draft_nor_copy_and_was_not_answered_says_that_it_may_have_left() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let lost = world.tenant.fault(Fault::on(Operation::Send, FaultAction::DropBefore).times(1));
    let id = accept(&bridge, about("Mail")).await;
    until_so("a lost request", async || world.tenant.fault_hits(lost) == 1).await;
    world.tenant.purge_message(&lies_in(&world.tenant, "drafts")[0].id);
    let ended = async || {
        let is_over = submission(&bridge, &id).await.state.is_final();
        if !is_over {
            pass_between(&world, &bridge, Duration::from_secs(400)).await;
        }
        is_over
    };
    until_so("given up", ended).await;
    let row = until_state(&bridge, &id, SubmissionState::Failed).await;
    assert_eq!(row.code, Some(Code::MayHaveLeft));
    assert_eq!(world.tenant.sent_count(), 0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_somebody_removed_is_made_anew() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let throttle = FaultAction::throttle(mailspan_tenant::RetryAfter::Seconds(5));
    let held = world.tenant.fault(Fault::on(Operation::Send, throttle));
    let id = accept(&bridge, about("Mail")).await;
    until_so("a draft", async || world.tenant.fault_hits(held) > 0).await;
    world.tenant.purge_message(&lies_in(&world.tenant, "drafts")[0].id);
    world.tenant.clear_faults();
    until_sent_later(&world, &bridge, &id).await;
    assert_eq!(left(&world.tenant), ["Mail"]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_failing_is_given_up_after_three_days_and_not_before() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    world.tenant.fault(Fault::on(Operation::Draft, FaultAction::refuse(503, "ServiceUnavailable")));
    let id = accept(&bridge, about("Mail")).await;
    let tried_at = until("a first attempt", async || submission(&bridge, &id).await.tried_at).await;
    let ended = async || {
        let row = submission(&bridge, &id).await;
        let is_over = row.state.is_final();
        if !is_over {
            pass_between(&world, &bridge, Duration::from_secs(12 * 3600)).await;
        }
        is_over
    };
    until_so("given up", ended).await;
    let row = until_state(&bridge, &id, SubmissionState::Failed).await;
    assert_eq!(row.code, Some(Code::ScheduleUsedUp), "{:?}", row.reason);
    assert!(row.ended_at.unwrap() - tried_at >= 3 * 24 * 3600 * 1000, "not before");
    assert_eq!(lies_in(&world.tenant, "drafts").len(), 0);
    bridge.stop().await;
}
