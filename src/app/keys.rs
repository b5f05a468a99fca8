//! The eye on the keys that content is encrypted with: a file that was replaced, and keys that are in use and not held.

use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::Daemon;
use crate::store::{self, Seal};

/// What seals, where a file with keys is configured.
pub(super) fn seal(config: &store::Config) -> anyhow::Result<Option<Seal>> {
    let Some(file) = &config.encryption_key_file else { return Ok(None) };
    Seal::of_file(file).map(Some).map_err(anyhow::Error::msg).context("store.encryption_key_file")
}

/// How often the file is looked at.
const TURN: Duration = Duration::from_secs(10);
/// After how many turns the other bridges on this store are told again.
const TELL: u32 = 30;

impl Daemon {
    /// Reads the keys anew when their file was replaced, and tells the other bridges which one this one uses.
    pub(super) async fn watch_keys(&self, stop: CancellationToken) {
        let Some(seal) = self.store.seal().cloned() else { return stop.cancelled().await };
        let mut told = None;
        let watching = async {
            for turn in 0_u32.. {
                match seal.refresh() {
                    Ok(true) => {
                        tracing::info!(key = %seal.sealing(), "The keys of store.encryption_key_file were read anew")
                    }
                    Ok(false) => {}
                    Err(reason) if told.as_ref() != Some(&reason) => {
                        tracing::error!(%reason, "store.encryption_key_file cannot be used; what was read before stays in use");
                        told = Some(reason);
                    }
                    Err(_) => {}
                }
                if turn % TELL == 0
                    && let Err(reason) = self.store.say_key().await
                {
                    tracing::warn!(%reason, "The other bridges could not be told which key is in use");
                }
                tokio::time::sleep(TURN).await;
            }
        };
        stop.run_until_cancelled(watching).await;
    }

    /// What is wrong with the keys, if anything is.
    pub(super) async fn key_trouble(&self) -> Option<String> {
        if let Some(trouble) = self.store.seal().and_then(Seal::trouble) {
            return Some(format!("the keys read before stay in use, because {trouble}"));
        }
        // A store that does not answer is told of elsewhere.
        let missing = self.store.missing_keys().await.unwrap_or_default();
        missing.first().map(ToString::to_string)
    }
}
