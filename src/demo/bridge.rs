//! The bridge of the demo: the real one, from a real configuration file, in this process or in one of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mailspan_tenant::Tenant;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::receiver::{Receiver, SIGNING_SECRET};
use super::{Wanted, mails};
use crate::app::{Bridge, SystemClock};
use crate::config::Config;
use crate::telemetry;

/// A bridge that is not ready by then does not come up any more.
const START_WITHIN: Duration = Duration::from_secs(30);
/// A bridge that has not stopped by then does not stop.
const STOP_WITHIN: Duration = Duration::from_secs(40);
/// Between two kills the bridge lives at least this long, and at most this much longer.
const LIFE: (u64, u64) = (50, 900);

/// A bridge on its way.
pub(super) struct Running {
    kind: Kind,
    config: PathBuf,
    folder: PathBuf,
    admin: std::net::SocketAddr,
    kills_left: u32,
    killed: u32,
    next_kill: Instant,
}

enum Kind {
    Inside { stop: CancellationToken, task: JoinHandle<anyhow::Result<()>> },
    Outside(Child),
}

impl Running {
    /// Writes the configuration and starts the bridge; returns once it is ready and push stands.
    pub(super) async fn start(
        folder: &Path,
        tenant: &Tenant,
        receiver: &Receiver,
        wanted: &Wanted,
    ) -> anyhow::Result<Self> {
        let (public, admin) = (free_port()?, free_port()?);
        let config = folder.join("mailspan.toml");
        let text = configuration(folder, tenant, receiver, public, admin, wanted);
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let kind = if wanted.kills > 0 { Kind::Outside(spawn(&config, folder)?) } else { inside(&config).await? };
        let mut running = Self {
            kind,
            config,
            folder: folder.to_path_buf(),
            admin,
            kills_left: wanted.kills,
            killed: 0,
            next_kill: Instant::now(),
        };
        running.until_ready().await?;
        let begun = Instant::now();
        while tenant.subscriptions().len() < mails::MAILBOXES.len() && begun.elapsed() < START_WITHIN {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running.next_kill = Instant::now() + life();
        Ok(running)
    }

    /// Where its API answers.
    pub(super) fn api(&self) -> String {
        format!("http://{}/api/v1", self.admin)
    }

    /// How often it was killed.
    pub(super) fn killed(&self) -> u32 {
        self.killed
    }

    /// Kills it and starts it again when a random moment has come. All kills happen before the mail runs out.
    pub(super) async fn kill_if_it_is_time(&mut self, delivered: usize, expected: usize) -> anyhow::Result<()> {
        let Kind::Outside(child) = &mut self.kind else { return Ok(()) };
        if self.kills_left == 0 || delivered >= expected || Instant::now() < self.next_kill {
            return Ok(());
        }
        child.kill().await.context("the bridge cannot be killed")?;
        self.kills_left -= 1;
        self.killed += 1;
        self.kind = Kind::Outside(spawn(&self.config, &self.folder)?);
        self.next_kill = Instant::now() + life();
        Ok(())
    }

    /// Stops it in order.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        match &mut self.kind {
            Kind::Inside { stop, task } => {
                stop.cancel();
                tokio::time::timeout(STOP_WITHIN, task).await.context("the bridge does not stop")??
            }
            Kind::Outside(child) => {
                let id = child.id().context("the bridge ended by itself")?;
                Command::new("kill").args(["-TERM", &id.to_string()]).status().await.context("kill")?;
                let status =
                    tokio::time::timeout(STOP_WITHIN, child.wait()).await.context("the bridge does not stop")??;
                anyhow::ensure!(status.success(), "the bridge stopped with {status}");
                Ok(())
            }
        }
    }

    /// The bridge's own audit: how many messages it saw in the mailboxes, and how many of them were not delivered.
    pub(super) async fn audit(&self) -> anyhow::Result<(u64, u64)> {
        let client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(300)).tls_certs_only([]).build()?;
        let url = format!("http://{}/api/v1/audit?since=24h", self.admin);
        let report: serde_json::Value = client.get(&url).send().await?.error_for_status()?.json().await?;
        anyhow::ensure!(report["balanced"].is_boolean(), "the audit answers something else");
        let mailboxes = report["mailboxes"].as_array().map_or(&[][..], Vec::as_slice);
        let sum = |name: &str| mailboxes.iter().filter_map(|it| it["total"][name].as_u64()).sum::<u64>();
        let (seen, unaccounted) = (sum("seen"), sum("absent_unaccounted"));
        Ok((seen, seen.saturating_sub(sum("delivered")) + unaccounted))
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        let client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(1)).tls_certs_only([]).build()?;
        let url = format!("http://{}/health/ready", self.admin);
        let begun = Instant::now();
        loop {
            if client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Kind::Outside(child) = &mut self.kind
                && let Some(status) = child.try_wait()?
            {
                anyhow::bail!("the bridge ended with {status}; its log is in {}", self.folder.display());
            }
            anyhow::ensure!(begun.elapsed() < START_WITHIN, "the bridge does not become ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn inside(config: &Path) -> anyhow::Result<Kind> {
    let loaded =
        Config::load(&[config.to_path_buf()], std::iter::empty()).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let metrics = telemetry::init(&loaded.config.telemetry)?;
    let bridge = Bridge::build(loaded.config, metrics, Arc::new(SystemClock)).await?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(bridge.run(stop.clone()));
    Ok(Kind::Inside { stop, task })
}

fn spawn(config: &Path, folder: &Path) -> anyhow::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("bridge.log"))?;
    let program = std::env::current_exe().context("where is the mailspan program?")?;
    let child = Command::new(program)
        .arg("run")
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn();
    child.context("the bridge cannot be started")
}

