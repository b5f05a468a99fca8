//! Secrets the store makes for itself, each once: the same after every restart and for every replica.
//!
//! They name and sign what leaves the house; they are no passwords of other systems.

use aws_lc_rs::rand;

use super::Store;
use super::error::StoreError;
use super::writer::{Op, Writing};

const BYTES: usize = 32;

impl Store {
    /// The secret of this name, made now if there is none yet.
    ///
    /// # Errors
    /// It could not be read or written.
    pub async fn secret(&self, name: &str) -> Result<[u8; BYTES], StoreError> {
        self.ask(OwnSecret(name.to_owned())).await
    }
}

/// A secret that may have to be made.
pub(super) struct OwnSecret(String);

impl Op for OwnSecret {
    type Answer = [u8; BYTES];

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<[u8; BYTES]>, StoreError> {
        const INSERT: &str = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        const SELECT: &str = "SELECT value FROM secrets WHERE name = $1";
        let mut secrets = Vec::with_capacity(all.len());
        for Self(name) in all {
            let mut made = vec![0; BYTES];
            rand::fill(&mut made).map_err(|_| StoreError::Refused("there is no randomness to be had".into()))?;
            let values = vec![name.as_str().into(), bytes::Bytes::from(made).into()];
            writing.tx.rows(INSERT, values).await?;
            let rows = writing.tx.rows(SELECT, vec![name.as_str().into()]).await?;
            let kept = rows.first().map(|row| row.maybe_bytes(0)).transpose()?.flatten().unwrap_or_default();
            let secret = kept.try_into().map_err(|_| StoreError::Unreadable("a secret of another length".into()))?;
            secrets.push(secret);
        }
        Ok(secrets)
    }
}
