//! The interaction as a receiver gets it: `mailspan.interaction/1` (contract §6).
//!
//! The same mail and facts always give the same bytes, so every attempt sends the same body. What all routes share is
//! rendered once; a further route costs little more than copying.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::addresses::Mailbox;
use super::attachment::{Attachment, Disposition, Origin};
use super::facts::{Calendar, Classification, Thread};
use super::parse::{HeaderText, Importance, Mail};
use super::security::Security;
use super::shared::{RemoteImages, Shared};
use crate::model::address::Address;
use crate::model::clock::{UnixMillis, rfc3339};
use crate::model::pattern::NamePattern;
use crate::model::route::MatchedBy;

/// The version of the envelope.
pub const SCHEMA: &str = "mailspan.interaction/1";
/// The type of the event.
pub const EVENT: &str = "interaction.email.received";

/// So many bytes of attachments, decoded, are put into one interaction at most, whatever a route's `inline_limit` says of
/// each: a mail of a hundred small files would otherwise make a body larger than receivers take, and fill the memory.
pub const MOST_INLINE: u64 = 32 << 20;

/// What is known of a mail beside its bytes; the same for every route.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// The tenant's configured name.
    pub tenant: &'a str,
    /// The key of the message, the same over routes.
    pub message_key: &'a str,
    /// The mailbox it was found in.
    pub mailbox: &'a Address,
    /// The folder it was found in.
    pub folder: &'a str,
    /// Graph's immutable id.
    pub immutable_id: &'a str,
    /// Graph's conversation id.
    pub conversation_id: Option<&'a str>,
    /// Graph's internet message id, as it came.
    pub internet_message_id: Option<&'a str>,
    /// When the mailbox received it.
    pub received_at: UnixMillis,
    /// SHA-256 of the raw mail.
    pub raw_sha256: &'a str,
    /// What kind of mail it is.
    pub classification: &'a Classification,
    /// The meeting it is about.
    pub calendar: Option<&'a Calendar>,
}

/// What one route adds.
#[derive(Debug, Clone)]
pub struct Handover<'a> {
    /// The interaction's id.
    pub interaction_id: &'a str,
    /// The route's configured name.
    pub route: &'a str,
    /// Why the route takes it.
    pub matched_by: MatchedBy,
    /// The To or Cc address that matched.
    pub matched_recipient: Option<&'a Address>,
    /// Which of the routes that take it this is, from 0.
    pub fan_out_index: usize,
    /// How many routes take it.
    pub fan_out_count: usize,
    /// Those whom Bcc fields named and the route takes mail for.
    pub bcc: &'a [Mailbox],
    /// The header fields the route wants; `None` for all.
    pub headers: Option<&'a [NamePattern]>,
    /// Whether the route wants remote images in HTML.
    pub remote_images: RemoteImages,
    /// The route's attributes.
    pub attributes: &'a BTreeMap<String, String>,
    /// Attachments up to this many bytes are put into the interaction, [`MOST_INLINE`] in all; `None`: none is.
    pub inline_limit: Option<u64>,
    /// Whether attachments that are not in the body lie beside it.
    pub beside: bool,
    /// Where the others, and the raw mail, can be had; `None` where nothing is linked.
    pub links: Option<&'a Links>,
    /// The conversation it belongs to.
    pub thread: &'a Thread,
}

/// Signed addresses of the content of one interaction.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// The raw mail.
    pub raw: String,
    /// Attachments by part id. One that is missing is not linked.
    pub attachments: BTreeMap<String, String>,
    /// When all of them stop working, in RFC 3339.
    pub expires_at: String,
}

/// A mail ready to be rendered for any number of routes.
#[derive(Debug)]
pub struct Prepared<'a> {
    mail: &'a Mail,
    raw: &'a [u8],
    pub(super) source: Source<'a>,
    pub(super) received_at: String,
    shared: &'a Shared,
}

impl<'a> Prepared<'a> {
    /// A mail with what is known of it. `raw` is the mail that was parsed, and `shared` was made of it.
    pub fn new(mail: &'a Mail, raw: &'a [u8], shared: &'a Shared, source: Source<'a>) -> Self {
        Self { received_at: rfc3339(source.received_at), mail, raw, shared, source }
    }

