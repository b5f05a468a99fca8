//! Reading messages, their content and their deliveries.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Store;
use super::db::Db;
use super::error::StoreError;
use super::listed::{Listed, MOST};
use super::names::Names;
use super::sealed;
use super::threads::basis;
use super::turns::read_gap;
use super::value::Row;
use super::words::{FoundBy, Mark, MessageState};
use crate::model::clock::UnixMillis;
use crate::model::ids;
use crate::model::thread::Joined;
use crate::model::work::MailboxId;

/// The columns of a [`Message`], in the order [`message_of`] reads them.
macro_rules! message_columns {
    () => {
        "m.id, m.mailbox, m.immutable_id, m.found_at, m.found_by, m.received_at, m.conversation_id, m.internet_message_id,
         m.state, m.state_reason, m.base_key, m.copy, m.size, m.sha256, m.accepted_at, m.finished_at, m.mark, m.marked_at,
         m.content_dropped_at, m.beside, m.has_attachments, m.thread_id, m.thread_is_new, m.thread_basis"
    };
}
pub(super) use message_columns;

/// Where the columns of a message end.
pub(super) const AFTER_MESSAGE: usize = 24;
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
    /// What is known of it and stands in none of its bytes; the store does not look inside.
    pub beside: Option<String>,
    /// Whether the mailbox lists attachments of it that are not shown in its text; `None`: nobody said.
    pub has_attachments: Option<bool>,
    /// Its conversation, once accepted.
    pub joined: Option<Joined>,
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
    /// The interaction of the same conversation and route before this one.
    pub previous: Option<String>,
    /// Why the loop breaker holds it.
    pub held: Option<String>,
    /// The interactions of the same conversation and route that were parked before it and that none before it named.
    pub gap: Vec<String>,
    /// When a person decided that the route needs it no more.
    pub discarded_at: Option<UnixMillis>,
}

impl Store {
    /// A message by its number.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn message(&self, id: i64) -> Result<Option<Message>, StoreError> {
        const SELECT: &str = concat!("SELECT ", message_columns!(), " FROM messages AS m WHERE m.id = $1");
        match self.db().rows(SELECT, vec![id.into()]).await?.first() {
            Some(row) => message_of(self.db(), self.names(), row).await.map(Some),
            None => Ok(None),
        }
    }

    /// An interaction by its id.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn delivery(&self, interaction_id: &str) -> Result<Option<Delivery>, StoreError> {
        self.look_up(interaction_id.to_owned()).await
    }

    /// Whether any of these interactions is one of ours.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn knows_interaction(&self, interaction_ids: &[&str]) -> Result<bool, StoreError> {
        static SELECT: Listed =
            Listed::values("SELECT 1 FROM deliveries WHERE interaction_id IN ({rows}) LIMIT 1", "?");
        let list = interaction_ids.iter().map(|it| (*it).into()).collect();
        Ok(!self.db().each(&SELECT, None, list).await?.is_empty())
    }

    /// The content of a message. `None`: it is not stored yet, or not any more.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn content(&self, message: i64) -> Result<Option<Bytes>, StoreError> {
        const FIRST: &str = "SELECT m.size, c.bytes, c.sealed, c.seq FROM messages AS m
             LEFT JOIN contents AS c ON c.message = m.id AND c.seq < $2
             WHERE m.id = $1 AND m.content_dropped_at IS NULL AND m.size IS NOT NULL ORDER BY c.seq";
        const REST: &str =
            "SELECT NULL, bytes, sealed, seq FROM contents WHERE message = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
        let mut chunks = self.db().rows(FIRST, vec![message.into(), CHUNKS.into()]).await?;
        let size = match chunks.first() {
            Some(row) => usize::try_from(row.int(0)?).unwrap_or(0),
            None => return Ok(None),
        };
        let mut content = BytesMut::with_capacity(size);
        for seq in (CHUNKS..).step_by(CHUNKS as usize) {
            for chunk in chunks {
                // Where no row joined there is no number either.
                let seq = chunk.maybe_int(3)?.unwrap_or_default();
                let bytes = sealed::read(self.seal(), &chunk, 1, || sealed::content(message, seq))?;
                content.extend_from_slice(&bytes.unwrap_or_default());
            }
            if content.len() >= size {
                break;
            }
            chunks = self.db().rows(REST, vec![message.into(), seq.into(), CHUNKS.into()]).await?;
            if chunks.is_empty() {
                // Removed between our two looks.
                return Ok(None);
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
        const SELECT: &str = "SELECT bytes, sealed FROM contents WHERE message = $1 AND seq = $2";
        let rows = self.db().rows(SELECT, vec![message.into(), i64::from(seq).into()]).await?;
        let place = || sealed::content(message, i64::from(seq));
        Ok(rows.first().map(|row| sealed::read(self.seal(), row, 0, place)).transpose()?.flatten().map(Bytes::from))
    }
}

