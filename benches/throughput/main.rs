//! Messages per second from the first notification to the last acceptance, with nothing given up: SQLite with full
//! durability, two routes each. Beside it the bare loop, which stores nothing.
//!
//! `cargo bench --bench throughput -- [mails per mailbox] [mailboxes] [rounds]`

mod bare;
#[expect(dead_code, reason = "every benchmark uses its part of the world")]
#[path = "../world/mod.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use world::report::{figure, heading, median, mib};
use world::usage::Usage;
use world::{Announced, ROUTES, Took, World, arguments, mail};

/// What one round of one of the two came to.
struct Round {
    took: Took,
    cpu: Duration,
    system: Duration,
    threads: BTreeMap<String, Duration>,
    /// What the tenant and the receiver used meanwhile.
    around: Duration,
    graph_requests: u64,
    peak_kib: u64,
    commits: (f64, f64),
    body: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(task) = std::env::var_os(bare::TASK) {
        return bare::run(task.as_ref()).await;
    }
    let [each, mailboxes, rounds] = arguments([100, 50, 3])?;
    let mails = each * mailboxes;
    heading(&format!("{mails} mails of {} bytes in {mailboxes} mailboxes, {} routes", mail::LETTER, ROUTES.len()));
    let (mut bridges, mut bares) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (bridge, bare) = (through_the_bridge(each, mailboxes).await?, by_the_bare_loop(each, mailboxes).await?);
        let (fast, bound) = (per_second(mails, bridge.took.accepted), per_second(mails, bare.took.accepted));
        figure(
            &format!("round {round}: bridge / bare loop / ratio"),
            &format!("{fast:.0} / {bound:.0} / {:.2}", fast / bound),
        );
        bridges.push(bridge);
        bares.push(bare);
    }
    tell("the bridge (medians)", mails, &bridges);
    tell("the bare loop (medians)", mails, &bares);
    let ratio = |it: fn(&Round) -> Duration| {
        let ratios = bridges.iter().zip(&bares).map(|(bridge, bare)| it(bare).as_secs_f64() / it(bridge).as_secs_f64());
        format!("{:.2}", median(&ratios.collect::<Vec<_>>()))
    };
    heading("the bridge as a share of the bare loop (medians)");
    figure("speed to the last acceptance", &ratio(|it| it.took.accepted));
    figure("speed to the last mark", &ratio(|it| it.took.marked));
    figure("processor time (1.00 is as thrifty)", &ratio(|it| it.cpu));
    Ok(())
}

async fn through_the_bridge(each: usize, mailboxes: usize) -> anyhow::Result<Round> {
    let world = World::start(mailboxes, Announced::ByBenchmark).await?;
    let bridge = world.bridge().await?;
    let mails = world.fill(each, mail::letter);
    let (used, around) = (bridge.usage()?, Usage::own()?);
    let (requests, commits) = (world.tenant.graph_requests(), bridge.commits().await?);
    let took = world.hand_over(bridge.public(), &mails).await?;
    world.until_quiet(Duration::from_millis(500)).await?;
    let usage = bridge.usage()?.since(&used);
    let written = bridge.commits().await?;
    world.check(mails.len())?;
    bridge.stop().await?;
    Ok(Round {
        took,
        cpu: usage.cpu,
        system: usage.system,
        threads: usage.threads,
        around: Usage::own()?.since(&around).cpu,
        graph_requests: world.tenant.graph_requests() - requests,
        peak_kib: usage.peak_kib,
        commits: (written.0 - commits.0, written.1 - commits.1),
        body: world.receiver.mean_bytes(),
    })
}

async fn by_the_bare_loop(each: usize, mailboxes: usize) -> anyhow::Result<Round> {
    let world = World::start(mailboxes, Announced::ByBenchmark).await?;
    let mails = world.fill(each, mail::letter);
    let mut bare = bare::Bare::spawn(&world, &mails).await?;
    let (used, around, requests) = (bare.usage()?, Usage::own()?, world.tenant.graph_requests());
    let begun = bare.go().await?;
    let took = world.finished(begun, mails.len()).await?;
    let usage = bare.usage()?.since(&used);
    world.check(mails.len())?;
    bare.end().await?;
    Ok(Round {
        took,
        cpu: usage.cpu,
        system: usage.system,
        threads: usage.threads,
        around: Usage::own()?.since(&around).cpu,
        graph_requests: world.tenant.graph_requests() - requests,
        peak_kib: usage.peak_kib,
        commits: (0.0, 0.0),
        body: world.receiver.mean_bytes(),
    })
}

fn per_second(mails: usize, time: Duration) -> f64 {
    mails as f64 / time.as_secs_f64()
}

fn tell(who: &str, mails: usize, rounds: &[Round]) {
    let middle = |it: &dyn Fn(&Round) -> f64| median(&rounds.iter().map(it).collect::<Vec<_>>());
    let per_mail = |time: Duration| time.as_secs_f64() * 1e6 / mails as f64;
    heading(who);
    figure("messages/s to the last acceptance", &format!("{:.0}", middle(&|it| per_second(mails, it.took.accepted))));
    figure("messages/s to the last mark", &format!("{:.0}", middle(&|it| per_second(mails, it.took.marked))));
    figure("processor time per message", &format!("{:.0} µs", middle(&|it| per_mail(it.cpu))));
    figure("  of it in the kernel", &format!("{:.0} µs", middle(&|it| per_mail(it.system))));
    for name in rounds.iter().flat_map(|it| it.threads.keys()).collect::<std::collections::BTreeSet<_>>() {
        let time = middle(&|it| it.threads.get(name).map_or(0.0, |time| per_mail(*time)));
        if time >= 1.0 {
            figure(&format!("  of it in threads {name}"), &format!("{time:.0} µs"));
        }
    }
    figure(
        "processor time of tenant and receiver per message",
        &format!("{:.0} µs", middle(&|it| per_mail(it.around))),
    );
    let requests = middle(&|it| it.graph_requests as f64 / mails as f64);
    figure("Graph requests per message", &format!("{requests:.3}"));
    figure("body of a webhook", &format!("{:.0} bytes", middle(&|it| it.body as f64)));
    figure("most memory (VmHWM)", &mib(middle(&|it| it.peak_kib as f64) as u64));
    let commits = middle(&|it| it.commits.0);
    if commits > 0.0 {
        figure("messages per transaction", &format!("{:.1}", mails as f64 / commits));
        figure("a transaction takes", &format!("{:.2} ms", middle(&|it| it.commits.1 * 1e3 / it.commits.0.max(1.0))));
        let busy = middle(&|it| it.commits.1 / it.took.marked.as_secs_f64());
        figure("the writer is busy", &format!("{:.0} %", busy * 100.0));
    }
}
