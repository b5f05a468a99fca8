//! What a receiver learns of who is asking, and what happens when that is renewed, withdrawn or not to be had.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailspan::destinations::{BuildError, Destination, build};
use mailspan::egress::Egress;
use mailspan::model::outcome::Failure;
use tempfile::TempDir;

use crate::destination_webhook::{Wrist, egress, handover};
use crate::gate::Gate;
use crate::receiver::{Answer, Received, Receiver};
use crate::world::DEADLINE;

const SIGNING: &str = "signing_secret = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='";

/// An attempt has a minute, unless its end is the point.
fn webhook(url: &str, rest: &str, egress: &Egress, clock: &Arc<Wrist>) -> Result<Arc<dyn Destination>, BuildError> {
    let timeout = if rest.contains("timeout") { "" } else { "timeout = '60s'\n" };
    let section = format!("kind = 'webhook'\nurl = '{url}'\n{SIGNING}\nallow_private_networks = true\n{timeout}{rest}");
    build(&toml::from_str(&section).unwrap(), egress, clock.clone())
}

/// A file in a folder of its own, and how it is replaced.
struct Kept {
    folder: TempDir,
}

impl Kept {
    fn holding(text: &str) -> Self {
        let kept = Self { folder: tempfile::tempdir().unwrap() };
        kept.replace(text);
        kept
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    fn replace(&self, text: &str) {
        std::fs::write(self.folder.path().join("next"), text).unwrap();
        std::fs::rename(self.folder.path().join("next"), self.path()).unwrap();
    }
}

/// A receiver, a token endpoint, and a webhook between them.
struct Guarded {
    receiver: Receiver,
    tokens: Receiver,
    clock: Arc<Wrist>,
    secret: Kept,
    destination: Arc<dyn Destination>,
}

impl Guarded {
    async fn with(more: &str) -> Self {
        Self::within("60s", more).await
    }

    async fn within(timeout: &str, more: &str) -> Self {
        let (receiver, tokens) = (Receiver::start().await, Receiver::start().await);
        let (clock, secret) = (Wrist::now(), Kept::holding("sword:fish\n"));
        let auth = format!(
            "timeout = '{timeout}'\n[auth]\nkind = 'oauth2_client_credentials'\ntoken_url = '{}'\nclient_id = 'bridge'\n\
             client_secret_file = '{}'\n{more}",
            tokens.url,
            secret.path().display()
        );
        let destination = webhook(receiver.url.as_str(), &auth, &egress(), &clock).unwrap();
        Self { receiver, tokens, clock, secret, destination }
    }

    async fn delivers(&self) -> Result<(), Failure> {
        self.destination.deliver(&handover("ix_1")).await
    }

    fn shown(&self) -> Vec<String> {
        self.receiver.received().iter().map(|it| it.header("authorization").to_owned()).collect()
    }
}

fn token(token: &str, life: u32) -> Answer {
    Answer::Says(200, format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{life}}}"#))
}

fn form(request: &Received) -> Vec<(String, String)> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

