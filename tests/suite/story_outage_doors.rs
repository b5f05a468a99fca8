//! Every door while the database is away: whoever hands in mail is asked to come again, notifications are acknowledged, and
//! once the database is back all of it is taken, once.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::own_postgres::OwnPostgres;
use crate::story_submission_smtp::{Client, listening};
use crate::world::*;
use crate::world_program::Program;

const ANN: &str = "ann@example.org";

/// A mail as programs hand it in.
fn letter(subject: &str) -> String {
    let id = subject.replace(' ', "-");
    format!("From: {SUPPORT}\r\nTo: {ANN}\r\nMessage-ID: <{id}@contoso.example>\r\nSubject: {subject}\r\n\r\nHi")
}

/// Submits JSON under a key that is its subject.
async fn submit(api: &Api, mail: &Value) -> Answer {
    let key = mail["subject"].as_str().unwrap();
    let fields = [("content-type", "application/json"), ("idempotency-key", key)];
    api.request(Method::POST, "/messages", &fields, mail.to_string()).await
}

/// It says what a client needs to come again.
fn says_come_again(answer: &Answer) {
    let header = |name: &str| answer.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    assert_eq!((answer.status, header("content-type")), (503, "application/problem+json"), "{answer:?}");
    assert!(header("retry-after").parse::<u64>().is_ok_and(|it| (1..=60).contains(&it)), "{answer:?}");
    assert_eq!(answer.body["type"], "urn:mailspan:problem:store-unavailable");
    assert_eq!(answer.body["status"], 503);
}

/// What a submission was answered once it is taken; until then it says to come again.
fn taken(answer: Answer) -> Option<Value> {
    if answer.status == 202 {
        return Some(answer.body);
    }
    says_come_again(&answer);
    None
}

/// Hands the same mail in again until it is taken.
async fn until_taken(client: &mut Client, subject: &str) {
    until_so("a mail to be taken over SMTP", async || {
        let reply = client.hand_in(SUPPORT, &[ANN], &letter(subject), "").await;
        assert!(reply.starts_with("250 2.0.0 sub_") || reply.starts_with("451 4.3.0 "), "{reply}");
        if reply.starts_with("451") {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        reply.starts_with("250")
    })
    .await;
}

/// How many notifications of mail were acknowledged.
async fn acknowledged(plan: &Plan) -> u64 {
    let metrics = plan.page("/metrics").await.unwrap().1;
    let line = metrics.lines().find(|it| it.starts_with("mailspan_notifications_total{result=\"message\"}"));
    line.and_then(|it| it.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_asks_whoever_comes_while_the_database_is_away_to_come_again_and_then_takes_it_once() {
    let Some(server) = OwnPostgres::start(&[]) else { return };
    let world = World::at(&server.url()).await;
    let (plan, listen) = listening(&world);
    let program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    let before = world.receives("before");
    world.until_read(&before).await;
    // Written down as well: what is announced before that is a stranger's.
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    let api = Api::of(&plan).await;
    let mut early = Client::known(listen).await;

    server.stop("fast");
    let short = json!({ "from": SUPPORT, "to": [ANN], "subject": "short", "text": "t" });
    // Its file never travels within the mail: it is stored before it, in pieces.
    let content = BASE64_STANDARD.encode(vec![7; 3 << 20]);
    let large = json!({ "from": SUPPORT, "to": [ANN], "subject": "large", "text": "t",
        "attachments": [{ "name": "a.bin", "type": "application/octet-stream", "content": content }] });
    let (away, hints) = (Instant::now(), acknowledged(&plan).await);
    let mut late = Client::known(listen).await;
    let mut came = vec!["before".to_owned()];
    while came.len() < 5 || away.elapsed() < Duration::from_secs(4) {
        came.push(format!("meanwhile {}", came.len()));
        world.receives(&came[came.len() - 1]);
        // Who is refused again and again on one connection is sent away.
        if came.len() < 4 {
            early.hand_in(SUPPORT, &[ANN], &letter("by a client that stays"), "451 4.3.0 ").await;
            late.hand_in(SUPPORT, &[ANN], &letter("by a client that comes meanwhile"), "451 4.3.0 ").await;
        }
        for mail in [&short, &large] {
            says_come_again(&submit(&api, mail).await);
        }
        for path in ["/messages", "/deliveries", "/mailboxes", "/routes", "/messages/sub_none"] {
            says_come_again(&api.get(path).await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until_so("notifications that are acknowledged", async || acknowledged(&plan).await > hints).await;
    assert_eq!(world.tenant.sent_count(), 0);

    server.start_again();
    plan.until_check("store", "store", "the store is well", |it| it["status"] == "ok").await;
    until_taken(&mut early, "by a client that stays").await;
    until_taken(&mut late, "by a client that comes meanwhile").await;
    for mail in [&short, &large] {
        let first = until("a submission to be taken", async || taken(submit(&api, mail).await)).await;
        let again = until("the same to be known", async || taken(submit(&api, mail).await)).await;
        assert_eq!((&first["id"], &again["repeated"]), (&again["id"], &json!(true)));
    }
    let came: Vec<&str> = came.iter().map(String::as_str).collect();
    world.inbox.until_has(&came).await;
    let subjects = || {
        let mut subjects: Vec<_> = world.tenant.sent().into_iter().map(|it| it.subject).collect();
        subjects.sort();
        subjects
    };
    let sent = ["by a client that comes meanwhile", "by a client that stays", "large", "short"];
    until_so("all that was handed in to leave", async || subjects().len() >= sent.len()).await;
    until_so("all of it found sent", async || {
        world.number("SELECT COUNT(*) FROM submissions WHERE state = 'sent'").await == 4
    })
    .await;
    assert_eq!(program.terminate().await, Some(0));
    assert_eq!(world.number("SELECT COUNT(*) FROM submissions").await, 4);
    world.inbox.has_exactly(&came).await;
    assert_eq!(subjects(), sent);
}
