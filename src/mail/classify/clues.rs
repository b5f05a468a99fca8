//! What several decisions ask about a mail: who sent it, along which path, and what it says before it quotes another.
//!
//! Read once, from the mail itself and never from a mail inside it; of long texts only the beginning.

use std::sync::LazyLock;

use regex::Regex;

use crate::mail::parse::Mail;
use crate::mail::structure::Part;

/// Reports and automatic answers say what they are in their first lines; people's mail is not searched to its end.
pub(super) const LONGEST_TEXT: usize = 32 * 1024;

/// Where the mail would be returned to, as its last hop wrote it down (RFC 5321 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReturnPath {
    /// Nobody wrote it down.
    Unsaid,
    /// Nowhere: RFC 5321 §4.5.5 asks it of reports, RFC 3834 §3.3 of automatic answers.
    Null,
    /// To a program that delivers mail.
    Daemon,
    /// To an address.
    Somebody,
}

/// Who says to have written it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// Nobody with an address.
    Nobody,
    /// A program that delivers mail.
    Daemon,
    /// The postmaster, or somebody named like such a program: it may be a person.
    Postmaster,
    /// An address nobody reads.
    NoReply,
    /// An address like any other.
    Somebody,
}

/// What is known of a mail before it is decided what it is.
pub(super) struct Clues<'a> {
    pub(super) mail: &'a Mail,
    pub(super) raw: &'a [u8],
    /// The word of Auto-Submitted, in lower case.
    pub(super) auto_submitted: Option<String>,
    pub(super) return_path: ReturnPath,
    pub(super) sender: Sender,
    pub(super) subject: &'a str,
    /// The beginning of the text.
    pub(super) text: &'a str,
    /// For each part whether it is the mail's own and not a mail's inside it.
    is_own: Vec<bool>,
}

impl<'a> Clues<'a> {
    pub(super) fn of(mail: &'a Mail, raw: &'a [u8]) -> Self {
        let text = mail.text.as_ref().map_or("", |it| it.value.as_str());
        let subject = mail.subject.as_deref().unwrap_or_default().trim();
        Self {
            mail,
            raw,
            auto_submitted: auto_submitted(mail),
            return_path: return_path(mail),
            sender: sender(mail),
            subject: &subject[..subject.floor_char_boundary(1000)],
            text: &text[..text.floor_char_boundary(LONGEST_TEXT)],
            is_own: own(&mail.parts),
        }
    }

    /// The mail's own parts, in their order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &'a Part> {
        self.mail.parts.iter().zip(&self.is_own).filter(|(_, is_own)| **is_own).map(|(part, _)| part)
    }

    /// The first part of one of these types.
    pub(super) fn part(&self, kinds: &[&str]) -> Option<&'a Part> {
        self.parts().find(|it| kinds.contains(&it.kind()))
    }

    /// Whether the header has this field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.mail.fields.first(name).is_some()
    }

    /// The value of a field in lower case, its comments and parameters cut off.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        word(self.mail, name)
    }

    /// Whether it says of itself that a program sent it (RFC 3834 §5).
    pub(super) fn is_auto_submitted(&self) -> bool {
        self.auto_submitted.as_deref().is_some_and(|it| it != "no")
    }

    /// Whether it answers another mail.
    pub(super) fn is_reply(&self) -> bool {
        !self.mail.in_reply_to.is_empty() || !self.mail.references.is_empty()
    }

    /// Whether the subject begins as people's answers and forwarded mails do.
    pub(super) fn is_answered_or_forwarded(&self) -> bool {
        is_match(&ANSWERED_OR_FORWARDED, self.subject)
    }

    /// Whether something shows that no person sent it. A text alone shows nothing.
    pub(super) fn is_by_machine(&self) -> bool {
        self.is_auto_submitted()
            || matches!(self.return_path, ReturnPath::Null | ReturnPath::Daemon)
            || matches!(self.sender, Sender::Daemon | Sender::Nobody)
    }

    /// What Auto-Submitted adds to the reasons.
    pub(super) fn auto_submitted_reason(&self) -> Option<String> {
        let word = self.auto_submitted.as_deref().filter(|it| *it != "no")?;
        // A word of its own may be anything; the reasons name only those that are defined.
        let known = matches!(word, "auto-generated" | "auto-replied" | "auto-notified");
        Some(format!("auto-submitted: {}", if known { word } else { "other" }))
    }
}

