//! The small trait through which `identity` keeps what a user granted, without knowing where it is kept.
//!
//! A grant has a generation that grows with every change, so that of two who replace it one is told that he was too late.

use super::clock::UnixMillis;
use super::secret::Secret;
use super::token::BoxFuture;

/// What a user granted for a mailbox, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Grows with every sign-in and every replaced token.
    pub generation: i64,
    /// What the next access token is asked for with.
    pub refresh_token: Secret,
    /// When the user signed in.
    pub signed_in_at: UnixMillis,
    /// When the token was last replaced.
    pub rotated_at: UnixMillis,
    /// Why Entra does not take it; `None` while it does.
    pub refused: Option<Refusal>,
}

/// Why Entra does not take a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Since when.
    pub since: UnixMillis,
    /// What Entra said.
    pub reason: String,
    /// When Entra is asked again, because an administrator can mend it; `None`: not before somebody has signed in.
    pub ask_again_at: Option<UnixMillis>,
}

/// What a user has just granted.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// The first refresh token.
    pub refresh_token: Secret,
    /// The permissions, parted by spaces.
    pub scopes: String,
    /// The user principal name.
    pub signed_in_as: String,
}

/// Why a grant cannot be read or kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The store is out of reach, or full.
    #[error("the sign-in cannot be read or written: {0}")]
    Unavailable(String),
    /// It is sealed with another key.
    #[error("the stored sign-in cannot be opened: {0}")]
    Sealed(String),
}

/// The grant of one mailbox, on disk.
pub trait Grants: Send + Sync {
    /// As it is now; `None`: nobody ever signed in.
    fn load(&self) -> BoxFuture<'_, Result<Option<Grant>, GrantError>>;

    /// Somebody has signed in: whatever was there before is replaced. Returns the new generation.
    fn begin(&self, new: NewGrant) -> BoxFuture<'_, Result<i64, GrantError>>;

    /// Replaces the token of this generation, in one step. Returns the new generation; `None`: another was faster, and
    /// nothing was changed.
    fn replace(&self, generation: i64, refresh_token: Secret) -> BoxFuture<'_, Result<Option<i64>, GrantError>>;

    /// Entra does not take the token of this generation. A later generation is left as it is, and so is one that is over.
    fn refuse(&self, generation: i64, refusal: Refusal) -> BoxFuture<'_, Result<(), GrantError>>;

    /// Whether it is for this caller to ask Entra again about the refused token of this generation. Nobody else is told so
    /// before `next`.
    fn ask_again(&self, generation: i64, next: UnixMillis) -> BoxFuture<'_, Result<bool, GrantError>>;
}
