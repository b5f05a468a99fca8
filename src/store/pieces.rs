//! Content in pieces: for passing a mail, or a part of it, on without ever holding it whole.

use bytes::Bytes;

use super::Store;
use super::accept::CHUNK;
use super::error::StoreError;

/// The size of every piece of a message's content but the last.
pub const PIECE: u64 = CHUNK as u64;

impl Store {
    /// The content of a message from the byte `at` to the end of the piece that holds it, and no further than `end`.
    /// `None`: it is not stored any more, or never went so far.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn content_from(&self, message: i64, at: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let (seq, within) = (at / PIECE, usize::try_from(at % PIECE).unwrap_or(usize::MAX));
        let Some(piece) = self.content_chunk(message, u32::try_from(seq).unwrap_or(u32::MAX)).await? else {
            return Ok(None);
        };
        let wanted = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let until = piece.len().min(within.saturating_add(wanted));
        Ok((within < until).then(|| piece.slice(within..until)))
    }

    /// What accepting wrote down of where the attachments stand in the content; `None` where it wrote nothing, or the
    /// content is gone.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn places(&self, message: i64) -> Result<Option<String>, StoreError> {
        const SELECT: &str = "SELECT places FROM messages WHERE id = $1";
        let rows = self.db().rows(SELECT, vec![message.into()]).await?;
        Ok(rows.first().map(|row| row.maybe_text(0)).transpose()?.flatten())
    }
}
