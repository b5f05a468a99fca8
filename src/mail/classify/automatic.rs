//! Mail a program sent on its own account: absence notices, automatic answers, lists, and mail to many.
//!
//! After RFC 3834 and what mailers write in its stead. X-Auto-Response-Suppress asks for silence and proves nothing; it
//! counts only beside another sign.

use super::Verdict;
use super::clues::{Clues, ReturnPath};
use super::wording;
use crate::mail::facts::Kind;

/// An absence notice says so in its first sentences.
const HEAD: usize = 3 * 1024;

pub(super) fn look(clues: &Clues<'_>) -> Option<Verdict> {
    let signs = Signs::of(clues);
    absence(clues, &signs)
        .or_else(|| answer(clues, &signs))
        .or_else(|| rule(clues))
        .or_else(|| list(clues, &signs))
        .or_else(|| bulk(clues, &signs))
        .or_else(|| undecided(clues))
}

/// What shows a program at work, by what it shows.
struct Signs {
    /// An automatic answer, in so many words.
    answers: Vec<String>,
    /// A program that answers for people who are away.
    is_vacation: bool,
    /// A program, but not what for.
    machine: Vec<String>,
    /// Mail to many.
    bulk: Vec<String>,
    /// Mail of a list.
    list: Vec<String>,
}

impl Signs {
    fn of(clues: &Clues<'_>) -> Self {
        let precedence = clues.word("precedence").or_else(|| clues.word("x-precedence")).unwrap_or_default();
        let mut signs = Self { answers: vec![], is_vacation: false, machine: vec![], bulk: vec![], list: vec![] };
        let by_header = clues.auto_submitted_reason();
        match clues.auto_submitted.as_deref() {
            Some("auto-replied") => signs.answers.extend(by_header),
            _ => signs.machine.extend(by_header),
        }
        for name in ANSWER_FIELDS {
            // `X-Autoreply: no` says the opposite.
            let says_so = clues.mail.fields.value(name).is_some_and(|it| !it.eq_ignore_ascii_case("no"));
            signs.answers.extend(says_so.then(|| (*name).to_owned()));
        }
        match precedence.as_str() {
            "auto_reply" | "auto-reply" | "autoreply" => signs.answers.push("precedence: auto_reply".to_owned()),
            "bulk" | "junk" => signs.bulk.push(format!("precedence: {precedence}")),
            "list" => signs.list.push("precedence: list".to_owned()),
            _ => {}
        }
        // RFC 5230 §4.6 and others name the program in a comment.
        let by_comment = clues.mail.fields.value("auto-submitted").unwrap_or_default().contains("(vacation)");
        signs.is_vacation =
            by_comment || clues.has("x-vacation") || ["x-mailer", "user-agent"].iter().any(|it| is_vacation(clues, it));
        if clues.return_path == ReturnPath::Null {
            signs.machine.push("return-path: null".to_owned());
        }
        let named = |names: &[&str]| -> Vec<String> {
            names.iter().filter(|it| clues.has(it)).map(|it| (*it).to_owned()).collect()
        };
        signs.machine.extend(named(&["x-ms-exchange-generated-message-source"]));
        signs.bulk.extend(named(BULK_FIELDS));
        // Providers write it into whatever passes, also into what people answer from a ticket system.
        signs.bulk.extend((clues.has("feedback-id") && !clues.is_reply()).then(|| "feedback-id".to_owned()));
        signs.list.splice(..0, named(LIST_FIELDS));
        signs
    }

    fn is_to_many(&self) -> bool {
        !self.bulk.is_empty() || !self.list.is_empty()
    }
}

/// Fields of programs that answer, older than RFC 3834 or unaware of it.
const ANSWER_FIELDS: &[&str] = &["x-autoreply", "x-auto-reply", "x-autorespond", "x-autoresponder", "x-mail-autoreply"];
/// What lists write (RFC 2369, RFC 2919, and those before them). List-Unsubscribe alone is written by newsletters.
const LIST_FIELDS: &[&str] = &[
    "list-id",
    "list-post",
    "mailing-list",
    "x-mailing-list",
    "x-beenthere",
    "x-mailman-version",
    "x-ml-name",
    "x-mlserver",
];
/// What senders of much mail write: for those who want less of it, and for their providers.
const BULK_FIELDS: &[&str] = &["list-unsubscribe", "x-campaign", "x-campaign-id", "x-campaignid"];

fn is_vacation(clues: &Clues<'_>, name: &str) -> bool {
    let value = clues.mail.fields.value(name).unwrap_or_default().to_ascii_lowercase();
    ["vacation", "autorespon", "auto-respon", "out of office"].iter().any(|it| value.contains(it))
}

fn asks_for_silence(clues: &Clues<'_>) -> bool {
    let value = clues.mail.fields.value("x-auto-response-suppress").unwrap_or_default().to_ascii_lowercase();
    value.split([',', ';', ' ']).any(|it| matches!(it, "all" | "oof" | "autoreply"))
}

