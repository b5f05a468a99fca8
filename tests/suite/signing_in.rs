//! The world of the stories about sign-ins: a mailbox that is reached on behalf of its user, and users who sign in.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mailspan_tenant::SignInPolicy;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Plan, SUPPORT, World, client, until, until_so};

/// 32 bytes.
const KEY: &str = "Cw3Qb4WcQ8pYp1rB7nXvH2mK5tLs9eJfUoZ6iDgAkEM=";

/// Rules under which nobody waits long.
pub(crate) fn policy() -> SignInPolicy {
    SignInPolicy { interval: 1, ..SignInPolicy::default() }
}

/// The file with the key that sign-ins are sealed with.
pub(crate) fn key_file(world: &World) -> PathBuf {
    let file = world.path("keys");
    std::fs::write(&file, KEY).unwrap();
    file
}

/// The support mailbox on behalf of its user, by an application with these credentials.
pub(crate) fn plan_with(world: &World, credentials: &str) -> Plan {
    world.tenant.sign_in_policy(policy());
    world
        .bare_plan()
        .only_tenant("contoso", &world.tenant, credentials)
        .text("store", "encryption_key_file", key_file(world).to_str().unwrap())
        .mailbox(SUPPORT, "access = \"delegated\"")
        .route("all", "", &world.inbox)
}

/// The same by an application without any.
pub(crate) fn plan(world: &World) -> Plan {
    plan_with(world, "")
}

/// `POST` or `GET` of the sign-in of the support mailbox.
pub(crate) async fn ask(plan: &Plan, body: Option<Value>) -> (StatusCode, Value) {
    let url = format!("http://{}/api/v1/mailboxes/{SUPPORT}/sign-in", plan.admin);
    let request = match body {
        Some(body) => client().post(url).json(&body),
        None => client().get(url),
    };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Begins a sign-in by a code, and returns the code.
pub(crate) async fn begin(plan: &Plan) -> String {
    let (status, begun) = ask(plan, Some(json!({}))).await;
    assert_eq!(status, 202, "{begun}");
    assert_eq!((begun["state"].as_str(), begun["verification_uri"].is_string()), (Some("waiting"), true), "{begun}");
    begun["user_code"].as_str().unwrap().to_owned()
}

/// Waits for the end of the sign-in that was begun, and returns how it ended.
pub(crate) async fn ended(plan: &Plan) -> Value {
    until("the end of the sign-in", async || {
        let (_, progress) = ask(plan, None).await;
        (progress["state"] != "waiting").then_some(progress)
    })
    .await
}

/// The user of the support mailbox signs in by a code.
pub(crate) async fn sign_in(world: &World, plan: &Plan) {
    let code = begin(plan).await;
    assert!(world.tenant.enter_code(&code, SUPPORT));
    let progress = ended(plan).await;
    assert_eq!(progress["state"], "signed_in", "{progress}");
}

/// Waits until `/health` says that somebody has to sign in, and why.
pub(crate) async fn until_needed(plan: &Plan, why: &str) -> Value {
    let needed = |it: &Value| {
        it["status"] == "failing"
            && it["sign_in"]["state"] == "needs_sign_in"
            && it["reason"].as_str().is_some_and(|it| it.contains(why) && it.contains("mailspan sign-in"))
    };
    plan.until_check("mailbox", SUPPORT, why, needed).await
}

/// Waits until `/health` says that the tenant does not let the sign-in be used, and why.
pub(crate) async fn until_blocked(plan: &Plan, why: &str) -> Value {
    let blocked = |it: &Value| {
        it["status"] == "failing"
            && it["sign_in"]["state"] == "blocked"
            && it["reason"].as_str().is_some_and(|it| it.contains(why) && it.contains("an administrator"))
    };
    plan.until_check("mailbox", SUPPORT, why, blocked).await
}

/// How many token requests the tenant has seen.
pub(crate) fn exchanges(world: &World) -> u64 {
    world.tenant.requests().get("token").copied().unwrap_or_default()
}

/// Sends a mail from the support mailbox, and waits until it has left.
pub(crate) async fn send(world: &World, plan: &Plan, subject: &str) {
    let body = json!({ "from": SUPPORT, "to": ["ann@customer.example"], "subject": subject, "text": "Hello" });
    let answer = client().post(format!("http://{}/api/v1/messages", plan.admin)).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    until_so("the mail has left", async || world.tenant.sent().iter().any(|it| it.subject == subject)).await;
}

/// Longer than any access token lives.
pub(crate) const TOKENS: Duration = Duration::from_secs(95 * 60);

/// `mailspan sign-in`, with its output.
pub(crate) fn command(config: &std::path::Path, more: &[&str]) -> tokio::process::Child {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_mailspan"))
        .arg("sign-in")
        .arg(SUPPORT)
        .arg("--config")
        .arg(config)
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
