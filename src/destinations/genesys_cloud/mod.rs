//! Genesys Cloud: one external e-mail conversation per thread, made and continued through its API.
//!
//! Genesys routes a token with addresses, subject, texts and attributes; the mail itself is behind the link in them. Its
//! calls know no repeated id, so a call without an answer is looked for by its attribute before it is made again.

mod call;
mod pace;
mod request;
mod search;
mod token;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use self::call::{Api, Unanswered};
use super::interaction::Interaction;
use super::{Begun, BuildError, Conversations, Destination, Handover, Untaken};
use crate::egress::Egress;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::reason::{Code, Reason};
use crate::model::secret::Secret;
use crate::model::token::BoxFuture;
use crate::model::units::Span;
use crate::secrets::SecretSource;

/// The provider of native mail, which no other may call itself.
pub const RESERVED_PROVIDER: &str = "PureCloud Email";
/// What our own attributes begin with.
pub const OWN_ATTRIBUTES: &str = "mb_";

/// `[routes.destination] kind = "genesys_cloud"`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The region's domain, as in `mypurecloud.de`: logins go to `login.` and calls to `api.` of it.
    pub region: Option<String>,
    /// Where logins go instead.
    pub login_url: Option<Url>,
    /// Where calls go instead.
    pub api_url: Option<Url>,
    /// The OAuth client (client credentials).
    pub client_id: String,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// The file that holds it.
    pub client_secret_file: Option<PathBuf>,
    /// The inbound e-mail flow that routes conversations; or `queue_id`.
    pub flow_id: Option<String>,
    /// The queue they wait in; or `flow_id`.
    pub queue_id: Option<String>,
    /// What Genesys shows as the source of the conversations.
    #[serde(default = "default_provider")]
    pub provider: String,
    /// Skills an agent must have.
    #[serde(default)]
    pub skill_ids: Vec<String>,
    /// The language an agent must speak.
    pub language_id: Option<String>,
    /// The priority of the conversations.
    pub priority: Option<i32>,
    /// Attributes of your own, on the customer's part of the conversation.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Calls within a minute; more wait their turn.
    #[serde(default = "default_rate")]
    pub rate_per_minute: NonZeroU32,
    /// How long after a call without an answer the search is believed that shows whether it was taken.
    #[serde(default = "default_search_after")]
    pub search_after: Span,
    /// The longest an attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

/// A URL can hold a password; a secret shows itself as one.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let origin = |url: &Option<Url>| url.as_ref().map(|it| it.origin().ascii_serialization());
        f.debug_struct("Config")
            .field("region", &self.region)
            .field("login_url", &origin(&self.login_url))
            .field("api_url", &origin(&self.api_url))
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret)
            .field("client_secret_file", &self.client_secret_file)
            .field("flow_id", &self.flow_id)
            .field("queue_id", &self.queue_id)
            .field("provider", &self.provider)
            .field("rate_per_minute", &self.rate_per_minute)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Where logins go, and calls.
    ///
    /// # Errors
    /// The key that is missing or of no use, and what to do.
    pub fn urls(&self) -> Result<(Url, Url), BuildError> {
        let of = |key, own: &Option<Url>, host: &str| match (own, &self.region) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(region)) if is_domain(region) => Url::parse(&format!("https://{host}.{region}/"))
                .map_err(|error| BuildError::new("region", format!("makes no address: {error}"))),
            (None, Some(_)) => Err(BuildError::new("region", "must be a domain alone, as in mypurecloud.de")),
            (None, None) if self.login_url.is_none() && self.api_url.is_none() => {
                Err(BuildError::new("region", "is missing; set it to your organisation's, as in mypurecloud.de"))
            }
            (None, None) => Err(BuildError::new(key, "is missing; set it, or region")),
        };
        Ok((of("login_url", &self.login_url, "login")?, of("api_url", &self.api_url, "api")?))
    }
}

/// Conversations of Genesys Cloud.
#[derive(Debug)]
pub struct GenesysCloud {
    config: Config,
    api: Api,
    clock: SharedTime,
}

/// A clock has nothing to show.
struct SharedTime(SharedClock);

