//! The world of the stories: a tenant, receivers, and the real bridge started from a configuration in between.
//!
//! A story waits for events, never for time: [`until`] looks again and again, and says what is missing when it gives up.
//! The bridge is used as its users use it: configuration, two listeners, deliveries, mailboxes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use mailspan::app::SystemClock;
use mailspan::config::Config;
use mailspan::telemetry;
use mailspan_tenant::{MessageId, NotificationPolicy, Operation, Options, Tenant};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::receiver::{Received, Receiver};
use crate::store_world;

/// The mailbox most stories are about.
pub(crate) const SUPPORT: &str = "support@contoso.example";
/// What has not happened by then does not happen.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often is looked.
const TURN: Duration = Duration::from_millis(15);
/// `whsec_` and the base64 of 32 bytes.
pub(crate) const SIGNING_SECRET: &str = "whsec_c3Rvcmllcy1zaWduLXRoZWlyLWRlbGl2ZXJpZXMtMzI=";

/// Looks until there is something, and returns it.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "after {DEADLINE:?} there is still missing: {what}");
        tokio::time::sleep(TURN).await;
    }
}

/// Looks until it is so.
pub(crate) async fn until_so(what: &str, mut look: impl AsyncFnMut() -> bool) {
    until(what, async || look().await.then_some(())).await;
}

/// A tenant with one mailbox, a database, a receiver and a folder of its own.
pub(crate) struct World {
    pub(crate) tenant: Tenant,
    pub(crate) inbox: Inbox,
    pub(crate) database: store_world::World,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    /// On SQLite, as it comes.
    pub(crate) async fn new() -> Self {
        Self::sqlite().await
    }

    pub(crate) async fn sqlite() -> Self {
        Self::on(store_world::World::sqlite().await, options()).await
    }

    /// `None` when PostgreSQL is left out on purpose.
    pub(crate) async fn postgres() -> Option<Self> {
        match store_world::World::postgres().await {
            Some(database) => Some(Self::on(database, options()).await),
            None => None,
        }
    }

    /// On SQLite, with a tenant that is different.
    pub(crate) async fn with(options: Options) -> Self {
        Self::on(store_world::World::sqlite().await, options).await
    }

    async fn on(database: store_world::World, options: Options) -> Self {
        let tenant = Tenant::start(options).await.unwrap();
        tenant.add_mailbox(SUPPORT);
        Self { tenant, inbox: Inbox::start().await, database, folder: tempfile::tempdir().unwrap() }
    }

    /// The tenant and nothing else: no mailbox, no route.
    pub(crate) fn bare_plan(&self) -> Plan {
        Plan::new(&self.database.url).tenant("contoso", &self.tenant)
    }

    /// The tenant, the support mailbox, and one route that takes everything to the inbox.
    pub(crate) fn plan(&self) -> Plan {
        self.bare_plan().mailbox(SUPPORT, "").route("all", "", &self.inbox)
    }

    /// A mail to the support mailbox.
    pub(crate) fn receives(&self, subject: &str) -> MessageId {
        self.tenant.receive(SUPPORT, mail(subject))
    }

    /// Waits until a message is read.
    pub(crate) async fn until_read(&self, id: &MessageId) {
        until_so("a message marked as read", async || self.tenant.message(id).is_some_and(|it| it.is_read)).await;
    }

    /// Waits until the bridge has begun to look at this tenant's mailboxes so many more times, in rounds or sweeps.
    pub(crate) async fn until_looked_again(&self, times: u64) {
        let begun = self.looks();
        until_so("more looks at the mailbox", async || self.looks() >= begun + times).await;
    }

    fn looks(&self) -> u64 {
        let asked = self.tenant.requests();
        [Operation::Delta, Operation::List].iter().filter_map(|it| asked.get(it.name())).sum()
    }

    /// Waits for so many further sweeps: by then everything there is to find was found.
    pub(crate) async fn until_swept_again(&self, times: u64) {
        let sweeps = || self.tenant.requests().get(Operation::List.name()).copied().unwrap_or_default();
        let begun = sweeps();
        until_so("more sweeps", async || sweeps() >= begun + times).await;
    }

    /// Waits until the bridge has asked this tenant nothing for a while: it does not know of anything to do.
    pub(crate) async fn until_no_traffic(&self) {
        let mut before = u64::MAX;
        until_so("a quiet bridge", async || {
            tokio::time::sleep(TURN * 20).await;
            let now = self.tenant.graph_requests();
            std::mem::replace(&mut before, now) == now
        })
        .await;
    }

    /// A path inside the world's folder.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// The tenant of most stories: Microsoft's rules, impatient notifications.
pub(crate) fn options() -> Options {
    Options { notifications: NotificationPolicy::fast(), ..Options::default() }
}

/// A receiver of interactions.
pub(crate) struct Inbox(Receiver);

impl Deref for Inbox {
    type Target = Receiver;

    fn deref(&self) -> &Receiver {
        &self.0
    }
}

/// An interaction that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Interaction {
    pub(crate) id: String,
    pub(crate) route: String,
    pub(crate) subject: String,
    pub(crate) immutable_id: String,
    pub(crate) body: Value,
}

