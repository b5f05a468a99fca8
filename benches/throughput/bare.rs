//! The bare loop: for each mail one GET, two signed POSTs, and a mark in a batch of twenty. It stores nothing, parses
//! nothing and forgets everything when it ends: the bound that HTTP and the machine set.
//!
//! A program of its own, as the bridge is: this one again, told by its environment. Its clients are made as the
//! bridge's, and its room is the same: three GETs at a time for a mailbox, as many POSTs at once for a route.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use mailspan::destinations::webhook::signature::Signer;
use mailspan::egress::{Config, Egress};
use mailspan::model::secret::Secret;
use mailspan::secrets::SecretSource;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::world::bridge::SIGNING_SECRET;
use crate::world::usage::Usage;
use crate::world::{CONCURRENCY, Filled, ROUTES, World};

/// Names the file with the loop's task; where it is set, this program is the loop.
pub(crate) const TASK: &str = "MAILSPAN_BENCH_BARE_LOOP";
/// Requests that Graph allows for a mailbox at once; a batch takes them all, as the bridge's does.
const SLOTS: u32 = 4;
/// Mails of a mailbox on their way at once.
const ON_THE_WAY: usize = 3;
/// Messages in a batch.
const BATCH: usize = 20;

#[derive(Serialize, Deserialize)]
struct Task {
    graph: String,
    token_endpoint: String,
    client_id: String,
    client_secret: String,
    scope: String,
    urls: Vec<String>,
    /// Each mailbox with its messages.
    mailboxes: Vec<(String, Vec<String>)>,
}

/// A loop that was spawned.
pub(crate) struct Bare {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pid: u32,
}

impl Bare {
    /// Spawns it and waits until it has its token and its task.
    pub(crate) async fn spawn(world: &World, mails: &[Filled]) -> anyhow::Result<Self> {
        let ids = |n: usize| mails.iter().filter(|it| it.mailbox == n).map(|it| it.id.to_string()).collect();
        let task = Task {
            graph: world.tenant.graph_endpoint(),
            token_endpoint: world.tenant.token_endpoint(),
            client_id: world.tenant.client_id().to_owned(),
            client_secret: world.tenant.client_secret().to_owned(),
            scope: world.tenant.scope(),
            urls: ROUTES.map(|route| world.receiver.url(route)).to_vec(),
            mailboxes: world.mailboxes.iter().enumerate().map(|(n, address)| (address.clone(), ids(n))).collect(),
        };
        let file = world.folder().join("task.json");
        std::fs::write(&file, serde_json::to_vec(&task)?)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.env(TASK, &file).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("the bare loop cannot be started")?;
        let stdin = child.stdin.take().context("the loop has no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("the loop has no standard output")?);
        let pid = child.id().context("the loop ended at once")?;
        let mut bare = Self { child, stdin, stdout, pid };
        bare.line("ready").await?;
        Ok(bare)
    }

    /// Lets it go. Returns when.
    pub(crate) async fn go(&mut self) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        self.stdin.write_all(b"go\n").await?;
        Ok(begun)
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.pid)
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.line("done").await?;
        drop(self.stdin);
        let status = self.child.wait().await?;
        anyhow::ensure!(status.success(), "the bare loop ended with {status}");
        Ok(())
    }

    async fn line(&mut self, expected: &str) -> anyhow::Result<()> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).await?;
        anyhow::ensure!(line.trim() == expected, "the bare loop says {line:?} instead of {expected}");
        Ok(())
    }
}

/// What all of the loop shares.
struct Loop {
    graph: reqwest::Client,
    token: String,
    signer: Signer,
    routes: Vec<(String, reqwest::Client, Semaphore)>,
    endpoint: String,
}

/// One mailbox: what is left to fetch, what is left to mark, and Graph's room for it.
struct Mailbox {
    address: String,
    left: Mutex<Vec<String>>,
    handed_over: Mutex<Vec<String>>,
    slots: Semaphore,
}

