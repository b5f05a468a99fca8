//! Random keys of the store's own: made once, kept in a table, the same for every replica and after every restart.

use super::Store;
use super::error::StoreError;
use super::value::Value;
use super::writer::{Op, Writing};

/// How many random bytes a secret has.
const BYTES: usize = 32;

impl Store {
    /// The secret of this name. It is made when it is first asked for, and is the same from then on.
    ///
    /// # Errors
    /// It could be neither read nor made.
    pub async fn secret(&self, name: &'static str) -> Result<[u8; BYTES], StoreError> {
        self.ask(Secret(name)).await
    }
}

/// A secret that may have to be made.
pub(super) struct Secret(&'static str);

impl Op for Secret {
    type Answer = [u8; BYTES];

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<[u8; BYTES]>, StoreError> {
        // Another replica may make it at the same time: whoever comes second reads what the first wrote.
        const INSERT: &str = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        const SELECT: &str = "SELECT value FROM secrets WHERE name = $1";
        let mut secrets = Vec::with_capacity(all.len());
        for Self(name) in all {
            let mut fresh = [0; BYTES];
            aws_lc_rs::rand::fill(&mut fresh)
                .map_err(|_| StoreError::Refused("the operating system gives no random bytes".into()))?;
            writing.tx.rows(INSERT, vec![(*name).into(), Value::Bytes(Some(fresh.to_vec().into()))]).await?;
            let rows = writing.tx.rows(SELECT, vec![(*name).into()]).await?;
            let kept = rows.first().map(|row| row.maybe_bytes(0)).transpose()?.flatten().unwrap_or_default();
            let kept = kept.try_into().map_err(|_| StoreError::Unreadable(format!("the secret {name}")))?;
            secrets.push(kept);
        }
        Ok(secrets)
    }
}
