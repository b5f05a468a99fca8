//! What is on disk: the job table, messages with their content, mailboxes; in SQLite or PostgreSQL.
//!
//! An answer means the write is on disk. Every statement is written once for both databases; `db` and `open` hold all
//! that differs. Writes go through one writer, which puts what waits together into one transaction.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::model::clock::SharedClock;
use crate::model::units::Span;

mod accept;
mod across;
mod agenda;
mod answering;
mod asked;
mod attempts;
mod audited;
mod books;
mod browser_sign_ins;
mod called_back;
mod claim;
mod connect;
pub mod copy;
mod db;
mod delivered;
mod deliveries;
mod discard;
mod due;
mod error;
mod found;
mod grants;
mod joining;
mod journeys;
mod listed;
mod mailboxes;
mod messages;
mod migrate;
mod names;
mod open;
mod pauses;
mod pieces;
mod planned;
mod rates;
mod reach;
mod replay;
mod replicas;
mod returned;
mod seal;
mod sealed;
mod seals;
mod secrets;
mod server;
mod settle;
mod silences;
mod submissions;
mod take_up;
mod threads;
mod tidy;
mod turns;
mod value;
mod wake;
mod words;
mod writer;

pub use accept::{Accept, Accepted, Breaker, MarkWhen, NewDelivery, Pace};
pub use across::Across;
pub use agenda::{LaneCount, Parked};
pub use asked::Asking;
pub use attempts::Attempt;
pub use audited::Audited;
pub use books::Book;
pub use browser_sign_ins::{Back, LastBrowser, SentBrowser, TakenBrowser};
pub use claim::{Claims, Room};
pub use copy::{Copied, Doing, Progress, copy};
pub use delivered::{Leaves, ToMark};
pub use deliveries::{DeliveryCursor, DeliveryFilter, DeliveryId, DeliveryLine, DeliveryStory};
pub use discard::Discarded;
pub use error::StoreError;
pub use found::{CursorChange, Found};
pub use grants::MailboxGrants;
pub use journeys::{Cut, Driver, Failed, Journey, Leg, SEARCHED, Sought, Tracks};
pub use mailboxes::{Cursor, MailboxState, Push, Subscription};
pub use messages::{Delivery, Message};
pub use pieces::PIECE;
pub use replay::Replayed;
pub use replicas::{BEAT, Presence, Replica};
pub use seal::{KeyId, Place, Seal, SealError, exposed};
pub use seals::MissingKey;
pub use server::Connections;
pub use settle::End;
pub use submissions::{
    Bounce, Callback, Cancelled, Ledger, NewFile, NewSubmission, OpenSubmissions, Slot, Step, Submission,
    SubmissionFile, SubmissionFilter, Submitted, Then, Tie, Trail, Waits,
};
pub use tidy::Tidied;
pub use wake::{Heard, Wake, Wakes};
pub use words::{CursorKind, DeliveryState, FoundBy, Mark, MessageState, PushState};

use db::Db;
use messages::{Lookup, Lookups};
use names::Names;
use open::Opened;
use replicas::Roll;
use wake::Notes;
use writer::{AnyOp, Asked, Op, Trouble, WAITING, Writer};

/// `[store]`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `sqlite:path` or `postgres://user@host/db`.
    pub url: String,
    /// The file with the keys that content and refresh tokens are encrypted with, one a line; the first encrypts, all
    /// decrypt.
    pub encryption_key_file: Option<PathBuf>,
    /// How long finished records are kept.
    pub retain: Span,
}

/// The address of a database can hold a password.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let database = self.url.split(':').next().unwrap_or_default();
        f.debug_struct("Config")
            .field("database", &database)
            .field("encryption_key_file", &self.encryption_key_file)
            .field("retain", &self.retain)
            .finish()
    }
}

/// An open store. Clones are the same store; when the last one is dropped without [`Store::close`], what was not yet
/// answered is not written, as if the process had died.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    db: Db,
    clock: SharedClock,
    names: Arc<Names>,
    seal: Option<Seal>,
    notes: Notes,
    writes: mpsc::Sender<AnyOp>,
    lookups: mpsc::Sender<Lookup>,
    closing: CancellationToken,
    trouble: Trouble,
    roll: Arc<Roll>,
    tasks: Mutex<JoinSet<()>>,
    /// Held for as long as the store is open.
    only: Mutex<Option<File>>,
}

