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
/// where PostgreSQL locks what it reads. One value may stand outside the list, at `{fixed}`.
pub(super) struct Listed {
    sql: &'static str,
    /// One row of the list; each `?` is the next value of the row.
    row: &'static str,
    between: &'static str,
    texts: [[OnceLock<String>; SIZES]; 2],
}

impl Listed {
    /// A statement over `VALUES` rows such as `(?, ?)`, or over plain values, `?`.
    pub(super) const fn values(sql: &'static str, row: &'static str) -> Self {
        Self::new(sql, row, ", ")
    }

    /// A statement over one sub-select per row.
    pub(super) const fn union(sql: &'static str, row: &'static str) -> Self {
        Self::new(sql, row, " UNION ALL ")
    }

    const fn new(sql: &'static str, row: &'static str, between: &'static str) -> Self {
        Self { sql, row, between, texts: [const { [const { OnceLock::new() }; SIZES] }; 2] }
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
        let columns = self.columns();
        let firsts: Vec<String> = (0..rows).map(|row| format!("${}", row * columns + 1)).collect();
        let mut next = 0;
        let mut row = || -> String {
            let mut row = String::new();
            for c in self.row.chars() {
                match c {
                    '?' => {
                        next += 1;
                        row += &dialect.placeholder(next);
                    }
                    other => row.push(other),
                }
            }
            row
        };
        let list: Vec<String> = (0..rows).map(|_| row()).collect();
        // The fixed value is bound after the list, so the list counts from one.
        self.sql
            .replace("{rows}", &list.join(self.between))
            .replace("{firsts}", &firsts.join(", "))
            .replace("{fixed}", &format!("${}", rows * columns + 1))
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
    fn a_list_is_rounded_up_and_the_fixed_value_comes_after_it() {
        static UPDATE: Listed = Listed::values("UPDATE t SET a = {fixed} FROM (VALUES {rows}) AS v", "(?, ?)");
        let (text, rows) = UPDATE.text(Dialect::Sqlite, 3);
        assert_eq!(rows, 4);
        assert_eq!(text, "UPDATE t SET a = $9 FROM (VALUES (?, ?), (?, ?), (?, ?), (?, ?)) AS v");
        let (text, _) = UPDATE.text(Dialect::Postgres, 2);
        assert_eq!(text, "UPDATE t SET a = $5 FROM (VALUES ($1, $2), ($3, $4)) AS v");
    }

    #[test]
    fn the_first_values_can_stand_alone_as_well() {
        static DELETE: Listed =
            Listed::values("DELETE FROM t WHERE a IN ({firsts}) AND (a, b) IN (VALUES {rows})", "(?, ?)");
        assert_eq!(
            DELETE.text(Dialect::Sqlite, 2).0,
            "DELETE FROM t WHERE a IN ($1, $3) AND (a, b) IN (VALUES (?, ?), (?, ?))"
        );
    }

    #[test]
    fn only_postgres_locks_what_it_reads() {
        static SELECT: Listed = Listed::union("{rows}", "SELECT * FROM (SELECT id FROM t WHERE a = ?{lock}) AS c");
        assert_eq!(SELECT.text(Dialect::Sqlite, 1).0, "SELECT * FROM (SELECT id FROM t WHERE a = ?) AS c");
        assert!(SELECT.text(Dialect::Postgres, 2).0.contains("a = $1 FOR UPDATE SKIP LOCKED) AS c UNION ALL"));
    }

    #[test]
    fn padding_keeps_the_types_of_the_columns() {
        let mut values = vec![Value::from(1), Value::from("a")];
        pad(&mut values, 2, 2);
        assert_eq!(values[2..], [Value::Int(None), Value::Text(None)]);
    }
}
