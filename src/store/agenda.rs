//! Reading the job table: what is due when, how much waits, what is parked.

use super::Store;
use super::error::StoreError;
use super::value::Row;
use crate::model::clock::UnixMillis;
use crate::model::work::Lane;

/// How one lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneCount {
    /// The lane.
    pub lane: Lane,
    /// Its living jobs, those being run included.
    pub waiting: u64,
    /// When the oldest of them was made.
    pub oldest_created_at: Option<UnixMillis>,
    /// Those that need a person.
    pub parked: u64,
    /// Of the living, those whose last attempt failed.
    pub retrying: u64,
    /// Of the living, those that fetch a message.
    pub fetches: u64,
}

/// A job that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its number, for [`Store::unpark`].
    pub id: i64,
    /// The lane.
    pub lane: Lane,
    /// The key it was made with.
    pub key: String,
    /// What it does.
    pub kind: String,
    /// What the last attempt ended with.
    pub last_error: Option<String>,
    /// How many attempts it had.
    pub attempt: u32,
    /// When it was parked.
    pub parked_at: UnixMillis,
    /// When it was made.
    pub created_at: UnixMillis,
}

impl Store {
    /// The lanes that have something due by `horizon`, with their earliest time. For the start, and after missed wakes.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn agenda(&self, horizon: UnixMillis) -> Result<Vec<(Lane, UnixMillis)>, StoreError> {
        // Walks from lane to lane along the index instead of reading every job of every lane.
        const SELECT: &str = "WITH RECURSIVE lanes (lane) AS (
               SELECT MIN(lane) FROM jobs WHERE parked_at IS NULL
               UNION ALL
               SELECT (SELECT MIN(jobs.lane) FROM jobs WHERE jobs.lane > lanes.lane AND parked_at IS NULL)
               FROM lanes WHERE lanes.lane IS NOT NULL)
             SELECT lane, due_at FROM (
               SELECT lane, (SELECT MIN(due_at) FROM jobs WHERE jobs.lane = lanes.lane AND parked_at IS NULL) AS due_at
               FROM lanes WHERE lane IS NOT NULL) AS earliest
             WHERE due_at <= $1";
        let rows = self.db().rows(SELECT, vec![horizon.into()]).await?;
        rows.iter().map(|row| Ok((Lane(row.text(0)?), row.int(1)?))).collect()
    }

    /// How every lane stands.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn counts(&self) -> Result<Vec<LaneCount>, StoreError> {
        const SELECT: &str = "SELECT lane, COUNT(*) - COUNT(parked_at),
               MIN(CASE WHEN parked_at IS NULL THEN created_at END), COUNT(parked_at),
               COUNT(CASE WHEN parked_at IS NULL AND last_error IS NOT NULL THEN 1 END),
               COUNT(CASE WHEN parked_at IS NULL AND kind = 'fetch' THEN 1 END)
             FROM jobs GROUP BY lane ORDER BY lane";
        let rows = self.db().rows(SELECT, vec![]).await?;
        let count = |row: &Row| {
            Ok(LaneCount {
                lane: Lane(row.text(0)?),
                waiting: row.int(1)?.unsigned_abs(),
                oldest_created_at: row.maybe_int(2)?,
                parked: row.int(3)?.unsigned_abs(),
                retrying: row.int(4)?.unsigned_abs(),
                fetches: row.int(5)?.unsigned_abs(),
            })
        };
        rows.iter().map(count).collect()
    }

    /// The parked jobs, of one lane or of all, the longest parked first.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn parked(&self, lane: Option<&Lane>, limit: u32) -> Result<Vec<Parked>, StoreError> {
        const SELECT: &str = "SELECT id, lane, key, kind, last_error, attempt, parked_at, created_at FROM jobs
             WHERE parked_at IS NOT NULL AND ($1 IS NULL OR lane = $1) ORDER BY parked_at, id LIMIT $2";
        let lane = lane.map(|lane| lane.0.as_str());
        let rows = self.db().rows(SELECT, vec![lane.into(), i64::from(limit).into()]).await?;
        let parked = |row: &Row| {
            Ok(Parked {
                id: row.int(0)?,
                lane: Lane(row.text(1)?),
                key: row.text(2)?,
                kind: row.text(3)?,
                last_error: row.maybe_text(4)?,
                attempt: u32::try_from(row.int(5)?).unwrap_or(u32::MAX),
                parked_at: row.int(6)?,
                created_at: row.int(7)?,
            })
        };
        rows.iter().map(parked).collect()
    }
}
