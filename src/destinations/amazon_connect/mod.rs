//! Amazon Connect: one e-mail contact per mail (`StartEmailContact`), related to the contact before it in its thread.
//!
//! The interaction's id is the ClientToken, so a repeated call makes no second contact. Attachments go by link.

mod credentials;
mod request;
mod signature;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use url::Url;

use self::credentials::{Chain, Own};
use super::interaction::Interaction;
use super::{Begun, BuildError, Conversations, Destination, Handover, Untaken};
use crate::egress::{Egress, causes};
use crate::model::answer::Answer;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::reason::Code;
use crate::model::retry_after;
use crate::model::secret::Secret;
use crate::model::token::BoxFuture;
use crate::model::units::Span;
use crate::secrets::SecretSource;

/// An answer names a contact or an error.
const ANSWER_LIMIT: usize = 64 << 10;
const JSON: &str = "application/json";

/// `[routes.destination] kind = "amazon_connect"`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The AWS region of the instance.
    pub region: String,
    /// Where calls go instead of the region's endpoint.
    pub endpoint_url: Option<Url>,
    /// The instance.
    pub instance_id: String,
    /// The instance's own e-mail address the contacts are written to.
    pub address: String,
    /// The flow that takes the contacts, instead of the address's own.
    pub contact_flow_id: Option<String>,
    /// The id of the access key; without it the environment's and the shared file's are looked for.
    pub access_key_id: Option<String>,
    /// The access key.
    pub secret_access_key: Option<Secret>,
    /// The file that holds it.
    pub secret_access_key_file: Option<PathBuf>,
    /// Attributes of your own, on every contact.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Mail with more attachments is parked.
    #[serde(default = "default_max_attachments")]
    pub max_attachments: u16,
    /// The longest an attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

/// A URL can hold a password; a secret shows itself as one.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("region", &self.region)
            .field("endpoint_url", &self.endpoint_url.as_ref().map(|it| it.origin().ascii_serialization()))
            .field("instance_id", &self.instance_id)
            .field("contact_flow_id", &self.contact_flow_id)
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &self.secret_access_key)
            .field("secret_access_key_file", &self.secret_access_key_file)
            .field("max_attachments", &self.max_attachments)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Where calls go.
    ///
    /// # Errors
    /// The key that is of no use, and what to do.
    pub fn url(&self) -> Result<Url, BuildError> {
        let is_region = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
        if self.region.is_empty() || !self.region.chars().all(is_region) {
            return Err(BuildError::new("region", "must be an AWS region, as in eu-central-1"));
        }
        if let Some(url) = &self.endpoint_url {
            return Ok(url.clone());
        }
        let domain = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Url::parse(&format!("https://connect.{}.{domain}/", self.region))
            .map_err(|error| BuildError::new("region", format!("makes no address: {error}")))
    }
}

/// E-mail contacts of one instance.
pub struct AmazonConnect {
    config: Config,
    client: reqwest::Client,
    url: Url,
    chain: Chain,
    clock: SharedClock,
}

impl std::fmt::Debug for AmazonConnect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmazonConnect").field("config", &self.config).finish_non_exhaustive()
    }
}

impl AmazonConnect {
    /// As configured, with a client of its own.
    ///
    /// # Errors
    /// A key is missing or of no use; the message names the key and says what to do.
    pub fn new(config: &Config, egress: &Egress, clock: SharedClock) -> Result<Self, BuildError> {
        if config.timeout.0.is_zero() {
            return Err(BuildError::new("timeout", "must be longer than 0s"));
        }
        let secret = SecretSource::from_pair(config.secret_access_key.as_ref(), config.secret_access_key_file.as_ref());
        let chain = match (&config.access_key_id, secret) {
            (Some(id), Some(secret)) => Chain::Configured { access_key_id: id.clone(), secret },
            (None, None) if config.secret_access_key.is_none() => Chain::Surroundings,
            _ => {
                let says = "needs one of secret_access_key and secret_access_key_file beside it, and they need it";
                return Err(BuildError::new("access_key_id", says));
            }
        };
        let mut url = config.url()?;
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(["contact", "email"]);
        }
        let client = egress.client().and_then(|it| egress.finish(it));
        let client = client.map_err(|error| BuildError::new("endpoint_url", error))?;
        Ok(Self { config: config.clone(), client, url, chain, clock })
    }

    async fn start(
        &self,
        handover: &Handover,
        related: Option<&str>,
        until: Instant,
    ) -> Result<Option<String>, Untaken> {
        let refused = Untaken::Refused;
        let interaction = Interaction::read(&handover.body).map_err(refused)?;
        let contact = request::contact(&self.config, &interaction, related).map_err(refused)?;
        let body = serde_json::to_vec(&contact).map(Bytes::from);
        let body = body.map_err(|_| {
            refused(Failure::permanent("the interaction cannot be written as JSON").coded(Code::Unsendable))
        })?;
        let request = self.signed(body).map_err(refused)?;
        let answer = match timeout_at(until, self.client.execute(request)).await {
            Err(_) => {
                let late = Failure::transient("Amazon Connect did not answer in time");
                return Err(Untaken::Unknown(late.coded(Code::TimedOut)));
            }
            Ok(Err(error)) => return Err(unreached(&error)),
            Ok(Ok(answer)) => answer,
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = timeout_at(until, read_to_limit(answer)).await.unwrap_or_default();
        verdict(status, &headers, &body, self.clock.now())
    }

    fn signed(&self, body: Bytes) -> Result<reqwest::Request, Failure> {
        let credentials = self.chain.current(&Own);
        let credentials = credentials.map_err(|problem| {
            Failure::transient(format_args!("the call cannot be signed: {problem}")).coded(Code::Misconfigured)
        })?;
        let by = (self.config.region.as_str(), &credentials);
        let signed = signature::sign("PUT", &self.url, &body, JSON, by, self.clock.now());
        let mut request = self.client.put(self.url.clone()).header(header::CONTENT_TYPE, JSON);
        request = request.header("x-amz-date", signed.date).header(header::AUTHORIZATION, signed.authorization);
        if let Some(token) = &credentials.session_token {
            request = request.header("x-amz-security-token", token.expose());
        }
        request.body(body).build().map_err(|_| {
            Failure::transient("the call cannot be written: check the access key").coded(Code::Misconfigured)
        })
    }
}

