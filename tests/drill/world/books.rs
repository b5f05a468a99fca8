//! The bridge's own books after it stopped: nothing left to do, nothing parked, every message finished and marked.
//!
//! Read with plain SQL from outside; the store's code has no part in it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What the tables say.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Messages by what found them.
    pub(crate) found_by: BTreeMap<String, i64>,
    messages: BTreeMap<String, i64>,
    unfinished: BTreeMap<String, i64>,
    parked: BTreeMap<String, i64>,
    broken: Vec<String>,
}

const FOUND_BY: &str = "SELECT found_by, COUNT(*) FROM messages GROUP BY 1";
const MESSAGES: &str = "SELECT state || ', mark ' || mark, COUNT(*) FROM messages GROUP BY 1";
const UNFINISHED: &str = "SELECT kind, COUNT(*) FROM jobs WHERE parked_at IS NULL GROUP BY 1";
const PARKED: &str =
    "SELECT kind || ': ' || COALESCE(last_error, ''), COUNT(*) FROM jobs WHERE parked_at IS NOT NULL GROUP BY 1";
/// Work that comes back for ever.
const UPKEEP: [&str; 5] = ["look", "sweep", "renew", "tidy", "audit"];

type Counted = Vec<(String, i64)>;

/// Waits until no job is left but those that come back for ever, or for so long: what can be seen from outside is written
/// down a moment later.
pub(crate) async fn until_done(store: &str, patience: Duration) {
    let begun = Instant::now();
    while !read(store).await.left_behind().is_empty() && begun.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Reads the books of a store.
pub(crate) async fn read(store: &str) -> Books {
    if store.starts_with("postgres") {
        let pool = sqlx::PgPool::connect(store).await.unwrap();
        let mut tables = Vec::new();
        for select in [FOUND_BY, MESSAGES, UNFINISHED, PARKED] {
            let rows: Counted = sqlx::query_as(select).fetch_all(&pool).await.unwrap();
            tables.push(rows);
        }
        pool.close().await;
        return Books::of(tables, Vec::new());
    }
    let pool = sqlx::SqlitePool::connect(store).await.unwrap();
    let mut tables = Vec::new();
    for select in [FOUND_BY, MESSAGES, UNFINISHED, PARKED] {
        let rows: Counted = sqlx::query_as(select).fetch_all(&pool).await.unwrap();
        tables.push(rows);
    }
    let sound: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&pool).await.unwrap();
    let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_all(&pool).await.unwrap().len();
    pool.close().await;
    let mut broken: Vec<String> = sound.into_iter().filter(|it| it != "ok").collect();
    if dangling > 0 {
        broken.push(format!("{dangling} rows belong to nothing"));
    }
    Books::of(tables, broken)
}

impl Books {
    fn of(tables: Vec<Counted>, broken: Vec<String>) -> Self {
        let mut tables = tables.into_iter().map(|rows| rows.into_iter().collect::<BTreeMap<_, _>>());
        let mut next = || tables.next().unwrap_or_default();
        Self { found_by: next(), messages: next(), unfinished: next(), parked: next(), broken }
    }

    /// What is wrong in them but for the messages: a broken store, jobs left behind or parked.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let mut wrong: Vec<String> = self.broken.iter().map(|it| format!("the store is broken: {it}")).collect();
        let left: Vec<_> = self.unfinished.iter().filter(|(kind, _)| !UPKEEP.contains(&kind.as_str())).collect();
        if !left.is_empty() {
            wrong.push(format!("jobs were left behind: {left:?}"));
        }
        if !self.parked.is_empty() {
            wrong.push(format!("parked: {:?}", self.parked));
        }
        wrong
    }

    /// What is wrong in them, given how many messages there were.
    pub(crate) fn wrong(&self, messages: usize) -> Vec<String> {
        let mut wrong = self.left_behind();
        let expected = BTreeMap::from([("delivered, mark done".to_owned(), i64::try_from(messages).unwrap())]);
        if self.messages != expected {
            wrong.push(format!("the store knows {:?} where {expected:?} were sent", self.messages));
        }
        wrong
    }
}
