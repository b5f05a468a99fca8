//! What a receiver of webhooks can rely on, over real HTTP.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use mailspan::destinations::{About, BuildError, Destination, Handover, build};
use mailspan::egress::{self, Egress};
use mailspan::model::clock::{Clock, UnixMillis};
use mailspan::model::outcome::Failure;
use serde_json::{Value, json};

use crate::receiver::{Answer, Received, Receiver};

const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A clock that shows the real time until it is set forward.
pub(crate) struct Wrist(AtomicI64);

impl Wrist {
    pub(crate) fn now() -> Arc<Self> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Arc::new(Self(AtomicI64::new(now.as_millis().try_into().unwrap())))
    }

    pub(crate) fn pass(&self, by: Duration) {
        self.0.fetch_add(by.as_millis().try_into().unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Wrist {
    fn now(&self) -> UnixMillis {
        self.0.load(Ordering::SeqCst)
    }
}

/// The way out without anybody's proxy.
pub(crate) fn egress() -> Egress {
    Egress::with_environment(&egress::Config::default(), |_| None).unwrap()
}

/// An interaction with what destinations read of it.
fn interaction(id: &str) -> String {
    let support = json!({ "name": "Support", "email": "support@contoso.example" });
    json!({ "type": "interaction.email.received", "timestamp": "2026-11-21T10:00:00Z", "data": {
        "schema": "mailspan.interaction/1", "interactionId": id,
        "route": { "name": "support-flow", "matchedBy": "recipient", "matchedRecipient": support },
        "mailbox": { "address": "support@contoso.example", "folder": "inbox" },
        "message": {
            "messageId": ["m1@example.net"], "inReplyTo": [], "references": [],
            "from": [{ "name": "Ada", "email": "ada@example.net" }], "to": [support], "cc": [],
            "subject": "Grüße", "receivedAt": "2026-11-21T10:00:00Z",
            "textBody": { "value": "Hello", "isTruncated": false, "derived": false },
            "htmlBody": { "value": "<p>Hello <img src=\"cid:logo@x\"></p>", "isTruncated": false, "sanitized": true },
            "attachments": [
                { "name": "logo.png", "size": 9, "cid": "logo@x", "disposition": "inline", "url": "https://b.example/1?a=1&b=2" },
                { "name": "a.pdf", "size": 11, "cid": null, "disposition": "attachment", "url": "https://b.example/2" },
            ],
            "raw": { "url": "https://b.example/raw", "urlExpiresAt": "2026-12-01T00:00:00Z" },
        },
        "thread": { "threadId": "th_1", "isNew": true },
        "attributes": { "queue": "tier-1" },
    } })
    .to_string()
}

pub(crate) fn handover(id: &str) -> Handover {
    Handover {
        interaction: id.into(),
        attempt: 1,
        route: "support-flow".into(),
        body: interaction(id).into(),
        content_type: "application/json",
        headers: vec![("mailspan-recipient", "ada@example.net".into())],
        raw: Bytes::from_static(b"From: ada@example.net\r\nSubject: Invoice\r\n\r\nHello\r\n"),
        about: About::default(),
    }
}

/// The handover with this put into its data.
pub(crate) fn with(id: &str, change: impl FnOnce(&mut Value)) -> Handover {
    let mut handover = handover(id);
    let mut body: Value = serde_json::from_slice(&handover.body).unwrap();
    change(&mut body["data"]);
    handover.body = serde_json::to_vec(&body).unwrap().into();
    handover
}

fn webhook(rest: &str, clock: &Arc<Wrist>) -> Result<Arc<dyn Destination>, BuildError> {
    let config = toml::from_str(&format!("kind = 'webhook'\n{rest}")).unwrap();
    build(&config, &egress(), clock.clone())
}

/// A section that leads to this receiver, which has its time.
fn leading_to(receiver: &Receiver) -> String {
    let url = &receiver.url;
    format!("url = '{url}'\nsigning_secret = '{NEW}'\nallow_private_networks = true\ntimeout = '60s'")
}

fn posting_to(receiver: &Receiver) -> Arc<dyn Destination> {
    webhook(&leading_to(receiver), &Wrist::now()).unwrap()
}

fn verified(request: &Received, secret: &str) -> bool {
    standardwebhooks::Webhook::new(secret).unwrap().verify(&request.body, &request.headers).is_ok()
}

#[tokio::test]
async fn a_receiver_can_verify_what_it_gets_with_the_public_library() {
    let receiver = Receiver::start().await;
    let handover = Handover { attempt: 7, ..handover("ix_1") };
    assert_eq!(posting_to(&receiver).deliver(&handover).await, Ok(()));

    let request = &receiver.received()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/in"));
    assert_eq!(request.body, handover.body);
    assert!(verified(request, NEW));
    assert!(!verified(request, OLD));
    assert_eq!(request.header("webhook-id"), "ix_1");
    assert_eq!(request.header("mailspan-attempt"), "7");
    assert_eq!(request.header("mailspan-recipient"), "ada@example.net");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("content-length"), handover.body.len().to_string());
    assert!(request.header("user-agent").starts_with("mailspan/"));
}

#[tokio::test]
async fn every_attempt_has_the_same_id_and_bytes_and_a_time_of_its_own() {
    let receiver = Receiver::start().await;
    receiver.will_answer([Answer::Status(500), Answer::DropAfterReading]);
    let clock = Wrist::now();
    let destination = webhook(&leading_to(&receiver), &clock).unwrap();
    for attempt in 1..=3 {
        let outcome = destination.deliver(&Handover { attempt, ..handover("ix_1") }).await;
        assert_eq!(outcome.is_ok(), attempt == 3, "{outcome:?}");
        clock.pass(Duration::from_millis(2_500));
    }
    let requests = receiver.received();
    assert_eq!(requests.len(), 3);
    let each = |name: &str| requests.iter().map(|it| it.header(name).to_owned()).collect::<Vec<_>>();
    assert!(requests.iter().all(|it| it.body == requests[0].body && verified(it, NEW)));
    assert_eq!(each("webhook-id"), ["ix_1"; 3]);
    assert_eq!(each("mailspan-attempt"), ["1", "2", "3"]);
    let times: Vec<i64> = each("webhook-timestamp").iter().map(|it| it.parse().unwrap()).collect();
    assert!((2..=3).contains(&(times[1] - times[0])) && times[2] - times[0] == 5, "{times:?}");
}

#[tokio::test]
async fn two_secrets_sign_side_by_side_while_rotating() {
    let receiver = Receiver::start().await;
    let rest = format!("url = '{}'\nsigning_secret = ['{OLD}', '{NEW}']\nallow_private_networks = true", receiver.url);
    webhook(&rest, &Wrist::now()).unwrap().deliver(&handover("ix_1")).await.unwrap();
    let request = &receiver.received()[0];
    assert!(verified(request, OLD) && verified(request, NEW));
    assert_eq!(request.header("webhook-signature").split(' ').filter(|it| it.starts_with("v1,")).count(), 2);
}

#[tokio::test]
async fn a_secrets_file_that_is_replaced_counts_without_a_restart() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flow");
    let replace = |secret: &str| {
        std::fs::write(folder.path().join("next"), secret).unwrap();
        std::fs::rename(folder.path().join("next"), &file).unwrap();
    };
    replace(OLD);
    let clock = Wrist::now();
    let destination = webhook(&with_secret_file(&receiver, &file), &clock).unwrap();
    destination.deliver(&handover("ix_1")).await.unwrap();

    replace(NEW);
    clock.pass(Duration::from_secs(1));
    destination.deliver(&handover("ix_2")).await.unwrap();

    std::fs::remove_file(&file).unwrap();
    clock.pass(Duration::from_secs(1));
    let failure = destination.deliver(&handover("ix_3")).await.unwrap_err();
    assert!(matches!(&failure, Failure::Transient { reason, .. } if reason.contains("flow")), "{failure:?}");

    replace(NEW);
    destination.deliver(&handover("ix_3")).await.unwrap();

    let requests = receiver.received();
    let by: Vec<_> = requests.iter().map(|it| (verified(it, OLD), verified(it, NEW))).collect();
    assert_eq!(by, [(true, false), (false, true), (false, true)]);
}

