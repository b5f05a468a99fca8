//! Interactions in a stream of a real NATS server: acknowledged, once, and what is done when the server is not well.

use std::sync::Arc;

use async_nats::jetstream::stream::Config as Stream;
use mailspan::destinations::{About, Destination, Handover, build};
use mailspan::egress::{self, Egress};
use mailspan::model::outcome::Failure;

use crate::broker::{Mood, Wire, silence};
use crate::destination_conformance::{Kind, NOBODY};
use crate::destination_webhook::{Wrist, egress, handover};
use crate::nats::{PASSWORD, Server, section};
use crate::world::until_so;

/// For attempts whose end is not the point.
const PATIENT: &str = "timeout = '60s'";

pub(crate) struct Nats {
    server: Option<Server>,
    port: u16,
    timeout: &'static str,
}

impl Kind for Nats {
    fn is_here() -> bool {
        Server::is_installed()
    }

    async fn well() -> Self {
        let server = Server::start().await;
        Self { port: server.port, server: Some(server), timeout: "30s" }
    }

    async fn unreachable() -> Self {
        Self { server: None, port: NOBODY, timeout: "5s" }
    }

    async fn hung() -> Option<Self> {
        Some(Self { server: None, port: silence().await, timeout: "400ms" })
    }

    async fn refused() -> (Self, Handover) {
        let large = "x".repeat(2 << 20).into();
        (Self::well().await, Handover { body: large, ..handover("ix_1") })
    }

    fn section(&self) -> String {
        section(self.port, &format!("timeout = '{}'", self.timeout))
    }

    fn held(&self) -> Vec<String> {
        self.server.as_ref().map(Server::ids).unwrap_or_default()
    }

    fn secrets(&self) -> Vec<String> {
        [PASSWORD, "bridge"].map(str::to_owned).to_vec()
    }
}

fn destination(port: u16, more: &str) -> Arc<dyn Destination> {
    build(&toml::from_str(&section(port, more)).unwrap(), &egress(), Wrist::now()).unwrap()
}

fn transient(outcome: Result<(), Failure>, expected: &str) {
    match outcome {
        Err(Failure::Transient { reason, .. }) => {
            assert!(reason.contains(expected), "{reason}");
            assert!(!reason.contains(PASSWORD), "{reason}");
        }
        other => panic!("{expected}: {other:?}"),
    }
}

#[tokio::test]
async fn a_message_says_what_it_is_beside_its_body() {
    if !Server::is_installed() {
        eprintln!("nats-server is not installed: what it says of our messages is not known");
        return;
    }
    let server = Server::start().await;
    let about = About { thread: "th_1".into(), ..About::default() };
    let plain = Handover { about, headers: Vec::new(), attempt: 4, ..handover("ix_1") };
    let to = destination(server.port, &format!("stream = 'MAIL'\n{PATIENT}"));
    to.deliver(&plain).await.unwrap();
    let event = r#"{"specversion":"1.0","id":"ix_2","source":"/s","type":"t","data":{}}"#;
    let content_type = "application/cloudevents+json; charset=utf-8";
    let event = Handover { interaction: "ix_2".into(), body: event.into(), content_type, ..plain.clone() };
    to.deliver(&event).await.unwrap();
    let [first, second] = &server.kept()[..] else { panic!("two messages") };
    assert_eq!(first.payload, plain.body);
    for (name, value) in [
        ("Nats-Msg-Id", "ix_1"),
        ("content-type", "application/json"),
        ("mailspan-interaction-id", "ix_1"),
        ("mailspan-route", "support-flow"),
        ("mailspan-thread-id", "th_1"),
        ("mailspan-attempt", "4"),
    ] {
        assert_eq!(first.header(name), value, "{name}");
    }
    assert_eq!((second.header("ce-id"), second.header("ce-type")), ("ix_2", "t"));
    assert_eq!(second.header("content-type"), content_type);
}

#[tokio::test]
async fn a_lost_acknowledgement_leads_to_no_second_message() {
    if !Server::is_installed() {
        eprintln!("nats-server is not installed: what it says of our messages is not known");
        return;
    }
    let server = Server::start().await;
    let wire = Wire::to(server.port).await;
    let to = destination(wire.port, "timeout = '15s'");
    to.deliver(&handover("ix_0")).await.unwrap();
    wire.set(Mood::Swallowing);
    // Before the attempt ends: what the server has not read by then is lost with the connection.
    let lost = handover("ix_1");
    let taken = until_so("what was taken, and nobody heard of it", async || server.ids() == ["ix_0", "ix_1"]);
    let (outcome, ()) = tokio::join!(to.deliver(&lost), taken);
    transient(outcome, "no acknowledgement within 15s");
    wire.set(Mood::Passing);
    to.deliver(&lost).await.unwrap();
    assert_eq!(server.ids(), ["ix_0", "ix_1"]);
    assert_eq!(wire.opened(), 2, "one connection, and another after the trouble");
    // The other way round: cut, not silent.
    wire.set(Mood::Cut);
    assert!(matches!(to.deliver(&handover("ix_2")).await, Err(Failure::Transient { .. })));
    wire.set(Mood::Passing);
    to.deliver(&handover("ix_2")).await.unwrap();
    assert_eq!(server.ids(), ["ix_0", "ix_1", "ix_2"]);
}

