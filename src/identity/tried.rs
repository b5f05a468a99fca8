//! Every credential by itself: what Entra says of each, for whoever looks into a tenant's set-up.
//!
//! Unlike a trial it leaves no trace in the state and no log line, and it hands out the tokens.

use super::Identity;
use super::aadsts::Verdict;
use super::exchange::ExchangeError;
use crate::model::clock::UnixMillis;
use crate::model::token::AccessToken;

/// What came of one credential.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Its place in the configured list, from 0.
    pub index: usize,
    /// Its kind, as configured.
    pub kind: &'static str,
    /// When it expires, where known.
    pub expires_at: Option<UnixMillis>,
    /// A token, or why there is none.
    pub outcome: Result<AccessToken, NotIssued>,
}

/// Why there is no token for a credential.
#[derive(Debug, Clone)]
pub enum NotIssued {
    /// It cannot be read; nobody was asked.
    Unreadable(String),
    /// It was looked at and refused.
    Refused(Verdict),
    /// Nobody could be asked, or all that was said was to wait.
    Unavailable(String),
}

impl Identity {
    /// Tries each credential by itself, in order.
    pub async fn try_each(&self) -> Vec<Tried> {
        let candidates = self.held().credentials.all();
        let states = self.state().credentials;
        let mut tried = Vec::new();
        for candidate in candidates {
            let outcome = match &candidate.proof {
                Err(reason) => Err(NotIssued::Unreadable(reason.clone())),
                Ok(proof) => match self.registration.exchange(proof).await {
                    Ok(issued) => Ok(issued.token),
                    Err(ExchangeError::Refused(verdict)) => Err(NotIssued::Refused(verdict)),
                    Err(ExchangeError::Unavailable { reason, .. }) => Err(NotIssued::Unavailable(reason)),
                },
            };
            let expires_at = states.get(candidate.index).and_then(|it| it.expires_at);
            tried.push(Tried { index: candidate.index, kind: candidate.kind, expires_at, outcome });
        }
        tried
    }
}
