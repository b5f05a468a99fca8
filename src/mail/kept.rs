//! Mail that was understood and is about to be rendered for its routes: parsed once, not once per route and attempt.
//!
//! A memory bounded by bytes. Losing it costs a second reading, nothing else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::attachment::Attachment;
use super::beside::Beside;
use super::classify::classify;
use super::facts::Classification;
use super::parse::{Mail, parse};
use super::shared::{RemoteImages, Shared};
use crate::model::outcome::Failure;
use crate::model::reason::Code;

/// Mail larger than this is parsed beside the async workers.
const PARSE_INLINE: usize = 256 * 1024;
/// So many large mails are parsed at once. The tree of hostile HTML takes a hundred bytes for each of its own, which no
/// budget counts.
static LARGE_AT_ONCE: Semaphore = Semaphore::const_new(2);
/// Mail that was not asked for in this time may go.
const PATIENCE: Duration = Duration::from_secs(10);
/// What each part takes beside its content: its fields, its names, its digest.
const PART: usize = 512;

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
            let _turn = LARGE_AT_ONCE.acquire().await.map_err(Failure::transient)?;
            let all = move || {
                let understood = Self::new(raw, beside)?;
                // Most routes want it, and here nobody waits for it.
                understood.shared.html_body(&understood.mail, RemoteImages::default())?;
                Ok(understood)
            };
            tokio::task::spawn_blocking(all).await.map_err(Failure::transient)?
        };
        read.map_err(|error| {
            Failure::permanent(format!("the interaction cannot be written: {error}")).coded(Code::Unsendable)
        })
    }

    /// Adds what was learnt of it after it was read.
    ///
    /// # Errors
    /// The same as of [`Self::read`].
    pub fn learn(&mut self, more: Beside) -> Result<(), Failure> {
        if more == Beside::default() {
            return Ok(());
        }
        self.mail.attach(&more.cloud_files);
        self.beside.add(more);
        self.classification = classify(&self.mail, &self.raw, &self.beside);
        self.shared = Shared::new(&self.mail).map_err(|error| {
            Failure::permanent(format!("the interaction cannot be written: {error}")).coded(Code::Unsendable)
        })?;
        Ok(())
    }

    fn new(raw: Bytes, beside: Beside) -> serde_json::Result<Self> {
        let mut mail = parse(&raw);
        mail.attach(&beside.cloud_files);
        let classification = classify(&mail, &raw, &beside);
        Ok(Self { classification, shared: Shared::new(&mail)?, mail, beside, raw })
    }

    /// What it takes in memory at most: the bytes, the texts made of them, both as JSON, what was unpacked,
    /// and attachments as base64.
    fn weight(&self) -> usize {
        let mail = &self.mail;
        let text = mail.text.as_ref().map_or(0, |it| 2 * it.value.len());
        let html = mail.html.as_ref().map_or(0, |it| 3 * it.original.value.len());
        let attached: u64 = mail.attachments.iter().filter(|it| it.is_held()).map(|it| it.size.div_ceil(3) * 4).sum();
        let unpacked: u64 = mail.attachments.iter().map(Attachment::held).sum();
        let fields = 2 * self.shared.headers.get().len();
        self.raw.len()
            + text
            + html
            + usize::try_from(attached + unpacked).unwrap_or(usize::MAX / 2)
            + fields
            + PART * mail.parts.len()
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
    /// The mails by age, among them some that are gone: a place here is only given up at the front.
    by_age: VecDeque<(i64, Instant)>,
    bytes: usize,
}

