//! The way to a PostgreSQL: what its URL says, whether a pooler stands between, and how many connections to hold.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row as _};
use url::Url;

use super::copy;
use super::error::StoreError;
use super::migrate;
use super::reach::Reach;
use super::server::{Connections, Server};

/// Every statement of the store times its sizes, with room.
const STATEMENTS: usize = 512;
/// How long the pool itself waits for a connection; whoever asks it has less patience.
const ACQUIRE: Duration = Duration::from_secs(10);
/// A statement that hangs must not hold rows for ever. Nor must a client that stands still in the middle of a transaction:
/// ours say their next statement at once, so it is gone long before the statements of those who wait for it are given up.
/// And every join here is over a short list of keys: following the index is right however large the table grew since the
/// statement was planned.
const SESSION: &str = "SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '10s';
    SET enable_hashjoin = off; SET enable_mergejoin = off";
/// Connections beside the pool: wake-ups are heard on one of their own.
const LISTENING: u32 = 1;
/// So many replicas must find room on a server, so that one more can start before an old one ends.
const REPLICAS: u32 = 4;
/// The fewest connections that work together: a writer, two readers, one in reserve.
const FEWEST: u32 = 4;
/// How often both of two connections are asked which session they meet.
const LOOKS: usize = 4;

/// What a URL says.
#[derive(Debug)]
struct Asked {
    options: PgConnectOptions,
    /// Whether a pooler in transaction mode stands between; none: find out.
    pooler: Option<bool>,
}

/// Opens a server and brings its tables up to date.
pub(super) async fn open(url: &str) -> Result<Server, StoreError> {
    let Asked { options, pooler } = asked(url)?;
    let place = place(&options);
    let refused = |error: sqlx::Error| StoreError::Open(format!("{place}: {}", StoreError::from(error)));
    // A pool would go on trying for as long as it waits for a connection; one connection says at once what is wrong.
    let mut first = PgConnection::connect_with(&options).await.map_err(refused)?;
    let is_pooled = match pooler {
        Some(said) => said,
        None => is_pooled(&mut first, &options).await.map_err(refused)?,
    };
    let allowed = match is_pooled {
        true => None,
        false => Some(allowed(&mut first).await.map_err(refused)?),
    };
    if is_marked(&mut first).await.map_err(refused)? {
        return Err(copy::unfinished(&place));
    }
    migrate::up(&mut first, &place).await?;
    first.close().await.map_err(refused)?;
    let size = size(std::thread::available_parallelism().map_or(2, usize::from), allowed);
    let pool = PgPoolOptions::new().max_connections(size).acquire_timeout(ACQUIRE);
    let pool = match is_pooled {
        true => pool,
        false => pool.after_connect(|connection, _| Box::pin(async { connection.execute(SESSION).await.map(drop) })),
    };
    if is_pooled {
        tracing::info!(
            "A pooler in transaction mode stands before the database: wake-ups of other replicas are asked for"
        );
    }
    Ok(Server {
        pool: pool.connect_lazy_with(options.clone()),
        options: Arc::new(options),
        is_pooled,
        reach: Arc::new(Reach::default()),
        connections: Connections { own: size + if is_pooled { 0 } else { LISTENING }, allowed },
    })
}

/// A single connection, to a database that is only read.
pub(super) async fn one(url: &str) -> Result<PgConnection, StoreError> {
    let options = asked(url)?.options;
    let refused = |error| StoreError::Open(format!("{}: {}", place(&options), StoreError::from(error)));
    PgConnection::connect_with(&options).await.map_err(refused)
}

/// A single connection, to a database whose tables are up to date.
pub(super) async fn up_to_date(url: &str) -> Result<PgConnection, StoreError> {
    let mut connection = one(url).await?;
    migrate::up(&mut connection, &place(&asked(url)?.options)).await?;
    Ok(connection)
}

fn place(options: &PgConnectOptions) -> String {
    format!("{}:{}", options.get_host(), options.get_port())
}

/// Whether it holds a copy that is not finished.
async fn is_marked(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    const MARKED: &str = "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass('copying')";
    Ok(plain(connection, MARKED).await?.try_get::<i64, _>(0)? > 0)
}

