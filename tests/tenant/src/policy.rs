//! How change notifications travel: their pace, and the mischief done to them.
//!
//! The defaults are Microsoft's: 3 s for the first attempt, 10 s for later ones, four hours of trying.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The way notifications are sent. Probabilities are between 0 and 1; durations are in milliseconds in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotificationPolicy {
    /// How likely a notification is never sent.
    pub lose: f64,
    /// How likely one is sent twice.
    pub double: f64,
    /// Whether what is sent together is shuffled first.
    pub reorder: bool,
    /// How long every notification waits at least.
    #[serde(with = "millis")]
    pub delay: Duration,
    /// How much longer it waits at most, by chance; with it notifications overtake each other.
    #[serde(with = "millis")]
    pub jitter: Duration,
    /// How long an endpoint's notifications are gathered for one POST.
    #[serde(with = "millis")]
    pub gather: Duration,
    /// The most notifications in one POST.
    pub max_batch: usize,
    /// How many POSTs an endpoint gets at once.
    pub parallel: usize,
    /// How long the first attempt may take.
    #[serde(with = "millis")]
    pub first_timeout: Duration,
    /// How long later attempts may take.
    #[serde(with = "millis")]
    pub retry_timeout: Duration,
    /// The wait before the second attempt; it doubles from there.
    #[serde(with = "millis")]
    pub first_retry: Duration,
    /// When an undelivered notification is dropped.
    #[serde(with = "millis")]
    pub give_up_after: Duration,
}

impl Default for NotificationPolicy {
    fn default() -> Self {
        Self {
            lose: 0.0,
            double: 0.0,
            reorder: false,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            gather: Duration::from_millis(5),
            max_batch: 100,
            parallel: 16,
            first_timeout: Duration::from_secs(3),
            retry_timeout: Duration::from_secs(10),
            first_retry: Duration::from_secs(3),
            give_up_after: Duration::from_secs(4 * 60 * 60),
        }
    }
}

impl NotificationPolicy {
    /// The same mail service with impatient retries, for tests.
    pub fn fast() -> Self {
        Self {
            first_timeout: Duration::from_millis(500),
            retry_timeout: Duration::from_secs(1),
            first_retry: Duration::from_millis(20),
            ..Self::default()
        }
    }

    /// Nothing is ever notified.
    pub fn silent() -> Self {
        Self { lose: 1.0, ..Self::default() }
    }
}

/// Durations as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