struct Entry {
    mail: Arc<Understood>,
    weight: usize,
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
        self.keep_since(Instant::now(), message, mail, uses);
    }

    fn keep_since(&self, now: Instant, message: i64, mail: &Arc<Understood>, uses: usize) {
        let weight = mail.weight();
        let mut kept = self.kept();
        kept.remove(message);
        if kept.bytes + weight > self.bytes {
            kept.forget_the_old(now);
        }
        if uses == 0 || kept.bytes + weight > self.bytes {
            return;
        }
        kept.bytes += weight;
        kept.mails.insert(message, Entry { mail: Arc::clone(mail), weight, uses, since: now });
        kept.by_age.push_back((message, now));
        kept.tidy();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, message: i64) {
        if let Some(entry) = self.mails.remove(&message) {
            self.bytes -= entry.weight;
        }
    }

    /// What waits for long waits for a destination that is down, and is read again when that is back.
    fn forget_the_old(&mut self, now: Instant) {
        while let Some((message, since)) = self.by_age.pop_front_if(|(_, it)| now.duration_since(*it) > PATIENCE) {
            if self.is_there(message, since) {
                self.remove(message);
            }
        }
    }

    /// Most mails leave by being asked for; now and then their places are given up all at once.
    fn tidy(&mut self) {
        if self.by_age.len() > 2 * self.mails.len() + 64 {
            let by_age = std::mem::take(&mut self.by_age);
            self.by_age = by_age.into_iter().filter(|&(message, since)| self.is_there(message, since)).collect();
        }
    }

    fn is_there(&self, message: i64, since: Instant) -> bool {
        self.mails.get(&message).is_some_and(|it| it.since == since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(bytes: usize) -> Arc<Understood> {
        Arc::new(Understood::new(Bytes::from(vec![b'a'; bytes]), Beside::default()).unwrap())
    }

    #[test]
    fn a_mail_goes_after_its_last_use_and_a_newcomer_pushes_nobody_out() {
        let small = mail(300);
        let kept = KeptMail::new(3 * small.weight());
        for number in 0..4 {
            kept.keep(number, &small, 2);
        }
        assert!(kept.find(3).is_none(), "there was no room for it");
        assert!(kept.find(0).is_some() && kept.find(0).is_some());
        assert!(kept.find(0).is_none(), "it was announced for two uses");
        kept.keep(3, &small, 1);
        assert!(kept.find(3).is_some());
        kept.keep(9, &mail(20_000), 1);
        assert!(kept.find(9).is_none(), "a mail larger than the memory is not kept");
    }

    #[test]
    fn what_was_not_asked_for_makes_room_after_a_while() {
        let small = mail(300);
        let kept = KeptMail::new(2 * small.weight());
        let start = Instant::now();
        kept.keep_since(start, 1, &small, 1);
        kept.keep_since(start + PATIENCE, 2, &small, 1);
        kept.keep_since(start + PATIENCE, 3, &small, 1);
        assert!(kept.find(3).is_none(), "nobody has waited for too long yet");
        kept.keep_since(start + PATIENCE + Duration::from_millis(1), 4, &small, 1);
        assert!(kept.find(1).is_none() && kept.find(2).is_some() && kept.find(4).is_some());
        kept.keep_since(start + PATIENCE, 2, &small, 1);
        kept.keep_since(start + 3 * PATIENCE, 2, &small, 1);
        kept.keep_since(start + 3 * PATIENCE, 5, &small, 1);
        kept.keep_since(start + 3 * PATIENCE, 6, &small, 1);
        assert!(kept.find(2).is_some(), "it was kept again since");
    }

    #[test]
    fn places_of_mail_that_is_gone_are_given_up() {
        let small = mail(300);
        let kept = KeptMail::new(3 * small.weight());
        for number in 0..10_000 {
            kept.keep(number, &small, 1);
            assert!(kept.find(number).is_some());
        }
        let kept = kept.kept();
        assert!(kept.by_age.len() <= 65 && kept.mails.is_empty() && kept.bytes == 0, "{}", kept.by_age.len());
    }

    #[test]
    fn the_weight_of_a_mail_is_what_is_held_of_it() {
        let file = format!("Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n{}", "QUJD".repeat(10_000));
        let mail = Understood::new(Bytes::from(file), Beside::default()).unwrap();
        assert!((80_000..82_000).contains(&mail.weight()), "{}: the bytes, and as many in JSON", mail.weight());
        let line = format!("M{}\n", "!".repeat(60));
        let text = format!("a: b\n\nbegin 644 x.bin\n{}`\nend\n", line.repeat(1000));
        let mail = Understood::new(Bytes::from(text), Beside::default()).unwrap();
        let (raw, unpacked, inline) = (62_035, 45_000, 60_000);
        let expected = raw + unpacked + inline;
        assert!((expected..expected + 2_000).contains(&mail.weight()), "{}: and what was unpacked", mail.weight());
    }
}