fn told(outcome: Result<(), Failure>) -> (String, Option<Duration>) {
    match outcome {
        Err(Failure::Transient { reason, after }) => (reason.text, after),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_or_password_is_shown_beside_the_signature_and_counts_anew_when_its_file_does() {
    let receiver = Receiver::start().await;
    let clock = Wrist::now();
    let kept = Kept::holding("first\n");
    let file = kept.path().display().to_string();
    for (auth, expected) in [
        (format!("auth = {{ kind = 'bearer', token_file = '{file}' }}"), ["Bearer first", "Bearer second-one"]),
        (
            format!("auth = {{ kind = 'basic', username = 'ann', password_file = '{file}' }}"),
            ["Basic YW5uOmZpcnN0", "Basic YW5uOnNlY29uZC1vbmU="],
        ),
    ] {
        kept.replace("first\n");
        clock.pass(Duration::from_secs(1));
        let before = receiver.received().len();
        let destination = webhook(receiver.url.as_str(), &auth, &egress(), &clock).unwrap();
        destination.deliver(&handover("ix_1")).await.unwrap();
        kept.replace("second-one\n");
        clock.pass(Duration::from_secs(1));
        destination.deliver(&handover("ix_2")).await.unwrap();
        let requests = receiver.received();
        let shown: Vec<_> = requests[before..].iter().map(|it| it.header("authorization")).collect();
        assert_eq!(shown, expected);
        assert!(requests.iter().all(|it| it.header("webhook-signature").starts_with("v1,")));

        kept.replace("two\nlines\n");
        clock.pass(Duration::from_secs(1));
        let (reason, _) = told(destination.deliver(&handover("ix_3")).await);
        assert!(reason.contains(&file) && !reason.contains("lines"), "{reason}");
    }
}

#[tokio::test]
async fn headers_of_ones_own_travel_with_every_request_and_never_elsewhere() {
    let receiver = Receiver::start().await;
    let elsewhere = Receiver::start().await;
    let rest = "headers = { X-Environment = 'production', User-Agent = 'ours' }\n\
                auth = { kind = 'bearer', token = 'swordfish' }";
    let destination = webhook(receiver.url.as_str(), rest, &egress(), &Wrist::now()).unwrap();
    receiver.will_answer([Answer::With(307, "location", elsewhere.url.to_string()), Answer::Status(200)]);
    assert!(destination.deliver(&handover("ix_1")).await.is_err());
    assert_eq!(destination.deliver(&handover("ix_1")).await, Ok(()));
    for request in receiver.received() {
        assert_eq!((request.header("x-environment"), request.header("user-agent")), ("production", "ours"));
        assert_eq!(request.header("content-type"), "application/json");
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept_until_shortly_before_it_expires() {
    let guarded = Guarded::with("scope = 'write read'\naudience = 'https://flows.example'").await;
    guarded.tokens.will_answer([token("one", 3600), token("two", 3600)]);
    let deliveries = (0..8).map(|_| guarded.delivers());
    for outcome in futures_util::future::join_all(deliveries).await {
        assert_eq!(outcome, Ok(()));
    }
    assert_eq!(guarded.tokens.received().len(), 1, "one flight for all");
    guarded.clock.pass(Duration::from_secs(3600 - 61));
    guarded.delivers().await.unwrap();
    assert_eq!(guarded.tokens.received().len(), 1);
    guarded.clock.pass(Duration::from_secs(2));
    guarded.delivers().await.unwrap();
    let shown = guarded.shown();
    assert!(shown[..9].iter().all(|it| it == "Bearer one") && shown[9..] == ["Bearer two"], "{shown:?}");

    let asked = &guarded.tokens.received()[0];
    assert_eq!(asked.method, "POST");
    // `bridge` and `sword:fish`, each encoded as in a form first.
    assert_eq!(asked.header("authorization"), "Basic YnJpZGdlOnN3b3JkJTNBZmlzaA==");
    let pairs = [("grant_type", "client_credentials"), ("scope", "write read"), ("audience", "https://flows.example")];
    assert_eq!(form(asked), pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert!(asked.headers.get("webhook-id").is_none());
}

#[tokio::test]
async fn the_clients_secret_travels_in_the_body_where_that_is_asked_for() {
    let guarded = Guarded::with("client_authentication = 'client_secret_post'").await;
    guarded.tokens.will_answer([token("one", 3600)]);
    guarded.delivers().await.unwrap();
    let asked = &guarded.tokens.received()[0];
    assert_eq!(asked.header("authorization"), "");
    assert!(form(asked).contains(&("client_id".into(), "bridge".into())));
    assert!(form(asked).contains(&("client_secret".into(), "sword:fish".into())));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_within_the_attempt() {
    let guarded = Guarded::with("").await;
    guarded.tokens.will_answer([token("one", 3600), token("two", 3600), token("three", 3600)]);
    guarded.receiver.will_answer([Answer::Status(401), Answer::Status(200)]);
    assert_eq!(guarded.delivers().await, Ok(()));
    assert_eq!(guarded.shown(), ["Bearer one", "Bearer two"]);
    let requests = guarded.receiver.received();
    assert_eq!(requests[0].body, requests[1].body);
    for header in ["webhook-id", "mailspan-attempt"] {
        assert_eq!(requests[0].header(header), requests[1].header(header));
    }

    // A receiver that refuses what is fresh is not asked for ever, and neither is the token endpoint.
    guarded.receiver.usually_answers(Answer::Status(401));
    let (reason, _) = told(guarded.delivers().await);
    assert!(reason.contains("the receiver answered 401"), "{reason}");
    assert_eq!((guarded.receiver.received().len(), guarded.tokens.received().len()), (3, 2));
    guarded.clock.pass(Duration::from_secs(61));
    told(guarded.delivers().await);
    assert_eq!((guarded.receiver.received().len(), guarded.tokens.received().len()), (5, 3));
}

#[tokio::test]
async fn trouble_of_the_token_endpoint_is_transient_and_named_and_not_repeated_by_every_mail() {
    let guarded = Guarded::with("").await;
    let invalid = r#"{"error":"invalid_client","error_description":"sword:fish is wrong"}"#;
    for (answer, expected, wait) in [
        (Answer::With(503, "retry-after", "120".into()), "the token endpoint answered 503", Some(120)),
        (Answer::With(429, "retry-after", "7".into()), "the token endpoint answered 429", Some(7)),
        (Answer::Says(401, invalid.into()), "refused the client: invalid_client", None),
        (Answer::Status(500), "the token endpoint answered 500", None),
        (Answer::With(302, "location", guarded.receiver.url.to_string()), "set auth.token_url", None),
        (Answer::Says(200, "<html>".into()), "no token", None),
        (Answer::DropAfterReading, "the token endpoint gave no answer", None),
    ] {
        let before = guarded.tokens.received().len();
        guarded.tokens.will_answer([answer]);
        let (reason, after) = told(guarded.delivers().await);
        assert!(reason.contains(expected) && !reason.contains("sword"), "{reason}");
        assert_eq!(after.map(|it| it.as_secs()), wait, "{reason}");
        let (again, after) = told(guarded.delivers().await);
        assert_eq!((&again, after.is_some()), (&reason, true));
        assert_eq!(guarded.tokens.received().len(), before + 1, "asked by the first mail only");
        guarded.clock.pass(Duration::from_secs(180));
    }
    assert!(guarded.receiver.received().is_empty(), "nothing is posted without a token");
    guarded.tokens.will_answer([token("one", 3600)]);
    assert_eq!(guarded.delivers().await, Ok(()));
}

#[tokio::test]
async fn a_token_endpoint_that_never_answers_ends_the_attempt_and_is_not_asked_by_every_mail() {
    // Long enough for the question to arrive, however slow this machine is.
    let limit = Duration::from_secs(15);
    let guarded = Guarded::within("15s", "").await;
    guarded.tokens.will_answer([Answer::Late(Duration::from_secs(3600)), token("one", 3600)]);
    let began = Instant::now();
    let (reason, after) = told(guarded.delivers().await);
    assert!((limit..limit + DEADLINE).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(reason.contains("the token endpoint did not answer in time") && after.is_none(), "{reason} {after:?}");
    let (again, after) = told(guarded.delivers().await);
    assert_eq!((&again, after.is_some()), (&reason, true));
    assert_eq!(guarded.tokens.received().len(), 1, "asked by the first mail only");
    guarded.clock.pass(Duration::from_secs(180));
    assert_eq!(guarded.delivers().await, Ok(()));
    assert_eq!(guarded.receiver.received().len(), 1, "nothing was posted without a token");
}

#[tokio::test]
async fn a_replaced_client_secret_is_tried_at_once() {
    let guarded = Guarded::with("").await;
    guarded.tokens.will_answer([Answer::Says(401, r#"{"error":"invalid_client"}"#.into()), token("one", 60)]);
    told(guarded.delivers().await);
    guarded.secret.replace("another\n");
    guarded.clock.pass(Duration::from_secs(1));
    assert_eq!(guarded.delivers().await, Ok(()));
    assert_eq!(guarded.tokens.received()[1].header("authorization"), "Basic YnJpZGdlOmFub3RoZXI=");
}

#[tokio::test]
async fn a_token_in_its_last_moments_is_used_while_no_other_is_to_be_had() {
    let guarded = Guarded::with("").await;
    guarded.tokens.will_answer([token("one", 3600), Answer::Status(500), Answer::Status(500)]);
    guarded.delivers().await.unwrap();
    guarded.clock.pass(Duration::from_secs(3600 - 30));
    assert_eq!(guarded.delivers().await, Ok(()));
    assert_eq!(guarded.shown(), ["Bearer one", "Bearer one"]);
    guarded.clock.pass(Duration::from_secs(31));
    let (reason, _) = told(guarded.delivers().await);
    assert!(reason.contains("500"), "{reason}");
}

#[tokio::test]
async fn a_token_endpoint_in_a_private_network_is_refused_unless_it_is_meant() {
    let tokens = Receiver::start().await;
    let port = tokens.url.port().unwrap();
    let to = |host: &str| {
        let section = format!(
            "kind = 'webhook'\nurl = 'https://flows.invalid'\ntimeout = '60s'\n{SIGNING}\nauth = {{ kind = 'oauth2_client_credentials', \
             token_url = 'http://{host}:{port}/', client_id = 'bridge', client_secret = 'swordfish' }}"
        );
        build(&toml::from_str(&section).unwrap(), &egress(), Wrist::now())
    };
    let error = to("127.0.0.1").err().unwrap();
    assert!(error.key == "auth.token_url" && error.to_string().contains("allow_private_networks"), "{error}");
    let (reason, _) = told(to("localhost").unwrap().deliver(&handover("ix_1")).await);
    assert!(reason.contains("auth.token_url") && reason.contains("allow_private_networks"), "{reason}");
    assert_eq!(tokens.connections(), 0);
}

#[tokio::test]
async fn a_certificate_opens_the_receiver_and_is_renewed_without_a_restart() {
    let receiver = Receiver::start().await;
    let gate = Gate::before(receiver.url.clone());
    let folder = tempfile::tempdir().unwrap();
    let clock = Wrist::now();
    let with = |rest: &str| webhook(gate.url.as_str(), rest, &gate.egress(), &clock);
    let (reason, _) = told(with("").unwrap().deliver(&handover("ix_1")).await);
    assert!(reason.contains("ertificate"), "without one: {reason}");

    gate.admit(folder.path());
    let destination = with(&Gate::auth(folder.path())).unwrap();
    assert_eq!(destination.deliver(&handover("ix_1")).await, Ok(()));

    Gate::admit_elsewhere(folder.path());
    clock.pass(Duration::from_secs(1));
    told(destination.deliver(&handover("ix_2")).await);

    // Half of a renewal: the certificate is there, its key is not yet.
    let old_key = std::fs::read(folder.path().join("key.pem")).unwrap();
    gate.admit(folder.path());
    let new_key = std::fs::read(folder.path().join("key.pem")).unwrap();
    std::fs::write(folder.path().join("key.pem"), old_key).unwrap();
    clock.pass(Duration::from_secs(1));
    let (reason, _) = told(destination.deliver(&handover("ix_2")).await);
    assert!(reason.contains("is not the key of the certificate"), "{reason}");
    std::fs::write(folder.path().join("key.pem"), new_key).unwrap();
    assert_eq!(destination.deliver(&handover("ix_2")).await, Ok(()));
    let ids: Vec<_> = receiver.received().iter().map(|it| it.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, ["ix_1", "ix_2"]);
}

#[tokio::test]
async fn a_section_that_shows_nothing_of_use_is_explained_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    Gate::admit_elsewhere(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(
        file("locked.pem"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let mtls = |certificate: &str, key: &str| {
        format!(
            "auth = {{ kind = 'mtls', certificate_file = '{}', private_key_file = '{}' }}",
            file(certificate),
            file(key)
        )
    };
    let other = tempfile::tempdir().unwrap();
    Gate::admit_elsewhere(other.path());
    std::fs::copy(other.path().join("key.pem"), Path::new(&file("other.pem"))).unwrap();
    for (rest, key, told) in [
        ("headers = { Authorization = 'hunter2' }".to_owned(), "headers", "use auth"),
        ("headers = { Mailspan-Attempt = 'hunter2' }".to_owned(), "headers", "`Mailspan-Attempt`"),
        ("headers = { x = \"hunter2\\r\\ny: z\" }".to_owned(), "headers", "one line"),
        ("auth = { kind = 'bearer' }".to_owned(), "auth.token", "token_file"),
        ("auth = { kind = 'bearer', token = 'hunter2', token_file = 'x' }".to_owned(), "auth.token", "keep one"),
        ("auth = { kind = 'bearer', token = 'Bearer hunter2' }".to_owned(), "auth.token", "without the word Bearer"),
        ("auth = { kind = 'bearer', token_file = '/none/here' }".to_owned(), "auth.token_file", "/none/here"),
        ("auth = { kind = 'basic', username = 'a:b', password = 'hunter2' }".to_owned(), "auth.username", "colon"),
        ("auth = { kind = 'basic', username = 'ann', password = '' }".to_owned(), "auth.password", "not empty"),
        (mtls("certificate.pem", "missing.pem"), "auth.private_key_file", "missing.pem"),
        (mtls("missing.pem", "key.pem"), "auth.certificate_file", "missing.pem"),
        (mtls("key.pem", "key.pem"), "auth.certificate_file", "no certificate is in it"),
        (mtls("certificate.pem", "certificate.pem"), "auth.private_key_file", "no private key is in it"),
        (mtls("certificate.pem", "locked.pem"), "auth.private_key_file", "encrypted"),
        (mtls("certificate.pem", "other.pem"), "auth.private_key_file", "is not the key of the certificate"),
    ] {
        let error = webhook("https://flows.example", &rest, &egress(), &Wrist::now()).err().unwrap();
        assert_eq!(error.key, key, "{error}");
        assert!(error.to_string().contains(told) && !error.to_string().contains("hunter2"), "{error}");
    }
    let plain = webhook("http://flows.example", &mtls("certificate.pem", "key.pem"), &egress(), &Wrist::now());
    assert!(plain.err().unwrap().to_string().contains("https://"));
}
