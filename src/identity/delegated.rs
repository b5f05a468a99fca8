//! Tokens of a mailbox that is reached on behalf of its user: kept alive by a refresh token that Entra replaces at each use.
//!
//! A new refresh token is on disk before the access token that came with it is used; until then the old one is. When Entra
//! takes it no more, that is said once, and Entra is not asked again until somebody has signed in.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Identity;
use super::aadsts::Verdict;
use super::cache::{self, Cache, Found, Renews};
use super::exchange::describe;
use super::on_behalf::Refused;
use super::redeem::{Granted, OnBehalf};
use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::grant::{Grant, GrantError, Grants};
use crate::model::secret::Secret;
use crate::model::token::{AccessToken, BoxFuture, TokenError, Tokens};
use crate::model::work::MailboxId;

/// A sign-in that is not used is refreshed this often; Entra forgets it after 90 days.
const REFRESHED_EVERY_MS: i64 = 24 * 3600 * 1000;
/// How often the store is asked whether somebody has signed in meanwhile.
const LOOK_EVERY_MS: i64 = 5_000;
/// How often a grant may be replaced by others while it is being refreshed, before that is left for later.
const OVERTAKEN: usize = 3;

/// The tokens of one mailbox.
pub struct Delegated {
    pub(super) mailbox: MailboxId,
    pub(super) identity: Arc<Identity>,
    pub(super) grants: Arc<dyn Grants>,
    /// To Graph, which says who has signed in.
    pub(super) graph: reqwest::Client,
    clock: SharedClock,
    held: Mutex<Held>,
    flight: tokio::sync::Mutex<()>,
    /// Whether Entra wants no credential with this mailbox's sign-in.
    pub(super) is_public: AtomicBool,
}

struct Held {
    cache: Cache,
    standing: Standing,
    /// A refresh token that could not be stored yet, and the generation it follows.
    unstored: Option<(i64, Secret)>,
    /// The generation that Entra takes no more, where that could not be stored.
    refused: Option<(i64, String)>,
    looked_at: UnixMillis,
    /// Whether it was the credentials that were refused.
    credentials_refused: bool,
}

/// How a sign-in stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The store was not read yet.
    Unknown,
    /// Somebody has signed in.
    SignedIn {
        /// When.
        since: UnixMillis,
        /// When the refresh token was last replaced.
        refreshed_at: UnixMillis,
    },
    /// Somebody has to sign in.
    Needed {
        /// Since when; `None`: nobody ever did.
        since: Option<UnixMillis>,
        /// Why, and with which command.
        reason: String,
    },
}

impl Delegated {
    /// The tokens of this mailbox, which is one of the tenant's. Talks to nobody yet. `graph` must not follow redirects.
    pub fn new(
        mailbox: MailboxId,
        identity: Arc<Identity>,
        grants: Arc<dyn Grants>,
        graph: reqwest::Client,
        clock: SharedClock,
    ) -> Self {
        let held = Held {
            cache: Cache::default(),
            standing: Standing::Unknown,
            unstored: None,
            refused: None,
            looked_at: UnixMillis::MIN,
            credentials_refused: false,
        };
        let (held, flight) = (Mutex::new(held), tokio::sync::Mutex::new(()));
        let is_public = AtomicBool::new(false);
        let delegated = Self { mailbox, identity, grants, graph, clock, held, flight, is_public };
        delegated.show(false);
        delegated
    }

