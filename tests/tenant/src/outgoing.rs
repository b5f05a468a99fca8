//! Drafts, replies and sending, as Graph does them: a draft keeps its immutable id when it is sent.
//!
//! What has left is in `sent`, and is carried on in `transport`.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    answer::Answer,
    call::Call,
    clock::held,
    draft::{Enclosure, Written},
    enclose,
    envelope::{Envelope, Person, made_up_id, people_of},
    folder::{DRAFTS, SENT_ITEMS},
    item::json_object,
    mailbox::{Arrival, Change, Contents, Message},
    query::Select,
    transport::Carried,
    world::{Mailbox, World},
};

/// What a message has that was written by a client, beside its MIME.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    pub(crate) is_draft: bool,
    /// As JSON; none if it came as MIME.
    pub(crate) written: Option<Written>,
    pub(crate) bcc: Vec<Person>,
    pub(crate) properties: Vec<(String, String)>,
    /// What was attached to it and is not in its MIME.
    pub(crate) enclosures: Vec<Enclosure>,
}

/// A mail that somebody wrote, before it is a message of the mailbox.
struct Letter {
    mime: Bytes,
    envelope: Envelope,
    outgoing: Outgoing,
}

impl World {
    /// `POST …/messages`
    pub(crate) fn create_draft(&self, mailbox: &Mailbox, call: &Call) -> Result<(Answer, Change), Answer> {
        call.query.only(&[])?;
        let letter = self.letter(mailbox, call, None)?;
        Ok(self.keep_draft(mailbox, letter, call))
    }

    /// `POST …/messages/{id}/createReply` and `createReplyAll`
    pub(crate) fn create_reply(
        &self,
        mailbox: &Mailbox,
        id: &str,
        all: bool,
        call: &Call,
    ) -> Result<(Answer, Change), Answer> {
        call.query.only(&[])?;
        let (reply, conversation) = {
            let contents = held(&mailbox.contents);
            let number = self.found(mailbox, &contents, id)?;
            let original = contents.message(number).ok_or_else(Answer::item_not_found)?;
            (reply_to(original, all, &mailbox.address), original.envelope.conversation)
        };
        let mut letter = self.letter(mailbox, call, Some(reply))?;
        letter.envelope.conversation = conversation;
        Ok(self.keep_draft(mailbox, letter, call))
    }

    /// What the request holds, as JSON or as MIME; JSON is laid over the reply it is about.
    fn letter(&self, mailbox: &Mailbox, call: &Call, reply: Option<Written>) -> Result<Letter, Answer> {
        if call.content_type.to_ascii_lowercase().starts_with("text/plain") {
            return mime_letter(&call.body);
        }
        let Some(reply) = reply else { return Ok(self.json_letter(mailbox, Written::read(json_object(call)?)?)) };
        let mut body = if call.body.is_empty() { Map::new() } else { json_object(call)? };
        let mut take = |name: &str, other: &str| body.remove(name).or_else(|| body.remove(other));
        let (message, comment) = (take("message", "Message"), take("comment", "Comment"));
        let written = match message {
            None | Some(Value::Null) => Written::default(),
            Some(Value::Object(message)) => Written::read(message)?,
            Some(_) => return Err(Answer::bad_request("Cannot convert the value of parameter 'message'.")),
        };
        if comment.is_some_and(|it| !it.is_null()) {
            if written.body.is_some() {
                return Err(Answer::bad_request("Either 'comment' or the message's body can be given, not both."));
            }
            return Err(Answer::not_simulated("A comment in a reply"));
        }
        if let Some(stranger) = body.keys().next() {
            return Err(Answer::bad_request(&format!("The parameter '{stranger}' is not known.")));
        }
        Ok(self.json_letter(mailbox, written.over(reply)))
    }

