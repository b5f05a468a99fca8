//! One side of a copy: a single connection, and the few statements that a copy needs, in words both databases know.
//!
//! Nothing is prepared and nothing outlives a transaction, so a pooler may stand between.

use std::fs::File;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use super::tables::{COPIED, NOT_COPIED, Table};
use crate::store::error::StoreError;
use crate::store::value::{Row, Value, for_postgres, for_sqlite};

/// An open database.
pub(in crate::store) enum Side {
    /// A file, and the lock that keeps everybody else away from it.
    Sqlite(SqliteConnection, File),
    /// A server.
    Postgres(PgConnection),
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
    Bytes,
}

/// A column, by name and kind.
pub(super) type Column = (String, Kind);

impl Side {
    /// Runs a statement and returns what it answers.
    pub(super) async fn rows(&mut self, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let sql = AssertSqlSafe(sql);
        Ok(match self {
            Self::Sqlite(connection, _) => {
                let query = sqlx::query_with(sql, for_sqlite(values)?).persistent(false);
                query.fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                // In a transaction, for both halves of a statement must meet one session.
                let mut tx = connection.begin().await?;
                let query = sqlx::query_with(sql, for_postgres(values)?).persistent(false);
                let rows = query.fetch_all(&mut *tx).await?;
                tx.commit().await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Runs statements with their values, all of them or none.
    pub(super) async fn together(&mut self, statements: Vec<(String, Vec<Value>)>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection, _) => {
                let mut tx = connection.begin().await?;
                for (sql, values) in statements {
                    let query = sqlx::query_with(AssertSqlSafe(sql), for_sqlite(values)?).persistent(false);
                    query.execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
            Self::Postgres(connection) => {
                let mut tx = connection.begin().await?;
                tx.execute("SET LOCAL statement_timeout = 0").await?;
                for (sql, values) in statements {
                    let query = sqlx::query_with(AssertSqlSafe(sql), for_postgres(values)?).persistent(false);
                    query.execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// The one number that a question is answered with.
    pub(super) async fn number(&mut self, sql: String) -> Result<i64, StoreError> {
        let rows = self.rows(sql, Vec::new()).await?;
        rows.first().map_or(Ok(0), |row| row.int(0))
    }

    /// The tables that are there.
    pub(super) async fn tables(&mut self) -> Result<Vec<String>, StoreError> {
        let sql = match self {
            Self::Sqlite(..) => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            }
            Self::Postgres(_) => {
                // A view, such as a hoster's statistics, is nothing to copy.
                "SELECT table_name::TEXT FROM information_schema.tables
                 WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
            }
        };
        self.rows(sql.to_owned(), Vec::new()).await?.iter().map(|row| row.text(0)).collect()
    }

    /// No table that nobody knows how to copy, and none missing.
    pub(super) async fn is_known(&mut self) -> Result<(), StoreError> {
        let there = self.tables().await?;
        let known = |name: &str| COPIED.iter().any(|it| it.name == name) || NOT_COPIED.contains(&name);
        if let Some(strange) = there.iter().find(|it| !known(it)) {
            return Err(StoreError::Open(format!(
                "the table {strange} is none of a store's; give the store a database of its own"
            )));
        }
        match COPIED.iter().find(|it| !there.iter().any(|there| there == it.name)) {
            Some(missing) => Err(StoreError::Open(format!(
                "the table {} is missing: it is no store of this version; start this version on it once, and stop it",
                missing.name
            ))),
            None => Ok(()),
        }
    }

    /// A table's columns, by name.
    pub(super) async fn columns(&mut self, table: &Table) -> Result<Vec<Column>, StoreError> {
        let sql = match self {
            Self::Sqlite(..) => {
                format!("SELECT name, lower(type) FROM pragma_table_info('{}') ORDER BY name", table.name)
            }
            Self::Postgres(_) => format!(
                "SELECT column_name::TEXT, data_type::TEXT FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name = '{}' ORDER BY column_name COLLATE \"C\"",
                table.name
            ),
        };
        let column = |row: &Row| {
            let (name, kind) = (row.text(0)?, row.text(1)?);
            let kind = match kind.as_str() {
                "integer" | "bigint" => Kind::Number,
                "text" => Kind::Text,
                "blob" | "bytea" => Kind::Bytes,
                _ => {
                    return Err(StoreError::Open(format!(
                        "{}.{name} holds {kind}, which cannot be copied",
                        table.name
                    )));
                }
            };
            Ok((name, kind))
        };
        self.rows(sql, Vec::new()).await?.iter().map(column).collect()
    }

    /// The last number that was given out in a numbered table.
    pub(super) async fn last_number(&mut self, table: &Table) -> Result<i64, StoreError> {
        let (name, key) = (table.name, table.key[0]);
        let never_again = self.never_again(table).await?;
        let sql = match self {
            Self::Sqlite(..) if never_again => {
                format!("SELECT COALESCE((SELECT MAX(seq) FROM sqlite_sequence WHERE name = '{name}'), 0)")
            }
            Self::Sqlite(..) => format!("SELECT COALESCE(MAX({key}), 0) FROM {name}"),
            Self::Postgres(_) => {
                let find = format!("SELECT pg_get_serial_sequence('{name}', '{key}')");
                let sequence =
                    self.rows(find, Vec::new()).await?.first().map_or(Ok(String::new()), |row| row.text(0))?;
                format!("SELECT CASE WHEN is_called THEN last_value ELSE 0::BIGINT END FROM {sequence}")
            }
        };
        self.number(sql).await
    }

    /// What makes a numbered table go on after this number.
    pub(super) async fn go_on_after(&mut self, table: &Table, number: i64) -> Result<Vec<String>, StoreError> {
        let (name, key) = (table.name, table.key[0]);
        let never_again = self.never_again(table).await?;
        Ok(match self {
            Self::Postgres(_) => {
                vec![format!(
                    "SELECT setval(pg_get_serial_sequence('{name}', '{key}'), {}, {})",
                    number.max(1),
                    number > 0
                )]
            }
            Self::Sqlite(..) if never_again => vec![
                format!("DELETE FROM sqlite_sequence WHERE name = '{name}'"),
                format!("INSERT INTO sqlite_sequence (name, seq) VALUES ('{name}', {number})"),
            ],
            Self::Sqlite(..) => Vec::new(),
        })
    }

    /// Whether SQLite remembers the numbers of rows that are gone.
    async fn never_again(&mut self, table: &Table) -> Result<bool, StoreError> {
        if matches!(self, Self::Postgres(_)) {
            return Ok(true);
        }
        let sql = format!(
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '{}' AND sql LIKE '%AUTOINCREMENT%'",
            table.name
        );
        Ok(self.number(sql).await? > 0)
    }

    /// The `n`-th value of a statement.
    pub(super) fn placeholder(&self, n: usize) -> String {
        match self {
            Self::Sqlite(..) => "?".to_owned(),
            Self::Postgres(_) => format!("${n}"),
        }
    }

    /// What lets a row bring its own number.
    pub(super) fn with_own_number(&self, table: &Table) -> &'static str {
        match self {
            Self::Postgres(_) if table.is_numbered => " OVERRIDING SYSTEM VALUE",
            _ => "",
        }
    }

    pub(super) async fn close(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection, only) => {
                connection.close().await?;
                drop(only);
            }
            Self::Postgres(connection) => connection.close().await?,
        }
        Ok(())
    }
}

/// A row's value of this kind.
pub(super) fn value(row: &Row, at: usize, kind: Kind) -> Result<Value, StoreError> {
    Ok(match kind {
        Kind::Number => Value::Int(row.maybe_int(at)?),
        Kind::Text => Value::Text(row.maybe_text(at)?),
        Kind::Bytes => Value::Bytes(row.maybe_bytes(at)?.map(Into::into)),
    })
}
