//! SIGKILL at the moments where an answer has left and its consequence is not on disk yet, in a world full of faults.
//!
//! The tenant does work and drops the answer, throttles, fails and hangs; so does the receiver.

use std::time::{Duration, Instant};

use mailspan_tenant::{Fault, FaultAction, Operation, RetryAfter, Tenant};

use crate::ONE_AT_A_TIME;
use crate::world::receiver::{Mood, Receiver};
use crate::world::{Setting, World};

/// Kills at each moment.
const EACH: u32 = 10;

/// Something that can be seen from outside to have just happened.
type Moment = (&'static str, fn(&Tenant, &Receiver) -> u64);

const MOMENTS: [Moment; 6] = [
    ("a webhook was accepted", |_, receiver| receiver.accepted()),
    ("a mail was served", |tenant, _| requests(tenant, "mime")),
    ("a page of changes was served", |tenant, _| requests(tenant, "delta")),
    ("messages were marked", |tenant, _| requests(tenant, "batch")),
    ("a notification was acknowledged", |tenant, _| tenant.notification_counts().delivered),
    ("a subscription was touched", |tenant, _| requests(tenant, "subscriptions")),
];

fn requests(tenant: &Tenant, operation: &str) -> u64 {
    tenant.requests().get(operation).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_an_answer_and_its_consequence_loses_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut world = World::start(Setting::new("kills at chosen moments")).await;
    kill_at_every_moment(&mut world).await;
    let report = world.end(Duration::from_secs(45)).await;
    assert_eq!(report.kills, EACH * 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_everything_else_fails_too_loses_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut world = World::start(Setting::new("kills among faults")).await;
    let tenant = &world.tenant;
    let hang = FaultAction::Hang(Duration::from_secs(4));
    tenant.fault(Fault::on(Operation::Mime, FaultAction::DropAfter).chance(0.05));
    tenant.fault(Fault::on(Operation::Mime, FaultAction::Truncate).chance(0.03));
    tenant.fault(Fault::on(Operation::Batch, FaultAction::DropAfter).chance(0.3));
    tenant.fault(Fault::on(Operation::Patch, FaultAction::refuse(503, "ServiceUnavailable")).chance(0.05));
    tenant.fault(Fault::on(Operation::Delta, FaultAction::Truncate).chance(0.05));
    tenant.fault(Fault::everywhere(FaultAction::throttle(RetryAfter::Seconds(1))).chance(0.05));
    tenant.fault(Fault::everywhere(FaultAction::refuse(503, "ServiceUnavailable")).chance(0.05));
    tenant.fault(Fault::everywhere(hang).chance(0.01));
    world.receiver.mood(Mood { refuse: 0.05, hang: 0.01, up_to_ms: 20 });
    kill_at_every_moment(&mut world).await;
    world.tenant.clear_faults();
    world.receiver.mood(Mood::default());
    // Mail whose fetch failed again and again waits up to two minutes.
    let report = world.end(Duration::from_secs(160)).await;
    assert_eq!(report.kills, EACH * 6);
}

async fn kill_at_every_moment(world: &mut World) {
    for turn in 0..EACH {
        for (name, count) in MOMENTS {
            // Some time for the mail to flow, else nothing but beginnings would be killed: an attempt that dies counts, so
            // a fetch that died at a dozen beginnings would wait for hours after its next refusal.
            world.bridge.until_ready().await;
            world.bridge.live(Duration::from_millis(fastrand::u64(100..500))).await;
            until_it_happens(world, name, count).await;
            if turn % 2 == 1 {
                tokio::time::sleep(Duration::from_micros(fastrand::u64(..3000))).await;
            }
            world.bridge.kill().await;
        }
    }
}

/// Waits for the next time; one that does not come in a while is no reason to wait longer.
async fn until_it_happens(world: &World, name: &'static str, count: fn(&Tenant, &Receiver) -> u64) {
    let (tenant, receiver) = (world.tenant.clone(), world.receiver.clone());
    let waited = tokio::task::spawn_blocking(move || {
        let (begun, before) = (Instant::now(), count(&tenant, &receiver));
        // Subscriptions are touched at starts and hardly between; they are killed soon after a start instead.
        let within = if name.contains("subscription") { 50 } else { 5_000 };
        while count(&tenant, &receiver) == before && begun.elapsed() < Duration::from_millis(within) {
            std::thread::sleep(Duration::from_micros(50));
        }
    });
    waited.await.unwrap();
}
