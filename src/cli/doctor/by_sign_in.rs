//! The tokens of a user's sign-in where no daemon runs: the store that keeps it is opened for as long as it takes to get one.
//!
//! A look may last longer than a token lives, so another is had in time, or as soon as Graph refuses the one that is held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::app::{Alone, SystemClock};
use crate::config::Config;
use crate::model::token::{AccessToken, BoxFuture, TokenError, Tokens};

/// Entra's tokens live for an hour and more (learn.microsoft.com/entra/identity-platform/configurable-token-lifetimes).
const HELD_FOR: Duration = Duration::from_secs(30 * 60);

/// Held by whoever has the store open: SQLite lets in one at a time.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

/// One mailbox's tokens.
pub(super) struct BySignIn {
    config: Arc<Config>,
    /// The mailbox, as `tenant/address`.
    mailbox: String,
    turn: Turn,
    held: Mutex<Option<(AccessToken, Instant)>>,
}

impl BySignIn {
    pub(super) fn new(config: &Arc<Config>, mailbox: String, turn: &Turn) -> Self {
        Self { config: Arc::clone(config), mailbox, turn: Arc::clone(turn), held: Mutex::default() }
    }

    async fn current(&self) -> Result<AccessToken, TokenError> {
        if let Some(token) = self.young() {
            return Ok(token);
        }
        let _turn = self.turn.lock().await;
        // Whoever was before us may have brought one.
        if let Some(token) = self.young() {
            return Ok(token);
        }
        let token = self.renewed().await?;
        *self.held() = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    fn young(&self) -> Option<AccessToken> {
        self.held().as_ref().filter(|(_, since)| since.elapsed() < HELD_FOR).map(|(token, _)| token.clone())
    }

    async fn renewed(&self) -> Result<AccessToken, TokenError> {
        match Box::pin(Alone::open(&self.config, &self.mailbox, Arc::new(SystemClock))).await {
            Ok(alone) => {
                let token = alone.tokens.token().await;
                alone.close().await;
                token
            }
            Err(error) => Err(TokenError::Transient { reason: format!("{error:#}"), after: None }),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<(AccessToken, Instant)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tokens for BySignIn {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(self.current())
    }

    fn refused(&self, token: &AccessToken) {
        self.held().take_if(|(held, _)| held == token);
    }
}
