//! The one place where what a relay says, or does not say, becomes a decision.
//!
//! Permanent is what is about this mail or its recipient. What is about the relay, or about us, a person can mend
//! there, so the retry schedule decides when to give up.

use std::fmt;
use std::time::Duration;

use super::reply::{Reply, Status};
use crate::model::answer::Answer;
use crate::model::outcome::Failure;
use crate::model::reason::Code;
use crate::model::units::Span;

/// How far a conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Connecting,
    Greeting,
    Hello,
    StartTls,
    Handshake,
    Login,
    Reset,
    Sender,
    Recipient,
    Data,
    Content,
    Acceptance,
}

impl Phase {
    /// The longest this phase may take, within the time of the whole attempt. Far less than RFC 5321, 4.5.3.2 allows:
    /// an attempt that is given up before the content was sent costs nothing. Acceptance has what is left.
    pub(super) fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Connecting | Self::Handshake | Self::Reset => 10,
            Self::Content => 60,
            Self::Acceptance => 600,
            _ => 30,
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Greeting => "the greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Handshake => "the TLS handshake",
            Self::Login => "AUTH",
            Self::Reset => "RSET",
            Self::Sender => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Data => "DATA",
            Self::Content => "the content",
            Self::Acceptance => "the end of the content",
        })
    }
}

/// Why a mail was not handed over, or is not known to be.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The relay answered no.
    Refused(Phase, Reply),
    /// The connection ended, or never was.
    Lost(Phase, String),
    /// No answer came in time.
    Late(Phase, Duration),
    /// What came is no SMTP, or came out of turn.
    Garbled(Phase),
    /// `tls = "starttls"`, and the relay does not offer it.
    NoStartTls,
    /// Nothing that both sides can do.
    NoLogin,
    /// A login would travel in the clear.
    LoginInTheClear,
    /// The password's file cannot be read just now.
    Password(String),
    /// More bytes than the relay announced to take.
    TooLarge { size: u64, limit: u64 },
    /// The relay does not announce 8BITMIME.
    EightBit,
    /// An address of the envelope is not ASCII, and the relay does not announce SMTPUTF8.
    Utf8Address,
    /// The interaction cannot be written as header fields.
    Unwritable,
}

impl Trouble {
    /// Whether the connection can be used for another mail.
    pub(super) fn leaves_the_connection(&self) -> bool {
        match self {
            // A yes where none was asked for belongs to something else: from then on nobody knows which answer is whose.
            Self::Refused(phase, reply) => {
                *phase >= Phase::Sender && *phase != Phase::Content && reply.code >= 400 && reply.code != 421
            }
            Self::TooLarge { .. } | Self::EightBit | Self::Utf8Address => true,
            _ => false,
        }
    }

