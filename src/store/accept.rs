//! Accepting a mail: stored together with all its deliveries, or not at all.
//!
//! Called again for the same mail it changes nothing that was accepted. The same mail in two watched mailboxes is one
//! interaction per route; a second copy in the same mailbox is a message of its own.

use std::collections::HashMap;

use bytes::Bytes;

use super::Store;
use super::error::StoreError;
use super::listed::Listed;
use super::messages::key_of_copy;
use super::sealed;
use super::submissions::Tie;
use super::value::Value;
use super::words::{Mark, MessageState};
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::subject::Subject;
use crate::model::thread::{Clues, Joined};
use crate::model::work::{Claim, Work};

/// Content is kept in pieces of this size, so that a large mail is never in memory twice.
pub(super) const CHUNK: usize = 256 * 1024;
/// How much content one statement carries.
const TOGETHER: usize = 1024 * 1024;

/// A fetched mail and who gets it.
#[derive(Clone)]
pub struct Accept {
    /// The store's number of the message.
    pub message: i64,
    /// Its key, as [`ids::message_key`] makes it.
    pub key: String,
    /// One per matching route; never empty.
    pub deliveries: Vec<NewDelivery>,
    /// The mail as it was fetched.
    pub raw: Bytes,
    /// Of `raw`, in hexadecimal.
    pub sha256: String,
    /// What is known of it and stands in none of its bytes; the store does not look inside.
    pub beside: Option<String>,
    /// What may connect it with other mail.
    pub clues: Clues,
    /// Whose mail is counted; `None`: nobody's.
    pub pace: Option<Pace>,
    /// Where its attachments stand in `raw`, where links lead to them; the store does not look inside.
    pub places: Option<String>,
    /// When to mark it as read.
    pub mark: MarkWhen,
    /// Its subject, as the mail itself has it.
    pub subject: Option<Subject>,
    /// What kind of mail it is.
    pub kind: &'static str,
    /// What an answer to it is made of; the store does not look inside.
    pub answering: Option<String>,
    /// The submission it reports on.
    pub tie: Option<Tie>,
}

/// Whose mail the loop breaker counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// The sender, under a hash.
    pub sender: String,
    /// How many automatic mails a route takes of it within ten minutes; `None`: this one is not automatic.
    pub automatic_limit: Option<u32>,
    /// How many mails of it a conversation takes within ten minutes; `None`: any number.
    pub thread_limit: Option<u32>,
}

/// What the loop breaker does with a delivery. One that is held is parked at its first attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Breaker {
    /// Nothing.
    #[default]
    Off,
    /// It is counted, and held if there are too many.
    Counts,
    /// It is held for this reason.
    Holds(String),
}

/// A delivery to be made.
#[derive(Clone)]
pub struct NewDelivery {
    /// The route's configured name.
    pub route: String,
    /// What delivering needs to know; the store does not look inside.
    pub facts: String,
    /// How long its first attempt waits, in milliseconds.
    pub wait_ms: i64,
    /// What the loop breaker does with it.
    pub breaker: Breaker,
    /// Whether it waits for those of its conversation that were received earlier.
    pub in_turn: bool,
}

/// When an accepted mail is marked as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkWhen {
    /// Not at all.
    Never,
    /// As soon as it is accepted.
    Now,
    /// Once every destination accepted it.
    OnDelivered,
}

/// What came of accepting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The key it goes by: another copy in the same mailbox may have the plain one.
    pub message_key: String,
    /// Its interactions, in the order of the deliveries.
    pub interactions: Vec<String>,
    /// Whether it is the first that tells of a failure of the submission it reports on.
    pub is_bounce: bool,
}

impl Store {
    /// Stores a fetched mail with its deliveries and ends its Fetch job, in one transaction. `None`: the lease was lost;
    /// nothing is stored.
    ///
    /// # Errors
    /// Nothing is stored.
    pub async fn accept(&self, claim: Claim, accept: Accept) -> Result<Option<Accepted>, StoreError> {
        self.ask(Accepting { claim, accept: Box::new(accept) }).await
    }
}

/// A mail to be accepted.
pub(super) struct Accepting {
    claim: Claim,
    accept: Box<Accept>,
}

