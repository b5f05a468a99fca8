//! How a listener is bound, serves and stops; its limits on slow peers; its certificate.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;

use super::patience::Patient;
use crate::config::server::TlsConfig;

/// A request's head must have come within this time: half-sent requests must not hold a connection or a shutdown.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often certificate files are looked at for a change.
const CERTIFICATE_TURN: Duration = Duration::from_secs(10);

/// A bound listener that has not begun to serve.
pub struct Listener {
    socket: std::net::TcpListener,
    tls: Option<TlsConfig>,
    handle: Handle<SocketAddr>,
}

impl Listener {
    /// Binds the address, so that what is wrong with it is known before anything starts.
    ///
    /// # Errors
    /// The address is taken or not ours; the message names it.
    pub fn bind(address: SocketAddr, tls: Option<TlsConfig>) -> anyhow::Result<Self> {
        let bound = std::net::TcpListener::bind(address);
        let socket = bound.map_err(|error| anyhow::anyhow!("cannot listen on {address}: {error}"))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tls, handle: Handle::new() })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Stops it: nothing more is accepted, requests in flight get `grace`.
    pub fn handle(&self) -> Handle<SocketAddr> {
        self.handle.clone()
    }

    /// Serves until stopped by its handle.
    ///
    /// # Errors
    /// The listener broke, or its certificate cannot be used.
    pub async fn serve(self, router: Router) -> anyhow::Result<()> {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let Some(tls) = self.tls else {
            let mut server = axum_server::from_tcp(self.socket)?.acceptor(Patient).handle(self.handle);
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            server.http_builder().http2().timer(TokioTimer::new());
            return Ok(server.serve(service).await?);
        };
        let certificate = RustlsConfig::from_pem_file(&tls.cert_file, &tls.key_file).await;
        let certificate = certificate.map_err(|error| {
            anyhow::anyhow!("cannot use {} with {}: {error}", tls.cert_file.display(), tls.key_file.display())
        })?;
        let mut server = axum_server::from_tcp_rustls(self.socket, certificate.clone())?.handle(self.handle);
        server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        server.http_builder().http2().timer(TokioTimer::new());
        tokio::select! {
            served = server.serve(service) => Ok(served?),
            never = follow(certificate, tls) => match never {},
        }
    }
}

/// Reads the certificate again when its files change. A broken pair keeps the old one, and says so.
async fn follow(certificate: RustlsConfig, tls: TlsConfig) -> std::convert::Infallible {
    let mut seen = changed_at(&tls);
    loop {
        tokio::time::sleep(CERTIFICATE_TURN).await;
        let now = changed_at(&tls);
        if now == seen {
            continue;
        }
        match certificate.reload_from_pem_file(&tls.cert_file, &tls.key_file).await {
            Ok(()) => {
                tracing::info!(file = %tls.cert_file.display(), "The listener's certificate was read anew");
                seen = now;
            }
            // Perhaps only one of the two files is in place yet: looked at again on the next turn.
            Err(error) => {
                tracing::error!(file = %tls.cert_file.display(), reason = %error, "The new certificate cannot be used; the old one stays");
            }
        }
    }
}

fn changed_at(tls: &TlsConfig) -> [Option<std::time::SystemTime>; 2] {
    [&tls.cert_file, &tls.key_file].map(|path| std::fs::metadata(path).and_then(|it| it.modified()).ok())
}
