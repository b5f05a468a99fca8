//! A topic of Kafka: accepted is the leader's answer that all replicas in sync have the record.
//!
//! The key is the conversation's id, so the mails of a thread stand in one partition, one behind the other. A producer
//! is idempotent while it lives; consumers know a repetition beyond that by `mailspan-interaction-id`.

mod link;
mod login;
mod producer;
mod record;
mod verdict;
mod wire;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use self::link::Link;
pub use self::login::Mechanism;
use self::producer::Producer;
use self::record::Record;
use self::verdict::Trouble;
use super::body::{Content, Format};
use super::connection::{self, Kept};
use super::{BuildError, Destination, Handover, carried};
use crate::egress::Egress;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::secret::Secret;
use crate::model::token::BoxFuture;
use crate::model::units::{Size, Span};
use crate::secrets::SecretSource;

/// The longest name of a topic.
const LONGEST_TOPIC: usize = 249;
/// What a broker needs beyond the body: key, headers, the batch around them. Kafka counts it towards the largest message.
const DEFAULT_PORT: u16 = 9092;

/// `[routes.destination] kind = "kafka"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Brokers to begin with, as `host:port`; the others are learnt from them.
    pub brokers: Vec<String>,
    /// The topic records are written to. It is not made.
    pub topic: String,
    /// Whether connections are encrypted, and brokers' certificates verified.
    #[serde(default = "default_tls")]
    pub tls: bool,
    /// Who we are, where brokers ask.
    pub sasl: Option<Sasl>,
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

/// `[routes.destination.sasl]`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How the login is shown.
    pub mechanism: Mechanism,
    /// The user.
    pub username: String,
    /// Its password.
    pub password: Option<Secret>,
    /// The file that holds it.
    pub password_file: Option<PathBuf>,
}

/// A user's name stays out of it.
impl std::fmt::Debug for Sasl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// What cannot be used together or at all.
    ///
    /// # Errors
    /// The key, and what to do.
    pub fn check(&self) -> Result<(), BuildError> {
        let brokers: Option<Vec<_>> = self.brokers.iter().map(|it| address(it)).collect();
        let Some(brokers) = brokers.filter(|it| !it.is_empty()) else {
            return Err(BuildError::new("brokers", "must list brokers as host:port"));
        };
        let is_of_topic = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
        let is_topic = (1..=LONGEST_TOPIC).contains(&self.topic.len()) && self.topic.chars().all(is_of_topic);
        if !is_topic || matches!(self.topic.as_str(), "." | "..") {
            return Err(BuildError::new("topic", "must be letters, digits, `.`, `_` and `-`"));
        }
        if let Some(sasl) = &self.sasl {
            if sasl.username.is_empty() || sasl.username.contains(char::is_control) {
                return Err(BuildError::new("sasl", "needs the name of a user as username"));
            }
            let is_here = |(host, _): &(String, u16)| matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
            if sasl.mechanism == Mechanism::Plain && !self.tls && !brokers.iter().all(is_here) {
                let says = "must be true with sasl.mechanism = \"plain\", or the password is anybody's who listens";
                return Err(BuildError::new("tls", says));
            }
        }
        if self.timeout.0.is_zero() {
            return Err(BuildError::new("timeout", "must be longer than 0s"));
        }
        Ok(())
    }
}

/// A host and its port.
fn address(broker: &str) -> Option<(String, u16)> {
    let (host, port) = match broker.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        _ => (broker, DEFAULT_PORT),
    };
    let host = host.trim_matches(['[', ']']);
    let is_host =
        !host.is_empty() && host.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | ':' | '_'));
    (is_host && port > 0).then(|| (host.to_owned(), port))
}

/// How brokers are reached.
struct Cluster {
    brokers: Vec<(String, u16)>,
    topic: String,
    tls: Option<Arc<ClientConfig>>,
    login: Option<(Mechanism, String, SecretSource)>,
    timeout: Duration,
}

