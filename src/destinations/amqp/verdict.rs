//! What a broker's answers lead to. Its own words may name users and hosts, so its codes are told and no words of it.

use crate::model::outcome::Failure;

/// A message that was not taken, or of which nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no connection, or it ended.
    Lost(String),
    /// What answers speaks something else.
    NoAmqp,
    /// The broker ended the conversation with this code.
    Closed(u16),
    /// No queue was there for it.
    Returned(u16),
    /// The broker could not keep it.
    NotTaken,
    /// The facts beside the body are larger than a frame.
    HeaderTooLarge,
    /// The login cannot be used.
    Login(String),
}

impl Trouble {
    /// Whether the conversation can go on.
    pub(super) fn leaves_the_connection(&self) -> bool {
        matches!(self, Self::Returned(_) | Self::NotTaken | Self::HeaderTooLarge)
    }
}

impl From<Trouble> for Failure {
    /// The one place where an answer of a broker becomes a decision. Exchanges, bindings, rights and room are a person's to
    /// put right at the broker, and mail is no worse for waiting.
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lost(problem) => Self::transient(format_args!("no confirmation from the broker: {problem}")),
            Trouble::NoAmqp => Self::transient("what answers at url does not speak AMQP 0-9-1; correct url"),
            Trouble::Login(problem) => Self::transient(format_args!("the login cannot be read: {problem}")),
            Trouble::Returned(code) => Self::transient(format_args!(
                "no queue takes the message ({code}); bind one to exchange and routing_key, or correct them"
            )),
            Trouble::NotTaken => Self::transient("the broker could not keep the message; a queue may be full"),
            Trouble::HeaderTooLarge => Self::permanent("the facts of the interaction are larger than a frame"),
            Trouble::Closed(code) => closed(code),
        }
    }
}

/// Reply codes of the specification (1.3).
fn closed(code: u16) -> Failure {
    let (what, to_do) = match code {
        311 | 406 => {
            return Failure::permanent(format_args!(
                "the broker takes no message like this one ({code}): most likely it is too large; raise its limit, or \
                 write content = \"link\""
            ));
        }
        320 => ("is stopping or closed the connection", "it is tried again"),
        403 => ("refused access", "check username, its password, and that it may write to exchange"),
        404 => ("has no such exchange", "declare it, or correct exchange"),
        530 => ("has no such virtual host, or not for this user", "correct the path of url"),
        _ => ("ended the conversation", "see its log"),
    };
    Failure::transient(format_args!("the broker {what} ({code}); {to_do}"))
}