fn with_secret_file(receiver: &Receiver, file: &Path) -> String {
    let (url, file) = (&receiver.url, file.display());
    format!("url = '{url}'\nsigning_secret_file = '{file}'\nallow_private_networks = true")
}

#[tokio::test]
async fn accepted_is_2xx_alone_and_only_410_ends_the_route() {
    let receiver = Receiver::start().await;
    let destination = posting_to(&receiver);
    for status in [200, 201, 202, 204, 299] {
        receiver.will_answer([Answer::Status(status)]);
        assert_eq!(destination.deliver(&handover("ix_1")).await, Ok(()), "{status}");
    }
    for status in [304, 400, 401, 403, 404, 408, 409, 413, 422, 425, 429, 500, 501, 502, 503, 504, 599] {
        receiver.will_answer([Answer::Status(status)]);
        let failure = destination.deliver(&handover("ix_1")).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { after: None, .. }), "{failure:?}");
        assert!(failure.reason().contains(&status.to_string()), "{failure}");
    }
    receiver.will_answer([Answer::With(410, "retry-after", "5".into())]);
    let failure = destination.deliver(&handover("ix_1")).await.unwrap_err();
    assert!(matches!(failure, Failure::Gone { .. }), "{failure:?}");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let destination = posting_to(&receiver);
    for status in [301, 302, 303, 307, 308] {
        receiver.will_answer([Answer::With(status, "location", elsewhere.url.to_string())]);
        let failure = destination.deliver(&handover("ix_1")).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        assert!(failure.reason().contains("final address"), "{failure}");
    }
    assert_eq!((receiver.received().len(), elsewhere.received().len()), (5, 0));
}

