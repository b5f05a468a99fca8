//! Reading mailboxes: what changed, what came, one message, its bytes.
//!
//! Answers are read tolerantly: whatever Graph leaves out is `None`, and links are opaque.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use url::Url;

use super::Graph;
use super::error::GraphError;
use super::paths::{User, segment};
use super::request::{Call, parse};
use crate::memory::{Budget, Held};
use crate::model::address::Address;
use crate::model::clock::{UnixMillis, parse_rfc3339, rfc3339};
use crate::model::subject::Subject;

const FIELDS: &str = "id,receivedDateTime,lastModifiedDateTime,internetMessageId,conversationId,hasAttachments,\
                      subject";
/// A page of the sweep: large pages risk a 504 (learn.microsoft.com/graph/api/user-list-messages).
const SWEEP_PAGE: u32 = 200;

/// What is known of a message without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageMeta {
    /// Its immutable id.
    pub id: String,
    /// When it came.
    pub received_at: Option<UnixMillis>,
    /// Whether it is read.
    pub is_read: Option<bool>,
    /// When it last changed.
    pub last_modified: Option<UnixMillis>,
    /// Its Message-ID.
    pub internet_message_id: Option<String>,
    /// Outlook's conversation.
    pub conversation_id: Option<String>,
    /// Whether it has attachments that are not shown in its text.
    pub has_attachments: Option<bool>,
    /// Its subject.
    pub subject: Option<Subject>,
    /// Who it is from: the display name and the address. Only where that was asked for.
    pub from: Option<(Option<String>, String)>,
    /// The folder it lies in.
    pub parent_folder_id: Option<String>,
}

/// Where a look begins.
#[derive(Debug, Clone, Copy)]
pub enum DeltaFrom<'a> {
    /// At the beginning.
    Start {
        /// The folder: an id or a well-known name.
        folder: &'a str,
        /// Also be told when a message is read or unread.
        with_read_state: bool,
        /// Only messages that came at or after this time. Graph then returns at most 5,000 of them.
        since: Option<UnixMillis>,
    },
    /// Where a page before ended.
    Link(&'a str),
}

/// One page of what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaPage {
    /// What changed; may be empty.
    pub items: Vec<DeltaItem>,
    /// Where to go on.
    pub link: DeltaLink,
}

/// One change. The same message may come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeltaItem {
    /// A message that is new or changed.
    Message(MessageMeta),
    /// A message that left the folder.
    Removed {
        /// Its immutable id.
        id: String,
        /// How it left.
        reason: RemovedReason,
    },
}

/// How a message left a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovedReason {
    /// Deleted, or moved to another folder: Graph says the same of both.
    Deleted,
    /// It no longer belongs to what was asked for.
    Changed,
    /// Something else, or nothing, was said.
    Unknown,
}

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeltaLink {
    /// There is more in this round.
    Next(String),
    /// The round is over; the next one begins here.
    Delta(String),
}

/// Where a list begins.
#[derive(Debug, Clone, Copy)]
pub enum ReceivedFrom<'a> {
    /// At the oldest message that came at or after this time.
    Start {
        /// The folder: an id or a well-known name.
        folder: &'a str,
        /// The time.
        since: UnixMillis,
    },
    /// The same, and who each is from is told as well.
    Senders {
        /// The folder: an id or a well-known name.
        folder: &'a str,
        /// The time.
        since: UnixMillis,
    },
    /// The same, of those whose subject begins with these words.
    Titled {
        /// The folder: an id or a well-known name.
        folder: &'a str,
        /// The time.
        since: UnixMillis,
        /// The words.
        begins: &'a str,
    },
    /// Where a page before ended.
    Link(&'a str),
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages, oldest first.
    pub items: Vec<MessageMeta>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// A mail folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its id.
    pub id: String,
    /// How many messages lie in it.
    pub total: Option<u64>,
    /// How many of them are unread.
    pub unread: Option<u64>,
}

