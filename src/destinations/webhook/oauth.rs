//! Tokens of an OAuth 2.0 server (client credentials, RFC 6749 §4.4), kept until shortly before they expire.
//!
//! One request for a token is under way at a time, and whoever waits shares its end. Trouble is remembered for a
//! moment, so that a server that is down is not asked by every mail.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

use super::auth::one_of;
use super::client::check_address;
use super::token_endpoint::{Endpoint, Issued, Refusal};
use crate::destinations::BuildError;
use crate::destinations::watched::Watched;
use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::outcome::Failure;
use crate::model::reason::Code;
use crate::model::secret::Secret;

/// A token must outlive the request that shows it: it is renewed in the last fifth of its life, at most this long
/// before its end.
const LAST_MOMENTS: Duration = Duration::from_secs(60);

/// How long the server is left alone after it failed so many times in a row, in seconds.
const AFTER_TROUBLE: [u64; 6] = [1, 2, 5, 15, 30, 60];

/// A token that stands in for a refused one and is refused this soon was not stale: yet another will hardly fare better.
const REPLACED: Duration = Duration::from_secs(60);

/// `kind = "oauth2_client_credentials"`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where tokens are asked for.
    pub token_url: url::Url,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Option<Secret>,
    /// The file that holds it.
    pub client_secret_file: Option<PathBuf>,
    /// What the token is to allow, several parted by spaces.
    pub scope: Option<String>,
    /// Whom the token is for, where the server asks.
    pub audience: Option<String>,
    /// How the client's id and secret are sent.
    #[serde(default)]
    pub client_authentication: ClientAuthentication,
}

/// How the client's id and secret are sent (the names of OpenID Connect).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// In a header field: every server understands it.
    #[default]
    ClientSecretBasic,
    /// In the body: what some servers want.
    ClientSecretPost,
}

/// An address can hold a key.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("token_url", &self.token_url.origin().ascii_serialization())
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret)
            .field("client_secret_file", &self.client_secret_file)
            .field("scope", &self.scope)
            .field("audience", &self.audience)
            .field("client_authentication", &self.client_authentication)
            .finish()
    }
}

/// The tokens of one webhook.
pub(super) struct Tokens {
    endpoint: Endpoint,
    secret: Watched<Secret>,
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    trouble: Option<Trouble>,
    failures: usize,
}

struct Held {
    token: HeaderValue,
    issued_at: UnixMillis,
    renew_at: UnixMillis,
    expires_at: UnixMillis,
    /// It was asked for because another one was refused.
    is_replacement: bool,
}

struct Trouble {
    refusal: Refusal,
    from: UnixMillis,
    until: UnixMillis,
    /// Another secret is worth another try at once.
    asked_with: Secret,
}

impl Tokens {
    pub(super) fn new(config: &Config, allow_private: bool, clock: SharedClock) -> Result<Self, BuildError> {
        check_address(&config.token_url, allow_private).map_err(|it| BuildError::new("auth.token_url", it))?;
        let keys = ["auth.client_secret", "auth.client_secret_file"];
        let (key, source) = one_of(keys, config.client_secret.as_ref(), config.client_secret_file.as_ref())?;
        let secret = Watched::secret(source, clock.now(), |it| match it.expose() {
            "" => Err("is empty"),
            _ => Ok(it.clone()),
        });
        let secret = secret.map_err(|problem| BuildError::new(key, problem))?;
        Ok(Self { endpoint: Endpoint::new(config), secret, clock, state: Mutex::default() })
    }

    /// A token that is good now, as the value of `authorization`.
    pub(super) async fn token(&self, client: &reqwest::Client, until: Instant) -> Result<HeaderValue, Failure> {
        let mut state = self.turn(until).await?;
        let now = self.clock.now();
        if let Some(held) = state.held.as_ref().filter(|it| (it.issued_at..it.renew_at).contains(&now)) {
            return Ok(held.token.clone());
        }
        let renewed = self.renew(&mut state, client, until, false).await;
        // One that nears its end is still good, whatever keeps the next from coming.
        let still_good = state.held.as_ref().filter(|it| (it.issued_at..it.expires_at).contains(&self.clock.now()));
        renewed.or_else(|failure| still_good.map(|it| it.token.clone()).ok_or(failure))
    }

    /// A token in place of one the receiver answered with 401. `None`: that one was such a replacement itself.
    pub(super) async fn instead_of(
        &self,
        refused: &HeaderValue,
        client: &reqwest::Client,
        until: Instant,
    ) -> Result<Option<HeaderValue>, Failure> {
        let mut state = self.turn(until).await?;
        let now = self.clock.now();
        match &state.held {
            // Another attempt was faster.
            Some(held) if held.token != *refused && (held.issued_at..held.expires_at).contains(&now) => {
                return Ok(Some(held.token.clone()));
            }
            Some(held) if held.is_replacement && (held.issued_at..after(held.issued_at, REPLACED)).contains(&now) => {
                return Ok(None);
            }
            _ => state.held = None,
        }
        self.renew(&mut state, client, until, true).await.map(Some)
    }

    /// Waits for whoever asks just now: afterwards there is a token, or the trouble is known.
    async fn turn(&self, until: Instant) -> Result<MutexGuard<'_, State>, Failure> {
        timeout_at(until, self.state.lock()).await.map_err(|_| Refusal::late().as_failure(None))
    }

    async fn renew(
        &self,
        state: &mut State,
        client: &reqwest::Client,
        until: Instant,
        is_replacement: bool,
    ) -> Result<HeaderValue, Failure> {
        let asked_at = self.clock.now();
        let secret = self.secret.current(asked_at).map_err(|problem| {
            Failure::transient(format_args!("no token can be asked for: {problem}")).coded(Code::Misconfigured)
        })?;
        if let Some(trouble) = &state.trouble
            && (trouble.from..trouble.until).contains(&asked_at)
            && trouble.asked_with == secret
        {
            return Err(trouble.refusal.as_failure(Some(between(asked_at, trouble.until))));
        }
        let asked = timeout_at(until, self.endpoint.ask(client, &secret, asked_at)).await;
        match asked.unwrap_or_else(|_| Err(Refusal::late())) {
            Ok(Issued { token, life }) => {
                let held = Held {
                    token: token.clone(),
                    issued_at: asked_at,
                    renew_at: after(asked_at, life.saturating_sub(LAST_MOMENTS.min(life / 5))),
                    expires_at: after(asked_at, life),
                    is_replacement,
                };
                *state = State { held: Some(held), ..State::default() };
                Ok(token)
            }
            Err(refusal) => {
                let step = AFTER_TROUBLE.get(state.failures).or(AFTER_TROUBLE.last()).copied().unwrap_or_default();
                let wait = Duration::from_secs(step).max(refusal.after.unwrap_or_default());
                state.failures = state.failures.saturating_add(1);
                let from = self.clock.now();
                let failure = refusal.as_failure(refusal.after);
                state.trouble = Some(Trouble { refusal, from, until: after(from, wait), asked_with: secret });
                Err(failure)
            }
        }
    }
}

fn after(at: UnixMillis, wait: Duration) -> UnixMillis {
    at.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

fn between(from: UnixMillis, until: UnixMillis) -> Duration {
    Duration::from_millis(u64::try_from(until.saturating_sub(from)).unwrap_or(0))
}
