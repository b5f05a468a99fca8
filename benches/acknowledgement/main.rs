//! How soon a notification is acknowledged: 2,000 a second, while the bridge works on a backlog of mail.
//!
//! The schedule is open: a notification's time counts from the moment it was to be sent, whether or not the one before
//! was answered. `cargo bench --bench acknowledgement -- [seconds] [mails per mailbox] [notifications per second]`

mod open_loop;
#[expect(dead_code, reason = "every benchmark uses its part of the world")]
#[path = "../world/mod.rs"]
mod world;

use open_loop::Schedule;
use world::report::{figure, heading, ms};
use world::{Announced, ROUTES, World, arguments, mail, notifications};

const MAILBOXES: usize = 50;
/// Without a backlog there is less to find out.
const IDLE_SECONDS: usize = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(schedule) = std::env::var_os(open_loop::SCHEDULE) {
        return open_loop::run(schedule.as_ref()).await;
    }
    let [seconds, each, rate] = arguments([20, 600, 2000])?;
    for (backlog, items, seconds) in [(0, 1, IDLE_SECONDS), (each, 1, seconds), (each, 20, seconds)] {
        measure(backlog, items, seconds, rate).await?;
    }
    Ok(())
}

async fn measure(backlog: usize, items: usize, seconds: usize, rate: usize) -> anyhow::Result<()> {
    let world = World::start(MAILBOXES, Announced::ByBenchmark).await?;
    let bridge = world.bridge().await?;
    let mails = world.fill(backlog.max(1), mail::letter);
    let schedule = Schedule {
        to: bridge.public(),
        bodies: notifications::bodies(&world, &mails, items)?,
        per_second: rate / items,
        posts: seconds * rate / items,
    };
    let before = bridge.usage()?;
    let told = schedule.kept(world.folder()).await?;
    let usage = bridge.usage()?.since(&before);
    let (accepted, all) = (world.receiver.distinct() / ROUTES.len(), mails.len());
    heading(&format!(
        "{rate} notifications/s for {seconds} s, {items} in a POST, a backlog of {} mails",
        backlog * MAILBOXES
    ));
    figure("acknowledged within, median", &ms(told.answered[0]));
    figure("acknowledged within, 99 of 100", &ms(told.answered[1]));
    figure("acknowledged within, all", &ms(told.answered[2]));
    figure("sent late by this benchmark, 99 of 100", &ms(told.late[1]));
    figure("not acknowledged", &told.failed.to_string());
    figure("mails accepted meanwhile, of all", &format!("{accepted} / {all}"));
    figure(
        "the bridge's share of one processor",
        &format!("{:.0} %", usage.cpu.as_secs_f64() * 100.0 / seconds as f64),
    );
    Ok(())
}
