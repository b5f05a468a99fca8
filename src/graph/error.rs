//! Why a call to Graph brought nothing, in terms of what to do next.
//!
//! A message holds status, code and request id and nothing else Graph said: its sentences can name people.

use std::fmt;
use std::time::Duration;

use crate::model::outcome::Failure;
use crate::model::reason::{Code, Reason};
use crate::model::token::TokenError;

/// How long to leave alone what only a person can mend: a permission, a licence, a credential.
/// Grants take half an hour and more to spread (learn.microsoft.com/exchange/permissions-exo/application-rbac),
/// and the first call after that should find out soon.
const UNTIL_MENDED: Duration = Duration::from_secs(60);

/// How long content waits for others to give back the memory it needs.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// How long to wait for a token when Entra names no time.
const NO_TOKEN_WAIT: Duration = Duration::from_secs(5);

/// What Graph said when it refused, without its sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error code, empty where there is none.
    pub code: String,
    /// Graph's id of the request, for Microsoft's support; empty where there is none.
    pub request_id: String,
    /// Whether Graph says that an application access policy of Exchange is in the way. For a person who looks into it;
    /// nothing is decided by it.
    pub by_policy: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.request_id.is_empty() {
            write!(f, " (request {})", self.request_id)?;
        }
        Ok(())
    }
}

/// Why a call to Graph brought nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GraphError {
    /// The message, folder or subscription is not there; a moment after a notification it may just not be there yet.
    #[error("not found: Graph answered {0}")]
    NotFound(Refusal),
    /// The address has no mailbox that Graph serves: unlicensed, on premises, soft-deleted or mistyped.
    #[error("there is no mailbox that Graph serves: it answered {0}")]
    NoMailbox(Refusal),
    /// The delta link is no longer good: start the round again, without it.
    #[error("the delta link is no longer good: Graph answered {0}")]
    SyncReset(Refusal),
    /// Too much was asked of this mailbox.
    #[error("throttled for {} s", .after.as_secs_f32())]
    Throttled {
        /// How long to leave it alone.
        after: Duration,
    },
    /// A fresh token was refused as well.
    #[error("the token is not accepted: Graph answered {0}")]
    Unauthorized(Refusal),
    /// There is no token to call with.
    #[error(transparent)]
    NoToken(#[from] TokenError),
    /// The application may not do this in this mailbox.
    #[error("access is denied: Graph answered {0}")]
    AccessDenied(Refusal),
    /// There is one already.
    #[error("there is one already: Graph answered {refusal}")]
    Conflict {
        /// The subscription that is in the way, where Graph names it.
        existing: Option<String>,
        /// What Graph said.
        refusal: Refusal,
    },
    /// Graph could not validate our notification endpoint: it is not reachable from outside, or too slow.
    #[error("the notification endpoint was not validated: Graph answered {0}")]
    NotValidated(Refusal),
    /// There was no connection to Graph: nothing was asked.
    #[error("{reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// Graph was too slow or failed. What was asked may have been done.
    #[error("{reason}")]
    Unavailable {
        /// What happened.
        reason: String,
        /// How long Graph asked us to wait.
        after: Option<Duration>,
    },
    /// This mail will never be sent as it is.
    #[error("{advice} (Graph answered {refusal})")]
    Unsendable {
        /// What is wrong with it and what to do, for a person.
        advice: &'static str,
        /// What Graph said.
        refusal: Refusal,
    },
    /// Graph will never do this.
    #[error("refused: Graph answered {0}")]
    Refused(Refusal),
    /// There is no room in memory for the content just now.
    #[error("no room in memory for a mail of this size just now")]
    NoRoom,
    /// The content is larger than it may be.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// How large it may be.
        limit: u64,
    },
    /// What came is not what Graph's documentation describes.
    #[error("an answer that cannot be read: {reason}")]
    BadAnswer {
        /// What was wrong with it.
        reason: String,
    },
    /// A link or an id that leads away from the configured endpoint. Nothing was sent.
    #[error("a link or an id that leads away from the configured Graph endpoint was not followed")]
    LeadsElsewhere,
}

impl GraphError {
    /// Whether the link that was followed is of no use any more, so that the round must start without it.
    pub fn needs_resync(&self) -> bool {
        matches!(self, Self::SyncReset(_) | Self::LeadsElsewhere)
    }

    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::BadAnswer { reason: reason.into() }
    }

    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), after: None }
    }
}

