//! A mail relay: the mail's own bytes, with header fields put before them, on an envelope of ours.
//!
//! Accepted is the relay's yes after the last byte. Where that yes is lost the mail is sent again, with the same ids
//! and flagged: twice is mended by the receiver, lost is mended by nobody.

mod envelope;
mod header;
mod parcel;
mod reply;
mod session;
mod verdict;
mod wire;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::envelope::{Original, Rewriter};
pub use self::parcel::{Added, MessageId};
use self::parcel::{Wrapping, fact};
use self::session::Session;
use self::verdict::Trouble;
use super::{BuildError, Destination, Handover};
use crate::egress::Egress;
use crate::model::address::Address;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::secret::Secret;
use crate::model::token::BoxFuture;
use crate::model::units::Span;
use crate::secrets::SecretSource;

/// Servers give up a silent client after five minutes (RFC 5321, 4.5.3.2.7), some balancers after four.
const IDLE_FOR: Duration = Duration::from_secs(3 * 60);
/// Connections one route keeps open between mails.
const IDLE_AT_MOST: usize = 4;
/// Bytes of the key that stands in for `srs_secret`.
const OWN_KEY: usize = 32;

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Not at all.
    None,
    /// Where the relay offers it, whoever it is.
    Opportunistic,
    /// By STARTTLS, with a certificate that is verified, or not at all.
    #[default]
    Starttls,
    /// From the first byte (port 465), with a certificate that is verified.
    Implicit,
}

impl Tls {
    /// Whether a password is safe on it.
    pub fn is_verified(self) -> bool {
        matches!(self, Self::Starttls | Self::Implicit)
    }
}

/// `[routes.destination] kind = "smtp"`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The relay's name or address. Its MX records are not asked for.
    pub host: String,
    /// Its port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: Tls,
    /// The user to log in as.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The file that holds it.
    pub password_file: Option<PathBuf>,
    /// Whether to log in over a connection that is not verified TLS.
    #[serde(default)]
    pub allow_insecure_login: bool,
    /// Whom mails are sent to, on the envelope.
    pub recipient: Address,
    /// Who mails are from, on the envelope; else the sender's own address inside one of ours (SRS).
    pub bounce_address: Option<Address>,
    /// What rewritten senders are signed with, shared with what undoes them.
    pub srs_secret: Option<Secret>,
    /// The file that holds it.
    pub srs_secret_file: Option<PathBuf>,
    /// Our name: in EHLO, after the `@` of rewritten senders, in Received.
    pub helo: Option<String>,
    /// Fields that are put before the mail beside our own.
    #[serde(default)]
    pub add_headers: Vec<Added>,
    /// What becomes of the mail's Message-ID.
    #[serde(default)]
    pub message_id: MessageId,
    /// The longest an attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

/// Addresses and user names stay out of it.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("logs_in", &self.username.is_some())
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .field("allow_insecure_login", &self.allow_insecure_login)
            .field("rewrites_senders", &self.bounce_address.is_none())
            .field("srs_secret", &self.srs_secret)
            .field("srs_secret_file", &self.srs_secret_file)
            .field("helo", &self.helo)
            .field("add_headers", &self.add_headers)
            .field("message_id", &self.message_id)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// A relay, ready for mail. Connections are kept open between mails, as many as it may keep waiting.
pub struct Smtp {
    host: String,
    port: u16,
    tls: Tls,
    client: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    login: Option<(String, SecretSource)>,
    allow_insecure_login: bool,
    wrapping: Wrapping,
    bounce_address: Option<Address>,
    rewriter: Rewriter,
    helo: Option<String>,
    timeout: Duration,
    idle: Mutex<Vec<(Session, Instant)>>,
    clock: SharedClock,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, tls, timeout, .. } = self;
        f.debug_struct("Smtp")
            .field("host", host)
            .field("port", port)
            .field("tls", tls)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

impl Smtp {
    /// A relay as configured. Nothing is connected yet.
    ///
    /// # Errors
    /// A key is missing or of no use; the message names the key and says what to do.
    pub fn new(config: &Config, egress: &Egress, clock: SharedClock) -> Result<Self, BuildError> {
        let name = ServerName::try_from(config.host.clone())
            .map_err(|_| BuildError::new("host", "must be a name or an address, without a port"))?;
        if config.timeout.0.is_zero() {
            return Err(BuildError::new("timeout", "must be longer than 0s"));
        }
        if config.helo.as_deref().is_some_and(|it| !is_helo(it)) {
            return Err(BuildError::new("helo", "must be a host's name, such as bridge.example.com"));
        }
        let client = match config.tls {
            Tls::None => None,
            Tls::Opportunistic => Some(egress.unverified_tls()),
            Tls::Starttls | Tls::Implicit => Some(egress.tls()),
        };
        let client = client.transpose().map_err(|error| BuildError::new("tls", error))?.map(|it| (Arc::new(it), name));
        Ok(Self {
            host: config.host.clone(),
            port: config.port,
            tls: config.tls,
            client,
            login: login(config)?,
            allow_insecure_login: config.allow_insecure_login,
            wrapping: Wrapping {
                recipient: config.recipient.clone(),
                added: config.add_headers.clone(),
                message_id: config.message_id,
            },
            bounce_address: config.bounce_address.clone(),
            rewriter: rewriter(config)?,
            helo: config.helo.clone(),
            timeout: config.timeout.0,
            idle: Mutex::default(),
            clock,
        })
    }

