//! All that differs between SQLite and PostgreSQL: how each is opened is in `open`, the rest is here.
//!
//! A write transaction begins differently, PostgreSQL locks what it is about to change, and wake-ups for other
//! replicas travel with the commit. Everything else is one text for both.

use std::time::Duration;

use sqlx::{Sqlite, SqlitePool, Transaction};

use super::error::StoreError;
use super::listed::{Listed, MOST, pad};
use super::server::{Server, ServerTx};
use super::value::{Row, Value, for_sqlite};

/// The channel on which replicas on one PostgreSQL tell each other what is due.
pub(super) const CHANNEL: &str = "mailspan_due";

/// An open database.
#[derive(Clone)]
pub(super) enum Db {
    /// One writer, because SQLite has one; readers never wait for it.
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    /// One pool for both.
    Postgres(Server),
}

/// Which kind of database is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite = 0,
    Postgres = 1,
}

impl Dialect {
    /// The `n`-th value of a list. SQLite looks up a numbered one by walking over all before it, which a list of hundreds
    /// feels; a plain `?` it just counts.
    pub(super) fn placeholder(self, n: usize) -> String {
        match self {
            Self::Sqlite => "?".into(),
            Self::Postgres => format!("${n}"),
        }
    }

    /// What a claim adds to its sub-selects: on SQLite the write transaction is the lock.
    pub(super) fn lock(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }
}

/// A write transaction. Dropped without `commit`, it never happened.
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(ServerTx),
}

impl Db {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Begins a write. IMMEDIATE, because a read that becomes a write later is refused when another process wrote in between.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(server) => Tx::Postgres(server.begin().await?),
        })
    }

    /// How long one write may take before its connection is given up: a network can swallow an answer, a file cannot.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres(_) => Some(Duration::from_secs(60)),
        }
    }

    /// Reads what was last committed.
    pub(super) async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => {
                let rows = sqlx::query_with(sql, for_sqlite(values)?).fetch_all(readers).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(server) => server.rows(sql, values).await?,
        })
    }

    /// Reads over a list, [`MOST`] rows of it at a time.
    pub(super) async fn each(
        &self,
        listed: &'static Listed,
        fixed: Option<Value>,
        list: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        for (sql, values) in parts(listed, self.dialect(), fixed, list) {
            found.extend(self.rows(sql, values).await?);
        }
        Ok(found)
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(server) => server.pool.close().await,
        }
    }
}

