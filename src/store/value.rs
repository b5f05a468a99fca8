//! What goes into a statement and what comes out: numbers, text and bytes, the same on both databases.

use bytes::Bytes;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row as _};

use super::error::StoreError;

/// One bound value. A NULL keeps its type, because PostgreSQL wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Bytes>),
}

impl Value {
    /// NULL of the same type.
    pub(super) fn null(&self) -> Self {
        match self {
            Self::Int(_) => Self::Int(None),
            Self::Text(_) => Self::Text(None),
            Self::Bytes(_) => Self::Bytes(None),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        // PostgreSQL cannot keep U+0000 in text.
        Self::Text(Some(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Text(None), Self::from)
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Text(None), Self::from)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(Some(bytes))
    }
}

macro_rules! arguments {
    ($name:ident, $type:ty) => {
        /// The values as the driver's arguments.
        pub(super) fn $name(values: Vec<Value>) -> Result<$type, StoreError> {
            let mut arguments = <$type>::default();
            for value in values {
                match value {
                    Value::Int(number) => Arguments::add(&mut arguments, number),
                    Value::Text(text) => Arguments::add(&mut arguments, text),
                    Value::Bytes(bytes) => Arguments::add(&mut arguments, bytes.as_deref()),
                }
                .map_err(|error| StoreError::Refused(error.to_string()))?;
            }
            Ok(arguments)
        }
    };
}
arguments!(for_sqlite, SqliteArguments);
arguments!(for_postgres, PgArguments);

/// One row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! column {
    ($(#[$doc:meta])* $name:ident, $type:ty) => {
        $(#[$doc])*
        pub(super) fn $name(&self, column: usize) -> Result<$type, StoreError> {
            Ok(match self {
                Self::Sqlite(row) => row.try_get(column)?,
                Self::Postgres(row) => row.try_get(column)?,
            })
        }
    };
}

impl Row {
    column!(
        /// A number.
        int, i64);
    column!(
        /// A number or NULL.
        maybe_int, Option<i64>);
    column!(
        /// Text.
        text, String);
    column!(
        /// Text or NULL.
        maybe_text, Option<String>);
    column!(
        /// Bytes or NULL.
        maybe_bytes,
        Option<Vec<u8>>
    );

    /// A word that is one of a known few.
    pub(super) fn word<T: std::str::FromStr<Err = StoreError>>(&self, column: usize) -> Result<T, StoreError> {
        self.text(column)?.parse()
    }
}
