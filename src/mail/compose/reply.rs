//! An answer, before anybody wrote it: to whom, under which subject, in which conversation (RFC 5322 §3.6.3, §3.6.4).

use serde::{Deserialize, Serialize};

use super::check::Problem;
use super::subject::answering;
use crate::mail::addresses::Mailbox;
use crate::mail::parse::Mail;

/// Of a longer chain the first mails and the last ones are kept: the ends are what readers look at.
const FIRST_REFERENCES: usize = 5;
const LAST_REFERENCES: usize = 25;
/// A longer name is not taken over.
const LONGEST_NAME: usize = 255;

/// What an answer needs to know of the mail it answers.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answered {
    /// Its Message-ID, without `<` and `>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// In-Reply-To.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_reply_to: Vec<String>,
    /// References, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// From.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Mailbox>,
    /// Reply-To.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reply_to: Vec<Mailbox>,
    /// To.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Mailbox>,
    /// Cc.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<Mailbox>,
    /// The subject.
    pub subject: String,
}

impl Answered {
    /// The facts of a mail.
    pub fn of(mail: &Mail) -> Self {
        Self {
            message_id: mail.message_ids.first().cloned(),
            in_reply_to: mail.in_reply_to.clone(),
            references: mail.references.clone(),
            from: mail.from.clone(),
            reply_to: mail.reply_to.clone(),
            to: mail.to.clone(),
            cc: mail.cc.clone(),
            subject: mail.subject.clone().unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answered").field("references", &self.references.len()).finish_non_exhaustive()
    }
}

/// Who gets an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyAll {
    /// Whoever wrote, or whom he names for answers.
    No,
    /// Everybody else who got the mail, too.
    Yes,
}

/// What is settled of an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// The subject.
    pub subject: String,
    /// In-Reply-To.
    pub in_reply_to: Vec<String>,
    /// References, oldest first.
    pub references: Vec<String>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("to", &self.to.len()).field("cc", &self.cc.len()).finish_non_exhaustive()
    }
}

impl Reply {
    /// The answer to a mail. `is_own` tells the addresses of the mailbox that answers: it never writes to itself, and
    /// where the mail is its own, the answer goes to those it went to.
    ///
    /// # Errors
    /// When nobody is left to answer to.
    pub fn to(answered: &Answered, all: ReplyAll, is_own: impl Fn(&str) -> bool) -> Result<Self, Problem> {
        let asked = if answered.reply_to.is_empty() { &answered.from } else { &answered.reply_to };
        let mut to = others(asked, &is_own, &[]);
        if to.is_empty() {
            to = others(&answered.from, &is_own, &[]);
        }
        if to.is_empty() && answered.from.iter().any(|it| is_own(&it.email)) {
            to = others(&answered.to, &is_own, &[]);
        }
        if to.is_empty() {
            return Err(Problem::new(
                "to",
                "cannot be taken from the mail, which names nobody to answer: name them here",
            ));
        }
        Ok(Self::to_these(answered, to, all, is_own))
    }

    /// The answer to a mail that goes to whom somebody chose.
    pub fn to_these(answered: &Answered, to: Vec<Mailbox>, all: ReplyAll, is_own: impl Fn(&str) -> bool) -> Self {
        let cc = match all {
            ReplyAll::No => Vec::new(),
            ReplyAll::Yes => others(&[answered.to.as_slice(), &answered.cc].concat(), &is_own, &to),
        };
        Self {
            to,
            cc,
            subject: answering(&answered.subject),
            in_reply_to: answered.message_id.iter().filter(|id| is_carried(id)).cloned().collect(),
            references: references(answered),
        }
    }
}

/// Those with an address of their own, each once.
fn others(people: &[Mailbox], is_own: impl Fn(&str) -> bool, known: &[Mailbox]) -> Vec<Mailbox> {
    let mut all: Vec<Mailbox> = Vec::new();
    for person in people.iter().filter(|it| it.email.contains('@') && !is_own(&it.email)) {
        let is_same = |other: &Mailbox| other.email.eq_ignore_ascii_case(&person.email);
        if !known.iter().any(is_same) && !all.iter().any(is_same) {
            // Names that no answer could carry are no loss: the address is what counts.
            let name =
                person.name.clone().filter(|it| it.chars().count() <= LONGEST_NAME && !it.contains(char::is_control));
            all.push(Mailbox { name, email: person.email.clone() });
        }
    }
    all
}

