//! Opening the store: a file or a server, tables up to date, and a plain sentence when it cannot be.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, SqlitePool};

use super::connect;
use super::copy::{self, Side};
use super::db::Db;
use super::error::StoreError;
use crate::model::clock::UnixMillis;

static FOR_SQLITE: Migrator = sqlx::migrate!("src/store/migrations/sqlite");

/// Before 3.51.3 a commit that met two checkpoints could be lost in silence (sqlite.org/releaselog/3_51_3.html).
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);
/// Every statement of the store times its sizes, with room.
const STATEMENTS: usize = 512;
/// How long to wait for another process that is writing to the file.
const BUSY: Duration = Duration::from_secs(10);
/// How long to wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// The write-ahead log is folded into the file every this many pages (16 MiB), not every 4 MiB: fewer fsyncs under load.
const CHECKPOINT_PAGES: &str = "4000";

/// An open database and, on SQLite, the lock that keeps other processes away from the file for as long as it is held.
pub(super) struct Opened {
    pub(super) db: Db,
    pub(super) only: Option<File>,
}

/// Opens what `url` names and brings its tables up to date.
pub(super) async fn open(url: &str, now: UnixMillis) -> Result<Opened, StoreError> {
    match is_file(url)? {
        true => sqlite(url, now).await,
        false => Ok(Opened { db: Db::Postgres(connect::open(url).await?), only: None }),
    }
}

/// A database that is only read, and on which nobody works.
pub(super) async fn to_read(url: &str) -> Result<Side, StoreError> {
    if !is_file(url)? {
        return Ok(Side::Postgres(connect::one(url).await?));
    }
    let path = place_of(url)?;
    if !path.exists() {
        return Err(StoreError::Open(format!("there is no file {}", path.display())));
    }
    let only = alone(&path)?;
    let options = SqliteConnectOptions::new().filename(&path).read_only(true).busy_timeout(BUSY);
    let connection = options.disable_statement_logging().connect().await;
    let refused = |error: sqlx::Error| StoreError::Open(format!("{}: {}", path.display(), StoreError::from(error)));
    Ok(Side::Sqlite(connection.map_err(refused)?, only))
}

/// A database into which a copy goes, with its tables up to date.
pub(super) async fn for_copy(url: &str) -> Result<Side, StoreError> {
    if !is_file(url)? {
        return Ok(Side::Postgres(connect::up_to_date(url).await?));
    }
    let path = place_of(url)?;
    writable(&path).await?;
    let only = alone(&path)?;
    let refused = |error: sqlx::Error| StoreError::Open(format!("{}: {}", path.display(), StoreError::from(error)));
    let mut connection = options(&path).connect().await.map_err(refused)?;
    FOR_SQLITE.run(&mut connection).await.map_err(|error| outdated(&path.display().to_string(), &error))?;
    Ok(Side::Sqlite(connection, only))
}

fn is_file(url: &str) -> Result<bool, StoreError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(true),
        Some("postgres" | "postgresql") => Ok(false),
        _ => Err(StoreError::Open("store.url must be sqlite:path or postgres://user@host/database".into())),
    }
}

fn place_of(url: &str) -> Result<PathBuf, StoreError> {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = path.split('?').next().unwrap_or(path);
    if path.is_empty() || path.contains(":memory:") {
        return Err(StoreError::Open(
            "store.url names no file: write sqlite:mailspan.db or sqlite:/var/lib/mailspan/mailspan.db".into(),
        ));
    }
    Ok(PathBuf::from(path))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", "-32000")
        .pragma("temp_store", "memory")
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

async fn sqlite(url: &str, now: UnixMillis) -> Result<Opened, StoreError> {
    let path = place_of(url)?;
    writable(&path).await?;
    let only = alone(&path)?;
    let options = options(&path);
    let refused = |error: sqlx::Error| StoreError::Open(format!("{}: {}", path.display(), StoreError::from(error)));

    let pool = SqlitePoolOptions::new()
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None);
    // On a full disk SQLite rolls back by itself, and the connection goes on believing in its transaction: nothing could
    // be begun on it ever again.
    let one = pool.clone().max_connections(1).min_connections(1).before_acquire(|connection, _| {
        let stuck = connection.is_in_transaction();
        Box::pin(async move { Ok(!stuck) })
    });
    let writer = one.connect_with(options.clone()).await.map_err(refused)?;
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&writer).await.map_err(refused)?;
    new_enough(&version)?;
    FOR_SQLITE.run(&writer).await.map_err(|error| outdated(&path.display().to_string(), &error))?;
    const MARKED: &str = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1";
    let marked: i64 = sqlx::query_scalar(MARKED).bind(copy::MARK).fetch_one(&writer).await.map_err(refused)?;
    if marked > 0 {
        return Err(copy::unfinished(&path.display().to_string()));
    }
    release_leases(&writer, now).await.map_err(refused)?;
    let readers = pool.max_connections(READERS).connect_with(options.read_only(true)).await.map_err(refused)?;
    Ok(Opened { db: Db::Sqlite { writer, readers }, only: Some(only) })
}

