//! The rows of a table, portion by portion along its key; and what they come to, whatever their order.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::side::{Column, Side, value};
use super::tables::Table;
use crate::store::error::StoreError;
use crate::store::value::Value;

/// Rows of a portion.
const ROWS: usize = 500;
/// Rows that may hold a quarter of a megabyte each.
const PIECES: usize = 16;
/// Values of a statement: SQLite takes no more than 32,766.
const VALUES: usize = 30_000;

/// A place in a table: the key of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    #[serde(rename = "n")]
    Number(i64),
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "b")]
    Bytes(Vec<u8>),
}

impl Place {
    fn of(table: &Table, columns: &[Column], row: &[Value]) -> Result<Self, StoreError> {
        let part = |name: &&str| {
            let at = columns.iter().position(|(column, _)| column == name);
            match at.and_then(|at| row.get(at)) {
                Some(Value::Int(Some(number))) => Ok(Part::Number(*number)),
                Some(Value::Text(Some(text))) => Ok(Part::Text(text.clone())),
                Some(Value::Bytes(Some(bytes))) => Ok(Part::Bytes(bytes.to_vec())),
                _ => Err(StoreError::Unreadable(format!("a row of {} without its {name}", table.name))),
            }
        };
        table.key.iter().map(part).collect::<Result<_, _>>().map(Self)
    }

    fn values(&self) -> impl Iterator<Item = Value> {
        self.0.iter().map(|part| match part {
            Part::Number(number) => (*number).into(),
            Part::Text(text) => text.as_str().into(),
            Part::Bytes(bytes) => Bytes::copy_from_slice(bytes).into(),
        })
    }
}

/// The next portion after a place, and the place after it; none: that was the last.
pub(super) async fn after(
    side: &mut Side,
    table: &Table,
    columns: &[Column],
    place: Option<&Place>,
) -> Result<Option<(Vec<Vec<Value>>, Place)>, StoreError> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let key = table.key.join(", ");
    let (mut beyond, mut values) = (String::new(), Vec::new());
    if let Some(place) = place {
        let places: Vec<String> = (1..=table.key.len()).map(|n| side.placeholder(n)).collect();
        beyond = format!(" WHERE ({key}) > ({})", places.join(", "));
        values.extend(place.values());
    }
    let most = portion(table, columns.len());
    let sql = format!("SELECT {} FROM {}{beyond} ORDER BY {key} LIMIT {most}", names.join(", "), table.name);
    let rows = side.rows(sql, values).await?;
    let read = |row: &_| columns.iter().enumerate().map(|(at, (_, kind))| value(row, at, *kind)).collect();
    let rows: Vec<Vec<Value>> = rows.iter().map(read).collect::<Result<_, StoreError>>()?;
    let Some(last) = rows.last() else { return Ok(None) };
    let place = Place::of(table, columns, last)?;
    Ok(Some((rows, place)))
}

/// The statement that adds rows, and its values.
pub(super) fn insert(side: &Side, table: &Table, columns: &[Column], rows: Vec<Vec<Value>>) -> (String, Vec<Value>) {
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut next = 0;
    let mut row = || {
        let places: Vec<String> = columns
            .iter()
            .map(|_| {
                next += 1;
                side.placeholder(next)
            })
            .collect();
        format!("({})", places.join(", "))
    };
    let lists: Vec<String> = rows.iter().map(|_| row()).collect();
    let sql = format!(
        "INSERT INTO {} ({}){} VALUES {}",
        table.name,
        names.join(", "),
        side.with_own_number(table),
        lists.join(", ")
    );
    (sql, rows.into_iter().flatten().collect())
}

fn portion(table: &Table, columns: usize) -> usize {
    let most = if table.name.ends_with("contents") || table.name.ends_with("pieces") { PIECES } else { ROWS };
    most.min(VALUES / columns.max(1)).max(1)
}

/// What rows come to, in whatever order they come: their number, and the sum of their digests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: u64,
    digest: [u64; 4],
}

impl Sum {
    pub(super) fn add(&mut self, row: &[Value]) {
        let mut context = Context::new(&SHA256);
        let mut part = |kind: u8, bytes: &[u8]| {
            context.update(&[kind]);
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        for value in row {
            match value {
                Value::Int(Some(number)) => part(1, &number.to_be_bytes()),
                Value::Text(Some(text)) => part(2, text.as_bytes()),
                Value::Bytes(Some(bytes)) => part(3, bytes),
                Value::Int(None) | Value::Text(None) | Value::Bytes(None) => part(0, &[]),
            }
        }
        self.rows += 1;
        for (sum, eight) in self.digest.iter_mut().zip(context.finish().as_ref().chunks_exact(8)) {
            *sum = sum.wrapping_add(eight.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_knows_no_order_and_every_difference() {
        let rows = [vec![Value::from(1), Value::from("a")], vec![Value::from(2), Value::Text(None)]];
        let sum = |rows: &[Vec<Value>]| {
            let mut sum = Sum::default();
            rows.iter().for_each(|row| sum.add(row));
            sum
        };
        let [first, second] = rows.clone();
        assert_eq!(sum(&rows), sum(&[second.clone(), first.clone()]));
        for other in [
            vec![first.clone()],
            vec![first.clone(), first.clone()],
            vec![first.clone(), vec![Value::from(2), Value::from("")]],
            vec![second, vec![Value::from("1"), Value::from("a")]],
        ] {
            assert_ne!(sum(&rows), sum(&other), "{other:?}");
        }
    }

    #[test]
    fn a_place_is_written_down_and_found_again() {
        let table = Table { name: "t", key: &["b", "n"], is_numbered: false };
        let columns =
            [("b".to_owned(), super::super::side::Kind::Bytes), ("n".to_owned(), super::super::side::Kind::Number)];
        let row = vec![Value::from(Bytes::from_static(b"\x00\xff")), Value::from(7)];
        let place = Place::of(&table, &columns, &row).unwrap();
        let written = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<Place>(&written).unwrap().values().collect::<Vec<_>>(), row);
    }
}
