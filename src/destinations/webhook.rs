//! A signed webhook (Standard Webhooks 1.0): accepted is 2xx and nothing else.
//!
//! Whatever else a receiver answers may be put right by a person, so the retry schedule decides when to give up;
//! only 410 says at once that nobody is there. The body is never touched: the same bytes on every attempt.

pub mod signature;

use std::path::PathBuf;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use url::Host;

use self::signature::Signer;
use super::body::{Content, Format};
use super::{BuildError, Destination, Handover};
use crate::egress::private_networks::{PrivateOnly, is_private};
use crate::egress::{Egress, causes};
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::retry_after;
use crate::model::secret::Secret;
use crate::model::token::BoxFuture;
use crate::model::units::{Size, Span};
use crate::secrets::SecretSource;

/// Some servers drop an idle connection after 5 s (Node's default), and a request sent into that is a wasted attempt.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// An answer is read this far and this long, so that its connection can be used again; beyond it is cut.
const ANSWER_LIMIT: usize = 64 << 10;
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Old and new while rotating; more would only make every attempt longer.
const MOST_SECRETS: usize = 2;

/// One or several of something, written as a value or as a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(it) => std::slice::from_ref(it),
            Self::Many(list) => list,
        }
    }
}

/// `[routes.destination] kind = "webhook"`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where interactions are posted.
    pub url: url::Url,
    /// The signing secret (`whsec_…`), or two while rotating.
    pub signing_secret: Option<OneOrMany<Secret>>,
    /// The file that holds it, or two files while rotating.
    pub signing_secret_file: Option<OneOrMany<PathBuf>>,
    /// What the body is.
    #[serde(default)]
    pub format: Format,
    /// How attachments travel.
    #[serde(default)]
    pub content: Content,
    /// Attachments larger than this are left out of the body and say so.
    #[serde(default = "default_inline_limit")]
    pub inline_limit: Size,
    /// The longest an attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Whether the URL may lead to a private, loopback or link-local address. Names are judged by what they resolve
    /// to, at every connection; behind a proxy it is the proxy that resolves them, and its rules apply.
    #[serde(default)]
    pub allow_private_networks: bool,
}

/// A webhook's address can hold a password or a token.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.url.origin().ascii_serialization())
            .field("signing_secret", &self.signing_secret)
            .field("signing_secret_file", &self.signing_secret_file)
            .field("format", &self.format)
            .field("content", &self.content)
            .field("inline_limit", &self.inline_limit)
            .field("timeout", &self.timeout)
            .field("allow_private_networks", &self.allow_private_networks)
            .finish()
    }
}

/// A webhook, ready to post to.
pub struct Webhook {
    url: url::Url,
    client: reqwest::Client,
    signer: Signer,
    clock: SharedClock,
    timeout: Duration,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.url.origin().ascii_serialization())
            .field("signer", &self.signer)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// A webhook as configured, with a client of its own that lives as long as it does.
    ///
    /// # Errors
    /// A key is missing or of no use; the message names the key and says what to do.
    pub fn new(config: &Config, egress: &Egress, clock: SharedClock) -> Result<Self, BuildError> {
        check_url(config)?;
        if config.timeout.0.is_zero() {
            return Err(BuildError::new("timeout", "must be longer than 0s"));
        }
        let (key, sources) = secrets(config)?;
        let signer = Signer::new(sources, clock.now()).map_err(|problem| BuildError::new(key, problem))?;
        Ok(Self {
            url: config.url.clone(),
            client: client(config, egress).map_err(|error| BuildError::new("url", error))?,
            signer,
            clock,
            timeout: config.timeout.0,
        })
    }

    async fn post(&self, handover: &Handover) -> Result<(), Failure> {
        let until = Instant::now() + self.timeout;
        let request = self.request(handover)?;
        let answer = match timeout_at(until, self.client.execute(request)).await {
            Err(_) => return Err(Failure::transient(format_args!("no answer within {}", Span(self.timeout)))),
            Ok(Err(error)) => return Err(unreached(&error)),
            Ok(Ok(answer)) => answer,
        };
        let verdict = verdict(answer.status(), answer.headers(), self.clock.now());
        // The status is the answer. The rest is read for the connection's sake only, so its end decides nothing.
        let _ = timeout_at(until.min(Instant::now() + ANSWER_WITHIN), read_to_limit(answer)).await;
        verdict
    }

    fn request(&self, handover: &Handover) -> Result<reqwest::Request, Failure> {
        let mut request = reqwest::Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        for (name, text) in &handover.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable("a header's name"))?;
            headers.insert(name, value(text, "a header's value")?);
        }
        let now = self.clock.now();
        let timestamp = now.div_euclid(1_000);
        // The receiver splits `id.timestamp.body` at dots, so an id with one could be read as another.
        if handover.interaction.is_empty() || handover.interaction.contains('.') {
            return Err(unsendable("the interaction's id"));
        }
        // The files were good at the start: one that is not any more is being replaced, which heals without a restart.
        let signature = self
            .signer
            .sign(&handover.interaction, timestamp, &handover.body, now)
            .map_err(|problem| Failure::transient(format_args!("the attempt cannot be signed: {problem}")))?;
        headers.insert("webhook-id", value(&handover.interaction, "the interaction's id")?);
        headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
        headers.insert("webhook-signature", value(&signature, "the signature")?);
        headers.insert("mailspan-attempt", HeaderValue::from(handover.attempt));
        headers.insert(CONTENT_TYPE, value(handover.content_type, "the content type")?);
        *request.body_mut() = Some(handover.body.clone().into());
        Ok(request)
    }
}

