//! A stream of NATS JetStream: accepted is the server's acknowledgement that the stream holds the message.
//!
//! The interaction's id is the message's id, so the stream drops what it already has. One connection is kept; after any
//! trouble but a refusal it is made anew, with the credentials as they are then.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::body::{Content, Format};
use super::{BuildError, Destination, Handover, carried};
use crate::egress::{Egress, causes};
use crate::model::outcome::Failure;
use crate::model::secret::Secret;
use crate::model::token::BoxFuture;
use crate::model::units::{Size, Span};
use crate::secrets::SecretSource;

/// A stream's own limit on the size of a message (nats-server, `JSStreamMessageExceedsMaximumErr`).
const MESSAGE_EXCEEDS_MAXIMUM: ErrorCode = ErrorCode(10054);
/// Reconnecting behind our back would use old credentials: once the client is on its own, it is done after this many.
const RECONNECTS: usize = 1;

/// `[routes.destination] kind = "nats"`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The server, or any of its cluster: `nats://host:4222`; `tls://` insists on encryption.
    pub url: Url,
    /// The subject messages are published to.
    pub subject: String,
    /// The stream that must hold the subject; left out: whichever does.
    pub stream: Option<String>,
    /// The file with a user's JWT and key (`.creds`).
    pub credentials_file: Option<PathBuf>,
    /// The user to log in as, where the server knows passwords.
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
            .field("subject", &self.subject)
            .field("stream", &self.stream)
            .field("credentials_file", &self.credentials_file)
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
        if !matches!(self.url.scheme(), "nats" | "tls") || self.url.host_str().is_none_or(str::is_empty) {
            return Err(BuildError::new("url", "must be nats://host:4222, or tls://host:4222 to insist on encryption"));
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return Err(BuildError::new("url", "must not carry a user name or password; write username and password"));
        }
        if !is_subject(&self.subject) {
            let says = "must be words with dots between them, as in mail.support, without wildcards";
            return Err(BuildError::new("subject", says));
        }
        if self.stream.as_ref().is_some_and(|it| it.is_empty() || it.contains(is_no_name)) {
            return Err(BuildError::new("stream", "must be the name of a stream"));
        }
        let has_password = self.password.is_some() || self.password_file.is_some();
        if self.username.is_none() && has_password {
            return Err(BuildError::new("username", "is missing; the password is of no use without it"));
        }
        if self.username.is_some() && self.credentials_file.is_some() {
            return Err(BuildError::new("username", "is set beside credentials_file; keep one of the two"));
        }
        if self.timeout.0.is_zero() {
            return Err(BuildError::new("timeout", "must be longer than 0s"));
        }
        Ok(())
    }

    fn login(&self) -> Result<Login, BuildError> {
        let password = SecretSource::from_pair(self.password.as_ref(), self.password_file.as_ref());
        Ok(match (&self.credentials_file, &self.username, password) {
            (Some(file), ..) => Login::Credentials(SecretSource::File(file.clone())),
            (None, Some(user), Some(password)) => Login::Password(user.clone(), password),
            (None, Some(_), None) => {
                return Err(BuildError::new("password", "set it or password_file, one of the two"));
            }
            (None, None, _) => Login::Nobody,
        })
    }
}

enum Login {
    Nobody,
    Credentials(SecretSource),
    Password(String, SecretSource),
}

/// A subject of a stream, ready to be published to.
pub struct Nats {
    config: Config,
    login: Login,
    egress: Egress,
    connected: Mutex<Option<Client>>,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A hand-over that did not succeed, and whether the connection is still of use.
struct Trouble {
    failure: Failure,
    is_refusal: bool,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, is_refusal: true }
    }
}

impl Nats {
    /// A subject as configured. Nothing is connected yet.
    ///
    /// # Errors
    /// A key is missing or of no use; the message names the key and says what to do.
    pub fn new(config: &Config, egress: &Egress) -> Result<Self, BuildError> {
        config.check()?;
        egress.tls().map_err(|error| BuildError::new("url", error))?;
        let login = config.login()?;
        Ok(Self { login, config: config.clone(), egress: egress.clone(), connected: Mutex::default() })
    }

    async fn send(&self, handover: &Handover) -> Result<(), Failure> {
        let until = Instant::now() + self.config.timeout.0;
        let late = || Failure::transient(format_args!("no acknowledgement within {}", self.config.timeout));
        let client = timeout_at(until, self.client()).await.map_err(|_| late())??;
        let sent = timeout_at(until, Box::pin(self.publish(&client, handover))).await;
        let sent = sent.unwrap_or_else(|_| Err(Trouble { failure: late(), is_refusal: false }));
        match sent {
            Ok(()) => Ok(()),
            Err(trouble) => {
                if !trouble.is_refusal {
                    // Whoever waits for the lock makes a new one; those that have this one find out by themselves.
                    self.connected.lock().await.take();
                }
                Err(trouble.failure)
            }
        }
    }

