//! What is kept of a mail so that it can be answered when its content is gone: who, about what, in which conversation,
//! and nothing of what it says.

use serde::{Deserialize, Serialize};

use super::reply::{Answered, cut};
use crate::mail::facts::Classification;
use crate::mail::parse::Mail;

/// Of mails to more people than this it is not kept to whom they went.
const MOST_PEOPLE: usize = 100;
/// More authors than this are not kept.
const MOST_AUTHORS: usize = 10;
/// No answer takes over more of a subject.
const LONGEST_SUBJECT: usize = 255;

/// The facts of a mail that an answer is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answering {
    /// The mail.
    #[serde(flatten)]
    pub answered: Answered,
    /// Whether no program may answer it (RFC 3834 §2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_no_automatic: bool,
    /// Whether it went to more people than are kept, so that not all of them can be answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}

impl Answering {
    /// The facts of a mail.
    pub fn of(mail: &Mail, classification: &Classification) -> Self {
        let answered = Answered::of(mail);
        Self { answered, wants_no_automatic: classification.suppress_auto_response, is_cut: false }
    }

    /// As it is stored: of odd mails no more than an answer needs.
    ///
    /// # Errors
    /// None that texts and lists could lead to.
    pub fn stored(mut self) -> Result<String, serde_json::Error> {
        let mail = &mut self.answered;
        mail.references = cut(std::mem::take(&mut mail.references));
        mail.in_reply_to.truncate(2);
        mail.from.truncate(MOST_AUTHORS);
        mail.reply_to.truncate(MOST_AUTHORS);
        if let Some((end, _)) = mail.subject.char_indices().nth(LONGEST_SUBJECT) {
            mail.subject.truncate(end);
        }
        if mail.to.len() + mail.cc.len() > MOST_PEOPLE {
            (mail.to, mail.cc) = (Vec::new(), Vec::new());
            self.is_cut = true;
        }
        serde_json::to_string(&self)
    }

    /// What was stored.
    ///
    /// # Errors
    /// It was stored by another version, or is damaged.
    pub fn read(stored: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::addresses::Mailbox;
    use crate::mail::compose::{Reply, ReplyAll};

    fn answering(people: usize, references: usize) -> Answering {
        let person = |n: usize| Mailbox { name: Some(format!("P {n}")), email: format!("p{n}@x.org") };
        let answered = Answered {
            message_id: Some("own@x.org".into()),
            references: (0..references).map(|n| format!("{n}@x.org")).collect(),
            in_reply_to: vec!["before@x.org".into()],
            from: vec![person(0)],
            to: (1..people).map(person).collect(),
            subject: "ü".repeat(300),
            ..Answered::default()
        };
        Answering { answered, wants_no_automatic: true, is_cut: false }
    }

    #[test]
    fn the_answer_is_the_same_with_what_was_stored() {
        for (people, references) in [(1, 0), (3, 4), (100, 30), (20, 29), (20, 31), (20, 500)] {
            let known = answering(people, references);
            let read = Answering::read(&known.clone().stored().unwrap()).unwrap();
            let reply = |it: &Answering| Reply::to(&it.answered, ReplyAll::Yes, |_| false).unwrap();
            assert_eq!(reply(&read), reply(&known), "{people} {references}");
            assert!(read.wants_no_automatic && !read.is_cut);
        }
    }

    #[test]
    fn of_a_mail_to_very_many_it_is_known_that_they_are_not() {
        let stored = answering(3_000, 3_000).stored().unwrap();
        assert!(stored.len() < 2_000, "{}", stored.len());
        assert!(Answering::read(&stored).unwrap().is_cut);
        assert_eq!(Answering::read(r#"{"subject":"x"}"#).unwrap().answered.subject, "x");
    }
}
