//! Who a mail is from and who gets it, out of its envelope and its header.

use std::collections::HashSet;

use super::Raw;
use crate::mail::addresses::{Mailbox, list};
use crate::mail::compose::names::ascii;
use crate::mail::header::Fields;
use crate::model::address::Address;

/// The people of a mail, each once.
pub(super) struct People {
    pub(super) from: Vec<Mailbox>,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    pub(super) bcc: Vec<Mailbox>,
    pub(super) reply_to: Vec<Mailbox>,
}

impl People {
    pub(super) fn read(fields: &Fields, handed: &Raw<'_>) -> Self {
        let envelope = envelope(fields, handed);
        let is_in = |person: &Mailbox| envelope.as_ref().is_none_or(|it| it.iter().any(|one| one.0 == key(person)));
        let (to, cc, bcc) = (list(fields, "to"), list(fields, "cc"), list(fields, "bcc"));
        // One of several hand-overs of the same mail brings Bcc to nobody but its own recipients.
        let is_whole = to.iter().chain(&cc).all(is_in);
        let mut seen = HashSet::new();
        let mut once = |people: Vec<Mailbox>, all: bool| -> Vec<Mailbox> {
            people.into_iter().filter(|it| (all || is_in(it)) && seen.insert(key(it))).collect()
        };
        let (to, cc, mut bcc) = (once(to, false), once(cc, false), once(bcc, is_whole));
        for (key, person) in envelope.into_iter().flatten() {
            if seen.insert(key) {
                bcc.push(person);
            }
        }
        Self { from: authors(fields, handed.sender), to, cc, bcc, reply_to: distinct(list(fields, "reply-to")) }
    }
}

/// Who it is from; more than one where the mail says so.
pub(super) fn authors(fields: &Fields, sender: Option<&Address>) -> Vec<Mailbox> {
    match (distinct(list(fields, "from")), sender) {
        (found, Some(sender)) if found.iter().all(|it| it.email.is_empty()) => {
            let name = found.into_iter().find_map(|it| it.name);
            vec![Mailbox { name, email: sender.as_str().to_owned() }]
        }
        (found, _) => found,
    }
}

/// Who gets it, each with what is compared of them. A mail that somebody passes on as it is (RFC 5322 §3.6.6) goes to
/// those they name.
fn envelope(fields: &Fields, handed: &Raw<'_>) -> Option<Vec<(String, Mailbox)>> {
    let people: Vec<Mailbox> = match handed.recipients {
        Some(recipients) => recipients.iter().map(|it| Mailbox { name: None, email: it.as_str().to_owned() }).collect(),
        None => ["resent-to", "resent-cc", "resent-bcc"].iter().flat_map(|name| list(fields, name)).collect(),
    };
    let is_known = handed.recipients.is_some() || !people.is_empty();
    is_known.then(|| people.into_iter().map(|it| (key(&it), it)).collect())
}

fn distinct(mut people: Vec<Mailbox>) -> Vec<Mailbox> {
    let mut seen = HashSet::new();
    people.retain(|it| seen.insert(key(it)));
    people
}

/// What is compared: Exchange does not distinguish case, and knows international domains as ASCII.
fn key(person: &Mailbox) -> String {
    ascii(&person.email).to_lowercase()
}