fn life() -> Duration {
    Duration::from_millis(fastrand::u64(LIFE.0..LIFE.0 + LIFE.1))
}

fn free_port() -> anyhow::Result<std::net::SocketAddr> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}

/// A configuration as an administrator would write it.
fn configuration(
    folder: &Path,
    tenant: &Tenant,
    receiver: &Receiver,
    public: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    wanted: &Wanted,
) -> String {
    let level = if wanted.log || wanted.kills > 0 { "info" } else { "off" };
    let mut text = format!(
        r#"[server]
webhook_listen = "{public}"
admin_listen = "{admin}"
public_url = "http://{public}"

[store]
url = "sqlite:{store}"

[sync]
sweep_interval = "30s"
poll_interval = "2s"

# Exchange sends 30 mails a minute for a mailbox; the demo's tenant does not wait, and nor does whoever watches.
[outbound]
rate_per_minute = 6000

[telemetry]
log = "{level}"

[[tenants]]
name = "contoso"
tenant_id = "{tenant_id}"
client_id = "{client_id}"
token_endpoint = "{token_endpoint}"
graph_endpoint = "{graph_endpoint}"

[[tenants.credentials]]
kind = "client_secret"
secret = "{secret}"
"#,
        store = folder.join("mailspan.db").display(),
        tenant_id = tenant.tenant_id(),
        client_id = tenant.client_id(),
        token_endpoint = tenant.token_endpoint(),
        graph_endpoint = tenant.graph_endpoint(),
        secret = tenant.client_secret(),
    );
    for mailbox in mails::MAILBOXES {
        text.push_str(&format!("\n[[mailboxes]]\naddress = \"{mailbox}\"\nsend = true\n"));
    }
    for (route, mailbox) in ["support", "sales", "billing"].into_iter().zip(mails::MAILBOXES) {
        // Real mail names other people; the mailbox it lies in is what counts when files are shown.
        let rule = if wanted.from.is_some() { "mailboxes" } else { "recipients" };
        text.push_str(&webhook(route, &format!("{rule} = [\"{mailbox}\"]\n"), receiver));
    }
    text.push_str(&webhook("archive", "", receiver));
    text
}

fn webhook(route: &str, rule: &str, receiver: &Receiver) -> String {
    format!(
        "\n[[routes]]\nname = \"{route}\"\n{rule}concurrency = 16\n\n[routes.destination]\nkind = \"webhook\"\nurl = \"{}\"\n\
         signing_secret = \"{SIGNING_SECRET}\"\nallow_private_networks = true\n",
        receiver.url(route)
    )
}
