//! Conversations on disk: read for a group of mails, joined, and written in the same transaction.
//!
//! Two replicas that accept mail of one conversation at the same time see each other: rows that are there are held, and
//! rows that both are about to make collide, which takes one of them back to look again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::accept::Mail;
use super::error::StoreError;
use super::joining::{Key, Known, Row, Thread};
use super::listed::Listed;
use super::messages::key_of_copy;
use super::value::{self, Value};
use super::writer::Writing;
use crate::model::clock::UnixMillis;
use crate::model::thread::{Basis, Clues, Joined, ThreadKey};

/// A mail whose conversation is asked for.
pub(super) struct Asking<'a> {
    /// Conversations do not cross it.
    pub(super) tenant: String,
    /// What may connect it with others.
    pub(super) clues: &'a Clues,
}

impl Writing<'_> {
    /// Puts each mail into its conversation.
    pub(super) async fn join_threads(&mut self, mails: &mut [Mail<'_>]) -> Result<Known, StoreError> {
        let mut asking = Vec::with_capacity(mails.len());
        for mail in mails.iter() {
            asking.push(Asking { tenant: self.named(mail.mailbox).await?.tenant, clues: &mail.accept.clues });
        }
        let mut known = self.know(&asking, None).await?;
        let mut copies = self.read_copies(mails, &known).await?;
        for mail in mails {
            let key = mail.key();
            // The same mail in another mailbox is the same interaction, and says the same.
            if let Some(joined) = copies.get(&key) {
                mail.joined = joined.clone();
                continue;
            }
            let tenant = self.named(mail.mailbox).await?.tenant;
            mail.joined = known.join(&tenant, &mail.accept.clues);
            copies.insert(key, mail.joined.clone());
        }
        Ok(known)
    }

    /// All that is known of the conversations of these mails, and of one that is named besides.
    pub(super) async fn know(&mut self, asking: &[Asking<'_>], named: Option<&str>) -> Result<Known, StoreError> {
        let mut known = Known { now: self.now, ..Known::default() };
        self.read_keys(asking, &mut known).await?;
        self.read_threads(asking, named, &mut known).await?;
        Ok(known)
    }

    /// Puts a mail of ours into the conversation it answers in, else where its header belongs. Returns the conversation.
    pub(super) async fn join_ours(
        &mut self,
        tenant: &str,
        clues: &Clues,
        into: Option<&str>,
    ) -> Result<String, StoreError> {
        let mut known = self.know(&[Asking { tenant: tenant.to_owned(), clues }], into).await?;
        let thread = known.join_ours(tenant, clues, into);
        self.keep_threads(known).await?;
        Ok(thread)
    }

    async fn read_keys(&mut self, asking: &[Asking<'_>], known: &mut Known) -> Result<(), StoreError> {
        static SELECT: Listed = Listed::values(
            "SELECT key, thread, basis, carried_by, seen_at FROM thread_keys WHERE key IN ({rows})",
            "?",
        );
        let asked: BTreeSet<ThreadKey> = asking.iter().flat_map(|it| keys_of(it.clues)).copied().collect();
        for row in self.tx.each(&SELECT, None, asked.iter().map(bytes_of).collect()).await? {
            let key = row.maybe_bytes(0)?.and_then(|it| it.try_into().ok().map(ThreadKey));
            let key = key.ok_or_else(|| StoreError::Unreadable("a key of a conversation".into()))?;
            let kept = Key {
                thread: row.text(1)?,
                basis: basis(&row.text(2)?)?,
                carried_by: row.maybe_text(3)?,
                seen_at: row.int(4)?,
                row: Row::Unchanged,
            };
            known.keys.insert(key, kept);
        }
        Ok(())
    }

    async fn read_threads(
        &mut self,
        asking: &[Asking<'_>],
        named: Option<&str>,
        known: &mut Known,
    ) -> Result<(), StoreError> {
        let pointed: BTreeSet<String> = known.keys.values().map(|it| it.thread.clone()).collect();
        let mut asked = pointed.clone();
        asked.extend(named.map(str::to_owned));
        for clues in asking.iter().map(|it| it.clues) {
            asked.extend(clues.tokens.iter().chain([&clues.fresh, &clues.alone]).cloned());
        }
        while !asked.is_empty() {
            let mut older = BTreeSet::new();
            for (id, thread) in self.threads(&asked).await? {
                older.extend(thread.merged_into.clone().filter(|it| !asked.contains(it)));
                known.threads.insert(id, thread);
            }
            older.retain(|it| !known.threads.contains_key(it));
            asked = older;
        }
        // What was tidied away although a key still points there begins anew under its old id.
        for id in pointed {
            if !known.threads.contains_key(&id) {
                let points = |key: &ThreadKey| known.keys.get(key).is_some_and(|it| it.thread == id);
                let tenant = asking.iter().find(|it| keys_of(it.clues).any(points)).map(|it| it.tenant.as_str());
                let tenant = tenant.ok_or_else(|| StoreError::Unreadable("a conversation of no tenant".into()))?;
                known.threads.insert(id, Thread::new(tenant, self.now));
            }
        }
        Ok(())
    }

    async fn threads(&mut self, ids: &BTreeSet<String>) -> Result<Vec<(String, Thread)>, StoreError> {
        static SELECT: Listed =
            Listed::values("SELECT id, tenant, created_at, merged_into, last FROM threads WHERE id IN ({rows})", "?");
        let list: Vec<Value> = ids.iter().map(|it| it.as_str().into()).collect();
        self.tx.hold_threads(list.clone()).await?;
        let thread = |row: &value::Row| {
            let thread = Thread {
                tenant: row.text(1)?,
                created_at: row.int(2)?,
                merged_into: row.maybe_text(3)?,
                last: read_last(&row.text(4)?)?,
                row: Row::Unchanged,
            };
            Ok((row.text(0)?, thread))
        };
        self.tx.each(&SELECT, None, list).await?.iter().map(thread).collect()
    }

    /// Where messages with the keys of these mails were put, in whichever mailbox.
    async fn read_copies(&mut self, mails: &[Mail<'_>], known: &Known) -> Result<HashMap<String, Joined>, StoreError> {
        static SELECT: Listed = Listed::values(
            "SELECT base_key, copy, thread_id, thread_is_new, thread_basis FROM messages
             WHERE base_key IN ({rows}) AND thread_id IS NOT NULL",
            "?",
        );
        let asked: BTreeSet<&str> =
            mails.iter().filter(|mail| known.may_be_copy(&mail.accept.clues)).map(Mail::base_key).collect();
        let mut copies = HashMap::new();
        for row in self.tx.each(&SELECT, None, asked.into_iter().map(Value::from).collect()).await? {
            let joined = Joined { thread: row.text(2)?, is_new: row.int(3)? != 0, basis: basis(&row.text(4)?)? };
            copies.insert(key_of_copy(&row.text(0)?, row.int(1)?), joined);
        }
        Ok(copies)
    }

    /// Writes what changed.
    pub(super) async fn keep_threads(&mut self, known: Known) -> Result<(), StoreError> {
        self.merge_lines(&known).await?;
        self.insert_threads(&known).await?;
        self.update_threads(&known).await?;
        self.insert_keys(&known).await?;
        self.update_keys(&known).await
    }

    async fn insert_threads(&mut self, known: &Known) -> Result<(), StoreError> {
        static INSERT: Listed = Listed::values(
            "INSERT INTO threads (id, tenant, created_at, seen_at, merged_into, last)
             SELECT column1, column2, {fixed}, {fixed}, column3, column4 FROM (VALUES {rows}) AS v WHERE column1 IS NOT NULL
             ON CONFLICT (id) DO NOTHING RETURNING id",
            "(?, ?, ?, ?)",
        );
        let mut rows: Vec<Value> = Vec::new();
        for (id, thread) in known.threads.iter().filter(|(_, it)| it.row == Row::New) {
            rows.extend([id.as_str().into(), thread.tenant.as_str().into(), thread.merged_into.as_deref().into()]);
            rows.push(written_last(&thread.last)?.into());
        }
        let count = rows.len() / 4;
        all_of(count, self.tx.each(&INSERT, Some(self.now.into()), rows).await?.len())
    }

    async fn update_threads(&mut self, known: &Known) -> Result<(), StoreError> {
        static UPDATE: Listed = Listed::values(
            "UPDATE threads SET seen_at = {fixed}, merged_into = v.column2, last = v.column3
             FROM (VALUES {rows}) AS v WHERE threads.id = v.column1",
            "(?, ?, ?)",
        );
        let mut rows: Vec<Value> = Vec::new();
        for (id, thread) in known.threads.iter().filter(|(_, it)| it.row == Row::Changed) {
            rows.extend([id.as_str().into(), thread.merged_into.as_deref().into()]);
            rows.push(written_last(&thread.last)?.into());
        }
        self.tx.each(&UPDATE, Some(self.now.into()), rows).await.map(drop)
    }

    async fn insert_keys(&mut self, known: &Known) -> Result<(), StoreError> {
        static INSERT: Listed = Listed::values(
            "INSERT INTO thread_keys (key, thread, basis, carried_by, seen_at)
             SELECT column1, column2, column3, column4, {fixed} FROM (VALUES {rows}) AS v WHERE column1 IS NOT NULL
             ON CONFLICT (key) DO NOTHING RETURNING 1",
            "(?, ?, ?, ?)",
        );
        let mut rows: Vec<Value> = Vec::new();
        for (id, key) in known.keys.iter().filter(|(_, it)| it.row == Row::New) {
            rows.extend([bytes_of(id), key.thread.as_str().into(), key.basis.as_str().into()]);
            rows.push(key.carried_by.as_deref().into());
        }
        let count = rows.len() / 4;
        all_of(count, self.tx.each(&INSERT, Some(self.now.into()), rows).await?.len())
    }

    async fn update_keys(&mut self, known: &Known) -> Result<(), StoreError> {
        static UPDATE: Listed = Listed::values(
            "UPDATE thread_keys SET thread = v.column2, carried_by = v.column3, seen_at = {fixed}
             FROM (VALUES {rows}) AS v WHERE thread_keys.key = v.column1",
            "(?, ?, ?)",
        );
        let mut rows: Vec<Value> = Vec::new();
        for (id, key) in known.keys.iter().filter(|(_, it)| it.row == Row::Changed) {
            rows.extend([bytes_of(id), key.thread.as_str().into(), key.carried_by.as_deref().into()]);
        }
        self.tx.each(&UPDATE, Some(self.now.into()), rows).await.map(drop)
    }
}

/// Everything by which a mail may be connected with others.
fn keys_of(clues: &Clues) -> impl Iterator<Item = &ThreadKey> {
    let named = clues.own.iter().chain(&clues.in_reply_to).chain(&clues.references);
    named.chain(&clues.present).chain(&clues.answering)
}

/// Somebody else made one of them since we looked: take everything back and look again.
fn all_of(count: usize, written: usize) -> Result<(), StoreError> {
    if written == count {
        return Ok(());
    }
    Err(StoreError::Contended("a conversation that two mails begin at once".into()))
}

fn bytes_of(key: &ThreadKey) -> Value {
    Bytes::copy_from_slice(&key.0).into()
}

/// How a conversation was recognised, as a column holds it.
pub(super) fn basis(word: &str) -> Result<Basis, StoreError> {
    Basis::parse(word).ok_or_else(|| StoreError::Unreadable("an unknown basis of a conversation".into()))
}

type Last = BTreeMap<String, (String, UnixMillis)>;

fn read_last(text: &str) -> Result<Last, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Unreadable("the last interactions of a conversation".into()))
}

fn written_last(last: &Last) -> Result<String, StoreError> {
    serde_json::to_string(last).map_err(|error| StoreError::Refused(error.to_string()))
}