    async fn send(&self, handover: &Handover) -> Result<(), Trouble> {
        let until = Instant::now() + self.timeout;
        let now = self.clock.now();
        let domain = self.domain(handover);
        let parcel = self.wrapping.wrap(handover, &domain, now)?;
        let sender = self.sender(handover, &domain);
        let recipient = self.wrapping.recipient.as_str();
        if let Some(mut session) = self.kept(until).await {
            let sent = session.hand_over(&sender, recipient, &parcel).await;
            match sent {
                Err(trouble) if trouble.is_a_stale_connection() => {}
                sent => return self.keep(session, sent),
            }
        }
        let mut session = self.connected(until).await?;
        let sent = session.hand_over(&sender, recipient, &parcel).await;
        self.keep(session, sent)
    }

    /// Our name on mails: the same on every attempt.
    fn domain(&self, handover: &Handover) -> String {
        let of = |address: &str| address.rsplit_once('@').map(|(_, domain)| domain.to_owned());
        let mailbox = || fact(handover, "mailspan-mailbox").and_then(|it| of(&it)).filter(|it| is_helo(it));
        let recipient = || of(self.wrapping.recipient.as_str()).unwrap_or_default();
        self.helo.clone().or_else(mailbox).unwrap_or_else(recipient)
    }

    /// Who the mail is from on its envelope. Nothing: `<>`.
    fn sender(&self, handover: &Handover, domain: &str) -> String {
        let kind = fact(handover, "mailspan-kind");
        match (Original::of(&handover.raw, kind.as_deref()), &self.bounce_address) {
            (Original::Null, _) => String::new(),
            (Original::Address(_), Some(bounce)) => bounce.to_string(),
            (Original::Address(address), None) => {
                self.rewriter.rewrite(&address, domain, self.clock.now()).unwrap_or_default()
            }
        }
    }

    /// A connection of an earlier mail that is still good.
    async fn kept(&self, until: Instant) -> Option<Session> {
        loop {
            let (mut session, since) = self.idle().pop()?;
            if since.elapsed() >= IDLE_FOR {
                session.quit().await;
                continue;
            }
            session.use_until(until);
            if session.reset().await.is_ok() {
                return Some(session);
            }
            // Where one is gone the others most likely are: not each of them costs the attempt its time.
            self.idle().clear();
        }
    }

    fn keep(&self, session: Session, sent: Result<(), Trouble>) -> Result<(), Trouble> {
        if sent.as_ref().err().is_none_or(Trouble::leaves_the_connection) {
            let mut idle = self.idle();
            if idle.len() < IDLE_AT_MOST {
                idle.push((session, Instant::now()));
            }
        }
        sent
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Session, Instant)>> {
        // A list of connections cannot be left half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection, encrypted and logged in as configured.
    async fn connected(&self, until: Instant) -> Result<Session, Trouble> {
        let helo = self.helo.as_deref();
        let client = self.client.as_ref().map(|(config, name)| (config, name));
        let at_once = client.filter(|_| self.tls == Tls::Implicit);
        let mut session = Session::open((&self.host, self.port), at_once, until).await?;
        session.hello(helo).await?;
        if let Some((config, name)) = client.filter(|_| self.tls != Tls::Implicit) {
            if session.offers.start_tls {
                session = session.start_tls(config, name).await?;
                session.hello(helo).await?;
            } else if self.tls == Tls::Starttls {
                return Err(Trouble::NoStartTls);
            }
        }
        if let Some((user, password)) = &self.login {
            if !self.tls.is_verified() && !self.allow_insecure_login {
                return Err(Trouble::LoginInTheClear);
            }
            // Read for every connection, so that a new password needs no restart.
            let password = password.current().map_err(Trouble::Password)?;
            session.login(user, &password).await?;
        }
        Ok(session)
    }
}

impl Destination for Smtp {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { self.send(handover).await.map_err(Failure::from) })
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Whether this can be said in EHLO.
pub fn is_helo(name: &str) -> bool {
    let is_label = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    name.len() <= 253 && name.split('.').all(is_label)
}

fn login(config: &Config) -> Result<Option<(String, SecretSource)>, BuildError> {
    let source = SecretSource::from_pair(config.password.as_ref(), config.password_file.as_ref());
    let has_one = config.password.is_some() || config.password_file.is_some();
    match (&config.username, source) {
        (None, _) if has_one => Err(BuildError::new("username", "is missing; the password is of no use without it")),
        (None, _) => Ok(None),
        (Some(_), None) => Err(BuildError::new("password", "set it or password_file, one of the two")),
        (Some(user), Some(source)) => Ok(Some((user.clone(), source))),
    }
}

/// Without a secret that anybody shares, senders are still signed, by a key nobody has.
fn rewriter(config: &Config) -> Result<Rewriter, BuildError> {
    if let (Some(_), Some(_)) = (&config.srs_secret, &config.srs_secret_file) {
        return Err(BuildError::new("srs_secret", "is set together with srs_secret_file; keep one of them"));
    }
    match SecretSource::from_pair(config.srs_secret.as_ref(), config.srs_secret_file.as_ref()) {
        Some(source) => {
            let secret = source.current().map_err(|problem| BuildError::new("srs_secret_file", problem))?;
            Ok(Rewriter::new(secret.expose().as_bytes()))
        }
        None => {
            let mut key = [0; OWN_KEY];
            aws_lc_rs::rand::fill(&mut key)
                .map_err(|_| BuildError::new("srs_secret", "set it: the system has no random bytes"))?;
            Ok(Rewriter::new(&key))
        }
    }
}

fn default_port() -> u16 {
    25
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(2 * 60))
}
