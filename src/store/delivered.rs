//! The ends of a message: delivered, gone, filtered, and marked as read.
//!
//! The last destination to accept a message makes it delivered, and due to be marked, in the same transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Store;
use super::error::StoreError;
use super::listed::Listed;
use super::value::Value;
use super::words::{Mark, MessageState};
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::work::{Claim, MailboxId, Work};

/// Marks wait this long for others of their mailbox, because Graph takes twenty in one request.
const MARK_AFTER_MS: i64 = 1000;

/// A message that is to be marked as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToMark {
    /// The store's number of the message.
    pub message: i64,
    /// Its id in the mailbox.
    pub immutable_id: String,
}

/// What a hand-over leaves to be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaves {
    /// Links to the content of this message were handed out: the content stays until the given time, longer if it was
    /// to stay longer already.
    pub linked: Option<(i64, UnixMillis)>,
    /// The other side's id of the conversation it was put into.
    pub conversation: Option<String>,
    /// Which attempt it was, and how long it took.
    pub attempt: Option<(u32, Duration)>,
}

impl Store {
    /// The destination accepted the interaction: ends its Deliver job, and with the last delivery of a message the
    /// message, in one transaction. `false`: the lease was lost; nothing changed.
    ///
    /// # Errors
    /// Nothing changed; the interaction will be delivered again with the same id.
    pub async fn delivered(&self, claim: Claim, interaction_id: &str) -> Result<bool, StoreError> {
        self.delivered_with(claim, interaction_id, Leaves::default()).await
    }

    /// As [`Self::delivered`], with what the hand-over leaves to be remembered.
    ///
    /// # Errors
    /// Nothing changed; the interaction will be delivered again with the same id.
    pub async fn delivered_with(&self, claim: Claim, interaction_id: &str, leaves: Leaves) -> Result<bool, StoreError> {
        self.ask(Delivered { claim, interaction_id: interaction_id.to_owned(), leaves }).await
    }

    /// The message is no longer in the mailbox: ends its Fetch job. `false`: the lease was lost; nothing changed.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn gone(&self, claim: Claim, message: i64, reason: &str) -> Result<bool, StoreError> {
        self.ask(Ended { claim, message, state: MessageState::Gone, reason: reason.to_owned() }).await
    }

    /// No route wants the message: ends its Fetch job. `false`: the lease was lost; nothing changed.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn filtered(&self, claim: Claim, message: i64, reason: &str) -> Result<bool, StoreError> {
        self.ask(Ended { claim, message, state: MessageState::Filtered, reason: reason.to_owned() }).await
    }

    /// The messages of a mailbox that are to be marked as read, the oldest first.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn to_mark(&self, mailbox: &MailboxId, limit: u32) -> Result<Vec<ToMark>, StoreError> {
        const SELECT: &str =
            "SELECT id, immutable_id FROM messages WHERE mailbox = $1 AND mark = 'due' ORDER BY id LIMIT $2";
        let number = self.number(mailbox).await?;
        let rows = self.db().rows(SELECT, vec![number.into(), i64::from(limit).into()]).await?;
        rows.iter().map(|row| Ok(ToMark { message: row.int(0)?, immutable_id: row.text(1)? })).collect()
    }

    /// These messages are marked as read, or never can be.
    ///
    /// # Errors
    /// Nothing changed; they will be marked again.
    pub async fn marked(&self, messages: Vec<i64>) -> Result<(), StoreError> {
        self.ask(Marked(messages)).await
    }
}

/// An interaction that was accepted.
pub(super) struct Delivered {
    claim: Claim,
    interaction_id: String,
    leaves: Leaves,
}

impl Op for Delivered {
    type Answer = bool;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<bool>, StoreError> {
        let claims: Vec<Claim> = all.iter().map(|op| op.claim).collect();
        let mut won = writing.end(&claims).await?;
        let good: Vec<bool> = all.iter().map(|op| won.remove(&op.claim)).collect();
        let won = || all.iter().zip(&good).filter(|(_, good)| **good).map(|(op, _)| op);
        let mut linked = BTreeMap::new();
        for (message, until) in won().filter_map(|op| op.leaves.linked) {
            linked.entry(message).and_modify(|known: &mut UnixMillis| *known = until.max(*known)).or_insert(until);
        }
        let conversation =
            |op: &&&Self| Some([op.interaction_id.as_str().into(), op.leaves.conversation.as_deref()?.into()]);
        let conversations: Vec<Value> = won().filter_map(|op| conversation(&op)).flatten().collect();
        let accepted = won().map(|op| (op.interaction_id.as_str(), op.leaves.attempt)).collect();
        writing.accepted(accepted, linked).await?;
        writing.put_into(conversations).await?;
        Ok(good)
    }
}

