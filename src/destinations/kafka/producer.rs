//! A producer: it has an id and counts what it writes to each partition, so a batch that is sent again is kept once.
//!
//! It hands over one record at a time. What moves to another broker is followed there within the attempt; after
//! anything else it is given up, and with it its id.

use std::collections::HashMap;
use std::time::Duration;

use super::Cluster;
use super::link::Link;
use super::record::{Author, Record, batch, partition};
use super::verdict::{CONCURRENT, DUPLICATE_SEQUENCE, LEADER_NOT_AVAILABLE, Trouble};
use super::wire::{self, Heard, Topic};

/// The waits before a record is sent again within an attempt: leaders change in less.
const AGAIN_AFTER: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(1)];
/// All replicas in sync.
const ALL: i16 = -1;

/// A producer and its connections.
pub(super) struct Producer {
    id: i64,
    epoch: i16,
    written: HashMap<i32, i32>,
    topic: Option<Topic>,
    links: HashMap<i32, Link>,
}

impl Producer {
    /// One that nobody else is.
    pub(super) async fn new(cluster: &Cluster) -> Result<Self, Trouble> {
        let mut link = cluster.any().await?;
        let mut again = AGAIN_AFTER.iter();
        loop {
            let answer = link
                .ask(wire::INIT_PRODUCER_ID, |it| {
                    it.text(None);
                    it.i32(i32::MAX);
                })
                .await?;
            let mut heard = Heard(&answer);
            heard.i32().ok_or(Trouble::NoKafka)?; // throttled
            match (heard.i16().ok_or(Trouble::NoKafka)?, again.next()) {
                (0, _) => {
                    let (id, epoch) = (heard.i64().ok_or(Trouble::NoKafka)?, heard.i16().ok_or(Trouble::NoKafka)?);
                    return Ok(Self { id, epoch, written: HashMap::new(), topic: None, links: HashMap::new() });
                }
                // A cluster that has just begun has nobody yet to give out ids.
                (error, Some(wait)) if CONCURRENT.contains(&error) => tokio::time::sleep(*wait).await,
                (error, _) => return Err(Trouble::Refused(error)),
            }
        }
    }

    /// Hands a record over, until all replicas in sync have it.
    pub(super) async fn produce(&mut self, cluster: &Cluster, record: &Record<'_>) -> Result<(), Trouble> {
        let mut again = AGAIN_AFTER.iter();
        loop {
            let trouble = match self.try_to(cluster, record).await {
                Ok(()) => return Ok(()),
                Err(trouble) => trouble,
            };
            let Some(wait) = again.next().filter(|_| trouble.may_pass()) else { return Err(trouble) };
            // The same number again: a broker that has the batch already says so, or says nothing and keeps one.
            self.topic = None;
            self.links.clear();
            tokio::time::sleep(*wait).await;
        }
    }

    async fn try_to(&mut self, cluster: &Cluster, record: &Record<'_>) -> Result<(), Trouble> {
        let (to, leader) = self.place(cluster, record.key).await?;
        let sequence = self.written.get(&to).copied().unwrap_or(0);
        let batch = batch(record, Author { producer: self.id, epoch: self.epoch, sequence });
        let link = match self.links.get_mut(&leader) {
            Some(link) => link,
            None => {
                let broker = self.topic.as_ref().and_then(|it| it.brokers.iter().find(|it| it.id == leader));
                let broker = broker.ok_or(Trouble::Refused(LEADER_NOT_AVAILABLE))?;
                let link = cluster.open(&broker.host, broker.port).await?;
                self.links.entry(leader).or_insert(link)
            }
        };
        let answer = link
            .ask(wire::PRODUCE, |it| {
                it.text(None); // no transaction
                it.i16(ALL);
                it.i32(i32::try_from(cluster.timeout.as_millis()).unwrap_or(i32::MAX));
                it.i32(1);
                it.text(Some(&cluster.topic));
                it.i32(1);
                it.i32(to);
                it.sized(|it| it.0.extend(&batch));
            })
            .await?;
        match wire::produced(&answer).ok_or(Trouble::NoKafka)? {
            0 | DUPLICATE_SEQUENCE => {
                // It begins anew after the largest number.
                self.written.insert(to, sequence.checked_add(1).unwrap_or(0));
                Ok(())
            }
            error => Err(Trouble::Refused(error)),
        }
    }

    /// The partition of a key, and who leads it.
    async fn place(&mut self, cluster: &Cluster, key: &str) -> Result<(i32, i32), Trouble> {
        if self.topic.is_none() {
            let mut link = cluster.any().await?;
            let answer = link
                .ask(wire::METADATA, |it| {
                    it.i32(1);
                    it.text(Some(&cluster.topic));
                    it.i8(0); // a topic is made by whoever knows how many partitions and replicas it needs
                })
                .await?;
            let topic = wire::topic(&answer).ok_or(Trouble::NoKafka)?;
            if topic.error != 0 {
                return Err(Trouble::Refused(topic.error));
            }
            self.topic = Some(topic);
        }
        let leaders = self.topic.as_ref().map(|it| it.leaders.as_slice()).unwrap_or_default();
        match leaders.get(partition(key, leaders.len())) {
            Some((to, leader)) if *leader >= 0 => Ok((*to, *leader)),
            _ => Err(Trouble::Refused(LEADER_NOT_AVAILABLE)),
        }
    }
}
