//! A store copied into another database: every table of it, row by row, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use mailspan::model::work::Lane;
use mailspan::store::copy::{COPIED, NOT_COPIED};
use mailspan::store::{End, Presence, Store, StoreError, copy};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use crate::store_world::*;
use crate::world::until_so;

/// A table's columns: name, type in lower case, whether it may be empty, its place in the key.
type Columns = Vec<(String, String, bool, i64)>;

async fn ask(world: &World, question: &str, columns: usize) -> Vec<Vec<Option<String>>> {
    let question = AssertSqlSafe(question.to_owned());
    if world.is_sqlite() {
        let mut connection = SqliteConnection::connect(&world.url).await.unwrap();
        let rows = sqlx::query(question).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| (0..columns).map(|at| row.get(at)).collect()).collect()
    } else {
        let mut connection = sqlx::PgConnection::connect(&world.url).await.unwrap();
        let rows = sqlx::query(question).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| (0..columns).map(|at| row.get(at)).collect()).collect()
    }
}

async fn columns_of(world: &World, table: &str) -> Columns {
    let question = format!(
        "SELECT name, lower(type), CAST(\"notnull\" AS TEXT), CAST(pk AS TEXT) FROM pragma_table_info('{table}') ORDER BY name"
    );
    let text = |it: &Option<String>| it.clone().unwrap_or_default();
    let rows = ask(world, &question, 4).await;
    let column = |row: &Vec<Option<String>>| {
        let key = text(&row[3]).parse().unwrap();
        (text(&row[0]), text(&row[1]), text(&row[2]) == "0" && key == 0, key)
    };
    rows.iter().map(column).collect()
}

/// Everything in a table, as text, in the order of its key.
async fn dump(world: &World, table: &str, columns: &Columns) -> Vec<Vec<Option<String>>> {
    let shown: Vec<String> = columns
        .iter()
        .map(|(name, kind, ..)| match (kind.as_str(), world.is_sqlite()) {
            ("blob", true) => format!("lower(hex({name}))"),
            ("blob", false) => format!("encode({name}, 'hex')"),
            _ => format!("CAST({name} AS TEXT)"),
        })
        .collect();
    let mut rows = ask(world, &format!("SELECT {} FROM {table}", shown.join(", ")), columns.len()).await;
    rows.sort();
    rows
}

async fn everything(world: &World, known: &World) -> BTreeMap<&'static str, Vec<Vec<Option<String>>>> {
    let mut all = BTreeMap::new();
    for table in COPIED {
        let columns = columns_of(known, table.name).await;
        all.insert(table.name, dump(world, table.name, &columns).await);
    }
    all
}

/// Fills every table with rows of every kind of value, in the words of SQLite.
async fn fill(world: &World, rows: i64) {
    let mut connection = SqliteConnection::connect(&world.url).await.unwrap();
    // Each by itself would wait for the disk.
    let mut all = connection.begin().await.unwrap();
    for table in COPIED {
        let columns = columns_of(world, table.name).await;
        let names: Vec<&str> = columns.iter().map(|it| it.0.as_str()).collect();
        for n in 1..=rows {
            let value = |(name, kind, may_be_empty, key): &(String, String, bool, i64)| match kind.as_str() {
                _ if name == "leased_until" || (*may_be_empty && (n + name.len() as i64) % 3 == 0) => "NULL".to_owned(),
                "integer" if *key > 0 || ["mailbox", "message", "number"].contains(&name.as_str()) => n.to_string(),
                "integer" => (n * 1_000_000_007 - 4_000_000_000).to_string(),
                "blob" => format!("X'{}00ff0a{:04x}'", "00".repeat(usize::try_from(n % 7).unwrap()), n),
                _ => format!("'{name} {n} ä € \u{1f4e7} ''\" \\'"),
            };
            let values: Vec<String> = columns.iter().map(value).collect();
            let insert = format!("INSERT INTO {} ({}) VALUES ({})", table.name, names.join(", "), values.join(", "));
            let written = sqlx::query(AssertSqlSafe(insert.clone())).execute(&mut *all).await;
            written.unwrap_or_else(|it| panic!("{insert}: {it}"));
        }
    }
    all.commit().await.unwrap();
}