    async fn publish(&self, client: &Client, handover: &Handover) -> Result<(), Trouble> {
        let mut headers = HeaderMap::new();
        let unsendable = |_| Failure::permanent("a fact of the interaction cannot be sent as a header field");
        for (name, value) in carried::fields(handover)? {
            headers.insert(name.as_ref(), value.parse::<HeaderValue>().map_err(unsendable)?);
        }
        headers.insert("content-type", handover.content_type);
        headers.insert("Nats-Msg-Id", handover.interaction.as_str());
        if let Some(stream) = &self.config.stream {
            headers.insert("Nats-Expected-Stream", stream.as_str());
        }
        let mut context: Context = jetstream::new(client.clone());
        // The attempt has its own end, which comes first.
        context.set_timeout(self.config.timeout.0 * 2);
        let subject = self.config.subject.clone();
        let asked = context.publish_with_headers(subject, headers, handover.body.clone()).await;
        // An acknowledgement that says `duplicate` is one: the stream holds the message.
        asked.map_err(|error| verdict(&error))?.await.map(drop).map_err(|error| verdict(&error))
    }

    async fn client(&self) -> Result<Client, Failure> {
        let mut connected = self.connected.lock().await;
        if let Some(client) = connected.as_ref()
            && client.connection_state() == async_nats::connection::State::Connected
        {
            return Ok(client.clone());
        }
        *connected = None;
        let client = Box::pin(self.connect()).await?;
        *connected = Some(client.clone());
        Ok(client)
    }

    async fn connect(&self) -> Result<Client, Failure> {
        let unread = |problem| Failure::transient(format_args!("the login cannot be read: {problem}"));
        let options = match &self.login {
            Login::Nobody => ConnectOptions::new(),
            Login::Credentials(file) => {
                let text = file.current().map_err(unread)?;
                ConnectOptions::with_credentials(text.expose())
                    .map_err(|_| unread("credentials_file holds no JWT and key of a user (.creds)".into()))?
            }
            Login::Password(user, password) => {
                let password = password.current().map_err(unread)?;
                ConnectOptions::with_user_and_password(user.clone(), password.expose().to_owned())
            }
        };
        let tls = self.egress.tls().map_err(Failure::transient)?;
        let options = options
            .name("mailspan")
            .tls_client_config(tls)
            .require_tls(self.config.url.scheme() == "tls")
            .connection_timeout(self.config.timeout.0)
            .max_reconnects(RECONNECTS)
            .event_callback(|_| std::future::ready(()));
        options.connect(self.config.url.as_str()).await.map_err(|error| {
            Failure::transient(match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    "the NATS server refused the login; check credentials_file, or username and password".to_owned()
                }
                ConnectErrorKind::TimedOut => "the NATS server did not answer in time".to_owned(),
                _ => format!("no connection to the NATS server: {}", causes(&error)),
            })
        })
    }
}

impl Destination for Nats {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.send(handover))
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.0
    }
}

/// The one place where a refusal by NATS becomes a decision. What a person can put right on the server waits for them:
/// a stream that is missing, full or another one.
fn verdict(error: &PublishError) -> Trouble {
    match error.kind() {
        PublishErrorKind::StreamNotFound => {
            Failure::transient("no stream holds the subject; create one, or correct subject").into()
        }
        PublishErrorKind::MaxPayloadExceeded => Failure::permanent(
            "the interaction is larger than the server's max_payload; raise it there, or write content = \"link\"",
        )
        .into(),
        _ => match refusal(error) {
            Some(refused) if refused.error_code() == MESSAGE_EXCEEDS_MAXIMUM => Failure::permanent(
                "the interaction is larger than the stream's messages may be; raise its max_msg_size, or write \
                 content = \"link\"",
            )
            .into(),
            Some(refused) => {
                let code = refused.error_code().0;
                Failure::transient(format_args!("the stream refused the message: {} ({code})", words(refused))).into()
            }
            None => {
                let failure = Failure::transient(format_args!("no acknowledgement: {}", causes(error)));
                Trouble { failure, is_refusal: false }
            }
        },
    }
}

fn refusal(error: &PublishError) -> Option<&jetstream::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// What the codes mean that people meet.
fn words(refused: &jetstream::Error) -> &'static str {
    match refused.error_code() {
        ErrorCode::STREAM_STORE_FAILED => "it is full",
        ErrorCode::STREAM_NOT_MATCH => "another stream holds the subject; correct stream or subject",
        ErrorCode::INSUFFICIENT_RESOURCES | ErrorCode::STORAGE_RESOURCES_EXCEEDED => "the server has no room",
        _ => "look the code up in the server's log",
    }
}

/// Words with dots between them, and none of the characters that mean something else.
fn is_subject(subject: &str) -> bool {
    subject.split('.').all(|word| !word.is_empty() && !word.contains(is_no_name))
}

fn is_no_name(character: char) -> bool {
    character.is_whitespace() || character.is_control() || matches!(character, '*' | '>' | '.' | '/' | '\\')
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_place() {
        for (subject, one) in [
            ("mail", true),
            ("mail.support-1.in", true),
            ("", false),
            ("mail.*", false),
            (">", false),
            ("a..b", false),
            ("a b", false),
        ] {
            assert_eq!(is_subject(subject), one, "{subject}");
        }
    }
}
