//! Copying a whole store into another database, in either direction: all of it and nothing twice, or it is not there.
//!
//! The source is only read. Until everything is in the target and was compared, a mark in it keeps it from being used as a
//! store; a copy that was interrupted goes on where it was.

mod rest;
mod rows;
mod side;
mod tables;

use std::collections::HashMap;

use super::error::StoreError;
use super::open;
use super::value::Value;
use crate::model::clock::UnixMillis;
use rows::{Place, Sum};
use side::Column;
pub(super) use side::Side;
pub use tables::{COPIED, NOT_COPIED, Table};

/// The table that says that a copy is not finished.
pub(super) const MARK: &str = "copying";

/// How far a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub doing: Doing,
    /// Of which table.
    pub table: &'static str,
    /// How many of its rows are done.
    pub rows: u64,
    /// How many it has.
    pub of: u64,
}

/// What a copy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Rows are copied.
    Copying,
    /// Both sides are compared.
    Comparing,
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Tables.
    pub tables: usize,
    /// Rows of all of them.
    pub rows: u64,
    /// Jobs that somebody had in hand who is no more; they are due now.
    pub released: u64,
}

/// Copies everything from one database into another, which must be empty or hold an interrupted copy of the same source.
///
/// # Errors
/// The source is in use, the target is not empty, or something stands in the way: the text says what to do. Neither was
/// harmed, and the target is no store yet.
pub async fn copy(
    from: &str,
    to: &str,
    now: UnixMillis,
    mut watch: impl FnMut(Progress) + Send,
) -> Result<Copied, StoreError> {
    let mut source = open::to_read(from).await?;
    if source.tables().await?.iter().any(|it| it == MARK) {
        return Err(unfinished("the source"));
    }
    source.is_known().await?;
    let rest = rest::at_rest(&mut source).await?;
    let mut target = open::for_copy(to).await?;
    target.is_known().await?;
    let mut places = mark(&mut target, &name_of(from)).await?;
    let mut copied = Copied::default();
    for table in COPIED {
        let columns = columns(&mut source, &mut target, table).await?;
        let all = source.number(format!("SELECT COUNT(*) FROM {}", table.name)).await?.unsigned_abs();
        let there = target.number(format!("SELECT COUNT(*) FROM {}", table.name)).await?.unsigned_abs();
        let mut progress = Progress { doing: Doing::Copying, table: table.name, rows: there, of: all };
        let mut place = places.remove(table.name);
        watch(progress.clone());
        while let Some((rows, next)) = rows::after(&mut source, table, &columns, place.as_ref()).await? {
            progress.rows += rows.len() as u64;
            let note = note(&target, table, &next)?;
            let insert = rows::insert(&target, table, &columns, rows);
            target.together(vec![insert, note]).await?;
            place = Some(next);
            watch(progress.clone());
        }
        copied.tables += 1;
    }
    for table in COPIED {
        copied.rows += compare(&mut source, &mut target, table, &mut watch).await?;
    }
    rest::still(&mut source, &rest).await?;
    copied.released = finish(&mut source, &mut target, now).await?;
    source.close().await?;
    target.close().await?;
    Ok(copied)
}

/// Why a target cannot be used as a store.
pub(super) fn unfinished(place: &str) -> StoreError {
    StoreError::Open(format!(
        "{place} holds a copy that is not finished: run `mailspan store copy` with the same two places again, or remove it"
    ))
}

/// A source as the mark names it: without what may be secret.
fn name_of(url: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return url.to_owned() };
    // A file has neither.
    let _ = parsed.set_password(None);
    parsed.set_query(None);
    parsed.to_string()
}

