//! Who else works on this database: each replica shows itself every few seconds, and whoever stops doing so is dead.
//!
//! What the dead held is given back at once; should one of them only have slept, its fence no longer holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Store;
use super::db::Db;
use super::error::StoreError;
use super::value::{Row, Value};
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;

/// How often a replica shows itself.
pub const BEAT: Duration = Duration::from_secs(10);
/// Who could not show itself for so long judges nobody the next time: what was in its way may be in everybody's.
const HELD_UP: Duration = Duration::from_secs(20);

/// What a replica shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The machine's name, for people.
    pub name: String,
    /// The product's version.
    pub version: String,
    /// When the process began.
    pub started_at: UnixMillis,
    /// Since when it works with this configuration.
    pub configured_at: UnixMillis,
    /// Sums of what it is configured with, part by part. They hold no secrets.
    pub parts: BTreeMap<String, String>,
}

/// A replica that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its number, by chance.
    pub number: i64,
    /// When it last showed itself, by its own clock.
    pub seen_at: UnixMillis,
    /// What it shows.
    pub shows: Presence,
}

/// What this process knows of the others.
pub(super) struct Roll {
    me: i64,
    living: AtomicUsize,
    /// When this replica last showed itself.
    shown: Mutex<Option<Instant>>,
}

impl Roll {
    /// Under a number of its own. A file has no replicas, so there nobody is numbered.
    pub(super) fn new(db: &Db) -> Self {
        let me = match db {
            Db::Sqlite { .. } => 0,
            Db::Postgres(_) => fastrand::i64(1..i64::MAX),
        };
        Self { me, living: AtomicUsize::new(1), shown: Mutex::default() }
    }

    /// What leases are held under.
    pub(super) fn holder(&self) -> Value {
        Some(self.me).filter(|it| *it != 0).into()
    }

    fn shown(&self) -> MutexGuard<'_, Option<Instant>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Shows that this replica lives, gives back what the dead held, and says who lives, this one included. A file has one.
    ///
    /// # Errors
    /// Nobody knows of it yet.
    pub async fn beat(&self, shows: Presence) -> Result<Vec<Replica>, StoreError> {
        let roll = &self.0.roll;
        if roll.me == 0 {
            return Ok(vec![Replica { number: 0, seen_at: shows.started_at, shows }]);
        }
        let judges = judges(*roll.shown(), Instant::now());
        let all = self.ask(Beat { me: roll.me, shows, judges }).await?;
        *roll.shown() = Some(Instant::now());
        roll.living.store(all.len().max(1), Ordering::Relaxed);
        Ok(all)
    }

    /// This replica is about to end: nobody need wait until it is found dead.
    ///
    /// # Errors
    /// It will be found dead.
    pub async fn leave(&self) -> Result<(), StoreError> {
        match self.0.roll.me {
            0 => Ok(()),
            me => self.ask(Leave(me)).await,
        }
    }

    /// Whether other replicas live, as far as is known: then rooms are shared with them.
    pub fn has_others(&self) -> bool {
        self.0.roll.living.load(Ordering::Relaxed) > 1
    }

    /// How many connections this process may open, and how many the server takes. None: it is a file.
    pub fn connections(&self) -> Option<super::Connections> {
        match self.db() {
            Db::Sqlite { .. } => None,
            Db::Postgres(server) => Some(server.connections),
        }
    }
}

/// Whether a replica that last showed itself at `shown` may find others dead: one that has just started may.
fn judges(shown: Option<Instant>, now: Instant) -> bool {
    shown.is_none_or(|at| now.duration_since(at) <= HELD_UP)
}

/// This replica lives, and looks after the others.
pub(super) struct Beat {
    me: i64,
    shows: Presence,
    judges: bool,
}

impl Op for Beat {
    type Answer = Vec<Replica>;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Vec<Replica>>, StoreError> {
        const SHOW: &str = "INSERT INTO replicas (number, name, version, started_at, seen_at, configured_at, parts)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (number) DO UPDATE SET seen_at = excluded.seen_at, configured_at = excluded.configured_at,
               parts = excluded.parts";
        const ALL: &str = "SELECT number, name, version, started_at, seen_at, configured_at, parts FROM replicas
             ORDER BY started_at, number";
        let mut answers = Vec::with_capacity(all.len());
        for Self { me, shows, judges } in all {
            let Presence { name, version, started_at, configured_at, parts } = shows;
            let parts = serde_json::to_string(parts).map_err(|error| StoreError::Refused(error.to_string()))?;
            let mut values: Vec<Value> = vec![(*me).into(), name.as_str().into(), version.as_str().into()];
            values.extend([(*started_at).into(), writing.now.into(), (*configured_at).into(), parts.into()]);
            writing.tx.rows(SHOW, values).await?;
            for number in writing.dead(*me).await?.into_iter().filter(|_| *judges) {
                writing.bury(number).await?;
            }
            let rows = writing.tx.rows(ALL, vec![]).await?;
            answers.push(rows.iter().map(replica).collect::<Result<_, _>>()?);
        }
        Ok(answers)
    }
}

/// This replica goes.
pub(super) struct Leave(i64);

impl Op for Leave {
    type Answer = ();

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<()>, StoreError> {
        for Self(me) in all {
            writing.tx.rows(FORGET, vec![(*me).into()]).await?;
        }
        Ok(vec![(); all.len()])
    }
}

const FORGET: &str = "DELETE FROM replicas WHERE number = $1 RETURNING name";

impl Writing<'_> {
    /// Whatever a dead replica held is due again; should it wake, its fences hold no longer.
    async fn bury(&mut self, number: i64) -> Result<(), StoreError> {
        const RELEASE: &str = "UPDATE jobs SET leased_until = NULL, again_at = NULL, holder = NULL, fence = fence + 1,
               due_at = CASE WHEN again_at < $2 THEN again_at ELSE $2 END
             WHERE holder = $1 AND leased_until IS NOT NULL AND parked_at IS NULL RETURNING lane, due_at, thread";
        // Of several that find it dead, one buries it.
        let found = self.tx.rows(FORGET, vec![number.into()]).await?;
        let Some(row) = found.first() else { return Ok(()) };
        let name = row.text(0)?;
        let released = self.tx.rows(RELEASE, vec![number.into(), self.now.into()]).await?;
        for row in &released {
            self.wake(row.text(0)?, row.int(1)?);
            self.leaves_its_place(row.text(0)?, row.maybe_text(2)?);
        }
        let jobs = released.len();
        tracing::warn!(replica = name, jobs, "Replica {name} is dead or cut off; {jobs} jobs it held are due again");
        Ok(())
    }
}

fn replica(row: &Row) -> Result<Replica, StoreError> {
    let parts = serde_json::from_str(&row.text(6)?);
    let parts = parts.map_err(|_| StoreError::Unreadable("what a replica shows of itself".into()))?;
    Ok(Replica {
        number: row.int(0)?,
        seen_at: row.int(4)?,
        shows: Presence {
            name: row.text(1)?,
            version: row.text(2)?,
            started_at: row.int(3)?,
            configured_at: row.int(5)?,
            parts,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_held_up_judges_nobody_and_who_has_just_started_does() {
        let shown = Instant::now();
        assert!(judges(None, shown));
        assert!(judges(Some(shown), shown + BEAT.mul_f64(1.1)));
        assert!(!judges(Some(shown), shown + HELD_UP + Duration::from_millis(1)));
    }
}
