//! A mail goes out: three doors, one path. What was accepted is on disk; job Send brings it to Graph, step by step.

mod offer;
pub mod smtp;

pub use offer::{Answers, Offer, Offered, Receipt, Refused, Stage};

use crate::store::{Store, StoreError};

/// Everything the outbound jobs and doors work with, wired by the roof.
pub struct Outbound {
    /// What is on disk.
    pub store: Store,
}

impl Outbound {
    /// Takes a mail over: it is on disk when this returns.
    ///
    /// # Errors
    /// Nothing of it is stored.
    pub async fn accept(&self, offer: Offer) -> Result<Receipt, Refused> {
        drop(offer);
        self.store.ping().await?;
        Err(Refused::Busy)
    }

    /// Begins to store content whose submission is not known yet.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn stage(&self) -> Result<Stage, StoreError> {
        self.store.ping().await.map(|()| Stage(0))
    }
}
