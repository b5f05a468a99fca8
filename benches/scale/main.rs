//! What many mailboxes cost: time until all are watched, memory, processor time at rest, requests to Graph, and how
//! long one mail takes meanwhile; on one process with SQLite, on one and on three with PostgreSQL.
//!
//! `cargo bench --bench scale -- [mailboxes] [routes] [seconds at rest] [mails one by one]`
//! PostgreSQL is left out, and that is said, unless `MAILSPAN_TEST_POSTGRES` names a server.

#[expect(dead_code, reason = "every benchmark uses its part of the world")]
#[path = "../world/mod.rs"]
mod world;

use std::time::{Duration, Instant};

use world::bridge::SIGNING_SECRET;
use world::fleet::{Database, Fleet};
use world::report::{figure, heading, mib, ms, share};
use world::usage::Usage;
use world::{Announced, World, arguments, mail, until_within};

/// So long a start of very many mailboxes may take.
const START_WITHIN: Duration = Duration::from_secs(1800);
/// After a start the bridge is given this long to come to rest: the first minute it does not sweep.
const SETTLE: Duration = Duration::from_secs(75);
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// One mail takes this long at most, or something is broken.
const MAIL_WITHIN: Duration = Duration::from_secs(60);
const DAY: f64 = 86_400.0;

/// The sizes of one measurement.
struct Sizes {
    mailboxes: usize,
    routes: usize,
    rest: Duration,
    mails: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [mailboxes, routes, rest, mails] = arguments([1000, 200, 60, 100])?;
    let sizes = Sizes { mailboxes, routes, rest: Duration::from_secs(rest as u64), mails };
    measure(&sizes, Database::Sqlite, 1).await?;
    for processes in [1, 3] {
        match Database::postgres().await? {
            Some(database) => measure(&sizes, database, processes).await?,
            None => heading("PostgreSQL is left out: MAILSPAN_TEST_POSTGRES names no server"),
        }
    }
    Ok(())
}

async fn measure(sizes: &Sizes, database: Database, processes: usize) -> anyhow::Result<()> {
    let Sizes { mailboxes, routes, rest, mails } = *sizes;
    heading(&format!("{mailboxes} mailboxes, {routes} routes, {processes} on {}", database.kind()));
    let world = World::start(mailboxes, Announced::ByTenant).await?;
    let begun = Instant::now();
    let mut fleet = Fleet::spawn(&world, &database, processes, &shared_out(&world, routes)).await?;
    figure("ready after", &seconds(fleet.until_ready().await?));
    until_within(START_WITHIN, "every mailbox is watched", || world.tenant.subscriptions().len() >= mailboxes).await?;
    figure("all subscriptions stand after", &seconds(begun.elapsed()));
    let looked = || world.tenant.requests().get("delta").is_some_and(|it| *it >= mailboxes as u64);
    until_within(START_WITHIN, "every mailbox was looked at", looked).await?;
    figure("every mailbox was looked at after", &seconds(begun.elapsed()));
    tokio::time::sleep(SETTLE).await;
    let start = world.tenant.graph_requests();
    figure("Graph requests of the start, per mailbox", &format!("{:.2}", start as f64 / mailboxes as f64));
    each("processor time of the start", &fleet.usage()?, |it| seconds(it.cpu));

    let before = fleet.usage()?;
    tokio::time::sleep(rest).await;
    let after = fleet.usage()?;
    let asked = (world.tenant.graph_requests() - start) as f64 / rest.as_secs_f64();
    let at_rest: Vec<Usage> = after.into_iter().zip(&before).map(|(after, before)| after.since(before)).collect();
    each("at rest: processor", &at_rest, |it| format!("{:.2} %", it.cpu.as_secs_f64() / rest.as_secs_f64() * 100.0));
    figure("at rest: Graph requests per mailbox and day", &format!("{:.0}", asked * DAY / mailboxes as f64));
    each("memory", &at_rest, |it| mib(it.resident_kib));
    each("most memory", &at_rest, |it| mib(it.peak_kib));
    figure("connections to the database", &database.connections().await?.to_string());

    let mut times = Vec::with_capacity(mails);
    for number in 0..mails {
        let mailbox = &world.mailboxes[fastrand::usize(..mailboxes)];
        let begun = Instant::now();
        world.tenant.receive(mailbox, mail::letter(number, mailbox));
        until_within(MAIL_WITHIN, "a mail is accepted", || world.receiver.distinct() > number).await?;
        times.push(begun.elapsed());
        tokio::time::sleep(LOOK_EVERY * 50).await;
    }
    figure("one mail, received to accepted: half of all within", &ms(share(&times, 0.5)));
    figure("one mail, received to accepted: 99 of 100 within", &ms(share(&times, 0.99)));
    let counters = world.tenant.counters();
    figure("requests that Graph refused as too many at once", &counters.too_many_at_once.to_string());
    anyhow::ensure!(world.receiver.posts() == mails, "{} webhooks came for {mails} mails", world.receiver.posts());
    fleet.stop().await?;
    database.remove().await
}

/// Each route takes the mail of its share of the mailboxes.
fn shared_out(world: &World, routes: usize) -> String {
    let mut text = String::new();
    for route in 0..routes {
        let own: Vec<String> =
            world.mailboxes.iter().skip(route).step_by(routes).map(|it| format!("\"{it}\"")).collect();
        if own.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "\n[[routes]]\nname = \"route-{route}\"\nmailboxes = [{}]\n[routes.destination]\nkind = \"webhook\"\n\
             url = \"{}\"\nsigning_secret = \"{SIGNING_SECRET}\"\nallow_private_networks = true\n",
            own.join(", "),
            world.receiver.url(&format!("route-{route}")),
        ));
    }
    text
}

/// A figure of each process.
fn each(what: &str, usages: &[Usage], value: impl Fn(&Usage) -> String) {
    figure(what, &usages.iter().map(value).collect::<Vec<_>>().join(" / "));
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
