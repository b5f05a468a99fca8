//! Interactions in a topic: keyed by their conversation, read back by others, and what is done when brokers are not well.

use std::collections::HashMap;
use std::sync::Arc;

use mailspan::destinations::{About, Destination, Handover, build};
use mailspan::egress::{self, Egress};
use mailspan::model::outcome::Failure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::broker::{Encrypted, Mood, Wire, silence};
use crate::destination_conformance::{Kind, NOBODY};
use crate::destination_webhook::{Wrist, egress, handover};
use crate::kafka::{Cluster, section};

/// For attempts whose end is not the point.
const PATIENT: &str = "timeout = '60s'";
const SASL: &str = "sasl = { mechanism = 'plain', username = 'hunter3', password = 'hunter2' }";

pub(crate) struct Kafka {
    cluster: Option<Cluster>,
    brokers: Vec<String>,
    timeout: &'static str,
}

impl Kind for Kafka {
    fn is_here() -> bool {
        Cluster::is_installed()
    }

    async fn well() -> Self {
        let cluster = Cluster::start(1);
        Self { brokers: cluster.brokers.clone(), cluster: Some(cluster), timeout: "30s" }
    }

    async fn unreachable() -> Self {
        Self { cluster: None, brokers: vec![format!("localhost:{NOBODY}")], timeout: "10s" }
    }

    async fn hung() -> Option<Self> {
        Some(Self { cluster: None, brokers: vec![format!("127.0.0.1:{}", silence().await)], timeout: "400ms" })
    }

    async fn refused() -> (Self, Handover) {
        let broken = vec![("mailspan-x", "a\r\nb".to_owned())];
        (Self::well().await, Handover { headers: broken, ..handover("ix_1") })
    }

    fn section(&self) -> String {
        let sasl = if self.cluster.is_none() { SASL } else { "" };
        section(&self.brokers, &format!("timeout = '{}'\n{sasl}", self.timeout))
    }

    fn held(&self) -> Vec<String> {
        self.cluster.as_ref().map(Cluster::ids).unwrap_or_default()
    }

    fn secrets(&self) -> Vec<String> {
        ["hunter2", "hunter3"].map(str::to_owned).to_vec()
    }
}

fn destination(brokers: &[String], more: &str) -> Arc<dyn Destination> {
    build(&toml::from_str(&section(brokers, more)).unwrap(), &egress(), Wrist::now()).unwrap()
}

fn of_thread(id: &str, thread: &str) -> Handover {
    Handover { about: About { thread: thread.into(), ..About::default() }, headers: Vec::new(), ..handover(id) }
}

#[tokio::test]
async fn the_mails_of_a_thread_stand_in_one_partition_in_their_order() {
    if !Cluster::is_installed() {
        eprintln!("Python's confluent-kafka is not installed: what Kafka says of our records is not known");
        return;
    }
    let cluster = Cluster::start(3);
    let to = destination(&cluster.brokers, PATIENT);
    for number in 0..12 {
        to.deliver(&of_thread(&format!("ix_{number:02}"), &format!("th_{}", number % 4))).await.unwrap();
    }
    let kept = cluster.kept();
    assert_eq!(kept.len(), 12);
    let mut threads: HashMap<&str, Vec<_>> = HashMap::new();
    for it in &kept {
        threads.entry(&it.key).or_default().push((it.partition, &it.headers["mailspan-interaction-id"]));
    }
    assert_eq!(threads.len(), 4);
    for (thread, mails) in &threads {
        assert!(mails.iter().all(|it| it.0 == mails[0].0), "{thread}: {mails:?}");
        assert!(mails.is_sorted(), "{thread}: {mails:?}");
    }
    let partitions: std::collections::BTreeSet<_> = kept.iter().map(|it| it.partition).collect();
    assert!(partitions.len() > 1, "threads are spread: {partitions:?}");
    let first = &kept[0];
    assert!(first.value.contains("interaction.email.received") && first.timestamp > 1_700_000_000_000);
    for (name, value) in
        [("content-type", "application/json"), ("mailspan-route", "support-flow"), ("mailspan-attempt", "1")]
    {
        assert_eq!(first.headers[name], value);
    }
}

