//! Deliveries as a person asks for them: where each stands, page by page, and the story of one.
//!
//! A message whose fetch is parked has no delivery yet; it stands among them without a route, and so does a callback that is
//! parked, so that everything that needs a person is in one list.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Store;
use super::attempts::{Attempt, code};
use super::discard::DISCARDED;
use super::error::StoreError;
use super::value::{Row, Value};
use super::words::DeliveryState;
use crate::model::clock::UnixMillis;
use crate::model::reason::Code;
use crate::model::work::MailboxId;

/// Which delivery: the interaction, the message that could not be fetched, or a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryId {
    /// The interaction's id.
    Interaction(String),
    /// The store's number of a message that has no interaction yet.
    Message(i64),
    /// The callback's id.
    Callback(String),
}

impl DeliveryId {
    /// The key of its job.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Interaction(id) => format!("deliver:{id}"),
            Self::Message(number) => format!("fetch:{number}"),
            Self::Callback(id) => format!("callback:{id}"),
        }
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interaction(id) | Self::Callback(id) => f.write_str(id),
            Self::Message(number) => write!(f, "fetch_{number}"),
        }
    }
}

impl FromStr for DeliveryId {
    type Err = std::convert::Infallible;

    /// What is no message and no callback is taken for an interaction, of which there may be none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("fetch_").and_then(|it| it.parse().ok());
        Ok(match number {
            Some(number) => Self::Message(number),
            None if text.starts_with("cb_") => Self::Callback(text.to_owned()),
            None => Self::Interaction(text.to_owned()),
        })
    }
}

/// Which deliveries are asked for; what is left out asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// The route's name.
    pub route: Option<String>,
    /// Where they stand.
    pub state: Option<DeliveryState>,
    /// The mailbox their mail lies in.
    pub mailbox: Option<MailboxId>,
    /// Made at this time or later.
    pub since: Option<UnixMillis>,
    /// Made before this time.
    pub until: Option<UnixMillis>,
    /// Why they are parked, or why their last attempt failed.
    pub code: Option<Code>,
}

/// Where a page of deliveries goes on: behind this message and route.
pub type DeliveryCursor = (i64, String);

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryLine {
    /// Which it is.
    pub id: DeliveryId,
    /// The route's name; `None`: the message was not fetched, so no route is known, or it is a callback.
    pub route: Option<String>,
    /// Where it stands.
    pub state: DeliveryState,
    /// The store's number of its message; of a callback that of its submission.
    pub message: i64,
    /// The mailbox the mail lies in; of several, one.
    pub mailbox: MailboxId,
    /// When it was made, or the message found.
    pub created_at: UnixMillis,
    /// When the mailbox received the mail.
    pub received_at: Option<UnixMillis>,
    /// When it was accepted.
    pub accepted_at: Option<UnixMillis>,
    /// How many attempts were made since it was made due or replayed.
    pub attempts: u32,
    /// How long the attempt took that was accepted.
    pub took_ms: Option<i64>,
    /// When the next is due.
    pub due_at: Option<UnixMillis>,
    /// Whether an attempt is under way.
    pub is_running: bool,
    /// When it was parked.
    pub parked_at: Option<UnixMillis>,
    /// Why it is parked, or why the last attempt failed.
    pub code: Option<Code>,
    /// The same for a person.
    pub reason: Option<String>,
    /// When it was discarded, by whom and why.
    pub discarded: Option<(UnixMillis, String, String)>,
    /// The size of the mail.
    pub size: Option<u64>,
    /// Its Message-ID.
    pub internet_message_id: Option<String>,
    /// Its conversation.
    pub thread: Option<String>,
    /// Whether its content is kept.
    pub has_content: bool,
}

/// A delivery with all that is left of its story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryStory {
    /// Where it stands.
    pub line: DeliveryLine,
    /// Its attempts, those before a replay included.
    pub attempts: Vec<Attempt>,
}

/// The columns of a [`DeliveryLine`], in the order [`Store::line`] reads them, and where they come from.
macro_rules! lines {
    ($where:expr, $rest:expr) => {
        concat!(
            "SELECT * FROM (SELECT d.interaction_id AS id, d.route AS route,
               CASE WHEN d.accepted_at IS NOT NULL THEN 'accepted' WHEN d.discarded_at IS NOT NULL THEN 'discarded'
                 WHEN d.held IS NOT NULL THEN 'held' WHEN l.id IS NULL AND p.id IS NOT NULL THEN 'parked'
                 WHEN l.attempt > 0 AND l.last_error IS NOT NULL THEN 'retrying' ELSE 'waiting' END AS state,
               d.message AS message, m.mailbox AS mailbox, d.created_at AS created_at, m.received_at, d.accepted_at,
               COALESCE(l.attempt, d.attempt, p.attempt, 0), l.due_at, l.leased_until,
               CASE WHEN l.id IS NULL THEN p.parked_at END,
               CASE WHEN l.id IS NULL THEN p.code ELSE l.code END AS code,
               CASE WHEN l.id IS NULL THEN p.last_error ELSE l.last_error END,
               d.discarded_at, d.discarded_by, d.discard_reason, m.size, m.internet_message_id, m.thread_id,
               CAST(CASE WHEN m.content_dropped_at IS NULL AND m.size IS NOT NULL THEN 1 ELSE 0 END AS BIGINT), d.took_ms
             FROM deliveries AS d JOIN messages AS m ON m.id = d.message
             LEFT JOIN jobs AS l ON l.key = 'deliver:' || d.interaction_id AND l.parked_at IS NULL
             LEFT JOIN jobs AS p ON p.id = (SELECT MAX(id) FROM jobs
               WHERE key = 'deliver:' || d.interaction_id AND parked_at IS NOT NULL)
             WHERE ",
            $where,
            ") AS line ",
            $rest
        )
    };
}

