//! How the sign-in of a mailbox stands; each change is said once.

use super::delegated::Delegated;
use crate::model::clock::UnixMillis;
use crate::model::grant::Refusal;
use crate::model::token::TokenError;

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
    /// Somebody has signed in, and the tenant does not let that be used: an administrator has to mend it.
    Blocked {
        /// Since when.
        since: UnixMillis,
        /// Why, and what then.
        reason: String,
    },
}

impl Standing {
    /// Whether the mailbox cannot be used as it stands.
    pub(super) fn is_stopped(&self) -> bool {
        self.reason().is_some()
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Unknown | Self::SignedIn { .. } => None,
            Self::Needed { reason, .. } | Self::Blocked { reason, .. } => Some(reason),
        }
    }
}

impl Delegated {
    /// How the sign-in stands, as far as it is known.
    pub fn standing(&self) -> Standing {
        self.held().standing.clone()
    }

    /// Somebody is signed in. The next caller gets a token, whatever was believed before.
    pub(super) fn signed_in(&self, since: UnixMillis, refreshed_at: UnixMillis) {
        let mut held = self.held();
        if held.standing.is_stopped() {
            held.cache.end_pause();
        }
        held.standing = Standing::SignedIn { since, refreshed_at };
        // Before anybody else can say how it stands: what is shown last must be what holds.
        self.show(true);
        drop(held);
    }

    /// Entra does not take what was granted.
    pub(super) fn stopped(&self, refusal: Refusal) -> TokenError {
        let Refusal { since, reason, ask_again_at } = refusal;
        match ask_again_at {
            None => self.needed(Some(since), reason),
            Some(_) => {
                let reason = format!(
                    "{reason}; an administrator of the tenant mends that. Entra is asked again every hour; to go on at once \
                     then, run `mailspan sign-in {}`",
                    self.mailbox.address
                );
                self.stands(Standing::Blocked { since, reason })
            }
        }
    }

    /// Somebody has to sign in, by this command.
    pub(super) fn needed(&self, since: Option<UnixMillis>, reason: String) -> TokenError {
        self.needed_as(since, format!("{reason}; run `mailspan sign-in {}`", self.mailbox.address))
    }

    /// There is no sign-in that can be used.
    pub(super) fn needed_as(&self, since: Option<UnixMillis>, reason: String) -> TokenError {
        self.stands(Standing::Needed { since, reason })
    }

    /// The mailbox cannot be used: said once, and remembered.
    fn stands(&self, standing: Standing) -> TokenError {
        let reason = standing.reason().unwrap_or_default().to_owned();
        let mut held = self.held();
        let is_new = held.standing.reason() != Some(&reason);
        held.standing = standing;
        if is_new {
            self.show(false);
        }
        drop(held);
        if is_new {
            tracing::error!(
                mailbox = %self.mailbox,
                reason,
                "{}: no mail is read or sent here, because there is no sign-in: {reason}",
                self.mailbox
            );
        }
        TokenError::NotSignedIn { reason }
    }

    pub(super) fn show(&self, is_valid: bool) {
        metrics::gauge!("mailspan_sign_in_valid", "mailbox" => self.mailbox.to_string())
            .set(f64::from(u8::from(is_valid)));
    }
}
