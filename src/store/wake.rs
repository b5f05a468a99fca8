//! Who is told that a lane has work: every listener in this process after the commit, every other replica with it.
//!
//! A wake is a hint. One that is missed is found by the agenda, and a listener that fell behind is told so. Where other
//! replicas cannot be heard, the agenda is read every few seconds instead.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::db::CHANNEL;
use super::error::StoreError;
use super::server::Server;
use crate::model::clock::UnixMillis;
use crate::model::work::Lane;

/// How many commits a listener may fall behind before it has to read the agenda.
const BEHIND: usize = 1024;
/// PostgreSQL refuses payloads of 8000 bytes.
const PAYLOAD: usize = 7000;
/// A line on which nothing is heard for so long is tried out: a network drops idle connections without a word.
const SILENCE: Duration = Duration::from_secs(20);
/// How long to wait for a line, and for what is said on it to try it out.
const ANSWER: Duration = Duration::from_secs(5);
/// How long until a line that was lost is sought again, by how often it was in vain; the last repeats.
const SEEK_AGAIN_MS: [u64; 5] = [100, 500, 1000, 2000, 5000];
/// So often in vain is told.
const TELL: usize = 2;
/// How often the agenda is read where nothing can be heard.
const ASK: Duration = Duration::from_secs(5);

/// A lane has a job that is due then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    /// The lane.
    pub lane: Lane,
    /// When its job is due.
    pub due_at: UnixMillis,
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// These lanes have work.
    Due(Arc<[Wake]>),
    /// Something was missed: read the agenda.
    Missed,
}

/// A listener's end.
pub struct Wakes(broadcast::Receiver<Heard>);

impl Wakes {
    /// Waits for the next. `None` once the store is gone.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(heard) => Some(heard),
            Err(RecvError::Lagged(_)) => Some(Heard::Missed),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Where wakes are said.
#[derive(Clone)]
pub(super) struct Notes {
    said: broadcast::Sender<Heard>,
    /// This process's name on the channel, so that it does not listen to itself. `None` when there are no other replicas.
    me: Option<String>,
}

/// What replicas tell each other.
#[derive(Serialize, Deserialize)]
struct Payload {
    from: String,
    due: Vec<(String, UnixMillis)>,
}

impl Notes {
    pub(super) fn new(replicas: bool) -> Self {
        Self { said: broadcast::channel(BEHIND).0, me: replicas.then(|| uuid::Uuid::now_v7().to_string()) }
    }

    pub(super) fn listen(&self) -> Wakes {
        Wakes(self.said.subscribe())
    }

    /// Says it in this process. Nobody listening is no error.
    pub(super) fn say(&self, wakes: Vec<Wake>) {
        if !wakes.is_empty() {
            drop(self.said.send(Heard::Due(wakes.into())));
        }
    }

    /// The same for other replicas, in pieces the channel takes.
    pub(super) fn payloads(&self, wakes: &[Wake]) -> Vec<String> {
        let Some(me) = &self.me else { return Vec::new() };
        let mut payloads = Vec::new();
        let mut due = Vec::new();
        let mut size = 0;
        for Wake { lane, due_at } in earliest(wakes.to_vec()) {
            // Quotes and backslashes are doubled at most; 32 is room for the number and the punctuation.
            let more = lane.0.len() * 2 + 32;
            if size + more > PAYLOAD && !due.is_empty() {
                payloads.extend(Self::payload(me, std::mem::take(&mut due)));
                size = 0;
            }
            size += more;
            due.push((lane.0, due_at));
        }
        if !due.is_empty() {
            payloads.extend(Self::payload(me, due));
        }
        payloads
    }

    fn payload(me: &str, due: Vec<(String, UnixMillis)>) -> Option<String> {
        serde_json::to_string(&Payload { from: me.to_owned(), due }).ok()
    }

