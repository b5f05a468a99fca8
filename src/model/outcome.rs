//! What an attempt at a job ends in: the answer says what to do next, not what went wrong.

use std::time::Duration;

use super::answer::Answer;
use super::reason::{Code, Reason};

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
        /// What happened.
        reason: Reason,
        /// The least time to wait, if the other side named one (Retry-After).
        after: Option<Duration>,
    },
    /// It is not this job's fault: what it needs is not to be had just now. Tried again after a while, uncounted.
    Postponed {
        /// What happened.
        reason: Reason,
        /// How long to wait.
        after: Duration,
    },
    /// Trying again cannot help: the job is parked until a person decides.
    Permanent {
        /// What happened.
        reason: Reason,
    },
    /// The other side says it is gone for good: the job is parked and its lane pauses.
    Gone {
        /// What happened.
        reason: Reason,
    },
}

impl Failure {
    /// May work another time, when the retry schedule says so.
    pub fn transient(reason: impl std::fmt::Display) -> Self {
        Self::Transient { reason: reason.to_string().into(), after: None }
    }

    /// Needs a person.
    pub fn permanent(reason: impl std::fmt::Display) -> Self {
        Self::Permanent { reason: reason.to_string().into() }
    }

    /// The same failure under this code.
    #[must_use]
    pub fn coded(mut self, code: Code) -> Self {
        self.why_mut().code = code;
        self
    }

    /// The same failure with what the other side said.
    #[must_use]
    pub fn answered(mut self, answer: Answer) -> Self {
        self.why_mut().answer = Some(answer);
        self
    }

    /// What happened, for a person.
    pub fn reason(&self) -> &str {
        self.why()
    }

    /// What happened, with its code and the other side's answer.
    pub fn why(&self) -> &Reason {
        match self {
            Self::Transient { reason, .. }
            | Self::Postponed { reason, .. }
            | Self::Permanent { reason }
            | Self::Gone { reason } => reason,
        }
    }

    fn why_mut(&mut self) -> &mut Reason {
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