fn asked(url: &str) -> Result<Asked, StoreError> {
    let unusable =
        || StoreError::Open("store.url is no address of a database: write postgres://user@host/database".into());
    let mut url: Url = url.parse().map_err(|_| unusable())?;
    let mut pooler = None;
    let mut rest = Vec::new();
    for (key, value) in url.query_pairs() {
        match (&*key, &*value) {
            ("pooler", "transaction") => pooler = Some(true),
            ("pooler", "none") => pooler = Some(false),
            ("pooler", _) => {
                return Err(StoreError::Open(
                    "store.url: pooler is `transaction` or `none`; without it, it is found out".into(),
                ));
            }
            _ => rest.push((key.into_owned(), value.into_owned())),
        }
    }
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    let options = PgConnectOptions::from_str(url.as_str())
        .map_err(|_| unusable())?
        .application_name("mailspan")
        // Poolers refuse it, and nothing here is a fraction.
        .extra_float_digits(None)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    Ok(Asked { options, pooler })
}

/// Whether two connections meet one session, or one connection several: then a pooler hands out sessions by transaction.
async fn is_pooled(first: &mut PgConnection, options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut second = PgConnection::connect_with(options).await?;
    let met = (session(first).await?, session(&mut second).await?);
    let mut is_pooled = met.0 == met.1;
    for _ in 1..LOOKS {
        is_pooled |= met != (session(first).await?, session(&mut second).await?);
    }
    second.close().await?;
    Ok(is_pooled)
}

async fn session(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    plain(connection, "SELECT pg_backend_pid()").await?.try_get(0)
}

/// How many connections the server takes of those who are not its superusers.
async fn allowed(connection: &mut PgConnection) -> Result<u32, sqlx::Error> {
    const SELECT: &str = "SELECT current_setting('max_connections')::int
         - current_setting('superuser_reserved_connections')::int
         - COALESCE(current_setting('reserved_connections', true), '0')::int";
    let allowed: i32 = plain(connection, SELECT).await?.try_get(0)?;
    Ok(u32::try_from(allowed).unwrap_or(0))
}

/// Asked as plain text: nothing is prepared, so it does not matter which session answers.
async fn plain(connection: &mut PgConnection, sql: &'static str) -> Result<PgRow, sqlx::Error> {
    sqlx::raw_sql(sql).fetch_one(connection).await
}

/// How many connections the pool holds at most: as many as there is to do at once, and a quarter of what the server takes.
fn size(cores: usize, allowed: Option<u32>) -> u32 {
    let wanted = u32::try_from(cores).unwrap_or(u32::MAX).saturating_mul(2).saturating_add(6).min(24);
    let room = allowed.map_or(u32::MAX, |it| (it / REPLICAS).saturating_sub(LISTENING));
    wanted.min(room).max(FEWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_as_large_as_there_is_work_and_room() {
        for (cores, allowed, expected) in [
            (2, Some(97), 10),
            (4, Some(97), 14),
            (32, Some(497), 24),
            (32, Some(97), 23),
            (32, Some(22), 4),
            (2, Some(5), 4),
            (1, None, 8),
        ] {
            assert_eq!(size(cores, allowed), expected, "{cores} cores, {allowed:?} allowed");
        }
    }

    #[test]
    fn what_the_url_says_of_the_pooler_is_taken_out() {
        for (url, expected) in [
            ("postgres://u@h/d", Some(None)),
            ("postgres://u@h/d?pooler=transaction&sslmode=require", Some(Some(true))),
            ("postgres://u@h/d?sslmode=require&pooler=none", Some(Some(false))),
            ("postgres://u@h/d?pooler=session", None),
        ] {
            assert_eq!(asked(url).ok().map(|it| it.pooler), expected, "{url}");
        }
        let kept = asked("postgres://u@h:6432/d?pooler=transaction&sslmode=verify-full").unwrap().options;
        assert_eq!((kept.get_host(), kept.get_port(), kept.get_database()), ("h", 6432, Some("d")));
        assert!(matches!(kept.get_ssl_mode(), sqlx::postgres::PgSslMode::VerifyFull));
    }
}
