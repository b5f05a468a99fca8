//! The bridge of the stories: a configuration as its users write it, and the bridge that runs by it in this process.
//!
//! What a story asks of a running bridge goes through its two listeners.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use mailspan::app::SystemClock;
use mailspan::config::Config;
use mailspan::model::clock::{Clock, UnixMillis};
use mailspan::telemetry;
use mailspan_tenant::Tenant;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{DEADLINE, Inbox, SIGNING_SECRET, TURN, until_so};
use crate::{said, store_world};

/// A configuration in the making.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    tables: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    lists: String,
    receiving: usize,
}

impl Plan {
    pub(crate) fn new(store: &str) -> Self {
        let (public, admin) = (free_port(), free_port());
        let empty = Self { public, admin, tables: BTreeMap::new(), lists: String::new(), receiving: 0 };
        let is_kept = said::FOLDER.is_some();
        let usual = if is_kept { said::IN_DETAIL } else { "off" };
        let log = std::env::var("MAILSPAN_STORY_LOG").unwrap_or_else(|_| usual.into());
        empty
            .text("server", "webhook_listen", &public.to_string())
            .text("server", "admin_listen", &admin.to_string())
            .text("server", "public_url", &format!("http://{public}"))
            .text("server", "shutdown_timeout", "10s")
            .text("store", "url", store)
            .text("sync", "sweep_interval", "1s")
            .text("sync", "poll_interval", "1s")
            .text("telemetry", "log", &log)
            .value("telemetry", "redact", if is_kept { "false" } else { "true" })
    }

    /// With the listeners and the log of another plan.
    pub(crate) fn on(mut self, other: &Self) -> Self {
        let (public, admin) = (other.public.to_string(), other.admin.to_string());
        self.tables.extend(other.tables.get("telemetry").map(|it| ("telemetry", it.clone())));
        Self { public: other.public, admin: other.admin, ..self }
            .text("server", "webhook_listen", &public)
            .text("server", "admin_listen", &admin)
            .text("server", "public_url", &format!("http://{public}"))
    }

    /// Sets a key to a text.
    pub(crate) fn text(self, table: &'static str, key: &'static str, value: &str) -> Self {
        self.value(table, key, &format!("{value:?}"))
    }

    /// Sets a key to a value as TOML writes it.
    pub(crate) fn value(mut self, table: &'static str, key: &'static str, value: &str) -> Self {
        self.tables.entry(table).or_default().insert(key, value.to_owned());
        self
    }

    pub(crate) fn tenant(self, name: &str, tenant: &Tenant) -> Self {
        let secret = format!("{{ kind = \"client_secret\", secret = {:?} }}", tenant.client_secret());
        self.tenant_with(name, tenant, &secret)
    }

    /// A tenant in place of the first, with credentials of its own.
    pub(crate) fn only_tenant(mut self, name: &str, tenant: &Tenant, credentials: &str) -> Self {
        self.lists.clear();
        self.receiving = 0;
        self.tenant_with(name, tenant, credentials)
    }

    pub(crate) fn tenant_with(mut self, name: &str, tenant: &Tenant, credentials: &str) -> Self {
        self.lists += &format!(
            "\n[[tenants]]\nname = {name:?}\ntenant_id = {:?}\nclient_id = {:?}\ntoken_endpoint = {:?}\n\
             graph_endpoint = {:?}\ncredentials = [{credentials}]\n",
            tenant.tenant_id(),
            tenant.client_id(),
            tenant.token_endpoint(),
            tenant.graph_endpoint(),
        );
        self
    }

    /// Tables of a list, as TOML writes them.
    pub(crate) fn more(mut self, tables: &str) -> Self {
        self.lists += tables;
        self
    }

    /// A mailbox, and further lines of its table.
    pub(crate) fn mailbox(mut self, address: &str, more: &str) -> Self {
        self.lists += &format!("\n[[mailboxes]]\naddress = {address:?}\n{more}\n");
        self.receiving += 1;
        self
    }

