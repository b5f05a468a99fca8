//! Bounces that are no report by RFC 3464: recognised by what mail systems have in common, not one by one.
//!
//! Two things must agree: that no person sent the mail, and that it speaks of one that did not arrive. A person who
//! forwards or quotes a bounce gives only the second.

use super::Verdict;
use super::clues::{Clues, ReturnPath, Sender};
use super::{original, status, undelivered, wording};
use crate::mail::facts::Kind;

pub(super) fn look(clues: &Clues<'_>) -> Option<Verdict> {
    let sent_by = sent_by(clues);
    if sent_by.is_empty() && !clues.is_auto_submitted() {
        // Nearly all mail: its text need not be searched.
        return None;
    }
    let speaks_of = speaks_of(clues);
    is_bounce(clues, &speaks_of).then(|| Verdict {
        kind: Kind::Dsn,
        reasons: sent_by.into_iter().chain(speaks_of).map(str::to_owned).chain(clues.auto_submitted_reason()).collect(),
        dsn: Some(undelivered::read(clues)),
    })
}

const SUBJECT: &str = "subject: delivery failure";
const TEXT: &str = "text: delivery failure";
const CODE: &str = "text: status code";
const ENCLOSED: &str = "original enclosed";
const QUOTED: &str = "original quoted";
const FIELDS: &str = "delivery-status part";

/// Marks of Exchange: a reason, the field, and its value where that matters. The newer mark has none.
const EXCHANGE: &[(&str, &str, &str)] = &[
    ("x-ms-exchange-message-is-ndr", "x-ms-exchange-message-is-ndr", ""),
    ("content-class: dsn", "content-class", "urn:content-classes:dsn"),
];

fn is_said(clues: &Clues<'_>, (_, field, value): &(&str, &str, &str)) -> bool {
    clues.mail.fields.value(field).is_some_and(|it| value.is_empty() || it.eq_ignore_ascii_case(value))
}

/// Signs that a mail system sent it.
fn sent_by(clues: &Clues<'_>) -> Vec<&'static str> {
    let mut signs = Vec::new();
    signs.extend(EXCHANGE.iter().find(|it| is_said(clues, it)).map(|it| it.0));
    signs.extend(clues.has("x-failed-recipients").then_some("x-failed-recipients"));
    signs.extend(match clues.return_path {
        ReturnPath::Null => Some("return-path: null"),
        ReturnPath::Daemon => Some("return-path: mailer-daemon"),
        ReturnPath::Somebody | ReturnPath::Unsaid => None,
    });
    signs.extend(match clues.sender {
        Sender::Daemon => Some("sender: mailer-daemon"),
        Sender::Postmaster => Some("sender: postmaster"),
        Sender::Nobody => Some("no sender"),
        Sender::NoReply | Sender::Somebody => None,
    });
    signs
}

/// Signs that it is about a mail that did not arrive.
fn speaks_of(clues: &Clues<'_>) -> Vec<&'static str> {
    let (said, quotes) = wording::before_quoted(clues.text);
    let mut signs = Vec::new();
    signs.extend(undelivered::status_part(clues).map(|_| FIELDS));
    let is_of_bounce = wording::subject_is_of_bounce(clues.subject) && !clues.is_answered_or_forwarded();
    signs.extend(is_of_bounce.then_some(SUBJECT));
    signs.extend(wording::text_is_of_bounce(said).then_some(TEXT));
    signs.extend(status::code_in(said).map(|_| CODE));
    signs.extend(clues.parts().any(original::is_enclosed).then_some(ENCLOSED));
    signs.extend(quotes.then_some(QUOTED));
    signs
}

fn is_bounce(clues: &Clues<'_>, speaks_of: &[&str]) -> bool {
    let says = |sign: &str| speaks_of.contains(&sign);
    let encloses = says(ENCLOSED) || says(QUOTED);
    let has_words = says(SUBJECT) || says(TEXT);
    if EXCHANGE.iter().any(|it| is_said(clues, it)) || says(FIELDS) && clues.is_by_machine() {
        return true;
    }
    if clues.has("x-failed-recipients") {
        return has_words || says(CODE) || encloses;
    }
    // Exchange quotes nothing in an automatic answer, and people's absence is no failure.
    let is_answer = wording::subject_is_of_answer(clues.subject) || wording::subject_is_of_absence(clues.subject);
    match (clues.sender, clues.return_path) {
        (Sender::Daemon, _) => has_words || says(CODE),
        (_, ReturnPath::Daemon) => has_words && !is_answer,
        (_, ReturnPath::Null) if is_answer => false,
        (Sender::Postmaster | Sender::Nobody, ReturnPath::Null) => {
            says(SUBJECT) || says(TEXT) && (says(CODE) || encloses)
        }
        // Forms on web sites send customers' complaints on a parcel along the same path.
        (_, ReturnPath::Null) => has_words && (says(CODE) || encloses),
        // The postmaster may be a person.
        (Sender::Postmaster | Sender::Nobody, _) => says(SUBJECT) && (says(TEXT) || says(CODE) || encloses),
        // A gateway under a name of its own, that at least says it is one and shows all there is to show.
        _ => clues.is_auto_submitted() && says(SUBJECT) && (says(TEXT) || says(CODE)) && encloses && !is_answer,
    }
}
