//! A token's life: served until it ages, renewed ahead of its end, dropped when Graph refuses it.
//!
//! Also remembers failures, so that a broken tenant is asked seldom. Reads no clock: `now` is an argument.

use std::time::Duration;

use crate::model::backoff::{Backoff, Then};
use crate::model::clock::UnixMillis;
use crate::model::token::{AccessToken, BoxFuture, TokenError};

/// A token is not handed out in the last tenth of its life, at most this long before its end: it must outlive the call.
const LAST_MOMENTS: Duration = Duration::from_secs(60);
/// A token refused this soon after its issue was not stale: another one will hardly fare better.
const FRESH: Duration = Duration::from_secs(300);

const AFTER_TROUBLE: [u64; 6] = [0, 1, 3, 10, 30, 60];
const AFTER_REFUSAL: [u64; 4] = [0, 10, 60, 300];
/// How long it is believed that nobody has signed in.
const NOT_SIGNED_IN: Duration = Duration::from_secs(60);
/// The first refusal by Graph is met with a new token at once; the waits are for what follows.
const AFTER_FRESH_REFUSALS: [u64; 5] = [0, 0, 10, 60, 300];

/// Somebody whose token is kept, and renewed by one caller at a time.
pub(super) trait Renews: Sync {
    /// What there is now.
    fn find(&self) -> Found;

    /// Whoever holds it is the one that asks Entra.
    fn flight(&self) -> &tokio::sync::Mutex<()>;

    /// Asks Entra. Only for the holder of the flight.
    fn renew(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>>;
}

/// A token that is valid now; many callers share one flight.
pub(super) async fn current(of: &impl Renews) -> Result<AccessToken, TokenError> {
    match of.find() {
        Found::Fresh(token) => Ok(token),
        Found::Paused(error) => Err(error),
        Found::Ageing(token) => match of.flight().try_lock() {
            Ok(_flight) => match of.find() {
                // The old token is still good for this caller, whatever comes of the renewal.
                Found::Ageing(token) => Ok(of.renew().await.unwrap_or(token)),
                Found::Fresh(token) => Ok(token),
                Found::Nothing | Found::Paused(_) => Ok(token),
            },
            Err(_) => Ok(token),
        },
        Found::Nothing => {
            let _flight = of.flight().lock().await;
            // The flight before ours may have brought a token, or an answer that holds for us as well.
            match of.find() {
                Found::Fresh(token) | Found::Ageing(token) => Ok(token),
                Found::Paused(error) => Err(error),
                Found::Nothing => of.renew().await,
            }
        }
    }
}

/// A token and the failures to get one.
#[derive(Debug, Default)]
pub(super) struct Cache {
    held: Option<Held>,
    failures: u32,
    fresh_refusals: u32,
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Held {
    token: AccessToken,
    issued_at: UnixMillis,
    renew_at: UnixMillis,
    last_use_at: UnixMillis,
    expires_at: UnixMillis,
}

#[derive(Debug)]
struct Pause {
    from: UnixMillis,
    until: UnixMillis,
    error: TokenError,
}

/// What a caller finds.
#[derive(Debug)]
pub(super) enum Found {
    /// Take it.
    Fresh(AccessToken),
    /// Good, but ageing: one caller should renew it, the others take it.
    Ageing(AccessToken),
    /// There is none: wait for one.
    Nothing,
    /// There is none, and it is too early to ask again.
    Paused(TokenError),
}

impl Cache {
    pub(super) fn find(&self, now: UnixMillis) -> Found {
        let pause = self.pause.as_ref().filter(|pause| (pause.from..pause.until).contains(&now));
        match (&self.held, pause) {
            (Some(held), _) if (held.issued_at..held.renew_at).contains(&now) => Found::Fresh(held.token.clone()),
            // Renewal just failed; what we hold is still good.
            (Some(held), Some(_)) if now < held.last_use_at => Found::Fresh(held.token.clone()),
            (Some(held), None) if now < held.last_use_at => Found::Ageing(held.token.clone()),
            (_, Some(pause)) => Found::Paused(pause.remaining(now)),
            (_, None) => Found::Nothing,
        }
    }

    pub(super) fn issued(&mut self, token: AccessToken, life: Duration, asked_at: UnixMillis) {
        let after = |part: Duration| asked_at.saturating_add(millis(part));
        self.held = Some(Held {
            token,
            issued_at: asked_at,
            renew_at: after(life / 5 * 4),
            last_use_at: after(life.saturating_sub(LAST_MOMENTS.min(life / 10))),
            expires_at: after(life),
        });
        self.failures = 0;
        self.pause = None;
    }

    pub(super) fn failed(&mut self, error: TokenError, now: UnixMillis) {
        self.failures = self.failures.saturating_add(1);
        let wait = match &error {
            TokenError::Transient { after, .. } => waiting(&AFTER_TROUBLE, self.failures, *after),
            TokenError::Refused { .. } => waiting(&AFTER_REFUSAL, self.failures, None),
            // Ended as soon as somebody signs in; until then Entra is not asked, whoever asks us.
            TokenError::NotSignedIn { .. } => NOT_SIGNED_IN,
        };
        self.pause_for(wait, error, now);
    }

