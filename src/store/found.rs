//! Finding mail: new messages, their Fetch jobs and the cursor in one transaction, so that a page is read or it is not.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Store;
use super::error::StoreError;
use super::listed::Listed;
use super::mailboxes::Cursor;
use super::value::Value;
use super::words::{CursorKind, FoundBy};
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::subject::Subject;
use crate::model::work::{MailboxId, Work};

/// A message as a list of the mailbox shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id, which survives being moved within the mailbox.
    pub immutable_id: String,
    /// When the mailbox received it.
    pub received_at: Option<UnixMillis>,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// Its Message-ID.
    pub internet_message_id: Option<String>,
    /// Whether it has attachments that are not shown in its text; `None`: nobody said.
    pub has_attachments: Option<bool>,
    /// Its subject.
    pub subject: Option<Subject>,
    /// When its Fetch job is due.
    pub due_at: UnixMillis,
}

/// What a look knows of its place after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CursorChange {
    /// The round goes on at this link.
    Next(String),
    /// The round is complete; what changes from now on is at this link.
    Delta(String),
    /// The place is lost: the next look begins a new round that reaches back to here.
    Lost {
        /// The received time to reach back to.
        since: UnixMillis,
    },
}

impl Store {
    /// Keeps what a page showed: a message and a Fetch job for each id that is not known, and the cursor, in one
    /// transaction. A message that was gone and is back counts as new. Returns how many were new.
    ///
    /// # Errors
    /// Nothing of the page is kept; read it again.
    pub async fn found(
        &self,
        mailbox: &MailboxId,
        found: Vec<Found>,
        by: FoundBy,
        cursor: Option<CursorChange>,
    ) -> Result<usize, StoreError> {
        let number = self.number(mailbox).await?;
        self.ask(FoundPage { mailbox: mailbox.clone(), number, found, by, cursor, folder: None }).await
    }

    /// The same of a page of this folder. Where another folder is watched by now, its cursor stays as it is.
    ///
    /// # Errors
    /// Nothing of the page is kept; read it again.
    pub async fn found_in(
        &self,
        (mailbox, folder): (&MailboxId, &str),
        found: Vec<Found>,
        by: FoundBy,
        cursor: CursorChange,
    ) -> Result<usize, StoreError> {
        let (number, folder) = (self.number(mailbox).await?, Some(folder.to_owned()));
        self.ask(FoundPage { mailbox: mailbox.clone(), number, found, by, cursor: Some(cursor), folder }).await
    }

    /// Which of these ids need no fetching: known, and not gone.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn known(&self, mailbox: &MailboxId, immutable_ids: &[String]) -> Result<HashSet<String>, StoreError> {
        static SELECT: Listed = Listed::values(
            "SELECT immutable_id FROM messages
             WHERE mailbox = {fixed} AND state <> 'gone' AND immutable_id IN ({rows})",
            "?",
        );
        let number = self.number(mailbox).await?;
        let ids = immutable_ids.iter().map(|id| id.as_str().into()).collect();
        self.db().each(&SELECT, Some(number.into()), ids).await?.iter().map(|row| row.text(0)).collect()
    }
}

/// What a page showed.
pub(super) struct FoundPage {
    mailbox: MailboxId,
    number: i64,
    found: Vec<Found>,
    by: FoundBy,
    cursor: Option<CursorChange>,
    /// The folder that was read; `None`: whichever is watched.
    folder: Option<String>,
}

impl Op for FoundPage {
    type Answer = usize;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<usize>, StoreError> {
        // By mailbox and id: sorted, and each once, whoever shows it first.
        let mut shown: BTreeMap<(i64, &str), (usize, &Found)> = BTreeMap::new();
        for (page, op) in all.iter().enumerate() {
            for found in &op.found {
                shown.entry((op.number, &found.immutable_id)).or_insert((page, found));
            }
        }
        let new = writing.insert_found(all, &shown).await?;
        let mut counts = vec![0; all.len()];
        for (message, key) in new {
            let Some((page, found)) = shown.get(&(key.0, key.1.as_str())) else { continue };
            counts[*page] += 1;
            writing.due.add(Work::Fetch { mailbox: all[*page].mailbox.clone(), message }.due(found.due_at));
        }
        for op in all {
            writing.turn_page(op).await?;
        }
        Ok(counts)
    }
}