impl Destination for AmazonConnect {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let until = Instant::now() + self.config.timeout.0;
            self.start(handover, None, until).await.map(drop).map_err(Untaken::failure)
        })
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.0
    }

    fn conversations(&self) -> Option<&dyn Conversations> {
        Some(self)
    }
}

impl Conversations for AmazonConnect {
    fn hand_over<'a>(
        &'a self,
        handover: &'a Handover,
        conversation: Option<&'a str>,
        until: Instant,
    ) -> BoxFuture<'a, Result<Option<String>, Untaken>> {
        Box::pin(self.start(handover, conversation, until))
    }

    /// There is nothing to look for: the same call again is the same contact.
    fn find<'a>(&'a self, _begun: Begun<'a>, _until: Instant) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn shows_after(&self) -> Duration {
        Duration::ZERO
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Started {
    contact_id: String,
}

/// The one place where an answer of Amazon Connect becomes a decision.
fn verdict(status: StatusCode, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Option<String>, Untaken> {
    if status.is_success() {
        let started = serde_json::from_slice::<Started>(body).map(|it| it.contact_id);
        return match started {
            Ok(id) if !id.is_empty() => Ok(Some(id)),
            _ => Err(Untaken::Unknown(
                Failure::transient("Amazon Connect answered and named no contact").coded(Code::BadAnswer),
            )),
        };
    }
    let kind = error_kind(headers);
    let asked = headers.get(header::RETRY_AFTER).and_then(|it| it.to_str().ok());
    let after = asked.and_then(|it| retry_after::parse(it, now, retry_after::DAY));
    let says = |more: &str| match &kind {
        Some(kind) => format!("Amazon Connect answered {status} ({kind}){more}"),
        None => format!("Amazon Connect answered {status}{more}"),
    };
    let code = match kind.as_deref() {
        Some("ThrottlingException" | "ServiceQuotaExceededException") => Code::Throttled,
        _ => Code::of_status(status.as_u16()),
    };
    let said = |failure: Failure| failure.coded(code).answered(Answer::new(status, body));
    let transient = |more: &str| said(Failure::Transient { reason: says(more).into(), after });
    Err(match (kind.as_deref(), status) {
        // This token was taken before, with links or a related contact that have changed since.
        (Some("IdempotencyException"), _) => return Ok(None),
        (_, it) if it.is_server_error() || it == StatusCode::REQUEST_TIMEOUT => Untaken::Unknown(transient("")),
        (_, StatusCode::TOO_MANY_REQUESTS) | (Some("ThrottlingException" | "ServiceQuotaExceededException"), _) => {
            Untaken::Refused(transient(""))
        }
        // Keys, clocks and policies: a person can put them right, and mail is no worse for waiting.
        (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Untaken::Refused(transient(
            "; check the access key, its policy (connect:StartEmailContact) and this machine's clock",
        )),
        (_, it) if it.is_redirection() => Untaken::Refused(transient("; redirects are not followed")),
        _ => Untaken::Refused(said(Failure::permanent(says("; check instance_id, address and contact_flow_id")))),
    })
}

/// The name of an error, which stands before a `:` and an address of documentation.
fn error_kind(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-amzn-errortype")?.to_str().ok()?;
    let name = text.split(':').next()?.rsplit('#').next()?;
    let is_name = (1..=64).contains(&name.len()) && name.chars().all(|it| it.is_ascii_alphanumeric());
    is_name.then(|| name.to_owned())
}

fn unreached(error: &reqwest::Error) -> Untaken {
    if error.is_connect() {
        let failure = Failure::transient(format_args!("no connection to Amazon Connect: {}", causes(error)));
        return Untaken::Refused(failure.coded(Code::Unreachable));
    }
    let failure = Failure::transient(format_args!("no answer from Amazon Connect: {}", causes(error)));
    Untaken::Unknown(failure.coded(Code::Unreachable))
}

async fn read_to_limit(mut answer: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    body
}

fn default_max_attachments() -> u16 {
    50
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}