/// RFC 5322 §3.6.4: the references of the mail, or what it answers if that is one mail, and then the mail itself.
fn references(answered: &Answered) -> Vec<String> {
    let before = match (answered.references.as_slice(), answered.in_reply_to.as_slice()) {
        ([], [one]) => std::slice::from_ref(one),
        (references, _) => references,
    };
    let mut chain: Vec<String> = Vec::new();
    for id in before.iter().chain(&answered.message_id).filter(|id| is_carried(id)) {
        // The mail itself comes last, also where it names itself.
        chain.retain(|other| other != id);
        chain.push(id.clone());
    }
    cut(chain)
}

/// The ends of a chain.
pub(super) fn cut(mut chain: Vec<String>) -> Vec<String> {
    if chain.len() > FIRST_REFERENCES + LAST_REFERENCES {
        chain.drain(FIRST_REFERENCES..chain.len() - LAST_REFERENCES);
    }
    chain
}

/// Ids that can stand in a header again; of odd ones none is made up.
fn is_carried(id: &str) -> bool {
    !id.is_empty() && id.len() <= 900 && id.bytes().all(|it| it.is_ascii_graphic() && !b"<>".contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(list: &str) -> Vec<Mailbox> {
        list.split_whitespace().map(|email| Mailbox { name: None, email: email.to_owned() }).collect()
    }

    fn shown(list: &[Mailbox]) -> String {
        list.iter().map(|it| it.email.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_answer_goes_to_whom_the_mail_names() {
        // from, reply_to, to, cc; to, cc of the answer, and cc of the answer to all
        for (from, reply_to, to, cc, expected, all) in [
            ("ann@x", "", "me@c", "", "ann@x", ""),
            ("ann@x", "desk@x", "me@c", "", "desk@x", ""),
            ("ann@x", "", "me@c bob@x Ann@x", "eve@x bob@x", "ann@x", "bob@x eve@x"),
            ("ann@x", "desk@x", "ME@c", "ann@x", "desk@x", "ann@x"),
            ("me@c", "", "ann@x bob@x", "", "ann@x bob@x", ""),
            ("ann@x", "me@c", "me@c", "", "ann@x", ""),
            ("ann@x bob@x ann@X", "", "me@c", "", "ann@x bob@x", ""),
        ] {
            let answered = Answered {
                from: people(from),
                reply_to: people(reply_to),
                to: people(to),
                cc: people(cc),
                ..Answered::default()
            };
            let own = |email: &str| email.eq_ignore_ascii_case("me@c");
            let one = Reply::to(&answered, ReplyAll::No, own).unwrap();
            assert_eq!((shown(&one.to).as_str(), one.cc.len()), (expected, 0), "{from} {reply_to}");
            let every = Reply::to(&answered, ReplyAll::Yes, own).unwrap();
            assert_eq!((shown(&every.to).as_str(), shown(&every.cc).as_str()), (expected, all), "{from} {reply_to}");
        }
        let nobody = Answered { from: people("undisclosed"), ..Answered::default() };
        let problem = Reply::to(&nobody, ReplyAll::Yes, |_| false).unwrap_err();
        assert_eq!(problem.field, "to");
    }

    #[test]
    fn the_chain_goes_on() {
        for (references, in_reply_to, id, expected) in [
            ("", "", "3", "3"),
            ("1 2", "2", "3", "1 2 3"),
            ("", "2", "3", "2 3"),
            ("", "1 2", "3", "3"),
            ("1 3 2", "", "3", "1 2 3"),
            ("1 <2", "", "", "1"),
        ] {
            let ids = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let answered = Answered {
                message_id: ids(id).pop(),
                references: ids(references),
                in_reply_to: ids(in_reply_to),
                from: people("ann@x"),
                ..Answered::default()
            };
            let reply = Reply::to(&answered, ReplyAll::No, |_| false).unwrap();
            assert_eq!(reply.references.join(" "), expected);
            assert_eq!(reply.in_reply_to.join(" "), id);
        }
        let long = Answered {
            references: (0..100).map(|n| n.to_string()).collect(),
            from: people("ann@x"),
            ..Answered::default()
        };
        let chain = Reply::to(&long, ReplyAll::No, |_| false).unwrap().references;
        assert_eq!((chain.len(), chain[4].as_str(), chain[5].as_str(), chain[29].as_str()), (30, "4", "75", "99"));
    }
}
