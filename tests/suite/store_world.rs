//! The world of the store's stories: a clock that is set by hand, and a fresh database of either kind.
//!
//! `MAILSPAN_TEST_POSTGRES` names a server, such as `postgres://postgres@127.0.0.1:5432/postgres`; each story gets a
//! database of its own there. `off` leaves PostgreSQL out; without the variable its half of the suite fails.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mailspan::model::address::Address;
use mailspan::model::clock::{Clock, SharedClock, UnixMillis};
use mailspan::model::ids;
use mailspan::model::subject::Subject;
use mailspan::model::thread::Clues;
use mailspan::model::work::{Claim, Job, Lane, MailboxId, Work};
use mailspan::store::{Accept, Breaker, Claims, Found, FoundBy, MarkWhen, NewDelivery, Room, Seal, Store, StoreError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection, Executor, PgConnection, Row as _, SqliteConnection};

/// Somebody who writes to the file, or closes it, waits for the disk.
const BUSY: Duration = Duration::from_secs(60);
pub(crate) const START: UnixMillis = 1_800_000_000_000;
pub(crate) const LEASE: i64 = 60_000;

/// A clock that stands until it is moved.
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> UnixMillis {
        self.0.load(Ordering::SeqCst)
    }
}

/// A fresh database and its clock.
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) clock: Arc<HandClock>,
    _dir: Option<tempfile::TempDir>,
    server: Option<(String, String)>,
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("mailspan.db").display());
        Self { url, clock: Arc::new(HandClock(AtomicI64::new(START))), _dir: Some(dir), server: None }
    }

    /// `None` when PostgreSQL is left out on purpose.
    pub(crate) async fn postgres() -> Option<Self> {
        let server = std::env::var("MAILSPAN_TEST_POSTGRES")
            .expect("set MAILSPAN_TEST_POSTGRES to the URL of a PostgreSQL server, or to `off` to leave it out");
        if server == "off" {
            return None;
        }
        let name = format!("mailspan_{}", uuid::Uuid::new_v4().simple());
        execute(&server, format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        let (base, _) = server.rsplit_once('/').expect("the URL ends in /database");
        let url = format!("{base}/{name}");
        let clock = Arc::new(HandClock(AtomicI64::new(START)));
        Some(Self { url, clock, _dir: None, server: Some((server, name)) })
    }

    /// A database that somebody else made and removes.
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), clock: Arc::new(HandClock(AtomicI64::new(START))), _dir: None, server: None }
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url, self.clock.clone() as SharedClock).await.unwrap()
    }

    pub(crate) async fn open_sealed(&self, seal: Option<Seal>) -> Store {
        Store::open_sealed(&self.url, self.clock.clone() as SharedClock, seal).await.unwrap()
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    pub(crate) fn pass(&self, ms: i64) {
        self.clock.pass(ms);
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    async fn file(&self) -> SqliteConnection {
        SqliteConnectOptions::from_str(&self.url).unwrap().busy_timeout(BUSY).connect().await.unwrap()
    }

    /// Says something to the database behind the store's back.
    pub(crate) async fn execute(&self, sql: &str) {
        if self.is_sqlite() {
            let mut connection = self.file().await;
            connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        } else {
            execute(&self.url, sql.to_owned()).await;
        }
    }

    /// Does this if the database answers 0 to a question for one number, and lets nobody change a job meanwhile. Whether it
    /// was done.
    pub(crate) async fn if_none(&self, question: &str, then: impl FnOnce()) -> bool {
        let question = AssertSqlSafe(question.to_owned());
        if self.is_sqlite() {
            let mut tx = self.file().await;
            tx.execute("BEGIN IMMEDIATE").await.unwrap();
            let is_none = sqlx::query(question).fetch_one(&mut tx).await.unwrap().get::<i64, _>(0) == 0;
            if is_none {
                then();
            }
            tx.execute("ROLLBACK").await.unwrap();
            return is_none;
        }
        let mut tx = PgConnection::connect(&self.url).await.unwrap();
        tx.execute("BEGIN; LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
        let is_none = sqlx::query(question).fetch_one(&mut tx).await.unwrap().get::<i64, _>(0) == 0;
        if is_none {
            then();
        }
        tx.execute("ROLLBACK").await.unwrap();
        is_none
    }

    /// What the database answers to a question for one number.
    pub(crate) async fn count(&self, question: &str) -> i64 {
        let question = AssertSqlSafe(question.to_owned());
        if self.is_sqlite() {
            let mut connection = self.file().await;
            sqlx::query(question).fetch_one(&mut connection).await.unwrap().get(0)
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(question).fetch_one(&mut connection).await.unwrap().get(0)
        }
    }
}

async fn execute(url: &str, sql: String) {
    let mut connection = PgConnection::connect(url).await.expect("the server of MAILSPAN_TEST_POSTGRES answers");
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
}

impl Drop for World {
    fn drop(&mut self) {
        if self.is_sqlite() && !std::thread::panicking() {
            crate::leaks::assert_none_stored(std::path::Path::new(self.url.trim_start_matches("sqlite:")));
        }
        let Some((server, name)) = self.server.take() else { return };
        let drop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(&server, format!("DROP DATABASE {name} WITH (FORCE)")));
        };
        // A story is over whether or not its database could be dropped; it failed already if the server is gone.
        let _ = std::thread::spawn(drop).join();
    }
}

