//! Turns: where a route wants it, the mails of a conversation go one after the other, as they were received.
//!
//! Only the first of a line is claimed; who stands behind it is set aside, which is no attempt. The end of an attempt
//! makes the next due in the same transaction. Should that be missed, who waits asks again, ever more seldom.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::claim::{Candidate, Room};
use super::error::StoreError;
use super::joining::Known;
use super::listed::Listed;
use super::value::Value;
use super::writer::Writing;
use crate::model::clock::UnixMillis;

/// The deliveries of one conversation to one route: lane and conversation.
pub(super) type Line = (String, String);

/// Behind others, a delivery asks again after as long as it has waited, within these bounds: two replicas can miss each
/// other, and thousands may wait for a destination that is down.
const BEHIND_MS: (i64, i64) = (5_000, 10 * 60 * 1000);
/// The same where a mail that was received earlier is about to be fetched.
const FETCHED_MS: (i64, i64) = (500, 30_000);
/// A delivery waits no longer than this for mail that is not fetched, and for mail that cannot be fetched no longer than
/// this after it was found: a message that Graph cannot serve must not hold its conversation for days.
const FETCH_PATIENCE_MS: i64 = 10 * 60 * 1000;
/// How many jobs are looked at where the first that are due have to wait.
const FURTHER: u32 = 256;
/// The most interactions that one names as missing: the last ones.
const NAMED: i64 = 100;

/// How a line stands.
#[derive(Debug, Default)]
struct Standing {
    /// The job whose turn it is, and its fence.
    first: Option<i64>,
    /// Until when one of the line is being attempted.
    leased_until: Option<UnixMillis>,
    /// Whether an earlier mail of the same conversation is about to be fetched.
    is_fetching: bool,
    /// Whether one was parked before the first, and nobody said so.
    has_gap: bool,
}

