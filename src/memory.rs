//! Message bytes in flight, over the whole daemon: whoever is about to hold a mail takes its room first, and waits
//! for it. The budget bounds memory by what mail weighs, not by how many mails there are.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for.
const UNIT: u64 = 1024;
/// The share of the budget that content of unknown size may take at first.
const UNKNOWN_SHARE: u32 = 8;

/// The room for message bytes. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    all: u32,
}

/// Room that was taken; given back when dropped.
#[derive(Debug)]
pub struct Held {
    permit: Option<OwnedSemaphorePermit>,
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(bytes: u64) -> Self {
        // A semaphore cannot count further than this; no machine has so much memory.
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX >> 4).clamp(1, u32::MAX >> 4);
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Room for this many bytes, once there is. What is larger than the whole budget takes all of it: it goes alone.
    pub async fn take(&self, bytes: u64) -> Held {
        let permit = Arc::clone(&self.free).acquire_many_owned(self.units(bytes)).await.ok();
        Held { permit, budget: self.clone(), bytes }
    }

    /// Room for content whose size nobody said.
    pub async fn take_unknown(&self) -> Held {
        self.take(u64::from(self.all / UNKNOWN_SHARE) * UNIT).await
    }

    /// Bytes that are free now.
    pub fn free(&self) -> u64 {
        self.free.available_permits() as u64 * UNIT
    }

    /// All of it, in bytes.
    pub fn all(&self) -> u64 {
        u64::from(self.all) * UNIT
    }

    fn units(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.all)
    }
}

impl Held {
    /// Room for as much as `bytes` in all. Never waits, because two that hold a part and wait for more would wait for
    /// each other. Returns whether there is room.
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let more = self.budget.units(bytes).saturating_sub(self.budget.units(self.bytes));
        match Arc::clone(&self.budget.free).try_acquire_many_owned(more) {
            Ok(extra) => {
                match &mut self.permit {
                    Some(permit) => permit.merge(extra),
                    None => self.permit = Some(extra),
                }
                self.bytes = bytes;
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_given_back_and_nothing_waits_for_ever() {
        let budget = Budget::new(100 * UNIT);
        let held = budget.take(60 * UNIT).await;
        assert_eq!(budget.free(), 40 * UNIT);
        drop(held);
        let huge = budget.take(1_000_000 * UNIT).await;
        assert_eq!(budget.free(), 0);
        drop(huge);
        assert_eq!(budget.free(), budget.all());
    }

    #[tokio::test]
    async fn what_grows_never_waits() {
        let budget = Budget::new(80 * UNIT);
        let mut one = budget.take_unknown().await;
        let mut other = budget.take_unknown().await;
        assert!(one.grow_to(60 * UNIT));
        assert!(!other.grow_to(60 * UNIT));
        drop(one);
        assert!(other.grow_to(60 * UNIT));
        drop(other);
        assert_eq!(budget.free(), budget.all());
    }
}