impl Tx {
    fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement and returns what it answers.
    pub(super) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(tx) => {
                let rows = sqlx::query_with(sql, for_sqlite(values)?).fetch_all(&mut **tx).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(tx) => tx.rows(sql, values).await,
        }
    }

    /// Runs a statement over a list, [`MOST`] rows of it at a time, and returns all that they answer.
    pub(super) async fn each(
        &mut self,
        listed: &'static Listed,
        fixed: Option<Value>,
        list: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        for (sql, values) in parts(listed, self.dialect(), fixed, list) {
            found.extend(self.rows(sql, values).await?);
        }
        Ok(found)
    }

    /// Holds these messages until the commit, so that of two replicas that accept the last two deliveries of a message
    /// one sees the other. On SQLite nobody else is writing.
    pub(super) async fn hold_messages(&mut self, messages: Vec<Value>) -> Result<(), StoreError> {
        static HOLD: Listed =
            Listed::values("SELECT id FROM messages WHERE id IN ({rows}) ORDER BY id FOR UPDATE", "?");
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.each(&HOLD, None, messages).await.map(drop),
        }
    }

    /// Holds what is written of these interactions until the commit, so that of two replicas one of which accepts
    /// another copy of a mail while the other hears that the mail was delivered, the later sees what the earlier did.
    pub(super) async fn hold_interactions(&mut self, interactions: Vec<Value>) -> Result<(), StoreError> {
        static HOLD: Listed = Listed::values(
            "SELECT 1 FROM deliveries WHERE interaction_id IN ({rows}) ORDER BY interaction_id, message FOR UPDATE",
            "?",
        );
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.each(&HOLD, None, interactions).await.map(drop),
        }
    }

    /// Holds these conversations until the commit, so that of two replicas that accept mail of one the later sees what
    /// the earlier did.
    pub(super) async fn hold_threads(&mut self, threads: Vec<Value>) -> Result<(), StoreError> {
        static HOLD: Listed = Listed::values("SELECT 1 FROM threads WHERE id IN ({rows}) ORDER BY id FOR UPDATE", "?");
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.each(&HOLD, None, threads).await.map(drop),
        }
    }

    /// Holds the Send job of a submission until the commit, so that of two replicas that send it and take it back one
    /// sees the other. On SQLite nobody else is writing.
    pub(super) async fn hold_send_job(&mut self, submission: i64) -> Result<(), StoreError> {
        const HOLD: &str = "SELECT 1 FROM jobs WHERE key = $1 AND parked_at IS NULL FOR UPDATE";
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.rows(HOLD, vec![format!("send:{submission}").into()]).await.map(drop),
        }
    }

    /// Holds a mailbox until the commit, so that of two replicas that give out turns in it the later sees what the
    /// earlier gave. On SQLite nobody else is writing.
    pub(super) async fn hold_mailbox(&mut self, mailbox: i64) -> Result<(), StoreError> {
        const HOLD: &str = "SELECT 1 FROM mailboxes WHERE id = $1 FOR NO KEY UPDATE";
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.rows(HOLD, vec![mailbox.into()]).await.map(drop),
        }
    }

    /// Takes these lines of deliveries until the commit, so that of two replicas only one judges whose turn it is; those
    /// that another has taken are left out. As triples of a number of the caller's, lane and conversation. Answers the
    /// numbers. On SQLite nobody else is writing.
    pub(super) async fn take_lines(&mut self, lines: Vec<Value>) -> Result<Option<Vec<i64>>, StoreError> {
        static TAKE: Listed = Listed::values(
            "SELECT v.column1, CASE WHEN pg_try_advisory_xact_lock(hashtextextended(v.column2 || ' ' || v.column3, 0))
               THEN 1::BIGINT ELSE 0::BIGINT END
             FROM (VALUES {rows}) AS v WHERE v.column1 IS NOT NULL",
            "(?, ?, ?)",
        );
        let mut taken = Vec::new();
        match self {
            Self::Sqlite(_) => return Ok(None),
            Self::Postgres(_) => {
                for row in self.each(&TAKE, None, lines).await? {
                    if row.int(1)? == 1 {
                        taken.push(row.int(0)?);
                    }
                }
            }
        }
        Ok(Some(taken))
    }

    /// Takes these lanes until the commit, so that of two replicas only one decides how much of the room they share is
    /// left; those that another has taken are left out. On SQLite nobody else is writing.
    pub(super) async fn take_rooms(&mut self, lanes: Vec<Value>) -> Result<Vec<String>, StoreError> {
        static TAKE: Listed = Listed::values(
            "SELECT v.column1, CASE WHEN pg_try_advisory_xact_lock(hashtextextended(v.column1, 1))
               THEN 1::BIGINT ELSE 0::BIGINT END
             FROM (VALUES {rows}) AS v WHERE v.column1 IS NOT NULL",
            "(?)",
        );
        let mut taken = Vec::new();
        if let Self::Postgres(_) = self {
            for row in self.each(&TAKE, None, lanes).await? {
                if row.int(1)? == 1 {
                    taken.push(row.text(0)?);
                }
            }
        }
        Ok(taken)
    }

    /// Takes the watch over the other replicas until the commit, and answers the time by the database's clock; nothing where
    /// another has it. A file has one replica, which does not watch itself.
    pub(super) async fn watch(&mut self) -> Result<Option<i64>, StoreError> {
        // The number beside the one of the migrations: nobody else on this database takes it.
        const TAKE: &str = "SELECT CASE WHEN pg_try_advisory_xact_lock(7309945106436288)
             THEN (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT END";
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(_) => self.rows(TAKE, vec![]).await?.first().map_or(Ok(None), |row| row.maybe_int(0)),
        }
    }

    /// Sends `payload` to the other replicas with the commit. A file has no other replicas.
    pub(super) async fn notify(&mut self, payload: String) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => {
                self.rows("SELECT pg_notify($1, $2)", vec![CHANNEL.into(), payload.into()]).await.map(drop)
            }
        }
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await?,
            Self::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

/// The texts and values of a statement over a list.
fn parts(
    listed: &'static Listed,
    dialect: Dialect,
    fixed: Option<Value>,
    list: Vec<Value>,
) -> impl Iterator<Item = (&'static str, Vec<Value>)> {
    let columns = listed.columns();
    let mut rest = list.into_iter();
    std::iter::from_fn(move || {
        let mut part: Vec<Value> = rest.by_ref().take(MOST * columns).collect();
        if part.is_empty() {
            return None;
        }
        let (sql, rows) = listed.text(dialect, part.len() / columns);
        pad(&mut part, columns, rows);
        part.extend(fixed.clone());
        Some((sql, part))
    })
}