impl Writing<'_> {
    /// Of these candidates those that need not wait for another; the others are set aside. Where that leaves room, more
    /// candidates are looked at.
    pub(super) async fn whose_turn_it_is(
        &mut self,
        rooms: &[Room],
        candidates: Vec<Candidate>,
    ) -> Result<Vec<Candidate>, StoreError> {
        if candidates.iter().all(|it| it.thread.is_none()) {
            return Ok(candidates);
        }
        let came = candidates.len();
        let free = self.sort_out(candidates).await?;
        if free.len() == came {
            return Ok(free);
        }
        let kept = |lane: &str| free.iter().filter(|it| it.lane == lane).count();
        let wanting = rooms.iter().filter(|room| kept(&room.lane.0) < room.room as usize);
        let further: Vec<Room> =
            wanting.map(|it| Room { room: it.room.saturating_add(FURTHER), ..it.clone() }).collect();
        let more = self.candidates(&further).await?;
        let known: BTreeSet<i64> = free.iter().map(|it| it.id).collect();
        let more = more.into_iter().filter(|it| !known.contains(&it.id)).collect();
        let more = self.sort_out(more).await?;
        let mut left: HashMap<&str, u32> = rooms.iter().map(|it| (it.lane.0.as_str(), it.room)).collect();
        let fits = |it: &Candidate| match left.get_mut(it.lane.as_str()) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        let mut all: Vec<Candidate> = free.into_iter().chain(more).collect();
        all.retain(fits);
        Ok(all)
    }

    /// Keeps those whose turn it is and sets the others aside.
    async fn sort_out(&mut self, candidates: Vec<Candidate>) -> Result<Vec<Candidate>, StoreError> {
        let lines: BTreeSet<Line> = candidates.iter().filter_map(line_of).collect();
        let standings = self.standings(lines).await?;
        let now = self.now;
        let mut free = Vec::with_capacity(candidates.len());
        let mut aside: Vec<Value> = Vec::new();
        for it in candidates {
            let Some(line) = line_of(&it) else {
                free.push(it);
                continue;
            };
            // Another replica judges this line at this moment; its commit decides.
            let Some(standing) = standings.get(&line) else { continue };
            let waited = now - it.aside_at.unwrap_or(now);
            let again_at = match standing {
                Standing { leased_until: Some(until), .. } => {
                    (now + waited.clamp(BEHIND_MS.0, BEHIND_MS.1)).min(*until)
                }
                Standing { first, .. } if *first != Some(it.id) => now + waited.clamp(BEHIND_MS.0, BEHIND_MS.1),
                Standing { is_fetching: true, .. } => now + waited.clamp(FETCHED_MS.0, FETCHED_MS.1),
                // What it says is decided when it is first taken out, so every attempt says the same.
                Standing { has_gap, .. } => {
                    if *has_gap && it.fence == 0 {
                        self.name_gap(it.id).await?;
                    }
                    free.push(it);
                    continue;
                }
            };
            aside.extend([it.id.into(), again_at.max(now + 1).into()]);
        }
        self.set_aside(aside).await?;
        Ok(free)
    }

    async fn set_aside(&mut self, jobs: Vec<Value>) -> Result<(), StoreError> {
        static ASIDE: Listed = Listed::values(
            "UPDATE jobs SET aside_at = COALESCE(aside_at, {fixed}), due_at = v.column2
             FROM (VALUES {rows}) AS v WHERE jobs.id = v.column1",
            "(?, ?)",
        );
        self.tx.each(&ASIDE, Some(self.now.into()), jobs).await.map(drop)
    }

    /// How these lines stand, without those that another replica judges right now.
    async fn standings(&mut self, lines: BTreeSet<Line>) -> Result<BTreeMap<Line, Standing>, StoreError> {
        // Columns: lane, conversation, now less the patience with a fetch, now.
        static SELECT: Listed = Listed::values(
            "SELECT v.column1, v.column2, f.id,
               (SELECT MAX(j.leased_until) FROM jobs AS j WHERE j.thread = v.column2 AND j.lane = v.column1
                  AND j.leased_until > v.column4 AND j.parked_at IS NULL),
               CASE WHEN f.created_at > v.column3 AND EXISTS (
                 SELECT 1 FROM messages AS own
                 JOIN messages AS m ON m.mailbox = own.mailbox AND m.conversation_id = own.conversation_id
                 JOIN jobs AS j ON j.key = 'fetch:' || CAST(m.id AS TEXT) AND j.parked_at IS NULL
                 WHERE own.id = f.message AND m.state = 'found'
                   AND (m.received_at < f.received_at OR (m.received_at = f.received_at AND m.id < f.message))
                   AND (m.found_at > v.column3 OR j.last_error IS NULL)) THEN CAST(1 AS BIGINT) END,
               CASE WHEN EXISTS (SELECT 1 FROM gaps AS g WHERE g.thread = v.column2 AND g.lane = v.column1 AND g.named_by IS NULL
                 AND (g.received_at < f.received_at OR (g.received_at = f.received_at AND g.message < f.message)))
               THEN CAST(1 AS BIGINT) END
             FROM (VALUES {rows}) AS v LEFT JOIN jobs AS f ON f.id =
               (SELECT id FROM jobs AS j WHERE j.thread = v.column2 AND j.lane = v.column1 AND j.parked_at IS NULL
                ORDER BY j.received_at, j.message LIMIT 1)
             WHERE v.column1 IS NOT NULL",
            "(?, ?, ?, ?)",
        );
        let lines = self.lines_of_mine(lines).await?;
        let patience = self.now - FETCH_PATIENCE_MS;
        let asked = |(lane, thread): Line| [lane.into(), thread.into(), patience.into(), self.now.into()];
        let rows: Vec<Value> = lines.into_iter().flat_map(asked).collect();
        let mut standings = BTreeMap::new();
        for row in self.tx.each(&SELECT, None, rows).await? {
            let standing = Standing {
                first: row.maybe_int(2)?,
                leased_until: row.maybe_int(3)?,
                is_fetching: row.maybe_int(4)?.is_some(),
                has_gap: row.maybe_int(5)?.is_some(),
            };
            standings.insert((row.text(0)?, row.text(1)?), standing);
        }
        Ok(standings)
    }

    async fn lines_of_mine(&mut self, lines: BTreeSet<Line>) -> Result<Vec<Line>, StoreError> {
        let lines: Vec<Line> = lines.into_iter().collect();
        let numbered = (0_i64..).zip(&lines);
        let asked = numbered.flat_map(|(at, (lane, thread))| [at.into(), lane.as_str().into(), thread.as_str().into()]);
        let Some(taken) = self.tx.take_lines(asked.collect()).await? else { return Ok(lines) };
        let taken: BTreeSet<i64> = taken.into_iter().collect();
        Ok((0_i64..).zip(lines).filter(|(at, _)| taken.contains(at)).map(|(_, line)| line).collect())
    }

    /// Writes down what this delivery says is missing before it. Who was accepted meanwhile is not missing.
    async fn name_gap(&mut self, job: i64) -> Result<(), StoreError> {
        const MISSING: &str = "SELECT g.interaction_id, j.key FROM jobs AS j JOIN gaps AS g
               ON g.thread = j.thread AND g.lane = j.lane AND g.named_by IS NULL
               AND (g.received_at < j.received_at OR (g.received_at = j.received_at AND g.message < j.message))
             WHERE j.id = $1 AND NOT EXISTS (SELECT 1 FROM deliveries AS d
               WHERE d.interaction_id = g.interaction_id AND d.accepted_at IS NOT NULL)
             ORDER BY g.received_at DESC, g.message DESC LIMIT $2";
        const NAMED_NOW: &str = "UPDATE gaps SET named_by = (SELECT SUBSTR(j.key, 9) FROM jobs AS j WHERE j.id = $1)
             WHERE interaction_id IN (SELECT g.interaction_id FROM jobs AS j JOIN gaps AS g
               ON g.thread = j.thread AND g.lane = j.lane AND g.named_by IS NULL
               AND (g.received_at < j.received_at OR (g.received_at = j.received_at AND g.message < j.message))
             WHERE j.id = $1)";
        const UPDATE: &str = "UPDATE deliveries SET gap = $1 WHERE interaction_id = SUBSTR($2, 9)";
        let mut missing = Vec::new();
        let mut key = String::new();
        for row in self.tx.rows(MISSING, vec![job.into(), NAMED.into()]).await? {
            missing.push(row.text(0)?);
            key = row.text(1)?;
        }
        self.tx.rows(NAMED_NOW, vec![job.into()]).await?;
        if missing.is_empty() {
            return Ok(());
        }
        missing.reverse();
        let missing = serde_json::to_string(&missing).map_err(|error| StoreError::Refused(error.to_string()))?;
        self.tx.rows(UPDATE, vec![missing.into(), key.into()]).await.map(drop)
    }

    /// A job of this lane and conversation is not being attempted any more, or has gone: somebody's turn may have come.
    pub(super) fn leaves_its_place(&mut self, lane: String, thread: Option<String>) {
        if let Some(thread) = thread {
            self.freed.insert((lane, thread));
        }
    }

    /// These jobs were parked: the next of their conversation will say that they are missing, and what they were to name.
    pub(super) async fn leave_gaps(&mut self, jobs: Vec<i64>) -> Result<(), StoreError> {
        static UNSAID: Listed = Listed::values(
            "UPDATE gaps SET named_by = NULL
             WHERE named_by IN (SELECT SUBSTR(key, 9) FROM jobs WHERE id IN ({rows}))",
            "?",
        );
        static INSERT: Listed = Listed::values(
            "INSERT INTO gaps (interaction_id, lane, thread, received_at, message, parked_at)
             SELECT SUBSTR(key, 9), lane, thread, received_at, message, {fixed} FROM jobs
             WHERE id IN ({rows}) AND thread IS NOT NULL
             ON CONFLICT (interaction_id) DO NOTHING",
            "?",
        );
        let jobs: Vec<Value> = jobs.into_iter().map(Value::from).collect();
        self.tx.each(&UNSAID, None, jobs.clone()).await?;
        self.tx.each(&INSERT, Some(self.now.into()), jobs).await.map(drop)
    }

    /// Makes due who stands first where somebody left, if it was set aside.
    pub(super) async fn next_in_line(&mut self) -> Result<(), StoreError> {
        // It is as old as it was before it had to wait, so it goes before what came later.
        static NEXT: Listed = Listed::values(
            "UPDATE jobs SET due_at = created_at, aside_at = NULL
             WHERE aside_at IS NOT NULL AND id IN (
               SELECT (SELECT j.id FROM jobs AS j WHERE j.thread = v.column2 AND j.lane = v.column1
                       AND j.parked_at IS NULL ORDER BY j.received_at, j.message LIMIT 1)
               FROM (VALUES {rows}) AS v WHERE v.column1 IS NOT NULL)
             RETURNING lane, due_at",
            "(?, ?)",
        );
        let freed = std::mem::take(&mut self.freed);
        let rows: Vec<Value> = freed.into_iter().flat_map(|(lane, thread)| [lane.into(), thread.into()]).collect();
        for row in self.tx.each(&NEXT, None, rows).await? {
            self.wake(row.text(0)?, row.int(1)?);
        }
        Ok(())
    }

    /// Conversations that became one stand in one line.
    pub(super) async fn merge_lines(&mut self, known: &Known) -> Result<(), StoreError> {
        static JOBS: Listed = Listed::values(
            "UPDATE jobs SET thread = v.column2 FROM (VALUES {rows}) AS v WHERE jobs.thread = v.column1",
            "(?, ?)",
        );
        static GAPS: Listed = Listed::values(
            "UPDATE gaps SET thread = v.column2 FROM (VALUES {rows}) AS v WHERE gaps.thread = v.column1",
            "(?, ?)",
        );
        let merged = || known.merged().flat_map(|(younger, older)| [younger.into(), older.into()]).collect();
        self.tx.each(&JOBS, None, merged()).await?;
        self.tx.each(&GAPS, None, merged()).await.map(drop)
    }
}

fn line_of(candidate: &Candidate) -> Option<Line> {
    Some((candidate.lane.clone(), candidate.thread.clone()?))
}

/// What an interaction says is missing before it, as its column holds it.
pub(super) fn read_gap(stored: Option<String>) -> Result<Vec<String>, StoreError> {
    let Some(stored) = stored else { return Ok(Vec::new()) };
    serde_json::from_str(&stored).map_err(|_| StoreError::Unreadable("what is missing before an interaction".into()))
}
