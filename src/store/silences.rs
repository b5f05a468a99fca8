//! How long a replica has been silent, as all others together have watched it.
//!
//! What counts is whether its row changes, so clocks that differ declare nobody dead, and only time in which somebody
//! looked again and again: while the database is away nobody can show itself. What was watched is kept in the
//! database, so that who has just started goes on where others ended, although none of them lives long.

use std::time::Duration;

use super::error::StoreError;
use super::listed::Listed;
use super::value::{Row, Value};
use super::writer::Writing;
use crate::model::clock::UnixMillis;

/// A replica that was silent for longer is dead: it missed three turns.
const DEAD: Duration = Duration::from_secs(30);
/// What one look adds at most: a turn of a replica that is well, at its longest. What is beyond, nobody watched.
const TURN: Duration = Duration::from_secs(12);
/// Where nobody has looked for longer, the database was away or no replica lived, and all have to be watched anew.
const BLIND: Duration = Duration::from_secs(20);

/// What was seen of a replica when somebody last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Silence {
    /// When its row was written, by its own clock.
    seen_at: UnixMillis,
    /// When somebody looked, by the database's clock.
    looked_at: UnixMillis,
    /// How long it had been silent by then, in milliseconds.
    silent_ms: i64,
}

impl Silence {
    /// What is seen now, after what was seen before.
    fn after(before: Option<Self>, seen_at: UnixMillis, now: UnixMillis) -> Self {
        let watched = before.filter(|it| it.seen_at == seen_at).and_then(|it| {
            let since = Duration::from_millis(u64::try_from(now.checked_sub(it.looked_at)?).ok()?);
            let more = i64::try_from(since.min(TURN).as_millis()).ok()?;
            (since <= BLIND).then(|| it.silent_ms.saturating_add(more))
        });
        Self { seen_at, looked_at: now, silent_ms: watched.unwrap_or(0) }
    }

    fn is_dead(self) -> bool {
        u64::try_from(self.silent_ms).is_ok_and(|it| Duration::from_millis(it) > DEAD)
    }
}

impl Writing<'_> {
    /// Looks at all replicas but this one, and answers those that are dead. Of several that look at once one does, and the
    /// others go on without.
    pub(super) async fn dead(&mut self, me: i64) -> Result<Vec<i64>, StoreError> {
        const SEEN: &str = "SELECT r.number, r.seen_at, s.seen_at, s.looked_at, s.silent_ms
             FROM replicas AS r LEFT JOIN silences AS s ON s.number = r.number WHERE r.number <> $1";
        static KEEP: Listed = Listed::values(
            "INSERT INTO silences (number, seen_at, looked_at, silent_ms)
             SELECT column1, column2, column3, column4 FROM (VALUES {rows}) AS v WHERE column1 IS NOT NULL
             ON CONFLICT (number) DO UPDATE SET seen_at = excluded.seen_at, looked_at = excluded.looked_at,
               silent_ms = excluded.silent_ms",
            "(?, ?, ?, ?)",
        );
        const FORGET: &str = "DELETE FROM silences WHERE NOT EXISTS
             (SELECT 1 FROM replicas AS r WHERE r.number = silences.number)";
        let Some(now) = self.tx.watch().await? else { return Ok(Vec::new()) };
        let rows = self.tx.rows(SEEN, vec![me.into()]).await?;
        let seen: Vec<(i64, Silence)> = rows.iter().map(|row| look(row, now)).collect::<Result<_, _>>()?;
        let values = |(number, it): &(i64, Silence)| -> [Value; 4] {
            [(*number).into(), it.seen_at.into(), it.looked_at.into(), it.silent_ms.into()]
        };
        self.tx.each(&KEEP, None, seen.iter().flat_map(values).collect()).await?;
        self.tx.rows(FORGET, vec![]).await?;
        Ok(seen.iter().filter(|(_, it)| it.is_dead()).map(|(number, _)| *number).collect())
    }
}

/// A row of what replicas show and of what was seen of them before.
fn look(row: &Row, now: UnixMillis) -> Result<(i64, Silence), StoreError> {
    let before = match (row.maybe_int(2)?, row.maybe_int(3)?, row.maybe_int(4)?) {
        (Some(seen_at), Some(looked_at), Some(silent_ms)) => Some(Silence { seen_at, looked_at, silent_ms }),
        _ => None,
    };
    Ok((row.int(0)?, Silence::after(before, row.int(1)?, now)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Looks at what is shown, by (second of the look, what the row shows), and answers at which seconds it is dead.
    fn dead_at(looks: &[(i64, i64)]) -> Vec<i64> {
        let mut before = None;
        let mut dead = Vec::new();
        for &(second, seen_at) in looks {
            let now = Silence::after(before, seen_at, second * 1000);
            dead.extend(now.is_dead().then_some(second));
            before = Some(now);
        }
        dead
    }

    #[test]
    fn who_does_not_change_is_dead_whatever_its_clock_says() {
        assert_eq!(dead_at(&[(0, 7000), (10, 7000), (20, 7000), (30, 7000), (31, 7000), (40, 7000)]), [31, 40]);
        assert_eq!(dead_at(&[(0, -5000), (10, -4999), (20, -4998), (30, -4997), (40, -4996)]), [0; 0]);
        // It was only asleep.
        assert_eq!(dead_at(&[(0, 1), (10, 1), (20, 1), (31, 2), (41, 2)]), [0; 0]);
        // Its clock was set back: that is a change as well.
        assert_eq!(dead_at(&[(0, 9), (10, 9), (20, 9), (31, 3)]), [0; 0]);
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        // The database was away for five minutes.
        assert_eq!(dead_at(&[(0, 1), (10, 1), (310, 1), (320, 1), (330, 1), (340, 1)]), [0; 0]);
        assert_eq!(dead_at(&[(0, 1), (10, 1), (310, 1), (320, 1), (330, 1), (341, 1)]), [341]);
        // It was away for less: those that are back have another turn to show themselves.
        assert_eq!(dead_at(&[(0, 1), (10, 1), (29, 1), (39, 2), (49, 2)]), [0; 0]);
        assert_eq!(dead_at(&[(0, 1), (10, 1), (29, 1), (39, 1)]), [39]);
        // Its clock went back.
        assert_eq!(dead_at(&[(100, 1), (110, 1), (120, 1), (60, 1), (70, 1), (80, 1), (90, 1)]), [0; 0]);
    }

    #[test]
    fn looks_of_many_that_live_for_seconds_are_one_watch() {
        let looks: Vec<(i64, i64)> = (0..20).map(|n| (n * 3, 5)).collect();
        assert_eq!(dead_at(&looks).first(), Some(&33));
    }

    proptest! {
        /// Whoever shows itself within every 30 seconds lives, however often and by whom it is looked at.
        #[test]
        fn who_shows_itself_in_time_is_never_dead(turns in prop::collection::vec((1..20_i64, 0..3_u8), 1..200)) {
            let (mut second, mut shown, mut before) = (0, 0, None);
            for (gap, shows) in turns {
                second += gap;
                if shows == 0 || second - shown > 29 {
                    shown = second;
                }
                let now = Silence::after(before, shown, second * 1000);
                prop_assert!(!now.is_dead(), "at {second}, shown at {shown}");
                before = Some(now);
            }
        }
    }
}
