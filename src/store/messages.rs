//! Reading messages, their content and their deliveries.

use bytes::{Bytes, BytesMut};

use super::Store;
use super::error::StoreError;
use super::value::Row;
use super::words::{FoundBy, Mark, MessageState};
use crate::model::clock::UnixMillis;
use crate::model::ids;
use crate::model::work::MailboxId;

/// The columns of a [`Message`], in the order [`Store::message_of`] reads them.
macro_rules! message_columns {
    () => {
        "m.id, m.mailbox, m.immutable_id, m.found_at, m.found_by, m.received_at, m.conversation_id, m.internet_message_id,
         m.state, m.state_reason, m.base_key, m.copy, m.size, m.sha256, m.accepted_at, m.finished_at, m.mark, m.marked_at,
         m.content_dropped_at"
    };
}
/// Where the columns of a message end.
const AFTER_MESSAGE: usize = 19;
/// How many chunks are read at once.
const CHUNKS: i64 = 8;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The store's number.
    pub id: i64,
    /// The mailbox it lies in.
    pub mailbox: MailboxId,
    /// Its id there.
    pub immutable_id: String,
    /// When we first saw it.
    pub found_at: UnixMillis,
    /// What showed it.
    pub found_by: FoundBy,
    /// When the mailbox received it.
    pub received_at: Option<UnixMillis>,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// Its Message-ID.
    pub internet_message_id: Option<String>,
    /// Where it stands.
    pub state: MessageState,
    /// Why it is gone or filtered.
    pub state_reason: Option<String>,
    /// Its key, once accepted.
    pub message_key: Option<String>,
    /// The size of its content in bytes, once accepted.
    pub size: Option<u64>,
    /// SHA-256 of its content in hexadecimal, once accepted.
    pub sha256: Option<String>,
    /// When it was stored.
    pub accepted_at: Option<UnixMillis>,
    /// When it was delivered, gone or filtered.
    pub finished_at: Option<UnixMillis>,
    /// Whether it is to be marked as read.
    pub mark: Mark,
    /// When it was.
    pub marked_at: Option<UnixMillis>,
    /// When its content was removed.
    pub content_dropped_at: Option<UnixMillis>,
}

/// One interaction: a message on its way to a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The interaction's id.
    pub interaction_id: String,
    /// The message; if it came to several mailboxes, one of those.
    pub message: Message,
    /// The route's configured name.
    pub route: String,
    /// What accepting wrote down for delivering.
    pub facts: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When the destination accepted it.
    pub accepted_at: Option<UnixMillis>,
}

impl Store {
    /// A message by its number.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn message(&self, id: i64) -> Result<Option<Message>, StoreError> {
        const SELECT: &str = concat!("SELECT ", message_columns!(), " FROM messages AS m WHERE m.id = $1");
        match self.db().rows(SELECT, vec![id.into()]).await?.first() {
            Some(row) => self.message_of(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// An interaction by its id.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn delivery(&self, interaction_id: &str) -> Result<Option<Delivery>, StoreError> {
        // Of the same mail in several mailboxes one whose content is still here, and always the same one: every attempt
        // sends the same body, also when a copy that was found earlier is stored later.
        const SELECT: &str = concat!(
            "SELECT ",
            message_columns!(),
            ", d.route, d.facts, d.created_at, d.accepted_at
             FROM deliveries AS d JOIN messages AS m ON m.id = d.message WHERE d.interaction_id = $1
             ORDER BY CASE WHEN m.content_dropped_at IS NULL THEN 0 ELSE 1 END, d.created_at, m.id LIMIT 1"
        );
        let rows = self.db().rows(SELECT, vec![interaction_id.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Delivery {
            interaction_id: interaction_id.to_owned(),
            message: self.message_of(row).await?,
            route: row.text(AFTER_MESSAGE)?,
            facts: row.text(AFTER_MESSAGE + 1)?,
            created_at: row.int(AFTER_MESSAGE + 2)?,
            accepted_at: row.maybe_int(AFTER_MESSAGE + 3)?,
        }))
    }

    /// The content of a message. `None`: it is not stored yet, or not any more.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn content(&self, message: i64) -> Result<Option<Bytes>, StoreError> {
        const SIZE: &str =
            "SELECT size FROM messages WHERE id = $1 AND content_dropped_at IS NULL AND size IS NOT NULL";
        const SELECT: &str = "SELECT bytes FROM contents WHERE message = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
        let size = match self.db().rows(SIZE, vec![message.into()]).await?.first() {
            Some(row) => usize::try_from(row.int(0)?).unwrap_or(0),
            None => return Ok(None),
        };
        let mut content = BytesMut::with_capacity(size);
        let mut seq = 0;
        while content.len() < size {
            let chunks = self.db().rows(SELECT, vec![message.into(), seq.into(), CHUNKS.into()]).await?;
            if chunks.is_empty() {
                // Removed between our two looks.
                return Ok(None);
            }
            seq += CHUNKS;
            for chunk in chunks {
                content.extend_from_slice(&chunk.bytes(0)?);
            }
        }
        Ok(Some(content.freeze()))
    }

    /// The `seq`-th piece (from 0) of a message's content, for passing it on without holding it whole. Every piece but
    /// the last has the same size. `None`: there is no such piece.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn content_chunk(&self, message: i64, seq: u32) -> Result<Option<Bytes>, StoreError> {
        const SELECT: &str = "SELECT bytes FROM contents WHERE message = $1 AND seq = $2";
        let rows = self.db().rows(SELECT, vec![message.into(), i64::from(seq).into()]).await?;
        rows.first().map(|row| row.bytes(0).map(Bytes::from)).transpose()
    }

    async fn message_of(&self, row: &Row) -> Result<Message, StoreError> {
        let key = row.maybe_text(10)?.zip(row.maybe_int(11)?);
        Ok(Message {
            id: row.int(0)?,
            mailbox: self.named(row.int(1)?).await?,
            immutable_id: row.text(2)?,
            found_at: row.int(3)?,
            found_by: row.word(4)?,
            received_at: row.maybe_int(5)?,
            conversation_id: row.maybe_text(6)?,
            internet_message_id: row.maybe_text(7)?,
            state: row.word(8)?,
            state_reason: row.maybe_text(9)?,
            message_key: key.map(|(key, copy)| ids::message_key_of_copy(&key, u32::try_from(copy).unwrap_or(u32::MAX))),
            size: row.maybe_int(12)?.map(i64::unsigned_abs),
            sha256: row.maybe_text(13)?,
            accepted_at: row.maybe_int(14)?,
            finished_at: row.maybe_int(15)?,
            mark: row.word(16)?,
            marked_at: row.maybe_int(17)?,
            content_dropped_at: row.maybe_int(18)?,
        })
    }
}
