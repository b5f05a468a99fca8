//! The small trait through which `identity` hands tokens to `graph`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::secret::Secret;

/// A future that can be stored behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An access token for Graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken(pub Secret);

/// Why no token can be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// Entra could not be reached or asked for patience.
    #[error("no token just now: {reason}")]
    Transient {
        /// What happened, without secrets.
        reason: String,
        /// How long Entra asked us to wait.
        after: Option<Duration>,
    },
    /// Every credential was refused; a person must act.
    #[error("no credential is accepted: {reason}")]
    Refused {
        /// What Entra said, by code, without secrets.
        reason: String,
    },
    /// The mailbox is reached on behalf of its user, who has to sign in.
    #[error("there is no sign-in: {reason}")]
    NotSignedIn {
        /// Why, and with which command, without secrets.
        reason: String,
    },
}

/// Access tokens for one tenant, always fresh.
pub trait Tokens: Send + Sync {
    /// A token that is valid now. Many callers share one flight to Entra.
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>>;

    /// Graph answered 401 to this token: the next call gets another one. A token that was already replaced is ignored.
    fn refused(&self, token: &AccessToken);
}
