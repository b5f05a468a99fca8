//! What the bridge takes from the machine: its most memory idle and under load, and how soon it is ready.
//!
//! `cargo bench --bench memory -- [mails per mailbox] [large mails] [starts]`

#[expect(dead_code, reason = "every benchmark uses its part of the world")]
mod world;

use std::time::Duration;

use world::bridge::Bridge;
use world::report::{figure, heading, median, mib, ms};
use world::{Announced, World, arguments, mail};

const MAILBOXES: usize = 50;
/// The size of a large mail.
const LARGE: usize = 20 << 20;
/// The size of the largest: as large as the default limit lets in.
const LARGEST: usize = (150 << 20) - 4096;
/// Mailboxes that large mails lie in.
const LARGE_IN: usize = 10;
/// How long the bridge is left alone before it counts as idle.
const IDLE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [each, large, starts] = arguments([100, 20, 10])?;
    start_up(starts).await?;
    load(each).await?;
    large_mails(large, LARGE).await?;
    large_mails(1, LARGEST).await
}

async fn start_up(starts: usize) -> anyhow::Result<()> {
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..starts {
        let world = World::start(MAILBOXES, Announced::ByBenchmark).await?;
        for times in [&mut first, &mut again] {
            let mut bridge = Bridge::spawn(&world)?;
            times.push(bridge.until_ready().await?);
            bridge.stop().await?;
        }
    }
    heading(&format!("start-up with {MAILBOXES} mailboxes (median of {starts})"));
    figure("spawn to ready, new store", &ms(median(&first)));
    figure("spawn to ready, store from before", &ms(median(&again)));
    Ok(())
}

async fn load(each: usize) -> anyhow::Result<()> {
    let world = World::start(MAILBOXES, Announced::ByBenchmark).await?;
    let bridge = world.bridge().await?;
    tokio::time::sleep(IDLE).await;
    let idle = bridge.usage()?;
    let mails = world.fill(each, mail::letter);
    world.hand_over(bridge.public(), &mails).await?;
    let loaded = bridge.usage()?;
    world.check(mails.len())?;
    tokio::time::sleep(IDLE).await;
    let after = bridge.usage()?;
    bridge.stop().await?;
    heading("memory");
    figure(&format!("idle with {MAILBOXES} mailboxes, most (VmHWM)"), &mib(idle.peak_kib));
    figure(&format!("idle with {MAILBOXES} mailboxes, now (VmRSS)"), &mib(idle.resident_kib));
    figure(&format!("{} mails of {} bytes, most", mails.len(), mail::LETTER), &mib(loaded.peak_kib));
    figure(&format!("  {} s later, now", IDLE.as_secs()), &mib(after.resident_kib));
    Ok(())
}

async fn large_mails(count: usize, size: usize) -> anyhow::Result<()> {
    let mailboxes = LARGE_IN.min(count);
    let world = World::start(mailboxes, Announced::ByBenchmark).await?;
    let bridge = world.bridge().await?;
    let mails = world.fill(count.div_ceil(mailboxes), |number, to| mail::heavy(number, to, size));
    let took = world.hand_over(bridge.public(), &mails).await?;
    let loaded = bridge.usage()?;
    world.check(mails.len())?;
    tokio::time::sleep(IDLE).await;
    let after = bridge.usage()?;
    bridge.stop().await?;
    figure(
        &format!("{} mails of {} MiB in {mailboxes} mailboxes, most", mails.len(), size.div_ceil(1 << 20)),
        &mib(loaded.peak_kib),
    );
    figure(&format!("  {} s later, now", IDLE.as_secs()), &mib(after.resident_kib));
    figure("  until the last is accepted", &ms(took.accepted));
    Ok(())
}