impl Graph {
    /// What changed in a folder: one page of a delta round.
    ///
    /// # Errors
    /// [`GraphError::needs_resync`] when the link is of no use any more, and everything else a call can end in.
    pub async fn delta(&self, mailbox: &Address, from: DeltaFrom<'_>, page_size: u32) -> Result<DeltaPage, GraphError> {
        let url = match from {
            DeltaFrom::Link(link) => self.endpoint.follow(link)?,
            DeltaFrom::Start { folder, with_read_state, since } => {
                self.delta_start(mailbox, folder, with_read_state, since)?
            }
        };
        let body = self.ask(&self.room(mailbox), 1, Call::get("delta", url).paged(page_size)).await?;
        let page: Page<'_> = parse(&body)?;
        let link = match (page.next, page.delta) {
            (Some(next), _) => DeltaLink::Next(next),
            (None, Some(delta)) => DeltaLink::Delta(delta),
            (None, None) => return Err(GraphError::bad("a page of changes without a link")),
        };
        Ok(DeltaPage { items: self.known(page.value).map(WireMessage::into_change).collect(), link })
    }

    /// The messages that came at or after a time, oldest first: one page.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn received_since(&self, mailbox: &Address, from: ReceivedFrom<'_>) -> Result<MessagePage, GraphError> {
        let url = match from {
            ReceivedFrom::Link(link) => self.endpoint.follow(link)?,
            ReceivedFrom::Start { folder, since } => self.list_start(mailbox, folder, &received_from(since), "")?,
            ReceivedFrom::Senders { folder, since } => {
                self.list_start(mailbox, folder, &received_from(since), ",from")?
            }
            ReceivedFrom::Titled { folder, since, begins } => {
                let titled = format!(" and startswith(subject,'{}')", begins.replace('\'', "''"));
                let titled = utf8_percent_encode(&titled, NON_ALPHANUMERIC);
                self.list_start(mailbox, folder, &format!("{}{titled}", received_from(since)), "")?
            }
        };
        let body = self.ask(&self.room(mailbox), 1, Call::get("list", url)).await?;
        let page: Page<'_> = parse(&body)?;
        Ok(MessagePage { next: page.next, items: self.known(page.value).map(WireMessage::into_meta).collect() })
    }

    /// One message, without its content.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn message(&self, mailbox: &Address, id: &str) -> Result<MessageMeta, GraphError> {
        let url = self.endpoint.at(format_args!(
            "{}/messages/{}?$select={FIELDS},isRead,parentFolderId",
            User(mailbox),
            segment(id)?
        ))?;
        let body = self.ask(&self.room(mailbox), 1, Call::get("message", url)).await?;
        let message: WireMessage<'_> = parse(&body)?;
        match message.id.is_some() {
            true => Ok(message.into_meta()),
            false => Err(GraphError::bad("a message without an id")),
        }
    }

    /// One message as bytes (RFC 5322), all of them or none, with the room they take. The room is taken before the
    /// bytes are read.
    ///
    /// # Errors
    /// [`GraphError::TooLarge`] beyond `limit`, and everything else a call can end in.
    pub async fn mime(
        &self,
        mailbox: &Address,
        id: &str,
        limit: u64,
        budget: &Budget,
    ) -> Result<(Bytes, Held), GraphError> {
        let url = self.endpoint.at(format_args!("{}/messages/{}/$value", User(mailbox), segment(id)?))?;
        self.ask_for_content(&self.room(mailbox), Call::get("mime", url), limit, budget).await
    }

    /// A folder and how many messages lie in it.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn folder(&self, mailbox: &Address, folder: &str) -> Result<Folder, GraphError> {
        let url = self.endpoint.at(format_args!(
            "{}/mailFolders/{}?$select=id,totalItemCount,unreadItemCount",
            User(mailbox),
            segment(folder)?
        ))?;
        let body = self.ask(&self.room(mailbox), 1, Call::get("folder", url)).await?;
        let folder: WireFolder = parse(&body)?;
        Ok(Folder { id: folder.id, total: folder.total_item_count, unread: folder.unread_item_count })
    }

    fn list_start(&self, mailbox: &Address, folder: &str, filter: &str, more: &str) -> Result<Url, GraphError> {
        self.endpoint.at(format_args!(
            "{}/mailFolders/{}/messages?$filter={filter}&$orderby=receivedDateTime%20asc&$top={SWEEP_PAGE}\
             &$select={FIELDS},isRead{more}",
            User(mailbox),
            segment(folder)?
        ))
    }

    /// Only what is created in the folder: a message that was there before and is read, moved within or categorised
    /// is no new mail, and our own marks do not come back as changes.
    fn delta_start(
        &self,
        mailbox: &Address,
        folder: &str,
        with_read_state: bool,
        since: Option<UnixMillis>,
    ) -> Result<Url, GraphError> {
        let read_state = if with_read_state { ",isRead" } else { "" };
        let filter = since.map(|since| format!("&$filter={}", received_from(since))).unwrap_or_default();
        self.endpoint.at(format_args!(
            "{}/mailFolders/{}/messages/delta?changeType=created&$select={FIELDS}{read_state}{filter}",
            User(mailbox),
            segment(folder)?
        ))
    }

    /// The items that can be told apart: what has no id can be neither fetched nor forgotten.
    fn known<'a>(&self, items: Vec<WireMessage<'a>>) -> impl Iterator<Item = WireMessage<'a>> {
        let nameless = items.iter().filter(|item| item.id.is_none()).count();
        if nameless > 0 {
            tracing::warn!(tenant = self.tenant, nameless, "Graph listed {nameless} items without an id");
        }
        items.into_iter().filter(|item| item.id.is_some())
    }
}