impl Cluster {
    /// A connection to the first broker that can be reached.
    async fn any(&self) -> Result<Link, Trouble> {
        let mut last = Trouble::NoKafka;
        for (host, port) in &self.brokers {
            match self.open(host, *port).await {
                Ok(link) => return Ok(link),
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }

    async fn open(&self, host: &str, port: u16) -> Result<Link, Trouble> {
        let line = connection::open((host, port), self.tls.as_ref()).await.map_err(Trouble::Lost)?;
        let mut link = Link::new(line);
        if let Some((mechanism, user, password)) = &self.login {
            // Read for every connection, so that a new password needs no restart.
            let password = password.current().map_err(Trouble::Login)?;
            link.log_in(*mechanism, user, &password).await?;
        }
        Ok(link)
    }
}

/// A topic, ready for records.
pub struct Kafka {
    config: Config,
    cluster: Cluster,
    kept: Kept<Producer>,
    clock: SharedClock,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Kafka {
    /// A topic as configured. Nothing is connected yet.
    ///
    /// # Errors
    /// A key is missing or of no use; the message names the key and says what to do.
    pub fn new(config: &Config, egress: &Egress, clock: SharedClock) -> Result<Self, BuildError> {
        config.check()?;
        let tls = match config.tls {
            true => Some(Arc::new(egress.tls().map_err(|error| BuildError::new("tls", error))?)),
            false => None,
        };
        let login = match &config.sasl {
            None => None,
            Some(sasl) => {
                let password = SecretSource::from_pair(sasl.password.as_ref(), sasl.password_file.as_ref());
                let says = "needs one of password and password_file";
                let password = password.ok_or_else(|| BuildError::new("sasl", says))?;
                Some((sasl.mechanism, sasl.username.clone(), password))
            }
        };
        let brokers = config.brokers.iter().filter_map(|it| address(it)).collect();
        let cluster = Cluster { brokers, topic: config.topic.clone(), tls, login, timeout: config.timeout.0 };
        Ok(Self { config: config.clone(), cluster, kept: Kept::default(), clock })
    }

    async fn send(&self, handover: &Handover) -> Result<(), Failure> {
        let until = Instant::now() + self.config.timeout.0;
        let record = self.record(handover)?;
        match timeout_at(until, Box::pin(self.produce(&record))).await {
            Ok(sent) => sent.map_err(Failure::from),
            Err(_) => {
                self.kept.clear();
                Err(Failure::transient(format_args!("no answer from Kafka within {}", self.config.timeout)))
            }
        }
    }

    async fn produce(&self, record: &Record<'_>) -> Result<(), Trouble> {
        let mut producer = match self.kept.take() {
            Some(producer) => producer,
            None => Producer::new(&self.cluster).await?,
        };
        producer.produce(&self.cluster, record).await?;
        self.kept.keep(producer);
        Ok(())
    }

    fn record<'a>(&self, handover: &'a Handover) -> Result<Record<'a>, Failure> {
        let mut headers = carried::fields(handover)?;
        // CloudEvents' binding for Kafka names its attributes so; a body that is one keeps its own content type.
        for (name, _) in &mut headers {
            if let Some(attribute) = name.strip_prefix("ce-") {
                *name = Cow::Owned(format!("ce_{attribute}"));
            }
        }
        headers.push(("content-type".into(), handover.content_type.to_owned()));
        let key = match handover.about.thread.as_str() {
            "" => handover.interaction.as_str(),
            thread => thread,
        };
        Ok(Record { key, value: &handover.body, headers, timestamp: self.clock.now() })
    }
}

impl Destination for Kafka {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.send(handover))
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.0
    }
}

fn default_tls() -> bool {
    true
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_hosts_and_ports() {
        for (broker, expected) in [
            ("broker:9093", Some(("broker", 9093))),
            ("broker.example", Some(("broker.example", 9092))),
            ("[::1]:9093", Some(("::1", 9093))),
            ("", None),
            (":9092", None),
            ("broker:no", None),
            ("kafka://broker:1", None),
            ("broker:0", None),
        ] {
            assert_eq!(address(broker), expected.map(|(host, port)| (host.to_owned(), port)), "{broker}");
        }
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear() {
        let config = |broker: &str, more: &str| -> Config {
            let sasl = format!("{{ mechanism = '{more}', username = 'u', password = 'p' }}");
            toml::from_str(&format!("brokers = ['{broker}']\ntopic = 'mail'\ntls = false\nsasl = {sasl}")).unwrap()
        };
        assert_eq!(config("broker:1", "plain").check().unwrap_err().key, "tls");
        assert_eq!(config("localhost:1", "plain").check(), Ok(()));
        assert_eq!(config("broker:1", "scram-sha-512").check(), Ok(()));
    }
}
