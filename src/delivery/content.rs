//! A mail for its deliveries: from memory if it was just fetched, else from the store, read by one for all who ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::mail::beside::Beside;
use crate::mail::kept::{KeptMail, Understood};
use crate::model::outcome::Failure;
use crate::model::reason::Code;
use crate::store::{Message, Store};

type Reading = Arc<OnceCell<Arc<Understood>>>;

/// Where deliveries get their mail. Clones share what is being read.
#[derive(Clone)]
pub struct Content {
    /// What was fetched or delivered lately.
    pub kept: Arc<KeptMail>,
    reading: Arc<Mutex<HashMap<i64, Reading>>>,
}

impl Content {
    /// Looks into `kept` before the store.
    pub fn new(kept: Arc<KeptMail>) -> Self {
        Self { kept, reading: Arc::default() }
    }

    /// The mail of this message.
    ///
    /// # Errors
    /// The store could not answer, or the content is gone.
    pub(super) async fn of(&self, store: &Store, message: &Message) -> Result<Arc<Understood>, Failure> {
        if let Some(mail) = self.kept.find(message.id) {
            return Ok(mail);
        }
        let reading = Arc::clone(self.readings().entry(message.id).or_default());
        let mail = reading.get_or_try_init(|| self.read(store, message)).await.cloned();
        self.readings().remove(&message.id);
        mail
    }

    fn readings(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, store: &Store, message: &Message) -> Result<Arc<Understood>, Failure> {
        let raw = store.content(message.id).await?;
        let raw =
            raw.ok_or_else(|| Failure::permanent("the stored content of this mail is gone").coded(Code::Unreadable))?;
        let beside = Beside::read(message.beside.as_deref()).map_err(|error| {
            Failure::permanent(format!("what is stored beside this mail cannot be read: {error}"))
                .coded(Code::Unreadable)
        })?;
        let mail = Arc::new(Understood::read(raw, beside).await?);
        // Another route may be about to ask.
        self.kept.keep(message.id, &mail, 1);
        Ok(mail)
    }
}
