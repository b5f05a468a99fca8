//! The world of the benchmarks: a simulated tenant and a receiver in this process, the real bridge in one of its own.
//!
//! Everything talks over the loopback. The tenant's notifications can be held back, so that filling its mailboxes is
//! no part of what is measured.

pub(crate) mod bridge;
pub(crate) mod fleet;
pub(crate) mod mail;
pub(crate) mod notifications;
pub(crate) mod receiver;
pub(crate) mod report;
pub(crate) mod usage;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mailspan_tenant::{MessageId, NotificationPolicy, Options, Tenant};
use tempfile::TempDir;

use bridge::Bridge;
use receiver::Receiver;

/// How often something that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(180);
/// The routes of every benchmark; each takes every mail.
pub(crate) const ROUTES: [&str; 2] = ["crm", "archive"];
/// Deliveries of a route at once.
pub(crate) const CONCURRENCY: usize = 32;

/// Where the benchmark announces mail itself: as many notifications in a POST, as many POSTs at once.
const NOTIFICATIONS_PER_POST: usize = 20;
const POSTS_AT_ONCE: usize = 4;

/// Who sends the notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    /// The tenant, as mail comes.
    ByTenant,
    /// The benchmark, when it begins to measure.
    ByBenchmark,
}

/// How long it took from the first notification on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Until the last mail was accepted by its last route.
    pub(crate) accepted: Duration,
    /// Until the last mail was marked as read.
    pub(crate) marked: Duration,
}

/// A tenant, a receiver and a folder on the disk.
pub(crate) struct World {
    pub(crate) tenant: Tenant,
    pub(crate) receiver: Receiver,
    pub(crate) mailboxes: Vec<String>,
    folder: TempDir,
}

/// A mail and the mailbox it lies in.
#[derive(Debug, Clone)]
pub(crate) struct Filled {
    pub(crate) mailbox: usize,
    pub(crate) id: MessageId,
}

impl World {
    /// A tenant with this many mailboxes, and a receiver.
    pub(crate) async fn start(mailboxes: usize, announced: Announced) -> anyhow::Result<Self> {
        let notifications = match announced {
            Announced::ByTenant => NotificationPolicy::default(),
            Announced::ByBenchmark => NotificationPolicy::silent(),
        };
        let tenant = Tenant::start(Options { notifications, ..Options::default() }).await?;
        let mailboxes: Vec<String> = (1..=mailboxes).map(|n| format!("mailbox{n}@contoso.example")).collect();
        mailboxes.iter().for_each(|mailbox| tenant.add_mailbox(mailbox));
        // Beside the build, so on a real disk: what is measured writes with full durability.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).context("a folder for the store")?;
        Ok(Self { tenant, receiver: Receiver::start().await?, mailboxes, folder })
    }

    /// Where the bridge keeps its store and its log.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The bridge, ready, with a subscription on every mailbox and its first looks behind it.
    pub(crate) async fn bridge(&self) -> anyhow::Result<Bridge> {
        self.watching(Bridge::spawn(self)?).await
    }

    /// The same with routes of one's own, as TOML.
    pub(crate) async fn bridge_with(&self, routes: &str) -> anyhow::Result<Bridge> {
        self.watching(Bridge::spawn_with(self, routes)?).await
    }

    async fn watching(&self, mut bridge: Bridge) -> anyhow::Result<Bridge> {
        bridge.until_ready().await?;
        let subscribed = || self.tenant.subscriptions().len() >= self.mailboxes.len();
        until("every mailbox has its subscription", subscribed).await?;
        let looked = || self.tenant.requests().get("delta").is_some_and(|it| *it >= self.mailboxes.len() as u64);
        until("every mailbox was looked at", looked).await?;
        self.until_quiet(Duration::from_secs(1)).await?;
        Ok(bridge)
    }

    /// Puts `each` mails into every mailbox, mailbox by mailbox in turn.
    pub(crate) fn fill(&self, each: usize, mime: impl Fn(usize, &str) -> Vec<u8>) -> Vec<Filled> {
        let mut filled = Vec::with_capacity(each * self.mailboxes.len());
        for number in 0..each * self.mailboxes.len() {
            let mailbox = number % self.mailboxes.len();
            let address = &self.mailboxes[mailbox];
            filled.push(Filled { mailbox, id: self.tenant.receive(address, mime(number, address)) });
        }
        filled
    }

    /// Announces these mails and waits until all of them are accepted and marked.
    pub(crate) async fn hand_over(&self, to: SocketAddr, mails: &[Filled]) -> anyhow::Result<Took> {
        let bodies = notifications::bodies(self, mails, NOTIFICATIONS_PER_POST)?;
        let begun = Instant::now();
        notifications::post_all(to, bodies, POSTS_AT_ONCE).await?;
        self.finished(begun, mails.len()).await
    }

    /// Waits until this many mails are accepted and marked.
    pub(crate) async fn finished(&self, begun: Instant, mails: usize) -> anyhow::Result<Took> {
        self.until_accepted(mails).await?;
        let accepted = self.receiver.last().map_or_else(|| begun.elapsed(), |last| last - begun);
        self.until_marked().await?;
        Ok(Took { accepted, marked: begun.elapsed() })
    }

    /// Waits until every route has accepted this many mails.
    pub(crate) async fn until_accepted(&self, mails: usize) -> anyhow::Result<()> {
        until("every mail is accepted", || self.receiver.distinct() >= mails * ROUTES.len()).await
    }

    /// Waits until no mail is unread.
    pub(crate) async fn until_marked(&self) -> anyhow::Result<()> {
        until("every mail is marked", || self.mailboxes.iter().all(|it| self.tenant.unread(it) == 0)).await
    }

    /// Waits until Graph has heard nothing for this long.
    pub(crate) async fn until_quiet(&self, quiet: Duration) -> anyhow::Result<()> {
        let (mut last, mut since) = (self.tenant.graph_requests(), Instant::now());
        until("the bridge has nothing left to ask", || {
            let now = self.tenant.graph_requests();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() >= quiet
        })
        .await
    }

    /// Every mail came once to each route, or the figures mean nothing.
    pub(crate) fn check(&self, mails: usize) -> anyhow::Result<()> {
        let (distinct, posts) = (self.receiver.distinct(), self.receiver.posts());
        let expected = mails * ROUTES.len();
        anyhow::ensure!(distinct == expected, "{distinct} interactions came, {expected} were expected");
        anyhow::ensure!(posts == expected, "{} interactions came more than once", posts - distinct);
        let counters = self.tenant.counters();
        anyhow::ensure!(counters.too_many_at_once == 0, "Graph refused {} requests", counters.too_many_at_once);
        Ok(())
    }
}

/// Waits for something that is bound to happen.
pub(crate) async fn until(what: &str, happened: impl FnMut() -> bool) -> anyhow::Result<()> {
    until_within(PATIENCE, what, happened).await
}

/// Waits this long for something that is bound to happen.
pub(crate) async fn until_within(
    patience: Duration,
    what: &str,
    mut happened: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !happened() {
        anyhow::ensure!(begun.elapsed() < patience, "waited {patience:?} in vain until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// The numbers among the program's arguments, or these. Cargo adds `--bench`.
pub(crate) fn arguments<const N: usize>(defaults: [usize; N]) -> anyhow::Result<[usize; N]> {
    let mut numbers = defaults;
    let given = std::env::args().skip(1).filter(|it| !it.starts_with("--"));
    for (number, text) in numbers.iter_mut().zip(given) {
        *number = text.parse().with_context(|| format!("{text} is no number"))?;
    }
    Ok(numbers)
}