/// A mail of this group whose lease was good, and what is known about it.
pub(super) struct Mail<'a> {
    /// Its place in the group.
    at: usize,
    pub(super) accept: &'a Accept,
    pub(super) mailbox: i64,
    pub(super) received_at: UnixMillis,
    base_key: String,
    copy: i64,
    /// Its conversation.
    pub(super) joined: Joined,
    pub(super) interactions: Vec<String>,
    /// Every destination accepted it already, through another mailbox.
    pub(super) delivered: bool,
    /// Some of its deliveries were discarded, through another mailbox.
    pub(super) is_discarded: bool,
}

impl Op for Accepting {
    type Answer = Option<Accepted>;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Option<Accepted>>, StoreError> {
        let claims: Vec<Claim> = all.iter().map(|op| op.claim).collect();
        let mut won = writing.end(&claims).await?;
        let good: Vec<(usize, &Accept)> =
            all.iter().enumerate().filter(|(_, op)| won.remove(&op.claim)).map(|(at, op)| (at, &*op.accept)).collect();
        let mut answers: Vec<Option<Accepted>> = all.iter().map(|_| None).collect();
        if good.is_empty() {
            return Ok(answers);
        }
        let mut mails = writing.number_copies(&good).await?;
        let mut threads = writing.join_threads(&mut mails).await?;
        let deliveries = writing.plan_deliveries(&mut mails, &mut threads).await?;
        writing.keep_threads(threads).await?;
        writing.update_messages(&mails).await?;
        writing.note_places(&mails).await?;
        writing.insert_contents(&mails).await?;
        writing.insert_deliveries(deliveries).await?;
        writing.discard_copies(&mails).await?;
        for mail in mails {
            writing.mark_if_due(&mail).await?;
            let is_bounce = match &mail.accept.tie {
                Some(tie) => writing.came_back(tie).await?,
                None => false,
            };
            answers[mail.at] = Some(Accepted { message_key: mail.key(), interactions: mail.interactions, is_bounce });
        }
        Ok(answers)
    }
}

impl Mail<'_> {
    pub(super) fn key(&self) -> String {
        key_of_copy(&self.base_key, self.copy)
    }

    /// Its key without the number of its copy.
    pub(super) fn base_key(&self) -> &str {
        &self.base_key
    }

    fn mark(&self) -> Mark {
        match (self.accept.mark, self.delivered) {
            (MarkWhen::Never, _) => Mark::Never,
            (MarkWhen::Now, _) | (MarkWhen::OnDelivered, true) => Mark::Due,
            (MarkWhen::OnDelivered, false) => Mark::OnDelivered,
        }
    }
}

