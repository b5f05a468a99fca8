//! A tenant's credentials in order of preference, and what Entra said of each.
//!
//! A refused one is passed over while another is accepted, and tried again after an hour or when it was replaced. Those
//! that are not in use are tried once a day, so that a dead spare is known before it is needed.

use std::time::Duration;

use super::IdentityError;
use super::config::CredentialConfig;
use super::expiry;
use super::proof::{Print, Proof, Source};
use crate::model::clock::UnixMillis;

/// How long a refused credential is passed over.
const PASSED_OVER: Duration = Duration::from_secs(3600);
/// How often one that is not in use is tried.
const TRIED_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How soon it is tried again when Entra could not be asked.
const TRIED_AGAIN: Duration = Duration::from_secs(900);
/// Files are looked at for a change at most this often.
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
    source: Source,
    expires_at: Option<UnixMillis>,
    /// The proof that was last read.
    read: Option<Print>,
    refusal: Option<Refusal>,
    verdict: Option<Verdict>,
    /// When it could not be tried, because Entra could not be asked.
    not_tried_at: Option<UnixMillis>,
    told: Told,
}

/// The last time Entra said yes or no.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    at: UnixMillis,
    print: Option<Print>,
}

#[derive(Debug)]
struct Refusal {
    at: UnixMillis,
    code: Option<u32>,
    reason: String,
    /// What was refused; `None` when it could not even be read.
    print: Option<Print>,
}

/// What was said of a credential already.
#[derive(Debug, Default)]
struct Told {
    warning: Option<i64>,
    trouble: Option<String>,
    replaced: bool,
}

/// A credential that is worth an exchange.
pub(super) struct Candidate {
    pub(super) index: usize,
    pub(super) kind: &'static str,
    /// The proof as it is now, or why there is none.
    pub(super) proof: Result<Proof, String>,
}

