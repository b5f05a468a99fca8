//! The submission listener (RFC 6409): users hand in mail over SMTP, and 250 means that it is on disk.
//!
//! Every mail goes the way of [`super::Outbound::accept`]. A session is a state machine without I/O (`session`); its
//! driver (`connection`) reads, writes, encrypts and asks; who had too much is turned away by rules over what happened
//! (`guard`).

mod certificate;
mod config;
mod connection;
mod content;
mod dots;
mod envelope;
mod guard;
mod login;
mod reply;
mod session;
#[cfg(test)]
mod tests;
mod users;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use config::{TlsConfig, TlsMode, UserConfig};

use self::certificate::Certificate;
use self::guard::{Full, Guard};
use self::reply::Reply;
use self::session::Terms;
pub use self::users::Users;
use super::Outbound;
use crate::mail::compose::Limits;
use crate::model::clock::{SharedClock, UnixMillis};

/// After an accept that failed, because the machine has no more of something.
const BREATH: Duration = Duration::from_millis(200);

/// Says which way out there is at this moment: another one after the configuration has changed.
pub type WayOut = Arc<dyn Fn() -> Arc<Outbound> + Send + Sync>;

/// What all sessions share.
struct Shared {
    guard: Mutex<Guard>,
    certificate: Option<Certificate>,
    mode: Option<TlsMode>,
    clock: SharedClock,
    present: WayOut,
}

impl Shared {
    fn guard(&self) -> MutexGuard<'_, Guard> {
        // Each change is one step, so a panic elsewhere cannot leave half of one behind.
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// What a session that begins now offers.
    fn terms(&self) -> Arc<Terms> {
        Arc::new(Terms {
            max_size: self.outbound().max_message_size,
            recipients: Limits::default().recipients,
            starts_tls: self.mode == Some(TlsMode::Starttls),
        })
    }

    fn outbound(&self) -> Arc<Outbound> {
        (self.present)()
    }
}

/// A bound listener that has not begun to serve.
pub struct Submissions {
    socket: std::net::TcpListener,
    shared: Shared,
}

impl Submissions {
    /// Binds the address. `None`: none is configured. Whoever logs in or hands in a mail goes the way that is `present`.
    ///
    /// # Errors
    /// The address is taken or not ours, or the certificate cannot be used; the message says which.
    pub fn bind(config: &super::Config, clock: SharedClock, present: WayOut) -> Result<Option<Self>, String> {
        let Some(address) = config.smtp_listen else { return Ok(None) };
        let listening = |error: std::io::Error| format!("cannot listen on {address}: {error}");
        let socket = std::net::TcpListener::bind(address).map_err(listening)?;
        socket.set_nonblocking(true).map_err(listening)?;
        let mode = config.smtp_tls.as_ref().map(|it| it.mode);
        let certificate = config.smtp_tls.clone().map(|it| Certificate::read(it, clock.now())).transpose()?;
        let shared = Shared { guard: Mutex::default(), certificate, mode, clock, present };
        Ok(Some(Self { socket, shared }))
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop`: nothing more is accepted then, mails that are coming in get `grace`.
    ///
    /// # Errors
    /// The listener broke.
    pub async fn run(self, stop: CancellationToken, grace: Duration) -> std::io::Result<()> {
        let listener = TcpListener::from_std(self.socket)?;
        let shared = Arc::new(self.shared);
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => begin(&shared, socket, peer, &stop, &mut sessions),
                    Err(error) => {
                        tracing::warn!(reason = %error, "The submission listener could not take a connection");
                        tokio::time::sleep(BREATH).await;
                    }
                },
            }
        }
        drop(listener);
        let over = async { while sessions.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, over).await.is_err() {
            tracing::warn!("Sessions over SMTP were cut off, because their mails came too slowly");
        }
        Ok(())
    }
}

fn begin(
    shared: &Arc<Shared>,
    socket: TcpStream,
    peer: SocketAddr,
    stop: &CancellationToken,
    sessions: &mut JoinSet<()>,
) {
    let peer = peer.ip();
    let full = shared.guard().admit(peer, shared.now());
    let shared = Arc::clone(shared);
    match full {
        Ok(()) => {
            let stop = stop.clone();
            sessions.spawn(async move {
                let _present = Present { shared: Arc::clone(&shared), peer };
                connection::serve(shared, socket, peer, stop).await;
            });
        }
        // As many as are served at once may be turned away at once; more hear nothing.
        Err(_) if sessions.len() > 2 * guard::MOST_CONNECTIONS => {}
        Err(full) => {
            let reply = match full {
                Full::Connections => Reply::new(421, "4.7.0", "too many connections; come again later"),
                Full::Blocked => Reply::new(421, "4.7.0", "too many passwords were wrong; come again later"),
            };
            sessions.spawn(connection::turn_away(socket, reply));
        }
    }
}

/// A connection that counts until it is dropped.
struct Present {
    shared: Arc<Shared>,
    peer: std::net::IpAddr,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.shared.guard().left(self.peer);
    }
}
