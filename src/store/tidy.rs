//! Tidying up: content goes when nobody needs it, records go when they are old, and a message is never forgotten.
//!
//! Its mailbox and immutable id stay, so a mail that lies in its folder for years is not delivered again.

use super::Store;
use super::browser_sign_ins;
use super::error::StoreError;
use super::listed::Listed;
use super::rates;
use super::value::Value;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;

/// A conversation in which nobody wrote for so long is forgotten: a later answer begins another.
const THREADS_KEPT_MS: i64 = 180 * 24 * 3600 * 1000;

/// As much content goes in one transaction: whoever writes meanwhile waits for it.
const TOGETHER: i64 = 64 << 20;

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tidied {
    /// Messages whose content was removed.
    pub contents: u64,
    /// Finished messages whose record was cut down to what knowing them needs.
    pub messages: u64,
    /// What was known of conversations nobody has written in for long, counts that count no more, and sign-ins at the
    /// browser that are over.
    pub threads: u64,
    /// Submissions that ended long ago.
    pub submissions: u64,
    /// Whether large content was left for the next time.
    pub is_cut: bool,
}

impl Store {
    /// Removes the content of delivered messages that need no marking any more and to which no link leads any more, the
    /// records of messages and submissions that ended more than `retain_ms` ago, and conversations long forgotten; at most
    /// `limit` of each kind. Less than `limit` of each: everything is tidy.
    ///
    /// # Errors
    /// Nothing was removed.
    pub async fn tidy(&self, now: UnixMillis, retain_ms: i64, limit: u32) -> Result<Tidied, StoreError> {
        self.ask(Tidy { now, before: now.saturating_sub(retain_ms), limit: limit.into() }).await
    }
}

/// How far to tidy.
pub(super) struct Tidy {
    now: UnixMillis,
    before: UnixMillis,
    limit: i64,
}

