//! Job Mark: what was handed over is marked read, categorised and moved, up to twenty messages in one request.
//!
//! Marking twice changes nothing, so a lost answer is simply repeated.

use std::time::Duration;

use super::{Inbound, MarkRead, Watched};
use crate::graph::{GraphError, Update};
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::work::MailboxId;
use crate::store::ToMark;

/// Messages per run of the job: a few full `$batch` requests.
const PER_RUN: u32 = 100;

impl Inbound {
    /// Writes the read state of everything that was handed over.
    ///
    /// # Errors
    /// Graph or the store could not answer for at least one message; the others are done.
    pub async fn mark(&self, mailbox: &MailboxId) -> Outcome {
        let Some(watched) = self.mailboxes.get(mailbox) else {
            return Ok(Next::Done);
        };
        let due = self.store.to_mark(mailbox, PER_RUN).await?;
        if due.is_empty() {
            return Ok(Next::Done);
        }
        let updates = self.updates(watched, &due).await?;
        let answers = watched.graph.update_batch(&watched.config.address, &updates).await;
        let mut done = Vec::with_capacity(due.len());
        let mut failure = None;
        for (message, answer) in due.iter().zip(answers) {
            match answer {
                // Deleted or moved by a person after the hand-over: there is nothing left to mark.
                Ok(()) | Err(GraphError::NotFound(_)) => done.push(message.message),
                // Graph will never do this to this message; the others must not wait for it.
                Err(error @ (GraphError::Refused(_) | GraphError::LeadsElsewhere)) => {
                    tracing::warn!(message = message.message, mailbox = %mailbox, reason = %error, "A message was handed over but cannot be marked");
                    done.push(message.message);
                }
                Err(error) => failure = Some(later(failure, error.into())),
            }
        }
        self.store.marked(done).await?;
        match failure {
            Some(failure) => Err(failure),
            None if due.len() == PER_RUN as usize => Ok(Next::Again { after: Duration::ZERO }),
            None => Ok(Next::Done),
        }
    }

    async fn updates(&self, watched: &Watched, due: &[ToMark]) -> Result<Vec<Update>, Failure> {
        let config = &watched.config;
        let mut updates: Vec<Update> = due
            .iter()
            .map(|it| Update {
                id: it.immutable_id.clone(),
                mark_read: config.mark_read != MarkRead::Never,
                categories: None,
                move_to: config.move_to.clone(),
            })
            .collect();
        if let Some(category) = &config.category {
            // PATCH replaces the whole list, so ours is added to what stands there now.
            let ids: Vec<&str> = due.iter().map(|it| it.immutable_id.as_str()).collect();
            let standing = watched.graph.categories(&config.address, &ids).await;
            for (update, answer) in updates.iter_mut().zip(standing) {
                let mut categories = match answer {
                    Ok(categories) => categories,
                    Err(GraphError::NotFound(_)) => continue,
                    Err(error) => return Err(error.into()),
                };
                if !categories.contains(category) {
                    categories.push(category.clone());
                }
                update.categories = Some(categories);
            }
        }
        Ok(updates)
    }
}

/// Of two failures the one that asks for the longer wait.
fn later(known: Option<Failure>, new: Failure) -> Failure {
    let wait = |failure: &Failure| match failure {
        Failure::Transient { after, .. } => after.unwrap_or_default(),
        Failure::Postponed { after, .. } => *after,
        _ => Duration::ZERO,
    };
    match known {
        Some(known) if wait(&known) >= wait(&new) => known,
        _ => new,
    }
}
