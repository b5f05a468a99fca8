//! Statements over lists: one text for both databases, prepared once per size.
//!
//! A list becomes rows of placeholders. Its length is rounded up to a power of two with rows of NULLs, which match nothing,
//! so a connection prepares seven texts per statement at most and never one per length.

use std::sync::OnceLock;

use super::db::Dialect;
use super::value::Value;

/// The most rows one statement takes.
pub(super) const MOST: usize = 64;
const SIZES: usize = MOST.trailing_zeros() as usize + 1;

/// A statement with `{rows}` where its list goes, `{firsts}` where only the first value of each row goes, and `{lock}`
/// where PostgreSQL locks what it reads.
pub(super) struct Listed {
    sql: &'static str,
    /// One row of the list; each `?` is the next value of the row.
    row: &'static str,
    between: &'static str,
    /// How many values (`$1`, `$2` …) stand outside the list.
    fixed: usize,
    texts: [[OnceLock<String>; SIZES]; 2],
}

impl Listed {
    /// A statement over `VALUES` rows such as `(?, ?)`.
    pub(super) const fn values(sql: &'static str, fixed: usize, row: &'static str) -> Self {
        Self::new(sql, fixed, row, ", ")
    }

    /// A statement over one sub-select per row.
    pub(super) const fn union(sql: &'static str, fixed: usize, row: &'static str) -> Self {
        Self::new(sql, fixed, row, " UNION ALL ")
    }

    const fn new(sql: &'static str, fixed: usize, row: &'static str, between: &'static str) -> Self {
        Self { sql, row, between, fixed, texts: [const { [const { OnceLock::new() }; SIZES] }; 2] }
    }

    /// How many values a row has.
    pub(super) fn columns(&self) -> usize {
        self.row.matches('?').count()
    }

    /// The text for `rows` rows (at most [`MOST`]), and how many rows it really takes.
    pub(super) fn text(&'static self, dialect: Dialect, rows: usize) -> (&'static str, usize) {
        let taken = rows.clamp(1, MOST).next_power_of_two();
        let size = taken.trailing_zeros() as usize;
        (self.texts[dialect as usize][size].get_or_init(|| self.write(dialect, taken)), taken)
    }

    fn write(&self, dialect: Dialect, rows: usize) -> String {
        let mut next = self.fixed;
        let columns = self.columns();
        let firsts: Vec<String> = (0..rows).map(|row| format!("${}", self.fixed + row * columns + 1)).collect();
        let rows: Vec<String> = (0..rows)
            .map(|_| {
                self.row
                    .chars()
                    .map(|c| match c {
                        '?' => {
                            next += 1;
                            format!("${next}")
                        }
                        other => other.to_string(),
                    })
                    .collect()
            })
            .collect();
        self.sql
            .replace("{rows}", &rows.join(self.between))
            .replace("{firsts}", &firsts.join(", "))
            .replace("{lock}", dialect.lock())
    }
}

/// Fills a list up to `rows` rows of `columns` values with NULLs of the same types.
pub(super) fn pad(values: &mut Vec<Value>, columns: usize, rows: usize) {
    for at in values.len()..rows * columns {
        let null = values[at % columns].null();
        values.push(null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_rounded_up_and_numbered_after_the_fixed_values() {
        static UPDATE: Listed = Listed::values("UPDATE t SET a = $1 FROM (VALUES {rows}) AS v", 1, "(?, ?)");
        let (text, rows) = UPDATE.text(Dialect::Sqlite, 3);
        assert_eq!(rows, 4);
        assert_eq!(text, "UPDATE t SET a = $1 FROM (VALUES ($2, $3), ($4, $5), ($6, $7), ($8, $9)) AS v");
    }

    #[test]
    fn the_first_values_can_stand_alone_as_well() {
        static DELETE: Listed =
            Listed::values("DELETE FROM t WHERE a IN ({firsts}) AND (a, b) IN (VALUES {rows})", 0, "(?, ?)");
        assert_eq!(
            DELETE.text(Dialect::Sqlite, 2).0,
            "DELETE FROM t WHERE a IN ($1, $3) AND (a, b) IN (VALUES ($1, $2), ($3, $4))"
        );
    }

    #[test]
    fn only_postgres_locks_what_it_reads() {
        static SELECT: Listed = Listed::union("{rows}", 0, "SELECT * FROM (SELECT id FROM t WHERE a = ?{lock}) AS c");
        assert_eq!(SELECT.text(Dialect::Sqlite, 1).0, "SELECT * FROM (SELECT id FROM t WHERE a = $1) AS c");
        assert!(SELECT.text(Dialect::Postgres, 2).0.contains("a = $1 FOR UPDATE SKIP LOCKED) AS c UNION ALL"));
    }

    #[test]
    fn padding_keeps_the_types_of_the_columns() {
        let mut values = vec![Value::from(1), Value::from("a")];
        pad(&mut values, 2, 2);
        assert_eq!(values[2..], [Value::Int(None), Value::Text(None)]);
    }
}
