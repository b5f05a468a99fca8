//! The world of a drill: a simulated tenant, a steady stream of mail, a receiver, and the real program between them.
//!
//! [`World::end`] is the judge: every letter everywhere it belongs, ids and bodies stable, read only after acceptance,
//! nothing left to do, and a program that stops in order.

pub(crate) mod books;
pub(crate) mod bridge;
pub(crate) mod mails;
pub(crate) mod receiver;
pub(crate) mod verdict;

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mailspan_tenant::{NotificationPolicy, Options, Tenant};

use bridge::Bridge;
use mails::{Post, Sent};
use receiver::Receiver;
use verdict::Report;

/// Everything a drill plays with.
pub(crate) struct World {
    name: &'static str,
    folder: PathBuf,
    store: String,
    pub(crate) tenant: Tenant,
    pub(crate) receiver: Receiver,
    pub(crate) bridge: Bridge,
    pub(crate) post: Post,
    begun: Instant,
}

/// How a drill is set up.
pub(crate) struct Setting {
    /// What it is called.
    pub(crate) name: &'static str,
    /// `store.url`; without it a SQLite file of its own.
    pub(crate) store: Option<String>,
    /// Variables for the program.
    pub(crate) variables: Vec<(String, String)>,
    /// Milliseconds between two letters.
    pub(crate) pause_ms: Range<u64>,
}

impl Setting {
    /// SQLite, and a letter about every 30 ms.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, store: None, variables: Vec::new(), pause_ms: 10..50 }
    }
}

impl World {
    /// Starts it all; the mail flows.
    pub(crate) async fn start(setting: Setting) -> Self {
        let Setting { name, store, variables, pause_ms } = setting;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("drill-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = store.unwrap_or_else(|| format!("sqlite:{}", folder.join("mailspan.db").display()));
        let options = Options { notifications: NotificationPolicy::fast(), ..Options::default() };
        let tenant = Tenant::start(options).await.unwrap();
        mails::MAILBOXES.iter().for_each(|(address, _)| tenant.add_mailbox(address));
        let receiver = Receiver::start().await;
        let bridge = Bridge::start(&folder, &store, &tenant, &receiver, variables).await;
        let post = Post::steady(&tenant, pause_ms);
        Self { name, folder, store, tenant, receiver, bridge, post, begun: Instant::now() }
    }

    /// Mail stops, everything that was sent gets its time, and then all of it is judged. `patience` is how long nothing
    /// at all may move before what is missing counts as lost.
    pub(crate) async fn end(mut self, patience: Duration) -> Report {
        let sent = self.post.stop().await;
        self.bridge.live(Duration::ZERO).await;
        settle(&self.tenant, &self.receiver, &mut self.bridge, &sent, patience).await;
        let mut wrong = verdict::wrong(&self.tenant, &self.receiver, &sent);
        wrong.extend(idle(&self.bridge).await);
        wrong.extend(unaccounted(&self.bridge).await);
        books::until_done(&self.store, patience).await;
        self.bridge.stop().await;
        let books = books::read(&self.store).await;
        let messages = sent.iter().map(|it| it.messages.len()).sum();
        wrong.extend(books.wrong(messages));
        let report = Report::of(self.name, &self.bridge, &sent, &self.receiver, books, self.begun.elapsed());
        report.print();
        assert!(wrong.is_empty(), "{}: {wrong:#?}\n{}", self.name, self.bridge.tail());
        drop(std::fs::remove_dir_all(&self.folder));
        report
    }
}

/// Waits until everything is delivered and read, or nothing moved for `patience`.
async fn settle(tenant: &Tenant, receiver: &Receiver, bridge: &mut Bridge, sent: &[Sent], patience: Duration) {
    let (mut best, mut moved) = (0, Instant::now());
    loop {
        bridge.until_ready().await;
        let progress = verdict::progress(tenant, receiver, sent);
        if progress.done() || moved.elapsed() > patience {
            return;
        }
        if progress.sum() > best {
            (best, moved) = (progress.sum(), Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What health says is still to do; nothing, a moment after the last mail was marked.
async fn idle(bridge: &Bridge) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let Some((_, health)) = bridge.health().await else { return vec!["health does not answer".to_owned()] };
        let left = left_in(&health);
        if left.is_empty() || begun.elapsed() > Duration::from_secs(60) {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the bridge's own audit cannot account for. All is delivered, so nothing may be called pending for its youth.
async fn unaccounted(bridge: &Bridge) -> Vec<String> {
    let Some(report) = bridge.audit().await else { return vec!["the audit does not answer".to_owned()] };
    let mailboxes = report["mailboxes"].as_array().cloned().unwrap_or_default();
    let all_delivered = |it: &serde_json::Value| {
        it["balanced"] == true && it["total"]["seen"] == it["total"]["delivered"] && it["total"]["delivered"] != 0
    };
    let fine = mailboxes.len() == mails::MAILBOXES.len() && mailboxes.iter().all(all_delivered);
    if fine { Vec::new() } else { vec![format!("audit: {report}")] }
}

pub(crate) fn left_in(health: &serde_json::Value) -> Vec<String> {
    let checks = health["checks"].as_array().cloned().unwrap_or_default();
    let mut left = Vec::new();
    for check in &checks {
        let number = |key: &str| check[key].as_u64().unwrap_or(0);
        let deliveries = if check["kind"] == "route" { number("queue_depth") } else { 0 };
        if deliveries + number("parked") > 0 || check["status"] == "failing" {
            left.push(format!("health: {check}"));
        }
    }
    if checks.len() < 2 {
        left.push(format!("health says nothing: {health}"));
    }
    left
}
