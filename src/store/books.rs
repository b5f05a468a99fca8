//! The books: where each message of a mailbox stands and whether anything drives it on, for an audit.
//!
//! A page is one statement, so a message that is just moving on is seen before its step or after it, never between.

use super::Store;
use super::discard::DISCARDED;
use super::error::StoreError;
use super::listed::Listed;
use super::value::Row;
use super::words::MessageState;
use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;

/// The columns of a [`Book`], in the order [`book_of`] reads them. A delivery is open until it is accepted or discarded;
/// a living job drives it, a parked one waits for a person.
macro_rules! book_columns {
    () => {
        "m.id, m.immutable_id, m.internet_message_id, m.received_at, m.found_at, m.finished_at, m.tidied_at, m.state, m.fan_out,
         (SELECT COUNT(*) FROM deliveries AS d WHERE d.message = m.id),
         (SELECT COUNT(*) FROM deliveries AS d WHERE d.message = m.id AND d.accepted_at IS NULL AND d.discarded_at IS NULL),
         (SELECT COUNT(*) FROM deliveries AS d WHERE d.message = m.id AND d.accepted_at IS NULL AND d.discarded_at IS NULL
            AND EXISTS (SELECT 1 FROM jobs AS j WHERE j.key = 'deliver:' || d.interaction_id AND j.parked_at IS NULL)),
         (SELECT COUNT(*) FROM deliveries AS d WHERE d.message = m.id AND d.accepted_at IS NULL AND d.discarded_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.key = 'deliver:' || d.interaction_id AND j.parked_at IS NULL)
            AND EXISTS (SELECT 1 FROM jobs AS j WHERE j.key = 'deliver:' || d.interaction_id AND j.parked_at IS NOT NULL)),
         CASE WHEN m.state = 'found' THEN
           (SELECT COUNT(*) FROM jobs AS j WHERE j.key = 'fetch:' || m.id AND j.parked_at IS NULL) END,
         CASE WHEN m.state = 'found' THEN
           (SELECT COUNT(*) FROM jobs AS j WHERE j.key = 'fetch:' || m.id AND j.parked_at IS NOT NULL) END,
         (SELECT COUNT(*) FROM deliveries AS d WHERE d.message = m.id AND d.discarded_at IS NOT NULL),
         CASE WHEN m.state = 'filtered' THEN m.state_reason END"
    };
}

/// What is written of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// The store's number.
    pub message: i64,
    /// Its id in the mailbox.
    pub immutable_id: String,
    /// Its Message-ID.
    pub internet_message_id: Option<String>,
    /// When the mailbox received it.
    pub received_at: Option<UnixMillis>,
    /// When we first saw it.
    pub found_at: UnixMillis,
    /// When it was delivered, gone or filtered.
    pub finished_at: Option<UnixMillis>,
    /// Its record was cut down to what knowing it needs: it was finished long ago.
    pub is_tidied: bool,
    /// Where it stands.
    pub state: MessageState,
    /// How many deliveries were made of it; `None`: that was not written down then.
    pub fan_out: Option<u64>,
    /// How many deliveries it has.
    pub deliveries: u64,
    /// A person decided that nobody needs it, or of one of its deliveries that its route does not.
    pub is_discarded: bool,
    /// Of its deliveries, how many no destination has accepted yet.
    pub open: u64,
    /// Of the open ones, how many a living job drives.
    pub driven: u64,
    /// Of the open ones, how many wait for a person.
    pub parked: u64,
    /// While it is not fetched: whether a living job will fetch it.
    pub fetch_lives: bool,
    /// While it is not fetched: whether its fetch waits for a person.
    pub fetch_parked: bool,
}

impl Book {
    /// The time it is booked under.
    pub fn time(&self) -> UnixMillis {
        self.received_at.unwrap_or(self.found_at)
    }
}

impl Store {
    /// The messages of a mailbox that were received from `from` until before `until`, those whose time is not known by
    /// when they were found; the oldest first, at most `limit`, beginning after the last of the page before.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn books(
        &self,
        mailbox: &MailboxId,
        (from, until): (UnixMillis, UnixMillis),
        after: Option<&Book>,
        limit: u32,
    ) -> Result<Vec<Book>, StoreError> {
        const SELECT: &str = concat!(
            "SELECT ",
            book_columns!(),
            " FROM messages AS m
             WHERE m.mailbox = $1 AND COALESCE(m.received_at, m.found_at) < $2
               AND (COALESCE(m.received_at, m.found_at), m.id) > ($3, $4)
             ORDER BY COALESCE(m.received_at, m.found_at), m.id LIMIT $5"
        );
        let number = self.number(mailbox).await?;
        let (time, id) = after.map_or((from, i64::MIN), |book| (book.time(), book.message));
        let values = vec![number.into(), until.into(), time.into(), id.into(), i64::from(limit).into()];
        self.db().rows(SELECT, values).await?.iter().map(book_of).collect()
    }

    /// The messages of a mailbox that have these ids.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn books_of(&self, mailbox: &MailboxId, immutable_ids: &[&str]) -> Result<Vec<Book>, StoreError> {
        static SELECT: Listed = Listed::values(
            concat!(
                "SELECT ",
                book_columns!(),
                " FROM messages AS m WHERE m.mailbox = {fixed} AND m.immutable_id IN ({rows})"
            ),
            "?",
        );
        let number = self.number(mailbox).await?;
        let ids = immutable_ids.iter().map(|id| (*id).into()).collect();
        self.db().each(&SELECT, Some(number.into()), ids).await?.iter().map(book_of).collect()
    }
}

fn book_of(row: &Row) -> Result<Book, StoreError> {
    let count = |column: usize| row.int(column).map(i64::unsigned_abs);
    Ok(Book {
        message: row.int(0)?,
        immutable_id: row.text(1)?,
        internet_message_id: row.maybe_text(2)?,
        received_at: row.maybe_int(3)?,
        found_at: row.int(4)?,
        finished_at: row.maybe_int(5)?,
        is_tidied: row.maybe_int(6)?.is_some(),
        state: row.word(7)?,
        fan_out: row.maybe_int(8)?.map(i64::unsigned_abs),
        deliveries: count(9)?,
        open: count(10)?,
        driven: count(11)?,
        parked: count(12)?,
        fetch_lives: row.maybe_int(13)?.is_some_and(|it| it > 0),
        fetch_parked: row.maybe_int(14)?.is_some_and(|it| it > 0),
        is_discarded: count(15)? > 0 || row.maybe_text(16)?.is_some_and(|it| it.starts_with(DISCARDED)),
    })
}
