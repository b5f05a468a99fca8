//! Bringing the tables of a PostgreSQL up to date while others work on them.
//!
//! One at a time, each step in a transaction of its own that waits only briefly for others: whoever works goes on. Steps
//! only add, so a replica of an older version goes on with tables it does not know, and may start with them.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::migrate::{Migration, Migrator};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row as _};

use super::error::StoreError;

static STEPS: Migrator = sqlx::migrate!("src/store/migrations/postgres");

/// What replicas that bring tables up to date wait for, one after the other: a number of our own.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(7309945106436287)";
/// A step that has to wait for others lets them pass again after so long: whoever comes meanwhile waits behind it.
const BRIEFLY: &str = "SET LOCAL lock_timeout = '1s'";
/// How often a step that had to let others pass is tried.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

const BOOKS: &str = "CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL)";

/// Writes what is missing. Everything travels as plain text: behind a pooler nothing may be prepared.
pub(super) async fn up(connection: &mut PgConnection, place: &str) -> Result<(), StoreError> {
    let cannot = |what: &dyn std::fmt::Display| {
        StoreError::Open(format!("{place}: its tables cannot be brought up to date: {what}"))
    };
    let mut written = books(connection).await.map_err(|error| cannot(&StoreError::from(error)))?;
    for step in STEPS.iter() {
        if !written.contains_key(&step.version) {
            let mut tries = 0;
            while let Err(error) = take(connection, step).await {
                let error = StoreError::from(error);
                tries += 1;
                if !matches!(error, StoreError::Contended(_)) || tries == TRIES {
                    return Err(cannot(&format!("step {}: {error}", step.version)));
                }
                if tries == 1 {
                    tracing::info!(
                        step = step.version,
                        "The tables are in use; step {} waits for its turn",
                        step.version
                    );
                }
                tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
            }
            // Another replica may have written it, and of another text.
            written = books(connection).await.map_err(|error| cannot(&StoreError::from(error)))?;
        }
        match written.get(&step.version) {
            Some(sum) if *sum == *step.checksum => {}
            Some(_) => return Err(cannot(&format!("step {} was written by another build", step.version))),
            None => return Err(cannot(&format!("step {} is not there", step.version))),
        }
    }
    Ok(())
}

/// The steps that were taken, and the sums of their texts.
async fn books(connection: &mut PgConnection) -> Result<HashMap<i64, Vec<u8>>, sqlx::Error> {
    if !are_there(connection).await? {
        return Ok(HashMap::new());
    }
    let rows = sqlx::raw_sql("SELECT version, checksum FROM _sqlx_migrations").fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn are_there(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    const ARE_THERE: &str = "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')";
    Ok(sqlx::raw_sql(ARE_THERE).fetch_one(connection).await?.try_get::<i64, _>(0)? > 0)
}

/// Takes a step, unless another replica just did.
async fn take(connection: &mut PgConnection, step: &Migration) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    tx.execute("SET LOCAL statement_timeout = 0").await?;
    tx.execute(ONE_AT_A_TIME).await?;
    if !are_there(&mut tx).await? {
        tx.execute(BOOKS).await?;
    }
    if books(&mut tx).await?.contains_key(&step.version) {
        return tx.rollback().await;
    }
    tx.execute(BRIEFLY).await?;
    tx.execute(step.sql.clone()).await?;
    let sum: String = step.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    // Both texts are our own.
    let noted = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES ({}, '{}', TRUE, '\\x{sum}', 0)",
        step.version, step.description
    );
    tx.execute(AssertSqlSafe(noted)).await?;
    tx.commit().await
}
