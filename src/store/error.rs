//! What the store can answer instead of a result, and the one place where a database's refusal becomes that answer.
//!
//! No error carries a value that was bound to a statement: keys and facts hold addresses.

use std::time::Duration;

use super::seal::SealError;
use crate::model::outcome::Failure;
use crate::model::reason::{Code, Reason};

/// How long to wait for a key that is not held.
const WITHOUT_KEY: Duration = Duration::from_secs(60);

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be opened; the text says what to change.
    #[error("the store cannot be opened: {0}")]
    Open(String),
    /// The database is out of reach, busy or full right now. Nothing is known to have changed; ask again later.
    #[error("the database cannot be used right now: {0}")]
    Unavailable(String),
    /// Two writers stood in each other's way. Ask again at once.
    #[error("another writer was in the way: {0}")]
    Contended(String),
    /// The database refused. Asking again cannot help.
    #[error("the database refused: {0}")]
    Refused(String),
    /// A row holds what this version cannot read.
    #[error("the store holds what this version cannot read: {0}")]
    Unreadable(String),
    /// It is sealed with a key that is not held. Nothing is lost: with the key it can be read again.
    #[error("{0}")]
    Sealed(SealError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed another time.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Contended(_))
    }

    /// Whether the store has told of it by itself: it says once that nothing can be written, and once when it can again.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// How long a job waits that found no store. Until there is one again, none is claimed.
const ASIDE: Duration = Duration::from_secs(1);

impl From<StoreError> for Failure {
    /// A store that does not answer is nobody's mail's fault: no attempt is counted, and none is parked. Nor is it one that
    /// lacks a key.
    fn from(error: StoreError) -> Self {
        if let StoreError::Sealed(_) = error {
            let reason = Reason::new(Code::Misconfigured, format!("store: {error}"));
            return Self::Postponed { reason, after: WITHOUT_KEY };
        }
        let reason = format!("store: {error}");
        match error.may_pass() {
            true => Self::Postponed { reason: reason.into(), after: ASIDE },
            false => Self::transient(reason),
        }
        .coded(Code::StoreUnavailable)
    }
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::UnknownKey(_) => Self::Sealed(error),
            SealError::Damaged | SealError::Unknown => Self::Unreadable(error.to_string()),
            SealError::NoRandomness => Self::Refused(error.to_string()),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    /// The one place where a refusal by a database becomes a decision.
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(refusal) => {
                // Only the message: the detail of a PostgreSQL error shows the row.
                let text = refusal.message().to_owned();
                match refusal.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                    Some(postgres) => from_postgres(postgres.code(), text),
                    None => from_sqlite(refusal.code().as_deref(), text),
                }
            }
            E::PoolClosed => Self::Closed,
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::WorkerCrashed | E::BeginFailed => {
                Self::Unavailable(error.to_string())
            }
            E::ColumnDecode { .. } | E::Decode(_) | E::ColumnNotFound(_) | E::ColumnIndexOutOfBounds { .. } => {
                Self::Unreadable(error.to_string())
            }
            other => Self::Refused(other.to_string()),
        }
    }
}

/// By class of SQLSTATE (postgresql.org/docs/current/errcodes-appendix.html).
fn from_postgres(code: &str, text: String) -> StoreError {
    match code {
        // Serialization failure, deadlock, lock not available; a unique key taken between our look and our write.
        // A statement that was too slow or was cancelled by a person, or a transaction that was ended because this process
        // stood still in its middle: the database is there, so nobody else need wait.
        "40001" | "40P01" | "55P03" | "23505" | "57014" | "25P03" | "25P04" => StoreError::Contended(text),
        // A server that became a standby.
        "25006" => StoreError::Unavailable(text),
        // A session that is not ours: what was prepared in another is not there, or a stranger's is.
        "26000" | "42P05" => StoreError::Unavailable(format!(
            "{text}; a connection pooler in transaction mode seems to stand between: add pooler=transaction to store.url"
        )),
        _ if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => StoreError::Unavailable(text),
        _ => StoreError::Refused(text),
    }
}

/// By primary result code (sqlite.org/rescode.html).
fn from_sqlite(code: Option<&str>, text: String) -> StoreError {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const READONLY: i32 = 8;
    const IOERR: i32 = 10;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    match code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff) {
        Some(BUSY | LOCKED | READONLY | IOERR | FULL | CANTOPEN) => StoreError::Unavailable(text),
        _ => StoreError::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_whether_to_ask_again() {
        for (code, passes) in
            [("40P01", true), ("57P01", true), ("53300", true), ("25006", true), ("25P03", true), ("22P02", false)]
        {
            assert_eq!(from_postgres(code, String::new()).may_pass(), passes, "{code}");
        }
        for (code, passes) in [("5", true), ("261", true), ("13", true), ("19", false), ("2067", false)] {
            assert_eq!(from_sqlite(Some(code), String::new()).may_pass(), passes, "{code}");
        }
    }
}