    /// Graph refused this token. Returns whether it was the one we hold.
    pub(super) fn refused(&mut self, token: &AccessToken, now: UnixMillis) -> bool {
        let Some(held) = self.held.take_if(|held| held.token == *token) else { return false };
        let fresh = now.saturating_sub(held.issued_at) < millis(FRESH);
        self.fresh_refusals = if fresh { self.fresh_refusals.saturating_add(1) } else { 1 };
        let wait = waiting(&AFTER_FRESH_REFUSALS, self.fresh_refusals, None);
        if !wait.is_zero() {
            let reason = "Graph refuses the tokens that Entra issues".to_owned();
            self.pause_for(wait, TokenError::Transient { reason, after: None }, now);
        }
        true
    }

    /// Something changed that makes asking worth while.
    pub(super) fn end_pause(&mut self) {
        self.pause = None;
    }

    pub(super) fn expires_at(&self) -> Option<UnixMillis> {
        self.held.as_ref().map(|held| held.expires_at)
    }

    fn pause_for(&mut self, wait: Duration, error: TokenError, now: UnixMillis) {
        self.pause = Some(Pause { from: now, until: now.saturating_add(millis(wait)), error });
    }
}

impl Pause {
    fn remaining(&self, now: UnixMillis) -> TokenError {
        let left = Duration::from_millis(u64::try_from(self.until.saturating_sub(now)).unwrap_or(0));
        match self.error.clone() {
            TokenError::Transient { reason, .. } => TokenError::Transient { reason, after: Some(left) },
            refused @ (TokenError::Refused { .. } | TokenError::NotSignedIn { .. }) => refused,
        }
    }
}

fn waiting(steps: &[u64], failures: u32, at_least: Option<Duration>) -> Duration {
    let steps = steps.iter().copied().map(Duration::from_secs).collect();
    // One flight per tenant asks, so there is no crowd to spread: no chance is needed here.
    Backoff { steps, then: Then::Repeat }.wait(failures, 0.5, at_least).unwrap_or_default()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    const HOUR: Duration = Duration::from_secs(3600);

    fn token(text: &str) -> AccessToken {
        AccessToken(Secret::new(text))
    }

    fn trouble() -> TokenError {
        TokenError::Transient { reason: "busy".into(), after: None }
    }

    fn seen(cache: &Cache, second: i64) -> &'static str {
        match cache.find(second * 1000) {
            Found::Fresh(_) => "fresh",
            Found::Ageing(_) => "ageing",
            Found::Nothing => "nothing",
            Found::Paused(_) => "paused",
        }
    }

    #[test]
    fn a_token_is_served_then_renewed_ahead_then_gone() {
        let mut cache = Cache::default();
        assert_eq!(seen(&cache, 0), "nothing");
        cache.issued(token("a"), HOUR, 0);
        for (second, expected) in
            [(0, "fresh"), (2879, "fresh"), (2880, "ageing"), (3539, "ageing"), (3540, "nothing"), (9999, "nothing")]
        {
            assert_eq!(seen(&cache, second), expected, "{second}");
        }
    }

    #[test]
    fn a_clock_set_back_makes_a_token_suspect_and_never_immortal() {
        let mut cache = Cache::default();
        cache.issued(token("a"), HOUR, 10_000_000);
        assert_eq!(seen(&cache, 1), "ageing");
        cache.failed(TokenError::Refused { reason: String::new() }, 20_000_000);
        assert_eq!(seen(&cache, 1), "ageing");
    }

    #[test]
    fn a_failed_renewal_leaves_the_old_token_in_service() {
        let mut cache = Cache::default();
        cache.issued(token("a"), HOUR, 0);
        cache.failed(trouble(), 2_900_000);
        assert_eq!(seen(&cache, 2900), "fresh");
        assert_eq!(seen(&cache, 2902), "ageing");
    }

    #[test]
    fn failures_are_spaced_out_more_and_more() {
        let mut cache = Cache::default();
        for (failure, wait) in [(1, 1), (2, 3), (3, 10), (4, 30), (5, 60), (6, 60)] {
            cache.failed(trouble(), 0);
            assert_eq!((seen(&cache, wait - 1), seen(&cache, wait)), ("paused", "nothing"), "failure {failure}");
        }
        cache.issued(token("a"), HOUR, 0);
        assert_eq!(cache.failures, 0);
        let patient = TokenError::Transient { reason: "busy".into(), after: Some(Duration::from_secs(90)) };
        cache.held = None;
        cache.failed(patient, 0);
        assert_eq!((seen(&cache, 89), seen(&cache, 90)), ("paused", "nothing"));
    }

    #[test]
    fn a_token_refused_at_once_is_replaced_once_and_then_with_patience() {
        let mut cache = Cache::default();
        cache.issued(token("a"), HOUR, 0);
        assert!(!cache.refused(&token("other"), 0));
        assert!(cache.refused(&token("a"), 1000));
        assert_eq!(seen(&cache, 1), "nothing");
        cache.issued(token("b"), HOUR, 1000);
        assert!(cache.refused(&token("b"), 2000));
        assert_eq!((seen(&cache, 3), seen(&cache, 12)), ("paused", "nothing"));
        cache.issued(token("c"), HOUR, 20_000);
        assert!(cache.refused(&token("c"), 1_000_000));
        assert_eq!(seen(&cache, 1000), "nothing");
    }

    proptest::proptest! {
        #[test]
        fn nothing_expired_is_ever_served(life in 0u64..200_000, at in 0i64..400_000_000) {
            let mut cache = Cache::default();
            cache.issued(token("a"), Duration::from_secs(life), 0);
            if let Found::Fresh(_) | Found::Ageing(_) = cache.find(at) {
                proptest::prop_assert!(at < life as i64 * 1000);
            }
        }
    }
}
