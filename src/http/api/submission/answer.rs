//! `POST /interactions/{id}/reply`: the mail that is made of what somebody wrote and of the mail it answers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::letter::{Envelope, Letter, Wanted};
use super::lift::Content;
use super::members::{Found, Members};
use super::written::checked;
use crate::http::problem::Place;
use crate::mail::addresses::Mailbox;
use crate::mail::compose::{Answering, Automatic, Limits, Reply, ReplyAll};

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http::api) enum Unanswered {
    /// Everything that is wrong with what was written.
    Wrong(Vec<Place>),
    /// No program may answer the mail.
    NotByProgram,
    /// It went to more people than are known.
    NotToAll,
}

/// Reads an answer to this mail, which came to `mailbox`; `is_own` tells the addresses of that mailbox.
///
/// # Errors
/// Why there is none.
pub(in crate::http::api) fn answer(
    json: Value,
    contents: BTreeMap<usize, Content>,
    mail: &Answering,
    mailbox: &str,
    is_own: impl Fn(&str) -> bool,
    limits: &Limits,
) -> Result<Wanted, Unanswered> {
    let mut found = Found::default();
    let Some(mut members) = Members::of(json, "", &mut found) else {
        return Err(Unanswered::Wrong(found.into_places()));
    };
    let letter = Letter::read(&mut members, contents, &mut found);
    let all = if members.flag("reply_all", &mut found).unwrap_or(false) { ReplyAll::Yes } else { ReplyAll::No };
    members.end(&mut found);
    if letter.automatic != Automatic::No && mail.wants_no_automatic {
        return Err(Unanswered::NotByProgram);
    }
    if all == ReplyAll::Yes && mail.is_cut {
        return Err(Unanswered::NotToAll);
    }
    let reply = match letter.to.clone() {
        Some(to) => Reply::to_these(&mail.answered, to, all, is_own),
        None => Reply::to(&mail.answered, all, &is_own).unwrap_or_else(|problem| {
            found.add(&problem.field, &problem.sentence);
            Reply::to_these(&mail.answered, Vec::new(), all, is_own)
        }),
    };
    let envelope = Envelope {
        from: letter.from.clone().unwrap_or_else(|| Mailbox { name: None, email: mailbox.to_owned() }),
        to: reply.to,
        cc: also(letter.cc.clone().unwrap_or_default(), reply.cc),
        subject: letter.subject.clone().unwrap_or(reply.subject),
        in_reply_to: reply.in_reply_to,
        references: reply.references,
    };
    checked(letter.into_wanted(envelope), limits, found).map_err(Unanswered::Wrong)
}

/// People, and those of others who are not among them. The first keep their places.
fn also(mut people: Vec<Mailbox>, others: Vec<Mailbox>) -> Vec<Mailbox> {
    for other in others {
        if !people.iter().any(|it| it.email.eq_ignore_ascii_case(&other.email)) {
            people.push(other);
        }
    }
    people
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mail::compose::Answered;

    const MAILBOX: &str = "support@contoso.example";

    fn person(email: &str) -> Mailbox {
        Mailbox { name: None, email: email.to_owned() }
    }

    fn mail() -> Answering {
        let answered = Answered {
            message_id: Some("2@customer.example".into()),
            references: vec!["1@customer.example".into()],
            from: vec![Mailbox { name: Some("Ann".into()), email: "ann@customer.example".into() }],
            to: vec![person("Support@contoso.example"), person("bob@customer.example")],
            cc: vec![person("eve@customer.example")],
            subject: "AW: Invoice 4711".into(),
            ..Answered::default()
        };
        Answering { answered, wants_no_automatic: false, is_cut: false }
    }

    fn reply(json: Value, mail: &Answering) -> Result<Wanted, Unanswered> {
        answer(json, BTreeMap::new(), mail, MAILBOX, |it| it.eq_ignore_ascii_case(MAILBOX), &Limits::default())
    }

    fn emails(list: &[Mailbox]) -> String {
        list.iter().map(|it| it.email.split('@').next().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_left_out_is_taken_from_the_mail() {
        // what was written; from, to, cc, subject
        for (json, from, to, cc, subject) in [
            (json!({ "text": "Hello" }), "support", "ann", "", "Re: Invoice 4711"),
            (json!({ "text": "Hello", "reply_all": true }), "support", "ann", "bob eve", "Re: Invoice 4711"),
            (
                json!({ "reply_all": true, "cc": ["boss@x.org", "EVE@customer.example"] }),
                "support",
                "ann",
                "boss EVE bob",
                "Re: Invoice 4711",
            ),
            (json!({ "cc": ["boss@x.org"], "subject": "Paid" }), "support", "ann", "boss", "Paid"),
            (json!({ "to": ["bob@customer.example"], "reply_all": true }), "support", "bob", "eve", "Re: Invoice 4711"),
            (json!({ "from": "Desk <desk@contoso.example>" }), "desk", "ann", "", "Re: Invoice 4711"),
        ] {
            let mail = reply(json.clone(), &mail()).unwrap().mail;
            assert_eq!(
                (emails(std::slice::from_ref(&mail.from)).as_str(), mail.subject.as_str()),
                (from, subject),
                "{json}"
            );
            assert_eq!((emails(&mail.to).as_str(), emails(&mail.cc).as_str()), (to, cc), "{json}");
            assert_eq!(mail.in_reply_to, ["2@customer.example"]);
            assert_eq!(mail.references, ["1@customer.example", "2@customer.example"]);
        }
    }

    #[test]
    fn no_program_answers_a_mail_that_wants_no_automatic_answer() {
        let unwilling = Answering { wants_no_automatic: true, ..mail() };
        for word in ["auto-replied", "auto-generated"] {
            let json = json!({ "text": "We got it.", "auto_submitted": word });
            assert_eq!(reply(json.clone(), &unwilling).err(), Some(Unanswered::NotByProgram));
            assert_ne!(reply(json, &mail()).unwrap().mail.automatic, Automatic::No);
        }
        assert!(reply(json!({ "text": "A person writes." }), &unwilling).is_ok());
    }

    #[test]
    fn who_is_not_known_is_not_answered() {
        let cut = Answering { is_cut: true, ..mail() };
        assert_eq!(reply(json!({ "reply_all": true }), &cut).err(), Some(Unanswered::NotToAll));
        assert!(reply(json!({}), &cut).is_ok());
        let nobody = Answering { answered: Answered { from: Vec::new(), ..mail().answered }, ..mail() };
        let Err(Unanswered::Wrong(places)) = reply(json!({ "in_reply_to": "x" }), &nobody) else { panic!("refused") };
        let fields: Vec<&str> = places.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["in_reply_to", "to"]);
        assert_eq!(emails(&reply(json!({ "to": ["ann@x.org"] }), &nobody).unwrap().mail.to), "ann");
    }
}
