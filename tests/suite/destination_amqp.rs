//! Interactions in a queue of a real RabbitMQ: confirmed, never nowhere, and what is done when the broker is not well.

use std::sync::Arc;

use mailspan::destinations::{About, Destination, Handover, build};
use mailspan::egress::{self, Egress};
use mailspan::model::outcome::Failure;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::broker::{Encrypted, Mood, Wire, silence};
use crate::destination_conformance::{Kind, NOBODY};
use crate::destination_webhook::{Wrist, egress, handover};
use crate::rabbit::{Rabbit, headers, section};
use crate::world::{TURN, until_so};

const PASSWORD: &str = "hunter2";
/// For attempts whose end is not the point.
const PATIENT: &str = "timeout = '60s'";

pub(crate) struct Amqp {
    rabbit: Option<Rabbit>,
    port: u16,
    timeout: &'static str,
}

impl Kind for Amqp {
    fn is_here() -> bool {
        Rabbit::is_here()
    }

    async fn well() -> Self {
        let rabbit = Rabbit::start().await;
        Self { port: rabbit.port, rabbit: Some(rabbit), timeout: "30s" }
    }

    async fn unreachable() -> Self {
        Self { rabbit: None, port: NOBODY, timeout: "30s" }
    }

    async fn hung() -> Option<Self> {
        Some(Self { rabbit: None, port: silence().await, timeout: "400ms" })
    }

    async fn refused() -> (Self, Handover) {
        (Self::well().await, Handover { body: "x".repeat(2 << 20).into(), ..handover("ix_1") })
    }

    fn section(&self) -> String {
        let host = self.rabbit.as_ref().map_or("mail", |it| &it.virtual_host);
        let section = section(self.port, host, &format!("timeout = '{}'", self.timeout));
        match self.rabbit {
            Some(_) => section,
            None => section.replace("password = 'guest'", &format!("password = '{PASSWORD}'")),
        }
    }

    fn held(&self) -> Vec<String> {
        self.rabbit.as_ref().map(Rabbit::ids).unwrap_or_default()
    }

    fn secrets(&self) -> Vec<String> {
        ["guest", PASSWORD].map(str::to_owned).to_vec()
    }
}

fn destination(section: &str) -> Arc<dyn Destination> {
    build(&toml::from_str(section).unwrap(), &egress(), Wrist::now()).unwrap()
}

fn transient(outcome: Result<(), Failure>, expected: &str) {
    match outcome {
        Err(Failure::Transient { reason, .. }) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{expected}: {other:?}"),
    }
}

#[tokio::test]
async fn a_message_is_lasting_and_says_what_it_is() {
    if !Rabbit::is_here() {
        eprintln!("RabbitMQ is not installed: what it says of our messages is not known");
        return;
    }
    let rabbit = Rabbit::start().await;
    let to = destination(&rabbit.section(rabbit.port, PATIENT));
    let about = About { thread: "th_1".into(), received_at: 1_795_262_400_123, ..About::default() };
    // More than one frame, and not a whole number of them.
    let body = format!("\"{}\"", "ä".repeat(150_000));
    let handover = Handover { about, body: body.clone().into(), headers: Vec::new(), attempt: 2, ..handover("ix_1") };
    to.deliver(&handover).await.unwrap();
    to.deliver(&Handover { interaction: "ix_2".into(), ..handover }).await.unwrap();
    let kept = rabbit.kept();
    let [first, second] = &kept[..] else { panic!("two messages: {kept:?}") };
    assert!(first.payload == body && second.properties["message_id"] == "ix_2");
    let mut properties = first.properties.clone();
    properties.as_object_mut().unwrap().remove("headers");
    let expected = json!({
        "content_type": "application/json", "delivery_mode": 2, "message_id": "ix_1", "timestamp": 1_795_262_400,
        "type": "interaction.email.received", "app_id": "mailspan",
    });
    assert_eq!(properties, expected);
    let headers = headers(first);
    assert_eq!((headers["mailspan-thread-id"].as_str(), headers["mailspan-attempt"].as_str()), ("th_1", "2"));
}