    /// The whole event, `{"type":…,"timestamp":…,"data":…}`, as a webhook sends it.
    ///
    /// # Errors
    /// Only where JSON itself cannot be written, which texts and numbers never cause.
    pub fn event(&self, handover: &Handover<'_>) -> serde_json::Result<Vec<u8>> {
        self.write(&Event { kind: EVENT, timestamp: &self.received_at, interaction: self.interaction_of(handover)? })
    }

    pub(super) fn write(&self, value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
        let text = self.shared.text_body.as_ref().map_or(0, |it| it.get().len());
        let html = self.mail.html.as_ref().map_or(0, |it| it.original.value.len());
        let inline = self.shared.contents.iter().filter_map(OnceLock::get).map(String::len).sum::<usize>();
        let mut out = Vec::with_capacity(4096 + text + html + self.shared.headers.get().len() + inline);
        serde_json::to_writer(&mut out, value)?;
        Ok(out)
    }

    pub(super) fn interaction_of<'b>(&'b self, handover: &'b Handover<'b>) -> serde_json::Result<Interaction<'b>> {
        let source = &self.source;
        Ok(Interaction {
            schema: SCHEMA,
            interaction_id: handover.interaction_id,
            message_key: source.message_key,
            tenant: source.tenant,
            direction: "INBOUND",
            route: Route {
                name: handover.route,
                matched_by: handover.matched_by,
                matched_recipient: handover.matched_recipient.map(|it| self.named(it)),
                fan_out_index: handover.fan_out_index,
                fan_out_count: handover.fan_out_count,
            },
            mailbox: InMailbox { address: source.mailbox.as_str(), folder: source.folder },
            source: FoundIn {
                system: "msgraph",
                immutable_id: source.immutable_id,
                conversation_id: source.conversation_id,
                internet_message_id: source.internet_message_id,
                received_date_time: &self.received_at,
            },
            message: self.message(handover)?,
            classification: source.classification,
            thread: handover.thread,
            attributes: handover.attributes,
        })
    }

    /// The recipient as the mail names it.
    fn named(&self, address: &Address) -> Mailbox {
        let mut all = self.mail.to.iter().chain(&self.mail.cc);
        let found = all.find(|it| Address::parse(&it.email).is_ok_and(|it| it == *address));
        Mailbox { name: found.and_then(|it| it.name.clone()), email: address.as_str().to_owned() }
    }

    fn message<'b>(&'b self, handover: &'b Handover<'b>) -> serde_json::Result<Message<'b>> {
        let mail = self.mail;
        let attachments = mail.attachments.iter().zip(&self.shared.contents);
        let mut room = MOST_INLINE;
        let attachments = attachments.map(|(it, content)| {
            let is_inline = is_inline(it, handover.inline_limit, &mut room);
            self.attachment(it, is_inline.then_some(content), handover)
        });
        Ok(Message {
            message_id: &mail.message_ids,
            in_reply_to: &mail.in_reply_to,
            references: &mail.references,
            from: &mail.from,
            to: &mail.to,
            cc: &mail.cc,
            bcc: handover.bcc,
            reply_to: &mail.reply_to,
            sender: mail.sender.as_ref(),
            subject: mail.subject.as_deref(),
            sent_at: mail.sent_at.as_deref(),
            received_at: &self.received_at,
            size: mail.size,
            importance: mail.importance,
            preview: &mail.preview,
            text_body: self.shared.text_body.as_deref(),
            html_body: self.shared.html_body(mail, handover.remote_images)?,
            attachments: attachments.collect(),
            headers: self.shown_headers(handover)?,
            raw: Raw {
                url: handover.links.map(|it| it.raw.as_str()),
                url_expires_at: handover.links.map(|it| it.expires_at.as_str()),
                size: mail.size,
                sha256: self.source.raw_sha256,
            },
            calendar: self.source.calendar,
            security: mail.security,
        })
    }

    fn shown_headers(&self, handover: &Handover<'_>) -> serde_json::Result<Cow<'_, RawValue>> {
        let Some(wanted) = handover.headers else { return Ok(Cow::Borrowed(&self.shared.headers)) };
        let is_wanted = |it: &HeaderText| wanted.iter().any(|pattern| pattern.matches(&it.name));
        to_raw_value(&self.mail.headers().filter(is_wanted).collect::<Vec<_>>()).map(Cow::Owned)
    }

    fn attachment<'b>(
        &'b self,
        attachment: &'b Attachment,
        inline: Option<&'b OnceLock<String>>,
        handover: &'b Handover<'b>,
    ) -> Attached<'b> {
        let encode = || BASE64_STANDARD.encode(attachment.bytes(self.raw));
        let content = inline.map(|it| it.get_or_init(encode).as_str());
        let is_in_cloud = attachment.origin == Origin::Reference;
        let link = handover.links.filter(|_| content.is_none() && !is_in_cloud).and_then(|links| {
            links.attachments.get(&attachment.part_id).map(|url| (url.as_str(), links.expires_at.as_str()))
        });
        Attached {
            part_id: &attachment.part_id,
            name: attachment.name.as_deref(),
            kind: &attachment.kind,
            size: attachment.size,
            cid: attachment.cid.as_deref(),
            disposition: attachment.disposition,
            sha256: Some(attachment.sha256.as_str()).filter(|it| !it.is_empty()),
            content,
            url: link.map(|it| it.0).or(attachment.cloud_url()),
            url_expires_at: link.map(|it| it.1),
            state: match (content, link) {
                _ if is_in_cloud => State::Link,
                (Some(_), _) => State::Stored,
                (None, Some(_)) => State::Link,
                (None, None) if handover.beside => State::Stored,
                (None, None) => State::OmittedTooLarge,
            },
            origin: attachment.origin,
        }
    }
}