impl std::fmt::Debug for SharedTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl GenesysCloud {
    /// As configured, with a client and a token of its own.
    ///
    /// # Errors
    /// A key is missing or of no use; the message names the key and says what to do.
    pub fn new(config: &Config, egress: &Egress, clock: SharedClock) -> Result<Self, BuildError> {
        let urls = config.urls()?;
        if config.timeout.0.is_zero() {
            return Err(BuildError::new("timeout", "must be longer than 0s"));
        }
        if config.flow_id.is_some() == config.queue_id.is_some() {
            return Err(BuildError::new("flow_id", "set either flow_id or queue_id"));
        }
        let secret = SecretSource::from_pair(config.client_secret.as_ref(), config.client_secret_file.as_ref());
        let secret =
            secret.ok_or_else(|| BuildError::new("client_secret", "set either client_secret or client_secret_file"))?;
        let client = egress.client().and_then(|it| egress.finish(it));
        let client = client.map_err(|error| BuildError::new("region", error))?;
        let api = Api::new(client, urls, (config.client_id.clone(), secret), config.rate_per_minute, clock.clone());
        Ok(Self { config: config.clone(), api, clock: SharedTime(clock) })
    }

    async fn give(&self, handover: &Handover, conversation: Option<&str>, until: Instant) -> Result<String, Untaken> {
        let refused = Untaken::Refused;
        let interaction = Interaction::read(&handover.body).map_err(refused)?;
        let message = request::message(&self.config, &interaction).map_err(refused)?;
        if let Some(conversation) = conversation {
            let path = ["api", "v2", "conversations", "emails", conversation, "inboundmessages"];
            let answer = self.api.post(&path, &message, until).await.map_err(|it| self.untaken(it))?;
            // A conversation that ended, or that Genesys has forgotten, takes no more: another one is begun.
            if !matches!(answer.status.as_u16(), 400 | 404 | 405 | 409 | 410 | 422) {
                return call::conversation(&answer, Some(conversation)).map_err(|it| self.untaken(it));
            }
            tracing::info!(
                interaction = handover.interaction,
                status = answer.status.as_u16(),
                "The conversation {} belongs to takes no more mail; another one is begun",
                handover.interaction
            );
        }
        let email = request::email(message, &interaction);
        let answer = self.api.post(&["api", "v2", "conversations", "emails"], &email, until).await;
        let answer = answer.map_err(|it| self.untaken(it))?;
        call::conversation(&answer, None).map_err(|it| self.untaken(it))
    }

    fn untaken(&self, unanswered: Unanswered) -> Untaken {
        match unanswered {
            Unanswered::Refused(failure) => Untaken::Refused(failure),
            // Looked for when that is of use, not before.
            Unanswered::Unknown(reason) => {
                let reason = Reason::new(Code::TimedOut, reason);
                Untaken::Unknown(Failure::Transient { reason, after: Some(self.config.search_after.0) })
            }
        }
    }

    async fn deliver_alone(&self, handover: &Handover) -> Result<(), Failure> {
        let until = Instant::now() + self.config.timeout.0;
        if handover.attempt > 1 {
            let begun = Begun { interaction: &handover.interaction, at: self.clock.0.now(), conversation: None };
            if self.api.find(begun, until).await?.is_some() {
                return Ok(());
            }
        }
        self.give(handover, None, until).await.map(drop).map_err(Untaken::failure)
    }
}

impl Destination for GenesysCloud {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.deliver_alone(handover))
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.0
    }

    fn conversations(&self) -> Option<&dyn Conversations> {
        Some(self)
    }
}

impl Conversations for GenesysCloud {
    fn hand_over<'a>(
        &'a self,
        handover: &'a Handover,
        conversation: Option<&'a str>,
        until: Instant,
    ) -> BoxFuture<'a, Result<Option<String>, Untaken>> {
        Box::pin(async move { self.give(handover, conversation, until).await.map(Some) })
    }

    fn find<'a>(&'a self, begun: Begun<'a>, until: Instant) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        Box::pin(self.api.find(begun, until))
    }

    fn shows_after(&self) -> Duration {
        self.config.search_after.0
    }
}

fn is_domain(text: &str) -> bool {
    let is_label = |it: &str| !it.is_empty() && it.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    text.contains('.') && text.split('.').all(is_label)
}

fn default_provider() -> String {
    "Mailspan".into()
}

fn default_rate() -> NonZeroU32 {
    const THREE_HUNDRED: NonZeroU32 = NonZeroU32::MIN.saturating_add(299);
    THREE_HUNDRED
}

fn default_search_after() -> Span {
    Span(Duration::from_secs(30))
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}
