//! What the tenant reads out of a mail for its listings: subject, people, ids, dates.
//!
//! Nothing here fails. A mail without headers, or of garbage, has an empty subject and nobody in it.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_parser::{Address, HeaderValue, Message, MessageParser};
use serde_json::{Value, json};

/// Longest preview Graph gives.
const PREVIEW_CHARS: usize = 255;

/// The head of a mail, read once when it arrives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Envelope {
    pub(crate) subject: String,
    pub(crate) from: Option<Person>,
    pub(crate) sender: Option<Person>,
    pub(crate) to: Vec<Person>,
    pub(crate) cc: Vec<Person>,
    pub(crate) reply_to: Vec<Person>,
    /// With its angle brackets, as Graph shows it. Made up where the mail has none, as Exchange does.
    pub(crate) message_id: String,
    /// Milliseconds since 1970, if the mail says when it was sent.
    pub(crate) sent: Option<i64>,
    pub(crate) importance: &'static str,
    /// The ids it refers to, with their angle brackets, parted by blanks.
    pub(crate) references: String,
    pub(crate) conversation: u64,
}

/// A name and an address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) address: String,
}

impl Person {
    pub(crate) fn json(&self) -> Value {
        json!({ "emailAddress": { "name": self.name, "address": self.address } })
    }
}

impl Envelope {
    pub(crate) fn read(mime: &[u8]) -> Self {
        let Some(mail) = MessageParser::default().parse_headers(mime) else {
            return Self { importance: "normal", message_id: made_up_id(), ..Self::default() };
        };
        let from = people(mail.from()).into_iter().next();
        let sender = people(mail.sender()).into_iter().next().or_else(|| from.clone());
        let message_id = mail.message_id().filter(|id| !id.is_empty()).map_or_else(made_up_id, |id| format!("<{id}>"));
        Self {
            subject: mail.subject().unwrap_or_default().to_owned(),
            from,
            sender,
            to: people(mail.to()),
            cc: people(mail.cc()),
            reply_to: people(mail.reply_to()),
            sent: mail.date().filter(|date| date.is_valid()).map(|date| date.to_timestamp().saturating_mul(1000)),
            importance: importance(&mail),
            references: references(&mail),
            conversation: conversation(&mail, &message_id),
            message_id,
        }
    }
}

/// The content of a mail, read only when a client asks for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub(crate) preview: String,
    pub(crate) html: Option<String>,
    pub(crate) text: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Reading {
    pub(crate) fn of(mime: &[u8]) -> Self {
        let Some(mail) = MessageParser::default().parse(mime) else {
            return Self::default();
        };
        let text = mail.body_text(0).unwrap_or_default().into_owned();
        Self {
            preview: text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(PREVIEW_CHARS).collect(),
            html: mail.html_part(0).filter(|part| part.is_text_html()).and(mail.body_html(0)).map(Into::into),
            headers: mail
                .headers_raw()
                .map(|(name, value)| (name.to_owned(), value.trim().replace("\r\n", "").replace('\n', "")))
                .collect(),
            text,
        }
    }
}

fn people(addresses: Option<&Address<'_>>) -> Vec<Person> {
    addresses
        .into_iter()
        .flat_map(|all| all.iter())
        .filter_map(|one| {
            let address = one.address().unwrap_or_default().to_owned();
            let name = one.name().map_or_else(|| address.clone(), str::to_owned);
            (!name.is_empty()).then_some(Person { name, address })
        })
        .collect()
}

/// Everybody whom a field of this name holds.
pub(crate) fn people_of(mime: &[u8], name: &str) -> Vec<Person> {
    let mail = MessageParser::default().parse_headers(mime);
    people(mail.as_ref().and_then(|mail| mail.header(name)).and_then(HeaderValue::as_address))
}

fn references(mail: &Message<'_>) -> String {
    let ids: Vec<_> = match mail.references() {
        HeaderValue::Text(id) => vec![format!("<{id}>")],
        HeaderValue::TextList(ids) => ids.iter().map(|id| format!("<{id}>")).collect(),
        _ => Vec::new(),
    };
    ids.join(" ")
}

fn importance(mail: &Message<'_>) -> &'static str {
    match mail.header_raw("Importance").map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        Some("high") => "high",
        Some("low") => "low",
        _ => "normal",
    }
}

