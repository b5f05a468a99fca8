//! Connections that are no HTTP: opened and encrypted here, kept open between hand-overs, given up after any trouble.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::egress::causes;

/// Firewalls forget silent connections without a word; most of them not as soon as this.
const IDLE_FOR: Duration = Duration::from_secs(50);
/// Connections one route keeps open between hand-overs.
const IDLE_AT_MOST: usize = 8;

/// A connection, encrypted or not.
pub(super) trait Line: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// Connects. The caller says how long that may take.
pub(super) async fn open((host, port): (&str, u16), tls: Option<&Arc<ClientConfig>>) -> Result<Box<dyn Line>, String> {
    let line = TcpStream::connect((host, port)).await.map_err(|error| format!("no connection: {error}"))?;
    // Only speed is lost where this is refused.
    let _ = line.set_nodelay(true);
    let Some(config) = tls else { return Ok(Box::new(line)) };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| "its name cannot be shown in TLS".to_owned())?;
    let encrypted = TlsConnector::from(Arc::clone(config)).connect(name, line).await;
    Ok(Box::new(encrypted.map_err(|error| format!("no TLS connection: {}", causes(&error)))?))
}

/// What is kept open between hand-overs. Each is used by one at a time.
pub(super) struct Kept<S> {
    idle: Mutex<Vec<(S, Instant)>>,
}

impl<S> Default for Kept<S> {
    fn default() -> Self {
        Self { idle: Mutex::new(Vec::new()) }
    }
}

impl<S> Kept<S> {
    /// One that was used lately.
    pub(super) fn take(&self) -> Option<S> {
        let mut idle = self.idle();
        idle.retain(|(_, since)| since.elapsed() < IDLE_FOR);
        idle.pop().map(|(it, _)| it)
    }

    /// Keeps one that is well.
    pub(super) fn keep(&self, open: S) {
        let mut idle = self.idle();
        if idle.len() < IDLE_AT_MOST {
            idle.push((open, Instant::now()));
        }
    }

    /// Where one is gone the others most likely are.
    pub(super) fn clear(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(S, Instant)>> {
        // A list of connections cannot be left half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