impl Writing<'_> {
    async fn insert_found(
        &mut self,
        pages: &[&FoundPage],
        shown: &BTreeMap<(i64, &str), (usize, &Found)>,
    ) -> Result<HashMap<i64, (i64, String)>, StoreError> {
        static INSERT: Listed = Listed::values(
            "INSERT INTO messages (mailbox, immutable_id, found_at, found_by, received_at, conversation_id, internet_message_id, has_attachments, subject)
             SELECT column1, column2, {fixed}, column3, column4, column5, column6, column7, column8 FROM (VALUES {rows}) AS v
             WHERE column1 IS NOT NULL
             ON CONFLICT (mailbox, immutable_id) DO UPDATE SET state = 'found', state_reason = NULL, finished_at = NULL
             WHERE messages.state = 'gone'
             RETURNING id, mailbox, immutable_id",
            "(?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let mut rows: Vec<Value> = Vec::with_capacity(shown.len() * 8);
        for ((mailbox, immutable_id), (page, found)) in shown {
            rows.extend([(*mailbox).into(), (*immutable_id).into(), pages[*page].by.as_str().into()]);
            rows.extend([found.received_at.into(), found.conversation_id.as_deref().into()]);
            rows.extend([found.internet_message_id.as_deref().into(), found.has_attachments.map(i64::from).into()]);
            rows.push(found.subject.as_ref().map(Subject::as_str).into());
        }
        let mut new = HashMap::new();
        for row in self.tx.each(&INSERT, Some(self.now.into()), rows).await? {
            new.insert(row.int(0)?, (row.int(1)?, row.text(2)?));
        }
        Ok(new)
    }

    async fn turn_page(&mut self, page: &FoundPage) -> Result<(), StoreError> {
        const SYNCED: &str = "UPDATE mailboxes SET last_sync_at = $1 WHERE id = $2";
        const TURN: &str = "UPDATE mailboxes SET last_sync_at = $1, cursor = $3, cursor_kind = $4,
               first_round_at = CASE WHEN $4 = 'delta' THEN COALESCE(first_round_at, $1) ELSE first_round_at END,
               resync_since = CASE WHEN $4 = 'delta' THEN NULL ELSE resync_since END
             WHERE id = $2 AND ($5 IS NULL OR folder IS NULL OR folder = $5)";
        const LOST: &str = "UPDATE mailboxes SET last_sync_at = $1, cursor = NULL, cursor_kind = NULL,
               resync_since = CASE WHEN resync_since < $3 THEN resync_since ELSE $3 END
             WHERE id = $2 AND ($4 IS NULL OR folder IS NULL OR folder = $4)";
        let mut values: Vec<Value> = vec![self.now.into(), page.number.into()];
        let sql = match &page.cursor {
            None => SYNCED,
            Some(CursorChange::Next(link)) => {
                values.extend([link.as_str().into(), CursorKind::Next.as_str().into()]);
                TURN
            }
            Some(CursorChange::Delta(link)) => {
                values.extend([link.as_str().into(), CursorKind::Delta.as_str().into()]);
                TURN
            }
            Some(CursorChange::Lost { since }) => {
                values.push((*since).into());
                LOST
            }
        };
        if page.cursor.is_some() {
            values.push(page.folder.as_deref().into());
        }
        self.tx.rows(sql, values).await.map(drop)
    }
}

impl From<Cursor> for CursorChange {
    fn from(cursor: Cursor) -> Self {
        match cursor.kind {
            CursorKind::Next => Self::Next(cursor.link),
            CursorKind::Delta => Self::Delta(cursor.link),
        }
    }
}