impl Writing<'_> {
    async fn accepted(
        &mut self,
        interactions: Vec<(&str, Option<(u32, Duration)>)>,
        linked: BTreeMap<i64, UnixMillis>,
    ) -> Result<(), StoreError> {
        static DELIVERIES: Listed = Listed::values(
            "UPDATE deliveries SET accepted_at = {fixed}, attempt = v.column2, took_ms = v.column3
             FROM (VALUES {rows}) AS v
             WHERE deliveries.interaction_id = v.column1 AND deliveries.accepted_at IS NULL
             RETURNING deliveries.message",
            "(?, ?, ?)",
        );
        static LINKED: Listed = Listed::values(
            "UPDATE messages SET content_until = v.column2 FROM (VALUES {rows}) AS v
             WHERE messages.id = v.column1 AND (messages.content_until IS NULL OR messages.content_until < v.column2)",
            "(?, ?)",
        );
        // Held first: only a statement that begins after that sees a copy which was accepted meanwhile.
        self.tx.hold_interactions(interactions.iter().map(|(id, _)| (*id).into()).collect()).await?;
        let accepted = interactions.into_iter().flat_map(|(id, made)| {
            let took = made.map(|(_, took)| i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
            [id.into(), made.map(|(attempt, _)| i64::from(attempt)).into(), took.into()]
        });
        let mut touched = BTreeSet::new();
        for row in self.tx.each(&DELIVERIES, Some(self.now.into()), accepted.collect()).await? {
            touched.insert(row.int(0)?);
        }
        touched.extend(linked.keys());
        let messages: Vec<Value> = touched.into_iter().map(Value::from).collect();
        self.tx.hold_messages(messages.clone()).await?;
        let linked = linked.into_iter().flat_map(|(message, until)| [message.into(), until.into()]).collect();
        self.tx.each(&LINKED, None, linked).await?;
        self.finish(messages).await
    }

    /// Ends the messages of which nothing is left to be delivered; the caller holds them.
    pub(super) async fn finish(&mut self, messages: Vec<Value>) -> Result<(), StoreError> {
        static MESSAGES: Listed = Listed::values(
            "UPDATE messages SET state = 'delivered', finished_at = {fixed},
               mark = CASE WHEN mark = 'on_delivered' THEN 'due' ELSE mark END
             WHERE id IN ({rows}) AND state = 'accepted'
               AND NOT EXISTS (SELECT 1 FROM deliveries
                 WHERE message = messages.id AND accepted_at IS NULL AND discarded_at IS NULL)
             RETURNING mailbox, mark",
            "?",
        );
        let mut mailboxes = BTreeSet::new();
        for row in self.tx.each(&MESSAGES, Some(self.now.into()), messages).await? {
            if row.word::<Mark>(1)? == Mark::Due {
                mailboxes.insert(row.int(0)?);
            }
        }
        for number in mailboxes {
            let mailbox = self.named(number).await?;
            self.due.add(Work::Mark { mailbox }.due(self.now + MARK_AFTER_MS));
        }
        Ok(())
    }
}

impl Writing<'_> {
    /// Remembers the conversations of the other side, as pairs of interaction and conversation.
    async fn put_into(&mut self, conversations: Vec<Value>) -> Result<(), StoreError> {
        static UPDATE: Listed = Listed::values(
            "UPDATE deliveries SET conversation = v.column2 FROM (VALUES {rows}) AS v
             WHERE deliveries.interaction_id = v.column1",
            "(?, ?)",
        );
        self.tx.each(&UPDATE, None, conversations).await.map(drop)
    }
}

/// A message that needs no delivery.
pub(super) struct Ended {
    claim: Claim,
    message: i64,
    state: MessageState,
    reason: String,
}

impl Op for Ended {
    type Answer = bool;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<bool>, StoreError> {
        static UPDATE: Listed = Listed::values(
            "UPDATE messages SET state = v.column2, state_reason = v.column3, finished_at = {fixed}
             FROM (VALUES {rows}) AS v WHERE messages.id = v.column1 AND messages.state = 'found'",
            "(?, ?, ?)",
        );
        let claims: Vec<Claim> = all.iter().map(|op| op.claim).collect();
        let mut won = writing.end(&claims).await?;
        let mut rows: Vec<Value> = Vec::new();
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            let good = won.remove(&op.claim);
            if good {
                rows.extend([op.message.into(), op.state.as_str().into(), op.reason.as_str().into()]);
            }
            answers.push(good);
        }
        writing.tx.each(&UPDATE, Some(writing.now.into()), rows).await?;
        Ok(answers)
    }
}

/// Messages that are marked.
pub(super) struct Marked(Vec<i64>);

impl Op for Marked {
    type Answer = ();

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<()>, StoreError> {
        static UPDATE: Listed = Listed::values(
            "UPDATE messages SET mark = 'done', marked_at = {fixed}
             WHERE id IN ({rows}) AND mark = 'due'",
            "?",
        );
        let messages: BTreeSet<i64> = all.iter().flat_map(|op| &op.0).copied().collect();
        let rows = messages.into_iter().map(Value::from).collect();
        writing.tx.each(&UPDATE, Some(writing.now.into()), rows).await?;
        Ok(vec![(); all.len()])
    }
}