/// Whether an attachment is put into the interaction, and the room that is left then. One that does not fit leaves its
/// room to those behind it.
fn is_inline(attachment: &Attachment, limit: Option<u64>, room: &mut u64) -> bool {
    let fits = limit.is_some_and(|limit| attachment.size <= limit.min(*room));
    let is_inline = attachment.origin != Origin::Reference && fits;
    if is_inline {
        *room -= attachment.size;
    }
    is_inline
}

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: &'a str,
    #[serde(rename = "data")]
    interaction: Interaction<'a>,
}

/// The interaction alone, the event's `data`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interaction<'a> {
    schema: &'static str,
    interaction_id: &'a str,
    message_key: &'a str,
    tenant: &'a str,
    direction: &'static str,
    route: Route<'a>,
    mailbox: InMailbox<'a>,
    source: FoundIn<'a>,
    message: Message<'a>,
    classification: &'a Classification,
    thread: &'a Thread,
    attributes: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Route<'a> {
    name: &'a str,
    matched_by: MatchedBy,
    matched_recipient: Option<Mailbox>,
    fan_out_index: usize,
    fan_out_count: usize,
}

#[derive(Serialize)]
struct InMailbox<'a> {
    address: &'a str,
    folder: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundIn<'a> {
    system: &'static str,
    immutable_id: &'a str,
    conversation_id: Option<&'a str>,
    internet_message_id: Option<&'a str>,
    received_date_time: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    message_id: &'a [String],
    in_reply_to: &'a [String],
    references: &'a [String],
    from: &'a [Mailbox],
    to: &'a [Mailbox],
    cc: &'a [Mailbox],
    bcc: &'a [Mailbox],
    reply_to: &'a [Mailbox],
    sender: Option<&'a Mailbox>,
    subject: Option<&'a str>,
    sent_at: Option<&'a str>,
    received_at: &'a str,
    size: u64,
    importance: Importance,
    preview: &'a str,
    text_body: Option<&'a RawValue>,
    html_body: Option<&'a RawValue>,
    attachments: Vec<Attached<'a>>,
    headers: Cow<'a, RawValue>,
    raw: Raw<'a>,
    calendar: Option<&'a Calendar>,
    security: Security,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attached<'a> {
    part_id: &'a str,
    name: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    size: u64,
    cid: Option<&'a str>,
    disposition: Disposition,
    sha256: Option<&'a str>,
    content: Option<&'a str>,
    url: Option<&'a str>,
    url_expires_at: Option<&'a str>,
    state: State,
    origin: Origin,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Stored,
    OmittedTooLarge,
    Link,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    url: Option<&'a str>,
    url_expires_at: Option<&'a str>,
    size: u64,
    sha256: &'a str,
}