#[tokio::test]
async fn a_cloud_event_is_marked_as_the_binding_for_kafka_says() {
    if !Cluster::is_installed() {
        eprintln!("Python's confluent-kafka is not installed: what Kafka says of our records is not known");
        return;
    }
    let cluster = Cluster::start(1);
    let body = r#"{"specversion":"1.0","id":"ix_1","source":"/s","type":"t","data":{}}"#.into();
    let content_type = "application/cloudevents+json; charset=utf-8";
    let event = Handover { body, content_type, ..of_thread("ix_1", "th_1") };
    destination(&cluster.brokers, PATIENT).deliver(&event).await.unwrap();
    let kept = cluster.kept();
    assert_eq!((&kept[0].headers["ce_id"], &kept[0].headers["content-type"]), (&"ix_1".into(), &content_type.into()));
}

#[tokio::test]
async fn a_broker_that_falls_silent_or_hangs_up_is_found_again() {
    if !Cluster::is_installed() {
        eprintln!("Python's confluent-kafka is not installed: what Kafka says of our records is not known");
        return;
    }
    let cluster = Cluster::start(1);
    let wire = Wire::of_kafka(cluster.port()).await;
    let to = destination(&[format!("127.0.0.1:{}", wire.port)], "timeout = '15s'");
    to.deliver(&of_thread("ix_1", "th_1")).await.unwrap();
    let opened = wire.opened();
    to.deliver(&of_thread("ix_2", "th_1")).await.unwrap();
    assert_eq!(wire.opened(), opened, "connections are kept");
    wire.set(Mood::Swallowing);
    let failure = to.deliver(&of_thread("ix_3", "th_1")).await.unwrap_err();
    assert!(matches!(&failure, Failure::Transient { reason, .. } if reason.contains("within 15s")), "{failure:?}");
    wire.set(Mood::Passing);
    to.deliver(&of_thread("ix_3", "th_1")).await.unwrap();
    // Cut and at once there again: the attempt itself finds the way.
    let opened = wire.opened();
    wire.cut_once().await;
    to.deliver(&of_thread("ix_4", "th_1")).await.unwrap();
    assert!(wire.opened() > opened, "the old connections were of no use");
    assert_eq!(cluster.ids(), ["ix_1", "ix_2", "ix_3", "ix_4"]);
}

#[tokio::test]
async fn a_topic_that_is_missing_is_waited_for_and_not_made() {
    if !Cluster::is_installed() {
        eprintln!("Python's confluent-kafka is not installed: what Kafka says of our records is not known");
        return;
    }
    let cluster = Cluster::start(1);
    let section = section(&cluster.brokers, PATIENT).replace("'mail'", "'missing'");
    let to = build(&toml::from_str(&section).unwrap(), &egress(), Wrist::now()).unwrap();
    let failure = to.deliver(&of_thread("ix_1", "th_1")).await.unwrap_err();
    assert!(matches!(&failure, Failure::Transient { reason, .. } if reason.contains("no such topic")), "{failure:?}");
}

#[tokio::test]
async fn tls_is_verified_with_the_roots_of_the_configuration() {
    if !Cluster::is_installed() {
        eprintln!("Python's confluent-kafka is not installed: what Kafka says of our records is not known");
        return;
    }
    let cluster = Cluster::start(1);
    let renamed = Wire::of_kafka(cluster.port()).await;
    let encrypted = Encrypted::before(renamed.port).await;
    let brokers = [format!("localhost:{}", encrypted.port)];
    let section = section(&brokers, PATIENT).replace("tls = false\n", "");
    let with = |ca_file| {
        let egress = Egress::with_environment(&egress::Config { proxy: None, ca_file }, |_| None).unwrap();
        build(&toml::from_str(&section).unwrap(), &egress, Wrist::now()).unwrap()
    };
    for (ca_file, expected) in [(None, "no TLS connection"), (Some(encrypted.ca_file.clone()), "no TLS connection")] {
        // With the roots the first broker is believed; the one it names speaks no TLS.
        let failure = with(ca_file).deliver(&of_thread("ix_1", "th_1")).await.unwrap_err();
        assert!(matches!(&failure, Failure::Transient { reason, .. } if reason.contains(expected)), "{failure:?}");
    }
    assert!(renamed.opened() > 0, "the first broker was asked");
}