impl Destination for Webhook {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.post(handover))
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn check_url(config: &Config) -> Result<(), BuildError> {
    if !matches!(config.url.scheme(), "http" | "https") {
        return Err(BuildError::new("url", "must begin with https:// or http://"));
    }
    let address = match config.url.host() {
        Some(Host::Ipv4(it)) => Some(it.into()),
        Some(Host::Ipv6(it)) => Some(it.into()),
        _ => None,
    };
    match address {
        Some(it) if is_private(it) && !config.allow_private_networks => Err(BuildError::new(
            "url",
            "leads to a private address; set allow_private_networks = true if that is meant",
        )),
        _ => Ok(()),
    }
}

/// The secrets in the order of the configuration, and the key that names them. Unsigned is not an option.
fn secrets(config: &Config) -> Result<(&'static str, Vec<SecretSource>), BuildError> {
    let (key, sources): (_, Vec<_>) = match (&config.signing_secret, &config.signing_secret_file) {
        (Some(secrets), None) => {
            ("signing_secret", secrets.as_slice().iter().cloned().map(SecretSource::Inline).collect())
        }
        (None, Some(files)) => {
            ("signing_secret_file", files.as_slice().iter().cloned().map(SecretSource::File).collect())
        }
        (None, None) => {
            return Err(BuildError::new(
                "signing_secret",
                "is missing; set it to whsec_ and the base64 of 24 to 64 random bytes, or name its file as \
                 signing_secret_file",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(BuildError::new(
                "signing_secret",
                "is set together with signing_secret_file; keep one of them",
            ));
        }
    };
    match sources.len() {
        1..=MOST_SECRETS => Ok((key, sources)),
        _ => Err(BuildError::new(key, "takes one secret, or two while rotating")),
    }
}

fn client(config: &Config, egress: &Egress) -> Result<reqwest::Client, crate::egress::EgressError> {
    // An answer is only counted, never read, so it need not come compressed.
    let mut builder = egress.client()?.no_gzip().pool_idle_timeout(IDLE_FOR);
    if !config.allow_private_networks {
        builder = builder.dns_resolver(egress.public_only());
    }
    egress.finish(builder)
}

fn value(text: &str, what: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| unsendable(what))
}

/// What HTTP cannot carry today it cannot carry tomorrow.
fn unsendable(what: &str) -> Failure {
    Failure::permanent(format_args!("{what} cannot be sent as an HTTP header"))
}

/// The one place where a receiver's answer becomes a decision.
fn verdict(status: StatusCode, headers: &HeaderMap, now: i64) -> Result<(), Failure> {
    let asked = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = asked.and_then(|value| retry_after::parse(value, now, retry_after::DAY));
    match status {
        it if it.is_success() => Ok(()),
        StatusCode::GONE => Err(Failure::Gone {
            reason: "the receiver answered 410 Gone: it wants no more; correct the route's url".into(),
        }),
        it if it.is_redirection() => Err(Failure::Transient {
            reason: format!("the receiver answered {it}; redirects are not followed, so set url to the final address"),
            after,
        }),
        it => Err(Failure::Transient { reason: format!("the receiver answered {it}"), after }),
    }
}

/// The one place where silence becomes a decision: it may be over by the next attempt.
fn unreached(error: &reqwest::Error) -> Failure {
    if is_private_only(error) {
        return Failure::transient(
            "the url's name resolves to private addresses only; set allow_private_networks = true if that is meant",
        );
    }
    let stage = if error.is_connect() { "no connection" } else { "no answer" };
    Failure::transient(format_args!("{stage}: {}", causes(error)))
}

fn is_private_only(error: &reqwest::Error) -> bool {
    std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source()).any(|it| it.is::<PrivateOnly>())
}

async fn read_to_limit(mut answer: reqwest::Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read > ANSWER_LIMIT {
            return;
        }
    }
}

fn default_inline_limit() -> Size {
    Size(1 << 20)
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}
