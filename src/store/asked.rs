//! Calls to a destination that knows no repeated id, written down before they are made.
//!
//! So after a crash or a lost answer somebody looks before calling again, and of one conversation and route only one call
//! is open at a time, over all replicas.

use super::Store;
use super::error::StoreError;
use super::value::Value;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;

/// A call that is open for so long holds up nobody else in its conversation: it was parked, or waits for a destination
/// that is down.
const HOLDS_FOR_MS: i64 = 10 * 60 * 1000;

/// Whether a call may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asking {
    /// It may be made now, and is written down as open.
    Now {
        /// The other side's id of the conversation the mails before were put into.
        conversation: Option<String>,
    },
    /// One was begun before, and nobody knows what came of it.
    Before {
        /// When.
        at: UnixMillis,
        /// The other side's id of the conversation the mails before were put into.
        conversation: Option<String>,
    },
    /// One for another mail of its conversation is open.
    Busy,
}

impl Store {
    /// Asks whether a call for this interaction may be made, and writes down that it is.
    ///
    /// # Errors
    /// Nothing is written; no call may be made.
    pub async fn asking(&self, interaction_id: &str) -> Result<Asking, StoreError> {
        self.ask(Ask { interaction_id: interaction_id.to_owned(), how: How::First }).await
    }

    /// The same, after it was found out that the call before came to nothing.
    ///
    /// # Errors
    /// Nothing is written; no call may be made.
    pub async fn asking_again(&self, interaction_id: &str) -> Result<Asking, StoreError> {
        self.ask(Ask { interaction_id: interaction_id.to_owned(), how: How::Again }).await
    }

    /// The call certainly came to nothing: it is not open any more.
    ///
    /// # Errors
    /// It stays open, and is looked for before the next.
    pub async fn not_asked(&self, interaction_id: &str) -> Result<(), StoreError> {
        self.ask(Ask { interaction_id: interaction_id.to_owned(), how: How::Never }).await.map(drop)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    First,
    Again,
    Never,
}

/// A call about to be made, or taken back.
pub(super) struct Ask {
    interaction_id: String,
    how: How,
}

impl Op for Ask {
    type Answer = Asking;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Asking>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            answers.push(writing.asking(op).await?);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    async fn asking(&mut self, op: &Ask) -> Result<Asking, StoreError> {
        const UPDATE: &str = "UPDATE deliveries SET asked_at = $1 WHERE interaction_id = $2";
        let id = || Value::from(op.interaction_id.as_str());
        if op.how == How::Never {
            self.tx.rows(UPDATE, vec![Value::Int(None), id()]).await?;
            return Ok(Asking::Now { conversation: None });
        }
        const THREADS: &str = "SELECT m.thread_id FROM messages AS m
             WHERE m.id IN (SELECT message FROM deliveries WHERE interaction_id = $1
               OR interaction_id IN (SELECT previous FROM deliveries WHERE interaction_id = $1))
               AND m.thread_id IS NOT NULL ORDER BY m.id DESC";
        let mut threads: Vec<String> = Vec::new();
        for row in self.tx.rows(THREADS, vec![id()]).await? {
            threads.push(row.text(0)?);
        }
        threads.dedup();
        // Held first: only a statement that begins after that sees what another replica wrote meanwhile.
        self.tx.hold_threads(threads.iter().map(|it| it.as_str().into()).collect()).await?;
        let conversation = self.conversation_of(op, &threads).await?;
        const BEGUN: &str = "SELECT asked_at FROM deliveries WHERE interaction_id = $1 AND asked_at IS NOT NULL";
        if op.how == How::First
            && let Some(row) = self.tx.rows(BEGUN, vec![id()]).await?.first()
        {
            return Ok(Asking::Before { at: row.int(0)?, conversation });
        }
        if self.is_another_open(op, &threads).await? {
            return Ok(Asking::Busy);
        }
        self.tx.rows(UPDATE, vec![self.now.into(), id()]).await?;
        Ok(Asking::Now { conversation })
    }

    /// Of the conversations the mails of these threads were put into, the one that was used last.
    async fn conversation_of(&mut self, op: &Ask, threads: &[String]) -> Result<Option<String>, StoreError> {
        const SELECT: &str = "SELECT d.conversation, d.accepted_at FROM messages AS m
             JOIN deliveries AS d ON d.message = m.id
             WHERE m.thread_id = $1 AND d.conversation IS NOT NULL AND d.accepted_at IS NOT NULL
               AND d.route IN (SELECT route FROM deliveries WHERE interaction_id = $2)
             ORDER BY d.accepted_at DESC, m.id DESC LIMIT 1";
        let mut last: Option<(UnixMillis, String)> = None;
        for thread in threads {
            let values = vec![thread.as_str().into(), op.interaction_id.as_str().into()];
            if let Some(row) = self.tx.rows(SELECT, values).await?.first() {
                last = last.max(Some((row.int(1)?, row.text(0)?)));
            }
        }
        Ok(last.map(|(_, conversation)| conversation))
    }

    async fn is_another_open(&mut self, op: &Ask, threads: &[String]) -> Result<bool, StoreError> {
        const SELECT: &str = "SELECT 1 FROM messages AS m JOIN deliveries AS d ON d.message = m.id
             WHERE m.thread_id = $1 AND d.asked_at > $2 AND d.accepted_at IS NULL AND d.discarded_at IS NULL
               AND d.interaction_id <> $3
               AND d.route IN (SELECT route FROM deliveries WHERE interaction_id = $3) LIMIT 1";
        for thread in threads {
            let since = self.now.saturating_sub(HOLDS_FOR_MS);
            let values = vec![thread.as_str().into(), since.into(), op.interaction_id.as_str().into()];
            if !self.tx.rows(SELECT, values).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
