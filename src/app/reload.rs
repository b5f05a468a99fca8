//! Another configuration while it runs: read anew when somebody asks (SIGHUP) or a file changes, and put in place whole.
//!
//! One that cannot be used changes nothing: the old one stays in force, the log and `/health` say what is wrong and where,
//! and it is read again until it can be used. A file that is being written is waited for.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::moves::Moves;
use super::wiring::Wiring;
use super::{Daemon, audits, due};
use crate::config::changes::{Changes, keep_at_start};
use crate::config::problem::Problems;
use crate::config::source::Source;
use crate::config::{Config, Loaded};
use crate::delivery::Route;
use crate::model::clock::UnixMillis;
use crate::model::work::{Lane, MailboxId, NewJob};
use crate::ops::health::{Check, Details, Status, shown};
use crate::store::StoreError;

/// How often is looked whether a file changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A file that was not touched for so long is whole.
const STILL: Duration = Duration::from_secs(1);
/// A configuration that cannot be used is read again after so many looks: what it lacks may come from elsewhere, such as the
/// file of a secret.
const AGAIN_AFTER: u32 = 5;
/// How long is waited where the store cannot be written to.
const STORE_PATIENCE: Duration = Duration::from_millis(500);
/// Whoever asks all the time is answered this often.
const SPACING: Duration = Duration::from_millis(250);

/// The wish for another configuration, and how the one in force stands.
pub(super) struct Reloads {
    asked: Notify,
    stands: Mutex<Stands>,
}

#[derive(Debug)]
struct Stands {
    loaded_at: UnixMillis,
    refused: Option<Refused>,
    needs_restart: Vec<&'static str>,
}

/// What stands in the files cannot be used.
#[derive(Debug)]
struct Refused {
    since: UnixMillis,
    reason: String,
}

impl Reloads {
    /// The first configuration was read now.
    pub(super) fn new(now: UnixMillis) -> Self {
        show_loaded(now);
        let stands = Stands { loaded_at: now, refused: None, needs_restart: Vec::new() };
        Self { asked: Notify::new(), stands: Mutex::new(stands) }
    }

    fn stands(&self) -> MutexGuard<'_, Stands> {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the configuration stands.
    pub(super) fn check(&self) -> Check {
        let stands = self.stands();
        let refused = stands.refused.as_ref();
        let reason = refused.map(|it| format!("what stands in the files is not used, because {}", it.reason));
        Check {
            kind: "configuration",
            name: "configuration".into(),
            status: if refused.is_some() { Status::Degraded } else { Status::Ok },
            reason,
            details: Details::Configuration {
                loaded_at: shown(Some(stands.loaded_at)),
                refused_at: shown(refused.map(|it| it.since)),
                needs_restart: stands.needs_restart.clone(),
            },
        }
    }

    /// Another configuration is in force, or the same one once more.
    fn taken(&self, needs_restart: Vec<&'static str>, now: UnixMillis) {
        show_loaded(now);
        *self.stands() = Stands { loaded_at: now, refused: None, needs_restart };
    }

    /// The old one stays. Returns whether that is news.
    fn refused(&self, reason: String, now: UnixMillis) -> bool {
        let mut stands = self.stands();
        let is_news = stands.refused.as_ref().is_none_or(|it| it.reason != reason);
        let since = stands.refused.as_ref().map_or(now, |it| it.since);
        stands.refused = Some(Refused { since, reason });
        is_news
    }

