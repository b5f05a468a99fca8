//! `mailspan delivery …` and `mailspan mailbox …` against a running daemon, as somebody at a terminal uses them.
//!
//! 0: fine. 1: refused, or nobody answers. 2: unusable arguments.

use std::collections::HashSet;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::receiver::Answer;
use crate::said;
use crate::world::{DEADLINE, SUPPORT, TURN, World, until, until_so};
use crate::world_program::Program;

async fn mailspan(file: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailspan"));
    let command = command.args(args).arg("--config").arg(file).env_remove("MAILSPAN_TOKEN_FILE");
    said::printed(command.output().await.unwrap())
}

/// What it prints, when it ends with 0.
async fn fine(file: &Path, args: &[&str]) -> String {
    let output = mailspan(file, args).await;
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it complains, when it ends with this code.
async fn wrong(file: &Path, args: &[&str], code: i32) -> String {
    let output = mailspan(file, args).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(output.stdout.is_empty());
    said
}

async fn listed(file: &Path, args: &[&str]) -> Vec<Value> {
    let args = [&["delivery", "list", "--json"], args].concat();
    serde_json::from_str::<Value>(&fine(file, &args).await).unwrap().as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_deliveries_are_listed_shown_replayed_and_discarded() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Says(500, "tell ann@customer.example".into()));
    let plan = world.bare_plan().mailbox(SUPPORT, "").text("telemetry", "log", "info");
    let plan = plan.route("all", "retry = [\"0s\", \"100ms\"]", &world.inbox);
    let file = world.path("mailspan.toml");
    let mut program = Program::start(&plan, &file);
    plan.until_ready().await;
    plan.until_watching().await;
    let subjects = ["Confidential one", "Confidential two", "Confidential three"];
    subjects.iter().for_each(|it| drop(world.receives(it)));
    let parked = until("three parked deliveries", async || {
        let found = listed(&file, &["--state", "parked"]).await;
        (found.len() == 3).then_some(found)
    })
    .await;
    let id = |at: usize| parked[at]["id"].as_str().unwrap().to_owned();

    let table = fine(&file, &["delivery", "list", "--route", "all", "--limit", "2"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("ID") && lines[1].contains("schedule_used_up"), "{table}");
    let shown = fine(&file, &["delivery", "show", &id(0)]).await;
    assert!(shown.contains("500 Internal Server Error tell [address]") && shown.contains("unavailable"), "{shown}");
    let dry = fine(&file, &["delivery", "replay", "--all", "--dry-run"]).await;
    let matched = dry.lines().find(|it| it.starts_with("matched")).unwrap_or_default();
    assert!(matched.ends_with(" 3") && dry.contains("dry run"), "{dry}");
    let done = fine(&file, &["delivery", "discard", &id(0), "--reason", "not ours"]).await;
    assert!(done.contains("discarded"), "{done}");

    world.inbox.usually_answers(Answer::Status(200));
    fine(&file, &["delivery", "replay", &id(1)]).await;
    fine(&file, &["delivery", "replay", "--since", "1h", "--code", "schedule_used_up"]).await;
    until_so("two accepted deliveries", async || listed(&file, &["--state", "accepted"]).await.len() == 2).await;
    assert_eq!(world.inbox.accepted().len(), 2);
    assert_eq!(listed(&file, &["--state", "discarded", "--since", "24h"]).await.len(), 1);

    // What is refused says why, and what cannot be meant is not sent.
    let said = wrong(&file, &["delivery", "show", "ix_none"], 1).await;
    assert!(said.contains("no such delivery"), "{said}");
    let said = wrong(&file, &["delivery", "replay", &id(1)], 1).await;
    assert!(said.contains("it was accepted"), "{said}");
    for args in [
        &["delivery", "replay"][..],
        &["delivery", "list", "--since", "soon"],
        &["delivery", "list", "--state", "lost"],
        &["delivery", "discard", "ix_1"],
        &["delivery", "discard", "ix_1", "--reason", " "],
        &["delivery", "list", "--server", "ftp://localhost"],
        &["delivery", "list", "--token-file", "/nowhere"],
    ] {
        wrong(&file, args, 2).await;
    }
    program.signal("TERM").await;
    let log = program.until_silent().await;
    assert_eq!(program.ends().await, Some(0));
    assert!(log.iter().any(|line| line.contains("is parked and needs a person")), "{log:#?}");
    for line in &log {
        assert!(!line.contains("Confidential") && !line.contains("customer.example"), "{line}");
    }
    let said = wrong(&file, &["delivery", "list"], 1).await;
    assert!(said.contains("no daemon answers at http://127.0.0.1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_are_paused_and_resumed_with_a_token() {
    let world = World::new().await;
    let token = world.path("token");
    std::fs::write(&token, "first-0123456789abcdef\n").unwrap();
    let tokens = format!("[[api_tokens]]\nname = \"ops\"\ntoken_file = {token:?}\nscopes = [\"read\", \"operate\"]\n");
    let plan = world.plan().more(&tokens);
    let file = world.path("mailspan.toml");
    let program = Program::start(&plan, &file);
    plan.until_ready().await;
    plan.until_watching().await;
    let said = wrong(&file, &["mailbox", "list"], 1).await;
    assert!(said.contains("wants a token") && said.contains("--token-file"), "{said}");
    let with = token.to_str().unwrap().to_owned();
    let with = |args: &[&str]| -> Vec<String> {
        args.iter().map(|it| (*it).to_owned()).chain(["--token-file".to_owned(), with.clone()]).collect()
    };
    let run = async |args: &[&str]| {
        let args = with(args);
        fine(&file, &args.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    assert!(run(&["mailbox", "pause", SUPPORT]).await.contains("true"));
    // The file is replaced, and the new token is the one that counts.
    std::fs::write(&token, "second-0123456789abcdef\n").unwrap();
    let table = run(&["mailbox", "list"]).await;
    assert!(table.contains("paused") && table.contains("by ops"), "{table}");
    world.receives("While paused");
    assert!(run(&["mailbox", "resume", SUPPORT]).await.contains("false"));
    world.inbox.until_has(&["While paused"]).await;
    assert!(run(&["mailbox", "sync", SUPPORT, "--since", "1h"]).await.contains("sweep"));
    assert_eq!(program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_survives_a_kill() {
    for world in [Some(World::sqlite().await), World::postgres().await].into_iter().flatten() {
        world.inbox.usually_answers(Answer::Status(500));
        let plan = world.bare_plan().mailbox(SUPPORT, "").route("all", "retry = [\"0s\", \"100ms\"]", &world.inbox);
        let file = world.path("mailspan.toml");
        let program = Program::start(&plan, &file);
        plan.until_ready().await;
        plan.until_watching().await;
        let mails: Vec<_> = (0..5).map(|it| world.receives(&format!("Mail {it}"))).collect();
        until_so("five parked deliveries", async || listed(&file, &["--state", "parked"]).await.len() == 5).await;
        world.inbox.usually_answers(Answer::Late(std::time::Duration::from_secs(1)));
        fine(&file, &["delivery", "replay", "--all"]).await;
        program.kill().await;

        world.inbox.usually_answers(Answer::Status(200));
        let program = Program::start(&plan, &file);
        plan.until_ready().await;
        let ids = || world.inbox.accepted().into_iter().map(|it| it.id).collect::<HashSet<_>>();
        let all_come = async {
            while ids().len() < 5 {
                tokio::time::sleep(TURN).await;
            }
        };
        // On a server, what the killed one had in hand is free when that has not shown itself for a while.
        assert!(tokio::time::timeout(DEADLINE * 3, all_come).await.is_ok(), "{:#?}", program.log());
        for mail in &mails {
            world.until_read(mail).await;
        }
        assert_eq!(ids().len(), 5, "each under its own id, however often");
        assert!(listed(&file, &["--state", "parked"]).await.is_empty());
        assert_eq!(program.terminate().await, Some(0));
    }
}
