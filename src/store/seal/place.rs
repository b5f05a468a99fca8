//! Where something sealed belongs: a table, a row of it, and the piece of that row.

use std::borrow::Cow;

use super::keys::{KEY_ID, KeyId};

/// A place in the store. What was sealed for one cannot be opened in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'a> {
    table: &'static str,
    row: Cow<'a, str>,
    piece: (i64, i64),
}

impl<'a> Place<'a> {
    /// A row that is known by a name.
    pub fn named(table: &'static str, row: &'a str) -> Self {
        Self { table, row: Cow::Borrowed(row), piece: (0, 0) }
    }

    /// A row that is known by a number.
    pub fn numbered(table: &'static str, row: i64) -> Self {
        Self { table, row: Cow::Owned(row.to_string()), piece: (0, 0) }
    }

    /// A piece of the row: which of its files, and which piece of that.
    #[must_use]
    pub fn piece(mut self, file: i64, seq: i64) -> Self {
        self.piece = (file, seq);
        self
    }

    /// What the key of the row is derived from. The table's name holds no NUL, so no two rows are written alike.
    pub(super) fn row_name(&self) -> [&[u8]; 4] {
        [b"row ", self.table.as_bytes(), b"\0", self.row.as_bytes()]
    }

    /// What is bound to the sealed bytes. Of fixed length but for the row, which comes last.
    pub(super) fn bound(&self, version: u8, key: KeyId) -> Vec<u8> {
        let mut bound = Vec::with_capacity(1 + KEY_ID + 16 + self.table.len() + 1 + self.row.len());
        bound.push(version);
        bound.extend_from_slice(key.as_bytes());
        bound.extend_from_slice(&self.piece.0.to_be_bytes());
        bound.extend_from_slice(&self.piece.1.to_be_bytes());
        for part in self.row_name().into_iter().skip(1) {
            bound.extend_from_slice(part);
        }
        bound
    }
}
