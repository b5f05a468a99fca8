//! When each lane is next due, kept in memory so that nobody polls the table lane by lane.
//!
//! Only a hint: a lane that is on the agenda too early costs one empty claim; the runner reads the table's own
//! answer from time to time, so that a hint that never came costs time and never a job.

use std::collections::{BTreeSet, HashMap};

use crate::model::clock::UnixMillis;
use crate::model::work::Lane;

/// Lanes by due time.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: HashMap<Lane, UnixMillis>,
    order: BTreeSet<(UnixMillis, Lane)>,
}

impl Agenda {
    /// The lane has work due at `at`, or earlier as already known.
    pub(super) fn bring(&mut self, lane: Lane, at: UnixMillis) {
        if self.due.get(&lane).is_none_or(|known| at < *known) {
            self.set(lane, Some(at));
        }
    }

    /// What the table itself said about the lane: its earliest due time, or that it is empty.
    pub(super) fn set(&mut self, lane: Lane, at: Option<UnixMillis>) {
        if let Some(known) = self.due.remove(&lane) {
            self.order.remove(&(known, lane.clone()));
        }
        if let Some(at) = at {
            self.due.insert(lane.clone(), at);
            self.order.insert((at, lane));
        }
    }

    /// Whether something of the lane is due now.
    pub(super) fn is_due(&self, lane: &Lane, now: UnixMillis) -> bool {
        self.due.get(lane).is_some_and(|at| *at <= now)
    }

    /// Lanes that are due and have room, the longest due first, with the room each may fill; at most `total` jobs
    /// over at most `lanes` lanes. `free` says how much of what is left of the total a lane may have.
    pub(super) fn ready<'a>(
        &'a self,
        now: UnixMillis,
        mut total: u32,
        lanes: usize,
        mut free: impl FnMut(&'a Lane, u32) -> u32,
    ) -> Vec<(Lane, u32)> {
        let mut ready = Vec::new();
        for (at, lane) in &self.order {
            if *at > now || total == 0 || ready.len() == lanes {
                break;
            }
            let room = free(lane, total).min(total);
            if room > 0 {
                total -= room;
                ready.push((lane.clone(), room));
            }
        }
        ready
    }

    /// The first due time after `now`. Lanes that are due already wait for room, not for time.
    pub(super) fn next_after(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.order.range((now + 1, Lane(String::new()))..).next().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str) -> Lane {
        Lane(name.into())
    }

    #[test]
    fn a_lane_is_brought_forward_and_never_back() {
        let mut agenda = Agenda::default();
        agenda.bring(lane("a"), 100);
        agenda.bring(lane("a"), 200);
        assert_eq!(agenda.next_after(0), Some(100));
        agenda.bring(lane("a"), 50);
        assert_eq!(agenda.next_after(0), Some(50));
        agenda.set(lane("a"), Some(300));
        assert_eq!(agenda.next_after(0), Some(300));
        agenda.set(lane("a"), None);
        assert_eq!(agenda.next_after(0), None);
    }

    #[test]
    fn a_full_lane_does_not_hide_the_others() {
        let mut agenda = Agenda::default();
        agenda.bring(lane("full"), 1);
        agenda.bring(lane("free"), 2);
        agenda.bring(lane("later"), 99);
        let ready = agenda.ready(10, 100, 10, |it, _| if it.0 == "full" { 0 } else { 3 });
        assert_eq!(ready, [(lane("free"), 3)]);
        assert_eq!(agenda.next_after(10), Some(99));
    }

    #[test]
    fn no_more_is_taken_than_the_house_has_room_for() {
        let mut agenda = Agenda::default();
        for n in 0..5 {
            agenda.bring(lane(&n.to_string()), n);
        }
        let ready = agenda.ready(10, 7, 10, |_, _| 3);
        assert_eq!(ready.iter().map(|it| it.1).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!(agenda.ready(10, 100, 2, |_, _| 3).len(), 2);
    }
}
