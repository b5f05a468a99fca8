//! Tokens for Graph: one tenant's credentials, exchanged with Entra for access tokens.
//!
//! Many callers share one flight; a token is renewed before it ends; when a credential is refused the next takes over
//! within the same call; a broken tenant is asked seldom. Secrets, keys and tokens in files are read anew at every exchange.

pub mod aadsts;
mod cache;
pub mod certificate;
pub mod cloud;
pub mod config;
mod credentials;
pub mod delegated;
mod exchange;
pub mod expiry;
mod managed;
mod on_behalf;
mod proof;
mod redeem;
pub mod sign_in;
pub mod standing;
#[cfg(test)]
mod tests;
mod trial;
mod tried;
mod whereabouts;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::cache::{Cache, Found, Renews};
use self::cloud::BadEndpoint;
pub use self::cloud::Endpoints;
use self::config::TenantConfig;
use self::credentials::{Candidate, Credentials};
pub use self::credentials::{CredentialState, InUse, RefusedState};
pub use self::exchange::Ways;
use self::exchange::{ExchangeError, Issued, Registration, describe};
use self::proof::Proof;
pub use self::tried::{NotIssued, Tried};
pub use self::whereabouts::cloud_of;
use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::token::{AccessToken, BoxFuture, TokenError, Tokens};

/// The tokens of one tenant.
pub struct Identity {
    tenant: String,
    endpoints: Endpoints,
    registration: Registration,
    clock: SharedClock,
    held: Mutex<Held>,
    /// Whoever holds it is the one that asks Entra.
    flight: tokio::sync::Mutex<()>,
}

struct Held {
    cache: Cache,
    credentials: Credentials,
    /// Whether the last failure was a user's request's, not one of the application's own.
    failed_for_user: bool,
    last_failure: Option<LastFailure>,
}

/// A configuration that no tokens can be had with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A credential's secret is given twice or not at all.
    #[error("credential {} needs either `secret` or `secret_file`", .index + 1)]
    AmbiguousSecret {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// Nobody says where a federated token is.
    #[error("credential {} needs `token_file`, because AZURE_FEDERATED_TOKEN_FILE is not set", .index + 1)]
    NoTokenFile {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// The platform's own variables are of no use.
    #[error("credential {}: {problem}", .index + 1)]
    Platform {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with them.
        problem: String,
    },
    /// An endpoint is not the address of a web server.
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
}

/// What is known of a tenant's tokens, for health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityState {
    /// The tenant's configured name.
    pub tenant: String,
    /// Every credential, in the configured order.
    pub credentials: Vec<CredentialState>,
    /// The one that the last token was issued for; `None` before the first.
    pub in_use: Option<InUse>,
    /// When the token we hold ends; `None` when we hold none.
    pub token_expires_at: Option<UnixMillis>,
    /// The last failure since a token was last issued.
    pub last_failure: Option<LastFailure>,
}

/// A failure to get a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// When.
    pub at: UnixMillis,
    /// Whether a person must act; else it may pass by itself.
    pub needs_a_person: bool,
    /// What happened, without secrets.
    pub reason: String,
}

impl Identity {
    /// The tokens of this tenant. Talks to nobody yet.
    ///
    /// # Errors
    /// No token can be had with this configuration.
    pub fn new(config: &TenantConfig, ways: Ways, clock: SharedClock) -> Result<Self, IdentityError> {
        Self::with_environment(config, ways, clock, |name| std::env::var(name).ok())
    }

