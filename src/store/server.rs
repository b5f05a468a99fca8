//! A PostgreSQL that is open: its pool, whether a pooler stands before it, and whether it answers.
//!
//! Behind a pooler in transaction mode every statement may meet another session, so there nothing outlives its
//! transaction: no prepared statement, no setting, no wake-up.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, Postgres, Transaction};

use super::error::StoreError;
use super::reach::{Reach, TRIAL};
use super::value::{Row, Value, for_postgres};

/// Settings of every transaction, where sessions are not ours; `connect` gives the same to sessions that are.
const BEGIN_POOLED: &str = "BEGIN; SET LOCAL statement_timeout = '30s';
    SET LOCAL idle_in_transaction_session_timeout = '60s';
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

/// A write transaction on a server.
pub(super) struct ServerTx {
    tx: Transaction<'static, Postgres>,
    is_pooled: bool,
}

impl Server {
    /// How long to wait for a connection: where not all of the pool is in use, no longer than one takes to be made.
    fn patience(&self) -> Result<Duration, StoreError> {
        let admitted = self.reach.admit()?;
        let is_used_up = self.pool.num_idle() == 0 && self.pool.size() >= self.pool.options().get_max_connections();
        Ok(if is_used_up { admitted } else { admitted.min(TRIAL) })
    }

    pub(super) async fn begin(&self) -> Result<ServerTx, StoreError> {
        let patience = self.patience()?;
        let begun = tokio::time::timeout(patience, async {
            match self.is_pooled {
                true => self.pool.begin_with(BEGIN_POOLED).await,
                false => self.pool.begin().await,
            }
        });
        let tx = self.reach.heard(in_time(begun.await))?;
        Ok(ServerTx { tx, is_pooled: self.is_pooled })
    }

    pub(super) async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        if self.is_pooled {
            let mut tx = self.begin().await?;
            let read = tokio::time::timeout(ANSWER, tx.rows(sql, values)).await.unwrap_or_else(|_| Err(no_answer()));
            let rows = self.reach.heard(read)?;
            tx.commit().await?;
            return Ok(rows);
        }
        let arguments = for_postgres(values)?;
        let patience = self.patience()?;
        let taken = in_time(tokio::time::timeout(patience, self.pool.acquire()).await);
        let mut connection: PoolConnection<Postgres> = self.reach.heard(taken)?;
        let read = tokio::time::timeout(ANSWER, sqlx::query_with(sql, arguments).fetch_all(&mut *connection)).await;
        if read.is_err() {
            connection.close_on_drop();
        }
        let rows = self.reach.heard(in_time(read))?;
        Ok(rows.into_iter().map(Row::Postgres).collect())
    }
}

impl ServerTx {
    pub(super) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let query = sqlx::query_with(sql, for_postgres(values)?).persistent(!self.is_pooled);
        Ok(query.fetch_all(&mut *self.tx).await?.into_iter().map(Row::Postgres).collect())
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }

    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
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
