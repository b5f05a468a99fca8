//! The bridge of a drill: the real program, in a process of its own, with every way to end one.
//!
//! A bridge that ends by itself fails the drill and shows the end of its log.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mailspan_tenant::Tenant;
use tokio::process::{Child, Command};

use super::mails::{EVERYTHING, MAILBOXES, ORDERED};
use super::receiver::{Receiver, SIGNING_SECRET};

/// A bridge that is not ready by then does not come up any more. Another that stands still in the middle of a change of what
/// it has to change as well holds it up for ten seconds each time.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// `server.shutdown_timeout`.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// The program under drill.
pub(crate) struct Bridge {
    config: PathBuf,
    log: PathBuf,
    variables: Vec<(String, String)>,
    admin: SocketAddr,
    asking: reqwest::Client,
    child: Child,
    spawned: Instant,
    seen_ready: bool,
    /// How often it was killed.
    pub(crate) kills: u32,
    /// From each start to ready, where it lived that long.
    pub(crate) restarts: Vec<Duration>,
}

impl Bridge {
    /// Writes the configuration, starts the program, and returns once it is ready and every mailbox is pushed.
    pub(crate) async fn start(
        folder: &Path,
        store: &str,
        tenant: &Tenant,
        receiver: &Receiver,
        variables: Vec<(String, String)>,
    ) -> Self {
        let (public, admin) = (free_port(), free_port());
        let text = configuration(store, tenant, receiver, (public, admin), &format!("http://{public}"));
        let mut bridge = Self::run(folder, &text, admin, variables);
        bridge.until_ready().await;
        bridge.until_pushed(tenant, MAILBOXES.len()).await;
        bridge.restarts.clear();
        bridge
    }

    /// Starts the program with this configuration, whose private listener is `admin`; it may not be ready yet.
    pub(crate) fn run(folder: &Path, text: &str, admin: SocketAddr, variables: Vec<(String, String)>) -> Self {
        let config = folder.join("mailspan.toml");
        std::fs::write(&config, text).unwrap();
        let log = folder.join("bridge.log");
        let child = spawn(&config, &log, &variables);
        let asking = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).tls_certs_only([]);
        Self {
            config,
            log,
            variables,
            admin,
            asking: asking.build().unwrap(),
            child,
            spawned: Instant::now(),
            seen_ready: false,
            kills: 0,
            restarts: Vec::new(),
        }
    }

    /// Waits until so many mailboxes are pushed.
    pub(crate) async fn until_pushed(&self, tenant: &Tenant, mailboxes: usize) {
        let begun = Instant::now();
        while tenant.subscriptions().len() < mailboxes {
            assert!(begun.elapsed() < READY_WITHIN, "push does not stand\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The number of the running process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("the bridge ended by itself\n{}", self.tail()))
    }

    /// Starts the program again after it ended.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.config, &self.log, &self.variables);
        self.spawned = Instant::now();
        self.seen_ready = false;
    }

    /// Lets it live for a while and notes when it was ready.
    pub(crate) async fn live(&mut self, life: Duration) {
        let end = Instant::now() + life;
        while Instant::now() < end {
            self.look_whether_ready().await;
            let left = end.saturating_duration_since(Instant::now());
            let turn = if self.seen_ready { left } else { Duration::from_millis(5).min(left) };
            tokio::time::sleep(turn).await;
        }
    }

    /// Waits until it is ready. It may have been for long, and nobody has looked.
    pub(crate) async fn until_ready(&mut self) {
        let begun = Instant::now();
        while !self.seen_ready {
            self.must_live();
            assert!(begun.elapsed() < READY_WITHIN, "the bridge does not become ready\n{}", self.tail());
            self.look_whether_ready().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn look_whether_ready(&mut self) {
        if !self.seen_ready {
            let asked = self.asking.get(format!("http://{}/health/ready", self.admin)).send();
            let asked = tokio::time::timeout(Duration::from_millis(500), asked).await;
            if asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success())) {
                self.seen_ready = true;
                self.restarts.push(self.spawned.elapsed());
            }
        }
    }

    /// SIGKILL, and the program again.
    pub(crate) async fn kill(&mut self) {
        self.must_live();
        self.child.kill().await.unwrap();
        self.kills += 1;
        self.start_again();
    }

    /// Starts it again if it ended by itself, as whoever runs it would. Whether it had.
    pub(crate) fn revive(&mut self) -> bool {
        let has_ended = self.child.try_wait().unwrap().is_some();
        if has_ended {
            self.start_again();
        }
        has_ended
    }

    /// Whether it was ready since it was last started.
    pub(crate) async fn is_ready(&mut self) -> bool {
        self.look_whether_ready().await;
        self.seen_ready
    }

    /// SIGTERM: it must end with 0 and within its grace. Returns how long it took.
    pub(crate) async fn stop(&mut self) -> Duration {
        self.must_live();
        let begun = Instant::now();
        self.signal("TERM").await;
        let ended = tokio::time::timeout(GRACE + Duration::from_secs(30), self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("the bridge does not stop\n{}", self.tail())).unwrap();
        assert_eq!(status.code(), Some(0), "{status}\n{}", self.tail());
        begun.elapsed()
    }

    /// Sends it a signal by name.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap_or_else(|| panic!("the bridge ended by itself\n{}", self.tail()));
        let sent = Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().await.unwrap();
        assert!(sent.success());
    }

    /// `GET /health`; none if it does not answer.
    pub(crate) async fn health(&self) -> Option<(u16, serde_json::Value)> {
        let answer = self.asking.get(format!("http://{}/health", self.admin)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }

    /// `GET /api/v1/audit` of all there ever was; none if it does not answer.
    pub(crate) async fn audit(&self) -> Option<serde_json::Value> {
        let answer = self.asking.get(format!("http://{}/api/v1/audit?since=2d", self.admin)).send().await.ok()?;
        answer.json().await.ok()
    }

    fn must_live(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the bridge ended by itself with {status}\n{}", self.tail());
        }
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("… the end of {}:\n{}", self.log.display(), lines[lines.len().saturating_sub(30)..].join("\n"))
    }
}

