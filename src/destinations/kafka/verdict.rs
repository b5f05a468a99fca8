//! What a broker's answers lead to, by the error codes of Kafka's protocol.

use crate::model::outcome::Failure;

pub(super) const LEADER_NOT_AVAILABLE: i16 = 5;
/// It was there already.
pub(super) const DUPLICATE_SEQUENCE: i16 = 46;
/// Coordinators load, are elsewhere or are not there yet.
pub(super) const CONCURRENT: [i16; 4] = [14, 15, 16, 51];
/// A leader moved, or replicas are behind: over in a moment, as a rule.
const PASSING: [i16; 7] = [5, 6, 7, 8, 9, 13, 20];

/// A record that was not taken, or of which nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no connection, or it ended.
    Lost(String),
    /// What answers speaks something else.
    NoKafka,
    /// The broker said no with this code.
    Refused(i16),
    /// The broker does not know our password.
    Impostor,
    /// The login cannot be used.
    Login(String),
}

impl Trouble {
    /// Whether it may be over within the attempt.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused(code) => PASSING.contains(code),
            _ => false,
        }
    }
}

impl From<Trouble> for Failure {
    /// The one place where an answer of a broker becomes a decision. Topics, rights and replicas are a person's to put
    /// right in the cluster, and mail is no worse for waiting.
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lost(problem) => Self::transient(format_args!(
                "no answer from Kafka: {problem}; where a broker hangs up at once, check tls and sasl"
            )),
            Trouble::NoKafka => Self::transient("what answers at brokers does not speak Kafka's protocol as of 2.1"),
            Trouble::Impostor => {
                Self::transient("the broker could not prove that it knows the password; check brokers")
            }
            Trouble::Login(problem) => Self::transient(format_args!("the login cannot be read: {problem}")),
            Trouble::Refused(10 | 18) => Self::permanent(
                "the interaction is larger than the topic's messages may be; raise its max.message.bytes, or write \
                 content = \"link\"",
            ),
            Trouble::Refused(87) => Self::permanent("the topic refuses the record (87); see its configuration"),
            Trouble::Refused(code) => Self::transient(format_args!("Kafka {} ({code})", words(code))),
        }
    }
}

fn words(code: i16) -> &'static str {
    match code {
        3 => "has no such topic; create it, or correct topic",
        5 | 6 | 9 => "has no leader for the partition just now",
        7 => "did not reach enough replicas in time",
        17 => "takes no topic of this name; correct topic",
        19 | 20 => "has too few replicas in sync",
        29 => "does not let us write to the topic; allow it, or check sasl",
        31 => "does not let us write idempotently; allow IdempotentWrite on the cluster",
        33 => "does not know this mechanism; correct sasl",
        34 => "wants a login first; add sasl",
        58 => "refused the login; check sasl",
        45 | 47 | 59 => "lost count of what we wrote; it is tried as another producer",
        _ => "refused the record; look the code up in Kafka's protocol",
    }
}
