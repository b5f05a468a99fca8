//! A mail as a program or a mail client wrote it, made ready to leave: kept in structure, mended where Graph or the mail
//! system would trip over it, refused with the reason where neither is possible.
//!
//! The envelope says who gets it. A draft has none, so To, Cc and Bcc of what leaves are those of the envelope: whoever
//! stands in To or Cc and is not in the envelope is left out, and whoever is in the envelope alone becomes Bcc.

mod fields;
mod parts;
mod people;
mod split;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use self::fields::{Head, is_usable_id};
use self::parts::Building;
use self::people::People;
use super::check::{Limits, Problem, check};
use super::encode::base64_len;
use super::mime::LARGEST;
use super::outgoing::Outgoing;
use super::submission::{Automatic, File, Submission, message_id};
use crate::mail::addresses::{Mailbox, message_ids};
use crate::mail::structure::{self, Structure};
use crate::model::address::Address;
use crate::model::clock::UnixMillis;

/// A mail that was handed in as bytes.
#[derive(Clone)]
pub struct Raw<'a> {
    /// RFC 5322, more or less.
    pub mail: &'a Bytes,
    /// The envelope's sender. It is who the mail is from if the mail does not say.
    pub sender: Option<&'a Address>,
    /// The envelope's recipients. `None`: whoever the header names.
    pub recipients: Option<&'a [Address]>,
    /// The submission's id.
    pub id: &'a str,
    /// When it was accepted: its date if it has none.
    pub date: UnixMillis,
    /// Whether a Message-ID of its own is kept. It must not be where another mail has it.
    pub keeps_message_id: bool,
}

/// Who a mail is from: its From, or the envelope's sender where it has none. `None` where nobody or more than one is.
pub fn author(mail: &[u8], sender: Option<&Address>) -> Option<Mailbox> {
    // Read as it will be when it leaves: two readers might see two people.
    match people::authors(&structure::read(mail).fields, sender).as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// The Message-ID by which others may know a mail; `None` where it has none that is usable.
pub fn own_message_id(mail: &[u8]) -> Option<String> {
    fields::own_id(&crate::mail::header::section(mail).0)
}

/// The mail as it will leave.
///
/// # Errors
/// Everything that keeps it from being sent.
pub fn raw(handed: &Raw<'_>, limits: &Limits) -> Result<Outgoing, Vec<Problem>> {
    let structure = structure::read(handed.mail);
    let people = People::read(&structure.fields, handed);
    let mut problems = Vec::new();
    let from = match people.from.as_slice() {
        [from] => from.clone(),
        [] => {
            return Err(vec![Problem::new("from", "is missing, and so is the envelope's sender: say who it is from")]);
        }
        _ => return Err(vec![Problem::new("from", "names more than one, and Graph sends for one: name one")]),
    };
    let head = Head::of(&structure.fields, &people, &from, handed);
    if let Err(problem) = head.check() {
        problems.push(problem);
    }
    let body = body(&structure, handed, LARGEST.saturating_sub(head.text.len() as u64));
    let (body, files) = body.unwrap_or_else(|problem| {
        problems.push(problem);
        (Vec::new(), Vec::new())
    });
    let skeleton = Submission {
        id: handed.id.to_owned(),
        date: handed.date,
        from: from.clone(),
        to: people.to,
        cc: people.cc,
        bcc: people.bcc,
        reply_to: people.reply_to,
        subject: head.subject,
        text: None,
        html: None,
        attachments: files,
        headers: Vec::new(),
        in_reply_to: usable_ids(&structure, "in-reply-to"),
        references: usable_ids(&structure, "references"),
        automatic: Automatic::No,
    };
    if let Err(found) = check(&skeleton, limits) {
        problems.extend(found);
    }
    let size = (head.text.len() + body.len()) as u64;
    let size = size + skeleton.attachments.iter().map(|it| base64_len(it.size)).sum::<u64>();
    if size > limits.size {
        let sentence = format!("is {size} bytes long on its way, and this mailbox may send {}", limits.size);
        problems.push(Problem::new("mail", sentence));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Outgoing {
        message_id: head.message_id.unwrap_or_else(|| message_id(handed.id, &from)),
        mime: [head.text.into_bytes(), body].concat().into(),
        files: skeleton.attachments,
        from,
        to: skeleton.to,
        cc: skeleton.cc,
        bcc: skeleton.bcc,
        subject: skeleton.subject,
        in_reply_to: skeleton.in_reply_to,
        references: skeleton.references,
    })
}

/// What follows the mail's own fields, beginning with those that describe the content; and what does not fit.
fn body(structure: &Structure, handed: &Raw<'_>, room: u64) -> Result<(Vec<u8>, Vec<File>), Problem> {
    let building = Building::of(handed.mail, structure, handed.id);
    let (root, files) = match building.untouched().filter(|it| it.len() <= room) {
        Some(root) => (root, Vec::new()),
        None => split::fit(building.built()?, &building, room)?,
    };
    let mut body = Vec::with_capacity(usize::try_from(root.len()).unwrap_or_default());
    root.write(&mut body);
    Ok((body, files))
}

fn usable_ids(structure: &Structure, name: &str) -> Vec<String> {
    message_ids(&structure.fields, name).into_iter().filter(|it| is_usable_id(it)).collect()
}
