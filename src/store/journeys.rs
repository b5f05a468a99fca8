//! Journeys: messages by whatever a person knows of them, with all their deliveries and jobs, for a trace.
//!
//! Ids are looked up in indexes. A subject is searched newest first, over so many messages at most, so no search reads a
//! whole store.

use std::collections::HashMap;

use super::Store;
use super::error::StoreError;
use super::listed::Listed;
use super::messages::{AFTER_MESSAGE, Message, message_columns, message_of};
use super::value::{Row, Value};
use crate::model::clock::UnixMillis;
use crate::model::subject::Subject;

/// The job with this key: the living one, else the one that was parked last. An index each.
macro_rules! driver {
    ($key:literal) => {
        concat!(
            "COALESCE((SELECT id FROM jobs WHERE key = ",
            $key,
            " AND parked_at IS NULL),
             (SELECT MAX(id) FROM jobs WHERE key = ",
            $key,
            " AND parked_at IS NOT NULL))"
        )
    };
}

/// How many messages are read at once while a subject is searched.
const PAGE: i64 = 2000;
/// How many messages a search for a subject reads at most.
pub const SEARCHED: u64 = 200_000;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// An id: Message-ID, interaction id, message key, or a message's id in its mailbox.
    Id(String),
    /// A part of a subject.
    Subject(Subject),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracks {
    /// The messages, the newest first.
    pub journeys: Vec<Journey>,
    /// Why there may be more.
    pub cut: Option<Cut>,
}

/// Why a search ended before everything was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// As many as were asked for were found.
    Enough,
    /// So many messages were looked at; those found before this time were not.
    Searched(UnixMillis),
}

/// One message and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// The message.
    pub message: Message,
    /// Its subject.
    pub subject: Option<Subject>,
    /// What kind of mail it is.
    pub kind: Option<String>,
    /// When its record was cut down.
    pub tidied_at: Option<UnixMillis>,
    /// The job that fetches it, if there is one.
    pub fetch: Option<Driver>,
    /// The attempts at fetching it that failed.
    pub failed: Vec<Failed>,
    /// Its deliveries, by route.
    pub deliveries: Vec<Leg>,
}

/// One delivery of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// The route's configured name.
    pub route: String,
    /// The interaction's id.
    pub interaction_id: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When the destination accepted it.
    pub accepted_at: Option<UnixMillis>,
    /// At which attempt it was accepted, and how long that took in milliseconds.
    pub attempt: Option<(u32, i64)>,
    /// When a person decided that the route needs it no more, and why.
    pub discarded: Option<(UnixMillis, String)>,
    /// Why the loop breaker holds it.
    pub held: Option<String>,
    /// The job that hands it over, if there is one.
    pub job: Option<Driver>,
    /// The attempts that failed.
    pub failed: Vec<Failed>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which it was.
    pub attempt: u32,
    /// When it ended.
    pub at: UnixMillis,
    /// Its code.
    pub code: String,
    /// The same for a person.
    pub reason: Option<String>,
}

/// The job that drives a message or a delivery on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// How many attempts it had.
    pub attempt: u32,
    /// When it is due.
    pub due_at: UnixMillis,
    /// Whether an attempt runs now.
    pub is_running: bool,
    /// What the last attempt ended with.
    pub last_error: Option<String>,
    /// When it was parked.
    pub parked_at: Option<UnixMillis>,
}