impl Writing<'_> {
    /// Gives each mail its key: the one it has from before, or the next copy of its kind in its mailbox.
    async fn number_copies<'a>(&mut self, good: &[(usize, &'a Accept)]) -> Result<Vec<Mail<'a>>, StoreError> {
        static SELECT: Listed = Listed::values(
            "SELECT m.id, m.mailbox, m.base_key, m.copy,
               (SELECT MAX(other.copy) FROM messages AS other WHERE other.base_key = v.column2 AND other.mailbox = m.mailbox),
               COALESCE(m.received_at, m.found_at)
             FROM (VALUES {rows}) AS v JOIN messages AS m ON m.id = v.column1",
            "(?, ?)",
        );
        let list = good.iter().flat_map(|(_, it)| [it.message.into(), it.key.as_str().into()]).collect();
        let mut rows = HashMap::new();
        for row in self.tx.each(&SELECT, None, list).await? {
            let before = row.maybe_text(2)?.zip(row.maybe_int(3)?);
            rows.insert(row.int(0)?, (row.int(1)?, before, row.maybe_int(4)?, row.int(5)?));
        }
        let mut last: HashMap<(i64, &str), i64> = HashMap::new();
        let mut mails = Vec::with_capacity(good.len());
        for &(at, accept) in good {
            let Some((mailbox, before, copies, received_at)) = rows.get(&accept.message) else {
                return Err(StoreError::Refused(format!("message {} does not exist", accept.message)));
            };
            let (base_key, copy) = match before {
                Some(before) => before.clone(),
                None => {
                    let copy = last.entry((*mailbox, &accept.key)).or_insert(copies.unwrap_or(0));
                    *copy += 1;
                    (accept.key.clone(), *copy)
                }
            };
            mails.push(Mail {
                at,
                accept,
                mailbox: *mailbox,
                received_at: *received_at,
                base_key,
                copy,
                joined: Joined::default(),
                interactions: Vec::new(),
                delivered: false,
                is_discarded: false,
            });
        }
        Ok(mails)
    }

    async fn update_messages(&mut self, mails: &[Mail<'_>]) -> Result<(), StoreError> {
        // Columns: id, base key, copy, size, sha256, state, finished_at, mark, beside, thread, whether it is new, basis,
        // subject, kind, how many deliveries, what an answer is made of.
        static UPDATE: Listed = Listed::values(
            "UPDATE messages SET base_key = v.column2, copy = v.column3, size = v.column4, sha256 = v.column5,
               state = v.column6, state_reason = NULL, accepted_at = {fixed}, finished_at = v.column7,
               mark = CASE WHEN messages.mark = 'done' THEN messages.mark ELSE v.column8 END,
               beside = v.column9, thread_id = v.column10, thread_is_new = v.column11, thread_basis = v.column12,
               subject = COALESCE(messages.subject, v.column13), kind = v.column14, fan_out = v.column15,
               answering = v.column16,
               content_dropped_at = NULL, tidied_at = NULL
             FROM (VALUES {rows}) AS v WHERE messages.id = v.column1",
            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let mut rows: Vec<Value> = Vec::with_capacity(mails.len() * 16);
        for mail in mails {
            let (state, finished_at) =
                if mail.delivered { (MessageState::Delivered, Some(self.now)) } else { (MessageState::Accepted, None) };
            rows.extend([mail.accept.message.into(), mail.base_key.as_str().into(), mail.copy.into()]);
            rows.extend([
                i64::try_from(mail.accept.raw.len()).unwrap_or(i64::MAX).into(),
                mail.accept.sha256.as_str().into(),
            ]);
            rows.extend([state.as_str().into(), finished_at.into(), mail.mark().as_str().into()]);
            rows.push(mail.accept.beside.as_deref().into());
            let joined = &mail.joined;
            rows.extend([joined.thread.as_str().into(), i64::from(joined.is_new).into(), joined.basis.as_str().into()]);
            let fan_out = i64::try_from(mail.accept.deliveries.len()).unwrap_or(i64::MAX);
            let subject = mail.accept.subject.as_ref().map(Subject::as_str);
            rows.extend([subject.into(), mail.accept.kind.into(), fan_out.into()]);
            rows.push(mail.accept.answering.as_deref().into());
        }
        self.tx.each(&UPDATE, Some(self.now.into()), rows).await.map(drop)
    }

    async fn note_places(&mut self, mails: &[Mail<'_>]) -> Result<(), StoreError> {
        static UPDATE: Listed = Listed::values(
            "UPDATE messages SET places = v.column2 FROM (VALUES {rows}) AS v WHERE messages.id = v.column1",
            "(?, ?)",
        );
        let placed = mails.iter().filter_map(|it| Some((it.accept.message, it.accept.places.as_deref()?)));
        let rows = placed.flat_map(|(message, places)| [message.into(), places.into()]).collect();
        self.tx.each(&UPDATE, None, rows).await.map(drop)
    }

    async fn insert_contents(&mut self, mails: &[Mail<'_>]) -> Result<(), StoreError> {
        static INSERT: Listed = Listed::values(
            "INSERT INTO contents (message, seq, bytes, sealed)
             SELECT column1, column2, column3, column4 FROM (VALUES {rows}) AS v WHERE column1 IS NOT NULL
             ON CONFLICT (message, seq) DO NOTHING",
            "(?, ?, ?, ?)",
        );
        let mut rows: Vec<Value> = Vec::new();
        let mut size = 0;
        for mail in mails {
            let raw = &mail.accept.raw;
            for (seq, start) in (0_i64..).zip((0..raw.len()).step_by(CHUNK)) {
                let chunk = raw.slice(start..raw.len().min(start + CHUNK));
                if size + chunk.len() > TOGETHER {
                    self.tx.each(&INSERT, None, std::mem::take(&mut rows)).await?;
                    size = 0;
                }
                size += chunk.len();
                rows.extend([mail.accept.message.into(), seq.into()]);
                rows.extend(sealed::shut(self.seal, || sealed::content(mail.accept.message, seq), chunk)?);
            }
        }
        self.tx.each(&INSERT, None, rows).await.map(drop)
    }

    async fn mark_if_due(&mut self, mail: &Mail<'_>) -> Result<(), StoreError> {
        if mail.mark() == Mark::Due {
            let mailbox = self.named(mail.mailbox).await?;
            self.due.add(Work::Mark { mailbox }.due(self.now));
        }
        Ok(())
    }
}