/// The loop itself.
pub(crate) async fn run(task: &Path) -> anyhow::Result<()> {
    let task: Task = serde_json::from_slice(&std::fs::read(task)?)?;
    let egress = Egress::new(&Config::default())?;
    let graph = egress.finish(egress.client()?)?;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &task.client_id),
        ("client_secret", &task.client_secret),
        ("scope", &task.scope),
    ];
    let answer = graph.post(&task.token_endpoint).form(&form).send().await?.error_for_status()?;
    let token = answer.json::<serde_json::Value>().await?["access_token"].as_str().context("no token")?.to_owned();
    let signer = Signer::new(vec![SecretSource::Inline(Secret::new(SIGNING_SECRET))], now());
    let signer = signer.map_err(|problem| anyhow::anyhow!(problem))?;
    let route = |url: String| {
        let client = egress.finish(egress.client()?.no_gzip().pool_idle_timeout(std::time::Duration::from_secs(4)))?;
        anyhow::Ok((url, client, Semaphore::new(CONCURRENCY)))
    };
    let routes = task.urls.into_iter().map(route).collect::<anyhow::Result<_>>()?;
    let all = Arc::new(Loop { graph, token, signer, routes, endpoint: task.graph });

    tell("ready\n")?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    let mut workers = JoinSet::new();
    for (address, ids) in task.mailboxes {
        let mailbox = Arc::new(Mailbox {
            address,
            left: Mutex::new(ids),
            handed_over: Mutex::default(),
            slots: Semaphore::new(SLOTS as usize),
        });
        for _ in 0..ON_THE_WAY {
            workers.spawn(Arc::clone(&all).work(Arc::clone(&mailbox)));
        }
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    tell("done\n")?;
    // Stays until its usage has been read.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}

impl Loop {
    async fn work(self: Arc<Self>, mailbox: Arc<Mailbox>) -> anyhow::Result<()> {
        loop {
            let next = mailbox.left.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(id) = next else {
                let rest = std::mem::take(&mut *mailbox.handed_over.lock().unwrap_or_else(PoisonError::into_inner));
                return self.mark(&mailbox, rest).await;
            };
            let raw = self.fetch(&mailbox, &id).await?;
            let body =
                json!({ "type": "interaction.email.received", "data": { "raw": String::from_utf8_lossy(&raw) } });
            let body = bytes::Bytes::from(serde_json::to_vec(&body)?);
            let both = self.routes.iter().enumerate().map(|(n, _)| self.deliver(n, &id, body.clone()));
            futures_util::future::try_join_all(both).await?;
            let full = {
                let mut handed_over = mailbox.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
                handed_over.push(id);
                if handed_over.len() < BATCH { Vec::new() } else { std::mem::take(&mut *handed_over) }
            };
            self.mark(&mailbox, full).await?;
        }
    }

    async fn fetch(&self, mailbox: &Mailbox, id: &str) -> anyhow::Result<bytes::Bytes> {
        let _slot = mailbox.slots.acquire().await?;
        let url = format!("{}/users/{}/messages/{id}/$value", self.endpoint, mailbox.address);
        let ask = self.graph.get(url).bearer_auth(&self.token).header("prefer", "IdType=\"ImmutableId\"");
        Ok(ask.send().await?.error_for_status()?.bytes().await?)
    }

    async fn deliver(&self, route: usize, id: &str, body: bytes::Bytes) -> anyhow::Result<()> {
        let (url, client, room) = &self.routes[route];
        let _room = room.acquire().await?;
        let (id, now) = (format!("{route}_{id}"), now());
        let signature = self.signer.sign(&id, now / 1000, &body, now).map_err(|problem| anyhow::anyhow!(problem))?;
        let post = client.post(url).header("webhook-id", id).header("webhook-timestamp", now / 1000);
        let post = post.header("webhook-signature", signature).header("content-type", "application/json");
        post.body(body).send().await?.error_for_status()?.bytes().await?;
        Ok(())
    }

    async fn mark(&self, mailbox: &Mailbox, ids: Vec<String>) -> anyhow::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let item = |(n, id): (usize, &String)| {
            json!({
                "id": n.to_string(),
                "method": "PATCH",
                "url": format!("/users/{}/messages/{id}", mailbox.address),
                "headers": { "Content-Type": "application/json", "Prefer": "IdType=\"ImmutableId\", return=minimal" },
                "body": { "isRead": true },
            })
        };
        let requests: Vec<_> = ids.iter().enumerate().map(item).collect();
        let _slots = mailbox.slots.acquire_many(SLOTS).await?;
        let post = self.graph.post(format!("{}/$batch", self.endpoint)).bearer_auth(&self.token);
        let answer = post.json(&json!({ "requests": requests })).send().await?.error_for_status()?;
        let answer: serde_json::Value = answer.json().await?;
        let answers = answer["responses"].as_array().context("a batch without answers")?;
        let refused = answers.iter().filter(|it| !matches!(it["status"].as_u64(), Some(200..300))).count();
        anyhow::ensure!(refused == 0, "{refused} marks were refused");
        Ok(())
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn tell(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(line.as_bytes())?;
    out.flush()
}
