//! Job Tidy: content that every route has accepted goes, and finished records and submissions after their time.
//!
//! The fact that a message is known never goes while the mail may still lie in its folder: it is what keeps a mail
//! from being delivered twice.

use std::time::Duration;

use crate::model::clock::SharedClock;
use crate::model::outcome::{Next, Outcome};
use crate::store::Store;

/// How often there is something to tidy.
const TURN: Duration = Duration::from_secs(60);
/// Messages per transaction, so that tidying never holds the writer for long.
const PER_RUN: u32 = 500;

/// Removes one portion of what nobody needs any more.
///
/// # Errors
/// The store could not answer.
pub async fn tidy(store: &Store, clock: &SharedClock, retain: Duration) -> Outcome {
    let retain_ms = i64::try_from(retain.as_millis()).unwrap_or(i64::MAX);
    let tidied = store.tidy(clock.now(), retain_ms, PER_RUN).await?;
    let full = [tidied.contents, tidied.messages, tidied.threads, tidied.submissions]
        .into_iter()
        .any(|it| it >= u64::from(PER_RUN));
    let full = full || tidied.is_cut;
    if tidied.contents + tidied.messages > 0 {
        tracing::debug!(contents = tidied.contents, messages = tidied.messages, "Finished mail was tidied away");
    }
    Ok(Next::Again { after: if full { Duration::from_millis(200) } else { TURN } })
}