#[tokio::test]
async fn the_list_of_tables_is_what_there_is() {
    let sqlite = World::sqlite().await;
    sqlite.open().await.close().await;
    let listed: BTreeSet<String> =
        COPIED.iter().map(|it| it.name).chain(NOT_COPIED.iter().copied()).map(str::to_owned).collect();
    let there = |rows: Vec<Vec<Option<String>>>| rows.into_iter().flatten().flatten().collect::<BTreeSet<String>>();
    let mut in_file = there(
        ask(&sqlite, "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'", 1).await,
    );
    in_file.insert("copying".to_owned());
    assert_eq!(in_file, listed);
    for table in COPIED {
        let mut key: Vec<(i64, String)> =
            columns_of(&sqlite, table.name).await.into_iter().map(|it| (it.3, it.0)).collect();
        key.retain(|it| it.0 > 0);
        key.sort();
        assert_eq!(key.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), table.key, "{}", table.name);
    }
    let Some(postgres) = World::postgres().await else { return };
    postgres.open().await.close().await;
    let tables = "SELECT table_name::TEXT FROM information_schema.tables WHERE table_schema = current_schema()";
    let mut on_server = there(ask(&postgres, tables, 1).await);
    on_server.insert("copying".to_owned());
    assert_eq!(on_server, listed);
    let numbered = "SELECT DISTINCT table_name::TEXT FROM information_schema.columns WHERE is_identity = 'YES'
         AND table_schema = current_schema()";
    let numbered = there(ask(&postgres, numbered, 1).await);
    assert_eq!(numbered, COPIED.iter().filter(|it| it.is_numbered).map(|it| it.name.to_owned()).collect());
}

#[tokio::test]
async fn there_and_back_again_every_row_is_the_same() {
    let (first, last) = (World::sqlite().await, World::sqlite().await);
    let Some(between) = World::postgres().await else { return };
    first.open().await.close().await;
    fill(&first, 1203).await;
    // Numbers beyond the last row were given out and are gone.
    first.execute("INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq) SELECT rowid, name, 5000 FROM sqlite_sequence WHERE name = 'jobs'").await;
    let before = everything(&first, &first).await;
    assert!(before.values().all(|rows| rows.len() == 1203));

    let copied = copy(&first.url, &between.url, START, |_| ()).await.unwrap();
    assert_eq!(copied.rows, 1203 * COPIED.len() as u64);
    assert_eq!(everything(&between, &first).await, before);
    let copied = copy(&between.url, &last.url, START, |_| ()).await.unwrap();
    assert_eq!((copied.tables, copied.rows), (COPIED.len(), 1203 * COPIED.len() as u64));
    assert_eq!(everything(&last, &first).await, before);
    assert_eq!(everything(&first, &first).await, before, "the source is as it was");

    for world in [&between, &last] {
        let store = world.open().await;
        store.enqueue(vec![deliver("new", "new").due(world.now())]).await.unwrap();
        let job = only(&store, &Lane::route("new")).await;
        assert_eq!(job.claim.id, 5001, "no number is given out twice");
        assert!(store.settle(job.claim, End::Done).await.unwrap());
        store.close().await;
    }
}