impl Inbox {
    pub(crate) async fn start() -> Self {
        Self(Receiver::start().await)
    }

    /// What was accepted so far, in order.
    pub(crate) fn accepted(&self) -> Vec<Interaction> {
        self.received().iter().filter(|it| it.accepted).map(Interaction::read).collect()
    }

    /// The subjects of what was accepted, sorted: each as often as it was accepted.
    pub(crate) fn subjects(&self) -> Vec<String> {
        let mut subjects: Vec<String> = self.accepted().into_iter().map(|it| it.subject).collect();
        subjects.sort();
        subjects
    }

    /// Waits until each of these subjects was accepted at least once, and returns everything that was.
    pub(crate) async fn until_has(&self, subjects: &[&str]) -> Vec<Interaction> {
        let missing = || -> Vec<String> {
            let there = self.subjects();
            subjects.iter().filter(|it| !there.iter().any(|there| there == **it)).map(|it| (*it).to_owned()).collect()
        };
        let begun = Instant::now();
        while !missing().is_empty() {
            assert!(begun.elapsed() < DEADLINE, "after {DEADLINE:?} these were not delivered: {:?}", missing());
            tokio::time::sleep(TURN).await;
        }
        self.accepted()
    }

    /// Each of these was accepted exactly once, and nothing else was.
    pub(crate) fn has_exactly(&self, subjects: &[&str]) {
        let mut wanted: Vec<&str> = subjects.to_vec();
        wanted.sort_unstable();
        assert_eq!(self.subjects(), wanted);
    }
}

impl Interaction {
    pub(crate) fn read(received: &Received) -> Self {
        let body: Value = serde_json::from_slice(&received.body).unwrap();
        let text = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            id: received.header("webhook-id").to_owned(),
            route: text("/data/route/name"),
            subject: text("/data/message/subject"),
            immutable_id: text("/data/source/immutableId"),
            body,
        }
    }
}

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
    fn new(store: &str) -> Self {
        let (public, admin) = (free_port(), free_port());
        let empty = Self { public, admin, tables: BTreeMap::new(), lists: String::new(), receiving: 0 };
        let log = std::env::var("MAILSPAN_STORY_LOG").unwrap_or_else(|_| "off".into());
        empty
            .text("server", "webhook_listen", &public.to_string())
            .text("server", "admin_listen", &admin.to_string())
            .text("server", "public_url", &format!("http://{public}"))
            .text("server", "shutdown_timeout", "5s")
            .text("store", "url", store)
            .text("sync", "sweep_interval", "1s")
            .text("sync", "poll_interval", "1s")
            .text("telemetry", "log", &log)
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

    /// A mailbox, and further lines of its table.
    pub(crate) fn mailbox(mut self, address: &str, more: &str) -> Self {
        self.lists += &format!("\n[[mailboxes]]\naddress = {address:?}\n{more}\n");
        self.receiving += 1;
        self
    }

    /// A route to an inbox, and further lines of its table: rule, retry and so on.
    pub(crate) fn route(self, name: &str, more: &str, inbox: &Inbox) -> Self {
        let destination = format!(
            "kind = \"webhook\"\nurl = \"{}\"\nsigning_secret = {SIGNING_SECRET:?}\nallow_private_networks = true\ntimeout = \"2s\"",
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
        std::fs::write(path, self.toml()).unwrap();
    }

    /// Where Graph posts to.
    pub(crate) fn notifications(&self) -> String {
        format!("http://{}/graph/notifications", self.public)
    }

    /// A page of the private listener: status and text.
    pub(crate) async fn page(&self, path: &str) -> Option<(u16, String)> {
        let answer = client().get(format!("http://{}{path}", self.admin)).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
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
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).tls_certs_only([]).build().unwrap()
}

/// A free port of this machine.
pub(crate) fn free_port() -> SocketAddr {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// A bridge at work in this process.
pub(crate) struct Bridge {
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
        let metrics = telemetry::init(&config.telemetry).unwrap();
        let bridge = mailspan::app::Bridge::build(config, metrics, Arc::new(SystemClock)).await.unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(bridge.run(stop.clone()));
        plan.until_ready().await;
        Self { stop, task }
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.expect("the bridge stops").unwrap().unwrap();
    }

    /// Asks it to stop and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }
}

/// A short mail to the support mailbox.
pub(crate) fn mail(subject: &str) -> Vec<u8> {
    mail_to(SUPPORT, subject)
}

/// A short mail to this address.
pub(crate) fn mail_to(to: &str, subject: &str) -> Vec<u8> {
    let id = fastrand::u64(..);
    written(&format!("From: Ann <ann@customer.example>\r\nTo: {to}\r\nMessage-ID: <{id:x}@customer.example>"), subject)
}

/// A mail with these header fields, and no Message-ID unless they have one.
pub(crate) fn written(head: &str, subject: &str) -> Vec<u8> {
    format!(
        "{head}\r\nSubject: {subject}\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nHello,\r\nthis is about {subject}.\r\n"
    )
    .into_bytes()
}
