//! A tenant's credentials in order of preference, and what Entra said of each.
//!
//! A refused one is passed over while another is accepted, and tried again after an hour or when its secret changed.

use std::time::Duration;

use super::config::CredentialConfig;
use crate::model::clock::UnixMillis;
use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// How long a refused credential is passed over.
const PASSED_OVER: Duration = Duration::from_secs(3600);
/// Secrets are looked at for a change at most this often.
const LOOK_EVERY_MS: i64 = 1000;

/// The credentials of one tenant.
#[derive(Debug)]
pub(super) struct Credentials {
    list: Vec<Credential>,
    in_use: Option<InUse>,
    looked_at: UnixMillis,
}

#[derive(Debug)]
struct Credential {
    kind: &'static str,
    source: SecretSource,
    expires: Option<jiff::civil::Date>,
    refusal: Option<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    at: UnixMillis,
    code: Option<u32>,
    reason: String,
    /// The secret that was refused; `None` when it could not even be read.
    secret: Option<Secret>,
}

/// A credential that is worth an exchange.
pub(super) struct Candidate {
    pub(super) index: usize,
    /// The secret as it is now, or why it cannot be read.
    pub(super) secret: Result<Secret, String>,
}

/// The credential that the last token was issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse {
    /// Its place in the configured list, from 0.
    pub index: usize,
    /// Since when it has been the one.
    pub since: UnixMillis,
}

/// What is known of one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialState {
    /// Its kind, as configured.
    pub kind: &'static str,
    /// The day it expires, where known.
    pub expires: Option<jiff::civil::Date>,
    /// Why it is passed over; `None` while nothing speaks against it.
    pub refused: Option<RefusedState>,
}

/// Why a credential is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedState {
    /// When it was last refused.
    pub at: UnixMillis,
    /// Entra's code, where there is one.
    pub code: Option<u32>,
    /// What it means, for a person.
    pub reason: String,
}

impl Credentials {
    /// Reads the configured list; `Err` holds the place of one whose secret is given twice or not at all.
    pub(super) fn new(configured: &[CredentialConfig]) -> Result<Self, usize> {
        let list = configured.iter().enumerate().map(|(index, it)| {
            let source = it.source().ok_or(index)?;
            let CredentialConfig::ClientSecret { .. } = it;
            Ok(Credential { kind: "client_secret", source, expires: it.expires(), refusal: None })
        });
        Ok(Self { list: list.collect::<Result<_, usize>>()?, in_use: None, looked_at: UnixMillis::MIN })
    }

    /// Those worth trying now, in order. When all were refused, all are: then only the pause between attempts protects Entra.
    pub(super) fn candidates(&self, now: UnixMillis) -> Vec<Candidate> {
        let all = self.list.iter().enumerate();
        let all = all.map(|(index, it)| Candidate { index, secret: it.source.current() }).collect::<Vec<_>>();
        let worth_it = |candidate: &Candidate| {
            let refusal = self.list[candidate.index].refusal.as_ref();
            refusal.is_none_or(|refusal| refusal.is_over(now) || refusal.secret_changed(&candidate.secret))
        };
        match all.iter().any(worth_it) {
            true => all.into_iter().filter(worth_it).collect(),
            false => all,
        }
    }

    /// Whether the secret of a refused credential has changed since, looked at once a second at most.
    pub(super) fn changed(&mut self, now: UnixMillis) -> bool {
        if (self.looked_at..self.looked_at.saturating_add(LOOK_EVERY_MS)).contains(&now) {
            return false;
        }
        self.looked_at = now;
        let mut refused = self.list.iter().filter_map(|it| it.refusal.as_ref().map(|refusal| (it, refusal)));
        refused.any(|(it, refusal)| refusal.secret_changed(&it.source.current()))
    }

    /// Entra accepted this one. Returns whether it took over from another.
    pub(super) fn accepted(&mut self, index: usize, now: UnixMillis) -> bool {
        if let Some(credential) = self.list.get_mut(index) {
            credential.refusal = None;
        }
        let took_over = self.in_use.is_none_or(|in_use| in_use.index != index);
        if took_over {
            self.in_use = Some(InUse { index, since: now });
        }
        took_over
    }