impl From<GraphError> for Failure {
    /// The one place where a refusal by Graph becomes a decision.
    fn from(error: GraphError) -> Self {
        let reason = Reason::new(code(&error), &error);
        let transient = |after| Self::Transient { reason: reason.clone(), after };
        match error {
            // Nothing was done and nothing is wrong with this job: it waits as long as it is told to.
            GraphError::Throttled { after } => Self::Postponed { reason, after },
            GraphError::NoToken(TokenError::Transient { after, .. }) => {
                Self::Postponed { reason, after: after.unwrap_or(NO_TOKEN_WAIT) }
            }
            GraphError::NoRoom => Self::Postponed { reason, after: ROOM_WAIT },
            GraphError::Unavailable { after, .. } => transient(after),
            // A person must act, but not on this job: once he has, everything goes on by itself.
            GraphError::NoToken(TokenError::Refused { .. } | TokenError::NotSignedIn { .. })
            | GraphError::AccessDenied(_)
            | GraphError::NoMailbox(_) => Self::Postponed { reason, after: UNTIL_MENDED },
            GraphError::NotValidated(_) => transient(Some(UNTIL_MENDED)),
            // A notification can run ahead of the mailbox, so "not found" is not yet an answer.
            GraphError::NotFound(_)
            | GraphError::SyncReset(_)
            | GraphError::Unauthorized(_)
            | GraphError::Conflict { .. }
            | GraphError::Unreachable { .. }
            | GraphError::BadAnswer { .. } => transient(None),
            GraphError::Refused(_)
            | GraphError::Unsendable { .. }
            | GraphError::TooLarge { .. }
            | GraphError::LeadsElsewhere => Self::Permanent { reason },
        }
    }
}

/// What a person may do about it, in a word.
fn code(error: &GraphError) -> Code {
    match error {
        GraphError::Throttled { .. } => Code::Throttled,
        GraphError::NoToken(_) | GraphError::Unauthorized(_) | GraphError::AccessDenied(_) => Code::Unauthorized,
        GraphError::NotFound(_) | GraphError::NoMailbox(_) => Code::NotInMailbox,
        GraphError::TooLarge { .. } => Code::TooLarge,
        GraphError::BadAnswer { .. } | GraphError::LeadsElsewhere => Code::BadAnswer,
        GraphError::NotValidated(_) => Code::Misconfigured,
        GraphError::Unavailable { .. } | GraphError::SyncReset(_) | GraphError::NoRoom => Code::Unavailable,
        GraphError::Unreachable { .. } => Code::Unreachable,
        GraphError::Unsendable { refusal, .. } => match refusal.code.to_ascii_lowercase().as_str() {
            "errorsendasdenied" => Code::SendAsDenied,
            "errormessagesizeexceeded" | "errorattachmentsizelimitexceeded" => Code::TooLarge,
            _ => Code::Unsendable,
        },
        GraphError::Conflict { .. } | GraphError::Refused(_) => Code::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str) -> Refusal {
        Refusal { status, code: code.into(), request_id: "r-1".into(), by_policy: false }
    }

    #[test]
    fn every_error_is_a_decision() {
        #[derive(Debug, PartialEq)]
        enum Decision {
            Counted(Option<Duration>),
            Uncounted(Duration),
            Park,
        }
        use Decision::{Counted, Park, Uncounted};
        let minute = Duration::from_secs(60);
        let seven = Duration::from_secs(7);
        for (error, expected) in [
            (GraphError::NotFound(refusal(404, "x")), Counted(None)),
            (GraphError::Throttled { after: seven }, Uncounted(seven)),
            (GraphError::Unavailable { reason: "503".into(), after: Some(seven) }, Counted(Some(seven))),
            (GraphError::NoToken(TokenError::Transient { reason: "x".into(), after: Some(seven) }), Uncounted(seven)),
            (GraphError::NoToken(TokenError::Refused { reason: "x".into() }), Uncounted(minute)),
            (GraphError::NoToken(TokenError::NotSignedIn { reason: "x".into() }), Uncounted(minute)),
            (GraphError::AccessDenied(refusal(403, "x")), Uncounted(minute)),
            (GraphError::Unauthorized(refusal(401, "x")), Counted(None)),
            (GraphError::bad("x"), Counted(None)),
            (GraphError::Unreachable { reason: "x".into() }, Counted(None)),
            (GraphError::Refused(refusal(400, "x")), Park),
            (GraphError::Unsendable { advice: "x", refusal: refusal(413, "x") }, Park),
            (GraphError::TooLarge { limit: 1 }, Park),
            (GraphError::LeadsElsewhere, Park),
        ] {
            let name = format!("{error:?}");
            let decision = match Failure::from(error) {
                Failure::Transient { after, .. } => Decision::Counted(after),
                Failure::Postponed { after, .. } => Decision::Uncounted(after),
                Failure::Permanent { .. } => Decision::Park,
                Failure::Gone { .. } => panic!("Graph is never gone: {name}"),
            };
            assert_eq!(decision, expected, "{name}");
        }
    }

    #[test]
    fn a_message_holds_status_code_and_request_id() {
        let error = GraphError::AccessDenied(refusal(403, "ErrorAccessDenied"));
        assert_eq!(error.to_string(), "access is denied: Graph answered 403 ErrorAccessDenied (request r-1)");
        assert_eq!(refusal(502, "").to_string(), "502 (request r-1)");
    }
}