fn received_from(since: UnixMillis) -> String {
    format!("receivedDateTime%20ge%20{}", rfc3339(since))
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    value: Vec<WireMessage<'a>>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
    #[serde(rename = "@odata.deltaLink")]
    delta: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMessage<'a> {
    id: Option<String>,
    #[serde(borrow, rename = "@removed")]
    removed: Option<WireRemoved<'a>>,
    #[serde(borrow)]
    received_date_time: Option<Cow<'a, str>>,
    is_read: Option<bool>,
    #[serde(borrow)]
    last_modified_date_time: Option<Cow<'a, str>>,
    internet_message_id: Option<String>,
    conversation_id: Option<String>,
    has_attachments: Option<bool>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
    from: Option<WireSender>,
    parent_folder_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSender {
    email_address: Option<WireAddress>,
}

#[derive(Deserialize)]
struct WireAddress {
    name: Option<String>,
    address: Option<String>,
}

#[derive(Deserialize)]
struct WireRemoved<'a> {
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFolder {
    id: String,
    total_item_count: Option<u64>,
    unread_item_count: Option<u64>,
}

impl WireMessage<'_> {
    fn into_change(self) -> DeltaItem {
        let Some(removed) = &self.removed else { return DeltaItem::Message(self.into_meta()) };
        let reason = match removed.reason.as_deref() {
            Some(reason) if reason.eq_ignore_ascii_case("deleted") => RemovedReason::Deleted,
            Some(reason) if reason.eq_ignore_ascii_case("changed") => RemovedReason::Changed,
            _ => RemovedReason::Unknown,
        };
        DeltaItem::Removed { id: self.id.unwrap_or_default(), reason }
    }

    fn into_meta(self) -> MessageMeta {
        let time = |text: Option<Cow<'_, str>>| text.as_deref().and_then(parse_rfc3339);
        MessageMeta {
            id: self.id.unwrap_or_default(),
            received_at: time(self.received_date_time),
            is_read: self.is_read,
            last_modified: time(self.last_modified_date_time),
            internet_message_id: self.internet_message_id,
            conversation_id: self.conversation_id,
            has_attachments: self.has_attachments,
            subject: self.subject.as_deref().map(Subject::new),
            from: self.from.and_then(|it| it.email_address).map(|it| (it.name, it.address.unwrap_or_default())),
            parent_folder_id: self.parent_folder_id,
        }
    }
}