    fn json_letter(&self, mailbox: &Mailbox, mut written: Written) -> Letter {
        let message_id = written.message_id.clone().filter(|id| !id.is_empty()).unwrap_or_else(made_up_id);
        let mime = enclose::written(&written, &mailbox.address, &message_id, self.clock.now());
        let outgoing = Outgoing {
            is_draft: true,
            bcc: written.bcc.clone().unwrap_or_default(),
            properties: written.properties.clone().unwrap_or_default(),
            enclosures: written.enclosures.take().unwrap_or_default(),
            written: Some(Written { message_id: Some(message_id), ..written }),
        };
        Letter { envelope: Envelope::read(&mime), mime, outgoing }
    }

    fn keep_draft(&self, mailbox: &Mailbox, letter: Letter, call: &Call) -> (Answer, Change) {
        let mut contents = held(&mailbox.contents);
        let change = self.put(&mut contents, letter, DRAFTS);
        (self.entity(mailbox, &contents, change.number, &Select::everything(), call, 201), change)
    }

    fn put(&self, contents: &mut Contents, letter: Letter, folder: u32) -> Change {
        let now_ms = self.clock.now_ms();
        let Letter { mime, envelope, outgoing } = letter;
        let arrival =
            Arrival { mime, cloud_files: Vec::new(), envelope, received: now_ms, is_read: true, folder, shown_from: 0 };
        let change = contents.arrive(arrival, now_ms);
        if let Some(message) = contents.message_mut(change.number) {
            message.outgoing = Some(Box::new(outgoing));
        }
        change
    }

    /// `PATCH …/messages/{id}` of a draft
    pub(crate) fn patch_draft(&self, mailbox: &Mailbox, number: u32, call: &Call) -> Result<(Answer, Change), Answer> {
        let now = Written::read(json_object(call)?)?;
        let mut contents = held(&mailbox.contents);
        let message = contents.message_mut(number).ok_or_else(Answer::item_not_found)?;
        let outgoing = message.outgoing.as_mut().ok_or_else(|| Answer::not_simulated("Changing this draft"))?;
        match outgoing.written.take() {
            Some(before) => {
                let kept = std::mem::take(&mut outgoing.enclosures);
                let Letter { mime, envelope, mut outgoing } = self.json_letter(mailbox, now.over(before));
                outgoing.enclosures = kept;
                (message.mime, message.envelope) = (mime, envelope);
                message.outgoing = Some(Box::new(outgoing));
            }
            None if now.is_only_properties() => {
                let before = Written { properties: Some(outgoing.properties.clone()), ..Written::default() };
                outgoing.properties = now.over(before).properties.unwrap_or_default();
            }
            None => return Err(Answer::not_simulated("Changing more than properties of a draft that came as MIME")),
        }
        let change = contents.touch(number, self.clock.now()).ok_or_else(Answer::item_not_found)?;
        Ok((self.entity(mailbox, &contents, number, &Select::everything(), call, 200), change))
    }

    /// `POST …/messages/{id}/attachments`
    pub(crate) fn attach(&self, mailbox: &Mailbox, id: &str, call: &Call) -> Result<(Answer, Change), Answer> {
        let enclosure = Enclosure::read(&json_object(call)?)?;
        let mut contents = held(&mailbox.contents);
        let number = self.found(mailbox, &contents, id)?;
        let (place, change) = self.enclose(&mut contents, number, enclosure.clone())?;
        let json = json!({ "@odata.type": "#microsoft.graph.fileAttachment", "id": format!("{id}-{place}"),
            "name": enclosure.name, "contentType": enclosure.media_type, "size": enclosure.content.len(),
            "isInline": enclosure.is_inline, "contentId": enclosure.content_id });
        Ok((Answer::json(201, json), change))
    }

