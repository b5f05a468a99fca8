//! The program killed at any instant while it sends: each mail leaves once all the same.

use std::time::Duration;

use mailspan::app::SystemClock;
use mailspan::store::Store;
use mailspan_tenant::{Fault, FaultAction, Operation};

use crate::outbound_accept::{mail, offer};
use crate::sending::{left, lies_in, pass_between};
use crate::world::{Bridge, SUPPORT, World, until_so};
use crate::world_program::Program;

const MAILS: usize = 12;
/// What has not ended by then does not end: minutes pass many times before what was unlucky most often has left.
const ENDS_WITHIN: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_any_two_steps_and_each_mail_leaves_once() {
    let world = World::new().await;
    world.tenant.fault(Fault::on(Operation::Draft, FaultAction::DropAfter).chance(0.1));
    world.tenant.fault(Fault::on(Operation::Send, FaultAction::DropAfter).chance(0.1));
    world.tenant.fault(Fault::on(Operation::Draft, FaultAction::Slow(Duration::from_millis(120))));
    let plan = world.plan().value("outbound", "rate_per_minute", "1000");
    let store = Store::open(&world.database.url, std::sync::Arc::new(SystemClock)).await.unwrap();
    let mut out = crate::outbound_accept::outbound(&store, &world.database);
    let contoso = |address: &str| mailspan::model::work::MailboxId {
        tenant: "contoso".into(),
        address: mailspan::model::address::Address::parse(address).unwrap(),
    };
    out.senders = vec![mailspan::outbound::Sender { mailbox: contoso(SUPPORT), send_as: vec![] }];
    out.clock = std::sync::Arc::new(SystemClock);
    let subjects: Vec<String> = (0..MAILS).map(|n| format!("Mail {n:02}")).collect();
    for subject in &subjects {
        let written = mailspan::mail::compose::Submission { subject: subject.clone(), ..mail(SUPPORT) };
        out.accept(offer(written, None)).await.unwrap();
    }
    store.close().await;
    drop(out);

    let file = world.path("mailspan.toml");
    for _ in 0..8 {
        let program = Program::start(&plan, &file);
        plan.until_ready().await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..500))).await;
        program.kill().await;
    }
    // An attempt that was killed counts, so what met many kills and a lost answer as well may wait for minutes now, and what
    // was killed between writing that it leaves and leaving is sent again a minute later: that time passes at once.
    let bridge = Bridge::start(&plan).await;
    // What the last one that was killed had asked for is done by then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    until_so("nothing at work in the mailbox", async || world.tenant.at_work(SUPPORT) == 0).await;
    let ended = "SELECT COUNT(*) FROM submissions WHERE state = 'sent'";
    let begun = std::time::Instant::now();
    while world.number(ended).await < MAILS as i64 {
        assert!(begun.elapsed() < ENDS_WITHIN, "{:?}", world.texts("SELECT id || state FROM submissions").await);
        pass_between(&world, &bridge, Duration::from_secs(30)).await;
    }
    bridge.stop().await;
    assert_eq!(left(&world.tenant), subjects);
    assert_eq!(world.number("SELECT COUNT(*) FROM jobs WHERE kind = 'send'").await, 0);
    assert_eq!(lies_in(&world.tenant, "drafts").len(), 0);
}
