//! librdkafka's mock cluster, through Python's `confluent-kafka`: brokers that speak Kafka's protocol, written by others,
//! and their consumer to read back what came.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde::Deserialize;

use crate::broker::Running;

const CLUSTER: &str = r#"
import json, sys
from confluent_kafka import Consumer, Producer, TopicPartition, KafkaError
own = Producer({'bootstrap.servers': 'none', 'test.mock.num.brokers': int(sys.argv[1]), 'log_level': 0,
                'allow.auto.create.topics': True, 'message.max.bytes': 1000000})
while not own.list_topics('mail', timeout=120).topics['mail'].partitions:
    pass
brokers = [f'{it.host}:{it.port}' for it in own.list_topics(timeout=120).brokers.values()]
print(json.dumps(brokers), flush=True)
for _ in sys.stdin:
    partitions = own.list_topics('mail', timeout=120).topics['mail'].partitions
    reader = Consumer({'bootstrap.servers': ','.join(brokers), 'group.id': 'test', 'enable.partition.eof': True,
                       'auto.offset.reset': 'earliest', 'check.crcs': True, 'log_level': 0})
    reader.assign([TopicPartition('mail', it, 0) for it in partitions])
    left, found = set(partitions), []
    while left:
        it = reader.poll(120)
        assert it is not None, 'the cluster says nothing'
        if it.error():
            assert it.error().code() == KafkaError._PARTITION_EOF, it.error()
            # The end of one may be told twice, when something was added to it meanwhile.
            left.discard(it.partition())
            continue
        found.append({'key': it.key().decode(), 'value': it.value().decode(), 'partition': it.partition(),
                      'timestamp': it.timestamp()[1], 'headers': {k: v.decode() for k, v in it.headers() or []}})
    reader.close()
    print(json.dumps(found), flush=True)
"#;

/// The cluster. It ends when it is dropped.
pub(crate) struct Cluster {
    pub(crate) brokers: Vec<String>,
    running: Mutex<(Running, BufReader<std::process::ChildStdout>)>,
}

/// One record of the topic `mail`.
#[derive(Debug, Deserialize)]
pub(crate) struct Kept {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) partition: i32,
    pub(crate) timestamp: i64,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Cluster {
    pub(crate) fn is_installed() -> bool {
        let asked = Command::new("python3").args(["-c", "import confluent_kafka"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|it| it.success())
    }

    /// With a topic `mail`.
    pub(crate) fn start(brokers: usize) -> Self {
        let mut program = Command::new("python3");
        program.args(["-c", CLUSTER, &brokers.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        Self { brokers: serde_json::from_str(&line).unwrap(), running: Mutex::new((Running(child), said)) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.brokers[0].rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// What the topic holds.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let mut running = self.running.lock().unwrap();
        let (program, said) = &mut *running;
        program.0.stdin.as_mut().unwrap().write_all(b"read\n").unwrap();
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The distinct ids of interactions, as a consumer tells them apart.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.kept().into_iter().map(|it| it.headers["mailspan-interaction-id"].clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// The section of a route to these brokers.
pub(crate) fn section(brokers: &[String], more: &str) -> String {
    format!("kind = 'kafka'\nbrokers = {brokers:?}\ntopic = 'mail'\ntls = false\n{more}")
}