fn absence(clues: &Clues<'_>, signs: &Signs) -> Option<Verdict> {
    let answers = !signs.answers.is_empty();
    // Newsletters and personnel systems speak of holidays and are generated, but answer nobody.
    let is_answer = clues.is_reply() || clues.return_path == ReturnPath::Null || is_by_rule(clues);
    let is_generated = !signs.machine.is_empty() && !signs.is_to_many() && is_answer;
    let is_quiet_reply = clues.is_reply() && (asks_for_silence(clues) || !signs.bulk.is_empty());
    if !answers && !is_generated && !is_quiet_reply && !signs.is_vacation {
        return None;
    }
    let by_subject = !clues.is_answered_or_forwarded() && wording::subject_is_of_absence(clues.subject);
    // What Exchange answers for somebody who is away has this subject in its language, and asks for silence.
    let by_exchange = wording::subject_is_of_answer(clues.subject) && asks_for_silence(clues) && is_by_exchange(clues);
    let by_text = (answers || is_generated) && wording::text_is_of_absence(first_sentences(clues.text));
    let mut reasons = signs.answers.clone();
    reasons.extend(signs.machine.iter().cloned());
    reasons.extend(by_subject.then(|| "subject: absence".to_owned()));
    reasons.extend(by_exchange.then(|| "subject: automatic reply".to_owned()));
    reasons.extend(by_text.then(|| "text: absence".to_owned()));
    reasons.extend(signs.is_vacation.then(|| "vacation program".to_owned()));
    if is_quiet_reply {
        reasons.extend(asks_for_silence(clues).then(|| "x-auto-response-suppress".to_owned()));
        reasons.extend(signs.bulk.iter().cloned());
        reasons.push("in-reply-to".to_owned());
    }
    (by_subject || by_exchange || by_text || signs.is_vacation)
        .then(|| Verdict::of(Kind::OutOfOffice, reasons))
        .flatten()
}

/// Every mail in a mailbox of Exchange has fields of Exchange; these come from the Exchange that wrote it.
fn is_by_exchange(clues: &Clues<'_>) -> bool {
    is_by_rule(clues) || clues.has("x-ms-has-attach") && clues.has("thread-index")
}

fn is_by_rule(clues: &Clues<'_>) -> bool {
    ["x-ms-exchange-inbox-rules-loop", "x-ms-exchange-generated-message-source"].iter().any(|it| clues.has(it))
}

/// The beginning of the text, without what it quotes.
fn first_sentences(text: &str) -> &str {
    let head = &text[..text.floor_char_boundary(HEAD)];
    let quoted = head.find("\n>").or_else(|| head.find("\n-----"));
    quoted.map_or(head, |at| &head[..at])
}

fn answer(clues: &Clues<'_>, signs: &Signs) -> Option<Verdict> {
    let by_subject = wording::subject_is_of_answer(clues.subject);
    let mut reasons = signs.answers.clone();
    let is_generated_reply = clues.is_reply() && !signs.machine.is_empty() && !signs.is_to_many();
    let says_answer = by_subject && (!signs.machine.is_empty() || clues.is_reply() && asks_for_silence(clues));
    let is_rule = is_forwarded_by_rule(clues);
    if reasons.is_empty() && (is_rule || !is_generated_reply && !says_answer) {
        return None;
    }
    reasons.extend(signs.machine.iter().cloned());
    reasons.extend(by_subject.then(|| "subject: automatic reply".to_owned()));
    reasons.extend(clues.is_reply().then(|| "in-reply-to".to_owned()));
    Verdict::of(Kind::AutoReply, reasons)
}

fn is_forwarded_by_rule(clues: &Clues<'_>) -> bool {
    clues.has("x-ms-exchange-generated-message-source") && clues.is_answered_or_forwarded()
}

/// A rule in a mailbox forwarded what a person or a program sent: what it was is no longer to be seen.
fn rule(clues: &Clues<'_>) -> Option<Verdict> {
    is_forwarded_by_rule(clues).then(|| Verdict::of(Kind::Unknown, vec!["forwarded by a rule".to_owned()])).flatten()
}

fn list(clues: &Clues<'_>, signs: &Signs) -> Option<Verdict> {
    if signs.list.is_empty() {
        return None;
    }
    Verdict::of(Kind::List, signs.list.iter().cloned().chain(clues.auto_submitted_reason()).collect())
}

/// Precedence and fields of mail to many, or generated without being an answer: nobody waits for an answer to it.
fn bulk(clues: &Clues<'_>, signs: &Signs) -> Option<Verdict> {
    if signs.bulk.is_empty() && !clues.is_auto_submitted() {
        return None;
    }
    Verdict::of(Kind::Bulk, signs.bulk.iter().cloned().chain(clues.auto_submitted_reason()).collect())
}

/// A program had its hands on it, but people's mail passes through programs as well.
fn undecided(clues: &Clues<'_>) -> Option<Verdict> {
    let seen = ["x-loop", "x-ms-exchange-generated-message-source"].into_iter().filter(|it| clues.has(it));
    let reasons: Vec<String> = seen.map(str::to_owned).collect();
    if reasons.is_empty() { None } else { Verdict::of(Kind::Unknown, reasons) }
}
