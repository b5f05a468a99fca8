//! The keys in use: what stands sealed in the store, and what bridges on it seal with.
//!
//! So a bridge that was given another key than its neighbours, or whose old key was removed too early, is told at once
//! and not when a mail is due.

use super::Store;
use super::error::StoreError;
use super::seal::KeyId;
use super::value::Row;
use super::writer::{Op, Writing};

/// Who said longer ago than this with which key it seals may have been given another since.
const SAID_LATELY_MS: i64 = 60 * 60 * 1000;

/// A key that is in use and not held here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingKey {
    /// Something in the store is sealed with it.
    Stored(KeyId),
    /// Another bridge on this store seals with it.
    Elsewhere(KeyId),
}

impl std::fmt::Display for MissingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const CURE: &str = "which store.encryption_key_file does not hold; add that key as a further line of the file";
        match self {
            Self::Stored(key) => write!(f, "stored mail is encrypted with the key {key}, {CURE}"),
            Self::Elsewhere(key) => write!(f, "another bridge on this store encrypts with the key {key}, {CURE}"),
        }
    }
}

impl Store {
    /// Says with which key this bridge seals, so that others can tell when theirs is another.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn say_key(&self) -> Result<(), StoreError> {
        match self.seal() {
            Some(seal) => self.ask(SayKey(seal.sealing())).await,
            None => Ok(()),
        }
    }

    /// Keys that are in use in this store and not held here, what is stored first.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn missing_keys(&self) -> Result<Vec<MissingKey>, StoreError> {
        // The next name after one that is known: as many questions as there are keys, each answered by the index alone.
        const CONTENTS: &str = "SELECT MIN(sealed) FROM contents WHERE sealed > $1";
        const PIECES: &str = "SELECT MIN(sealed) FROM submission_pieces WHERE sealed > $1";
        const GRANTS: &str = "SELECT MIN(sealed) FROM grants WHERE sealed > $1";
        const SAID: &str = "SELECT key FROM seals WHERE seen_at > $1 ORDER BY key";
        let mut missing = Vec::new();
        for sql in [CONTENTS, PIECES, GRANTS] {
            let mut last = String::new();
            while let Some(name) = self.first_text(sql, &last).await? {
                let key = key(&name)?;
                if !self.holds(key) && !missing.contains(&MissingKey::Stored(key)) {
                    missing.push(MissingKey::Stored(key));
                }
                last = name;
            }
        }
        let lately = self.0.clock.now().saturating_sub(SAID_LATELY_MS);
        for row in self.db().rows(SAID, vec![lately.into()]).await? {
            let key = key(&row.text(0)?)?;
            if !self.holds(key) && !missing.contains(&MissingKey::Stored(key)) {
                missing.push(MissingKey::Elsewhere(key));
            }
        }
        Ok(missing)
    }

    fn holds(&self, key: KeyId) -> bool {
        self.seal().is_some_and(|seal| seal.holds(key))
    }

    async fn first_text(&self, sql: &'static str, after: &str) -> Result<Option<String>, StoreError> {
        let rows = self.db().rows(sql, vec![after.into()]).await?;
        Ok(rows.first().map(|row: &Row| row.maybe_text(0)).transpose()?.flatten())
    }
}

fn key(name: &str) -> Result<KeyId, StoreError> {
    name.parse().map_err(|()| StoreError::Unreadable("the name of a key".into()))
}

/// A key that a bridge seals with.
pub(super) struct SayKey(KeyId);

impl Op for SayKey {
    type Answer = ();

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<()>, StoreError> {
        const UPSERT: &str = "INSERT INTO seals (key, seen_at) VALUES ($1, $2)
             ON CONFLICT (key) DO UPDATE SET seen_at = excluded.seen_at";
        const FORGET: &str = "DELETE FROM seals WHERE seen_at <= $1";
        for Self(key) in all {
            writing.tx.rows(UPSERT, vec![key.to_string().into(), writing.now.into()]).await?;
        }
        writing.tx.rows(FORGET, vec![(writing.now - SAID_LATELY_MS).into()]).await?;
        Ok(vec![(); all.len()])
    }
}