    /// Whether all that happened is that a connection kept open was no longer good: nothing of the mail was sent.
    pub(super) fn is_a_stale_connection(&self) -> bool {
        match self {
            Self::Refused(phase, reply) => *phase == Phase::Reset || (*phase == Phase::Sender && reply.code == 421),
            Self::Lost(phase, _) | Self::Late(phase, _) | Self::Garbled(phase) => *phase <= Phase::Sender,
            _ => false,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let code = code(&trouble);
        let said = match &trouble {
            Trouble::Refused(_, reply) => Some(Answer::new(reply, &[])),
            _ => None,
        };
        let failure = Self::from_trouble(trouble).coded(code);
        match said {
            Some(said) => failure.answered(said),
            None => failure,
        }
    }
}

/// What a person may do about it, in a word.
fn code(trouble: &Trouble) -> Code {
    match trouble {
        Trouble::Refused(Phase::Login, _) | Trouble::NoLogin | Trouble::LoginInTheClear => Code::Unauthorized,
        Trouble::Refused(_, reply) if judged_too_large(reply) => Code::TooLarge,
        Trouble::Refused(_, reply) if reply.code / 100 == 4 => Code::Unavailable,
        Trouble::Refused(..) => Code::Refused,
        Trouble::Lost(..) => Code::Unreachable,
        Trouble::Late(..) => Code::TimedOut,
        Trouble::Garbled(_) => Code::BadAnswer,
        Trouble::NoStartTls | Trouble::Password(_) => Code::Misconfigured,
        Trouble::TooLarge { .. } => Code::TooLarge,
        Trouble::EightBit | Trouble::Utf8Address | Trouble::Unwritable => Code::Unsendable,
    }
}

/// Whether a reply says that the mail is too large (RFC 5321 §4.2.3, RFC 3463 §3.4).
fn judged_too_large(reply: &Reply) -> bool {
    reply.code == 552 || reply.status.is_some_and(|Status(_, subject, detail)| (subject, detail) == (3, 4))
}

impl Failure {
    fn from_trouble(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(phase, reply) => refused(phase, &reply),
            Trouble::Lost(Phase::Connecting, problem) => Self::transient(format_args!("no connection: {problem}")),
            Trouble::Lost(Phase::Handshake, problem) => {
                Self::transient(format_args!("no TLS with the relay: {problem}"))
            }
            Trouble::Lost(Phase::Acceptance, problem) => Self::transient(format_args!("{UNKNOWN}: {problem}")),
            Trouble::Lost(phase, problem) => {
                Self::transient(format_args!("the connection was lost at {phase}: {problem}"))
            }
            Trouble::Late(Phase::Acceptance, limit) => {
                Self::transient(format_args!("{UNKNOWN} within {}", Span(limit)))
            }
            Trouble::Late(phase, limit) => Self::transient(format_args!("no end of {phase} within {}", Span(limit))),
            Trouble::Garbled(Phase::Acceptance) => Self::transient(format_args!("{UNKNOWN} that is SMTP")),
            Trouble::Garbled(phase) => {
                Self::transient(format_args!("at {phase} came what is no SMTP reply, or came out of turn"))
            }
            Trouble::NoStartTls => Self::transient(
                "the relay does not offer STARTTLS; turn it on there, or set tls to what the relay speaks",
            ),
            Trouble::NoLogin => Self::transient(
                "the relay offers neither AUTH PLAIN nor AUTH LOGIN; remove username, or turn one on there",
            ),
            Trouble::LoginInTheClear => Self::transient(
                "the login is kept back because the connection is not a verified TLS one; set tls to starttls or implicit",
            ),
            Trouble::Password(problem) => Self::transient(format_args!("the password cannot be used: {problem}")),
            Trouble::TooLarge { size, limit } => {
                Self::permanent(format_args!("the mail takes {size} bytes, and the relay announces SIZE {limit}"))
            }
            Trouble::EightBit => Self::permanent(
                "the mail has bytes beyond ASCII and the relay does not announce 8BITMIME; its bytes are not rewritten, so let the relay take 8-bit mail",
            ),
            Trouble::Utf8Address => Self::permanent(
                "an address of the envelope is not ASCII and the relay does not announce SMTPUTF8; for the sender, set bounce_address",
            ),
            Trouble::Unwritable => Self::permanent("the interaction's id cannot be a header field"),
        }
    }
}

/// Said before how it ended: the relay may have the mail.
const UNKNOWN: &str = "the whole mail was sent and no answer came, so it may have arrived";

fn refused(phase: Phase, reply: &Reply) -> Failure {
    let (is_permanent, about) = judged(phase, reply);
    let reason = format!("the relay answered {reply} to {phase}{about}");
    if is_permanent { Failure::permanent(reason) } else { Failure::transient(reason) }
}

