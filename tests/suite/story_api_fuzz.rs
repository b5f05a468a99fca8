//! The API under a public fuzzer that knows nothing of us but the document we serve: no answer is a fault of ours, and none
//! is one that the document does not name.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::judges::place;
use crate::receiver::Answer;
use crate::world::{Bridge, World, until_so};

const TOKEN: &str = "fuzzer-0123456789abcdef";
/// How many requests each operation gets at most in a phase, and by which chance.
const EXAMPLES: &str = "25";
const SEED: &str = "4711";

#[tokio::test(flavor = "multi_thread")]
async fn a_public_fuzzer_finds_no_fault_and_no_answer_the_document_does_not_name() {
    let Some(place) = place() else { return };
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(500));
    let tokens =
        format!("\n[[api_tokens]]\nname = \"fuzzer\"\ntoken = {TOKEN:?}\nscopes = [\"read\", \"operate\", \"send\"]\n");
    let plan = world.plan().more(&tokens);
    let bridge = Bridge::start(&plan).await;
    for n in 0..5 {
        world.receives(&format!("Fuzzed {n}"));
    }
    until_so("parked deliveries", async || {
        world.number("SELECT COUNT(*) FROM jobs WHERE parked_at IS NOT NULL").await == 5
    })
    .await;

    let report = world.path("report.json");
    let run = Command::new(place.join("bin/python"))
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("http://{}/api/v1/openapi.json", plan.admin))
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        // A cursor is a word of ours: one that is made up is refused although it is a text.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        // How busy the machine is says nothing of us.
        .args(["--request-timeout", "60", "--suppress-health-check", "too_slow"])
        .args(["--max-examples", EXAMPLES, "--seed", SEED, "--no-shrink", "--no-color", "--continue-on-failure"])
        .args(["--report", "json", "--report-json-path"])
        .arg(&report)
        .env("NO_PROXY", "127.0.0.1")
        .current_dir(world.folder.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let counted = |at: &str| report.pointer(at).and_then(Value::as_u64).unwrap();
    assert!(
        counted("/operations/tested") >= 14 && counted("/test_cases/generated") >= 300,
        "it tried little: {report}"
    );
    bridge.stop().await;
}
