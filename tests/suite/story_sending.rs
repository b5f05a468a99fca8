//! A mail that was accepted leaves once, when it may, and says what became of it.

use std::time::Duration;

use mailspan::model::reason::Code;
use mailspan::model::submission::SubmissionState;
use mailspan::outbound::{Answers, Offer, Told};
use mailspan::store::Cancelled;
use mailspan_tenant::{Access, Fault, FaultAction, Operation, Quirks};

use crate::sending::{about, accept, left, lies_in, submission, until_sent_later, until_state, written};
use crate::world::{Bridge, SUPPORT, World, mail, until_so};

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_leaves_once_and_is_found_among_what_was_sent() {
    for world in [Some(World::sqlite().await), World::postgres().await].into_iter().flatten() {
        world.tenant.set_quirks(Quirks { rename_sent: true, ..Quirks::default() });
        let plan = world.plan();
        let bridge = Bridge::start(&plan).await;
        let id = accept(&bridge, about("Your order")).await;
        let row = until_state(&bridge, &id, SubmissionState::Sent).await;
        let [sent] = &world.tenant.sent()[..] else { panic!("one mail left") };
        assert_eq!(sent.recipients, ["ann@example.org", "bob@example.org"]);
        assert!(!String::from_utf8_lossy(&sent.mime).contains("bob@"), "who gets it unseen stays unseen");
        let known = row.sent_message_id.clone().unwrap();
        assert_eq!(format!("<{known}>"), sent.internet_message_id);
        assert_ne!(known, row.message_id, "Exchange gave it another");
        assert_eq!(bridge.daemon.store.submission_by_message_id(&known).await.unwrap().unwrap().id, id);
        let told: Told = serde_json::from_str(&row.told).unwrap();
        assert_eq!((told.subject.as_str(), told.metadata["order"].as_i64()), ("Your order", Some(7)));
        assert_eq!(lies_in(&world.tenant, "sentitems").len(), 1);
        assert_eq!(lies_in(&world.tenant, "drafts").len(), 0);
        until_so("it is counted", async || {
            let (_, metrics) = plan.page("/metrics").await.unwrap();
            metrics.contains("mailspan_submissions_total{outcome=\"sent\"}")
        })
        .await;
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_on_in_the_conversation_of_what_it_answers() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let original = world.receives("Where is my order?");
    let conversation = world.tenant.message(&original).unwrap().conversation_id;
    let mailbox = bridge.daemon.mailboxes()[0].clone();
    let answers =
        |id: &str| Some(Answers { mailbox: mailbox.clone(), immutable_id: id.into(), interaction: None, thread: None });
    let answer = Offer { answers: answers(original.as_str()), ..about("Re: Where is my order?") };
    let id = accept(&bridge, written(answer, |it| it.from.email.clear())).await;
    let row = until_state(&bridge, &id, SubmissionState::Sent).await;
    assert_eq!(row.conversation_id.as_deref(), Some(conversation.as_str()));
    assert_eq!(world.tenant.sent()[0].from, SUPPORT);

    let gone = world.receives("Never mind");
    world.tenant.purge_message(&gone);
    let answer = Offer { answers: answers(gone.as_str()), ..about("Re: Never mind") };
    let id = accept(&bridge, answer).await;
    until_state(&bridge, &id, SubmissionState::Sent).await;
    assert_eq!(left(&world.tenant), ["Re: Never mind", "Re: Where is my order?"]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_send_as_somebody_is_told_so_and_no_draft_stays() {
    let world = World::new().await;
    let plan =
        world.bare_plan().mailbox(SUPPORT, "send_as = [\"*@news.contoso.example\"]").route("all", "", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let from = |local: &str| {
        let address = format!("{local}@news.contoso.example");
        written(about(local), |it| it.from.email = address)
    };
    let id = accept(&bridge, from("spring")).await;
    let row = until_state(&bridge, &id, SubmissionState::Failed).await;
    assert_eq!(row.code, Some(Code::SendAsDenied));
    assert!(row.reason.as_deref().is_some_and(|it| it.contains("give it Send As")), "{:?}", row.reason);
    assert_eq!(lies_in(&world.tenant, "drafts").len(), 0);
    world.tenant.grant_send_as(SUPPORT, "summer@news.contoso.example");
    let id = accept(&bridge, from("summer")).await;
    until_state(&bridge, &id, SubmissionState::Sent).await;
    assert_eq!(world.tenant.sent()[0].from, "summer@news.contoso.example");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_spread_and_each_of_it_leaves_once() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan().value("outbound", "rate_per_minute", "3")).await;
    let mails: Vec<String> = (0..6).map(|n| format!("Mail {n}")).collect();
    for subject in &mails {
        accept(&bridge, about(subject)).await;
    }
    until_so("a turn for each", async || world.number("SELECT COUNT(slot_at) FROM submissions").await == 6).await;
    // Which of them come first is left to chance where two are at work.
    let ids = world.texts("SELECT id FROM submissions ORDER BY slot_at, number").await;
    for id in &ids[..3] {
        until_state(&bridge, id, SubmissionState::Sent).await;
    }
    world.until_swept_again(2).await;
    assert_eq!(world.tenant.sent_count(), 3);
    for id in &ids[3..] {
        let row = submission(&bridge, id).await;
        assert_eq!(row.state, SubmissionState::Queued, "what waits for its turn can still be cancelled");
    }
    let slots = world.texts("SELECT CAST(slot_at AS TEXT) FROM submissions ORDER BY slot_at").await;
    let slots: Vec<i64> = slots.iter().map(|it| it.parse().unwrap()).collect();
    let after = |n: usize| slots[n] - slots[0];
    assert!((60_000..62_000).contains(&after(3)), "{slots:?}");
    assert_eq!((slots[4] - slots[3], slots[5] - slots[4]), (20_000, 20_000));
    // The first three twice: the second time to find them sent. Those that wait once.
    let claims = world.number("SELECT CAST(MAX(fence) AS BIGINT) FROM jobs WHERE kind = 'send'").await;
    assert!(claims <= 3, "{claims}");
    bridge.pass(Duration::from_secs(62)).await;
    until_state(&bridge, &ids[3], SubmissionState::Sent).await;
    for id in &ids[4..] {
        until_sent_later(&world, &bridge, id).await;
    }
    assert_eq!(left(&world.tenant), mails);
    let waited = world.number("SELECT COUNT(*) FROM submissions WHERE leaving_at >= slot_at").await;
    assert_eq!(waited, 6, "none leaves before its turn");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_leaves_when_it_is_to_and_can_be_cancelled_until_then() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let hour = 3_600_000;
    let later = |subject: &str| Offer { send_at: Some(bridge.daemon.now() + hour), ..about(subject) };
    let (kept, cancelled) = (accept(&bridge, later("Kept")).await, accept(&bridge, later("Cancelled")).await);
    let now = accept(&bridge, about("Now")).await;
    until_state(&bridge, &now, SubmissionState::Sent).await;
    assert_eq!(left(&world.tenant), ["Now"]);
    assert_eq!(submission(&bridge, &kept).await.state, SubmissionState::Queued);
    let store = &bridge.daemon.store;
    assert_eq!(store.cancel_submission(&cancelled).await.unwrap(), Cancelled::Done);
    assert_eq!(store.cancel_submission(&now).await.unwrap(), Cancelled::TooLate(SubmissionState::Sent));
    bridge.pass(Duration::from_secs(3601)).await;
    until_state(&bridge, &kept, SubmissionState::Sent).await;
    assert_eq!(left(&world.tenant), ["Kept", "Now"]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_a_paused_mailbox_or_one_that_may_not_be_used() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let mailbox = bridge.daemon.mailboxes()[0].clone();
    bridge.daemon.pause_mailbox(&mailbox, "ops").await.unwrap();
    let paused = accept(&bridge, about("Paused")).await;
    world.until_no_traffic().await;
    assert_eq!(submission(&bridge, &paused).await.state, SubmissionState::Queued);
    bridge.daemon.resume_mailbox(&mailbox).await.unwrap();
    until_state(&bridge, &paused, SubmissionState::Sent).await;

    world.tenant.set_access(SUPPORT, Access::Denied);
    let denied = accept(&bridge, about("Denied")).await;
    let taken_back = accept(&bridge, about("Taken back")).await;
    until_so("two drafts that were refused", async || {
        world.tenant.requests().get(Operation::Draft.name()).is_some_and(|it| *it >= 3)
    })
    .await;
    until_so("it is queued again", async || submission(&bridge, &taken_back).await.state == SubmissionState::Queued)
        .await;
    let store = &bridge.daemon.store;
    assert_eq!(store.cancel_submission(&taken_back).await.unwrap(), Cancelled::Done);
    world.tenant.set_access(SUPPORT, Access::Allowed);
    until_sent_later(&world, &bridge, &denied).await;
    assert_eq!(left(&world.tenant), ["Denied", "Paused"]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_copy_stays_where_none_is_wanted() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    world.tenant.fault(Fault::on(Operation::Delete, FaultAction::refuse(503, "ServiceUnavailable")).times(1));
    let id = accept(&bridge, Offer { save_to_sent_items: false, ..about("No copy") }).await;
    let row = until_state(&bridge, &id, SubmissionState::Sent).await;
    assert!(row.sent_message_id.is_some());
    assert_eq!((world.tenant.sent_count(), lies_in(&world.tenant, "sentitems").len()), (1, 0));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_only_sends_is_never_read() {
    let world = World::new().await;
    let campaign = "campaign@contoso.example";
    world.tenant.add_mailbox(campaign);
    let bridge =
        Bridge::start(&world.plan().more(&format!("\n[[mailboxes]]\naddress = {campaign:?}\nreceive = false\n"))).await;
    world.tenant.receive(campaign, mail("Nobody reads this"));
    let id = accept(&bridge, written(about("Spring"), |it| it.from.email = campaign.into())).await;
    until_state(&bridge, &id, SubmissionState::Sent).await;
    assert_eq!(world.tenant.sent()[0].mailbox, campaign);
    assert!(world.inbox.accepted().is_empty());
    bridge.stop().await;
}