/// What a look at the files and the calendar brings up, to be said once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It was replaced.
    Replaced { index: usize, day_unknown: bool },
    /// What stands in its files is of no use; what was read before stays in service.
    Trouble { index: usize, trouble: String },
    /// Its end is near, or has come.
    Expires { index: usize, kind: &'static str, at: UnixMillis, days: i64 },
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
    /// When it expires, where known.
    pub expires_at: Option<UnixMillis>,
    /// Why it is passed over; `None` while nothing speaks against it.
    pub refused: Option<RefusedState>,
    /// Why what stands in its files is not used, while what was read before is.
    pub trouble: Option<String>,
    /// When Entra last accepted or refused it.
    pub tried_at: Option<UnixMillis>,
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
    /// Reads the configured list.
    pub(super) fn new(
        configured: &[CredentialConfig],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, IdentityError> {
        let list = configured.iter().enumerate().map(|(index, it)| {
            Ok(Credential {
                kind: it.kind(),
                source: Source::new(it, index, environment)?,
                expires_at: it.expires().and_then(expiry::begins),
                read: None,
                refusal: None,
                verdict: None,
                not_tried_at: None,
                told: Told::default(),
            })
        });
        Ok(Self { list: list.collect::<Result<_, IdentityError>>()?, in_use: None, looked_at: UnixMillis::MIN })
    }

    /// Those worth trying now, in order. When all were refused, all are: then only the pause between attempts protects Entra.
    pub(super) fn candidates(&mut self, now: UnixMillis) -> Vec<Candidate> {
        let all = self.all();
        let worth_it = |candidate: &Candidate| {
            let refusal = self.list[candidate.index].refusal.as_ref();
            refusal.is_none_or(|refusal| refusal.is_over(now) || refusal.is_of_another(&candidate.proof))
        };
        match all.iter().any(worth_it) {
            true => all.into_iter().filter(worth_it).collect(),
            false => all,
        }
    }

    /// Each of them, whatever was said of it before.
    pub(super) fn all(&mut self) -> Vec<Candidate> {
        self.list.iter_mut().enumerate().map(|(index, it)| it.candidate(index)).collect()
    }

    /// Whether a refused credential was replaced since, looked at once a second at most.
    pub(super) fn changed(&mut self, now: UnixMillis) -> bool {
        if (self.looked_at..self.looked_at.saturating_add(LOOK_EVERY_MS)).contains(&now) {
            return false;
        }
        self.looked_at = now;
        self.list.iter_mut().any(|it| {
            let proof = it.current();
            it.refusal.as_ref().is_some_and(|refusal| refusal.is_of_another(&proof))
        })
    }

    /// Reads every file again. Returns what is to be said of it, once each.
    pub(super) fn look(&mut self, now: UnixMillis) -> Vec<News> {
        self.list.iter_mut().enumerate().flat_map(|(index, it)| it.look(index, now)).collect()
    }

    /// Those that should be tried out although another one serves: spares once a day, refused ones every hour, and what
    /// was replaced at once.
    pub(super) fn due_for_trial(&mut self, now: UnixMillis) -> Vec<Candidate> {
        let Some(in_use) = self.in_use else { return Vec::new() };
        let due = self.list.iter_mut().enumerate().filter_map(|(index, it)| {
            let candidate = it.candidate(index);
            it.is_due_for_trial(&candidate, index == in_use.index, now).then_some(candidate)
        });
        due.collect()
    }

    /// Entra accepted this one. Returns whether it took over from another.
    pub(super) fn accepted(&mut self, candidate: &Candidate, now: UnixMillis) -> bool {
        self.tried(candidate, now);
        let took_over = self.in_use.is_none_or(|in_use| in_use.index != candidate.index);
        if took_over {
            self.in_use = Some(InUse { index: candidate.index, since: now });
        }
        took_over
    }

    /// Entra would accept this one.
    pub(super) fn tried(&mut self, candidate: &Candidate, now: UnixMillis) {
        if let Some(credential) = self.list.get_mut(candidate.index) {
            credential.refusal = None;
            credential.verdict = Some(Verdict { at: now, print: candidate.print() });
            credential.not_tried_at = None;
        }
    }

    /// This one was refused, or could not be read.
    pub(super) fn refused(&mut self, candidate: &Candidate, code: Option<u32>, reason: String, now: UnixMillis) {
        if let Some(credential) = self.list.get_mut(candidate.index) {
            let print = candidate.print();
            credential.refusal = Some(Refusal { at: now, code, reason, print });
            credential.verdict = Some(Verdict { at: now, print });
            credential.not_tried_at = None;
        }
    }

    /// Nobody said whether this one is good.
    pub(super) fn not_tried(&mut self, candidate: &Candidate, now: UnixMillis) {
        if let Some(credential) = self.list.get_mut(candidate.index) {
            credential.not_tried_at = Some(now);
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
            expires_at: it.expires_at,
            refused: it.refusal.as_ref().map(|refusal| RefusedState {
                at: refusal.at,
                code: refusal.code,
                reason: refusal.reason.clone(),
            }),
            trouble: it.source.trouble().map(str::to_owned),
            tried_at: it.verdict.map(|it| it.at),
        };
        self.list.iter().map(state).collect()
    }
}

impl Credential {
    fn candidate(&mut self, index: usize) -> Candidate {
        Candidate { index, kind: self.kind, proof: self.current() }
    }

    /// The proof as it is now. One that was replaced has an end of its own.
    fn current(&mut self) -> Result<Proof, String> {
        let proof = self.source.current()?;
        let print = proof.print();
        let before = self.read.replace(print);
        if let Proof::Certificate(certificate) = &proof {
            self.expires_at = Some(certificate.not_after);
        }
        if before.is_some_and(|before| before != print) {
            if let Proof::Secret(_) = &proof {
                // The configured day was its predecessor's.
                self.expires_at = None;
            }
            // A platform's tokens are replaced every hour: that is no news.
            self.told.replaced = !matches!(proof, Proof::Token(_));
            self.told.warning = None;
        }
        Ok(proof)
    }

    fn look(&mut self, index: usize, now: UnixMillis) -> Vec<News> {
        // One that cannot be read at all is told of when it is needed.
        let readable = self.current().is_ok();
        let mut news = Vec::new();
        if std::mem::take(&mut self.told.replaced) {
            news.push(News::Replaced { index, day_unknown: self.expires_at.is_none() });
        }
        let trouble = self.source.trouble().filter(|_| readable).map(str::to_owned);
        if trouble != self.told.trouble {
            news.extend(trouble.clone().map(|trouble| News::Trouble { index, trouble }));
            self.told.trouble = trouble;
        }
        let warning = self.expires_at.and_then(|at| Some((at, expiry::warning(at, now)?)));
        if let Some((at, days)) = warning
            && self.told.warning.is_none_or(|told| days < told)
        {
            self.told.warning = Some(days);
            news.push(News::Expires { index, kind: self.kind, at, days });
        }
        news
    }

    fn is_due_for_trial(&self, candidate: &Candidate, is_in_use: bool, now: UnixMillis) -> bool {
        // A clock that was set back must not put a trial off for ever.
        let is_within = |from: UnixMillis, wait| (from..from.saturating_add(millis(wait))).contains(&now);
        if self.not_tried_at.is_some_and(|at| is_within(at, TRIED_AGAIN)) {
            return false;
        }
        let Some(verdict) = self.verdict else { return !is_in_use };
        let is_replaced = candidate.proof.is_ok() && candidate.print() != verdict.print;
        // A platform's tokens are replaced every hour.
        if is_replaced && (self.refusal.is_some() || !matches!(candidate.proof, Ok(Proof::Token(_)))) {
            return true;
        }
        let wait = match self.refusal {
            Some(_) => PASSED_OVER,
            None if is_in_use => return false,
            None => TRIED_EVERY,
        };
        !is_within(verdict.at, wait)
    }
}

impl Candidate {
    fn print(&self) -> Option<Print> {
        self.proof.as_ref().ok().map(Proof::print)
    }
}

impl Refusal {
    fn is_over(&self, now: UnixMillis) -> bool {
        now.saturating_sub(self.at) >= millis(PASSED_OVER)
    }

    fn is_of_another(&self, current: &Result<Proof, String>) -> bool {
        current.as_ref().is_ok_and(|current| self.print != Some(current.print()))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