    /// The same, with the environment as an argument: platforms say there where their tokens are.
    ///
    /// # Errors
    /// As [`Identity::new`].
    pub fn with_environment(
        config: &TenantConfig,
        ways: Ways,
        clock: SharedClock,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, IdentityError> {
        let endpoints = Endpoints::of(config)?;
        let credentials = Credentials::new(&config.credentials, &environment)?;
        Ok(Self {
            tenant: config.name.clone(),
            registration: Registration::new(&config.client_id, &endpoints, ways, clock.clone()),
            endpoints,
            clock,
            held: Mutex::new(Held { cache: Cache::default(), credentials, failed_for_user: false, last_failure: None }),
            flight: tokio::sync::Mutex::new(()),
        })
    }

    /// The endpoints that belong to the tokens.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// What is known now.
    pub fn state(&self) -> IdentityState {
        let held = self.held();
        IdentityState {
            tenant: self.tenant.clone(),
            credentials: held.credentials.states(),
            in_use: held.credentials.in_use(),
            token_expires_at: held.cache.expires_at(),
            last_failure: held.last_failure.clone(),
        }
    }

    fn find(&self) -> Found {
        let now = self.clock.now();
        let mut held = self.held();
        match held.cache.find(now) {
            Found::Paused(TokenError::Refused { .. }) if held.credentials.changed(now) => {
                held.cache.end_pause();
                held.cache.find(now)
            }
            found => found,
        }
    }

    /// Asks Entra. Only for the holder of the flight.
    async fn renew(&self) -> Result<AccessToken, TokenError> {
        let asked_at = self.clock.now();
        let outcome = self.exchange_in_order().await;
        let now = self.clock.now();
        let mut held = self.held();
        match outcome {
            Ok((candidate, issued)) => {
                self.accepted(&mut held, &candidate, issued.life, now);
                held.cache.issued(issued.token.clone(), issued.life, asked_at);
                Ok(issued.token)
            }
            Err(error) => {
                self.failed(&mut held, &error, now);
                held.cache.failed(error.clone(), now);
                Err(error)
            }
        }
    }

    /// Entra accepted this credential.
    fn accepted(&self, held: &mut Held, candidate: &Candidate, life: Duration, now: UnixMillis) {
        let (number, life_s) = (candidate.index + 1, life.as_secs());
        if held.credentials.accepted(candidate, now) {
            tracing::info!(
                tenant = self.tenant,
                credential = number,
                life_s,
                "Entra accepts credential {number} ({})",
                candidate.kind
            );
        } else {
            tracing::debug!(tenant = self.tenant, credential = number, life_s, "The token was renewed");
        }
        self.show_accepted(number, true);
        held.last_failure = None;
        self.show_expiries(&held.credentials);
    }

    /// There is no token, for a reason that is the tenant's matter.
    fn failed(&self, held: &mut Held, error: &TokenError, now: UnixMillis) {
        tracing::warn!(tenant = self.tenant, "There is {error}");
        let needs_a_person = matches!(error, TokenError::Refused { .. });
        held.last_failure = Some(LastFailure { at: now, needs_a_person, reason: error.to_string() });
        held.failed_for_user = false;
    }

    /// Tries the credentials until one is accepted or something else than a credential is the trouble.
    async fn exchange_in_order(&self) -> Result<(Candidate, Issued), TokenError> {
        let candidates = self.held().credentials.candidates(self.clock.now());
        let mut silent_platform = None;
        for candidate in candidates {
            let proof = match &candidate.proof {
                Ok(proof) => proof,
                Err(reason) => {
                    self.pass_over(&candidate, None, reason.clone());
                    continue;
                }
            };
            match self.registration.exchange(proof).await {
                Ok(issued) => {
                    self.count("ok");
                    return Ok((candidate, issued));
                }
                // The platform is not Entra: another credential goes another way.
                Err(ExchangeError::Unavailable { reason, after }) if matches!(proof, Proof::Platform(_)) => {
                    self.count("transient");
                    silent_platform = Some(TokenError::Transient { reason, after });
                }
                Err(ExchangeError::Unavailable { reason, after }) => {
                    self.count("transient");
                    return Err(TokenError::Transient { reason, after });
                }
                Err(ExchangeError::Refused(verdict)) if verdict.decision == aadsts::Decision::NextCredential => {
                    self.pass_over(&candidate, verdict.code, describe(&verdict));
                }
                Err(ExchangeError::Refused(verdict)) => {
                    self.count("refused");
                    return Err(TokenError::Refused { reason: describe(&verdict) });
                }
            }
        }
        let refused = || TokenError::Refused { reason: self.complaints() };
        Err(silent_platform.unwrap_or_else(refused))
    }

    /// Why no credential serves.
    fn complaints(&self) -> String {
        match self.held().credentials.complaints() {
            none if none.is_empty() => "the tenant has no credential; add one under [[tenants.credentials]]".to_owned(),
            complaints => complaints,
        }
    }

    fn pass_over(&self, candidate: &Candidate, code: Option<u32>, reason: String) {
        self.count("refused");
        let number = candidate.index + 1;
        tracing::warn!(tenant = self.tenant, credential = number, code, "Credential {number} is passed over: {reason}");
        self.show_accepted(number, false);
        self.held().credentials.refused(candidate, code, reason, self.clock.now());
    }

    fn count(&self, outcome: &'static str) {
        metrics::counter!("mailspan_token_refreshes_total", "tenant" => self.tenant.clone(), "outcome" => outcome)
            .increment(1);
    }

    fn show_accepted(&self, number: usize, is_accepted: bool) {
        let labels = [("tenant", self.tenant.clone()), ("credential", number.to_string())];
        metrics::gauge!("mailspan_credential_accepted", &labels).set(f64::from(u8::from(is_accepted)));
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point by the exposition format")]
    fn show_expiries(&self, credentials: &Credentials) {
        for (index, state) in credentials.states().into_iter().enumerate() {
            if let Some(at) = state.expires_at {
                self.expiry_of(index + 1).set(at as f64 / 1000.0);
            }
        }
    }

    fn expiry_of(&self, number: usize) -> metrics::Gauge {
        let labels = [("tenant", self.tenant.clone()), ("credential", number.to_string())];
        metrics::gauge!("mailspan_credential_expiry_timestamp_seconds", &labels)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renews for Identity {
    fn find(&self) -> Found {
        Self::find(self)
    }

    fn flight(&self) -> &tokio::sync::Mutex<()> {
        &self.flight
    }

    fn renew(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(Self::renew(self))
    }
}

impl Tokens for Identity {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(cache::current(self))
    }

    fn refused(&self, token: &AccessToken) {
        if self.held().cache.refused(token, self.clock.now()) {
            tracing::info!(tenant = self.tenant, "Graph refused the token; the next call gets another one");
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("tenant", &self.tenant)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}
