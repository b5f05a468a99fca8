//! The bridge that is measured: the released program, configured as an administrator would, in a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::usage::Usage;
use super::{CONCURRENCY, ROUTES, World};

/// The secret the routes sign with; it signs nothing outside a benchmark.
pub(crate) const SIGNING_SECRET: &str = "whsec_YmVuY2htYXJrLW9ubHktc2VjcmV0LTAxMjM0NTY3ODlhYmNk";
/// A bridge that is not ready by then does not come up any more.
const START_WITHIN: Duration = Duration::from_secs(60);
/// A bridge that has not stopped by then does not stop.
const STOP_WITHIN: Duration = Duration::from_secs(40);
/// How often a starting bridge is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// A bridge that was spawned.
pub(crate) struct Bridge {
    child: Child,
    pid: u32,
    spawned: Instant,
    public: SocketAddr,
    admin: SocketAddr,
}

/// What sets one bridge of several apart.
pub(crate) struct Place<'a> {
    /// Its configuration's name.
    pub(crate) name: &'a str,
    /// Where its store is.
    pub(crate) store: &'a str,
    /// Where Graph posts, if not to its own listener.
    pub(crate) public_url: Option<&'a str>,
}

impl Bridge {
    /// Spawns it; it need not be ready yet.
    pub(crate) fn spawn(world: &World) -> anyhow::Result<Self> {
        Self::spawn_with(world, &routes(world))
    }

    /// Spawns it with routes of one's own, as TOML.
    pub(crate) fn spawn_with(world: &World, routes: &str) -> anyhow::Result<Self> {
        let store = format!("sqlite:{}", world.folder().join("mailspan.db").display());
        Self::spawn_at(world, &Place { name: "mailspan", store: &store, public_url: None }, routes)
    }

    /// Spawns it as one of several, with routes of one's own, as TOML.
    pub(crate) fn spawn_at(world: &World, place: &Place<'_>, routes: &str) -> anyhow::Result<Self> {
        let (public, admin) = (free_port()?, free_port()?);
        let file = world.folder().join(place.name).with_extension("toml");
        std::fs::write(&file, configuration(world, place, public, admin) + routes)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(world.folder().join("bridge.log"))?;
        let spawned = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailspan"));
        command.arg("run").arg("--config").arg(&file);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().context("the bridge cannot be started")?;
        let pid = child.id().context("the bridge ended at once")?;
        Ok(Self { child, pid, spawned, public, admin })
    }

    /// Waits until it is ready. Returns how long that took from its spawning.
    pub(crate) async fn until_ready(&mut self) -> anyhow::Result<Duration> {
        while !self.get("/health/ready").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the bridge ended with {status}");
            }
            anyhow::ensure!(self.spawned.elapsed() < START_WITHIN, "the bridge does not become ready");
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(self.spawned.elapsed())
    }

    /// Where Graph posts its notifications.
    pub(crate) fn public(&self) -> SocketAddr {
        self.public
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.pid)
    }

    /// Transactions it has written, and the seconds they took together.
    pub(crate) async fn commits(&self) -> anyhow::Result<(f64, f64)> {
        let metrics = self.get("/metrics").await?;
        let value = |name: &str| {
            let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains("\"commit\""));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Ok((value("mailspan_store_seconds_count"), value("mailspan_store_seconds_sum")))
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().await.context("kill")?;
        let ended = tokio::time::timeout(STOP_WITHIN, self.child.wait()).await;
        let status = ended.context("the bridge does not stop")??;
        anyhow::ensure!(status.success(), "the bridge stopped with {status}");
        Ok(())
    }

    /// The private listener's whole answer.
    async fn get(&self, path: &str) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(self.admin).await?;
        let ask = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin);
        connection.write_all(ask.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

fn free_port() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}

/// Defaults wherever there are some: this is what a user gets. Only the largest mail is let through everywhere.
fn configuration(world: &World, place: &Place<'_>, public: SocketAddr, admin: SocketAddr) -> String {
    let tenant = &world.tenant;
    let own = format!("http://{public}");
    let mut text = format!(
        r#"[server]
webhook_listen = "{public}"
admin_listen = "{admin}"
public_url = "{public_url}"

[store]
url = "{store}"

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
        public_url = place.public_url.unwrap_or(&own),
        store = place.store,
        tenant_id = tenant.tenant_id(),
        client_id = tenant.client_id(),
        token_endpoint = tenant.token_endpoint(),
        graph_endpoint = tenant.graph_endpoint(),
        secret = tenant.client_secret(),
    );
    for mailbox in &world.mailboxes {
        text.push_str(&format!("\n[[mailboxes]]\naddress = \"{mailbox}\"\n"));
    }
    text
}

pub(crate) fn routes(world: &World) -> String {
    let mut text = String::new();
    for route in ROUTES {
        let url = world.receiver.url(route);
        text.push_str(&format!(
            "\n[[routes]]\nname = \"{route}\"\nconcurrency = {CONCURRENCY}\nmax_message_size = \"150MiB\"\n\n[routes.destination]\nkind = \"webhook\"\n\
             url = \"{url}\"\nsigning_secret = \"{SIGNING_SECRET}\"\nallow_private_networks = true\n"
        ));
    }
    text
}
