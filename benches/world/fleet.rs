//! Several bridges that work on one database, behind one address that spreads Graph's notifications over them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::net::{TcpListener, TcpStream};

use super::World;
use super::bridge::{Bridge, Place};
use super::usage::Usage;

/// Names a PostgreSQL that may be given a database of its own.
const SERVER: &str = "MAILSPAN_TEST_POSTGRES";

/// Where the bridges keep what they know.
pub(crate) enum Database {
    /// A file in the world's folder.
    Sqlite,
    /// A database of its own on a PostgreSQL server.
    Postgres { server: String, url: String, name: String },
}

impl Database {
    /// A new database on the server of `MAILSPAN_TEST_POSTGRES`; `None` where there is no server.
    pub(crate) async fn postgres() -> anyhow::Result<Option<Self>> {
        let Ok(server) = std::env::var(SERVER) else { return Ok(None) };
        let (base, _) = server.rsplit_once('/').with_context(|| format!("{SERVER} names no database"))?;
        let name = format!("mailspan_bench_{}_{}", std::process::id(), fastrand::u32(..));
        let mut connection = PgConnection::connect(&server).await.context(SERVER)?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
        Ok(Some(Self::Postgres { url: format!("{base}/{name}"), server: server.clone(), name }))
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres { .. } => "PostgreSQL",
        }
    }

    /// Connections that are open to it; SQLite has none to count.
    pub(crate) async fn connections(&self) -> anyhow::Result<i64> {
        let Self::Postgres { server, name, .. } = self else { return Ok(0) };
        let mut connection = PgConnection::connect(server).await?;
        let count = sqlx::query("SELECT count(*) FROM pg_stat_activity WHERE datname = $1").bind(name);
        Ok(count.fetch_one(&mut connection).await?.try_get(0)?)
    }

    /// Removes it, once nobody works on it.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        let Self::Postgres { server, name, .. } = self else { return Ok(()) };
        let mut connection = PgConnection::connect(&server).await?;
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut connection).await?;
        Ok(())
    }
}

/// The bridges, and the address before them.
pub(crate) struct Fleet {
    pub(crate) bridges: Vec<Bridge>,
    front: SocketAddr,
}

impl Fleet {
    /// Spawns so many with these routes; none need be ready yet.
    pub(crate) async fn spawn(world: &World, database: &Database, count: usize, routes: &str) -> anyhow::Result<Self> {
        let front = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = front.local_addr()?;
        let public_url = format!("http://{address}");
        let file = format!("sqlite:{}", world.folder().join("mailspan.db").display());
        let store = match database {
            Database::Sqlite => &file,
            Database::Postgres { url, .. } => url,
        };
        let spawn = |number: usize| {
            let name = format!("mailspan{number}");
            Bridge::spawn_at(world, &Place { name: &name, store, public_url: Some(&public_url) }, routes)
        };
        let bridges = (0..count).map(spawn).collect::<anyhow::Result<Vec<_>>>()?;
        tokio::spawn(spread(front, bridges.iter().map(Bridge::public).collect()));
        Ok(Self { bridges, front: address })
    }

    /// Waits until all are ready. Returns how long the slowest took.
    pub(crate) async fn until_ready(&mut self) -> anyhow::Result<Duration> {
        let mut slowest = Duration::ZERO;
        for bridge in &mut self.bridges {
            slowest = slowest.max(bridge.until_ready().await?);
        }
        Ok(slowest)
    }

    /// Where Graph posts its notifications.
    pub(crate) fn public(&self) -> SocketAddr {
        self.front
    }

    /// What each has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Vec<Usage>> {
        self.bridges.iter().map(Bridge::usage).collect()
    }

    /// Stops all of them in order.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for bridge in self.bridges {
            bridge.stop().await?;
        }
        Ok(())
    }
}

/// One connection to each bridge in turn.
async fn spread(front: TcpListener, bridges: Vec<SocketAddr>) {
    let turn = Arc::new(AtomicUsize::new(0));
    while let Ok((mut from, _)) = front.accept().await {
        let (bridges, turn) = (bridges.clone(), Arc::clone(&turn));
        tokio::spawn(async move {
            let next = bridges[turn.fetch_add(1, Ordering::Relaxed) % bridges.len()];
            // Graph, whose part the caller plays, asks again when a connection breaks.
            if let Ok(mut to) = TcpStream::connect(next).await {
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}
