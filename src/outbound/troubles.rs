//! What stands in the way of each mailbox's mail just now, as the last attempt there said.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::outcome::Outcome;
use crate::model::work::MailboxId;

/// The last trouble of each mailbox that has any; forgotten with the next attempt that gets on.
/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Mutex<HashMap<MailboxId, String>>>);

impl Troubles {
    /// The trouble of a mailbox, for a person.
    pub fn of(&self, mailbox: &MailboxId) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(mailbox).cloned()
    }

    /// An attempt ended.
    pub(super) fn hear(&self, mailbox: &MailboxId, outcome: &Outcome) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(_) => drop(troubles.remove(mailbox)),
            Err(failure) => drop(troubles.insert(mailbox.clone(), failure.reason().to_owned())),
        }
    }
}