fn spawn(config: &Path, log: &Path, variables: &[(String, String)]) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    Command::new(env!("CARGO_BIN_EXE_mailspan"))
        .arg("run")
        .arg("--config")
        .arg(config)
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A port that nobody is given by chance while the bridge is down: below those the system hands out.
pub(crate) fn free_port() -> SocketAddr {
    let free = (0..1000).map(|_| SocketAddr::from(([127, 0, 0, 1], fastrand::u16(10_000..32_000))));
    free.into_iter().find(|it| TcpListener::bind(it).is_ok()).unwrap()
}

/// The configuration of a bridge with these listeners, which Graph reaches under this URL.
pub(crate) fn configuration(
    store: &str,
    tenant: &Tenant,
    receiver: &Receiver,
    (public, admin): (SocketAddr, SocketAddr),
    public_url: &str,
) -> String {
    let mut text = format!(
        r#"
server = {{ webhook_listen = "{public}", admin_listen = "{admin}", public_url = "{public_url}", shutdown_timeout = "{}s" }}
store = {{ url = "{store}" }}
sync = {{ poll_interval = "2s" }}

[[tenants]]
name = "contoso"
tenant_id = "{}"
client_id = "{}"
token_endpoint = "{}"
graph_endpoint = "{}"

[[tenants.credentials]]
kind = "client_secret"
secret = "{}"
"#,
        GRACE.as_secs(),
        tenant.tenant_id(),
        tenant.client_id(),
        tenant.token_endpoint(),
        tenant.graph_endpoint(),
        tenant.client_secret(),
    );
    for (address, _) in MAILBOXES {
        text.push_str(&format!("\n[[mailboxes]]\naddress = \"{address}\"\n"));
    }
    let own = MAILBOXES.map(|(address, route)| (route, format!("recipients = [\"{address}\"]\n")));
    // Patient, so that nothing is parked for what the drill itself does, and quick, so that a drill ends.
    let retry = vec!["\"1s\""; 59].join(", ");
    for (route, rule) in own.into_iter().chain(EVERYTHING.map(|route| (route, String::new()))) {
        let order = if route == ORDERED { "thread" } else { "none" };
        text.push_str(&format!(
            "\n[[routes]]\nname = \"{route}\"\n{rule}order = \"{order}\"\nretry = [\"0s\", {retry}]\n[routes.destination]\nkind = \"webhook\"\n\
             url = \"{}\"\nsigning_secret = \"{SIGNING_SECRET}\"\ntimeout = \"2s\"\nallow_private_networks = true\n",
            receiver.url(route)
        ));
    }
    text
}
