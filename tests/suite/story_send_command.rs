//! `mailspan send` against a running daemon, as somebody at a terminal or a script uses it.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::said;
use crate::world::{SUPPORT, World};
use crate::world_program::Program;

async fn send(file: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mailspan"))
        .arg("send")
        .args(args)
        .arg("--config")
        .arg(file)
        .env_remove("MAILSPAN_TOKEN_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    // Who refuses its arguments reads no input.
    let _ = to.write_all(input.as_bytes()).await;
    drop(to);
    said::printed(child.wait_with_output().await.unwrap())
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_sent_from_a_file_or_from_standard_input() {
    let world = World::new().await;
    let plan = world.plan();
    let config = world.path("mailspan.toml");
    let program = Program::start(&plan, &config);
    plan.until_ready().await;
    let mail = format!("From: Support <{SUPPORT}>\r\nTo: ann@customer.example\r\nSubject: Hello\r\n\r\nHello\r\n");
    let eml = world.path("mail.eml");
    std::fs::write(&eml, &mail).unwrap();
    let eml = eml.to_str().unwrap();
    let at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();

    let (code, out, err) = said(&send(&config, &["--from", SUPPORT, "--send-at", &at, eml], "").await);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("MESSAGE") && out.contains("sub_") && out.contains("queued"), "{out}");
    let args =
        ["--json", "--key", "one", "--to", "x@customer.example", "--to", "y@customer.example", "--send-at", &at, "-"];
    for repeated in [false, true] {
        let (code, out, err) = said(&send(&config, &args, &mail).await);
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["repeated"], repeated);
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM submissions").await, 2);
    let (code, out, err) = said(&send(&config, &["--wait", eml], "").await);
    assert!(code == Some(0) && out.contains("sent"), "{out} {err}");
    assert_eq!(world.tenant.sent_count(), 1);
    let (code, out, _) = said(&send(&config, &["--wait=1s", "--send-at", &at, eml], "").await);
    assert!(code == Some(1) && out.contains("queued"), "not sent in time: {out}");

    for (args, input, code, says) in [
        (&["--from", "nobody@elsewhere.example", "-"][..], mail.as_str(), 1, "from names another address"),
        (&["--from", "nobody@elsewhere.example", "-"], "To: a@x.org\r\n\r\nHello", 1, "send_as"),
        (&["-"], "From: me\r\n\r\nno address", 1, "from"),
        (&["--to", "nobody", "-"], &mail, 2, "`to` must be an address"),
        (&["--wait=soon", eml], "", 2, "--wait"),
        (&["/nowhere.eml"], "", 2, "/nowhere.eml"),
        (&["--server", "http://127.0.0.1:1", eml], "", 1, "no daemon answers"),
    ] {
        let (found, _, err) = said(&send(&config, args, input).await);
        assert!(found == Some(code) && err.contains(says), "{args:?}: {found:?} {err}");
    }
    assert_eq!(program.terminate().await, Some(0));
}
