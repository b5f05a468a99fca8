//! What the listener answers (RFC 5321 §4.2), with enhanced codes (RFC 3463): every reply there is, and which one a
//! refused mail gets. No reply names an address or repeats what it was given.

use crate::mail::compose::Problem;
use crate::outbound::offer::{Receipt, Refused};

/// A line of a reply must not be longer than 512 letters (RFC 5321 §4.5.3.1.5), and people read it in a bounce.
const LONGEST_LINE: usize = 400;
/// So many problems of one mail are told.
const MOST_PROBLEMS: usize = 8;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    enhanced: &'static str,
    lines: Vec<String>,
}

impl Reply {
    pub(super) fn new(code: u16, enhanced: &'static str, text: impl Into<String>) -> Self {
        Self { code, enhanced, lines: vec![text.into()] }
    }

    /// A reply without an enhanced code: greetings, EHLO, and the steps of an exchange have none.
    pub(super) fn plain(code: u16, lines: Vec<String>) -> Self {
        Self { code, enhanced: "", lines }
    }

    /// Whether what was asked for was refused.
    pub(super) fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// As it goes over the wire.
    pub(super) fn written(&self) -> String {
        let mut written = String::new();
        for (at, line) in self.lines.iter().enumerate() {
            let is_last = at + 1 == self.lines.len();
            let line: String = line.replace(|it: char| !matches!(it, ' '..='~'), "?");
            let line = line.get(..LONGEST_LINE).unwrap_or(&line);
            let (mark, gap) = (if is_last { ' ' } else { '-' }, if self.enhanced.is_empty() { "" } else { " " });
            written.push_str(&format!("{}{mark}{}{gap}{line}\r\n", self.code, self.enhanced));
        }
        written
    }
}

/// The mail is on disk.
pub(super) fn accepted(receipt: &Receipt) -> Reply {
    let again = if receipt.is_repeated { " (it was handed in before, and is not sent twice)" } else { "" };
    Reply::new(250, "2.0.0", format!("{} queued{again}", receipt.id))
}

/// What a client is told of a mail that is not accepted.
pub(super) fn refused(refused: &Refused) -> Reply {
    match refused {
        Refused::Problems(problems) => of_problems(problems),
        Refused::NoSender => Reply::new(550, "5.1.8", refused.to_string()),
        Refused::KeyReused => Reply::new(554, "5.6.0", "another mail was handed in under this key"),
        Refused::TooLarge { limit } => too_large(*limit),
        Refused::Busy => Reply::new(452, "4.3.1", refused.to_string()),
        // What the store says is for the log.
        Refused::Store(_) => Reply::new(451, "4.3.0", "the mail could not be stored; try again"),
    }
}

pub(super) fn too_large(limit: u64) -> Reply {
    Reply::new(552, "5.3.4", format!("the mail is larger than outbound.max_message_size, {limit} bytes"))
}

fn of_problems(problems: &[Problem]) -> Reply {
    let is_about = |name: &str| problems.iter().all(|it| it.field.starts_with(name));
    let is_address = problems.iter().all(|it| it.field.ends_with(".email"));
    let (code, enhanced) = match () {
        () if is_address && is_about("from") => (553, "5.1.7"),
        () if is_address => (553, "5.1.3"),
        () => (554, "5.6.0"),
    };
    let lines = problems.iter().take(MOST_PROBLEMS).map(ToString::to_string).collect();
    Reply { code, enhanced, lines }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::addresses::Mailbox;
    use crate::mail::compose::{Automatic, Limits, Submission, check};
    use crate::model::submission::SubmissionState;
    use crate::store::StoreError;

    fn problems(from: &str, to: &str, subject: &str) -> Refused {
        let person = |email: &str| Mailbox { name: None, email: email.into() };
        let submission = Submission {
            id: "sub_1".into(),
            date: 0,
            from: person(from),
            to: vec![person(to)],
            cc: Vec::new(),
            bcc: Vec::new(),
            reply_to: Vec::new(),
            subject: subject.into(),
            text: None,
            html: None,
            attachments: Vec::new(),
            headers: Vec::new(),
            in_reply_to: Vec::new(),
            references: Vec::new(),
            automatic: Automatic::No,
        };
        Refused::Problems(check(&submission, &Limits::default()).unwrap_err())
    }

    #[test]
    fn every_refusal_has_its_code() {
        let long = "x".repeat(300);
        for (why, begins) in [
            (problems("a@x.org", "ü@x.org", ""), "553 5.1.3 to[0].email "),
            (problems("ü@x.org", "a@x.org", ""), "553 5.1.7 from.email "),
            (problems("a@x.org", "b@x.org", &long), "554 5.6.0 subject "),
            (problems("a@x.org", "ü@x.org", &long), "554-5.6.0 to[0].email "),
            (Refused::NoSender, "550 5.1.8 "),
            (Refused::KeyReused, "554 5.6.0 "),
            (Refused::TooLarge { limit: 7 }, "552 5.3.4 "),
            (Refused::Busy, "452 4.3.1 "),
            (Refused::Store(StoreError::Closed), "451 4.3.0 "),
        ] {
            let written = refused(&why).written();
            assert!(written.starts_with(begins), "{begins}: {written}");
            assert!(written.is_ascii() && written.ends_with("\r\n"), "{written}");
            assert!(!written.contains("x.org"), "{written}");
        }
    }

    #[test]
    fn who_hands_a_mail_in_is_told_its_id() {
        let mut receipt = Receipt { id: "sub_1".into(), state: SubmissionState::Queued, is_repeated: false };
        assert_eq!(accepted(&receipt).written(), "250 2.0.0 sub_1 queued\r\n");
        receipt.is_repeated = true;
        assert!(accepted(&receipt).written().starts_with("250 2.0.0 sub_1 queued (it was handed in before"));
        let lines = Reply::plain(250, vec!["a".into(), "b\r\nc".into()]).written();
        assert_eq!(lines, "250-a\r\n250 b??c\r\n");
    }
}