    /// Attaches a file to a draft. Returns its place among what is attached.
    pub(crate) fn enclose(
        &self,
        contents: &mut Contents,
        number: u32,
        enclosure: Enclosure,
    ) -> Result<(usize, Change), Answer> {
        let limit = self.options.max_message_size;
        let message = contents.message_mut(number).ok_or_else(Answer::item_not_found)?;
        let size = message.mime.len() + enclosure.content.len() * 4 / 3;
        let Some(outgoing) = message.outgoing.as_mut().filter(|it| it.is_draft) else {
            return Err(not_a_draft());
        };
        let attached: usize = outgoing.enclosures.iter().map(|it| it.content.len() * 4 / 3).sum();
        if size + attached > limit {
            return Err(too_large());
        }
        outgoing.enclosures.push(enclosure);
        let place = outgoing.enclosures.len() - 1;
        message.has_attachments.take();
        let change = contents.touch(number, self.clock.now()).ok_or_else(Answer::item_not_found)?;
        Ok((place, change))
    }

    /// `POST …/messages/{id}/send`
    pub(crate) fn send_draft(self: &Arc<Self>, mailbox: &Arc<Mailbox>, id: &str) -> Result<(Answer, Change), Answer> {
        let mut contents = held(&mailbox.contents);
        let number = self.found(mailbox, &contents, id)?;
        let message = contents.message_mut(number).ok_or_else(Answer::item_not_found)?;
        let Some(outgoing) = message.outgoing.as_mut().filter(|it| it.is_draft) else {
            return Err(not_a_draft());
        };
        self.may_leave(mailbox, &message.envelope, &outgoing.bcc)?;
        if self.quirks().rename_sent {
            message.envelope.message_id = made_up_id();
            message.mime = enclose::renamed(&message.mime, &message.envelope.message_id);
        }
        let left = enclose::leaving(&message.mime, &outgoing.enclosures, &message.envelope.message_id);
        if left.len() > self.options.max_message_size {
            return Err(too_large());
        }
        outgoing.is_draft = false;
        outgoing.written = None;
        outgoing.enclosures.clear();
        message.envelope.sent = Some(self.clock.now_ms());
        let (envelope, bcc) = (message.envelope.clone(), outgoing.bcc.clone());
        message.mime = left.clone();
        message.has_attachments.take();
        let now = self.clock.now();
        let delay = i64::try_from(self.quirks().sent_delay.as_millis()).unwrap_or(i64::MAX);
        message.shown_from = now.as_millisecond().saturating_add(delay);
        contents.rename(number);
        let change = contents.relocate(number, SENT_ITEMS, false, now).ok_or_else(Answer::item_not_found)?;
        self.note_sent(mailbox, Some(number), &envelope, &bcc, left.clone());
        drop(contents);
        self.carry(mailbox.clone(), Carried { envelope, bcc, mime: left });
        Ok((Answer::empty(202), change))
    }

    /// `POST /users/{id}/sendMail`
    pub(crate) fn send_mail(
        self: &Arc<Self>,
        mailbox: &Arc<Mailbox>,
        call: &Call,
    ) -> Result<(Answer, Option<Change>), Answer> {
        let (letter, is_saved) = match call.content_type.to_ascii_lowercase().starts_with("text/plain") {
            true => (mime_letter(&call.body)?, true),
            false => {
                let mut body = json_object(call)?;
                let mut take = |name: &str, other: &str| body.remove(name).or_else(|| body.remove(other));
                let (message, save) = (take("message", "Message"), take("saveToSentItems", "SaveToSentItems"));
                let Some(Value::Object(message)) = message else {
                    return Err(Answer::bad_request("The parameter 'message' is missing."));
                };
                if let Some(stranger) = body.keys().next() {
                    return Err(Answer::bad_request(&format!("The parameter '{stranger}' is not known.")));
                }
                (self.json_letter(mailbox, Written::read(message)?), save.and_then(|it| it.as_bool()).unwrap_or(true))
            }
        };
        let Letter { mime, mut envelope, mut outgoing } = letter;
        envelope.sent = Some(self.clock.now_ms());
        self.may_leave(mailbox, &envelope, &outgoing.bcc)?;
        let left = enclose::leaving(&mime, &outgoing.enclosures, &envelope.message_id);
        if left.len() > self.options.max_message_size {
            return Err(too_large());
        }
        (outgoing.is_draft, outgoing.written) = (false, None);
        outgoing.enclosures.clear();
        let (kept, bcc) = (envelope.clone(), outgoing.bcc.clone());
        let change = is_saved.then(|| {
            let letter = Letter { mime: left.clone(), envelope, outgoing };
            self.put(&mut held(&mailbox.contents), letter, SENT_ITEMS)
        });
        self.note_sent(mailbox, change.as_ref().map(|it| it.number), &kept, &bcc, left.clone());
        self.carry(mailbox.clone(), Carried { envelope: kept, bcc, mime: left });
        Ok((Answer::empty(202), change))
    }

