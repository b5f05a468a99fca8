//! Room that replicas share: what Graph allows in one mailbox is allowed to all of them together.
//!
//! Asked only where several live. They take turns at a mailbox by a lock until the commit, so what one counts no other changes.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::claim::Room;
use super::error::StoreError;
use super::listed::Listed;
use super::value::Value;
use super::writer::Writing;
use crate::model::work::Lane;

/// What lanes may have in hand together, over all replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Across {
    /// The lanes, always in the same order.
    pub lanes: Vec<Lane>,
    /// The most jobs of them all.
    pub together: u32,
    /// The most jobs of the lane that is asked for.
    pub most: u32,
}

impl Writing<'_> {
    /// The same rooms with no more in them than others leave, and the lanes in which that is nothing.
    pub(super) async fn left_by_others<'r>(
        &mut self,
        rooms: &'r [Room],
    ) -> Result<(Cow<'r, [Room]>, Vec<Lane>), StoreError> {
        // A job in hand is due when its lease ends, so the index leads past the backlog, however long that is.
        static COUNT: Listed = Listed::values(
            "SELECT lane, COUNT(*) FROM jobs WHERE lane IN ({rows}) AND parked_at IS NULL AND due_at > {fixed}
               AND leased_until > {fixed}
             GROUP BY lane",
            "?",
        );
        if rooms.iter().all(|it| it.across.is_none()) {
            return Ok((Cow::Borrowed(rooms), Vec::new()));
        }
        let groups: BTreeSet<&Lane> = rooms.iter().filter_map(|it| it.across.as_ref()?.lanes.first()).collect();
        let asked: Vec<Value> = groups.iter().map(|it| it.0.as_str().into()).collect();
        let ours: HashSet<String> = self.tx.take_rooms(asked).await?.into_iter().collect();
        let lanes: BTreeSet<&Lane> =
            rooms.iter().filter_map(|it| it.across.as_ref()).flat_map(|it| &it.lanes).collect();
        let lanes = lanes.into_iter().map(|it| it.0.as_str().into()).collect();
        let mut in_hand: HashMap<String, u32> = HashMap::new();
        for row in self.tx.each(&COUNT, Some(self.now.into()), lanes).await? {
            in_hand.insert(row.text(0)?, u32::try_from(row.int(1)?).unwrap_or(u32::MAX));
        }
        let (left, full) = left(rooms, &ours, in_hand);
        Ok((Cow::Owned(left), full))
    }
}

/// What is left of each room, where it is ours to decide, given how many jobs of each lane are in hand.
fn left(rooms: &[Room], ours: &HashSet<String>, mut in_hand: HashMap<String, u32>) -> (Vec<Room>, Vec<Lane>) {
    let (mut left, mut full) = (Vec::new(), Vec::new());
    for room in rooms {
        let Some(across) = &room.across else {
            left.push(room.clone());
            continue;
        };
        let is_ours = across.lanes.first().is_some_and(|it| ours.contains(&it.0));
        let taken = |lane: &Lane| in_hand.get(&lane.0).copied().unwrap_or(0);
        let of_all = across.together.saturating_sub(across.lanes.iter().map(taken).sum());
        let of_lane = across.most.saturating_sub(taken(&room.lane));
        match room.room.min(of_all).min(of_lane) {
            0 => full.push(room.lane.clone()),
            _ if !is_ours => full.push(room.lane.clone()),
            free => {
                *in_hand.entry(room.lane.0.clone()).or_default() += free;
                left.push(Room { room: free, ..room.clone() });
            }
        }
    }
    (left, full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_hold_is_taken_from_the_room() {
        let room = |kind: &str, free: u32, most: u32| {
            let lanes = ["mailbox", "sending"].map(|it| Lane(format!("{it}:a"))).to_vec();
            let across = Some(Across { lanes, together: 4, most });
            Room { lane: Lane(format!("{kind}:a")), room: free, lease_ms: 1, across }
        };
        let rooms = [room("mailbox", 3, 3), room("sending", 2, 2)];
        for (mailbox, sending, expected) in
            [(0, 0, [3, 1]), (1, 0, [2, 1]), (3, 0, [0, 1]), (2, 2, [0, 0]), (0, 2, [2, 0]), (5, 0, [0, 0])]
        {
            let in_hand = HashMap::from([("mailbox:a".to_owned(), mailbox), ("sending:a".to_owned(), sending)]);
            let ours = HashSet::from(["mailbox:a".to_owned()]);
            let (left, full) = super::left(&rooms, &ours, in_hand.clone());
            let of = |lane: &Lane| left.iter().find(|it| it.lane == *lane).map_or(0, |it| it.room);
            assert_eq!(rooms.each_ref().map(|it| of(&it.lane)), expected, "{mailbox} and {sending} in hand");
            assert_eq!(full.len(), expected.iter().filter(|it| **it == 0).count());
            // Where another decides at this moment there is none.
            assert_eq!(super::left(&rooms, &HashSet::new(), in_hand).0, []);
        }
        let route = Room { lane: Lane::route("crm"), room: 8, lease_ms: 1, across: None };
        assert_eq!(super::left(std::slice::from_ref(&route), &HashSet::new(), HashMap::new()), (vec![route], vec![]));
    }
}