    /// A route to an inbox, and further lines of its table: rule, retry and so on.
    pub(crate) fn route(self, name: &str, more: &str, inbox: &Inbox) -> Self {
        let destination = format!(
            "kind = \"webhook\"\nurl = \"{}\"\nsigning_secret = {SIGNING_SECRET:?}\nallow_private_networks = true\ntimeout = \"15s\"",
            inbox.url
        );
        self.route_to(name, more, &destination)
    }

    /// A route to any destination.
    pub(crate) fn route_to(mut self, name: &str, more: &str, destination: &str) -> Self {
        let retry =
            if more.contains("retry") { "" } else { "retry = [\"0s\", \"200ms\", \"500ms\", \"1s\", \"1s\"]\n" };
        self.lists += &format!("\n[[routes]]\nname = {name:?}\n{retry}{more}\n[routes.destination]\n{destination}\n");
        self
    }

    /// The configuration file.
    pub(crate) fn toml(&self) -> String {
        let mut text = String::new();
        for (table, keys) in &self.tables {
            text += &format!("[{table}]\n");
            for (key, value) in keys {
                text += &format!("{key} = {value}\n");
            }
        }
        text + &self.lists
    }

    /// Writes the configuration file.
    pub(crate) fn write(&self, path: &Path) {
        let configuration = self.toml();
        said::secrets_of(&configuration);
        std::fs::write(path, configuration).unwrap();
    }

    /// Where Graph posts to.
    pub(crate) fn notifications(&self) -> String {
        format!("http://{}/graph/notifications", self.public)
    }

    /// A page of the private listener: status and text.
    pub(crate) async fn page(&self, path: &str) -> Option<(u16, String)> {
        let answer = client().get(format!("http://{}{path}", self.admin)).send().await.ok()?;
        let (status, text) = (answer.status().as_u16(), answer.text().await.ok()?);
        said::heard(&text);
        Some((status, text))
    }

    /// `/health`: status and content.
    pub(crate) async fn health(&self) -> (u16, Value) {
        let (status, text) = self.page("/health").await.expect("/health answers");
        (status, serde_json::from_str(&text).expect("/health is JSON"))
    }

    /// One check of `/health`.
    pub(crate) async fn check(&self, kind: &str, name: &str) -> Value {
        let (_, health) = self.health().await;
        let checks = health["checks"].as_array().expect("checks").clone();
        let found =
            checks.iter().find(|it| it["kind"] == kind && it["name"].as_str().is_some_and(|it| it.contains(name)));
        found.unwrap_or_else(|| panic!("no {kind} {name} in {health}")).clone()
    }

    /// Waits until a check of `/health` says so.
    pub(crate) async fn until_check(&self, kind: &str, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            last = self.check(kind, name).await;
            if so(&last) {
                return last;
            }
            tokio::time::sleep(TURN).await;
        }
        panic!("/health does not say that {what}: {last}")
    }

    /// Waits until the process answers as ready.
    pub(crate) async fn until_ready(&self) {
        until_so("a ready bridge", async || self.page("/health/ready").await.is_some_and(|it| it.0 == 200)).await;
    }

    /// Waits until every mailbox was read once.
    pub(crate) async fn until_watching(&self) {
        until_so("a first look at every mailbox", async || {
            let (_, health) = self.health().await;
            let checks = health["checks"].as_array().cloned().unwrap_or_default();
            let read = checks.iter().filter(|it| it["kind"] == "mailbox" && !it["last_sync_at"].is_null());
            read.count() >= self.receiving
        })
        .await;
    }
}

/// A client that goes by no proxy.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(DEADLINE / 2).tls_certs_only([]).build().unwrap()
}

/// A port of this machine that nobody has and nobody is given by chance: below those that the system hands out for outgoing
/// connections. As long as this process lives no other one that looks for a port is given it, whoever listens there and
/// whenever: it is held for datagrams, of which nobody here has any.
pub(crate) fn free_port() -> SocketAddr {
    const FIRST: u32 = 10_000;
    const SPAN: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let own = std::process::id().wrapping_mul(16);
    let free = (0..SPAN).find_map(|_| {
        let port = FIRST + own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % SPAN;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        let held = UdpSocket::bind(address).ok()?;
        TcpListener::bind(address).ok()?;
        HELD.lock().unwrap().push(held);
        Some(address)
    });
    free.expect("one of twenty thousand ports is free")
}

