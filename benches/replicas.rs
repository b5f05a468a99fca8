//! Messages per second from the first notification to the last acceptance: SQLite, and PostgreSQL with one, two and
//! three bridges on it, in turn. Notifications are spread over the bridges.
//!
//! `cargo bench --bench replicas -- [mails per mailbox] [mailboxes] [rounds]`
//! PostgreSQL is left out, and that is said, unless `MAILSPAN_TEST_POSTGRES` names a server.

#[expect(dead_code, reason = "every benchmark uses its part of the world")]
mod world;

use std::time::Duration;

use world::bridge::routes;
use world::fleet::{Database, Fleet};
use world::report::{figure, heading, median};
use world::{Announced, World, arguments, mail, until};

/// Bridges at work in one round.
const REPLICAS: [usize; 3] = [1, 2, 3];
const QUIET: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [each, mailboxes, rounds] = arguments([100, 50, 3])?;
    heading(&format!("{} mails of {} bytes in {mailboxes} mailboxes", each * mailboxes, mail::LETTER));
    let mut sqlite = Vec::new();
    let mut postgres: [Vec<f64>; REPLICAS.len()] = Default::default();
    for _ in 0..rounds {
        sqlite.push(round(Database::Sqlite, 1, each, mailboxes).await?);
        for (speeds, count) in postgres.iter_mut().zip(REPLICAS) {
            if let Some(database) = Database::postgres().await? {
                speeds.push(round(database, count, each, mailboxes).await?);
            }
        }
    }
    let alone = median(&sqlite);
    figure("SQLite, messages/s", &format!("{alone:.0}"));
    for (speeds, count) in postgres.iter().zip(REPLICAS).filter(|(speeds, _)| !speeds.is_empty()) {
        let speed = median(speeds);
        figure(&format!("PostgreSQL, bridges: {count}, messages/s"), &format!("{speed:.0}"));
        figure("  times SQLite", &format!("{:.2}", speed / alone));
    }
    if postgres.iter().all(Vec::is_empty) {
        figure("PostgreSQL", "left out: MAILSPAN_TEST_POSTGRES names no server");
    }
    Ok(())
}

/// Messages per second of one world from beginning to end.
async fn round(database: Database, count: usize, each: usize, mailboxes: usize) -> anyhow::Result<f64> {
    let world = World::start(mailboxes, Announced::ByBenchmark).await?;
    let mut fleet = Fleet::spawn(&world, &database, count, &routes(&world)).await?;
    fleet.until_ready().await?;
    until("every mailbox has its subscription", || world.tenant.subscriptions().len() >= mailboxes).await?;
    world.until_quiet(QUIET).await?;
    let mails = world.fill(each, mail::letter);
    let took = world.hand_over(fleet.public(), &mails).await?;
    world.until_quiet(QUIET).await?;
    world.check(mails.len())?;
    fleet.stop().await?;
    database.remove().await?;
    Ok(mails.len() as f64 / took.accepted.as_secs_f64())
}
