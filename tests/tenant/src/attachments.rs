//! What is attached to a message, as Graph lists it: files, items and files in the cloud.
//!
//! Without their content, as `$select` asks; files in the cloud stand in the list alone and never in the MIME
//! (learn.microsoft.com/graph/api/resources/referenceattachment, v1.0).

use bytes::Bytes;
use mail_parser::{MessageParser, MessagePart, MimeHeaders};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    answer::Answer,
    call::Call,
    clock::held,
    clock::seconds,
    envelope::Envelope,
    ids::MessageId,
    mailbox::Message,
    tenant::Tenant,
    world::{Mailbox, World},
};

/// A file in the cloud, shared by attaching it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CloudFile {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub content_type: Option<String>,
    /// Its size as Exchange counts it.
    pub size: u32,
}

/// What every attachment has, whatever its type.
const SELECTABLE: [&str; 6] = ["id", "name", "contentType", "size", "isInline", "lastModifiedDateTime"];

impl Tenant {
    /// Delivers a mail to which files in the cloud are attached into the inbox, now and unread.
    pub fn receive_with_cloud_files(&self, mailbox: &str, mime: impl Into<Bytes>, files: Vec<CloudFile>) -> MessageId {
        let mime = mime.into();
        let envelope = Envelope::read(&mime);
        self.arrives(mailbox, mime, envelope, self.now(), (false, "inbox"), files)
    }
}

impl World {
    /// `GET …/messages/{id}/attachments?$select=…`
    pub(crate) fn list_attachments(&self, mailbox: &Mailbox, id: &str, call: &Call) -> Result<Answer, Answer> {
        call.query.only(&["$select"])?;
        let wanted = selected(call.query.get("$select"))?;
        let contents = held(&mailbox.contents);
        let number = self.found(mailbox, &contents, id)?;
        let message = contents.message(number).ok_or_else(Answer::item_not_found)?;
        let all = attachments(message).into_iter().enumerate().map(|(at, (kind, mut all))| {
            all.insert("id".to_owned(), format!("{id}-{at}").into());
            all.retain(|name, _| name == "id" || wanted.contains(&name.to_lowercase()));
            let kind = ("@odata.type".to_owned(), format!("#microsoft.graph.{kind}").into());
            let mediatype = ("@odata.mediaContentType".to_owned(), all.get("contentType").cloned().unwrap_or_default());
            Value::Object([kind, mediatype].into_iter().chain(all).collect())
        });
        let context = format!("{}/$metadata#users('{}')/messages('{id}')/attachments", self.graph(), mailbox.guid);
        Ok(Answer::json(200, json!({ "@odata.context": context, "value": all.collect::<Vec<_>>() })))
    }
}

fn selected(select: Option<&str>) -> Result<Vec<String>, Answer> {
    let Some(select) = select else {
        return Err(Answer::not_simulated("A list of attachments with their content"));
    };
    let names = select.split(',').map(|name| name.trim().to_lowercase());
    let known = |name: &String| SELECTABLE.iter().any(|known| known.eq_ignore_ascii_case(name));
    let names: Vec<_> = names.collect();
    match names.iter().find(|name| !known(name)) {
        None => Ok(names),
        Some(stranger) => Err(Answer::error(
            400,
            "BadRequest",
            &format!("Could not find a property named '{stranger}' on type 'microsoft.graph.attachment'."),
        )),
    }
}

/// The type and the properties of everything that is attached.
fn attachments(message: &Message) -> Vec<(&'static str, Map<String, Value>)> {
    let properties = |name: &str, kind: Value, size: usize, is_inline: bool| {
        let all = json!({ "name": name, "contentType": kind, "size": size, "isInline": is_inline,
            "lastModifiedDateTime": seconds(message.received) });
        all.as_object().cloned().unwrap_or_default()
    };
    let mail = MessageParser::default().parse(&message.mime);
    let parts = mail.iter().flat_map(|mail| mail.attachments()).map(|part| {
        let name = part.attachment_name().unwrap_or("Untitled Attachment");
        match part.message() {
            Some(inner) => {
                ("itemAttachment", properties(inner.subject().unwrap_or(name), Value::Null, part.len(), false))
            }
            None => ("fileAttachment", properties(name, media_type(part).into(), part.len(), is_inline(part))),
        }
    });
    let cloud = message.cloud_files.iter().map(|file| {
        ("referenceAttachment", properties(&file.name, json!(file.content_type), file.size as usize, false))
    });
    let added = message
        .outgoing
        .iter()
        .flat_map(|it| &it.enclosures)
        .map(|it| ("fileAttachment", properties(&it.name, json!(it.media_type), it.content.len(), it.is_inline)));
    parts.chain(cloud).chain(added).collect()
}

fn media_type(part: &MessagePart<'_>) -> String {
    let kind = part.content_type().map(|kind| match kind.subtype() {
        Some(subtype) => format!("{}/{subtype}", kind.ctype()),
        None => kind.ctype().to_owned(),
    });
    kind.unwrap_or_else(|| "text/plain".to_owned())
}

fn is_inline(part: &MessagePart<'_>) -> bool {
    part.content_id().is_some()
}

impl Message {
    /// Graph's sense: an attachment that is not inline. Read once.
    pub(crate) fn has_attachments(&self) -> bool {
        *self.has_attachments.get_or_init(|| {
            let mail = MessageParser::default().parse(&self.mime);
            let added = self.outgoing.iter().flat_map(|it| &it.enclosures).any(|it| !it.is_inline);
            added
                || !self.cloud_files.is_empty()
                || mail.is_some_and(|mail| mail.attachments().any(|part| !is_inline(part)))
        })
    }
}