    /// Refuses what Exchange refuses at once; what it bounces later is none of ours.
    fn may_leave(&self, mailbox: &Mailbox, envelope: &Envelope, bcc: &[Person]) -> Result<(), Answer> {
        let recipients = || envelope.to.iter().chain(&envelope.cc).chain(bcc);
        let invalid = |why: &str| {
            Answer::error(400, "ErrorInvalidRecipients", &format!("At least one recipient is not valid., {why}"))
        };
        if recipients().next().is_none() {
            return Err(invalid("A message can't be sent because it contains no recipients."));
        }
        if recipients().count() > self.options.max_recipients {
            return Err(invalid("The message has too many recipients."));
        }
        if recipients().any(|it| !it.address.contains('@')) {
            return Err(invalid("An address is malformed."));
        }
        let from = envelope.from.as_ref().map_or(mailbox.address.as_str(), |it| it.address.as_str());
        if !from.eq_ignore_ascii_case(&mailbox.address) && !self.sent.may_send_as(mailbox.number, from) {
            let message = "The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account.";
            return Err(Answer::error(403, "ErrorSendAsDenied", message));
        }
        Ok(())
    }
}

fn mime_letter(body: &[u8]) -> Result<Letter, Answer> {
    let invalid =
        || Answer::error(400, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.");
    let mime = STANDARD.decode(body.trim_ascii()).map_err(|_| invalid())?;
    let envelope = Envelope::read(&mime);
    let outgoing = Outgoing { is_draft: true, bcc: people_of(&mime, "Bcc"), ..Outgoing::default() };
    Ok(Letter { mime: mime.into(), envelope, outgoing })
}

/// What a reply is before anybody writes: to whom, about what, in which thread.
fn reply_to(original: &Message, all: bool, own: &str) -> Written {
    let envelope = &original.envelope;
    let to = match envelope.reply_to.is_empty() {
        true => envelope.from.iter().cloned().collect(),
        false => envelope.reply_to.clone(),
    };
    let strangers = |list: &[Person]| {
        let others = list.iter().filter(|it| !it.address.eq_ignore_ascii_case(own));
        let is_new = |it: &&Person| !to.iter().any(|other| other.address.eq_ignore_ascii_case(&it.address));
        others.filter(is_new).cloned().collect::<Vec<_>>()
    };
    let cc: Vec<Person> = if all { [strangers(&envelope.to), strangers(&envelope.cc)].concat() } else { Vec::new() };
    let subject = envelope.subject.trim_start();
    let begins = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    let chain = [envelope.references.as_str(), envelope.message_id.as_str()].join(" ").trim().to_owned();
    Written {
        subject: Some(if begins { subject.to_owned() } else { format!("RE: {subject}") }),
        to: Some(to),
        cc: Some(cc),
        properties: Some(vec![
            ("String 0x1042".to_owned(), envelope.message_id.clone()),
            ("String 0x1039".to_owned(), chain),
        ]),
        ..Written::default()
    }
}

fn not_a_draft() -> Answer {
    Answer::error(400, "ErrorInvalidOperation", "The message is not a draft.")
}

fn too_large() -> Answer {
    Answer::error(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
}