#[tokio::test]
async fn retry_after_is_honoured_in_all_its_forms() {
    let receiver = Receiver::start().await;
    let clock = Wrist::now();
    let destination = webhook(&leading_to(&receiver), &clock).unwrap();
    let date = jiff::Timestamp::from_millisecond(clock.now() + 90_000).unwrap();
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let cases = [(429, "120", 120..=120), (503, "1.5", 1..=2), (429, &date, 88..=90), (500, "999999", 86_400..=86_400)];
    for (status, value, expected) in cases {
        receiver.will_answer([Answer::With(status, "retry-after", value.to_owned())]);
        let failure = destination.deliver(&handover("ix_1")).await.unwrap_err();
        let Failure::Transient { after: Some(after), .. } = failure else { panic!("{value}: {failure:?}") };
        assert!(expected.contains(&after.as_secs()), "{value}: {after:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_transient_failure() {
    let receiver = Receiver::start().await;
    let destination = posting_to(&receiver);
    for answer in [Answer::DropBeforeReading, Answer::DropAfterReading] {
        receiver.will_answer([answer]);
        let failure = destination.deliver(&handover("ix_1")).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        assert!(!failure.reason().contains("127.0.0.1"), "{failure}");
    }
    assert_eq!(destination.deliver(&handover("ix_1")).await, Ok(()));
}

#[tokio::test]
async fn a_hung_receiver_holds_up_nobody_else() {
    let receiver = Receiver::start().await;
    receiver.will_answer([Answer::Late(Duration::from_secs(3600))]);
    let destination = posting_to(&receiver);
    let hung = handover("ix_1");
    let mut first = destination.deliver(&hung);
    tokio::select! {
        outcome = &mut first => panic!("{outcome:?}"),
        _ = receiver.until_received(1) => {}
    }
    assert_eq!(destination.deliver(&handover("ix_2")).await, Ok(()));
}

#[tokio::test]
async fn attempts_share_connections_whatever_was_answered() {
    // An answer is read for a second and a connection kept for four. Where the machine stood still for so long, another one
    // is right, and it is tried again.
    for _ in 0..12 {
        let receiver = Receiver::start().await;
        let destination = posting_to(&receiver);
        receiver.will_answer([Answer::Body(500, 20_000), Answer::Body(200, 60_000), Answer::Status(404)]);
        let (mut longest, mut last) = (Duration::ZERO, Instant::now());
        for _ in 0..20 {
            let _ = destination.deliver(&handover("ix_1")).await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        if longest < Duration::from_secs(1) {
            return assert_eq!((receiver.received().len(), receiver.connections()), (20, 1));
        }
    }
    panic!("the machine stands still again and again")
}

#[tokio::test]
async fn an_answer_is_its_status_however_long_its_body() {
    let receiver = Receiver::start().await;
    let destination = posting_to(&receiver);
    receiver.will_answer([Answer::Body(200, 8 << 20), Answer::Endless(202), Answer::Endless(500)]);
    let began = Instant::now();
    assert_eq!(destination.deliver(&handover("ix_1")).await, Ok(()));
    assert_eq!(destination.deliver(&handover("ix_1")).await, Ok(()));
    assert!(destination.deliver(&handover("ix_1")).await.is_err());
    assert!(began.elapsed() < 2 * destination.timeout(), "{:?}", began.elapsed());
}

#[tokio::test]
async fn private_networks_are_refused_unless_they_are_meant() {
    let receiver = Receiver::start().await;
    let port = receiver.url.port().unwrap();
    let to = |host: &str| format!("url = 'http://{host}:{port}/in'\nsigning_secret = '{NEW}'");
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254"] {
        let error = webhook(&to(host), &Wrist::now()).err().unwrap();
        assert_eq!(error.key, "url", "{host}");
        assert!(error.to_string().contains("allow_private_networks"), "{error}");
    }
    let failure = webhook(&to("localhost"), &Wrist::now()).unwrap().deliver(&handover("ix_1")).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    assert!(failure.reason().contains("allow_private_networks"), "{failure}");
    assert_eq!(receiver.connections(), 0);

    let meant = format!("{}\nallow_private_networks = true", to("localhost"));
    assert_eq!(webhook(&meant, &Wrist::now()).unwrap().deliver(&handover("ix_1")).await, Ok(()));
}

#[tokio::test]
async fn a_section_of_no_use_is_explained_by_its_key() {
    let secret = format!("signing_secret = '{NEW}'");
    let cases = [
        ("url = 'https://a.example'".to_owned(), "signing_secret", "is missing"),
        (format!("url = 'https://a.example'\n{secret}\nsigning_secret_file = 'x'"), "signing_secret", "keep one"),
        ("url = 'https://a.example'\nsigning_secret = 'hunter2'".to_owned(), "signing_secret", "whsec_"),
        ("url = 'https://a.example'\nsigning_secret = []".to_owned(), "signing_secret", "one secret"),
        (format!("url = 'https://a.example'\nsigning_secret = ['{NEW}', '{OLD}', '{NEW}']"), "signing_secret", "two"),
        (
            "url = 'https://a.example'\nsigning_secret_file = '/none/here'".to_owned(),
            "signing_secret_file",
            "/none/here",
        ),
        (format!("url = 'ftp://a.example'\n{secret}"), "url", "https://"),
        (format!("url = 'https://a.example'\n{secret}\ntimeout = '0s'"), "timeout", "0s"),
    ];
    for (rest, key, told) in cases {
        let error = webhook(&rest, &Wrist::now()).err().unwrap();
        assert_eq!(error.key, key, "{error}");
        assert!(error.to_string().contains(told) && !error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn what_http_cannot_carry_is_refused_for_good() {
    let receiver = Receiver::start().await;
    let destination = posting_to(&receiver);
    let broken_header = Handover { headers: vec![("mailspan-recipient", "a\r\nb: c".into())], ..handover("ix_1") };
    for handover in [handover("ix.1"), handover(""), handover("ix\n1"), broken_header] {
        let failure = destination.deliver(&handover).await.unwrap_err();
        assert!(matches!(failure, Failure::Permanent { .. }), "{failure:?}");
    }
    let cheeky = Handover { headers: vec![("webhook-id", "another".into())], ..handover("ix_1") };
    assert_eq!(destination.deliver(&cheeky).await, Ok(()));
    assert_eq!(receiver.received()[0].header("webhook-id"), "ix_1");
}