#[tokio::test]
async fn a_server_that_is_killed_is_found_again() {
    if !Server::is_installed() {
        eprintln!("nats-server is not installed: what it says of our messages is not known");
        return;
    }
    let mut server = Server::start().await;
    let to = destination(server.port, PATIENT);
    to.deliver(&handover("ix_1")).await.unwrap();
    server.kill();
    assert!(matches!(to.deliver(&handover("ix_2")).await, Err(Failure::Transient { .. })));
    server.run().await;
    to.deliver(&handover("ix_2")).await.unwrap();
    assert_eq!(server.ids(), ["ix_1", "ix_2"]);
}

#[tokio::test]
async fn what_a_person_can_put_right_on_the_server_is_waited_for() {
    if !Server::is_installed() {
        eprintln!("nats-server is not installed: what it says of our messages is not known");
        return;
    }
    let server = Server::empty("").await;
    let to = destination(server.port, PATIENT);
    transient(to.deliver(&handover("ix_1")).await, "no stream holds the subject");
    server.stream(Stream { max_messages: 1, ..Stream::default() }).await;
    to.deliver(&handover("ix_1")).await.unwrap();
    transient(to.deliver(&handover("ix_2")).await, "it is full");
    server.stream(Stream { max_messages: 2, ..Stream::default() }).await;
    to.deliver(&handover("ix_2")).await.unwrap();
    let other = destination(server.port, &format!("stream = 'OTHER'\n{PATIENT}"));
    transient(other.deliver(&handover("ix_3")).await, "another stream");
    assert_eq!(server.ids(), ["ix_1", "ix_2"]);
}

#[tokio::test]
async fn what_is_too_large_for_the_stream_needs_a_person() {
    if !Server::is_installed() {
        eprintln!("nats-server is not installed: what it says of our messages is not known");
        return;
    }
    let server = Server::empty("").await;
    server.stream(Stream { max_message_size: 500, ..Stream::default() }).await;
    let failure = destination(server.port, PATIENT).deliver(&handover("ix_1")).await.unwrap_err();
    assert!(matches!(&failure, Failure::Permanent { reason } if reason.contains("max_msg_size")), "{failure:?}");
    let larger = Handover { body: "x".repeat(1 << 20).into(), ..handover("ix_2") };
    let failure = destination(server.port, PATIENT).deliver(&larger).await.unwrap_err();
    assert!(matches!(&failure, Failure::Permanent { reason } if reason.contains("max_payload")), "{failure:?}");
}

#[tokio::test]
async fn a_wrong_password_is_said_and_a_corrected_file_heals_it() {
    if !Server::is_installed() {
        eprintln!("nats-server is not installed: what it says of our messages is not known");
        return;
    }
    let server = Server::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter9\n").unwrap();
    let section = section(server.port, &format!("password_file = '{}'\n{PATIENT}", file.path().display()))
        .replace(&format!("password = '{PASSWORD}'\n"), "");
    let to = build(&toml::from_str(&section).unwrap(), &egress(), Wrist::now()).unwrap();
    transient(to.deliver(&handover("ix_1")).await, "refused the login");
    std::fs::write(file.path(), PASSWORD).unwrap();
    to.deliver(&handover("ix_1")).await.unwrap();
    assert_eq!(server.ids(), ["ix_1"]);
}

#[tokio::test]
async fn tls_is_verified_with_the_roots_of_the_configuration() {
    if !Server::is_installed() {
        eprintln!("nats-server is not installed: what it says of our messages is not known");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("cert.pem"), own.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), own.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let tls = format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", cert.display(), key.display());
    let server = Server::empty(&tls).await;
    let section = section(server.port, PATIENT).replace("nats://", "tls://");
    let config = toml::from_str(&section).unwrap();
    let with = |ca_file| {
        let egress = Egress::with_environment(&egress::Config { proxy: None, ca_file }, |_| None).unwrap();
        build(&config, &egress, Wrist::now()).unwrap()
    };
    transient(with(None).deliver(&handover("ix_1")).await, "no connection");
    transient(with(Some(cert)).deliver(&handover("ix_1")).await, "no stream holds");
    // A server that speaks no TLS gets nothing where TLS is asked for.
    let bare = Server::start().await;
    let bare_section = crate::nats::section(bare.port, "timeout = '2s'").replace("nats://", "tls://");
    let to = build(&toml::from_str(&bare_section).unwrap(), &egress(), Wrist::now()).unwrap();
    assert!(matches!(to.deliver(&handover("ix_1")).await, Err(Failure::Transient { .. })));
    assert!(bare.ids().is_empty());
}
