//! The questions of an operator, `mailspan trace` and `mailspan audit`, typed at a running bridge: what they print, and what they exit with.

use std::path::Path;

use tokio::process::Command;

use crate::said;
use crate::world::{Bridge, Plan, SUPPORT, World, until_so};

/// What a command printed and exited with.
struct Printed {
    code: i32,
    out: String,
    complaint: String,
}

/// Types a command.
async fn mailspan(args: &[&str]) -> Printed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailspan"));
    let output = said::printed(command.args(args).env_remove("MAILSPAN_TOKEN_FILE").output().await.unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Printed { code: output.status.code().unwrap(), out: text(output.stdout), complaint: text(output.stderr) }
}

fn server(plan: &Plan) -> String {
    format!("http://{}", plan.admin)
}

fn write(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_and_an_audit_are_printed_and_exit_as_scripts_expect() {
    let world = World::new().await;
    let plan = world.plan().text("sync", "mode", "poll");
    let file = world.path("mailspan.toml");
    plan.write(&file);
    let config = file.display().to_string();
    let bridge = Bridge::start(&plan).await;
    world.receives("Invoice 4711");
    world.inbox.until_has(&["Invoice 4711"]).await;
    until_so("it is delivered", async || {
        world.number("SELECT COUNT(*) FROM messages WHERE state = 'delivered'").await == 1
    })
    .await;

    let found = mailspan(&["trace", "invoice", "--config", &config]).await;
    assert_eq!(found.code, 0, "{}", found.complaint);
    assert!(found.out.starts_with("Invoice 4711  [delivered]\n"), "{}", found.out);
    for said in ["received", "found", "stored", "accepted", "→ all  accepted"] {
        assert!(found.out.contains(said), "{said} in {}", found.out);
    }
    let json = mailspan(&["trace", "invoice", "--json", "--server", &server(&plan)]).await;
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["messages"][0]["subject"], "Invoice 4711");

    let unknown = mailspan(&["trace", "Invoice 4712", "--server", &server(&plan)]).await;
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert!(unknown.complaint.contains("mailspan audit"), "{}", unknown.complaint);
    let empty = mailspan(&["trace", " ", "--server", &server(&plan)]).await;
    assert!(empty.code == 2 && empty.complaint.contains("q is empty"), "{}", empty.complaint);

    let balanced = mailspan(&["audit", "--config", &config, "--hours"]).await;
    assert_eq!(balanced.code, 0, "{}{}", balanced.out, balanced.complaint);
    assert!(balanced.out.contains(&format!("\ncontoso/{SUPPORT}  ")), "{}", balanced.out);
    assert!(balanced.out.ends_with("\nEvery message is accounted for.\n"), "{}", balanced.out);

    world.database.execute("UPDATE deliveries SET accepted_at = NULL").await;
    let missing = mailspan(&["audit", "--mailbox", SUPPORT, "--server", &server(&plan)]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.out.contains("in_the_dark") && missing.out.contains("mailspan mailbox sync"), "{}", missing.out);
    let json = mailspan(&["audit", "--json", "--server", &server(&plan)]).await;
    let report: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, &report["balanced"]), (1, &false.into()));
    for (args, code) in [(["--since", "soon"], 2), (["--mailbox", "nobody@contoso.example"], 1)] {
        let refused = mailspan(&["audit", args[0], args[1], "--server", &server(&plan)]).await;
        assert_eq!((refused.code, refused.out.as_str()), (code, ""), "{}", refused.complaint);
    }
    bridge.stop().await;
    let nobody = mailspan(&["audit", "--server", &server(&plan)]).await;
    assert!(nobody.code == 1 && nobody.complaint.contains("no daemon answers"), "{}", nobody.complaint);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_shows_the_token_it_is_given() {
    let world = World::new().await;
    let token = "reader-0123456789abcdef";
    let tokens = format!("\n[[api_tokens]]\nname = \"reader\"\ntoken = {token:?}\nscopes = [\"read\"]\n");
    let plan = world.plan().more(&tokens);
    let bridge = Bridge::start(&plan).await;
    let server = server(&plan);
    let without = mailspan(&["audit", "--server", &server]).await;
    assert!(without.code == 1 && without.complaint.contains("--token-file"), "{}", without.complaint);
    let (right, wrong) = (write(&world.path("right"), &format!("{token}\n")), write(&world.path("wrong"), "other"));
    for (file, code) in [(right.as_str(), 0), (wrong.as_str(), 1), ("/nonexistent", 2)] {
        let printed = mailspan(&["audit", "--token-file", file, "--server", &server]).await;
        assert_eq!(printed.code, code, "{}", printed.complaint);
        assert!(!printed.complaint.contains(token) && !printed.out.contains(token));
    }
    bridge.stop().await;
}
