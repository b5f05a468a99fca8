//! Mail that was understood and is about to be rendered for its routes: parsed once, not once per route and attempt.
//!
//! A memory bounded by bytes. Losing it costs a second reading, nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::beside::Beside;
use super::facts::Classification;
use super::parse::{Mail, parse};
use super::shared::{RemoteImages, Shared};
use crate::model::outcome::Failure;

/// Mail larger than this is parsed beside the async workers.
const PARSE_INLINE: usize = 256 * 1024;
/// Mail that was not asked for in this time may go.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a mail takes for each of its bytes: the bytes, the texts made of them, and the same as JSON.
const WEIGHT: usize = 3;

/// One mail, understood.
#[derive(Debug)]
pub struct Understood {
    /// The mail as Graph gave it.
    pub raw: Bytes,
    /// What is known of it and stands in none of its bytes.
    pub beside: Beside,
    /// The mail, parsed.
    pub mail: Mail,
    /// What kind of mail it is.
    pub classification: Classification,
    /// What its interactions share over all routes.
    pub shared: Shared,
}

impl Understood {
    /// Reads a mail; a large one beside the async workers.
    ///
    /// # Errors
    /// Permanent: this mail cannot be written as an interaction.
    pub async fn read(raw: Bytes, beside: Beside) -> Result<Self, Failure> {
        let read = if raw.len() <= PARSE_INLINE {
            Self::new(raw, beside)
        } else {
            let all = move || {
                let understood = Self::new(raw, beside)?;
                // Most routes want it, and here nobody waits for it.
                understood.shared.html_body(&understood.mail, RemoteImages::default())?;
                Ok(understood)
            };
            tokio::task::spawn_blocking(all).await.map_err(Failure::transient)?
        };
        read.map_err(|error| Failure::permanent(format!("the interaction cannot be written: {error}")))
    }

    fn new(raw: Bytes, beside: Beside) -> serde_json::Result<Self> {
        let mail = parse(&raw);
        Ok(Self { classification: Classification::unknown(&mail), shared: Shared::new(&mail)?, mail, beside, raw })
    }
}

/// Mail on its way to its deliveries.
pub struct KeptMail {
    kept: Mutex<Kept>,
    bytes: usize,
}

#[derive(Default)]
struct Kept {
    mails: HashMap<i64, Entry>,
    bytes: usize,
}

struct Entry {
    mail: Arc<Understood>,
    /// How often it will still be asked for.
    uses: usize,
    since: Instant,
}

impl KeptMail {
    /// Keeps mail that takes this many bytes at most.
    pub fn new(bytes: usize) -> Self {
        Self { kept: Mutex::default(), bytes }
    }

    /// The mail with this number, if it is still here. After the last use that was announced it goes.
    pub fn find(&self, message: i64) -> Option<Arc<Understood>> {
        let mut kept = self.kept();
        let entry = kept.mails.get_mut(&message)?;
        entry.uses = entry.uses.saturating_sub(1);
        let (mail, is_last) = (Arc::clone(&entry.mail), entry.uses == 0);
        if is_last {
            kept.remove(message);
        }
        Some(mail)
    }

    /// Keeps a mail that will be asked for so many times. Where there is no room it is not kept: in a backlog those
    /// that came first are asked for first, so the newcomer is the one to go.
    pub fn keep(&self, message: i64, mail: &Arc<Understood>, uses: usize) {
        let weight = weight(mail);
        let mut kept = self.kept();
        if kept.bytes + weight > self.bytes {
            kept.forget_the_old();
        }
        if uses == 0 || kept.bytes + weight > self.bytes {
            return;
        }
        kept.remove(message);
        kept.bytes += weight;
        kept.mails.insert(message, Entry { mail: Arc::clone(mail), uses, since: Instant::now() });
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, message: i64) {
        if let Some(entry) = self.mails.remove(&message) {
            self.bytes -= weight(&entry.mail);
        }
    }

    /// What waits for long waits for a destination that is down, and is read again when that is back.
    fn forget_the_old(&mut self) {
        let old: Vec<i64> =
            self.mails.iter().filter(|(_, it)| it.since.elapsed() > PATIENCE).map(|(id, _)| *id).collect();
        old.into_iter().for_each(|message| self.remove(message));
    }
}

fn weight(mail: &Understood) -> usize {
    mail.raw.len().saturating_mul(WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(bytes: usize) -> Arc<Understood> {
        Arc::new(Understood::new(Bytes::from(vec![b'a'; bytes]), Beside::default()).unwrap())
    }

    #[test]
    fn a_mail_goes_after_its_last_use_and_a_newcomer_pushes_nobody_out() {
        let kept = KeptMail::new(3_000);
        for number in 0..4 {
            kept.keep(number, &mail(300), 2);
        }
        assert!(kept.find(3).is_none(), "there was no room for it");
        assert!(kept.find(0).is_some() && kept.find(0).is_some());
        assert!(kept.find(0).is_none(), "it was announced for two uses");
        kept.keep(3, &mail(300), 1);
        assert!(kept.find(3).is_some());
        kept.keep(9, &mail(2_000), 1);
        assert!(kept.find(9).is_none(), "a mail larger than the memory is not kept");
    }
}
