//! The SMTP listener of the stories: its certificate and its user, and a client that says exactly what it is told to.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::office::Office;
use crate::world::{DEADLINE, Plan};
use crate::world_bridge::free_port;

pub(crate) const USER: &str = "agents";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Where submissions are taken.
pub(crate) struct Door {
    pub(crate) port: u16,
    /// The authority its certificate is of.
    pub(crate) ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Door {
    /// A door with a certificate for `localhost`, its files in the office's folder.
    pub(crate) fn new(office: &Office) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate that names itself as its issuer for a stranger's own.
        authority.distinguished_name.push(DnType::CommonName, "Authority of the stories");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let own = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&own, &authority).unwrap();
        let [ca, cert, key] = ["door-ca.pem", "door-cert.pem", "door-key.pem"].map(|it| office.world.path(it));
        std::fs::write(&ca, authority.pem()).unwrap();
        std::fs::write(&cert, certificate.pem()).unwrap();
        std::fs::write(&key, own.serialize_pem()).unwrap();
        Self { port: free_port().port(), ca, certificate: cert, key }
    }

    /// The plan with this door open.
    pub(crate) fn open(&self, plan: Plan) -> Plan {
        let tls = format!("{{ cert_file = {:?}, key_file = {:?} }}", self.certificate, self.key);
        let users = format!("[{{ name = {USER:?}, password = {PASSWORD:?}, senders = [\"*@contoso.example\"] }}]");
        plan.text("outbound", "smtp_listen", &format!("127.0.0.1:{}", self.port))
            .value("outbound", "smtp_tls", &tls)
            .value("outbound", "smtp_users", &users)
    }

    /// A connection that is encrypted and logged in.
    pub(crate) async fn enter(&self) -> Line {
        let mut line = self.knock().await;
        for command in ["EHLO client.example", "STARTTLS"] {
            line.expect(command, '2').await;
        }
        let mut line = line.encrypt(&self.ca).await;
        let login = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
        for command in ["EHLO client.example", &format!("AUTH PLAIN {login}")] {
            line.expect(command, '2').await;
        }
        line
    }

    /// A bare connection, greeted.
    pub(crate) async fn knock(&self) -> Line {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut line = Line(BufReader::new(Box::new(stream)));
        let greeting = line.read().await;
        assert!(greeting.starts_with("220 "), "{greeting}");
        line
    }

    /// Hands over these bytes as they are, and the dot behind them. Returns what was said to the dot.
    pub(crate) async fn hand(&self, to: &[&str], bytes: &[u8]) -> String {
        let mut line = self.enter().await;
        line.expect(&format!("MAIL FROM:<{}>", crate::world::SUPPORT), '2').await;
        for to in to {
            line.expect(&format!("RCPT TO:<{to}>"), '2').await;
        }
        line.expect("DATA", '3').await;
        line.0.write_all(bytes).await.unwrap();
        let said = line.ask(if bytes.ends_with(b"\r\n") { "." } else { "\r\n." }).await;
        line.ask("QUIT").await;
        said
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection.
pub(crate) struct Line(BufReader<Box<dyn Io>>);

impl Line {
    async fn encrypt(self, ca: &PathBuf) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, self.0.into_inner()).await.unwrap();
        Self(BufReader::new(Box::new(tls)))
    }

    /// Says a line and returns the whole reply.
    pub(crate) async fn ask(&mut self, command: &str) -> String {
        self.0.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
        self.read().await
    }

    /// Says a line, to which the reply must begin with this digit.
    pub(crate) async fn expect(&mut self, command: &str, digit: char) -> String {
        let said = self.ask(command).await;
        assert!(said.starts_with(digit), "{command}: {said}");
        said
    }

    async fn read(&mut self) -> String {
        reply(&mut self.0).await
    }
}

/// The whole of what a server says to one command; what came, where the connection ends before.
pub(crate) async fn reply(line: &mut (impl AsyncBufRead + Unpin)) -> String {
    let mut reply = String::new();
    loop {
        let begun = reply.len();
        let read = tokio::time::timeout(DEADLINE, line.read_line(&mut reply));
        read.await.expect("a reply in time").unwrap();
        if reply.as_bytes().get(begun + 3) != Some(&b'-') {
            return reply;
        }
    }
}
