//! What kind of mail it is, and what that rests on.
//!
//! The first that holds decides: loop, dsn, mdn, calendar, out_of_office, auto_reply, list, bulk, human; else unknown.
//! The same mail always gives the same answer, in a time that does not grow with its text, and nothing is guessed.

mod automatic;
mod bounce;
mod clues;
mod invitation;
pub mod loops;
mod original;
mod report;
mod status;
mod undelivered;
mod wording;

use clues::{Clues, ReturnPath, Sender};

use super::beside::Beside;
use super::facts::{Classification, Dsn, Kind};
use super::parse::Mail;
use crate::model::bounce::Returned;

/// A report is about one mail; a few is what odd systems name.
const MOST_IDS: usize = 16;

/// A decision: the kind, its reasons, and what a delivery report says.
struct Verdict {
    kind: Kind,
    reasons: Vec<String>,
    dsn: Option<Dsn>,
}

impl Verdict {
    fn of(kind: Kind, reasons: Vec<String>) -> Option<Self> {
        Some(Self { kind, reasons, dsn: None })
    }
}

/// What kind of mail it is. `raw` is what the mail was parsed from.
pub fn classify(mail: &Mail, raw: &[u8], beside: &Beside) -> Classification {
    let clues = Clues::of(mail, raw);
    let verdict = loops::look(mail, beside)
        .or_else(|| report::look(&clues))
        .or_else(|| bounce::look(&clues))
        .or_else(|| invitation::look(&clues))
        .or_else(|| automatic::look(&clues))
        .unwrap_or_else(|| person(&clues));
    Classification {
        suppress_auto_response: suppresses(&clues, verdict.kind),
        auto_submitted: clues.auto_submitted,
        kind: verdict.kind,
        reasons: verdict.reasons,
        dsn: verdict.dsn,
    }
}

/// What a report on delivery says of the mail it is about, which may be one of ours. `raw` is what the mail was parsed
/// from. Only a mail whose kind is [`Kind::Dsn`] is worth asking: a person may quote anything.
pub fn returned(mail: &Mail, raw: &[u8]) -> Returned {
    let clues = Clues::of(mail, raw);
    let mut message_ids: Vec<String> = Vec::new();
    for id in undelivered::original_id(&clues).into_iter().chain(original::message_ids(&clues)).take(MOST_IDS) {
        if !message_ids.contains(&id) {
            message_ids.push(id);
        }
    }
    Returned { submissions: original::submissions(&clues), message_ids, bounces: undelivered::bounces(&clues) }
}

/// Whether a mail may be a report on delivery by what a list shows of it: who it is from, and its subject. Of a thousand
/// mails of people hardly one looks like it; of a report written by a mail system every one does.
pub fn may_be_report(from: Option<(Option<&str>, &str)>, subject: &str) -> bool {
    let sender = from.map_or(Sender::Nobody, |(name, address)| clues::sender_of(name, address));
    let by_machine = matches!(sender, Sender::Nobody | Sender::Daemon | Sender::Postmaster);
    by_machine || wording::subject_is_of_bounce(&subject[..subject.floor_char_boundary(1000)])
}

/// A person is somebody with an address who wrote something; the absence of all signs of a machine alone is no ground.
fn person(clues: &Clues<'_>) -> Verdict {
    let unknown = |reason: &str| Verdict { kind: Kind::Unknown, reasons: vec![reason.to_owned()], dsn: None };
    let content = match () {
        () if !clues.text.trim().is_empty() => "text",
        () if clues.mail.html.is_some() => "html",
        () if !clues.mail.attachments.is_empty() => "attachment",
        () => "subject",
    };
    match (clues.sender, clues.return_path) {
        (Sender::Nobody, _) => unknown("no sender"),
        (Sender::Daemon, _) | (_, ReturnPath::Daemon) => unknown("sender: mailer-daemon"),
        (Sender::Postmaster, _) => unknown("sender: postmaster"),
        (Sender::NoReply, _) => unknown("sender: no-reply"),
        (_, ReturnPath::Null) => unknown("return-path: null"),
        _ if content == "subject" && clues.subject.is_empty() => unknown("no content"),
        _ => {
            let reasons = ["sender: address", &format!("content: {content}"), "no sign of automation"];
            Verdict { kind: Kind::Human, reasons: reasons.map(str::to_owned).to_vec(), dsn: None }
        }
    }
}

/// Whether an automatic answer must not be sent (RFC 3834 §2): to no machine, and to nobody who asks for none.
fn suppresses(clues: &Clues<'_>, kind: Kind) -> bool {
    let asked = clues.mail.fields.value("x-auto-response-suppress").unwrap_or_default().to_ascii_lowercase();
    // [MS-OXCMAIL]: a list of kinds of answer that are not wanted.
    let asks = asked.split([',', ';', ' ']).any(|it| matches!(it, "all" | "oof" | "autoreply"));
    let is_for_people = matches!(kind, Kind::Human | Kind::Calendar | Kind::Unknown);
    let reads_answers = matches!(clues.sender, Sender::Somebody | Sender::Postmaster);
    asks || !is_for_people || clues.is_by_machine() || !reads_answers || clues.has("x-loop")
}