/// What a page of deliveries asks, beside where they are looked for.
macro_rules! page_of {
    ($among:expr) => {
        lines!(
            concat!(
                $among,
                "($1 IS NULL OR d.route = $1) AND ($3 IS NULL OR m.mailbox = $3)
                 AND ($4 IS NULL OR d.created_at >= $4) AND ($5 IS NULL OR d.created_at < $5)
                 AND ($7 IS NULL OR (d.message, d.route) < ($7, $8))
                 AND ($3 IS NOT NULL OR NOT EXISTS (SELECT 1 FROM deliveries AS other
                   WHERE other.interaction_id = d.interaction_id AND other.message < d.message))"
            ),
            "WHERE ($2 IS NULL OR state = $2)
               AND ($6 IS NULL OR code = $6 OR EXISTS (SELECT 1 FROM attempts AS a
                 WHERE a.key = 'deliver:' || line.id AND a.code = $6
                   AND a.id = (SELECT MAX(id) FROM attempts WHERE key = a.key)))
             ORDER BY message DESC, route DESC LIMIT $9"
        )
    };
}

/// A message that is not fetched yet, as a delivery without a route.
macro_rules! fetches {
    ($where:expr) => {
        concat!(
            "SELECT CAST(m.id AS TEXT), NULL,
               CASE WHEN m.state = 'filtered' THEN 'discarded' WHEN j.parked_at IS NOT NULL THEN 'parked'
                 WHEN j.attempt > 0 AND j.last_error IS NOT NULL THEN 'retrying' ELSE 'waiting' END,
               m.id, m.mailbox, m.found_at, m.received_at, NULL, COALESCE(j.attempt, 0),
               CASE WHEN j.parked_at IS NULL THEN j.due_at END, j.leased_until, j.parked_at, j.code, j.last_error,
               m.finished_at, m.state_reason, NULL, m.size, m.internet_message_id, m.thread_id, CAST(0 AS BIGINT), NULL
             FROM messages AS m ",
            $where
        )
    };
}