/// Whether a refusal is for good, and what it is about.
fn judged(phase: Phase, reply: &Reply) -> (bool, &'static str) {
    let status = reply.status.map(|Status(class, subject, detail)| (class, subject, detail));
    if reply.code / 100 != 5 || status.is_some_and(|it| it.0 == 4) {
        return (false, "");
    }
    if phase < Phase::Sender {
        return (
            false,
            match (phase, reply.code) {
                (Phase::Login, _) => ": the login is not accepted",
                _ => ": it does not talk to us",
            },
        );
    }
    let is_about_the_content = phase >= Phase::Data;
    match (status, reply.code) {
        (Some((_, 2, 2)), _) => (false, ": the mailbox is full"),
        (Some((_, 2, 3) | (_, 3, 4)), _) => (true, ": the mail is too large"),
        (Some((_, 2, 1)), _) => (false, ": the mailbox is closed"),
        (Some((_, 3, 3)), _) => (true, ": it cannot do what the mail needs"),
        (Some((_, 3, _)), _) => (false, ": its own trouble"),
        (Some((_, 4, 6)), _) => (true, ": the mail runs in circles"),
        (Some((_, 4, _)), _) => (false, ": trouble on its way on"),
        (Some((_, 7, _)), _) if is_about_the_content => (true, ": it does not take this content"),
        (Some((_, 7, _)), _) => (false, ": we may not"),
        // Where nothing more exact is said. These four are about logins (RFC 4954, 6).
        (_, 530 | 534 | 535 | 538) => (false, ": it asks for a login"),
        (None, 552) => (true, ": the mail is too large"),
        (Some((_, 1, _)), _) if phase == Phase::Recipient => (true, ": there is no such recipient"),
        (Some((_, 6, _)), _) => (true, ": it does not take this content"),
        _ => (true, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permanent(phase: Phase, line: &str) -> bool {
        let (reply, _) = Reply::read(format!("{line} <ada@example.net>\r\n").as_bytes()).unwrap().unwrap();
        let failure = Failure::from(Trouble::Refused(phase, reply));
        assert!(!failure.reason().contains("ada"), "{failure}");
        matches!(failure, Failure::Permanent { .. })
    }

    #[test]
    fn codes_and_phases_decide() {
        use Phase::{Acceptance, Data, Greeting, Hello, Login, Recipient, Sender, StartTls};
        for (phase, line, expected) in [
            (Greeting, "554 no service", false),
            (Greeting, "421 4.3.2 closing", false),
            (Hello, "550 go away", false),
            (StartTls, "554 5.7.3 no", false),
            (Login, "535 5.7.8 bad credentials", false),
            (Login, "454 4.7.0 later", false),
            (Sender, "530 5.7.0 authenticate", false),
            (Sender, "530 authenticate", false),
            (Sender, "550 5.7.1 not yours", false),
            (Sender, "553 5.1.8 bad sender", true),
            (Sender, "552 5.3.4 too large", true),
            (Sender, "452 4.3.1 disk full", false),
            (Recipient, "550 5.1.1 unknown", true),
            (Recipient, "550 unknown", true),
            (Recipient, "450 4.2.1 later", false),
            (Recipient, "550 4.2.1 later, really", false),
            (Recipient, "451 5.1.1 not now, really", false),
            (Recipient, "554 5.7.1 relay access denied", false),
            (Recipient, "550 5.4.1 access denied", false),
            (Recipient, "550 5.2.1 disabled", false),
            (Recipient, "552 5.2.2 over quota", false),
            (Recipient, "556 5.1.10 null MX", true),
            (Data, "554 no valid recipients", true),
            (Data, "421 4.3.2 closing", false),
            (Acceptance, "554 5.7.1 spam", true),
            (Acceptance, "550 5.6.0 malformed", true),
            (Acceptance, "552 too large", true),
            (Acceptance, "552 5.2.2 over quota", false),
            (Acceptance, "550 5.2.3 too large", true),
            (Acceptance, "554 5.4.6 too many hops", true),
            (Acceptance, "554 5.3.0 trouble", false),
            (Acceptance, "550 5.3.5 misconfigured", false),
            (Acceptance, "451 4.3.0 queue trouble", false),
            (Acceptance, "550", true),
            (Acceptance, "354 again", false),
        ] {
            assert_eq!(permanent(phase, line), expected, "{line} to {phase}");
        }
    }

    #[test]
    fn a_mail_that_may_have_arrived_is_said_to() {
        for trouble in [
            Trouble::Lost(Phase::Acceptance, "end of file".into()),
            Trouble::Late(Phase::Acceptance, Duration::from_secs(1)),
            Trouble::Garbled(Phase::Acceptance),
        ] {
            let failure = Failure::from(trouble);
            assert!(
                matches!(failure, Failure::Transient { .. }) && failure.reason().contains("may have arrived"),
                "{failure}"
            );
        }
        assert!(!Failure::from(Trouble::Lost(Phase::Content, "end".into())).reason().contains("may have"));
    }

    #[test]
    fn only_what_happened_before_the_mail_is_a_stale_connection() {
        let refused = |phase, code| Trouble::Refused(phase, Reply { code, status: None, lines: vec![] });
        assert!(refused(Phase::Reset, 421).is_a_stale_connection());
        assert!(refused(Phase::Sender, 421).is_a_stale_connection());
        assert!(Trouble::Lost(Phase::Sender, String::new()).is_a_stale_connection());
        assert!(!refused(Phase::Sender, 550).is_a_stale_connection());
        assert!(!Trouble::Lost(Phase::Acceptance, String::new()).is_a_stale_connection());
        assert!(!Trouble::Late(Phase::Recipient, Duration::ZERO).is_a_stale_connection());
    }
}
