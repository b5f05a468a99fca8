//! Sending while Graph is in trouble: whatever is throttled, refused, cut or lost, each mail leaves once.

use std::time::{Duration, Instant};

use mailspan_tenant::{Fault, FaultAction, Operation, Options, RetryAfter};

use crate::office::{Office, letter, with_file};
use crate::world::{Bridge, SUPPORT, World, options, until_so};

const SALES: &str = "sales@contoso.example";

fn mischief() -> [(&'static str, FaultAction); 6] {
    [
        ("throttled", FaultAction::throttle(RetryAfter::Seconds(1))),
        ("unavailable", FaultAction::refuse(503, "ServiceUnavailable")),
        ("timed out before the work", FaultAction::refuse(504, "GatewayTimeout")),
        ("timed out after the work", FaultAction::FailAfter { status: 504, code: "GatewayTimeout".into() }),
        ("cut before the work", FaultAction::DropBefore),
        ("cut after the work", FaultAction::DropAfter),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_the_draft_or_its_leaving_the_mail_leaves_once() {
    Box::pin(leaves_once_whatever_befalls(&[Operation::Draft, Operation::Send])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_an_upload_the_mail_leaves_once_and_whole() {
    Box::pin(leaves_once_whatever_befalls(&[Operation::UploadSession, Operation::Upload])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_a_file_or_a_look_the_mail_leaves_once_and_whole() {
    Box::pin(leaves_once_whatever_befalls(&[Operation::Attach, Operation::Get])).await;
}

async fn leaves_once_whatever_befalls(operations: &[Operation]) {
    let office = Office::new().await;
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    for operation in operations.iter().copied() {
        for (what, action) in mischief() {
            let subject = format!("{} {what}", operation.name());
            // Beyond what travels with the mail: in a session, and in a request of its own.
            let size = match operation {
                Operation::UploadSession | Operation::Upload => 3_300_000,
                Operation::Attach => 2_900_000,
                _ => 3_000,
            };
            let fault = office.world.tenant.fault(Fault::on(operation, action).mailbox(SUPPORT).times(1));
            let id = plan.submit(&with_file(letter(&subject), size)).await.id();
            // A minute and more may have to pass before what may have left is sent again.
            plan.until_state(&id, "sent", Some((&bridge, Duration::from_secs(2)))).await;
            let left = office.until_left(&subject).await;
            assert!(left.mime.len() > size, "{subject}: {} bytes", left.mime.len());
            if operation != Operation::Get && operation != Operation::Attach {
                assert_eq!(office.world.tenant.fault_hits(fault), 1, "{subject}");
            }
            office.world.tenant.clear_faults();
            office.world.tenant.advance(Duration::from_secs(300));
        }
    }
    let twice: Vec<_> = office.sent().into_iter().filter(|(_, times)| *times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(office.world.tenant.sent_count(), operations.len() * mischief().len());
    assert_eq!(office.world.tenant.counters().too_many_at_once, 0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_within_an_upload_is_renewed_and_the_upload_goes_on() {
    let office = Office::new().await;
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    office.world.tenant.fault(Fault::on(Operation::Upload, FaultAction::Slow(Duration::from_millis(200))));
    let id = plan.submit(&with_file(letter("Expired"), 9_000_000)).await.id();
    until_so("a range to come", async || office.world.tenant.counters().uploaded_bytes > 0).await;
    office.world.tenant.expire_tokens();
    plan.until_state(&id, "sent", Some((&bridge, Duration::from_millis(500)))).await;
    let counted = office.world.tenant.counters();
    assert_eq!((counted.uploaded_bytes, counted.authorized_uploads), (9_000_000, 0));
    assert_eq!(office.sent(), [("Expired".to_owned(), 1)].into());
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_whose_sending_hangs_holds_up_no_other() {
    let office = Office::new().await;
    office.world.tenant.add_mailbox(SALES);
    let plan = office.plan().mailbox(SALES, "send = true");
    let bridge = Bridge::start(&plan).await;
    let hang = FaultAction::Hang(Duration::from_secs(120));
    let hang = office.world.tenant.fault(Fault::on(Operation::Draft, hang).mailbox(SUPPORT));
    for number in 0..20 {
        plan.submit(&letter(&format!("Hanging {number}"))).await.id();
    }
    let mut waited = 0;
    for number in 0..5 {
        let mut mail = letter(&format!("Free {number}"));
        mail["from"] = SALES.into();
        let begun = office.world.tenant.fault_hits(hang);
        let id = plan.submit(&mail).await.id();
        plan.until_state(&id, "sent", None).await;
        // When one that hangs is given up, the next begins.
        waited += usize::from(office.world.tenant.fault_hits(hang) > begun.max(2));
    }
    assert!(waited < 5, "each waited until one that hung was given up");
    // Reading goes on in the mailbox that cannot send.
    office.world.receives("Meanwhile");
    office.world.inbox.until_has(&["Meanwhile"]).await;
    assert_eq!(office.sent().len(), 5);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_taken_over_at_once_and_leaves_at_its_pace() {
    let office = Office::new().await;
    let plan = office.plan().value("outbound", "rate_per_minute", "30");
    let bridge = Bridge::start(&plan).await;
    let (mut ids, begun) = (Vec::new(), Instant::now());
    for number in 0..40 {
        ids.push(plan.submit(&letter(&format!("Burst {number}"))).await.id());
    }
    until_so("the first to leave", async || office.world.tenant.sent_count() > 0).await;
    office.world.until_no_traffic().await;
    let at_once = office.world.tenant.sent_count();
    // What a minute allows, and the part of the next that has passed by now.
    let most = 30 + usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    assert!(at_once <= most, "{at_once} left at once");
    for id in &ids {
        plan.until_state(id, "sent", Some((&bridge, Duration::from_secs(1)))).await;
    }
    assert_eq!(office.world.tenant.sent_count(), 40);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_recognised_under_another_message_id_and_after_a_while() {
    let office = Office::of(World::with(Options { ..options() }).await).await;
    let quirks = mailspan_tenant::Quirks {
        rename_sent: true,
        sent_delay: Duration::from_millis(800),
        ..mailspan_tenant::Quirks::default()
    };
    office.world.tenant.set_quirks(quirks);
    office.world.tenant.fault(Fault::on(Operation::Send, FaultAction::DropAfter).times(3));
    let plan = office.plan();
    let bridge = Bridge::start(&plan).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(plan.submit(&letter(&format!("Renamed {number}"))).await.id());
    }
    for id in &ids {
        plan.until_state(id, "sent", Some((&bridge, Duration::from_millis(100)))).await;
    }
    assert_eq!(office.sent().values().copied().collect::<Vec<_>>(), [1; 5]);
    bridge.stop().await;
}