impl Op for Tidy {
    type Answer = Tidied;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Tidied>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for tidy in all {
            let (contents, is_cut) = writing.drop_contents(tidy).await?;
            let messages = writing.drop_records(tidy).await?;
            let threads = writing.forget_threads(tidy).await?;
            let submissions = writing.tidy_submissions(tidy.now, tidy.before, tidy.limit).await?;
            answers.push(Tidied { contents, messages, threads, submissions, is_cut });
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    /// How many contents went, and whether some were left because of their size.
    async fn drop_contents(&mut self, tidy: &Tidy) -> Result<(u64, bool), StoreError> {
        // Two questions, an index each: what links keep may be far more than what is to go.
        const UNLINKED: &str =
            "SELECT id, COALESCE(size, 0) FROM messages WHERE state = 'delivered' AND content_dropped_at IS NULL
               AND content_until IS NULL AND mark IN ('never', 'done') ORDER BY id LIMIT $1";
        const EXPIRED: &str =
            "SELECT id, COALESCE(size, 0) FROM messages WHERE content_until <= $1 AND content_until IS NOT NULL
               AND content_dropped_at IS NULL AND state = 'delivered' AND mark IN ('never', 'done')
             ORDER BY content_until LIMIT $2";
        static DROPPED: Listed =
            Listed::values("UPDATE messages SET content_dropped_at = {fixed}, places = NULL WHERE id IN ({rows})", "?");
        let mut found = self.tx.rows(UNLINKED, vec![tidy.limit.into()]).await?;
        let left = tidy.limit - i64::try_from(found.len()).unwrap_or(tidy.limit);
        found.extend(self.tx.rows(EXPIRED, vec![tidy.now.into(), left.into()]).await?);
        let sizes = found.iter().map(|row| Ok((row.int(0)?, row.int(1)?))).collect::<Result<Vec<_>, StoreError>>()?;
        let messages: Vec<Value> = together(&sizes).iter().map(|(id, _)| Value::from(*id)).collect();
        let count = messages.len() as u64;
        self.tx.each(&CONTENTS, None, messages.clone()).await?;
        self.tx.each(&DROPPED, Some(tidy.now.into()), messages).await?;
        Ok((count, count < sizes.len() as u64))
    }

    async fn drop_records(&mut self, tidy: &Tidy) -> Result<u64, StoreError> {
        const SELECT: &str = "SELECT id FROM messages WHERE finished_at < $1 AND tidied_at IS NULL
               AND state IN ('delivered', 'gone', 'filtered') AND mark IN ('never', 'done')
               AND (content_until IS NULL OR content_until <= $3)
             ORDER BY finished_at LIMIT $2";
        static ATTEMPTS: Listed = Listed::values(
            "DELETE FROM attempts WHERE key IN
               (SELECT 'deliver:' || interaction_id FROM deliveries WHERE message IN ({rows}))",
            "?",
        );
        static FETCHES: Listed = Listed::values("DELETE FROM attempts WHERE key IN ({rows})", "?");
        static DELIVERIES: Listed = Listed::values("DELETE FROM deliveries WHERE message IN ({rows})", "?");
        // The key stays as well: a later copy must not get the id of this one.
        static MESSAGES: Listed = Listed::values(
            "UPDATE messages SET conversation_id = NULL, internet_message_id = NULL, state_reason = NULL, sha256 = NULL,
               beside = NULL, places = NULL, thread_id = NULL, thread_is_new = NULL, thread_basis = NULL,
               subject = NULL, kind = NULL, answering = NULL,
               content_dropped_at = COALESCE(content_dropped_at, {fixed}), tidied_at = {fixed}
             WHERE id IN ({rows})",
            "?",
        );
        let messages = self.numbers(SELECT, vec![tidy.before.into(), tidy.limit.into(), tidy.now.into()]).await?;
        let count = messages.len() as u64;
        self.tx.each(&CONTENTS, None, messages.clone()).await?;
        let fetches = messages.iter().filter_map(|it| match it {
            Value::Int(Some(number)) => Some(Value::from(format!("fetch:{number}"))),
            _ => None,
        });
        self.tx.each(&FETCHES, None, fetches.collect()).await?;
        self.tx.each(&ATTEMPTS, None, messages.clone()).await?;
        self.tx.each(&DELIVERIES, None, messages.clone()).await?;
        self.tx.each(&MESSAGES, Some(tidy.now.into()), messages).await?;
        Ok(count)
    }

    async fn forget_threads(&mut self, tidy: &Tidy) -> Result<u64, StoreError> {
        const KEYS: &str = "DELETE FROM thread_keys WHERE key IN
             (SELECT key FROM thread_keys WHERE seen_at < $1 ORDER BY seen_at LIMIT $2) RETURNING 1";
        const THREADS: &str = "DELETE FROM threads WHERE id IN
             (SELECT id FROM threads WHERE seen_at < $1 ORDER BY seen_at LIMIT $2) RETURNING 1";
        const RATES: &str = "DELETE FROM rates WHERE (key, minute) IN
             (SELECT key, minute FROM rates WHERE minute < $1 ORDER BY minute LIMIT $2) RETURNING 1";
        const GAPS: &str = "DELETE FROM gaps WHERE interaction_id IN
             (SELECT interaction_id FROM gaps WHERE parked_at < $1 ORDER BY parked_at LIMIT $2) RETURNING 1";
        const SIGN_INS: &str = "DELETE FROM browser_sign_ins WHERE ticket IN
             (SELECT ticket FROM browser_sign_ins WHERE expires_at < $1 ORDER BY expires_at LIMIT $2) RETURNING 1";
        let unseen_since = tidy.now.saturating_sub(THREADS_KEPT_MS);
        let mut count = 0;
        for (sql, before) in [
            (KEYS, unseen_since),
            (THREADS, unseen_since),
            (GAPS, unseen_since),
            (RATES, rates::first_counted(tidy.now)),
            (SIGN_INS, tidy.now.saturating_sub(browser_sign_ins::KEPT_MS)),
        ] {
            count += self.tx.rows(sql, vec![before.into(), tidy.limit.into()]).await?.len() as u64;
        }
        Ok(count)
    }

    async fn numbers(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Value>, StoreError> {
        self.tx.rows(sql, values).await?.iter().map(|row| row.int(0).map(Value::from)).collect()
    }
}

/// Of messages and their sizes the first few that go in one transaction; one at least.
fn together(sizes: &[(i64, i64)]) -> &[(i64, i64)] {
    let mut bytes = 0_i64;
    let fits = sizes.iter().take_while(|(_, size)| {
        bytes = bytes.saturating_add(*size);
        bytes <= TOGETHER
    });
    &sizes[..fits.count().max(1).min(sizes.len())]
}

static CONTENTS: Listed = Listed::values("DELETE FROM contents WHERE message IN ({rows})", "?");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_content_goes_in_small_portions() {
        let sizes = |sizes: &[i64]| sizes.iter().map(|size| (1, *size)).collect::<Vec<_>>();
        for (all, expected) in
            [(vec![], 0), (vec![1, 2, 3], 3), (vec![150 << 20, 1], 1), (vec![1, 150 << 20], 1), (vec![32 << 20; 5], 2)]
        {
            assert_eq!(together(&sizes(&all)).len(), expected, "{all:?}");
        }
    }
}
