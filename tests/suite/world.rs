//! The world of the stories: a tenant, receivers, and the real bridge started from a configuration in between.
//!
//! A story waits for events, never for time: [`until`] looks again and again, and says what is missing when it gives up.
//! The bridge is used as its users use it: configuration, two listeners, deliveries, mailboxes.

use std::ops::Deref;
use std::time::{Duration, Instant};

use mailspan::app::SystemClock;
use mailspan::model::clock::Clock as _;
use mailspan_tenant::{MessageId, NotificationPolicy, Operation, Options, Tenant};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::receiver::{Received, Receiver};
use crate::store_world;
pub(crate) use crate::world_bridge::{Bridge, Plan, client};

/// The mailbox most stories are about.
pub(crate) const SUPPORT: &str = "support@contoso.example";
/// What has not happened by then does not happen. Work that was refused a few times waits for twenty seconds and more by itself.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How often is looked.
pub(crate) const TURN: Duration = Duration::from_millis(15);
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

    /// On a PostgreSQL that somebody else made and removes.
    pub(crate) async fn at(url: &str) -> Self {
        Self::on(store_world::World::at(url), options()).await
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

    /// Waits until the bridge has asked this tenant nothing for a while and has nothing in hand: it does not know of anything
    /// to do. Without the second it may only have been waiting for its database.
    pub(crate) async fn until_no_traffic(&self) {
        let mut before = u64::MAX;
        until_so("a quiet bridge", async || {
            tokio::time::sleep(TURN * 20).await;
            let now = self.tenant.graph_requests();
            std::mem::replace(&mut before, now) == now
                && self.number("SELECT COUNT(*) FROM jobs WHERE leased_until IS NOT NULL AND parked_at IS NULL").await
                    == 0
        })
        .await;
    }

    /// Waits until no job is under way and none is due soon: what the bridge knows of is done, and nothing but news makes it
    /// ask this tenant. A pause between two requests is no such proof, for there the machine may have been busy elsewhere.
    pub(crate) async fn until_at_rest(&self) {
        until_so("a bridge at rest", async || {
            let soon = SystemClock.now() + 20_000;
            let held = format!(
                "SELECT COUNT(*) FROM jobs WHERE parked_at IS NULL AND (leased_until IS NOT NULL OR due_at < {soon})"
            );
            self.number(&held).await == 0
        })
        .await;
    }

    /// What the database answers to a question for one number.
    pub(crate) async fn number(&self, question: &str) -> i64 {
        self.database.count(question).await
    }

    /// What the database answers to a question for one text in each row.
    pub(crate) async fn texts(&self, question: &str) -> Vec<String> {
        let question = AssertSqlSafe(question.to_owned());
        if self.database.is_sqlite() {
            let mut connection = sqlx::SqliteConnection::connect(&self.database.url).await.unwrap();
            let rows = sqlx::query(question).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        } else {
            let mut connection = sqlx::PgConnection::connect(&self.database.url).await.unwrap();
            let rows = sqlx::query(question).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        }
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
    pub(crate) subject: String,
    pub(crate) immutable_id: String,
    pub(crate) body: Value,
}

/// No story passes in which a body came that is not what the manual says.
impl Drop for Inbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for received in self.0.received() {
            let broken = crate::mail_schema::violations_of(&received);
            assert!(broken.is_empty(), "{broken:#?}");
        }
    }
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

    /// Each of these is accepted exactly once, and nothing else was. What is on its way is waited for.
    pub(crate) async fn has_exactly(&self, subjects: &[&str]) {
        let mut wanted: Vec<&str> = subjects.to_vec();
        wanted.sort_unstable();
        let begun = Instant::now();
        while self.subjects().len() < wanted.len() && begun.elapsed() < DEADLINE {
            tokio::time::sleep(TURN).await;
        }
        assert_eq!(self.subjects(), wanted);
    }
}

impl Interaction {
    pub(crate) fn read(received: &Received) -> Self {
        // A mail as it is has no JSON.
        let body: Value = serde_json::from_slice(&received.body).unwrap_or_default();
        let text = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            id: received.header("webhook-id").to_owned(),
            subject: text("/data/message/subject"),
            immutable_id: text("/data/source/immutableId"),
            body,
        }
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