impl Store {
    /// The journeys of the messages found since `since` that go by this, the newest first, at most `limit`.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn journeys(&self, sought: &Sought, since: UnixMillis, limit: u32) -> Result<Tracks, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut numbers, cut) = match sought {
            Sought::Id(id) => (self.numbers_of(id, since).await?, None),
            Sought::Subject(subject) => self.numbers_about(&subject.folded(), since, limit).await?,
        };
        let cut = if numbers.len() > limit { Some(Cut::Enough) } else { cut };
        numbers.truncate(limit);
        Ok(Tracks { journeys: self.journeys_of(&numbers).await?, cut })
    }

    /// The messages that have this id, the newest first.
    async fn numbers_of(&self, id: &str, since: UnixMillis) -> Result<Vec<i64>, StoreError> {
        // One question for each id it may be: a person need not say which.
        const MESSAGE_ID: &str = "SELECT id FROM messages WHERE internet_message_id IN ($1, $2) AND found_at >= $3";
        const INTERACTION: &str = "SELECT m.id FROM deliveries AS d JOIN messages AS m ON m.id = d.message
             WHERE d.interaction_id = $1 AND m.found_at >= $2";
        const KEY: &str = "SELECT id FROM messages WHERE base_key = $1 AND copy = $2 AND found_at >= $3";
        const IMMUTABLE_ID: &str = "SELECT m.id FROM mailboxes AS b
             JOIN messages AS m ON m.mailbox = b.id AND m.immutable_id = $1 WHERE m.found_at >= $2";
        let bare = id.trim_start_matches('<').trim_end_matches('>');
        let (key, copy) = key_and_copy(id);
        let asked: [(&'static str, Vec<Value>); 4] = [
            (MESSAGE_ID, vec![format!("<{bare}>").into(), bare.into(), since.into()]),
            (INTERACTION, vec![id.into(), since.into()]),
            (KEY, vec![key.into(), copy.into(), since.into()]),
            (IMMUTABLE_ID, vec![id.into(), since.into()]),
        ];
        let mut numbers = Vec::new();
        for (sql, values) in asked {
            for row in self.db().rows(sql, values).await? {
                numbers.push(row.int(0)?);
            }
        }
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers.dedup();
        Ok(numbers)
    }

    /// The messages whose subject holds these words, the newest first; one more than `limit` says that there are more.
    async fn numbers_about(
        &self,
        folded: &str,
        since: UnixMillis,
        limit: usize,
    ) -> Result<(Vec<i64>, Option<Cut>), StoreError> {
        // By number, which is the order in which messages were found: no index is needed that every new message would
        // pay for.
        const SELECT: &str = "SELECT id, found_at, subject FROM messages WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let (mut numbers, mut below, mut read) = (Vec::new(), i64::MAX, 0);
        loop {
            let rows = self.db().rows(SELECT, vec![below.into(), PAGE.into()]).await?;
            let (mut newest, mut oldest) = (i64::MIN, i64::MAX);
            for row in &rows {
                let (number, found_at) = (row.int(0)?, row.int(1)?);
                (below, newest, oldest) = (number, newest.max(found_at), oldest.min(found_at));
                let subject = row.maybe_text(2)?.map(|it| Subject::new(&it));
                if found_at >= since && subject.is_some_and(|it| it.holds(folded)) {
                    numbers.push(number);
                    if numbers.len() > limit {
                        return Ok((numbers, None));
                    }
                }
            }
            read += rows.len() as u64;
            if rows.len() < PAGE as usize || newest < since {
                return Ok((numbers, None));
            }
            if read >= SEARCHED {
                return Ok((numbers, Some(Cut::Searched(oldest))));
            }
        }
    }

    async fn journeys_of(&self, numbers: &[i64]) -> Result<Vec<Journey>, StoreError> {
        static MESSAGES: Listed = Listed::values(
            concat!(
                "SELECT ",
                message_columns!(),
                ", m.subject, m.kind, m.tidied_at, j.attempt, j.due_at, j.leased_until, j.last_error, j.parked_at
                 FROM messages AS m LEFT JOIN jobs AS j ON j.id = ",
                driver!("'fetch:' || m.id"),
                " WHERE m.id IN ({rows}) ORDER BY m.id DESC"
            ),
            "?",
        );
        static LEGS: Listed = Listed::values(
            concat!(
                "SELECT d.message, d.route, d.interaction_id, d.created_at, d.accepted_at, d.held,
                   d.attempt, d.took_ms, d.discarded_at, d.discard_reason, j.attempt, j.due_at, j.leased_until, j.last_error, j.parked_at
                 FROM deliveries AS d LEFT JOIN jobs AS j ON j.id = ",
                driver!("'deliver:' || d.interaction_id"),
                " WHERE d.message IN ({rows}) ORDER BY d.message, d.route"
            ),
            "?",
        );
        let list = || numbers.iter().map(|it| (*it).into()).collect();
        let mut legs: HashMap<i64, Vec<Leg>> = HashMap::new();
        for row in self.db().each(&LEGS, None, list()).await? {
            legs.entry(row.int(0)?).or_default().push(leg_of(&row)?);
        }
        let mut journeys: Vec<Journey> = Vec::with_capacity(numbers.len());
        for row in self.db().each(&MESSAGES, None, list()).await? {
            let message = message_of(self.db(), self.names(), &row).await?;
            journeys.push(Journey {
                subject: row.maybe_text(AFTER_MESSAGE)?.map(|it| Subject::new(&it)),
                kind: row.maybe_text(AFTER_MESSAGE + 1)?,
                tidied_at: row.maybe_int(AFTER_MESSAGE + 2)?,
                fetch: driver_of(&row, AFTER_MESSAGE + 3)?,
                failed: Vec::new(),
                deliveries: legs.remove(&message.id).unwrap_or_default(),
                message,
            });
        }
        self.add_failed(&mut journeys).await?;
        Ok(journeys)
    }

    async fn add_failed(&self, journeys: &mut [Journey]) -> Result<(), StoreError> {
        static SELECT: Listed = Listed::values(
            "SELECT key, attempt, at, code, reason FROM attempts WHERE key IN ({rows}) AND code IS NOT NULL
             ORDER BY key, id",
            "?",
        );
        let fetch = |journey: &Journey| format!("fetch:{}", journey.message.id);
        let hand_over = |leg: &Leg| format!("deliver:{}", leg.interaction_id);
        let keys = journeys.iter().flat_map(|it| std::iter::once(fetch(it)).chain(it.deliveries.iter().map(hand_over)));
        let mut failed: HashMap<String, Vec<Failed>> = HashMap::new();
        for row in self.db().each(&SELECT, None, keys.map(Value::from).collect()).await? {
            failed.entry(row.text(0)?).or_default().push(Failed {
                attempt: u32::try_from(row.int(1)?).unwrap_or(u32::MAX),
                at: row.int(2)?,
                code: row.text(3)?,
                reason: row.maybe_text(4)?,
            });
        }
        for journey in journeys {
            journey.failed = failed.remove(&fetch(journey)).unwrap_or_default();
            for leg in &mut journey.deliveries {
                // The same interaction may be on its way from several mailboxes.
                leg.failed = failed.get(&hand_over(leg)).cloned().unwrap_or_default();
            }
        }
        Ok(())
    }
}

