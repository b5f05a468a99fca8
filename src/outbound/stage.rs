//! Content is stored piece by piece before its submission is accepted, so that nobody holds a large file whole.

use bytes::{Bytes, BytesMut};

use super::{Outbound, Stage};
use crate::store::{PIECE, Store, StoreError};

/// A file on its way into a stage.
pub struct Staging {
    store: Store,
    stage: Stage,
    file: u32,
    next: u32,
    rest: BytesMut,
    size: u64,
}

impl Outbound {
    /// Begins to store content whose submission is not known yet. A stage that no submission takes is forgotten after a
    /// day.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn stage(&self) -> Result<Stage, StoreError> {
        self.store.new_stage().await.map(Stage)
    }

    /// The content of the file with this number: its place among the attachments of the submission.
    pub fn staging(&self, stage: Stage, file: u32) -> Staging {
        Staging { store: self.store.clone(), stage, file, next: 0, rest: BytesMut::new(), size: 0 }
    }

    /// Forgets a stage, because its submission will not come.
    ///
    /// # Errors
    /// It will be forgotten later.
    pub async fn unstage(&self, stage: Stage) -> Result<(), StoreError> {
        self.store.drop_stage(stage.0).await
    }
}

impl Staging {
    /// Adds bytes to the file.
    ///
    /// # Errors
    /// They are not stored: the stage is of no use any more.
    pub async fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let piece = usize::try_from(PIECE).unwrap_or(usize::MAX);
        self.size += bytes.len() as u64;
        let mut bytes = bytes;
        while self.rest.len() + bytes.len() >= piece {
            let (now, later) = bytes.split_at(piece - self.rest.len());
            self.rest.extend_from_slice(now);
            bytes = later;
            let whole = self.rest.split().freeze();
            self.put(whole).await?;
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the file. Returns its size.
    ///
    /// # Errors
    /// Its end is not stored: the stage is of no use any more.
    pub async fn end(mut self) -> Result<u64, StoreError> {
        let rest = self.rest.split().freeze();
        if !rest.is_empty() {
            self.put(rest).await?;
        }
        Ok(self.size)
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), StoreError> {
        self.store.stage_piece(self.stage.0, self.file, self.next, piece).await?;
        self.next += 1;
        Ok(())
    }
}
