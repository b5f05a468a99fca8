//! A newer version comes while an older one works: the tables grow under it, mail goes on both ways, and one may even start
//! that does not know all of them.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::api::Api;
use crate::story_replicas::replica;
use crate::world::*;
use crate::world_program::Program;

/// What a version to come does: every table gets a column, another table arrives, and the books know a step more. Each in a
/// transaction of its own that waits for others for a second at most.
async fn grow(database: &str) {
    let mut connection = PgConnection::connect(database).await.unwrap();
    const TABLES: &str = "SELECT relname::text FROM pg_class WHERE relkind = 'r'
         AND relnamespace = 'public'::regnamespace AND relname NOT LIKE '\\_%' ORDER BY 1";
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut connection).await.unwrap();
    assert!(tables.len() > 15, "{tables:?}");
    let mut steps: Vec<String> =
        tables.iter().map(|it| format!("ALTER TABLE {it} ADD COLUMN of_later TEXT NOT NULL DEFAULT 'x'")).collect();
    steps.push("CREATE TABLE of_later (number BIGINT NOT NULL PRIMARY KEY)".into());
    steps.push(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of later', TRUE, '\\x00', 0)"
            .into(),
    );
    for step in steps {
        let begun = Instant::now();
        while !is_taken(&mut connection, &step).await {
            assert!(begun.elapsed() < DEADLINE, "no way to take: {step}");
        }
    }
}

async fn is_taken(connection: &mut PgConnection, step: &str) -> bool {
    let step = format!("BEGIN; SET LOCAL lock_timeout = '1s'; {step}; COMMIT");
    let taken = connection.execute(AssertSqlSafe(step)).await;
    if let Err(error) = &taken {
        let code = error.as_database_error().and_then(|it| it.code().map(|it| it.into_owned()));
        // It has to let others pass, and comes again.
        assert_eq!(code.as_deref(), Some("55P03"), "{error}");
        connection.execute("ROLLBACK").await.unwrap();
    }
    taken.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_that_start_at_once_on_an_empty_database_both_come_up() {
    let Some(world) = World::postgres().await else { return };
    let plan = world.plan();
    let other = replica(&plan);
    let programs =
        [(&plan, "first.toml"), (&other, "second.toml")].map(|(plan, file)| Program::start(plan, &world.path(file)));
    plan.until_ready().await;
    other.until_ready().await;
    plan.until_watching().await;
    let id = world.receives("for either");
    world.until_read(&id).await;
    for program in programs {
        assert_eq!(program.terminate().await, Some(0));
    }
    world.inbox.has_exactly(&["for either"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_replica_goes_on_while_a_newer_one_changes_the_tables_and_may_start_on_them() {
    let Some(world) = World::postgres().await else { return };
    let plan = world.plan().text("telemetry", "log", "info").text("telemetry", "format", "json");
    let plan = plan.value("outbound", "rate_per_minute", "60000");
    let old = Program::start(&plan, &world.path("old.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    let api = Api::of(&plan).await;
    let mut all = Vec::new();
    // Both ways, so that what is prepared was prepared for the tables as they are.
    let flows = async |all: &mut Vec<String>, round: &str| {
        for n in 0..10 {
            let subject = format!("{round} {n}");
            world.receives(&subject);
            let mail = json!({ "from": SUPPORT, "to": ["ann@example.org"], "subject": subject, "text": "t" });
            let answer = api.post("/messages", mail).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            all.push(subject);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    flows(&mut all, "before").await;
    until_so("the first answers to leave", async || world.tenant.sent_count() >= all.len()).await;
    tokio::join!(grow(&world.database.url), flows(&mut all, "meanwhile"));
    flows(&mut all, "after").await;
    for path in ["/messages", "/deliveries", "/mailboxes", "/routes", "/audit?since=1h", "/trace?q=before"] {
        api.found(path).await;
    }

    let another = replica(&plan);
    let started = Program::start(&another, &world.path("another.toml"));
    another.until_ready().await;
    let log = old.log();
    assert_eq!(old.terminate().await, Some(0));
    world.receives("for who started later");
    all.push("for who started later".into());
    let subjects: Vec<&str> = all.iter().map(String::as_str).collect();
    world.inbox.until_has(&subjects).await;
    until_so("all answers to leave", async || world.tenant.sent_count() >= all.len() - 1).await;
    until_so("nothing left to do", async || {
        world.number("SELECT COUNT(*) FROM messages WHERE mark <> 'done'").await == 0
            && world.number("SELECT COUNT(*) FROM submissions WHERE state <> 'sent'").await == 0
    })
    .await;
    assert_eq!(started.terminate().await, Some(0));
    world.inbox.has_exactly(&subjects).await;
    let mut sent: Vec<String> = world.tenant.sent().into_iter().map(|it| it.subject).collect();
    sent.push("for who started later".into());
    sent.sort();
    all.sort();
    assert_eq!(sent, all);
    assert_eq!(world.number("SELECT COUNT(*) FROM jobs WHERE parked_at IS NOT NULL").await, 0);
    let bad: Vec<&String> = log.iter().filter(|it| it.contains("\"level\":\"ERROR\"")).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
