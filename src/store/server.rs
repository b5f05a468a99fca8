//! A PostgreSQL that is open: its pool, whether a pooler stands before it, and whether it answers.
//!
//! Behind a pooler in transaction mode every statement may meet another session, so there nothing outlives its
//! transaction: no prepared statement, no setting, no wake-up.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Executor as _, PgPool, Postgres};

use super::error::StoreError;
use super::reach::{Reach, TRIAL};
use super::value::{Row, Value, for_postgres};

/// Settings of every transaction, where sessions are not ours; `connect` gives the same to sessions that are.
const BEGIN_POOLED: &str = "BEGIN; SET LOCAL statement_timeout = '30s';
    SET LOCAL idle_in_transaction_session_timeout = '10s';
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";
/// The longest an answer is waited for: the server itself gives up a statement after half a minute, but a network that
/// swallows everything says nothing.
const ANSWER: Duration = Duration::from_secs(40);

/// An open server. Clones are the same.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) pool: PgPool,
    pub(super) options: Arc<PgConnectOptions>,
    /// Whether a pooler in transaction mode stands between.
    pub(super) is_pooled: bool,
    pub(super) reach: Arc<Reach>,
    pub(super) connections: Connections,
}

/// How many connections this process may open, and how many the server takes of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// The most this process opens.
    pub own: u32,
    /// The most the server takes; none where a pooler decides.
    pub allowed: Option<u32>,
}

/// A write transaction on a server. Dropped without `commit` or `rollback`, it ends with its connection.
pub(super) struct ServerTx {
    lent: Lent,
    is_pooled: bool,
}

/// A connection in use. The pool takes one back by waiting for whatever is still to be answered on it, for as long as that
/// takes: so one that an answer was given up on is closed instead.
struct Lent {
    connection: PoolConnection<Postgres>,
    /// Whether everything that was asked on it was answered.
    is_at_rest: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_at_rest {
            self.connection.close_on_drop();
        }
    }
}

impl Server {
    /// How long to wait for a connection: where not all of the pool is in use, no longer than one takes to be made.
    fn patience(&self) -> Result<Duration, StoreError> {
        let admitted = self.reach.admit()?;
        let is_used_up = self.pool.num_idle() == 0 && self.pool.size() >= self.pool.options().get_max_connections();
        Ok(if is_used_up { admitted } else { admitted.min(TRIAL) })
    }

    /// A connection that something is about to be asked on.
    async fn lend(&self) -> Result<Lent, sqlx::Error> {
        Ok(Lent { connection: self.pool.acquire().await?, is_at_rest: false })
    }

    pub(super) async fn begin(&self) -> Result<ServerTx, StoreError> {
        let patience = self.patience()?;
        let begun = tokio::time::timeout(patience, async {
            let mut lent = self.lend().await?;
            lent.connection.execute(if self.is_pooled { BEGIN_POOLED } else { "BEGIN" }).await?;
            Ok(ServerTx { lent, is_pooled: self.is_pooled })
        });
        self.reach.heard(in_time(begun.await))
    }

    pub(super) async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        if self.is_pooled {
            let mut tx = self.begin().await?;
            let read = async {
                let rows = tx.rows(sql, values).await?;
                tx.commit().await.map(|()| rows)
            };
            let read = tokio::time::timeout(ANSWER, read).await.unwrap_or_else(|_| Err(no_answer()));
            return self.reach.heard(read);
        }
        let arguments = for_postgres(values)?;
        let patience = self.patience()?;
        let mut lent = self.reach.heard(in_time(tokio::time::timeout(patience, self.lend()).await))?;
        let read = sqlx::query_with(sql, arguments).fetch_all(&mut *lent.connection);
        let read = tokio::time::timeout(ANSWER, read).await;
        lent.is_at_rest = read.is_ok();
        let rows = self.reach.heard(in_time(read))?;
        Ok(rows.into_iter().map(Row::Postgres).collect())
    }
}

impl ServerTx {
    pub(super) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let query = sqlx::query_with(sql, for_postgres(values)?).persistent(!self.is_pooled);
        Ok(query.fetch_all(&mut *self.lent.connection).await?.into_iter().map(Row::Postgres).collect())
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.end("COMMIT").await
    }

    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &'static str) -> Result<(), StoreError> {
        self.lent.connection.execute(how).await?;
        self.lent.is_at_rest = true;
        Ok(())
    }
}

fn in_time<T>(answer: Result<Result<T, sqlx::Error>, tokio::time::error::Elapsed>) -> Result<T, StoreError> {
    match answer {
        Ok(answer) => answer.map_err(StoreError::from),
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> StoreError {
    StoreError::Unavailable("the database does not answer".into())
}