/// Marks the target as unfinished, if it is empty; returns how far an interrupted copy of the same source came.
async fn mark(target: &mut Side, source: &str) -> Result<HashMap<&'static str, Place>, StoreError> {
    if target.tables().await?.iter().any(|it| it == MARK) {
        let rows = target.rows(format!("SELECT name, place FROM {MARK}"), Vec::new()).await?;
        let mut places = HashMap::new();
        for row in &rows {
            let (name, place) = (row.text(0)?, row.text(1)?);
            match COPIED.iter().find(|it| it.name == name) {
                Some(table) => {
                    let place = serde_json::from_str(&place);
                    places.insert(table.name, place.map_err(|_| StoreError::Unreadable("the mark of a copy".into()))?);
                }
                None if place != source => {
                    return Err(StoreError::Open(format!(
                        "the target holds an unfinished copy of {place}; empty it first"
                    )));
                }
                None => {}
            }
        }
        return Ok(places);
    }
    for table in COPIED {
        if target.number(format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS one", table.name)).await? > 0 {
            return Err(StoreError::Open("the target is not empty: a copy goes into a database of its own".into()));
        }
    }
    let insert =
        format!("INSERT INTO {MARK} (name, place) VALUES ({}, {})", target.placeholder(1), target.placeholder(2));
    let create = format!("CREATE TABLE {MARK} (name TEXT NOT NULL PRIMARY KEY, place TEXT NOT NULL)");
    target.together(vec![(create, Vec::new()), (insert, vec!["from".into(), source.into()])]).await?;
    Ok(HashMap::new())
}

/// The statement that notes how far a table is copied.
fn note(target: &Side, table: &Table, place: &Place) -> Result<(String, Vec<Value>), StoreError> {
    let place = serde_json::to_string(place).map_err(|error| StoreError::Refused(error.to_string()))?;
    let sql = format!(
        "INSERT INTO {MARK} (name, place) VALUES ({}, {}) ON CONFLICT (name) DO UPDATE SET place = excluded.place",
        target.placeholder(1),
        target.placeholder(2)
    );
    Ok((sql, vec![table.name.into(), place.into()]))
}

/// The columns of a table, which must be the same on both sides.
async fn columns(source: &mut Side, target: &mut Side, table: &Table) -> Result<Vec<Column>, StoreError> {
    let (there, here) = (source.columns(table).await?, target.columns(table).await?);
    if there != here {
        return Err(StoreError::Open(format!(
            "the table {} is not the same on both sides; start this version on the source once, and stop it",
            table.name
        )));
    }
    Ok(there)
}

/// Reads a table on both sides and compares what it comes to. Returns its rows.
async fn compare(
    source: &mut Side,
    target: &mut Side,
    table: &Table,
    watch: &mut (impl FnMut(Progress) + Send),
) -> Result<u64, StoreError> {
    let columns = columns(source, target, table).await?;
    let mut sums = [Sum::default(); 2];
    for (sum, side) in sums.iter_mut().zip([&mut *source, &mut *target]) {
        let all = side.number(format!("SELECT COUNT(*) FROM {}", table.name)).await?.unsigned_abs();
        let mut place = None;
        while let Some((rows, next)) = rows::after(side, table, &columns, place.as_ref()).await? {
            rows.iter().for_each(|row| sum.add(row));
            place = Some(next);
            watch(Progress { doing: Doing::Comparing, table: table.name, rows: sum.rows, of: all });
        }
    }
    let [there, here] = sums;
    if there != here {
        return Err(StoreError::Refused(format!(
            "{} is not the same on both sides ({} rows and {}): somebody wrote to one of them meanwhile; empty the target and \
             copy again",
            table.name, there.rows, here.rows
        )));
    }
    Ok(there.rows)
}

/// Makes the target a store: numbers go on where they were, leases of the dead are over, and the mark goes; all at once.
async fn finish(source: &mut Side, target: &mut Side, now: UnixMillis) -> Result<u64, StoreError> {
    let mut statements = Vec::new();
    for table in COPIED.iter().filter(|it| it.is_numbered) {
        let last = source.last_number(table).await?;
        statements.extend(target.go_on_after(table, last).await?);
    }
    let held = "SELECT COUNT(*) FROM jobs WHERE leased_until IS NOT NULL AND parked_at IS NULL";
    let released = target.number(held.to_owned()).await?.unsigned_abs();
    statements.push(format!(
        "UPDATE jobs SET leased_until = NULL, again_at = NULL, holder = NULL,
           due_at = CASE WHEN again_at < {now} THEN again_at ELSE {now} END
         WHERE leased_until IS NOT NULL AND parked_at IS NULL"
    ));
    statements.push(format!("DROP TABLE {MARK}"));
    target.together(statements.into_iter().map(|it| (it, Vec::new())).collect()).await?;
    Ok(released)
}
