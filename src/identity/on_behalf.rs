//! A tenant's credentials where a user stands behind a request: shown in order, and none by a public client.
//!
//! What is wrong with a credential never ends what the user granted.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Identity;
use super::aadsts::{Decision, PUBLIC_CLIENT, Verdict};
use super::credentials::{Candidate, CredentialState};
use super::exchange::{ExchangeError, describe};
use super::proof::Proof;
use super::redeem::{DeviceAnswer, Granted, NotRedeemed, OnBehalf};
use crate::model::clock::UnixMillis;
use crate::model::token::TokenError;

/// What mail needs, and who the user is.
pub(super) const PERMISSIONS: [&str; 3] = ["User.Read", "Mail.ReadWrite", "Mail.Send"];

/// The kind of credential that is the platform's.
const PLATFORM: &str = "managed_identity";

/// Why a grant brought no token.
pub(super) enum Refused {
    /// It is not the grant's fault.
    Token(TokenError),
    /// No credential is accepted.
    Credentials(TokenError),
    /// The grant is over, or blocked.
    Grant(Verdict),
    /// A device's user has not finished, said no, or was too late.
    Device(NotRedeemed),
}

impl Identity {
    /// Exchanges what a user granted for tokens, by the first credential that Entra accepts. `is_public` is what was learnt
    /// of this mailbox's sign-in: whether Entra wants no credential with it, which depends on how the user signed in.
    pub(super) async fn redeem(&self, granted: &Granted<'_>, is_public: &AtomicBool) -> Result<OnBehalf, Refused> {
        let outcome = self.redeem_in_order(granted, is_public).await;
        // An attempt to sign in says nothing of how the tenant is.
        if let (Err(Refused::Token(error) | Refused::Credentials(error)), Granted::Refresh(_)) = (&outcome, granted) {
            let now = self.clock.now();
            let mut held = self.held();
            self.failed(&mut held, error, now);
            held.failed_for_user = true;
        }
        outcome
    }

    /// Asks for a code for a device. No credential is shown here.
    pub(super) async fn device_code(&self) -> Result<DeviceAnswer, Refused> {
        let endpoint = self.endpoints.beside("devicecode").ok_or_else(|| {
            let reason = "token_endpoint does not end in /token, so nobody knows where devices get their codes";
            Refused::Token(TokenError::Refused { reason: reason.to_owned() })
        })?;
        let scopes = self.endpoints.scopes(&PERMISSIONS);
        self.registration.device_code(&endpoint, &scopes).await.map_err(|error| match error {
            ExchangeError::Unavailable { reason, after } => Refused::Token(TokenError::Transient { reason, after }),
            ExchangeError::Refused(verdict) if is_of_user(&verdict) => Refused::Grant(verdict),
            ExchangeError::Refused(verdict) => Refused::Token(TokenError::Refused { reason: describe(&verdict) }),
        })
    }

    /// Whether a credential was replaced, or is accepted again, since all were refused. A platform's identity is none.
    pub(super) fn may_serve(&self, now: UnixMillis) -> bool {
        let mut held = self.held();
        let is_own = |it: &CredentialState| it.kind != PLATFORM;
        held.credentials.changed(now) || held.credentials.states().iter().any(|it| is_own(it) && it.refused.is_none())
    }

    async fn redeem_in_order(&self, granted: &Granted<'_>, is_public: &AtomicBool) -> Result<OnBehalf, Refused> {
        let candidates = self.held().credentials.candidates(self.clock.now());
        // A platform's identity is none of the application's credentials.
        let is_own = |it: &Candidate| !matches!(it.proof, Ok(Proof::Platform(_)));
        let candidates: Vec<Candidate> = candidates.into_iter().filter(is_own).collect();
        if is_public.load(Ordering::Relaxed) || candidates.is_empty() {
            match self.redeem_with(None, granted).await {
                // The user has signed in in another way since: with this sign-in a credential is wanted.
                Err(NotRedeemed::Exchange(ExchangeError::Refused(verdict)))
                    if verdict.decision == Decision::NextCredential && !candidates.is_empty() =>
                {
                    is_public.store(false, Ordering::Relaxed);
                }
                outcome => return outcome.map_err(judged),
            }
        }
        for candidate in candidates {
            let proof = match &candidate.proof {
                Ok(proof) => proof,
                Err(reason) => {
                    self.pass_over(&candidate, None, reason.clone());
                    continue;
                }
            };
            match self.redeem_with(Some(proof), granted).await {
                Ok(issued) => {
                    let now = self.clock.now();
                    self.accepted(&mut self.held(), &candidate, issued.life, now);
                    return Ok(issued);
                }
                Err(NotRedeemed::Exchange(ExchangeError::Refused(verdict))) if verdict.code == Some(PUBLIC_CLIENT) => {
                    is_public.store(true, Ordering::Relaxed);
                    tracing::debug!(tenant = self.tenant, "Entra wants no credential with this sign-in");
                    return self.redeem_with(None, granted).await.map_err(judged);
                }
                Err(NotRedeemed::Exchange(ExchangeError::Refused(verdict)))
                    if verdict.decision == Decision::NextCredential =>
                {
                    self.pass_over(&candidate, verdict.code, describe(&verdict));
                }
                Err(failed) => return Err(judged(failed)),
            }
        }
        Err(Refused::Credentials(TokenError::Refused { reason: self.complaints() }))
    }

    async fn redeem_with(&self, proof: Option<&Proof>, granted: &Granted<'_>) -> Result<OnBehalf, NotRedeemed> {
        let issued = self.registration.redeem(proof, granted, &self.endpoints.scopes(&PERMISSIONS)).await;
        match &issued {
            Ok(_) => {
                self.count("ok");
                let mut held = self.held();
                // What Entra said of the application's own requests stands.
                if held.failed_for_user {
                    held.last_failure = None;
                }
            }
            Err(NotRedeemed::Exchange(ExchangeError::Unavailable { .. })) => self.count("transient"),
            Err(NotRedeemed::Exchange(ExchangeError::Refused(verdict)))
                if verdict.decision != Decision::NextCredential =>
            {
                self.count("refused");
            }
            Err(_) => {}
        }
        issued
    }
}

fn judged(failed: NotRedeemed) -> Refused {
    match failed {
        NotRedeemed::Exchange(ExchangeError::Unavailable { reason, after }) => {
            Refused::Token(TokenError::Transient { reason, after })
        }
        NotRedeemed::Exchange(ExchangeError::Refused(verdict)) if is_of_user(&verdict) => Refused::Grant(verdict),
        NotRedeemed::Exchange(ExchangeError::Refused(verdict)) => {
            Refused::Token(TokenError::Refused { reason: describe(&verdict) })
        }
        device => Refused::Device(device),
    }
}

/// Whether it is what the user granted that is refused.
fn is_of_user(verdict: &Verdict) -> bool {
    matches!(verdict.decision, Decision::SignIn | Decision::Blocked)
}
