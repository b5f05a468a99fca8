//! What a burst costs the tenant: Graph requests per delivered message when a thousand mails come, in one mailbox and
//! in ten, at once and spread over ten seconds. The tenant announces them itself.
//!
//! `cargo bench --bench burst -- [mails]`

#[expect(dead_code, reason = "every benchmark uses its part of the world")]
mod world;

use std::time::{Duration, Instant};

use world::report::{figure, heading};
use world::{Announced, World, arguments, mail};

/// The longer burst's length.
const SPREAD: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [mails] = arguments([1000])?;
    for (mailboxes, over) in [(1, Duration::ZERO), (10, Duration::ZERO), (1, SPREAD), (10, SPREAD)] {
        burst(mails, mailboxes, over).await?;
    }
    Ok(())
}

async fn burst(mails: usize, mailboxes: usize, over: Duration) -> anyhow::Result<()> {
    let world = World::start(mailboxes, Announced::ByTenant).await?;
    let bridge = world.bridge().await?;
    let (requests, before) = (world.tenant.requests(), world.tenant.graph_requests());
    let begun = Instant::now();
    for number in 0..mails {
        let due = over * u32::try_from(number)? / u32::try_from(mails)?;
        if let Some(wait) = due.checked_sub(begun.elapsed()).filter(|wait| !wait.is_zero()) {
            tokio::time::sleep(wait).await;
        }
        let mailbox = &world.mailboxes[number % mailboxes];
        world.tenant.receive(mailbox, mail::letter(number, mailbox));
    }
    let took = world.finished(begun, mails).await?;
    world.until_quiet(Duration::from_secs(2)).await?;
    world.check(mails)?;
    bridge.stop().await?;

    let all = world.tenant.graph_requests() - before;
    heading(&format!("{mails} mails within {} s, mailboxes: {mailboxes}", over.as_secs()));
    figure("Graph requests per message", &format!("{:.3}", all as f64 / mails as f64));
    for (operation, count) in world.tenant.requests() {
        let new = count - requests.get(&operation).copied().unwrap_or(0);
        if new > 0 && !operation.starts_with("batch_item") {
            figure(&format!("  {operation}"), &new.to_string());
        }
    }
    let speed = mails as f64 / took.accepted.as_secs_f64();
    figure("messages/s, the tenant's work of receiving included", &format!("{speed:.0}"));
    Ok(())
}
