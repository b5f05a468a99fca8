//! Stages: content that is stored before its submission is accepted, so that a large file is never held whole.
//!
//! A stage belongs to at most one submission; one that none takes within a day is tidied away.

use bytes::Bytes;

use super::unsigned;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::listed::Listed;
use crate::store::sealed;
use crate::store::value::Value;
use crate::store::writer::{Op, Writing};

impl Store {
    /// A new, empty stage.
    ///
    /// # Errors
    /// There is none.
    pub async fn new_stage(&self) -> Result<i64, StoreError> {
        self.ask(Staging::New).await
    }

    /// Stores a piece of a staged file. Every piece but the last of a file holds exactly [`crate::store::PIECE`] bytes.
    ///
    /// # Errors
    /// It is not stored.
    pub async fn stage_piece(&self, stage: i64, file: u32, seq: u32, bytes: Bytes) -> Result<(), StoreError> {
        self.ask(Staging::Piece { stage, file, seq, bytes }).await.map(drop)
    }

    /// Forgets a stage with all it holds.
    ///
    /// # Errors
    /// It is still there, and will be tidied away.
    pub async fn drop_stage(&self, stage: i64) -> Result<(), StoreError> {
        self.ask(Staging::Drop(stage)).await.map(drop)
    }

    /// How many bytes are staged of each file, by its number.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn staged_sizes(&self, stage: i64) -> Result<Vec<(u32, u64)>, StoreError> {
        const SELECT: &str = "SELECT file,
               CAST(SUM(LENGTH(bytes) - CASE WHEN sealed IS NULL THEN 0 ELSE CAST($2 AS BIGINT) END) AS BIGINT)
             FROM submission_pieces WHERE number = $1 GROUP BY file ORDER BY file";
        let rows = self.db().rows(SELECT, vec![(-stage).into(), sealed::OVERHEAD.into()]).await?;
        rows.iter().map(|row| Ok((u32::try_from(row.int(0)?).unwrap_or(u32::MAX), unsigned(row.int(1)?)))).collect()
    }

    /// The bytes of a staged file from `at` on, `length` of them or up to its end.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn staged_range(&self, stage: i64, file: u32, at: u64, length: u64) -> Result<Bytes, StoreError> {
        self.range(-stage, i64::from(file), at, length).await
    }
}

/// What is done with a stage.
pub(in crate::store) enum Staging {
    New,
    Piece { stage: i64, file: u32, seq: u32, bytes: Bytes },
    Drop(i64),
}

impl Op for Staging {
    type Answer = i64;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<i64>, StoreError> {
        const INSERT: &str = "INSERT INTO submission_stages (at) VALUES ($1) RETURNING number";
        const SELECT: &str = "SELECT 1 FROM submission_stages WHERE number = $1";
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            answers.push(match op {
                Self::New => {
                    let rows = writing.tx.rows(INSERT, vec![writing.now.into()]).await?;
                    rows.first().ok_or_else(|| StoreError::Refused("a stage got no number".into()))?.int(0)?
                }
                Self::Piece { stage, file, seq, bytes } => {
                    if writing.tx.rows(SELECT, vec![(*stage).into()]).await?.is_empty() {
                        return Err(StoreError::Refused("the stage is gone: begin anew".into()));
                    }
                    writing.insert_pieces(-stage, i64::from(*file), i64::from(*seq), bytes).await?;
                    *stage
                }
                Self::Drop(stage) => {
                    if writing.take_stage(*stage).await? {
                        writing.drop_pieces(vec![(-stage).into()]).await?;
                    }
                    *stage
                }
            });
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    /// Takes a stage, so that nobody else does. `false`: it is not there.
    pub(super) async fn take_stage(&mut self, stage: i64) -> Result<bool, StoreError> {
        const DELETE: &str = "DELETE FROM submission_stages WHERE number = $1 RETURNING 1";
        Ok(!self.tx.rows(DELETE, vec![stage.into()]).await?.is_empty())
    }

    /// Removes all content under these numbers.
    pub(super) async fn drop_pieces(&mut self, under: Vec<Value>) -> Result<(), StoreError> {
        static DELETE: Listed = Listed::values("DELETE FROM submission_pieces WHERE number IN ({rows})", "?");
        self.tx.each(&DELETE, None, under).await.map(drop)
    }
}