/// Tells each story twice, once per database.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($world:ident: World) $body:block)+) => {
        $($(#[$meta])* mod $name {
            use super::*;

            async fn story($world: World) $body

            #[tokio::test]
            async fn sqlite() {
                story(World::sqlite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                if let Some(world) = World::postgres().await {
                    story(world).await;
                }
            }
        })+
    };
}
pub(crate) use on_both;

/// Tells each story on PostgreSQL only: a SQLite file belongs to one daemon.
macro_rules! on_postgres {
    ($($(#[$meta:meta])* async fn $name:ident($world:ident: World) $body:block)+) => {
        $($(#[$meta])*
        #[tokio::test]
        async fn $name() {
            if let Some($world) = World::postgres().await $body
        })+
    };
}
pub(crate) use on_postgres;

pub(crate) fn mailbox(local: &str) -> MailboxId {
    MailboxId { tenant: "contoso".into(), address: Address::parse(&format!("{local}@contoso.com")).unwrap() }
}

pub(crate) fn deliver(route: &str, interaction: &str) -> Work {
    Work::Deliver { route: route.into(), interaction: interaction.into() }
}

pub(crate) fn room(lane: &Lane, room: u32) -> Room {
    Room { lane: lane.clone(), room, lease_ms: LEASE, across: None }
}

pub(crate) async fn claim(store: &Store, lane: &Lane, n: u32) -> Claims {
    store.claim(vec![room(lane, n)]).await.unwrap()
}

/// What a store answers that loses its database now and then, once it can be asked.
pub(crate) async fn answered<T>(mut ask: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.may_pass() && begun.elapsed() < BUSY, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The one job that is due in a lane.
pub(crate) async fn only(store: &Store, lane: &Lane) -> Job {
    let mut jobs = claim(store, lane, 10).await.jobs;
    assert_eq!(jobs.len(), 1, "exactly one job is due in {lane}");
    jobs.remove(0)
}

pub(crate) fn found(id: &str, due_at: UnixMillis) -> Found {
    Found {
        has_attachments: None,
        subject: Some(Subject::new(&format!("About {id}"))),
        immutable_id: id.into(),
        received_at: Some(due_at),
        conversation_id: Some(format!("conversation of {id}")),
        internet_message_id: Some(format!("<{id}@example.com>")),
        due_at,
    }
}

/// Shows a message to the store and claims its fetch.
pub(crate) async fn fetch(store: &Store, world: &World, mailbox: &MailboxId, id: &str) -> (Claim, i64) {
    let new = store.found(mailbox, vec![found(id, world.now())], FoundBy::Push, None).await.unwrap();
    assert_eq!(new, 1);
    let job = only(store, &Lane::mailbox(mailbox)).await;
    let Work::Fetch { message, .. } = job.work else { panic!("a fetch") };
    (job.claim, message)
}

pub(crate) fn mail(message: i64, key: &str, routes: &[&str], mark: MarkWhen, raw: impl Into<Bytes>) -> Accept {
    let raw = raw.into();
    Accept {
        tie: None,
        message,
        key: key.into(),
        deliveries: routes
            .iter()
            .map(|it| NewDelivery {
                route: (*it).into(),
                facts: format!("{{\"to\":\"{it}\"}}"),
                wait_ms: 0,
                breaker: Breaker::Off,
                in_turn: false,
            })
            .collect(),
        sha256: ids::sha256_hex(&raw),
        raw,
        beside: None,
        clues: Clues::none(key),
        pace: None,
        places: None,
        mark,
        subject: None,
        kind: "human",
        answering: None,
    }
}