/// What a broker of our own was asked: the number of the request, and of a batch the producer's id, epoch and sequence.
type Asked = Arc<std::sync::Mutex<Vec<(i16, Vec<u8>)>>>;

/// A broker that leads one partition and hangs up after each of the first so many batches, unanswered.
async fn forgetful(hang_ups: usize) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Asked::default();
    let all = asked.clone();
    tokio::spawn(async move {
        while let Ok((line, _)) = listener.accept().await {
            tokio::spawn(answer(line, port, all.clone(), hang_ups));
        }
    });
    (port, asked)
}

async fn answer(mut line: TcpStream, port: u16, asked: Asked, hang_ups: usize) {
    while let Ok(length) = line.read_i32().await {
        let mut request = vec![0; usize::try_from(length).unwrap()];
        line.read_exact(&mut request).await.unwrap();
        let api = i16::from_be_bytes([request[0], request[1]]);
        // Magic, checksum, attributes, last offset, two times: then who wrote it.
        let author =
            request.windows(4).rposition(|it| it == [0xFF; 4] && api == 0).map(|at| at + 4 + 1 + 4 + 2 + 4 + 16);
        let author = author.map(|at| request[at..at + 14].to_vec()).unwrap_or_default();
        let batches = {
            let mut asked = asked.lock().unwrap();
            asked.push((api, author));
            asked.iter().filter(|it| it.0 == 0).count()
        };
        let body: Vec<u8> = match api {
            0 if batches <= hang_ups => return,
            0 => [
                &b"\0\0\0\x01\0\x04mail\0\0\0\x01\0\0\0\0"[..],
                &46_i16.to_be_bytes(), // it has it already
                &[0xFF; 24],
                &[0; 4],
            ]
            .concat(),
            22 => [&[0; 6][..], &77_i64.to_be_bytes(), &[0, 3]].concat(),
            3 => [
                &b"\0\0\0\0\0\0\0\x01\0\0\0\x05\0\x09127.0.0.1"[..],
                &i32::from(port).to_be_bytes(),
                b"\xFF\xFF\xFF\xFF\0\0\0\x05\0\0\0\x01\0\0\0\x04mail\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0",
            ]
            .concat(),
            other => panic!("request {other}"),
        };
        let length = i32::try_from(body.len() + 4).unwrap();
        line.write_all(&[&length.to_be_bytes()[..], &request[4..8], &body].concat()).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_is_repeated_with_its_number_until_the_broker_says_that_it_has_it() {
    let (port, asked) = forgetful(2).await;
    let to = destination(&[format!("127.0.0.1:{port}")], PATIENT);
    to.deliver(&of_thread("ix_1", "th_1")).await.unwrap();
    to.deliver(&of_thread("ix_2", "th_1")).await.unwrap();
    let asked = asked.lock().unwrap().clone();
    let batches: Vec<_> = asked.iter().filter(|it| it.0 == 0).map(|it| it.1.clone()).collect();
    let numbered = |sequence: u8| [&77_i64.to_be_bytes()[..], &[0, 3, 0, 0, 0, sequence]].concat();
    assert_eq!(batches, [numbered(0), numbered(0), numbered(0), numbered(1)]);
    assert_eq!(asked.iter().filter(|it| it.0 == 22).count(), 1, "one producer");
}
