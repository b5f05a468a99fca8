//! Message bytes in flight, over the whole daemon: whoever is about to hold a mail takes its room first, and waits
//! for it. The budget bounds memory by what mail weighs, not by how many mails there are.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a mail takes for each of its bytes while it is delivered: the bytes, its attachments as base64, and the body
/// they stand in.
pub const WEIGHT: u64 = 3;
/// A mail that is larger than this is so by its attachments, of which nothing is copied before it is delivered.
const MOSTLY_TEXT: u64 = 1 << 20;
/// What one permit stands for.
const UNIT: u64 = 1024;
/// What content of unknown size takes at first: most mail is smaller.
const UNKNOWN: u64 = 256 * 1024;
/// The share of the budget that is kept for small mail, so that none of it waits behind large mail.
const SMALL_SHARE: u32 = 8;
/// What may use that share.
const SMALL: u64 = 1 << 20;

/// What a mail of this size takes while it is fetched, understood and stored: its bytes, what is made of its texts, and
/// a share for what is on its way into the store.
pub fn while_fetched(bytes: u64) -> u64 {
    let beyond = bytes.saturating_sub(MOSTLY_TEXT);
    bytes.min(MOSTLY_TEXT) * WEIGHT + beyond + beyond / 8
}

/// The room for message bytes. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    large: Arc<Semaphore>,
    all_large: u32,
    small: Arc<Semaphore>,
    all_small: u32,
}

/// Room that was taken; given back when dropped.
#[derive(Debug)]
pub struct Held {
    _permit: Option<OwnedSemaphorePermit>,
    more: Option<OwnedSemaphorePermit>,
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(bytes: u64) -> Self {
        // A semaphore cannot count further than this; no machine has so much memory.
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX >> 4).clamp(2, u32::MAX >> 4);
        let all_small = (all / SMALL_SHARE).max(1);
        let all_large = all - all_small;
        let semaphore = |units: u32| Arc::new(Semaphore::new(units as usize));
        Self { large: semaphore(all_large), all_large, small: semaphore(all_small), all_small }
    }

    /// Room for this many bytes, once there is. What is larger than all there is takes all of it: it goes alone.
    pub async fn take(&self, bytes: u64) -> Held {
        let permit = if bytes <= SMALL && bytes <= u64::from(self.all_small) * UNIT {
            let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(1).max(1);
            Arc::clone(&self.small).acquire_many_owned(units).await.ok()
        } else {
            Arc::clone(&self.large).acquire_many_owned(self.units(bytes)).await.ok()
        };
        Held { _permit: permit, more: None, budget: self.clone(), bytes }
    }

    /// Room for content whose size nobody said; it grows as the content comes.
    pub async fn take_unknown(&self) -> Held {
        self.take(UNKNOWN).await
    }

    /// Bytes that are free now.
    pub fn free(&self) -> u64 {
        (self.large.available_permits() + self.small.available_permits()) as u64 * UNIT
    }

    /// All of it, in bytes.
    pub fn all(&self) -> u64 {
        u64::from(self.all_large + self.all_small) * UNIT
    }

    fn units(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.all_large)
    }
}

impl Held {
    /// Room for as much as `bytes` in all. Never waits, because two that hold a part and wait for more would wait for
    /// each other. Returns whether there is room.
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        // A little more than asked, so that content that comes in small pieces does not ask for each of them; and never
        // more than all there is, so that the largest mail still goes alone.
        let wanted = bytes.saturating_add(bytes / 4);
        let held = self.more.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = self.budget.units(wanted).saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
        match Arc::clone(&self.budget.large).try_acquire_many_owned(more) {
            Ok(extra) => {
                match &mut self.more {
                    Some(permit) => permit.merge(extra),
                    None => self.more = Some(extra),
                }
                self.bytes = wanted;
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_mail_leaves_room_beside_it() {
        let budget = Budget::new(256 << 20);
        assert_eq!(while_fetched(8 << 10), 24 << 10);
        assert!(while_fetched(150 << 20) < u64::from(budget.all_large) * UNIT / 5 * 4, "{}", while_fetched(150 << 20));
        assert!(while_fetched(u64::MAX / 2) > u64::MAX / 2);
    }

    #[tokio::test]
    async fn room_is_given_back_and_nothing_waits_for_ever() {
        let budget = Budget::new(100 << 20);
        let held = budget.take(60 << 20).await;
        assert_eq!(budget.free(), 40 << 20);
        drop(held);
        let huge = budget.take(1 << 40).await;
        assert!(budget.free() > 0, "small mail has room beside the largest");
        drop(budget.take(1 << 10).await);
        drop(huge);
        assert_eq!(budget.free(), budget.all());
    }

    #[tokio::test]
    async fn what_grows_never_waits() {
        let budget = Budget::new(80 << 20);
        let mut one = budget.take_unknown().await;
        let mut other = budget.take_unknown().await;
        assert!(one.grow_to(60 << 20));
        assert!(!other.grow_to(60 << 20));
        drop(one);
        assert!(other.grow_to(60 << 20));
        drop(other);
        assert_eq!(budget.free(), budget.all());
    }
}
