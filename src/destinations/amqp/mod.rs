//! An exchange of an AMQP 0-9-1 broker: accepted is the broker's confirmation of a message that some queue took.
//!
//! Brokers drop no repeated message, so consumers do, by its `message_id`: the interaction's id. Connections are kept
//! between messages, and given up after any trouble.

mod frame;
mod session;
mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use url::Url;

use self::frame::{Field, Properties};
use self::session::{Message, Session};
use self::verdict::Trouble;
use super::body::{Content, Format};
use super::connection::{self, Kept};
use super::{BuildError, Destination, Handover, carried};
use crate::egress::Egress;
use crate::model::outcome::Failure;
use crate::model::secret::Secret;
use crate::model::token::BoxFuture;
use crate::model::units::{Size, Span};
use crate::secrets::SecretSource;

/// What every one of our messages is.
const TYPE: &str = "interaction.email.received";
/// What fits into a short string.
const LONGEST_NAME: usize = 255;
/// Who brokers let in from their own machine, unless told otherwise.
const GUEST: &str = "guest";

/// `[routes.destination] kind = "amqp"`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker: `amqps://host:5671/virtual-host`, or `amqp://` without encryption. Without a path: `/`.
    pub url: Url,
    /// The exchange messages are published to; left out: the default one, whose routing keys are names of queues.
    #[serde(default)]
    pub exchange: String,
    /// The routing key of every message.
    pub routing_key: String,
    /// The user to log in as; left out: guest.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The file that holds it.
    pub password_file: Option<PathBuf>,
    /// What the body is.
    #[serde(default)]
    pub format: Format,
    /// How attachments travel.
    #[serde(default)]
    pub content: Content,
    /// Attachments larger than this are left out of the body and say so.
    #[serde(default = "super::body::default_inline_limit")]
    pub inline_limit: Size,
    /// The longest an attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

/// A URL can hold a password; a user's name stays out of it.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.url.host_str())
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("logs_in", &self.username.is_some())
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .field("format", &self.format)
            .field("content", &self.content)
            .field("inline_limit", &self.inline_limit)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Config {
    /// What cannot be used together or at all.
    ///
    /// # Errors
    /// The key, and what to do.
    pub fn check(&self) -> Result<(), BuildError> {
        if !matches!(self.url.scheme(), "amqp" | "amqps") || self.url.host_str().is_none_or(str::is_empty) {
            let says = "must be amqps://host:5671/virtual-host, or amqp:// without encryption";
            return Err(BuildError::new("url", says));
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return Err(BuildError::new("url", "must not carry a user name or password; write username and password"));
        }
        if self.url.query().is_some() || self.url.fragment().is_some() {
            return Err(BuildError::new("url", "must be scheme, host and virtual host only"));
        }
        for (key, name) in [
            ("url", self.virtual_host().as_str()),
            ("exchange", &self.exchange),
            ("routing_key", &self.routing_key),
            ("username", self.username.as_deref().unwrap_or_default()),
        ] {
            if name.len() > LONGEST_NAME || name.contains(char::is_control) {
                return Err(BuildError::new(key, format_args!("must have {LONGEST_NAME} characters at most")));
            }
        }
        if self.exchange.is_empty() && self.routing_key.is_empty() {
            return Err(BuildError::new("routing_key", "is empty; without an exchange it must be the name of a queue"));
        }
        if self.username.is_none() && (self.password.is_some() || self.password_file.is_some()) {
            return Err(BuildError::new("username", "is missing; the password is of no use without it"));
        }
        if self.timeout.0.is_zero() {
            return Err(BuildError::new("timeout", "must be longer than 0s"));
        }
        Ok(())
    }

    /// The path is the name itself (rabbitmq.com, "URI specification"); left out, it is `/`.
    fn virtual_host(&self) -> String {
        match self.url.path().strip_prefix('/') {
            None | Some("") => "/".to_owned(),
            Some(name) => percent_decode_str(name).decode_utf8_lossy().into_owned(),
        }
    }

    fn port(&self) -> u16 {
        self.url.port().unwrap_or(if self.url.scheme() == "amqps" { 5671 } else { 5672 })
    }
}

/// An exchange, ready for messages.
pub struct Amqp {
    config: Config,
    host: String,
    virtual_host: String,
    user: String,
    password: SecretSource,
    tls: Option<Arc<ClientConfig>>,
    kept: Kept<Session>,
}