    /// Whose tokens they are.
    pub fn mailbox(&self) -> &MailboxId {
        &self.mailbox
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// How the sign-in stands, as far as it is known.
    pub fn standing(&self) -> Standing {
        self.held().standing.clone()
    }

    /// Looks whether somebody has signed in elsewhere, stores what could not be stored, and keeps a sign-in alive that is
    /// not used. To be called every few seconds. Returns whether the mailbox can be used again.
    pub async fn watch(&self) -> bool {
        let now = self.clock.now();
        let (due, standing) = {
            let mut held = self.held();
            let due = !(held.looked_at..held.looked_at.saturating_add(LOOK_EVERY_MS)).contains(&now);
            if due {
                held.looked_at = now;
            }
            (due, held.standing.clone())
        };
        if !due {
            return false;
        }
        self.store_what_was_left().await;
        match standing {
            Standing::SignedIn { refreshed_at, .. } => {
                if now.saturating_sub(refreshed_at) >= REFRESHED_EVERY_MS {
                    let _flight = self.flight.lock().await;
                    // What Entra asked for holds here as well. What comes of it is kept, and said where it is decided.
                    if !matches!(self.find(), Found::Paused(_)) {
                        drop(self.renew_now().await);
                    }
                }
                false
            }
            Standing::Unknown | Standing::Needed { .. } => self.look().await,
        }
    }

    /// Reads the store. Returns whether somebody has to sign in no longer.
    async fn look(&self) -> bool {
        let Ok(grant) = self.grant().await else { return false };
        let was_needed = matches!(self.standing(), Standing::Needed { .. });
        self.signed_in(grant.signed_in_at, grant.rotated_at);
        if was_needed {
            tracing::info!(mailbox = %self.mailbox, "{}: somebody has signed in", self.mailbox);
        }
        was_needed
    }

    /// The grant as it is kept, if it is worth asking Entra with it.
    async fn grant(&self) -> Result<Grant, TokenError> {
        let loaded = self.grants.load().await;
        match loaded {
            Err(error @ GrantError::Unavailable(_)) => {
                Err(TokenError::Transient { reason: error.to_string(), after: None })
            }
            // The key is what is missing, and not a sign-in.
            Err(error @ GrantError::Sealed(_)) => Err(self.needed_as(None, error.to_string())),
            Ok(None) => Err(self.needed(None, "nobody has signed in yet".to_owned())),
            Ok(Some(Grant { refused: Some((at, reason)), .. })) => Err(self.needed(Some(at), reason)),
            Ok(Some(mut grant)) => {
                let held = self.held();
                if let Some((generation, reason)) = &held.refused
                    && *generation == grant.generation
                {
                    let reason = reason.clone();
                    drop(held);
                    return Err(self.needed(None, reason));
                }
                if let Some((generation, newer)) = &held.unstored
                    && *generation == grant.generation
                {
                    grant.refresh_token = newer.clone();
                }
                Ok(grant)
            }
        }
    }

    /// Asks Entra. Only for the holder of the flight.
    async fn renew_now(&self) -> Result<AccessToken, TokenError> {
        let asked_at = self.clock.now();
        let outcome = self.refreshed().await;
        let now = self.clock.now();
        let mut held = self.held();
        match outcome {
            Ok(issued) => {
                held.cache.issued(issued.token.clone(), issued.life, asked_at);
                Ok(issued.token)
            }
            Err(error) => {
                held.cache.failed(error.clone(), now);
                Err(error)
            }
        }
    }

    async fn refreshed(&self) -> Result<OnBehalf, TokenError> {
        self.held().credentials_refused = false;
        for _ in 0..OVERTAKEN {
            let grant = self.grant().await?;
            match self.identity.redeem(&Granted::Refresh(&grant.refresh_token), &self.is_public).await {
                Ok(issued) => {
                    self.keep(&grant, &issued).await;
                    return Ok(issued);
                }
                Err(Refused::Token(error)) => return Err(error),
                Err(Refused::Credentials(error)) => {
                    self.held().credentials_refused = true;
                    return Err(error);
                }
                Err(Refused::Grant(verdict)) => self.refused_by_entra(&grant, &verdict).await?,
                // Only a device's code is answered so.
                Err(Refused::Device(_)) => {
                    let reason = "Entra answered a refresh as if it were a device's".to_owned();
                    return Err(TokenError::Transient { reason, after: None });
                }
            }
        }
        let reason = "the sign-in was replaced by others again and again".to_owned();
        Err(TokenError::Transient { reason, after: None })
    }

    /// Entra takes this grant no more. Returns if another is there by now, so that it is worth asking again.
    async fn refused_by_entra(&self, grant: &Grant, verdict: &Verdict) -> Result<(), TokenError> {
        // A token that was never stored is given up for the one that was.
        if self.held().unstored.take_if(|it| it.0 == grant.generation).is_some() {
            return Ok(());
        }
        // Another replica may have refreshed it in this moment, or somebody may have signed in.
        if self.grant().await?.generation != grant.generation {
            return Ok(());
        }
        let reason = describe(verdict);
        if let Err(error) = self.grants.refuse(grant.generation, reason.clone()).await {
            tracing::warn!(mailbox = %self.mailbox, reason = %error, "That a sign-in is over could not be written down");
            self.held().refused = Some((grant.generation, reason.clone()));
        }
        Err(self.needed(Some(self.clock.now()), reason))
    }

    /// Stores the new refresh token before the access token is used by anybody. If that cannot be done the old one goes
    /// on at Entra, so nothing is lost by using what came with the new one.
    async fn keep(&self, grant: &Grant, issued: &OnBehalf) {
        let now = self.clock.now();
        if let Some(refresh_token) = &issued.refresh_token {
            match self.grants.replace(grant.generation, refresh_token.clone()).await {
                // `None`: another replica was faster, and what it stored is as good.
                Ok(_) => self.held().unstored = None,
                Err(error) => {
                    tracing::warn!(
                        mailbox = %self.mailbox,
                        reason = %error,
                        "A new refresh token could not be stored; the one that was stays good at Entra, and storing is tried again"
                    );
                    self.held().unstored = Some((grant.generation, refresh_token.clone()));
                }
            }
        }
        self.signed_in(grant.signed_in_at, now);
    }

    async fn store_what_was_left(&self) {
        let Some((generation, refresh_token)) = self.held().unstored.clone() else { return };
        let _flight = self.flight.lock().await;
        match self.grants.replace(generation, refresh_token.clone()).await {
            Ok(_) => {
                self.held().unstored.take_if(|it| it.1 == refresh_token);
                tracing::info!(mailbox = %self.mailbox, "The new refresh token is stored now");
            }
            Err(error) => tracing::debug!(mailbox = %self.mailbox, reason = %error, "It still cannot be stored"),
        }
    }

    /// Somebody is signed in. The next caller gets a token, whatever was believed before.
    pub(super) fn signed_in(&self, since: UnixMillis, refreshed_at: UnixMillis) {
        let mut held = self.held();
        if matches!(held.standing, Standing::Needed { .. }) {
            held.cache.end_pause();
        }
        held.standing = Standing::SignedIn { since, refreshed_at };
        drop(held);
        self.show(true);
    }

    /// Somebody has just signed in here, which brought this token.
    pub(super) fn begin(&self, issued: OnBehalf, asked_at: UnixMillis) {
        let mut held = self.held();
        (held.unstored, held.refused, held.credentials_refused) = (None, None, false);
        held.cache.issued(issued.token, issued.life, asked_at);
        drop(held);
        self.signed_in(asked_at, asked_at);
    }

    /// Somebody has to sign in, by this command.
    fn needed(&self, since: Option<UnixMillis>, reason: String) -> TokenError {
        self.needed_as(since, format!("{reason}; run `mailspan sign-in {}`", self.mailbox.address))
    }

    /// There is no sign-in: said once, and remembered.
    fn needed_as(&self, since: Option<UnixMillis>, reason: String) -> TokenError {
        let mut held = self.held();
        let is_new = !matches!(&held.standing, Standing::Needed { reason: known, .. } if *known == reason);
        held.standing = Standing::Needed { since, reason: reason.clone() };
        drop(held);
        if is_new {
            self.show(false);
            tracing::error!(
                mailbox = %self.mailbox,
                reason,
                "{}: no mail is read or sent here, because there is no sign-in: {reason}",
                self.mailbox
            );
        }
        TokenError::NotSignedIn { reason }
    }

    fn show(&self, is_valid: bool) {
        metrics::gauge!("mailspan_sign_in_valid", "mailbox" => self.mailbox.to_string())
            .set(f64::from(u8::from(is_valid)));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renews for Delegated {
    fn find(&self) -> Found {
        let now = self.clock.now();
        let mut held = self.held();
        match held.cache.find(now) {
            // As with the tenant's own tokens: a credential that was replaced is worth asking at once.
            Found::Paused(TokenError::Refused { .. }) if held.credentials_refused && self.identity.may_serve(now) => {
                held.cache.end_pause();
                held.cache.find(now)
            }
            found => found,
        }
    }

    fn flight(&self) -> &tokio::sync::Mutex<()> {
        &self.flight
    }

    fn renew(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(self.renew_now())
    }
}

impl Tokens for Delegated {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(cache::current(self))
    }

    fn refused(&self, token: &AccessToken) {
        if self.held().cache.refused(token, self.clock.now()) {
            tracing::info!(mailbox = %self.mailbox, "Graph refused the token; the next call gets another one");
        }
    }
}

impl std::fmt::Debug for Delegated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delegated").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}