    /// This one was refused, or could not be read.
    pub(super) fn refused(&mut self, candidate: Candidate, code: Option<u32>, reason: String, now: UnixMillis) {
        if let Some(credential) = self.list.get_mut(candidate.index) {
            credential.refusal = Some(Refusal { at: now, code, reason, secret: candidate.secret.ok() });
        }
    }

    /// What was said of all that are refused, in one line.
    pub(super) fn complaints(&self) -> String {
        let said = self.list.iter().enumerate().filter_map(|(index, it)| {
            it.refusal.as_ref().map(|refusal| format!("credential {}: {}", index + 1, refusal.reason))
        });
        said.collect::<Vec<_>>().join("; ")
    }

    pub(super) fn in_use(&self) -> Option<InUse> {
        self.in_use
    }

    pub(super) fn states(&self) -> Vec<CredentialState> {
        let state = |it: &Credential| CredentialState {
            kind: it.kind,
            expires: it.expires,
            refused: it.refusal.as_ref().map(|refusal| RefusedState {
                at: refusal.at,
                code: refusal.code,
                reason: refusal.reason.clone(),
            }),
        };
        self.list.iter().map(state).collect()
    }
}

impl Refusal {
    fn is_over(&self, now: UnixMillis) -> bool {
        now.saturating_sub(self.at) >= PASSED_OVER.as_millis() as i64
    }

    fn secret_changed(&self, current: &Result<Secret, String>) -> bool {
        current.as_ref().is_ok_and(|current| self.secret.as_ref() != Some(current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(first: &std::path::Path) -> Credentials {
        let configured = [
            CredentialConfig::ClientSecret { secret: None, secret_file: Some(first.to_path_buf()), expires: None },
            CredentialConfig::ClientSecret { secret: Some(Secret::new("second")), secret_file: None, expires: None },
        ];
        Credentials::new(&configured).unwrap()
    }

    fn refuse(credentials: &mut Credentials, index: usize, now: UnixMillis) {
        let candidate = credentials.candidates(now).into_iter().find(|it| it.index == index).unwrap();
        credentials.refused(candidate, Some(7_000_222), "expired".into(), now);
    }

    fn worth_trying(credentials: &Credentials, now: UnixMillis) -> Vec<usize> {
        credentials.candidates(now).into_iter().map(|it| it.index).collect()
    }

    #[test]
    fn a_refused_credential_is_tried_again_after_an_hour_or_when_its_secret_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first").unwrap();
        let mut credentials = credentials(file.path());
        assert_eq!(worth_trying(&credentials, 0), [0, 1]);
        refuse(&mut credentials, 0, 0);
        assert_eq!(worth_trying(&credentials, 1000), [1]);
        assert_eq!(worth_trying(&credentials, 3_600_000), [0, 1]);
        assert!(!credentials.changed(1000));
        std::fs::write(file.path(), "rotated").unwrap();
        assert!(!credentials.changed(1500), "looked at once a second at most");
        assert!(credentials.changed(2000));
        assert_eq!(worth_trying(&credentials, 2000), [0, 1]);
    }

    #[test]
    fn when_all_are_refused_all_are_tried() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first").unwrap();
        let mut credentials = credentials(file.path());
        refuse(&mut credentials, 0, 0);
        refuse(&mut credentials, 1, 0);
        assert_eq!(worth_trying(&credentials, 1000), [0, 1]);
        assert_eq!(credentials.complaints(), "credential 1: expired; credential 2: expired");
    }

    #[test]
    fn who_is_in_use_changes_only_when_another_takes_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut credentials = credentials(file.path());
        assert!(credentials.accepted(1, 5));
        assert!(!credentials.accepted(1, 9));
        assert_eq!(credentials.in_use(), Some(InUse { index: 1, since: 5 }));
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut credentials = credentials(file.path());
        refuse(&mut credentials, 1, 0);
        assert!(!format!("{credentials:?}").contains("second"));
    }
}
