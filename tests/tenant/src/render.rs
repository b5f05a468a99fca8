//! Messages and folders as Graph writes them.
//!
//! A mail's content is parsed only when a property of it was selected.

use serde_json::{Map, Value, json};

use crate::{
    call::Prefer,
    clock::{from_ms, seconds},
    envelope::{Person, Reading, conversation_names},
    folder::ROOT,
    mailbox::{Contents, Message},
    query::Select,
    world::{Mailbox, World},
};

/// What a message shall look like.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) select: &'a Select,
    pub(crate) prefer: Prefer,
}

impl World {
    /// A message with the properties selected; `id` and `@odata.etag` always.
    pub(crate) fn message_json(&self, mailbox: &Mailbox, message: &Message, look: Look<'_>) -> Map<String, Value> {
        let id = message.named(mailbox.number, look.prefer.ids()).write(self.seed);
        let change_key = change_key(message.change);
        let mut json = Map::new();
        json.insert("@odata.etag".to_owned(), format!("W/\"{change_key}\"").into());
        let envelope = &message.envelope;
        let person = |person: &Option<Person>| person.as_ref().map_or(Value::Null, Person::json);
        let people = |people: &[Person]| Value::from(people.iter().map(Person::json).collect::<Vec<_>>());
        let mut put = |name: &str, value: &dyn Fn() -> Value| {
            if look.select.has(name) {
                json.insert(name.to_owned(), value());
            }
        };
        put("createdDateTime", &|| seconds(message.created).into());
        put("lastModifiedDateTime", &|| seconds(message.modified).into());
        put("changeKey", &|| change_key.clone().into());
        put("categories", &|| message.categories.clone().into());
        put("receivedDateTime", &|| seconds(message.received).into());
        put("sentDateTime", &|| seconds(envelope.sent.unwrap_or(message.received)).into());
        put("internetMessageId", &|| envelope.message_id.clone().into());
        put("subject", &|| envelope.subject.clone().into());
        put("importance", &|| message.importance.clone().into());
        put("parentFolderId", &|| self.folder_id(mailbox, message.folder).into());
        put("conversationId", &|| message.conversation_id.clone().into());
        put("conversationIndex", &|| conversation_names(envelope.conversation).1.into());
        put("isDeliveryReceiptRequested", &|| message.receipts.0.into());
        put("isReadReceiptRequested", &|| message.receipts.1.into());
        put("isRead", &|| message.is_read.into());
        put("isDraft", &|| message.is_draft().into());
        put("webLink", &|| {
            format!("https://outlook.office365.com/owa/?ItemID={id}&exvsurl=1&viewmodel=ReadMessageItem").into()
        });
        put("inferenceClassification", &|| message.inference.clone().into());
        put("sender", &|| person(&envelope.sender));
        put("from", &|| person(&envelope.from));
        put("toRecipients", &|| people(&envelope.to));
        put("ccRecipients", &|| people(&envelope.cc));
        put("bccRecipients", &|| message.outgoing.as_ref().map_or(Value::Array(Vec::new()), |it| people(&it.bcc)));
        put("replyTo", &|| people(&envelope.reply_to));
        put("flag", &|| message.flag.clone());
        put("hasAttachments", &|| message.has_attachments().into());
        if CONTENT.iter().any(|name| look.select.has(name)) {
            let reading = Reading::of(&message.mime);
            put("bodyPreview", &|| reading.preview.clone().into());
            put("body", &|| body(&reading, look.prefer));
            put("uniqueBody", &|| body(&reading, look.prefer));
            put("internetMessageHeaders", &|| {
                reading.headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
            });
        }
        json.insert("id".to_owned(), id.into());
        json
    }

    /// A folder with its counts.
    pub(crate) fn folder_json(&self, mailbox: &Mailbox, contents: &Contents, number: u32) -> Value {
        let Some(folder) = contents.folder(number) else { return Value::Null };
        json!({
            "id": self.folder_id(mailbox, number),
            "displayName": folder.display,
            "parentFolderId": self.folder_id(mailbox, ROOT),
            "childFolderCount": contents.children_of(number),
            "unreadItemCount": folder.shelf.unread.len(),
            "totalItemCount": folder.shelf.all.len(),
            "sizeInBytes": 0,
            "isHidden": folder.name == "recoverableitemsdeletions",
        })
    }
}

/// Properties that need the mail's content.
const CONTENT: [&str; 4] = ["body", "bodyPreview", "uniqueBody", "internetMessageHeaders"];

fn body(reading: &Reading, prefer: Prefer) -> Value {
    match &reading.html {
        _ if prefer.text_bodies => json!({ "contentType": "text", "content": reading.text }),
        Some(html) => json!({ "contentType": "html", "content": html }),
        None => json!({ "contentType": "text", "content": reading.text }),
    }
}

fn change_key(change: u64) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut bytes = [0_u8; 20];
    bytes[0] = 9;
    bytes[4] = 0x16;
    bytes[12..].copy_from_slice(&change.to_be_bytes());
    STANDARD.encode(bytes)
}

/// `2026-11-27T22:11:09.952Z`
pub(crate) fn precise(ms: i64) -> String {
    from_ms(ms).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
