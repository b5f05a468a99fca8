//! A tenant's tokens for as long as a look lasts: renewed when they age, and when Graph refuses one that has ended.
//!
//! A mailbox for which Graph refuses every token keeps no token from the others: another is asked for now and then only.

use std::sync::{Arc, Mutex, PoisonError};

use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::token::{AccessToken, BoxFuture, TokenError, Tokens};

/// A token that is refused sooner after the one before was refused has not ended: another will hardly fare better.
const ANOTHER_AFTER_MS: i64 = 6 * 60 * 1000;

/// Tokens that are given up seldom.
pub(super) struct Lasting {
    tokens: Arc<dyn Tokens>,
    clock: SharedClock,
    refused_at: Mutex<Option<UnixMillis>>,
}

impl Lasting {
    pub(super) fn new(tokens: Arc<dyn Tokens>, clock: SharedClock) -> Self {
        Self { tokens, clock, refused_at: Mutex::default() }
    }
}

impl Tokens for Lasting {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        self.tokens.token()
    }

    fn refused(&self, token: &AccessToken) {
        let now = self.clock.now();
        let mut refused_at = self.refused_at.lock().unwrap_or_else(PoisonError::into_inner);
        if refused_at.is_none_or(|at| now - at >= ANOTHER_AFTER_MS) {
            *refused_at = Some(now);
            self.tokens.refused(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    use super::*;
    use crate::model::clock::Clock;
    use crate::model::secret::Secret;

    #[derive(Default)]
    struct Issuer {
        refusals: AtomicUsize,
        now: AtomicI64,
    }

    impl Clock for Issuer {
        fn now(&self) -> UnixMillis {
            self.now.load(Ordering::Relaxed)
        }
    }

    impl Tokens for Issuer {
        fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
            let issued = AccessToken(Secret::new(self.refusals.load(Ordering::Relaxed).to_string().as_str()));
            Box::pin(std::future::ready(Ok(issued)))
        }

        fn refused(&self, _token: &AccessToken) {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_token_that_ended_is_replaced_and_one_that_a_mailbox_does_not_take_is_kept() {
        let issuer = Arc::new(Issuer::default());
        let lasting = Lasting::new(Arc::clone(&issuer) as Arc<dyn Tokens>, Arc::clone(&issuer) as SharedClock);
        for (minute, times, expected) in [(0, 1, "1"), (0, 40, "1"), (5, 1, "1"), (6, 40, "2"), (66, 1, "3")] {
            issuer.now.store(minute * 60_000, Ordering::Relaxed);
            for _ in 0..times {
                lasting.refused(&lasting.token().await.unwrap());
            }
            assert_eq!(lasting.token().await.unwrap().0.expose(), expected, "minute {minute}");
        }
    }
}
