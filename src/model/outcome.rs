//! What an attempt at a job ends in: the answer says what to do next, not what went wrong.

use std::time::Duration;

/// The end of one attempt.
pub type Outcome = Result<Next, Failure>;

/// An attempt that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing is left to do.
    Done,
    /// The attempt wrote its result and the end of its job in one transaction of its own.
    Settled,
    /// The job is due again after this time, as a fresh job (attempts start from nought).
    Again {
        /// How long from now.
        after: Duration,
    },
}

/// An attempt that failed. Each outside world maps its refusals to this in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may work another time; the job's retry schedule says when.
    Transient {
        /// For a person: what happened. Never a secret, an address or a subject.
        reason: String,
        /// The least time to wait, if the other side named one (Retry-After).
        after: Option<Duration>,
    },
    /// It is not this job's fault: what it needs is not to be had just now. Tried again after a while, uncounted.
    Postponed {
        /// For a person: what happened. Never a secret, an address or a subject.
        reason: String,
        /// How long to wait.
        after: Duration,
    },
    /// Trying again cannot help: the job is parked until a person decides.
    Permanent {
        /// For a person: what happened. Never a secret, an address or a subject.
        reason: String,
    },
    /// The other side says it is gone for good: the job is parked and its lane pauses.
    Gone {
        /// For a person: what happened. Never a secret, an address or a subject.
        reason: String,
    },
}

impl Failure {
    /// May work another time, when the retry schedule says so.
    pub fn transient(reason: impl std::fmt::Display) -> Self {
        Self::Transient { reason: reason.to_string(), after: None }
    }

    /// Needs a person.
    pub fn permanent(reason: impl std::fmt::Display) -> Self {
        Self::Permanent { reason: reason.to_string() }
    }

    /// What happened, for a person.
    pub fn reason(&self) -> &str {
        match self {
            Self::Transient { reason, .. }
            | Self::Postponed { reason, .. }
            | Self::Permanent { reason }
            | Self::Gone { reason } => reason,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}
