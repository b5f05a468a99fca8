//! Mail that was understood and is about to be rendered for its routes: parsed once, not once per route and attempt.
//!
//! A small memory of the last mails, bounded by their bytes. Losing it costs a second reading, nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::facts::Classification;
use super::parse::{Mail, parse};
use super::shared::Shared;
use crate::model::outcome::Failure;

/// Mail larger than this is parsed beside the async workers.
const PARSE_INLINE: usize = 256 * 1024;
/// Mails kept at most, whatever they weigh: the newest are looked for first, the list is walked.
const MAILS: usize = 512;
/// What a mail takes for each of its bytes: the bytes, the texts made of them, and the same as JSON.
const WEIGHT: usize = 3;

/// One mail, understood.
#[derive(Debug)]
pub struct Understood {
    /// The mail as Graph gave it.
    pub raw: Bytes,
    /// The same, parsed.
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
    pub async fn read(raw: Bytes) -> Result<Self, Failure> {
        let read = if raw.len() <= PARSE_INLINE {
            Self::new(raw)
        } else {
            tokio::task::spawn_blocking(move || Self::new(raw)).await.map_err(Failure::transient)?
        };
        read.map_err(|error| Failure::permanent(format!("the interaction cannot be written: {error}")))
    }

    fn new(raw: Bytes) -> serde_json::Result<Self> {
        let mail = parse(&raw);
        Ok(Self { classification: Classification::unknown(&mail), shared: Shared::new(&mail)?, mail, raw })
    }
}

/// The last mails, the most recent at the back.
pub struct KeptMail {
    kept: Mutex<Kept>,
    bytes: usize,
}

#[derive(Default)]
struct Kept {
    mails: VecDeque<(i64, Arc<Understood>)>,
    bytes: usize,
}

impl KeptMail {
    /// Keeps mail that takes this many bytes at most.
    pub fn new(bytes: usize) -> Self {
        Self { kept: Mutex::default(), bytes }
    }

    /// The mail with this number, if it is still here.
    pub fn find(&self, message: i64) -> Option<Arc<Understood>> {
        self.kept().mails.iter().rev().find(|(id, _)| *id == message).map(|(_, mail)| Arc::clone(mail))
    }

    /// Keeps a mail under its number until others push it out.
    pub fn keep(&self, message: i64, mail: &Arc<Understood>) {
        let weight = weight(mail);
        if weight > self.bytes {
            return;
        }
        let mut kept = self.kept();
        kept.bytes += weight;
        kept.mails.push_back((message, Arc::clone(mail)));
        while kept.mails.len() > MAILS || kept.bytes > self.bytes {
            let Some((_, oldest)) = kept.mails.pop_front() else { break };
            kept.bytes -= self::weight(&oldest);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight(mail: &Understood) -> usize {
    mail.raw.len().saturating_mul(WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(bytes: usize) -> Arc<Understood> {
        Arc::new(Understood::new(Bytes::from(vec![b'a'; bytes])).unwrap())
    }

    #[test]
    fn the_oldest_mail_makes_room_for_the_newest() {
        let kept = KeptMail::new(3_000);
        for number in 0..4 {
            kept.keep(number, &mail(300));
        }
        assert!(kept.find(0).is_none());
        assert!((1..4).all(|number| kept.find(number).is_some()));
        kept.keep(9, &mail(2_000));
        assert!(kept.find(9).is_none(), "a mail larger than the memory is not kept");
        assert!(kept.find(3).is_some());
    }
}
