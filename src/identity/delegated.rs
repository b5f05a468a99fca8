//! Tokens of a mailbox that is reached on behalf of its user: kept alive by a refresh token that Entra replaces at each use.
//!
//! A new refresh token is on disk before the access token that came with it is used; until then the old one is. When Entra
//! takes it no more, that is said once, and Entra is not asked again until somebody has signed in; where an administrator can
//! mend it, one replica asks again every hour.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Identity;
use super::aadsts::{Decision, Verdict};
use super::cache::{self, Cache, Found, Renews};
use super::exchange::describe;
use super::on_behalf::Refused;
use super::redeem::{Granted, OnBehalf};
use super::standing::Standing;
use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::grant::{Grant, GrantError, Grants, Refusal};
use crate::model::secret::Secret;
use crate::model::token::{AccessToken, BoxFuture, TokenError, Tokens};
use crate::model::work::MailboxId;

/// A sign-in that is not used is refreshed this often; Entra forgets it after 90 days.
const REFRESHED_EVERY_MS: i64 = 24 * 3600 * 1000;
/// How often Entra is asked again about a sign-in that an administrator can have taken again.
const ASK_AGAIN_EVERY_MS: i64 = 3600 * 1000;
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

pub(super) struct Held {
    pub(super) cache: Cache,
    pub(super) standing: Standing,
    /// A refresh token that could not be stored yet, and the generation it follows.
    unstored: Option<(i64, Secret)>,
    /// The generation that Entra does not take, where that could not be stored.
    refused: Option<(i64, Refusal)>,
    looked_at: UnixMillis,
    /// Whether it was the credentials that were refused.
    credentials_refused: bool,
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
            Standing::Unknown | Standing::Needed { .. } | Standing::Blocked { .. } => self.look().await,
        }
    }

    /// Reads the store. Returns whether the mailbox can be used again.
    async fn look(&self) -> bool {
        let Ok(grant) = self.loaded().await else { return false };
        let is_due = |it: &Refusal| it.ask_again_at.is_some_and(|at| at <= self.clock.now());
        if grant.refused.as_ref().is_some_and(is_due) {
            return self.ask_again(&grant).await;
        }
        let Ok(grant) = self.usable(grant) else { return false };
        let was_stopped = self.standing().is_stopped();
        self.signed_in(grant.signed_in_at, grant.rotated_at);
        if was_stopped {
            tracing::info!(mailbox = %self.mailbox, "{}: there is a sign-in that is taken", self.mailbox);
        }
        was_stopped
    }

    /// Asks Entra once more about a grant that it did not take, if that is for this replica to do. Returns whether it is
    /// taken again.
    async fn ask_again(&self, grant: &Grant) -> bool {
        let _flight = self.flight.lock().await;
        let asked_at = self.clock.now();
        let next = asked_at.saturating_add(ASK_AGAIN_EVERY_MS);
        if !matches!(self.grants.ask_again(grant.generation, next).await, Ok(true)) {
            return false;
        }
        match self.identity.redeem(&Granted::Refresh(&grant.refresh_token), &self.is_public).await {
            Ok(issued) => {
                self.keep(grant, &issued).await;
                self.held().cache.issued(issued.token, issued.life, asked_at);
                tracing::info!(mailbox = %self.mailbox, "{}: Entra takes the sign-in again", self.mailbox);
                true
            }
            Err(Refused::Grant(verdict)) => {
                // How that stands now is remembered, and said if it is another reason.
                drop(self.refused_by_entra(grant, &verdict).await);
                false
            }
            // What is wrong is kept by whoever asked Entra, and shown with the tenant.
            Err(Refused::Token(_) | Refused::Credentials(_) | Refused::Device(_)) => false,
        }
    }

    /// The grant as it is kept, if it is worth asking Entra with it.
    async fn grant(&self) -> Result<Grant, TokenError> {
        self.usable(self.loaded().await?)
    }

    async fn loaded(&self) -> Result<Grant, TokenError> {
        match self.grants.load().await {
            Err(error @ GrantError::Unavailable(_)) => {
                Err(TokenError::Transient { reason: error.to_string(), after: None })
            }
            // The key is what is missing, and not a sign-in.
            Err(error @ GrantError::Sealed(_)) => Err(self.needed_as(None, error.to_string())),
            Ok(None) => Err(self.needed(None, "nobody has signed in yet".to_owned())),
            Ok(Some(grant)) => Ok(grant),
        }
    }

    fn usable(&self, mut grant: Grant) -> Result<Grant, TokenError> {
        let now = self.clock.now();
        let held = self.held();
        let is_held = |it: &&(i64, Refusal)| it.0 == grant.generation && it.1.ask_again_at.is_none_or(|at| now < at);
        let refusal = grant.refused.take().or_else(|| held.refused.as_ref().filter(is_held).map(|it| it.1.clone()));
        if let Some(refusal) = refusal {
            drop(held);
            return Err(self.stopped(refusal));
        }
        if let Some((generation, newer)) = &held.unstored
            && *generation == grant.generation
        {
            grant.refresh_token = newer.clone();
        }
        Ok(grant)
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

    /// Entra does not take this grant. Returns if another is there by now, so that it is worth asking again.
    async fn refused_by_entra(&self, grant: &Grant, verdict: &Verdict) -> Result<(), TokenError> {
        // A token that was never stored is given up for the one that was.
        if self.held().unstored.take_if(|it| it.0 == grant.generation).is_some() {
            return Ok(());
        }
        // Another replica may have refreshed it in this moment, or somebody may have signed in.
        if self.loaded().await?.generation != grant.generation {
            return Ok(());
        }
        let since = self.clock.now();
        let is_blocked = verdict.decision == Decision::Blocked;
        let ask_again_at = is_blocked.then(|| since.saturating_add(ASK_AGAIN_EVERY_MS));
        let refusal = Refusal { since, reason: describe(verdict), ask_again_at };
        if let Err(error) = self.grants.refuse(grant.generation, refusal.clone()).await {
            tracing::warn!(mailbox = %self.mailbox, reason = %error, "That a sign-in is not taken could not be written down");
            self.held().refused = Some((grant.generation, refusal.clone()));
        }
        Err(self.stopped(refusal))
    }

    /// Stores the new refresh token before the access token is used by anybody. If that cannot be done the old one goes
    /// on at Entra, so nothing is lost by using what came with the new one.
    async fn keep(&self, grant: &Grant, issued: &OnBehalf) {
        let now = self.clock.now();
        // One that was refused is good again, though no other came with it.
        let kept = grant.refused.as_ref().map(|_| &grant.refresh_token);
        if let Some(refresh_token) = issued.refresh_token.as_ref().or(kept) {
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

    /// Somebody has just signed in here, which brought this token.
    pub(super) fn begin(&self, issued: OnBehalf, asked_at: UnixMillis) {
        let mut held = self.held();
        (held.unstored, held.refused, held.credentials_refused) = (None, None, false);
        held.cache.issued(issued.token, issued.life, asked_at);
        drop(held);
        self.signed_in(asked_at, asked_at);
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
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