/// The conversation is what Outlook's own index says ([MS-OXOMSG] 2.2.1.2 and 3: the GUID in its first 22 bytes, behind
/// a 1), else that of the first mail it refers to, else its own.
fn conversation(mail: &Message<'_>, message_id: &str) -> u64 {
    let index = mail.header_raw("Thread-Index").and_then(|it| STANDARD.decode(it.trim()).ok());
    if let Some(id) = index.as_ref().filter(|it| it.first() == Some(&1)).and_then(|it| it.get(6..22)) {
        return hashed(id);
    }
    let first = |value: &HeaderValue<'_>| match value {
        HeaderValue::Text(id) => Some(format!("<{id}>")),
        HeaderValue::TextList(ids) => ids.first().map(|id| format!("<{id}>")),
        _ => None,
    };
    let root = first(mail.references()).or_else(|| first(mail.in_reply_to())).unwrap_or_else(|| message_id.to_owned());
    hashed(root.as_bytes())
}

fn hashed(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn made_up_id() -> String {
    format!("<{:032X}@MAILSPAN.PROD.OUTLOOK.COM>", fastrand::u128(..))
}

/// `conversationId` and `conversationIndex` as they look.
pub(crate) fn conversation_names(conversation: u64) -> (String, String) {
    let mut bytes = [0_u8; 22];
    bytes[0] = 1;
    bytes[6..14].copy_from_slice(&conversation.to_be_bytes());
    bytes[14..22].copy_from_slice(&conversation.rotate_left(17).to_be_bytes());
    (format!("AAQkAG{}=", URL_LIKE.encode(bytes)), STANDARD.encode(bytes))
}

const URL_LIKE: base64::engine::GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_mail_is_read() {
        let envelope = Envelope::read(
            b"From: Ann <ann@example.org>\r\nTo: support@contoso.com, b@x.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
              Message-ID: <1@example.org>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0100\r\nImportance: High\r\n\r\nHello\r\n",
        );
        assert_eq!(envelope.subject, "Grüße");
        assert_eq!(envelope.from.map(|p| p.address).as_deref(), Some("ann@example.org"));
        assert_eq!(envelope.to.len(), 2);
        assert_eq!(envelope.message_id, "<1@example.org>");
        assert_eq!(envelope.importance, "high");
        assert_eq!(envelope.sent, Some(1_795_251_600_000));
    }

    #[test]
    fn a_reply_is_of_the_conversation_of_its_root() {
        let root = Envelope::read(b"Message-ID: <1@x>\r\n\r\n");
        let reply = Envelope::read(b"Message-ID: <2@x>\r\nReferences: <1@x> <9@x>\r\nIn-Reply-To: <9@x>\r\n\r\n");
        assert_eq!(root.conversation, reply.conversation);
    }

    #[test]
    fn mail_with_one_index_is_of_one_conversation_whatever_it_refers_to() {
        let mail = |index: &[u8], id: &str| {
            Envelope::read(format!("Message-ID: <{id}>\r\nThread-Index: {}\r\n\r\n", STANDARD.encode(index)).as_bytes())
        };
        let (first, answer) = (mail(&[1; 22], "1@x"), mail(&[1; 27], "2@x"));
        assert_eq!(first.conversation, answer.conversation);
        let mut other = [2; 22];
        other[0] = 1;
        assert_eq!(mail(&other, "3@x").conversation, mail(&other, "4@x").conversation);
        assert_ne!(first.conversation, mail(&other, "5@x").conversation);
        for none in [&[1; 9][..], &[2; 22]] {
            assert_ne!(mail(none, "6@x").conversation, mail(none, "7@x").conversation, "no index at all");
        }
    }

    #[test]
    fn no_bytes_whatever_are_too_much() {
        fastrand::seed(4711);
        let pieces: [&[u8]; 8] = [
            b"Subject: ",
            b"\r\n",
            b"\0",
            b"Content-Type: multipart/mixed; boundary=x",
            b"--x",
            b"=?utf-8?b?",
            b"\xff\xfe",
            b"From: <",
        ];
        for _ in 0..5_000 {
            let mut mime = Vec::new();
            for _ in 0..fastrand::usize(0..20) {
                mime.extend_from_slice(pieces[fastrand::usize(0..pieces.len())]);
                mime.extend((0..fastrand::usize(0..4)).map(|_| fastrand::u8(..)));
            }
            let _ = (Envelope::read(&mime), Reading::of(&mime));
        }
        assert_eq!(Envelope::read(b"").subject, "");
    }
}
