//! Mail that several routes are about to receive: read from the store and parsed once, not once per route.
//!
//! A small memory of the last mails, bounded by their bytes. Losing it costs a second reading, nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::mail::facts::Classification;
use crate::mail::parse::{Mail, parse};
use crate::model::outcome::Failure;
use crate::store::{Message, Store};

/// Mails kept ready.
const MAILS: usize = 256;
/// Mail larger than this is parsed beside the async workers.
const PARSE_INLINE: usize = 256 * 1024;

/// One mail, parsed.
pub(super) struct Parsed {
    /// The mail as Graph gave it.
    pub(super) raw: Bytes,
    /// The same, understood.
    pub(super) mail: Mail,
    /// What kind of mail it is.
    pub(super) classification: Classification,
}

/// The last mails, the most recent at the back.
pub struct PreparedMail {
    kept: Mutex<Kept>,
    bytes: usize,
}

#[derive(Default)]
struct Kept {
    mails: VecDeque<(i64, Arc<Parsed>)>,
    bytes: usize,
}

impl PreparedMail {
    /// Keeps at most this many bytes of raw mail.
    pub fn new(bytes: usize) -> Self {
        Self { kept: Mutex::new(Kept::default()), bytes }
    }

    /// The mail of this message.
    ///
    /// # Errors
    /// The store could not answer, or the content is gone.
    pub(super) async fn of(&self, store: &Store, message: &Message) -> Result<Arc<Parsed>, Failure> {
        if let Some(ready) = self.find(message.id) {
            return Ok(ready);
        }
        let raw = store.content(message.id).await?;
        let raw = raw.ok_or_else(|| Failure::permanent("the stored content of this mail is gone"))?;
        let prepared = Arc::new(prepare(raw).await?);
        self.keep(message.id, &prepared);
        Ok(prepared)
    }

    fn find(&self, message: i64) -> Option<Arc<Parsed>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.mails.iter().rev().find(|(id, _)| *id == message).map(|(_, mail)| Arc::clone(mail))
    }

    fn keep(&self, message: i64, prepared: &Arc<Parsed>) {
        if prepared.raw.len() > self.bytes {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += prepared.raw.len();
        kept.mails.push_back((message, Arc::clone(prepared)));
        while kept.mails.len() > MAILS || kept.bytes > self.bytes {
            let Some((_, oldest)) = kept.mails.pop_front() else { break };
            kept.bytes -= oldest.raw.len();
        }
    }
}

async fn prepare(raw: Bytes) -> Result<Parsed, Failure> {
    if raw.len() <= PARSE_INLINE {
        return Ok(parsed(raw));
    }
    tokio::task::spawn_blocking(move || parsed(raw)).await.map_err(Failure::transient)
}

fn parsed(raw: Bytes) -> Parsed {
    let mail = parse(&raw);
    Parsed { classification: Classification::unknown(&mail), mail, raw }
}