impl std::fmt::Debug for Amqp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Amqp").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Amqp {
    /// An exchange as configured. Nothing is connected yet.
    ///
    /// # Errors
    /// A key is missing or of no use; the message names the key and says what to do.
    pub fn new(config: &Config, egress: &Egress) -> Result<Self, BuildError> {
        config.check()?;
        let password = SecretSource::from_pair(config.password.as_ref(), config.password_file.as_ref());
        let (user, password) = match (&config.username, password) {
            (Some(user), Some(password)) => (user.clone(), password),
            (None, _) => (GUEST.to_owned(), SecretSource::Inline(Secret::new(GUEST))),
            (Some(_), None) => return Err(BuildError::new("password", "set it or password_file, one of the two")),
        };
        let tls = match config.url.scheme() {
            "amqps" => Some(Arc::new(egress.tls().map_err(|error| BuildError::new("url", error))?)),
            _ => None,
        };
        let host = config.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let virtual_host = config.virtual_host();
        Ok(Self { config: config.clone(), host, virtual_host, user, password, tls, kept: Kept::default() })
    }

    async fn send(&self, handover: &Handover) -> Result<(), Failure> {
        let until = Instant::now() + self.config.timeout.0;
        let message = self.message(handover)?;
        match timeout_at(until, Box::pin(self.publish(&message))).await {
            Ok(sent) => sent.map_err(Failure::from),
            Err(_) => {
                self.kept.clear();
                Err(Failure::transient(format_args!("no confirmation within {}", self.config.timeout)))
            }
        }
    }

    async fn publish(&self, message: &Message<'_>) -> Result<(), Trouble> {
        let mut session = match self.kept() {
            Some(session) => session,
            None => self.connected().await?,
        };
        let sent = session.publish(message).await;
        if sent.as_ref().err().is_none_or(Trouble::leaves_the_connection) {
            self.kept.keep(session);
        } else {
            self.kept.clear();
        }
        sent
    }

    fn kept(&self) -> Option<Session> {
        loop {
            let mut session = self.kept.take()?;
            if session.is_quiet() {
                return Some(session);
            }
        }
    }

    async fn connected(&self) -> Result<Session, Trouble> {
        // Read for every connection, so that a new password needs no restart.
        let password = self.password.current().map_err(Trouble::Login)?;
        let line =
            connection::open((&self.host, self.config.port()), self.tls.as_ref()).await.map_err(Trouble::Lost)?;
        Session::begin(line, &self.virtual_host, (&self.user, &password)).await
    }

    fn message<'a>(&'a self, handover: &'a Handover) -> Result<Message<'a>, Failure> {
        if !is_message_id(&handover.interaction) {
            return Err(Failure::permanent("the interaction's id cannot be the id of a message"));
        }
        let fields = carried::fields(handover)?.into_iter();
        let headers = fields.map(|(name, value)| (name.into_owned(), Field::Text(value))).collect();
        let properties = Properties {
            content_type: handover.content_type.to_owned(),
            headers,
            message_id: handover.interaction.clone(),
            timestamp: u64::try_from(handover.about.received_at / 1_000).unwrap_or(0),
            kind: TYPE.to_owned(),
            app_id: "mailspan".to_owned(),
        };
        let Config { exchange, routing_key, .. } = &self.config;
        Ok(Message { exchange, routing_key, properties, body: &handover.body })
    }
}

impl Destination for Amqp {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.send(handover))
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.0
    }
}

/// Whether this fits into the field consumers know a repetition by.
fn is_message_id(id: &str) -> bool {
    (1..=LONGEST_NAME).contains(&id.len()) && id.bytes().all(|it| it.is_ascii_graphic())
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        toml::from_str(&format!("url = '{url}'\nrouting_key = 'mail'")).unwrap()
    }

    #[test]
    fn an_id_that_would_be_cut_is_none() {
        let long = "x".repeat(LONGEST_NAME + 1);
        for (id, fits) in
            [("ix_0aZ-9", true), (&long[1..], true), (&long, false), ("", false), ("a b", false), ("ü", false)]
        {
            assert_eq!(is_message_id(id), fits, "{id}");
        }
    }

    #[test]
    fn the_path_of_the_address_is_the_virtual_host() {
        for (url, host, port) in [
            ("amqp://broker", "/", 5672),
            ("amqp://broker/", "/", 5672),
            ("amqps://broker/%2F", "/", 5671),
            ("amqps://broker:1/mail%20in", "mail in", 1),
        ] {
            let config = config(url);
            assert_eq!((config.virtual_host().as_str(), config.port()), (host, port), "{url}");
            assert_eq!(config.check(), Ok(()), "{url}");
        }
        for wrong in ["http://broker", "amqp://user:hunter2@broker", "amqp://broker/?a=b", "amqp:///"] {
            let error = config(wrong).check().unwrap_err();
            assert_eq!(error.key, "url", "{wrong}");
            assert!(!error.problem.contains("hunter2"), "{error}");
        }
    }
}
