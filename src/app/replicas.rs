//! This replica among others: it shows itself in the table, learns who else lives, and says where they differ.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Daemon;
use super::wiring::Wiring;
use crate::config::Config;
use crate::model::clock::UnixMillis;
use crate::model::ids;
use crate::ops::health::{Check, Details, Status};
use crate::ops::replicas::{Drift, drift};
use crate::store::{BEAT, Connections, Presence, Replica};

/// Where the database is away it is tried again after so long: when it is back all should be seen before
/// those that live count the silence of the others.
const SOON: Duration = Duration::from_secs(2);

/// What this replica knows of itself and of the others.
#[derive(Default)]
pub(super) struct Replicas(Mutex<Known>);

#[derive(Default)]
struct Known {
    own: Option<Own>,
    living: Vec<Replica>,
    drift: Option<Drift>,
}

/// What this replica shows of the wiring it works with.
struct Own {
    wiring: Arc<Wiring>,
    shows: Presence,
}

impl Replicas {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to show. Sums are made anew where the wiring is another.
    fn shows(&self, wiring: Arc<Wiring>, now: UnixMillis) -> Presence {
        let mut known = self.known();
        if let Some(own) = known.own.as_ref().filter(|it| Arc::ptr_eq(&it.wiring, &wiring)) {
            return own.shows.clone();
        }
        let parts = parts(&wiring.config);
        let before = known.own.take().map(|it| it.shows);
        let unchanged = before.as_ref().filter(|it| it.parts == parts).map(|it| it.configured_at);
        let shows = Presence {
            name: name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: before.map_or(now, |it| it.started_at),
            configured_at: unchanged.unwrap_or(now),
            parts,
        };
        known.own = Some(Own { wiring, shows: shows.clone() });
        shows
    }

    /// Who lives. A difference is told once, and once when it is over.
    fn learn(&self, living: Vec<Replica>, now: UnixMillis) {
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating point by the exposition format")]
        metrics::gauge!("mailspan_replicas").set(living.len() as f64);
        let found = drift(&living, now);
        let mut known = self.known();
        match (&known.drift, &found) {
            (before, Some(found)) if before.as_ref() != Some(found) => {
                tracing::warn!(replicas = living.len(), "{}", capital(&found.sentence()));
            }
            (Some(_), None) => tracing::info!(replicas = living.len(), "Replicas are configured alike again"),
            _ => {}
        }
        (known.living, known.drift) = (living, found);
    }

    /// How they are; none where there can be only one.
    fn check(&self, connections: Option<Connections>) -> Option<Check> {
        let connections = connections?;
        let known = self.known();
        let reason = known.drift.as_ref().map(Drift::sentence).or_else(|| crowd(known.living.len(), connections));
        Some(Check {
            kind: "replicas",
            name: "replicas".into(),
            status: if reason.is_some() { Status::Degraded } else { Status::Ok },
            reason,
            details: Details::Replicas { living: known.living.iter().map(|it| it.shows.name.clone()).collect() },
        })
    }
}

impl Daemon {
    /// Shows this replica in the table, again and again until the stop, and takes it out again.
    pub(super) async fn show_itself(&self, stop: CancellationToken) {
        let showing = async {
            loop {
                let now = self.clock.now();
                let mut turn = BEAT;
                match self.store.beat(self.replicas.shows(self.jobs.present(), now)).await {
                    Ok(living) => self.replicas.learn(living, now),
                    Err(error) if error.is_told() => turn = SOON,
                    Err(error) => tracing::warn!(reason = %error, "This replica could not show itself to the others"),
                }
                tokio::time::sleep(turn.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
            }
        };
        stop.run_until_cancelled(showing).await;
    }

    /// How the replicas are, where there can be several.
    pub(super) fn replicas_check(&self) -> Option<Check> {
        self.replicas.check(self.store.connections())
    }
}

/// More connections than the server takes, should all replicas need theirs.
fn crowd(living: usize, Connections { own, allowed }: Connections) -> Option<String> {
    let allowed = allowed?;
    let wanted = u32::try_from(living).unwrap_or(u32::MAX).saturating_mul(own);
    let sentence = || {
        format!(
            "{living} replicas may open {wanted} connections and the server takes {allowed}; raise its max_connections, or \
             put a connection pooler before it"
        )
    };
    (wanted > allowed).then(sentence)
}

/// Sums of what replicas should agree on, by part. Made of what may be shown: secrets are hidden in it, and of a URL that
/// may hold one only the place it leads to counts.
fn parts(config: &Config) -> BTreeMap<String, String> {
    let settings = (&config.sync, &config.routing, &config.store.retain, &config.limits.max_message_size);
    let parts = [
        ("tenants", format!("{:?}", config.tenants)),
        ("mailboxes", format!("{:?}", config.mailboxes)),
        ("routes", format!("{:?}", config.routes)),
        ("settings", format!("{settings:?}")),
    ];
    let sum = |text: String| ids::sha256_hex(text.as_bytes()).chars().take(16).collect();
    parts.into_iter().map(|(part, text)| (part.to_owned(), sum(text))).collect()
}

/// The name of this machine, which in a cluster is the pod's.
fn name() -> String {
    let given = std::env::var("HOSTNAME").ok().filter(|it| !it.is_empty());
    let read = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = given.or_else(read).unwrap_or_else(|| "mailspan".to_owned());
    format!("{}/{}", host.trim(), std::process::id())
}

fn capital(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_replicas_for_the_server_are_told_of() {
        let connections = |allowed| Connections { own: 11, allowed };
        assert_eq!(crowd(8, connections(Some(97))), None);
        assert!(crowd(9, connections(Some(97))).unwrap().contains("99 connections and the server takes 97"));
        assert_eq!(crowd(900, connections(None)), None);
    }
}
