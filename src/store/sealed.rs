//! Which columns are sealed where there is a key: content of mail and what leads to uploads of it.
//!
//! A column beside the bytes names the key they are sealed with; NULL: they are not. So rows of before and after a key was
//! set, replaced or removed stand beside each other, and without a key nothing is done.

use bytes::Bytes;

use super::error::StoreError;
use super::seal::{self, Place, Seal, SealError};
use super::value::{Row, Value};

pub(super) use super::seal::open_text;

/// How many bytes a sealed piece is longer.
pub(super) const OVERHEAD: i64 = seal::OVERHEAD as i64;

/// A piece of a message's content.
pub(super) fn content(message: i64, seq: i64) -> Place<'static> {
    Place::numbered("contents", message).piece(0, seq)
}

/// A piece of a submission: under which number it lies, of which file it is, and which it is of that.
pub(super) fn submission((under, file, seq): (i64, i64, i64)) -> Place<'static> {
    Place::numbered("submission_pieces", under).piece(file, seq)
}

/// The upload session of a file of a submission.
pub(super) fn session(number: i64, file: i64) -> Place<'static> {
    Place::numbered("submission_files", number).piece(file, 0)
}

/// Bytes as they are stored, and the name of the key they are sealed with.
pub(super) fn shut(
    seal: Option<&Seal>,
    place: impl FnOnce() -> Place<'static>,
    plain: Bytes,
) -> Result<[Value; 2], StoreError> {
    let Some(seal) = seal else { return Ok([plain.into(), Value::Text(None)]) };
    let sealed = seal.seal(&place(), &plain)?;
    let key = seal::key_of(&sealed)?;
    Ok([Bytes::from(sealed).into(), key.to_string().into()])
}

/// Text as it is stored.
pub(super) fn shut_text(
    seal: Option<&Seal>,
    place: impl FnOnce() -> Place<'static>,
    plain: &str,
) -> Result<String, SealError> {
    seal.map_or_else(|| Ok(plain.to_owned()), |seal| seal.seal_text(&place(), plain))
}

/// Bytes of a row; the column behind them names the key.
pub(super) fn read(
    seal: Option<&Seal>,
    row: &Row,
    column: usize,
    place: impl FnOnce() -> Place<'static>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(bytes) = row.maybe_bytes(column)? else { return Ok(None) };
    match row.maybe_text(column + 1)? {
        None => Ok(Some(bytes)),
        Some(_) => Ok(Some(seal::open_bytes(seal, &place(), bytes)?)),
    }
}
