//! A mail client of the listener: STARTTLS, AUTH PLAIN, one mail a connection, and an honest word on what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a client knows after a try.
#[derive(Debug)]
pub(crate) enum Said {
    /// 250: the bridge has it.
    Taken,
    /// 4xx: to be tried again.
    Later,
    /// 5xx: never.
    Never(String),
    /// No answer to the last dot, or none at all.
    Lost,
}

/// Who may submit.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) at: SocketAddr,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    tls: TlsConnector,
}

const PATIENCE: Duration = Duration::from_secs(60);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
type Line = BufReader<Box<dyn Io>>;

impl Client {
    /// A client that trusts this certificate.
    pub(crate) fn new(
        at: SocketAddr,
        user: &'static str,
        password: &'static str,
        trusts: CertificateDer<'static>,
    ) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(trusts).unwrap();
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        Self { at, user, password, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Hands over one mail.
    pub(crate) async fn submit(&self, from: &str, to: &str, mail: &[u8]) -> Said {
        let talk = tokio::time::timeout(PATIENCE, self.talk(from, to, mail));
        talk.await.ok().and_then(Result::ok).unwrap_or(Said::Lost)
    }

    async fn talk(&self, from: &str, to: &str, mail: &[u8]) -> std::io::Result<Said> {
        let mut line: Line = BufReader::new(Box::new(TcpStream::connect(self.at).await?));
        let login = BASE64_STANDARD.encode(format!("\0{}\0{}", self.user, self.password));
        read(&mut line).await?;
        for command in ["EHLO client.example", "STARTTLS"] {
            if let Some(said) = refused(&ask(&mut line, command).await?) {
                return Ok(said);
            }
        }
        let name = ServerName::try_from("localhost").unwrap();
        line = BufReader::new(Box::new(self.tls.connect(name, line.into_inner()).await?));
        let (from, to) = (format!("MAIL FROM:<{from}> SIZE={}", mail.len()), format!("RCPT TO:<{to}>"));
        for command in ["EHLO client.example", &format!("AUTH PLAIN {login}"), &from, &to, "DATA"] {
            if let Some(said) = refused(&ask(&mut line, command).await?) {
                return Ok(said);
            }
        }
        for text in mail.split_inclusive(|byte| *byte == b'\n') {
            if text.starts_with(b".") {
                line.write_all(b".").await?;
            }
            line.write_all(text).await?;
        }
        let said = ask(&mut line, ".").await?;
        let verdict = refused(&said).unwrap_or(Said::Taken);
        // The mail is handed over, whatever becomes of the farewell.
        drop(line.write_all(b"QUIT\r\n").await);
        Ok(verdict)
    }
}

fn refused(reply: &str) -> Option<Said> {
    match reply.as_bytes().first() {
        Some(b'2' | b'3') => None,
        Some(b'4') => Some(Said::Later),
        _ => Some(Said::Never(reply.to_owned())),
    }
}

async fn ask(line: &mut Line, command: &str) -> std::io::Result<String> {
    line.write_all(format!("{command}\r\n").as_bytes()).await?;
    line.flush().await?;
    read(line).await
}

/// A reply, of which the last line counts.
async fn read(line: &mut Line) -> std::io::Result<String> {
    loop {
        let mut text = String::new();
        if line.read_line(&mut text).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if text.as_bytes().get(3) != Some(&b'-') {
            return Ok(text);
        }
    }
}