/// The key of a message, as its two columns hold it.
pub(super) fn key_of_copy(base_key: &str, copy: i64) -> String {
    ids::message_key_of_copy(base_key, u32::try_from(copy).unwrap_or(u32::MAX))
}

/// A message from its columns.
pub(super) async fn message_of(db: &Db, names: &Names, row: &Row) -> Result<Message, StoreError> {
    let key = row.maybe_text(10)?.zip(row.maybe_int(11)?);
    let joined = match (row.maybe_text(21)?, row.maybe_int(22)?, row.maybe_text(23)?) {
        (Some(thread), Some(is_new), Some(word)) => Some(Joined { thread, is_new: is_new != 0, basis: basis(&word)? }),
        _ => None,
    };
    Ok(Message {
        id: row.int(0)?,
        mailbox: names.named(db, row.int(1)?).await?,
        immutable_id: row.text(2)?,
        found_at: row.int(3)?,
        found_by: row.word(4)?,
        received_at: row.maybe_int(5)?,
        conversation_id: row.maybe_text(6)?,
        internet_message_id: row.maybe_text(7)?,
        state: row.word(8)?,
        state_reason: row.maybe_text(9)?,
        message_key: key.map(|(key, copy)| key_of_copy(&key, copy)),
        size: row.maybe_int(12)?.map(i64::unsigned_abs),
        sha256: row.maybe_text(13)?,
        accepted_at: row.maybe_int(14)?,
        finished_at: row.maybe_int(15)?,
        mark: row.word(16)?,
        marked_at: row.maybe_int(17)?,
        content_dropped_at: row.maybe_int(18)?,
        beside: row.maybe_text(19)?,
        has_attachments: row.maybe_int(20)?.map(|it| it != 0),
        joined,
    })
}

/// Deliveries that are read together: many start at once, and one statement costs hardly more for sixty-four than for one.
pub(super) struct Lookups {
    pub(super) db: Db,
    pub(super) names: Arc<Names>,
    pub(super) closing: CancellationToken,
}

/// An interaction somebody waits for.
pub(super) struct Lookup {
    pub(super) interaction_id: String,
    pub(super) reply: oneshot::Sender<Result<Option<Delivery>, StoreError>>,
}

impl Lookups {
    /// Reads until the store is closed.
    pub(super) async fn read(self, mut waiting: mpsc::Receiver<Lookup>) {
        let reading = async {
            let mut together = Vec::with_capacity(MOST);
            while waiting.recv_many(&mut together, MOST).await > 0 {
                let found = self.deliveries(&together).await;
                for Lookup { interaction_id, reply } in together.drain(..) {
                    let answer = found.as_ref().map(|found| found.get(&interaction_id).cloned());
                    // A caller that went away does not want its answer; that is no error.
                    drop(reply.send(answer.map_err(Clone::clone)));
                }
            }
        };
        self.closing.run_until_cancelled(reading).await;
    }

    async fn deliveries(&self, together: &[Lookup]) -> Result<HashMap<String, Delivery>, StoreError> {
        // Of the same mail in several mailboxes one whose content is still here goes first, and always the same one:
        // every attempt sends the same body, also when a copy that was found earlier is stored later.
        static SELECT: Listed = Listed::values(
            concat!(
                "SELECT ",
                message_columns!(),
                ", d.route, d.facts, d.created_at, d.accepted_at, d.interaction_id, d.previous, d.held, d.gap, d.discarded_at
                 FROM deliveries AS d JOIN messages AS m ON m.id = d.message
                 WHERE d.interaction_id IN ({rows})
                 ORDER BY CASE WHEN m.content_dropped_at IS NULL THEN 0 ELSE 1 END, d.created_at, m.id"
            ),
            "?",
        );
        let list = together.iter().map(|it| it.interaction_id.as_str().into()).collect();
        let mut found = HashMap::with_capacity(together.len());
        for row in self.db.each(&SELECT, None, list).await? {
            let interaction_id = row.text(AFTER_MESSAGE + 4)?;
            if found.contains_key(&interaction_id) {
                continue;
            }
            let delivery = Delivery {
                interaction_id: interaction_id.clone(),
                message: message_of(&self.db, &self.names, &row).await?,
                route: row.text(AFTER_MESSAGE)?,
                facts: row.text(AFTER_MESSAGE + 1)?,
                created_at: row.int(AFTER_MESSAGE + 2)?,
                accepted_at: row.maybe_int(AFTER_MESSAGE + 3)?,
                previous: row.maybe_text(AFTER_MESSAGE + 5)?,
                held: row.maybe_text(AFTER_MESSAGE + 6)?,
                gap: read_gap(row.maybe_text(AFTER_MESSAGE + 7)?)?,
                discarded_at: row.maybe_int(AFTER_MESSAGE + 8)?,
            };
            found.insert(interaction_id, delivery);
        }
        Ok(found)
    }
}
