//! `mailspan demo`: the real bridge between a simulated tenant and a receiver, all on this machine.
//!
//! What must arrive where is decided by the demo, not by the bridge: every mail it puts into a mailbox must reach its
//! routes once and be marked read, and every answer that was asked for must leave once. The bridge runs in this process, or, to be killed on the way, in one of its own.

mod agents;
mod bridge;
mod mails;
mod receiver;
mod summary;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mailspan_tenant::{MessageId, Options, Tenant};

use agents::Agents;
use bridge::Running;
use receiver::Receiver;
pub use summary::Summary;

/// Nothing arrived for so long: what is missing by then is lost.
const STALLED: Duration = Duration::from_secs(30);
/// After a kill: what may have left without a word is looked for a minute before it is sent again.
const STALLED_AFTER_KILLS: Duration = Duration::from_secs(100);
/// Mails put into the mailboxes before the demo takes a breath.
const BURST: usize = 50;

/// What to show.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// How many generated mails.
    pub messages: usize,
    /// Instead of generated mails, the `.eml` files below this folder.
    pub from: Option<PathBuf>,
    /// How often the bridge is killed (SIGKILL) on the way and started again.
    pub kills: u32,
    /// Whether the bridge's own log lines are shown.
    pub log: bool,
}

/// How far the demo is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Deliveries there will be in all.
    pub expected: usize,
    /// Mails in the mailboxes so far.
    pub received: usize,
    /// Interactions at the receiver so far.
    pub delivered: usize,
    /// Answers that left so far.
    pub sent: usize,
    /// Kills so far.
    pub killed: u32,
}

/// One mail in a mailbox and the routes it must reach.
struct Sent {
    id: MessageId,
    routes: Vec<&'static str>,
    name: String,
}

/// Runs the demo to its end.
///
/// # Errors
/// The demo itself could not run; what the bridge did wrong is in the summary.
pub async fn run(wanted: Wanted, show: impl Fn(Progress)) -> anyhow::Result<Summary> {
    let folder = std::env::temp_dir().join(format!("mailspan-demo-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let outcome = run_in(&folder, &wanted, show).await;
    if outcome.as_ref().is_ok_and(Summary::is_fine) {
        let _ = std::fs::remove_dir_all(&folder);
    }
    outcome.map(|summary| summary.kept_in(&folder))
}

async fn run_in(folder: &Path, wanted: &Wanted, show: impl Fn(Progress)) -> anyhow::Result<Summary> {
    let tenant = Tenant::start(Options::default()).await.context("the simulated tenant cannot start")?;
    for mailbox in mails::MAILBOXES {
        tenant.add_mailbox(mailbox);
    }
    let receiver = Receiver::start().await.context("the receiver cannot start")?;
    let mut bridge = Running::start(folder, &tenant, &receiver, wanted).await?;
    let agents = Agents::start(&receiver, &bridge.api()).context("the agents cannot start")?;
    let stalled = if wanted.kills > 0 { STALLED_AFTER_KILLS } else { STALLED };
    let begun = Instant::now();
    let mut waiting = letters(wanted)?;
    let expected = waiting.iter().map(|it| it.routes.len()).sum();
    waiting.reverse();

    let mut sent: Vec<Sent> = Vec::with_capacity(waiting.len());
    let (mut best, mut moved) = (0, Instant::now());
    loop {
        for letter in waiting.split_off(waiting.len().saturating_sub(BURST)).into_iter().rev() {
            let id = tenant.receive(letter.mailbox, letter.mime);
            sent.push(Sent { id, routes: letter.routes, name: letter.name });
        }
        bridge.kill_if_it_is_time(receiver.distinct(), expected).await?;
        let delivered = receiver.distinct();
        let answered = agents.account(&tenant);
        let progress =
            Progress { expected, received: sent.len(), delivered, sent: answered.sent, killed: bridge.killed() };
        show(progress);
        let unread = if waiting.is_empty() && delivered >= expected { unread(&tenant) } else { usize::MAX };
        let marked = usize::from(unread != usize::MAX) * (sent.len() - unread.min(sent.len()));
        let state = delivered + marked + sent.len() + answered.sent + answered.refused;
        if state > best {
            (best, moved) = (state, Instant::now());
        }
        let is_over = unread == 0 && receiver.is_looked_through() && agents.account(&tenant).is_over();
        if is_over || moved.elapsed() > stalled {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    let unmarked = unread(&tenant);
    let answered = agents.account(&tenant);
    // Before the audit, whose requests are not what a mail costs.
    let mut summary = Summary::of(&sent, &receiver, unmarked, took, bridge.killed(), &tenant).with(
        answered,
        agents.refused(),
        wanted.from.is_none(),
    );
    (summary.audited, summary.unaccounted) = bridge.audit().await.context("the bridge cannot be audited")?;
    bridge.stop().await?;
    Ok(summary)
}

fn unread(tenant: &Tenant) -> usize {
    mails::MAILBOXES.iter().map(|mailbox| tenant.unread(mailbox)).sum()
}

/// One mail to be put into a mailbox.
struct Letter {
    mailbox: &'static str,
    mime: Vec<u8>,
    routes: Vec<&'static str>,
    name: String,
}

fn letters(wanted: &Wanted) -> anyhow::Result<Vec<Letter>> {
    let Some(folder) = &wanted.from else {
        let letter = |number| {
            let mails::Sample { mailbox, mime, routes } = mails::sample(number);
            Letter { mailbox, mime, routes, name: format!("mail {number}") }
        };
        return Ok((0..wanted.messages).map(letter).collect());
    };
    let mut files = Vec::new();
    collect(folder, &mut files).with_context(|| format!("cannot read {}", folder.display()))?;
    files.sort();
    anyhow::ensure!(!files.is_empty(), "there are no .eml files below {}", folder.display());
    let letter = |path: &PathBuf| {
        // All in one mailbox: the same mail in two of them would, rightly, be one interaction.
        let mailbox = mails::MAILBOXES[0];
        let mime = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
        // Whatever the mail says of itself, it lies in this mailbox: the mailbox's own route and the archive get it.
        Ok(Letter { mailbox, mime, routes: vec!["support", "archive"], name })
    };
    files.iter().map(letter).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|it| it.eq_ignore_ascii_case("eml")) {
            files.push(path);
        }
    }
    Ok(())
}
