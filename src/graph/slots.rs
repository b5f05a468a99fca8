//! Room in each mailbox: how many calls at once, and none while Graph asks for a pause.
//!
//! What is remembered of a mailbox is forgotten once it is idle, so the memory follows the mailboxes in use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::GraphError;
use crate::model::address::Address;
use crate::model::clock::{Clock, UnixMillis};
use crate::model::retry_after::MOST;

/// The first count of remembered mailboxes at which the idle ones are forgotten.
const FIRST_SWEEP: usize = 64;

/// Room for the calls of one tenant. Clones share it, so that whoever reaches the same mailboxes with other credentials
/// makes no more calls at once, and keeps the pauses Graph asked for.
#[derive(Clone)]
pub struct Slots {
    pub(super) mailboxes: Arc<Rooms>,
    pub(super) subscriptions: Arc<Room>,
}

impl Default for Slots {
    fn default() -> Self {
        let subscriptions = Room::new(super::SLOTS_FOR_SUBSCRIPTIONS);
        Self { mailboxes: Arc::new(Rooms::new(super::SLOTS_PER_MAILBOX)), subscriptions: Arc::new(subscriptions) }
    }
}

/// All mailboxes of one tenant.
pub(super) struct Rooms {
    slots: usize,
    known: Mutex<Known>,
}

struct Known {
    rooms: HashMap<Address, Arc<Room>>,
    sweep_at: usize,
}

/// One mailbox, or another thing that Graph counts requests by.
pub(super) struct Room {
    slots: Semaphore,
    closed_until: AtomicI64,
}

impl Rooms {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots, known: Mutex::new(Known { rooms: HashMap::new(), sweep_at: FIRST_SWEEP }) }
    }

    pub(super) fn of(&self, mailbox: &Address, now: UnixMillis) -> Arc<Room> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = known.rooms.get(mailbox) {
            return room.clone();
        }
        if known.rooms.len() >= known.sweep_at {
            known.rooms.retain(|_, room| Arc::strong_count(room) > 1 || room.closed_for(now).is_some());
            // Doubling keeps the cost of forgetting at a constant share of the cost of remembering.
            known.sweep_at = FIRST_SWEEP.max(known.rooms.len() * 2);
        }
        let room = Arc::new(Room::new(self.slots));
        known.rooms.insert(mailbox.clone(), room.clone());
        room
    }
}

impl Room {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: Semaphore::new(slots), closed_until: AtomicI64::new(UnixMillis::MIN) }
    }

    /// Waits for `slots` free slots. Fails at once while Graph asks for a pause: calls made then count against us.
    pub(super) async fn enter(&self, slots: u32, clock: &dyn Clock) -> Result<SemaphorePermit<'_>, GraphError> {
        self.open(clock)?;
        let permit = self.slots.acquire_many(slots).await;
        // The pause may have been asked for while we waited.
        self.open(clock)?;
        permit.map_err(|_| GraphError::unavailable("shutting down"))
    }

    /// Graph asks to be left alone for this long.
    pub(super) fn close(&self, wait: Duration, now: UnixMillis) {
        let until = now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        self.closed_until.fetch_max(until, Ordering::Relaxed);
    }

    fn open(&self, clock: &dyn Clock) -> Result<(), GraphError> {
        self.closed_for(clock.now()).map_or(Ok(()), |after| Err(GraphError::Throttled { after }))
    }

    fn closed_for(&self, now: UnixMillis) -> Option<Duration> {
        let left = self.closed_until.load(Ordering::Relaxed).saturating_sub(now);
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        // A clock that was set back must not close a mailbox for longer than Graph could have asked.
        (!left.is_zero() && left <= MOST).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(AtomicI64);

    impl Clock for At {
        fn now(&self) -> UnixMillis {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn address(number: usize) -> Address {
        Address::parse(&format!("m{number}@contoso.com")).unwrap()
    }

    #[tokio::test]
    async fn a_mailbox_has_as_many_slots_as_it_has() {
        let (rooms, clock) = (Rooms::new(3), At(AtomicI64::new(0)));
        let room = rooms.of(&address(1), 0);
        let taken = [room.enter(1, &clock).await.unwrap(), room.enter(2, &clock).await.unwrap()];
        let again = rooms.of(&address(1), 0);
        assert_eq!(again.slots.available_permits(), 0);
        drop(taken);
        assert_eq!(again.slots.available_permits(), 3);
        assert_eq!(rooms.of(&address(2), 0).slots.available_permits(), 3);
    }

    #[tokio::test]
    async fn a_pause_holds_until_it_is_over_and_a_clock_set_back_does_not_prolong_it() {
        let clock = At(AtomicI64::new(1_000_000_000));
        let room = Room::new(3);
        room.close(Duration::from_secs(30), clock.now());
        room.close(Duration::from_secs(10), clock.now());
        assert!(matches!(room.enter(1, &clock).await, Err(GraphError::Throttled { after }) if after.as_secs() == 30));
        clock.0.store(1_000_029_999, Ordering::Relaxed);
        assert!(room.enter(1, &clock).await.is_err());
        clock.0.store(1_000_030_000, Ordering::Relaxed);
        assert!(room.enter(1, &clock).await.is_ok());
        clock.0.store(0, Ordering::Relaxed);
        assert!(room.enter(1, &clock).await.is_ok());
    }

    #[test]
    fn idle_mailboxes_are_forgotten_and_closed_ones_are_not() {
        let rooms = Rooms::new(3);
        rooms.of(&address(0), 0).close(Duration::from_secs(600), 0);
        let held = rooms.of(&address(1), 0);
        for number in 2..10_000 {
            rooms.of(&address(number), 1000);
        }
        let known = rooms.known.lock().unwrap();
        assert!(known.rooms.len() <= FIRST_SWEEP, "{}", known.rooms.len());
        assert!(known.rooms[&address(0)].closed_for(1000).is_some());
        assert!(Arc::ptr_eq(&known.rooms[&address(1)], &held));
    }
}