/// One daemon to a file: the lock goes with the process, however it ends.
fn alone(path: &Path) -> Result<File, StoreError> {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let shown = path.display();
    let file = File::options().create(true).truncate(false).write(true).open(&lock);
    let file = file.map_err(|error| StoreError::Open(format!("{shown}.lock cannot be written: {error}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Open(format!(
            "{shown} is in use by another mailspan; stop that one, give this one another store.url, or use PostgreSQL for several"
        ))),
        Err(TryLockError::Error(error)) => Err(StoreError::Open(format!("{shown}.lock cannot be locked: {error}"))),
    }
}

/// Nobody else uses the file, so whoever held a lease is dead and need not be waited for.
async fn release_leases(writer: &SqlitePool, now: UnixMillis) -> Result<(), sqlx::Error> {
    const RELEASE: &str = "UPDATE jobs SET leased_until = NULL, again_at = NULL,
         due_at = CASE WHEN again_at < $1 THEN again_at ELSE $1 END
         WHERE leased_until IS NOT NULL AND parked_at IS NULL";
    sqlx::query(RELEASE).bind(now).execute(writer).await.map(drop)
}

/// SQLite's own answer to all of these is "unable to open database file".
async fn writable(path: &Path) -> Result<(), StoreError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let say = |what: String| Err(StoreError::Open(what));
    match tokio::fs::metadata(folder).await {
        Err(_) => return say(format!("the folder {} does not exist; create it or change store.url", folder.display())),
        Ok(found) if !found.is_dir() => return say(format!("{} is not a folder; change store.url", folder.display())),
        Ok(_) => {}
    }
    if tokio::fs::metadata(path).await.is_ok_and(|found| found.is_dir()) {
        return say(format!("{} is a folder; store.url must name a file", path.display()));
    }
    // SQLite writes its log beside the file, so the folder must be writable as well.
    let probe = folder.join(format!(".mailspan-{}", uuid::Uuid::now_v7()));
    match tokio::fs::write(&probe, b"").await {
        Ok(()) => tokio::fs::remove_file(&probe).await.or_else(|error| say(format!("{}: {error}", folder.display()))),
        Err(error) => say(format!(
            "the folder {} cannot be written to ({error}); give the user that runs mailspan write access to it or change store.url",
            folder.display()
        )),
    }
}

fn new_enough(version: &str) -> Result<(), StoreError> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    let found = (next(), next(), next());
    if found >= OLDEST_SQLITE {
        return Ok(());
    }
    let (major, minor, patch) = OLDEST_SQLITE;
    Err(StoreError::Open(format!(
        "SQLite {version} can lose committed mail; this build needs {major}.{minor}.{patch} or newer (build with the bundled SQLite)"
    )))
}

fn outdated(place: &str, error: &MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => StoreError::Open(format!(
            "{place} was written by a newer mailspan; run that version or start with another store"
        )),
        other => StoreError::Open(format!("{place}: its tables cannot be brought up to date: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_that_can_lose_commits_is_refused() {
        for (version, fine) in
            [("3.51.3", true), ("3.52.0", true), ("4.0.0", true), ("3.51.2", false), ("3.46.1", false), ("", false)]
        {
            assert_eq!(new_enough(version).is_ok(), fine, "{version}");
        }
    }
}