/// A message key as its two columns hold it.
fn key_and_copy(key: &str) -> (&str, i64) {
    let parts = key.rsplit_once('_').and_then(|(base, copy)| Some((base, copy.parse().ok()?)));
    match parts {
        Some((base, copy)) if base.starts_with("mk_") => (base, copy),
        _ => (key, 1),
    }
}

fn leg_of(row: &Row) -> Result<Leg, StoreError> {
    Ok(Leg {
        route: row.text(1)?,
        interaction_id: row.text(2)?,
        created_at: row.int(3)?,
        accepted_at: row.maybe_int(4)?,
        held: row.maybe_text(5)?,
        attempt: row.maybe_int(6)?.map(|it| u32::try_from(it).unwrap_or(u32::MAX)).zip(row.maybe_int(7)?),
        discarded: row
            .maybe_int(8)?
            .map(|at| Ok::<_, StoreError>((at, row.maybe_text(9)?.unwrap_or_default())))
            .transpose()?,
        job: driver_of(row, 10)?,
        failed: Vec::new(),
    })
}

/// The job whose columns begin here. `None`: there is none.
fn driver_of(row: &Row, at: usize) -> Result<Option<Driver>, StoreError> {
    let Some(attempt) = row.maybe_int(at)? else { return Ok(None) };
    Ok(Some(Driver {
        attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
        due_at: row.int(at + 1)?,
        is_running: row.maybe_int(at + 2)?.is_some(),
        last_error: row.maybe_text(at + 3)?,
        parked_at: row.maybe_int(at + 4)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_key_names_its_copy() {
        for (key, columns) in [
            ("mk_0123", ("mk_0123", 1)),
            ("mk_0123_2", ("mk_0123", 2)),
            ("mk_0123_x", ("mk_0123_x", 1)),
            ("<a_2@b>", ("<a_2@b>", 1)),
            ("", ("", 1)),
        ] {
            assert_eq!(key_and_copy(key), columns, "{key}");
        }
    }
}
