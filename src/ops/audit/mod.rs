//! The audit: did we lose any? A mailbox, read independently, against what is written of its mail.
//!
//! It reads the folder by time, without the cursor of the looks and without the windows of the sweeps, and asks the
//! tables message by message. It changes nothing. Mail that comes, moves or is delivered meanwhile raises no alarm.

mod folder;
pub mod report;
mod sums;
mod verdict;

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, GraphError, MessageMeta};
use crate::model::address::Address;
use crate::model::clock::UnixMillis;
use crate::model::work::MailboxId;
use crate::store::{Book, CursorKind, MailboxState, Store, StoreError};
use folder::{Folder, Slice};
pub use sums::{Hours, Sums};
pub use verdict::{Bounds, Verdict};

/// Mail is known so long after it came, whatever Graph's indexes and clocks do: until then it is too young to be missed.
const GRACE_MS: i64 = 5 * 60 * 1000;
/// Written messages that are read at once.
const BOOKS: u32 = 500;
/// So many messages of a mailbox are named; the sums count them all.
const NAMED: usize = 1000;

/// What is audited.
pub struct Subject<'a> {
    /// Which mailbox.
    pub mailbox: &'a MailboxId,
    /// Its address.
    pub address: &'a Address,
    /// The folder that is watched.
    pub folder: &'a str,
    /// The Graph it is reached through.
    pub graph: &'a Graph,
    /// The earliest received time that can count, by when the mailbox was first used.
    pub earliest: &'a (dyn Fn(UnixMillis) -> UnixMillis + Sync),
}

/// What an audit of one mailbox found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Its sums.
    pub hours: Hours,
    /// The messages nobody would ever deliver, the oldest first, as far as they are named.
    pub missing: Vec<Missing>,
    /// When the mailbox was last read; mail that came after that is not missed yet.
    pub read_at: Option<UnixMillis>,
}

/// A message nobody would ever deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is wrong with it.
    pub verdict: Verdict,
    /// Its id in the mailbox.
    pub immutable_id: String,
    /// Its Message-ID.
    pub internet_message_id: Option<String>,
    /// When the mailbox received it.
    pub received_at: Option<UnixMillis>,
    /// Whether it lies in the folder.
    pub in_folder: bool,
}

/// Why a mailbox could not be audited.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Graph does not show it.
    #[error("the mailbox cannot be read: {0}")]
    Graph(#[from] GraphError),
    /// The store does not answer.
    #[error("store: {0}")]
    Store(#[from] StoreError),
}

/// Audits the mail that a mailbox received from `since` until before `until`.
///
/// # Errors
/// The mailbox or the store could not be read to the end; nothing is said about any message.
pub async fn audit(
    store: &Store,
    subject: &Subject<'_>,
    (since, until): (UnixMillis, UnixMillis),
) -> Result<Findings, AuditError> {
    // Asked before anything is listed: what was received before this look must be known by now.
    let state = store.mailbox(subject.mailbox).await?;
    let bounds = bounds(&state, (subject.earliest)(state.started_at));
    let mut walk = Walk {
        store,
        mailbox: subject.mailbox,
        bounds,
        elsewhere: HashSet::new(),
        hours: Hours::default(),
        missing: Vec::new(),
    };
    let mut folder = Folder::new(subject.graph, subject.address, subject.folder, (since, until));
    while let Some(slice) = folder.next().await? {
        walk.reconcile(slice).await?;
    }
    walk.look_again().await?;
    Ok(Findings { hours: walk.hours, missing: walk.missing, read_at: state.last_sync_at })
}

/// What must be known of a mailbox that is read up to here. While it is read in full for the first time, or again, nothing
/// must: a round in progress finds what it has not come to yet.
fn bounds(state: &MailboxState, earliest: UnixMillis) -> Bounds {
    let is_read = state.cursor.as_ref().is_some_and(|it| it.kind == CursorKind::Delta);
    let read_at = state.last_sync_at.filter(|_| is_read && state.first_round_at.is_some());
    Bounds { earliest, known_until: read_at.map_or(i64::MIN, |at| at.saturating_sub(GRACE_MS)) }
}

/// An audit on its way through a mailbox.
struct Walk<'a> {
    store: &'a Store,
    mailbox: &'a MailboxId,
    bounds: Bounds,
    /// Messages that were found by their id, because the time they are written under is not the one the folder tells.
    elsewhere: HashSet<i64>,
    hours: Hours,
    missing: Vec<Missing>,
}

