//! The eye on credentials: ends that come near, files that were replaced, spares that are dead; and how a tenant is.
//!
//! Each replica looks for itself, because what it holds in memory is its own. No job in the table could know that.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::Daemon;
use super::tenants::Tenant;
use crate::identity::{CredentialState, IdentityState, expiry};
use crate::model::clock::UnixMillis;
use crate::ops::health::{Check, Credential, Details, Status, shown};

/// How often files and calendar are looked at.
const TURN: Duration = Duration::from_secs(2);

impl Daemon {
    /// Watches the credentials of every tenant there is, until the stop. Tenants do not wait for each other.
    pub(super) async fn watch_credentials(&self, stop: CancellationToken) {
        let mut swaps = self.jobs.swaps();
        let following = async {
            loop {
                let wiring = Arc::clone(&swaps.borrow_and_update());
                let watching = wiring.tenants.iter().map(|it| async move {
                    loop {
                        it.identity.watch().await;
                        tokio::time::sleep(TURN).await;
                    }
                });
                tokio::select! {
                    _ = futures_util::future::join_all::<_>(watching) => swaps.changed().await?,
                    swapped = swaps.changed() => swapped?,
                }
            }
        };
        // The sender lives as long as the daemon.
        let _: Option<Result<Infallible, RecvError>> = stop.run_until_cancelled(following).await;
    }
}

impl Tenant {
    /// How its credentials are.
    pub(super) fn check(&self, now: UnixMillis) -> Check {
        check(self.identity.state(), now)
    }
}

/// The worst that can be said of a tenant, and everything that is known.
fn check(state: IdentityState, now: UnixMillis) -> Check {
    let troubles = state.credentials.iter().enumerate().filter_map(|(index, it)| {
        trouble(it, now).map(|(worse, reason)| (worse, format!("credential {}: {reason}", index + 1)))
    });
    // What was refused stands before what is about to be.
    let worst = troubles.min_by_key(|(worse, _)| *worse).map(|(_, reason)| reason);
    let (status, reason) = match (state.last_failure, worst) {
        (Some(failure), _) if failure.needs_a_person => (Status::Failing, Some(failure.reason)),
        (Some(failure), _) => (Status::Degraded, Some(failure.reason)),
        (None, Some(reason)) => (Status::Degraded, Some(reason)),
        (None, None) => (Status::Ok, None),
    };
    let used = state.in_use.map(|it| it.index);
    let expires = |it: &CredentialState| it.expires_at.map(expiry::day);
    Check {
        kind: "tenant",
        name: state.tenant,
        status,
        reason,
        details: Details::Tenant {
            credential: used.map(|index| index + 1),
            credential_expires: used.and_then(|index| state.credentials.get(index)).and_then(expires),
            credentials: state
                .credentials
                .iter()
                .enumerate()
                .map(|(index, it)| Credential {
                    kind: it.kind,
                    in_use: used == Some(index),
                    expires: expires(it),
                    tried_at: shown(it.tried_at),
                    reason: trouble(it, now).map(|(_, reason)| reason),
                })
                .collect(),
        },
    }
}

/// What is wrong with a credential, and how bad that is: the less, the worse.
fn trouble(credential: &CredentialState, now: UnixMillis) -> Option<(u8, String)> {
    if let Some(refused) = &credential.refused {
        return Some((0, refused.reason.clone()));
    }
    if let Some(trouble) = &credential.trouble {
        return Some((1, format!("what was read before is in use, because {trouble}")));
    }
    let at = credential.expires_at.filter(|at| expiry::warning(*at, now).is_some())?;
    Some((2, format!("it {}; replace it before", expiry::told(at, now))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{InUse, LastFailure, RefusedState};

    const DAY: i64 = 24 * 3600 * 1000;

    fn credential() -> CredentialState {
        CredentialState { kind: "client_secret", expires_at: None, refused: None, trouble: None, tried_at: None }
    }

    fn tenant(credentials: Vec<CredentialState>, last_failure: Option<LastFailure>) -> IdentityState {
        let in_use = Some(InUse { index: 0, since: 0 });
        IdentityState { tenant: "contoso".into(), credentials, in_use, token_expires_at: None, last_failure }
    }

    fn failure(needs_a_person: bool) -> Option<LastFailure> {
        Some(LastFailure { at: 0, needs_a_person, reason: "no".into() })
    }

    #[test]
    fn a_spare_counts_and_the_worst_is_what_is_said() {
        let refused = RefusedState { at: 0, code: Some(7_000_222), reason: "the client secret has expired".into() };
        let dead = CredentialState { refused: Some(refused), ..credential() };
        let torn = CredentialState { trouble: Some("/key: no private key is in it".into()), ..credential() };
        let ending = CredentialState { expires_at: Some(13 * DAY), ..credential() };
        let far = CredentialState { expires_at: Some(31 * DAY), ..credential() };
        for (credentials, failure, status, says) in [
            (vec![far.clone()], None, Status::Ok, None),
            (vec![credential(), ending.clone()], None, Status::Degraded, Some("credential 2: it expires in 13 days")),
            (vec![ending.clone(), torn.clone()], None, Status::Degraded, Some("credential 2: what was read before")),
            (vec![ending, torn, dead.clone()], None, Status::Degraded, Some("credential 3: the client secret has")),
            (vec![dead.clone()], failure(false), Status::Degraded, Some("no")),
            (vec![dead], failure(true), Status::Failing, Some("no")),
        ] {
            let check = check(tenant(credentials, failure), 0);
            assert_eq!(check.status, status, "{check:?}");
            assert_eq!(check.reason.is_some(), says.is_some(), "{check:?}");
            assert!(check.reason.unwrap_or_default().starts_with(says.unwrap_or_default()));
        }
    }
}