    fn is_refused(&self) -> bool {
        self.stands().refused.is_some()
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point by the exposition format")]
fn show_loaded(at: UnixMillis) {
    metrics::gauge!("mailspan_configuration_loaded_timestamp_seconds").set(at as f64 / 1000.0);
}

fn count(outcome: &'static str) {
    metrics::counter!("mailspan_configuration_reloads_total", "outcome" => outcome).increment(1);
}

impl Daemon {
    /// Asks that the configuration be read anew. Asked several times before that begins, it is read once.
    pub fn ask_to_reload(&self) {
        self.reloads.asked.notify_one();
    }

    /// Takes over what changes in the files, until the stop.
    pub(super) async fn follow_configuration(&self, source: Option<Source>, stop: CancellationToken) {
        let Some(mut source) = source else { return stop.cancelled().await };
        let following = async {
            let (mut looks, mut moves, mut spaced) = (0, Moves::default(), Instant::now());
            loop {
                let asked = async {
                    tokio::time::sleep_until(spaced).await;
                    self.reloads.asked.notified().await;
                };
                let was_asked = tokio::select! {
                    () = asked => true,
                    () = tokio::time::sleep(LOOK_EVERY) => false,
                    left = moves.left() => {
                        self.arrive(&mut moves, left).await;
                        continue;
                    }
                };
                looks += 1;
                let is_due_again = looks >= AGAIN_AFTER && self.reloads.is_refused();
                if was_asked || is_due_again || source.has_changed() {
                    source = self.reload(source, was_asked, &mut moves).await;
                    (looks, spaced) = (0, Instant::now() + SPACING);
                }
            }
        };
        stop.run_until_cancelled(following).await;
    }

    /// Reads everything anew, as it is once nobody writes to it, and takes it over.
    async fn reload(&self, mut source: Source, was_asked: bool, moves: &mut Moves) -> Source {
        let loaded = loop {
            until_still(&source).await;
            let mut reading = source.clone();
            let read = tokio::task::spawn_blocking(move || {
                let loaded = reading.load();
                (loaded, reading)
            });
            match read.await {
                Ok((loaded, read)) => {
                    source = read;
                    // Whoever wrote meanwhile has not finished: half a file can look like a whole one.
                    if !source.has_changed() {
                        break loaded;
                    }
                }
                Err(error) => {
                    self.refuse(format!("reading it broke off: {error}"), was_asked);
                    return source;
                }
            }
        };
        match loaded {
            Ok(loaded) => {
                if let Err(error) = Box::pin(self.take_over(loaded, moves)).await {
                    self.refuse(format!("{error:#}"), was_asked);
                }
            }
            Err(problems) => self.refuse(told(&problems), was_asked),
        }
        source
    }

    /// Says so once, and to whoever asked.
    fn refuse(&self, reason: String, was_asked: bool) {
        if self.reloads.refused(reason.clone(), self.now()) || was_asked {
            count("refused");
            tracing::error!(
                reason,
                "The configuration was read anew and cannot be used, so the old one stays in force: {reason}"
            );
        }
    }

    /// Puts this configuration in the place of the one in force.
    async fn take_over(&self, loaded: Loaded, moves: &mut Moves) -> anyhow::Result<()> {
        let before = self.jobs.present();
        let mut config = loaded.config;
        let needs_restart = keep_at_start(&before.config, &mut config);
        let changes = Changes::between(&before.config, &config);
        if !changes.is_empty() {
            let log = config.telemetry.log.clone();
            let (jobs, old) = (Arc::clone(&self.jobs), Arc::clone(&before));
            let building = move || Wiring::build(config, &jobs.ground, Some(&old));
            let wiring = tokio::task::spawn_blocking(building).await??;
            let added = &changes.mailboxes.added;
            due::watch(&self.store, &wiring, added).await.context("new mailboxes could not be written down")?;
            self.metrics.refilter(&log)?;
            self.put_in_place(wiring, &before, &changes, moves).await;
            for warning in &loaded.warnings {
                tracing::warn!(key = warning.shown, "{}: {}", warning.shown, warning.message);
            }
        }
        count(if changes.is_empty() { "unchanged" } else { "applied" });
        tracing::info!("The configuration was read anew and is in force: {changes}");
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            tracing::warn!(
                keys,
                "What was changed here counts after a restart, and what is in use stays until then: {keys}"
            );
        }
        self.reloads.taken(needs_restart, self.now());
        Ok(())
    }

    /// From here on the new wiring is the present one. What does not work out at once is tried until it does: the restart
    /// would do the same.
    async fn put_in_place(&self, wiring: Wiring, before: &Arc<Wiring>, changes: &Changes, moves: &mut Moves) {
        moves.begin(&moved(before, &wiring, changes), before);
        self.jobs.moving.replace(moves.lanes());
        let redirected = redirected(before, &wiring);
        self.jobs.swap(wiring, redirected);
        let wiring = self.jobs.present();
        silence(before, &wiring);
        self.removed.lock().unwrap_or_else(PoisonError::into_inner).extend(changes.routes.removed.iter().cloned());
        let write = async || {
            let due = self.due_after(&wiring, before, changes, moves).await?;
            anyhow::Ok(self.store.enqueue(due).await?)
        };
        while !is_written(write().await).await {}
        self.ask_for_room().await;
    }

    /// The jobs that a restart would make due for what changed; those of mailboxes on their way to another folder come when
    /// they arrive.
    async fn due_after(
        &self,
        wiring: &Wiring,
        before: &Wiring,
        changes: &Changes,
        moves: &Moves,
    ) -> Result<Vec<NewJob>, StoreError> {
        let now = self.now();
        let mut jobs = due::farewells(&self.store, wiring, now).await?;
        let mut affected = affected(before, wiring, changes);
        affected.retain(|it| !moves.contains(it));
        jobs.extend(due::looks(wiring, &affected, now));
        jobs.extend(audits::first_audits(&changes.mailboxes.added, now));
        Ok(jobs)
    }
}

/// Whether what follows from another configuration is written down, or never can be. Else some time has passed.
pub(super) async fn is_written(written: anyhow::Result<()>) -> bool {
    match written {
        Ok(()) => true,
        Err(error) if matches!(error.downcast_ref(), Some(StoreError::Closed)) => true,
        Err(error) => {
            tracing::warn!(
                reason = format!("{error:#}"),
                "What follows from the new configuration cannot be written yet; trying again shortly"
            );
            tokio::time::sleep(STORE_PATIENCE).await;
            false
        }
    }
}

/// Waits until nobody has touched the files for a while. What was not touched since it was read is still.
async fn until_still(source: &Source) {
    if !source.has_changed() {
        return;
    }
    let mut before = source.prints();
    loop {
        tokio::time::sleep(STILL).await;
        let now = source.prints();
        if now == before {
            return;
        }
        before = now;
    }
}

/// Everything that is wrong, in one line.
fn told(problems: &Problems) -> String {
    let said: Vec<String> = problems.problems.iter().map(ToString::to_string).collect();
    said.join("; ")
}

/// Mailboxes of which another folder is watched now.
fn moved(before: &Wiring, wiring: &Wiring, changes: &Changes) -> Vec<MailboxId> {
    let folder = |of: &Wiring, it: &MailboxId| of.inbound.mailboxes.get(it).map(|it| it.config.folder.clone());
    changes.mailboxes.changed.iter().filter(|it| folder(before, it) != folder(wiring, it)).cloned().collect()
}

/// Mailboxes for which something is different.
fn affected(before: &Wiring, wiring: &Wiring, changes: &Changes) -> Vec<MailboxId> {
    let differs = |same: fn(&Config, &Config) -> bool| !same(&before.config, &wiring.config);
    let all = differs(|a, b| a.sync == b.sync) || differs(|a, b| a.server.public_url == b.server.public_url);
    let own: HashSet<&MailboxId> = changes.mailboxes.added.iter().chain(&changes.mailboxes.changed).collect();
    let tenants: HashSet<&String> = changes.tenants.added.iter().chain(&changes.tenants.changed).collect();
    let is_affected = |it: &&MailboxId| all || own.contains(it) || tenants.contains(&it.tenant);
    wiring.mailboxes.iter().filter(is_affected).cloned().collect()
}

/// What is handed over to somebody else than before. What was not there a moment ago may have been there earlier, and have
/// led elsewhere then.
fn redirected(before: &Wiring, wiring: &Wiring) -> Vec<Lane> {
    let is_other = |(name, it): &(&String, &Route)| {
        before.delivery.routes.get(*name).is_none_or(|was| !Arc::ptr_eq(&was.destination, &it.destination))
    };
    let routes = wiring.delivery.routes.iter().filter(is_other).map(|(name, _)| Lane::route(name));
    let was = before.outbound.callback.as_ref();
    let is_other = |it: &&Arc<_>| was.is_none_or(|was| !Arc::ptr_eq(was, it));
    let callbacks = wiring.outbound.callback.as_ref().filter(is_other).map(|_| Lane::callbacks());
    routes.chain(callbacks).collect()
}

/// Gauges of what is configured no longer say nothing any more, so that nobody is alarmed by what is not there.
fn silence(before: &Wiring, wiring: &Wiring) {
    const OF_MAILBOX: [&str; 5] = [
        "mailspan_mailbox_push",
        "mailspan_subscription_expiry_timestamp_seconds",
        "mailspan_audit_imbalance",
        "mailspan_audit_last_timestamp_seconds",
        "mailspan_parked_messages",
    ];
    for mailbox in before.mailboxes.iter().filter(|it| !wiring.inbound.mailboxes.contains_key(it)) {
        for name in OF_MAILBOX {
            metrics::gauge!(name, "mailbox" => mailbox.to_string()).set(f64::NAN);
        }
    }
    for tenant in before.tenants.iter().filter(|it| !wiring.tenants.iter().any(|now| now.config == it.config)) {
        for number in 1..=tenant.config.credentials.len() {
            let labels = [("tenant", tenant.config.name.clone()), ("credential", number.to_string())];
            metrics::gauge!("mailspan_credential_accepted", &labels).set(f64::NAN);
            metrics::gauge!("mailspan_credential_expiry_timestamp_seconds", &labels).set(f64::NAN);
        }
    }
}