/// `Re:` and `Fwd:` in the languages Outlook writes them in.
static ANSWERED_OR_FORWARDED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words =
        "re|fwd?|aw|wg|sv|vs|vb|tr|rv|enc|rif|antw?|doorst|odp|pd|vl|vá|tov|ynt|ilt|ref|res|回复|转发|答复|回覆|轉寄";
    Regex::new(&format!(r"(?i)^(?:{words})\s*(?:\[\d+\])?\s*[:：]")).ok()
});

/// Whether a pattern is found. A pattern of ours that would not compile finds nothing; the tests use each.
pub(super) fn is_match(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|it| it.is_match(text))
}

pub(super) fn word(mail: &Mail, name: &str) -> Option<String> {
    let value = mail.fields.value(name)?;
    let word = value.split([';', '(']).next().unwrap_or_default().trim().to_ascii_lowercase();
    (!word.is_empty()).then_some(word)
}

fn auto_submitted(mail: &Mail) -> Option<String> {
    word(mail, "auto-submitted")
}

/// The first such field counts: the last hop writes it on top.
fn return_path(mail: &Mail) -> ReturnPath {
    let Some(value) = mail.fields.value("return-path") else { return ReturnPath::Unsaid };
    let path = value.trim_matches(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"')).to_ascii_lowercase();
    match path.split('@').next().unwrap_or_default() {
        "" | "null" if !path.contains('@') => ReturnPath::Null,
        local if is_daemon(local) => ReturnPath::Daemon,
        _ => ReturnPath::Somebody,
    }
}

fn sender(mail: &Mail) -> Sender {
    let Some(from) = mail.from.first() else { return Sender::Nobody };
    sender_of(from.name.as_deref(), &from.email)
}

/// Whom this name and address are.
pub(super) fn sender_of(name: Option<&str>, email: &str) -> Sender {
    let local = email.split('@').next().unwrap_or_default();
    let name = letters(name.unwrap_or_default());
    let is_named_so = DAEMONS.iter().any(|it| name.starts_with(it));
    match () {
        () if is_daemon(local) => Sender::Daemon,
        () if !email.contains('@') => {
            if is_named_so {
                Sender::Daemon
            } else {
                Sender::Nobody
            }
        }
        () if is_named_so || POSTMASTERS.iter().any(|it| letters(local).starts_with(it)) => Sender::Postmaster,
        () if is_match(&NO_REPLY, local) => Sender::NoReply,
        () => Sender::Somebody,
    }
}

/// How display names of programs that deliver mail begin, only their letters.
const DAEMONS: &[&str] =
    &["mailerdaemon", "maildeliverysystem", "maildeliverysubsystem", "maildeliversystem", "maildeliveryservice"];
/// Exchange writes its own notes from an address that begins like this, on bounces and on full mailboxes.
const POSTMASTERS: &[&str] = &["postmaster", "microsoftexchange329e71"];

fn is_daemon(local: &str) -> bool {
    matches!(letters(local).as_str(), "mailerdaemon" | "maildaemon" | "maildeliverysystem")
}

/// Local parts that ask for no answer. What stands before must be no letter: `casino.reply` is somebody.
static NO_REPLY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = "no_reply|do_not_reply|dont_reply|no_response|nicht_antworten|keine_antwort|ne_pas_repondre|no_responder|non_rispondere|nao_responda";
    Regex::new(&format!("(?i)(?:^|[^a-z])(?:{})", words.replace('_', "[-_.]?"))).ok()
});

fn letters(text: &str) -> String {
    text.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).take(200).collect()
}

/// A part belongs to a mail inside when a part above it is a mail.
fn own(parts: &[Part]) -> Vec<bool> {
    let mut is_own: Vec<bool> = Vec::with_capacity(parts.len());
    for part in parts {
        // Parents come before their children.
        let above = part.parent.and_then(|it| Some((parts.get(it)?, *is_own.get(it)?)));
        is_own.push(above.is_none_or(|(parent, is_own)| is_own && !is_mail(parent)));
    }
    is_own
}

/// Whether a part is a mail of its own.
pub(super) fn is_mail(part: &Part) -> bool {
    matches!(part.kind(), "message/rfc822" | "message/global" | "message/news")
}