    /// Passes on what other replicas say, until the store closes.
    pub(super) async fn hear(self, server: Server, closing: CancellationToken) {
        let listening = async {
            if server.is_pooled {
                return self.ask().await;
            }
            let mut in_vain = 0;
            loop {
                let Err(error) = self.hear_until_lost(&server, &mut in_vain).await;
                in_vain += 1;
                if in_vain == TELL {
                    tracing::warn!(reason = %error, "Wake-ups of other replicas are not heard; work they leave is looked for every few seconds");
                }
                let pause = SEEK_AGAIN_MS[(in_vain - 1).min(SEEK_AGAIN_MS.len() - 1)];
                tokio::time::sleep(jittered(Duration::from_millis(pause))).await;
                drop(self.said.send(Heard::Missed));
            }
        };
        closing.run_until_cancelled(listening).await;
    }

    /// Where sessions are not ours nobody can be heard.
    async fn ask(&self) {
        loop {
            tokio::time::sleep(jittered(ASK)).await;
            drop(self.said.send(Heard::Missed));
        }
    }

    async fn hear_until_lost(&self, server: &Server, in_vain: &mut usize) -> Result<Infallible, StoreError> {
        // A connection of its own: those of the pool may all be in use for a while.
        let line =
            PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(ANSWER);
        let line = line.connect_lazy_with((*server.options).clone());
        let mut listener = PgListener::connect_with(&line).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        // Whatever was said before we listened was missed.
        drop(self.said.send(Heard::Missed));
        let (mut is_proven, mut is_on_trial) = (false, false);
        loop {
            let patience = match (is_on_trial, is_proven) {
                (true, _) => ANSWER,
                (false, true) => SILENCE,
                (false, false) => Duration::ZERO,
            };
            match tokio::time::timeout(patience, listener.try_recv()).await {
                Ok(heard) => {
                    let lost = || StoreError::Unavailable("the line was cut".into());
                    self.pass_on(heard?.ok_or_else(lost)?.payload());
                    if std::mem::take(in_vain) >= TELL {
                        tracing::info!("Wake-ups of other replicas are heard again");
                    }
                    (is_proven, is_on_trial) = (true, false);
                }
                Err(_) if is_on_trial => return Err(StoreError::Unavailable("what is said does not arrive".into())),
                Err(_) => {
                    let own = self.me.as_deref().and_then(|me| Self::payload(me, Vec::new())).unwrap_or_default();
                    server.rows("SELECT pg_notify($1, $2)", vec![CHANNEL.into(), own.into()]).await?;
                    is_on_trial = true;
                }
            }
        }
    }

    fn pass_on(&self, payload: &str) {
        let Ok(payload) = serde_json::from_str::<Payload>(payload) else { return };
        if Some(&payload.from) != self.me.as_ref() {
            self.say(payload.due.into_iter().map(|(lane, due_at)| Wake { lane: Lane(lane), due_at }).collect());
        }
    }
}

/// About as long: replicas must not do the same at the same moment.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// One wake per lane: its earliest.
pub(super) fn earliest(wakes: Vec<Wake>) -> Vec<Wake> {
    let mut lanes = BTreeMap::new();
    for Wake { lane, due_at } in wakes {
        lanes.entry(lane).and_modify(|known: &mut UnixMillis| *known = (*known).min(due_at)).or_insert(due_at);
    }
    lanes.into_iter().map(|(lane, due_at)| Wake { lane, due_at }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wake(lane: &str, due_at: UnixMillis) -> Wake {
        Wake { lane: Lane(lane.into()), due_at }
    }

    #[test]
    fn a_lane_is_said_once_with_its_earliest_time() {
        assert_eq!(earliest(vec![wake("b", 2), wake("a", 5), wake("b", 1)]), [wake("a", 5), wake("b", 1)]);
    }

    #[test]
    fn many_lanes_travel_in_pieces_the_channel_takes() {
        let wakes: Vec<Wake> = (0..1000).map(|n| wake(&format!("mailbox:contoso/{n}@contoso.com\"\\"), n)).collect();
        let payloads = Notes::new(true).payloads(&wakes);
        assert!(payloads.iter().all(|payload| payload.len() < 8000));
        let heard: usize =
            payloads.iter().map(|payload| serde_json::from_str::<Payload>(payload).unwrap().due.len()).sum();
        assert_eq!(heard, 1000);
        assert!(Notes::new(false).payloads(&wakes).is_empty());
    }
}
