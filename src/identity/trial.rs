//! What is known of credentials before they are needed: files that were replaced, ends that come near, and spares that
//! Entra would refuse.
//!
//! A token that was asked for in a trial is thrown away. What comes of it is said once, and shown in the state.

use super::credentials::{Candidate, News};
use super::exchange::{ExchangeError, describe};
use super::{Identity, expiry};

impl Identity {
    /// Looks at files and calendar, and tries out what is due. To be called every few seconds.
    pub async fn watch(&self) {
        let now = self.clock.now();
        let (news, due) = {
            let mut held = self.held();
            let news = held.credentials.look(now);
            self.show_expiries(&held.credentials);
            (news, held.credentials.due_for_trial(now))
        };
        news.iter().for_each(|it| self.say(it));
        for candidate in due {
            self.try_out(&candidate).await;
        }
    }

    fn say(&self, news: &News) {
        let tenant = self.tenant.as_str();
        match news {
            News::Replaced { index, day_unknown } => {
                let number = index + 1;
                tracing::info!(
                    tenant,
                    credential = number,
                    "Credential {number} was replaced; the new one is used from the next token on"
                );
                if *day_unknown {
                    // No alarm is raised by a day that is not known.
                    self.expiry_of(number).set(f64::NAN);
                }
            }
            News::Trouble { index, trouble } => {
                let number = index + 1;
                tracing::warn!(
                    tenant,
                    credential = number,
                    "Credential {number} was changed and cannot be used as it is now, so what was read before stays in use: {trouble}"
                );
            }
            News::Expires { index, kind, at, days } => {
                let (number, told) = (index + 1, expiry::told(*at, self.clock.now()));
                let cure = match *kind {
                    "certificate" => {
                        "register a new certificate with the application (Entra, App registrations, Certificates & secrets), then replace certificate_file and private_key_file"
                    }
                    _ => {
                        "make a new secret (Entra, App registrations, Certificates & secrets), replace the old one here, and set expires to its day"
                    }
                };
                tracing::warn!(
                    tenant,
                    credential = number,
                    days,
                    expires = expiry::day(*at),
                    "Credential {number} ({kind}) {told}: {cure}"
                );
            }
        }
    }

    /// Asks for a token with this credential and throws it away.
    async fn try_out(&self, candidate: &Candidate) {
        let number = candidate.index + 1;
        let proof = match &candidate.proof {
            Ok(proof) => proof,
            Err(reason) => return self.would_fail(candidate, None, reason.clone()),
        };
        match self.registration.exchange(proof).await {
            Ok(_thrown_away) => {
                self.count("ok");
                self.show_accepted(number, true);
                tracing::info!(
                    tenant = self.tenant,
                    credential = number,
                    "Credential {number} ({}) was tried out, and Entra accepts it",
                    candidate.kind
                );
                self.held().credentials.tried(candidate, self.clock.now());
            }
            Err(ExchangeError::Refused(verdict)) => self.would_fail(candidate, verdict.code, describe(&verdict)),
            Err(ExchangeError::Unavailable { reason, .. }) => {
                self.count("transient");
                tracing::info!(
                    tenant = self.tenant,
                    credential = number,
                    reason,
                    "Credential {number} could not be tried out; it is tried again in a quarter of an hour"
                );
                self.held().credentials.not_tried(candidate, self.clock.now());
            }
        }
    }

    fn would_fail(&self, candidate: &Candidate, code: Option<u32>, reason: String) {
        let number = candidate.index + 1;
        self.count("refused");
        self.show_accepted(number, false);
        tracing::warn!(
            tenant = self.tenant,
            credential = number,
            code,
            "Credential {number} ({}) was tried out and would not be accepted: {reason}; replace it before it is needed",
            candidate.kind
        );
        self.held().credentials.refused(candidate, code, reason, self.clock.now());
    }
}