/// A job that has been in hand for so long hangs, which is what the story is about. A delivery is waited for longer: one that
/// outlives its lease is made again.
const HANGS: Duration = Duration::from_secs(10);
const DELIVERY_HANGS: Duration = Duration::from_secs(40);
const IN_HAND: &str = "SELECT COUNT(*) FROM jobs WHERE leased_until IS NOT NULL AND parked_at IS NULL";
/// So long is waited although less time than that is to pass.
const BRIEFLY: Duration = Duration::from_secs(2);

/// The machine's clock, and what a story let pass.
#[derive(Default)]
struct Passing(AtomicI64);

impl Clock for Passing {
    fn now(&self) -> UnixMillis {
        SystemClock.now() + self.0.load(Ordering::SeqCst)
    }
}

/// A bridge at work in this process.
pub(crate) struct Bridge {
    clock: Arc<Passing>,
    database: store_world::World,
    /// What its listeners ask.
    pub(crate) daemon: Arc<mailspan::app::Daemon>,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Bridge {
    /// Starts it and waits until every mailbox was read once.
    pub(crate) async fn start(plan: &Plan) -> Self {
        let bridge = Self::begin(plan).await;
        plan.until_watching().await;
        bridge
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn begin(plan: &Plan) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mailspan.toml");
        plan.write(&file);
        let config = Config::load(&[file], std::iter::empty()).unwrap_or_else(|it| panic!("{it}")).config;
        let metrics = match said::log() {
            Some(log) => telemetry::init_to(&config.telemetry, log).unwrap(),
            None => telemetry::init(&config.telemetry).unwrap(),
        };
        let database = store_world::World::at(&config.store.url);
        let clock = Arc::new(Passing::default());
        let bridge = mailspan::app::Bridge::build(config, metrics, Arc::clone(&clock) as _).await.unwrap();
        let daemon = bridge.daemon();
        let stop = CancellationToken::new();
        let task = tokio::spawn(bridge.run(stop.clone()));
        plan.until_ready().await;
        Self { clock, database, daemon, stop, task }
    }

    /// Lets time pass for the bridge, once what came of its jobs is written down: an outcome that is written afterwards
    /// would count from then, and be later by all the time that passed. A job that hangs is not waited for, and where little
    /// time is to pass none is for longer.
    pub(crate) async fn pass(&self, by: Duration) {
        Self::all_pass(std::slice::from_ref(self), by).await;
    }

    /// Lets time pass for several on one database, in the same moment for all.
    pub(crate) async fn all_pass(bridges: &[Self], by: Duration) {
        let begun = Instant::now();
        let most = by.max(BRIEFLY);
        let milliseconds = i64::try_from(by.as_millis()).unwrap();
        let step = || {
            for bridge in bridges {
                bridge.clock.0.fetch_add(milliseconds, Ordering::SeqCst);
            }
        };
        while begun.elapsed() < DELIVERY_HANGS.min(most) {
            let which = if begun.elapsed() < HANGS.min(most) { "" } else { "AND kind = 'deliver'" };
            // Nor is one taken in hand between the look and the step.
            if !bridges[0].has_in_hand(which).await
                && bridges[0].database.if_none(&format!("{IN_HAND} {which}"), step).await
            {
                return;
            }
            tokio::time::sleep(TURN).await;
        }
        step();
    }

    async fn has_in_hand(&self, which: &str) -> bool {
        self.database.count(&format!("{IN_HAND} {which}")).await > 0
    }

    /// Asks it to stop and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) {
        if said::FOLDER.is_some() {
            for mailbox in self.daemon.store.mailboxes().await.unwrap_or_default() {
                mailbox.subscription.iter().for_each(|it| said::kept_secret(it.client_state.expose()));
            }
        }
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.expect("the bridge stops").unwrap().unwrap();
    }
}