impl Store {
    /// Opens the store, makes what is missing and brings its tables up to date.
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub async fn open(url: &str, clock: SharedClock) -> Result<Self, StoreError> {
        Self::open_sealed(url, clock, None).await
    }

    /// The same with keys: what is written from now on is sealed, and what was sealed before can be read.
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub async fn open_sealed(url: &str, clock: SharedClock, seal: Option<Seal>) -> Result<Self, StoreError> {
        let Opened { db, only } = open::open(url, clock.now()).await?;
        let names = Arc::new(Names::default());
        let notes = Notes::new(matches!(db, Db::Postgres(_)));
        let closing = CancellationToken::new();
        let (writes, waiting) = mpsc::channel(WAITING);
        let trouble = Trouble::default();
        let roll = Arc::new(Roll::new(&db));
        let mut tasks = JoinSet::new();
        let writer = Writer {
            db: db.clone(),
            clock: clock.clone(),
            names: names.clone(),
            seal: seal.clone(),
            notes: notes.clone(),
            closing: closing.clone(),
            trouble: trouble.clone(),
            roll: roll.clone(),
        };
        // On a thread of its own: every statement is a round trip to the database, and on a busy runtime each of them
        // would wait behind mail that is being parsed.
        let runtime = tokio::runtime::Handle::current();
        tasks.spawn_blocking(move || runtime.block_on(writer.write(waiting)));
        let (lookups, waiting) = mpsc::channel(WAITING);
        let reader = Lookups { db: db.clone(), names: names.clone(), closing: closing.clone() };
        let runtime = tokio::runtime::Handle::current();
        tasks.spawn_blocking(move || runtime.block_on(reader.read(waiting)));
        if let Db::Postgres(server) = &db {
            tasks.spawn(notes.clone().hear(server.clone(), closing.clone()));
        }
        Ok(Self(Arc::new(Inner {
            db,
            clock,
            names,
            seal,
            notes,
            writes,
            lookups,
            closing,
            trouble,
            roll,
            tasks: Mutex::new(tasks),
            only: Mutex::new(only),
        })))
    }

    /// Writes what is waiting, answers it, and closes. Whoever asks after that is told that the store is closed.
    pub async fn close(&self) {
        self.0.closing.cancel();
        let mut tasks = self.0.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
        self.0.db.close().await;
        drop(self.0.only.lock().await.take());
    }

    /// Whether the database answers, and took the last write.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if self.0.writes.is_closed() {
            return Err(StoreError::Closed);
        }
        // Reading can go on where writing cannot: a disk that is full, a file system that turned read-only.
        if let Some(error) = self.0.trouble.load() {
            return Err(error);
        }
        self.db().rows("SELECT 1", vec![]).await.map(drop)
    }

    /// Which database it is, by name.
    pub fn database(&self) -> &'static str {
        match self.db() {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }

    /// Whether other replicas may work on it, whose configuration may be another one just now.
    pub fn is_shared(&self) -> bool {
        matches!(self.db(), Db::Postgres(_))
    }

    /// Hears of every job that is made due, after its commit. To be called before reading the agenda.
    pub fn wakes(&self) -> Wakes {
        self.0.notes.listen()
    }

    /// What seals, where `store.encryption_key_file` is set.
    pub fn seal(&self) -> Option<&Seal> {
        self.0.seal.as_ref()
    }

    fn db(&self) -> &Db {
        &self.0.db
    }

    fn names(&self) -> &Names {
        &self.0.names
    }

    /// Hands a write to the writer and waits for its commit.
    async fn ask<O: Op>(&self, op: O) -> Result<O::Answer, StoreError>
    where
        AnyOp: From<Asked<O>>,
    {
        let (asked, answer) = Asked::new(op);
        self.0.writes.send(asked.into()).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Hands an interaction to whoever reads many together.
    async fn look_up(&self, interaction_id: String) -> Result<Option<Delivery>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.lookups.send(Lookup { interaction_id, reply }).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}
