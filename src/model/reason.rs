//! Why an attempt failed: a code for machines, a sentence for a person, and the other side's own words where it spoke.
//!
//! The codes are a closed list; docs/operations.md says of each what to do.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use super::answer::Answer;

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $text:literal),+ $(,)?) => {
        /// Why an attempt failed, in a word that stays the same from version to version.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[$doc])* $code),+
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// The code as it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $text),+
                }
            }
        }
    };
}

codes! {
    /// No connection, or it was lost.
    Unreachable = "unreachable",
    /// No answer within the time there is.
    TimedOut = "timed_out",
    /// The other side answered that it does not take this.
    Refused = "refused",
    /// The other side asks for fewer requests.
    Throttled = "throttled",
    /// The other side has trouble of its own.
    Unavailable = "unavailable",
    /// The other side says that it is gone for good.
    Gone = "gone",
    /// The other side does not let us in.
    Unauthorized = "unauthorized",
    /// What was answered is not what the protocol says.
    BadAnswer = "bad_answer",
    /// The mail is larger than it may be there.
    TooLarge = "too_large",
    /// The loop breaker holds it.
    LoopSuspected = "loop_suspected",
    /// The route is no longer configured.
    RouteRemoved = "route_removed",
    /// No route takes the mail.
    Unmatched = "unmatched",
    /// The mailbox does not hold it, or is not to be had.
    NotInMailbox = "not_in_mailbox",
    /// What is stored of the mail cannot be read.
    Unreadable = "unreadable",
    /// The mail cannot be put into the form this destination takes.
    Unsendable = "unsendable",
    /// Exchange does not let the mailbox send as this address.
    SendAsDenied = "send_as_denied",
    /// Nobody can say whether the mail left.
    MayHaveLeft = "may_have_left",
    /// Every attempt the schedule has was made.
    ScheduleUsedUp = "schedule_used_up",
    /// Something in the configuration, or in a file it names, is of no use.
    Misconfigured = "misconfigured",
    /// The attempt broke off in our own code.
    Panicked = "panicked",
    /// The store could not be used.
    StoreUnavailable = "store_unavailable",
    /// None of these; the sentence says it.
    Failed = "failed",
}

impl Code {
    /// What a status of HTTP that is no success means.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 | 407 => Self::Unauthorized,
            408 | 504 => Self::TimedOut,
            410 => Self::Gone,
            413 => Self::TooLarge,
            429 => Self::Throttled,
            500..=599 => Self::Unavailable,
            _ => Self::Refused,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|it| it.as_str() == text).ok_or_else(|| format!("there is no code `{text}`"))
    }
}

/// Why an attempt failed. Reads as its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// For machines.
    pub code: Code,
    /// For a person. Never a secret, an address or a subject.
    pub text: String,
    /// What the other side said, if it said anything.
    pub answer: Option<Answer>,
    /// Where the schedule is used up: the code of the last attempt.
    pub last: Option<Code>,
}

impl Reason {
    /// A reason with its code.
    pub fn new(code: Code, text: impl fmt::Display) -> Self {
        Self { code, text: text.to_string(), answer: None, last: None }
    }

    /// The code of the attempt itself.
    pub fn attempt_code(&self) -> Code {
        self.last.unwrap_or(self.code)
    }

    /// This reason, as the one for giving up after so many attempts.
    #[must_use]
    pub fn used_up(&self, attempts: u32) -> Self {
        Self {
            code: Code::ScheduleUsedUp,
            text: format!("given up after {attempts} attempts: {}", self.text),
            answer: self.answer.clone(),
            last: Some(self.code),
        }
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { code: Code::Failed, text, answer: None, last: None }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl Deref for Reason {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_as_it_is_written() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        assert!("lost".parse::<Code>().is_err());
    }

    #[test]
    fn a_status_becomes_a_code() {
        for (status, code) in [
            (302, Code::Refused),
            (400, Code::Refused),
            (401, Code::Unauthorized),
            (410, Code::Gone),
            (413, Code::TooLarge),
            (422, Code::Refused),
            (429, Code::Throttled),
            (503, Code::Unavailable),
            (504, Code::TimedOut),
        ] {
            assert_eq!(Code::of_status(status), code, "{status}");
        }
    }

    #[test]
    fn giving_up_keeps_what_the_last_attempt_ended_with() {
        let reason = Reason::new(Code::Throttled, "the receiver answered 429").used_up(11);
        assert_eq!(reason.code, Code::ScheduleUsedUp);
        assert_eq!(reason.attempt_code(), Code::Throttled);
        assert_eq!(&*reason, "given up after 11 attempts: the receiver answered 429");
    }
}
