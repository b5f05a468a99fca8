//! Claiming: room before work, and many lanes in one statement.
//!
//! Within a lane the earliest due goes first. A claimed job is due again when its lease ends, so nothing can be stuck
//! in "running" and nobody needs to rescue it.

use std::collections::{BTreeMap, HashMap};

use super::Store;
use super::across::Across;
use super::error::StoreError;
use super::listed::Listed;
use super::value::Value;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::reason::Code;
use crate::model::work::{Claim, Job, Lane};

/// Room in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The lane.
    pub lane: Lane,
    /// How many of its jobs can start now.
    pub room: u32,
    /// How long each is claimed for.
    pub lease_ms: i64,
    /// What replicas share of it; none: each has it for itself.
    pub across: Option<Across>,
}

/// What was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// The jobs, lane by lane, within a lane the earliest due first.
    pub jobs: Vec<Job>,
    /// For each asked lane, when the next of what is left in it is due, leases included. `None`: nothing is left.
    pub next: Vec<(Lane, Option<UnixMillis>)>,
    /// The asked lanes in which other replicas left no room at this moment.
    pub full: Vec<Lane>,
}

impl Store {
    /// Claims what is due, at most as much as there is room for. Each lane is named once.
    ///
    /// # Errors
    /// Nothing was claimed, or the answer was lost: then the leases run out.
    pub async fn claim(&self, rooms: Vec<Room>) -> Result<Claims, StoreError> {
        if rooms.is_empty() {
            return Ok(Claims::default());
        }
        self.ask(Rooms(rooms)).await
    }
}

/// Rooms to fill.
pub(super) struct Rooms(Vec<Room>);

impl Op for Rooms {
    type Answer = Claims;
    const FOR_CALLER_ONLY: bool = true;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Claims>, StoreError> {
        // What this transaction itself made due can be claimed in it.
        writing.write_due().await?;
        writing.next_in_line().await?;
        let mut answers = Vec::with_capacity(all.len());
        for Self(rooms) in all {
            let (left, full) = writing.left_by_others(rooms).await?;
            let candidates = writing.candidates(&left).await?;
            let candidates = writing.whose_turn_it_is(&left, candidates).await?;
            let jobs = writing.take(&left, candidates).await?;
            answers.push(Claims { jobs, next: writing.next(rooms).await?, full });
        }
        Ok(answers)
    }
}

/// A job that may be taken.
pub(super) struct Candidate {
    pub(super) id: i64,
    pub(super) lane: String,
    pub(super) fence: i64,
    attempt: i64,
    created_at: UnixMillis,
    payload: String,
    due_at: UnixMillis,
    /// Its conversation, where it has to wait for its turn.
    pub(super) thread: Option<String>,
    pub(super) aside_at: Option<UnixMillis>,
}

impl Writing<'_> {
    pub(super) async fn candidates(&mut self, rooms: &[Room]) -> Result<Vec<Candidate>, StoreError> {
        static SELECT: Listed = Listed::union(
            "{rows}",
            "SELECT * FROM (SELECT id, lane, fence, attempt, created_at, payload, due_at, thread, aside_at FROM jobs
               WHERE lane = ? AND due_at <= {fixed} AND parked_at IS NULL
               ORDER BY due_at, id LIMIT COALESCE(?, 0){lock}) AS c",
        );
        let mut list: Vec<Value> = Vec::with_capacity(rooms.len() * 2);
        for room in rooms {
            list.extend([room.lane.0.as_str().into(), i64::from(room.room).into()]);
        }
        let mut candidates = Vec::new();
        for row in self.tx.each(&SELECT, Some(self.now.into()), list).await? {
            candidates.push(Candidate {
                id: row.int(0)?,
                lane: row.text(1)?,
                fence: row.int(2)?,
                attempt: row.int(3)?,
                created_at: row.int(4)?,
                payload: row.text(5)?,
                due_at: row.int(6)?,
                thread: row.maybe_text(7)?,
                aside_at: row.maybe_int(8)?,
            });
        }
        candidates.sort_by(|a, b| (&a.lane, a.due_at, a.id).cmp(&(&b.lane, b.due_at, b.id)));
        // A lane that was named twice still gives each job once.
        candidates.dedup_by_key(|candidate| candidate.id);
        Ok(candidates)
    }

    async fn take(&mut self, rooms: &[Room], candidates: Vec<Candidate>) -> Result<Vec<Job>, StoreError> {
        static UPDATE: Listed = Listed::values(
            "UPDATE jobs SET attempt = attempt + 1, fence = fence + 1, due_at = v.column2, leased_until = v.column2, holder = v.column3,
               aside_at = NULL, again_at = CASE WHEN again_at <= {fixed} THEN NULL ELSE again_at END
             FROM (VALUES {rows}) AS v WHERE jobs.id = v.column1",
            "(?, ?, ?)",
        );
        let leases: HashMap<&str, i64> = rooms.iter().map(|room| (room.lane.0.as_str(), room.lease_ms)).collect();
        let mut leased: Vec<Value> = Vec::with_capacity(candidates.len() * 3);
        let mut jobs = Vec::with_capacity(candidates.len());
        for it in candidates {
            let Ok(work) = serde_json::from_str(&it.payload) else {
                self.park_unreadable(it.id).await?;
                self.leaves_its_place(it.lane, it.thread);
                continue;
            };
            let lease = leases.get(it.lane.as_str()).copied().unwrap_or(0);
            leased.extend([it.id.into(), (self.now + lease).into(), self.holder.clone()]);
            let claim = Claim { id: it.id, fence: it.fence + 1 };
            let attempt = u32::try_from(it.attempt + 1).unwrap_or(u32::MAX);
            jobs.push(Job { claim, work, attempt, created_at: it.created_at });
        }
        self.tx.each(&UPDATE, Some(self.now.into()), leased).await?;
        Ok(jobs)
    }

    /// A job of another version waits for a person, or for that version, in full sight.
    async fn park_unreadable(&mut self, job: i64) -> Result<(), StoreError> {
        tracing::error!(job, "Job {job} was written by another version of mailspan and is parked");
        const PARK: &str =
            "UPDATE jobs SET parked_at = $2, last_error = $3, code = $4, fence = fence + 1 WHERE id = $1";
        let why = "this version of mailspan does not know this kind of job";
        self.tx
            .rows(PARK, vec![job.into(), self.now.into(), why.into(), Code::Unreadable.as_str().into()])
            .await
            .map(drop)
    }

    async fn next(&mut self, rooms: &[Room]) -> Result<Vec<(Lane, Option<UnixMillis>)>, StoreError> {
        static SELECT: Listed = Listed::values(
            "SELECT v.column1, (SELECT MIN(due_at) FROM jobs WHERE lane = v.column1 AND parked_at IS NULL)
             FROM (VALUES {rows}) AS v WHERE v.column1 IS NOT NULL",
            "(?)",
        );
        let list = rooms.iter().map(|room| room.lane.0.as_str().into()).collect();
        let mut next: BTreeMap<String, Option<UnixMillis>> = BTreeMap::new();
        for row in self.tx.each(&SELECT, None, list).await? {
            next.insert(row.text(0)?, row.maybe_int(1)?);
        }
        Ok(rooms.iter().map(|room| (room.lane.clone(), next.get(&room.lane.0).copied().flatten())).collect())
    }
}