impl Store {
    /// A page of deliveries, the latest found first, behind `after`.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<&DeliveryCursor>,
        limit: u32,
    ) -> Result<Vec<DeliveryLine>, StoreError> {
        const ALL: &str = page_of!("");
        const WITH_JOB: &str =
            page_of!("d.interaction_id IN (SELECT SUBSTR(key, 9) FROM jobs WHERE kind = 'deliver') AND ");
        const PARKED: &str = page_of!(
            "d.interaction_id IN (SELECT SUBSTR(key, 9) FROM jobs WHERE kind = 'deliver' AND parked_at IS NOT NULL) AND "
        );
        const FETCHES: &str = fetches!(
            "JOIN jobs AS j ON m.id = CAST(SUBSTR(j.key, 7) AS BIGINT)
             WHERE j.kind = 'fetch' AND j.parked_at IS NOT NULL AND m.state = 'found'
               AND NOT EXISTS (SELECT 1 FROM jobs AS other WHERE other.key = j.key
                 AND (other.parked_at IS NULL OR other.id > j.id))
               AND ($1 IS NULL OR m.mailbox = $1) AND ($2 IS NULL OR m.found_at >= $2)
               AND ($3 IS NULL OR m.found_at < $3) AND ($4 IS NULL OR j.code = $4)
               AND ($5 IS NULL OR (m.id, '') < ($5, $6))
             ORDER BY m.id DESC LIMIT $7"
        );
        // What is parked or waits is little beside what was accepted, and is looked for where it stands.
        let sql = match filter.state {
            Some(DeliveryState::Parked) => PARKED,
            Some(DeliveryState::Waiting | DeliveryState::Retrying | DeliveryState::Held) => WITH_JOB,
            Some(DeliveryState::Accepted | DeliveryState::Discarded) | None => ALL,
        };
        let mailbox = match &filter.mailbox {
            Some(mailbox) => Some(self.number(mailbox).await?),
            None => None,
        };
        let code = || Value::from(filter.code.map(Code::as_str));
        let place =
            || [Value::from(after.map(|it| it.0)), after.map(|it| it.1.as_str()).into(), i64::from(limit).into()];
        let mut values: Vec<Value> = vec![filter.route.as_deref().into(), filter.state.map(|it| it.as_str()).into()];
        values.extend([mailbox.into(), filter.since.into(), filter.until.into(), code()]);
        values.extend(place());
        let mut found = Vec::new();
        for row in self.db().rows(sql, values).await? {
            found.push(self.line(&row, DeliveryId::Interaction(row.text(0)?)).await?);
        }
        if filter.route.is_none() && matches!(filter.state, None | Some(DeliveryState::Parked)) {
            let mut values: Vec<Value> = vec![mailbox.into(), filter.since.into(), filter.until.into(), code()];
            values.extend(place());
            for row in self.db().rows(FETCHES, values).await? {
                found.push(self.line(&row, DeliveryId::Message(row.int(3)?)).await?);
            }
            found.extend(self.parked_callbacks(filter, mailbox, after, limit).await?);
            found.sort_by_key(|it| std::cmp::Reverse(it.cursor()));
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Ok(found)
    }

    /// One delivery with its attempts.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn delivery_story(&self, id: &DeliveryId) -> Result<Option<DeliveryStory>, StoreError> {
        const DELIVERY: &str = lines!("d.interaction_id = $1", "ORDER BY message LIMIT 1");
        const FETCH: &str = fetches!(
            "LEFT JOIN jobs AS j ON j.id = (SELECT MAX(id) FROM jobs WHERE key = $2)
             WHERE m.id = $1 AND (m.state = 'found' OR m.state = 'filtered' AND SUBSTR(m.state_reason, 1, 13) = $3)"
        );
        let rows = match id {
            DeliveryId::Callback(callback) => {
                let Some(line) = self.callback_line(callback).await? else { return Ok(None) };
                return Ok(Some(DeliveryStory { line, attempts: self.attempts(&id.key()).await? }));
            }
            DeliveryId::Interaction(id) => self.db().rows(DELIVERY, vec![id.as_str().into()]).await?,
            DeliveryId::Message(number) => {
                self.db().rows(FETCH, vec![(*number).into(), id.key().into(), DISCARDED.into()]).await?
            }
        };
        let Some(row) = rows.first() else { return Ok(None) };
        let line = self.line(row, id.clone()).await?;
        Ok(Some(DeliveryStory { line, attempts: self.attempts(&id.key()).await? }))
    }

    pub(super) async fn line(&self, row: &Row, id: DeliveryId) -> Result<DeliveryLine, StoreError> {
        let state: DeliveryState = row.word(2)?;
        let is_over = matches!(state, DeliveryState::Accepted | DeliveryState::Discarded);
        let discarded = match (state, row.maybe_int(14)?, row.maybe_text(15)?, row.maybe_text(16)?) {
            (DeliveryState::Discarded, Some(at), Some(who), Some(why)) => Some((at, who, why)),
            // Of a message both stand in one sentence.
            (DeliveryState::Discarded, Some(at), Some(said), None) => {
                let said = said.strip_prefix(DISCARDED).unwrap_or(&said);
                let (who, why) = said.split_once(": ").unwrap_or(("", said));
                Some((at, who.to_owned(), why.to_owned()))
            }
            _ => None,
        };
        Ok(DeliveryLine {
            id,
            route: row.maybe_text(1)?,
            state,
            message: row.int(3)?,
            mailbox: self.names().named(self.db(), row.int(4)?).await?,
            created_at: row.int(5)?,
            received_at: row.maybe_int(6)?,
            accepted_at: row.maybe_int(7)?,
            attempts: u32::try_from(row.int(8)?).unwrap_or(u32::MAX),
            took_ms: row.maybe_int(21)?,
            due_at: row.maybe_int(9)?.filter(|_| !is_over),
            is_running: row.maybe_int(10)?.is_some() && !is_over,
            parked_at: row.maybe_int(11)?.filter(|_| !is_over),
            code: row.maybe_text(12)?.filter(|_| !is_over).map(|it| code(&it)),
            reason: row.maybe_text(13)?.filter(|_| !is_over),
            discarded,
            size: row.maybe_int(17)?.map(i64::unsigned_abs),
            internet_message_id: row.maybe_text(18)?,
            thread: row.maybe_text(19)?,
            has_content: row.int(20)? != 0,
        })
    }
}

impl DeliveryLine {
    /// Where a page that ends with it goes on.
    pub fn cursor(&self) -> DeliveryCursor {
        match &self.id {
            // Submissions have numbers of their own: the id tells a callback from the message of the same number.
            DeliveryId::Callback(id) => (self.message, id.clone()),
            DeliveryId::Interaction(_) | DeliveryId::Message(_) => {
                (self.message, self.route.clone().unwrap_or_default())
            }
        }
    }

    /// The attempt that was accepted.
    pub fn accepted(&self) -> Option<Attempt> {
        let took = Duration::from_millis(u64::try_from(self.took_ms.unwrap_or(0)).unwrap_or(0));
        let at = self.accepted_at?;
        Some(Attempt { attempt: self.attempts.max(1), at, took, code: None, reason: None, answer: None })
    }
}
