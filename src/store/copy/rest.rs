//! Whether anybody works on the source: looked at before a copy begins, and again just before it ends.
//!
//! Only a server can be worked on by somebody else; a file is locked. Who lives is judged by whether its row changes, by the
//! clock of whoever looks, as replicas judge each other.

use std::time::Duration;

use super::side::Side;
use super::tables::COPIED;
use crate::store::error::StoreError;
use crate::store::replicas::BEAT;

/// A row that did not change for longer than a replica takes to show itself again is that of a dead one.
const SILENT: Duration = Duration::from_secs(BEAT.as_secs() * 3 / 2);
/// How often is looked meanwhile.
const TURN: Duration = Duration::from_secs(1);

/// What changes when somebody works on a source: who shows itself and when, and the last number of each numbered table. A
/// daemon makes jobs due when it starts, and whatever does so takes a number, even where nothing is added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rest {
    replicas: Vec<Replica>,
    numbers: Vec<i64>,
}

/// A replica's number, when it last showed itself, and its name.
type Replica = (i64, i64, String);

/// Makes sure that nobody works on the source.
pub(super) async fn at_rest(source: &mut Side) -> Result<Rest, StoreError> {
    let before = replicas(source).await?;
    let mut silent = Duration::ZERO;
    while !before.is_empty() && silent < SILENT {
        tokio::time::sleep(TURN).await;
        silent += TURN;
        let alive: Vec<String> =
            replicas(source).await?.into_iter().filter(|it| !before.contains(it)).map(|(_, _, name)| name).collect();
        if !alive.is_empty() {
            let alive = alive.join(", ");
            return Err(StoreError::Open(format!("the source is in use by {alive}; stop all of them first")));
        }
    }
    look(source).await
}

/// Makes sure that nobody has worked on it since.
pub(super) async fn still(source: &mut Side, before: &Rest) -> Result<(), StoreError> {
    if look(source).await? == *before {
        return Ok(());
    }
    Err(StoreError::Refused("the source was used while it was copied: stop whoever works on it, and copy again".into()))
}

async fn look(source: &mut Side) -> Result<Rest, StoreError> {
    let mut numbers = Vec::new();
    for table in COPIED.iter().filter(|it| it.is_numbered) {
        numbers.push(source.last_number(table).await?);
    }
    Ok(Rest { replicas: replicas(source).await?, numbers })
}

async fn replicas(source: &mut Side) -> Result<Vec<Replica>, StoreError> {
    // An older version did not write down who lives; that its tables are not those of this one is told elsewhere.
    const THERE: &str = "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass('replicas')";
    if matches!(source, Side::Sqlite(..)) || source.number(THERE.to_owned()).await? == 0 {
        return Ok(Vec::new());
    }
    let rows = source.rows("SELECT number, seen_at, name FROM replicas ORDER BY number".to_owned(), Vec::new()).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?, row.text(2)?))).collect()
}
