//! Content read in ranges: a large file passes through memory a range at a time.

use bytes::{Bytes, BytesMut};

use super::{MAIL, Submission, signed};
use crate::store::error::StoreError;
use crate::store::sealed;
use crate::store::{PIECE, Store};

impl Store {
    /// What the draft of a submission is made of. Empty: its content is not kept any more.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn submission_mail(&self, submission: &Submission) -> Result<Bytes, StoreError> {
        self.range(submission.pieces_under(), MAIL, 0, i64::MAX.unsigned_abs()).await
    }

    /// The bytes of one of its files from `at` on, `length` of them or up to its end.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn submission_range(
        &self,
        submission: &Submission,
        file: u32,
        at: u64,
        length: u64,
    ) -> Result<Bytes, StoreError> {
        self.range(submission.pieces_under(), i64::from(file), at, length).await
    }

    pub(super) async fn range(&self, under: i64, file: i64, at: u64, length: u64) -> Result<Bytes, StoreError> {
        const SELECT: &str = "SELECT bytes, sealed, seq FROM submission_pieces WHERE number = $1 AND file = $2
               AND seq >= $3 AND seq <= $4 ORDER BY seq";
        if length == 0 {
            return Ok(Bytes::new());
        }
        let (first, last) = (at / PIECE, at.saturating_add(length - 1) / PIECE);
        let values = vec![under.into(), file.into(), signed(first).into(), signed(last).into()];
        let rows = self.db().rows(SELECT, values).await?;
        let mut whole = BytesMut::new();
        for row in rows {
            let place = (under, file, row.int(2)?);
            let bytes = sealed::read(self.seal(), &row, 0, || sealed::submission(place))?;
            whole.extend_from_slice(&bytes.unwrap_or_default());
        }
        let mut whole = whole.freeze();
        let skipped = usize::try_from(at % PIECE).unwrap_or(usize::MAX).min(whole.len());
        let mut wanted = whole.split_off(skipped);
        wanted.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(wanted)
    }
}