on_both! {
    async fn what_somebody_had_in_hand_is_due_in_the_copy(world: World) {
        let target = World::sqlite().await;
        let store = world.open().await;
        store.enqueue(vec![deliver("crm", "i0").due(world.now())]).await.unwrap();
        only(&store, &Lane::route("crm")).await;
        store.close().await;
        let copied = copy(&world.url, &target.url, world.now(), |_| ()).await.unwrap();
        assert_eq!(copied.released, 1);
        let store = target.open().await;
        assert_eq!(only(&store, &Lane::route("crm")).await.attempt, 2);
    }

    async fn a_copy_that_was_killed_is_no_store_and_goes_on(target: World) {
        let source = World::sqlite().await;
        source.open().await.close().await;
        fill(&source, 700).await;
        let before = everything(&source, &source).await;
        for killed_at in [1, 3, 9, 25, 60] {
            let mut seen = 0;
            let dies = |_| {
                seen += 1;
                assert!(seen < killed_at, "killed");
            };
            let dying = AssertUnwindSafe(copy(&source.url, &target.url, START, dies)).catch_unwind();
            assert!(dying.await.is_err(), "it lived longer than {killed_at} steps");
            let refused = Store::open(&target.url, target.clock.clone()).await.err().map(|it| it.to_string());
            assert!(refused.as_ref().is_some_and(|it| it.contains("not finished")), "{refused:?}");
        }
        copy(&source.url, &target.url, START, |_| ()).await.unwrap();
        assert_eq!(everything(&target, &source).await, before);
        assert_eq!(everything(&source, &source).await, before);
        target.open().await.close().await;
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Open(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_in_use_or_not_empty_is_refused_in_a_sentence() {
    let (source, target) = (World::sqlite().await, World::sqlite().await);
    let store = source.open().await;
    assert!(refusal(copy(&source.url, &target.url, START, |_| ()).await).contains("in use by another mailspan"));
    store.enqueue(vec![deliver("crm", "i0").due(source.now())]).await.unwrap();
    store.close().await;
    assert!(refusal(copy("sqlite:/nowhere/at/all.db", &target.url, START, |_| ()).await).contains("there is no file"));
    copy(&source.url, &target.url, START, |_| ()).await.unwrap();
    assert!(refusal(copy(&source.url, &target.url, START, |_| ()).await).contains("not empty"));
}

fn shows(name: &str) -> Presence {
    Presence { name: name.into(), version: "1".into(), started_at: 0, configured_at: 0, parts: BTreeMap::new() }
}

#[tokio::test]
async fn who_works_on_a_server_is_found_by_what_he_shows_whatever_his_clock_says() {
    let (Some(server), target) = (World::postgres().await, World::sqlite().await) else { return };
    let store = server.open().await;
    // An hour behind whoever copies, and alive.
    let (living, clock) = (store.clone(), server.clock.clone());
    let beats = tokio::spawn(async move {
        loop {
            // Where one is not taken, the next is.
            let _ = living.beat(shows("mailspan-0")).await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            clock.pass(200);
        }
    });
    until_so("a replica shows itself", async || server.count("SELECT COUNT(*) FROM replicas").await > 0).await;
    let refused = refusal(copy(&server.url, &target.url, server.now() + 3_600_000, |_| ()).await);
    assert!(refused.contains("in use by mailspan-0"), "{refused}");
    beats.abort();
    assert!(beats.await.is_err());
    // What it was about to show is shown, and nothing more comes.
    store.close().await;
    // It was killed a moment ago, and its row is from a time to come.
    server.execute("UPDATE replicas SET seen_at = seen_at + 3600000").await;
    copy(&server.url, &target.url, server.now(), |_| ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_to_work_on_the_source_before_the_copy_is_done_is_noticed() {
    let (Some(server), target) = (World::postgres().await, World::sqlite().await) else { return };
    let store = server.open().await;
    store.enqueue(vec![deliver("crm", "i0").due(server.now())]).await.unwrap();
    let last = COPIED.last().unwrap().name;
    // Both sides of everything were read by then.
    let (mut seen, begins) = (0, tokio::runtime::Handle::current());
    let watch = |progress: mailspan::store::Progress| {
        seen += usize::from(progress.table == last && progress.doing == mailspan::store::Doing::Comparing);
        if seen == 2 {
            let made = store.enqueue(vec![deliver("crm", "i0").due(server.now())]);
            tokio::task::block_in_place(|| begins.block_on(made)).unwrap();
        }
    };
    let refused = copy(&server.url, &target.url, server.now(), watch).await.unwrap_err();
    assert!(refused.to_string().contains("used while it was copied"), "{refused}");
    assert!(Store::open(&target.url, target.clock.clone()).await.is_err(), "the target is no store");
    store.close().await;
    copy(&server.url, &target.url, server.now(), |_| ()).await.unwrap();
    target.open().await.close().await;
}