impl Walk<'_> {
    /// Holds what the folder shows of a slice of time against what is written of it.
    async fn reconcile(&mut self, slice: Slice) -> Result<(), StoreError> {
        let mut shown: HashMap<&str, &MessageMeta> = slice.shown.iter().map(|it| (it.id.as_str(), it)).collect();
        let mut after: Option<Book> = None;
        loop {
            let books = self.store.books(self.mailbox, (slice.from, slice.until), after.as_ref(), BOOKS).await?;
            for book in &books {
                match shown.remove(book.immutable_id.as_str()) {
                    Some(meta) => self.judge(slice.from, meta, Some(book)),
                    None => self.judge_absent(book),
                }
            }
            let is_last = books.len() < BOOKS as usize;
            after = books.into_iter().last();
            if is_last {
                break;
            }
        }
        let rest: Vec<&str> = shown.keys().copied().collect();
        let books = self.store.books_of(self.mailbox, &rest).await?;
        let books: HashMap<&str, &Book> = books.iter().map(|it| (it.immutable_id.as_str(), it)).collect();
        for meta in slice.shown.iter().filter(|it| shown.contains_key(it.id.as_str())) {
            let book = books.get(meta.id.as_str()).copied();
            self.elsewhere.extend(book.map(|it| it.message));
            self.judge(slice.from, meta, book);
        }
        Ok(())
    }

    fn judge(&mut self, from: UnixMillis, meta: &MessageMeta, book: Option<&Book>) {
        let verdict = verdict::of_shown(meta.received_at, meta.last_modified, book, self.bounds);
        self.hours.shown(meta.received_at.unwrap_or(from), verdict);
        if verdict.is_imbalance() {
            self.name(Missing {
                verdict,
                immutable_id: meta.id.clone(),
                internet_message_id: meta.internet_message_id.clone(),
                received_at: meta.received_at,
                in_folder: true,
            });
        }
    }

    fn judge_absent(&mut self, book: &Book) {
        if self.elsewhere.contains(&book.message) {
            return;
        }
        let verdict = verdict::of_absent(book);
        self.hours.absent(book.time(), verdict);
        if let Some(verdict) = verdict.filter(|it| it.is_imbalance()) {
            self.name(Missing {
                verdict,
                immutable_id: book.immutable_id.clone(),
                internet_message_id: book.internet_message_id.clone(),
                received_at: book.received_at,
                in_folder: false,
            });
        }
    }

    fn name(&mut self, missing: Missing) {
        if self.missing.len() < NAMED {
            self.missing.push(missing);
        }
    }

    /// What seemed to be missing may have been on its way while the folder was read: it is asked for once more.
    async fn look_again(&mut self) -> Result<(), StoreError> {
        let suspects = || self.missing.iter().filter(|it| it.verdict == Verdict::Unknown);
        let ids: Vec<&str> = suspects().map(|it| it.immutable_id.as_str()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let books = self.store.books_of(self.mailbox, &ids).await?;
        let books: HashMap<&str, &Book> = books.iter().map(|it| (it.immutable_id.as_str(), it)).collect();
        let mut missing = std::mem::take(&mut self.missing);
        missing.retain_mut(|it| {
            if it.verdict == Verdict::Unknown
                && let Some(received_at) = it.received_at
            {
                let book = books.get(it.immutable_id.as_str()).copied();
                let second = verdict::of_shown(it.received_at, None, book, self.bounds);
                self.hours.revise(received_at, it.verdict, second);
                it.verdict = second;
            }
            it.verdict.is_imbalance()
        });
        self.missing = missing;
        Ok(())
    }
}