#[tokio::test]
async fn what_a_person_can_put_right_at_the_broker_is_waited_for() {
    if !Rabbit::is_here() {
        eprintln!("RabbitMQ is not installed: what it says of our messages is not known");
        return;
    }
    let rabbit = Rabbit::start().await;
    let section = rabbit.section(rabbit.port, PATIENT);
    let nowhere = destination(&section.replace("'support'", "'elsewhere'"));
    transient(nowhere.deliver(&handover("ix_1")).await, "no queue takes the message (312)");
    transient(nowhere.deliver(&handover("ix_1")).await, "no queue takes the message (312)");
    let missing = destination(&section.replace("exchange = 'in'", "exchange = 'missing'"));
    transient(missing.deliver(&handover("ix_1")).await, "has no such exchange (404)");
    let elsewhere = destination(&section.replace(&rabbit.virtual_host, "nowhere"));
    transient(elsewhere.deliver(&handover("ix_1")).await, "has no such virtual host, or not for this user (530)");
    let impostor = destination(&section.replace("password = 'guest'", &format!("password = '{PASSWORD}'")));
    transient(impostor.deliver(&handover("ix_1")).await, "refused access (403)");
    rabbit.queue(json!({ "x-max-length": 1, "x-overflow": "reject-publish" })).await;
    let to = destination(&section);
    to.deliver(&handover("ix_1")).await.unwrap();
    // A classic queue notices that it is full with the message that makes it so.
    transient(to.deliver(&handover("ix_2")).await, "could not keep the message");
    rabbit.queue(json!({})).await;
    to.deliver(&handover("ix_2")).await.unwrap();
    assert_eq!(rabbit.ids(), ["ix_2"]);
}

#[tokio::test]
async fn a_lost_confirmation_repeats_the_message_with_its_id_on_a_new_connection() {
    if !Rabbit::is_here() {
        eprintln!("RabbitMQ is not installed: what it says of our messages is not known");
        return;
    }
    let rabbit = Rabbit::start().await;
    let wire = Wire::to(rabbit.port).await;
    let to = destination(&rabbit.section(wire.port, "timeout = '15s'"));
    to.deliver(&handover("ix_0")).await.unwrap();
    wire.set(Mood::Swallowing);
    // Before the attempt ends: what the broker has not read by then is lost with the connection.
    let lost = handover("ix_1");
    let taken = until_so("the message in the queue", async || rabbit.ids() == ["ix_0", "ix_1"]);
    let (outcome, ()) = tokio::join!(to.deliver(&lost), taken);
    transient(outcome, "no confirmation within 15s");
    wire.set(Mood::Passing);
    to.deliver(&lost).await.unwrap();
    assert_eq!(wire.opened(), 2, "one connection, and another after the trouble");
    wire.set(Mood::Cut);
    assert!(matches!(to.deliver(&handover("ix_2")).await, Err(Failure::Transient { .. })));
    wire.set(Mood::Passing);
    to.deliver(&handover("ix_2")).await.unwrap();
    let kept = rabbit.kept();
    let ids: Vec<_> = kept.iter().map(|it| it.properties["message_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ix_0", "ix_1", "ix_1", "ix_2"], "the broker keeps both; consumers know them by their id");
}

#[tokio::test]
async fn a_broker_that_closes_the_connection_between_messages_is_found_again_within_the_attempt() {
    if !Rabbit::is_here() {
        eprintln!("RabbitMQ is not installed: what it says of our messages is not known");
        return;
    }
    let rabbit = Rabbit::start().await;
    let wire = Wire::to(rabbit.port).await;
    let to = destination(&rabbit.section(wire.port, PATIENT));
    to.deliver(&handover("ix_1")).await.unwrap();
    let heard = wire.heard();
    rabbit.close_all().await;
    until_so("the broker's last words on their way", async || wire.heard() > heard).await;
    // They lie there: whoever waits for anything sees them as well.
    tokio::time::sleep(TURN).await;
    to.deliver(&handover("ix_2")).await.unwrap();
    assert_eq!((wire.opened(), rabbit.ids()), (2, vec!["ix_1".to_owned(), "ix_2".to_owned()]));
}

#[tokio::test]
async fn tls_is_verified_with_the_roots_of_the_configuration() {
    if !Rabbit::is_here() {
        eprintln!("RabbitMQ is not installed: what it says of our messages is not known");
        return;
    }
    let rabbit = Rabbit::start().await;
    let encrypted = Encrypted::before(rabbit.port).await;
    let section = rabbit.section(encrypted.port, PATIENT).replace("amqp://", "amqps://");
    let with = |ca_file| {
        let egress = Egress::with_environment(&egress::Config { proxy: None, ca_file }, |_| None).unwrap();
        build(&toml::from_str(&section).unwrap(), &egress, Wrist::now()).unwrap()
    };
    transient(with(None).deliver(&handover("ix_1")).await, "no TLS connection");
    with(Some(encrypted.ca_file.clone())).deliver(&handover("ix_1")).await.unwrap();
    assert_eq!(rabbit.ids(), ["ix_1"]);
}

#[tokio::test]
async fn what_speaks_something_else_is_said_to() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for said in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"AMQP\x00\x01\x00\x00"] {
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.write_all(said).await.unwrap();
            connection.flush().await.unwrap();
            // Who hangs up too early takes the words along.
            let _ = tokio::io::copy(&mut connection, &mut tokio::io::sink()).await;
        }
    });
    let to = destination(&section(port, "mail", PATIENT));
    for _ in 0..2 {
        transient(to.deliver(&handover("ix_1")).await, "does not speak AMQP 0-9-1");
    }
}
