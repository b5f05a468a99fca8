//! The daemon, wired: configuration in, a running bridge out, and its ordered way to stop.
//!
//! Read top to bottom this is the picture of the house: store, tenants, mailboxes, routes, listeners, the loop.

mod alone;
mod audits;
mod callbacks;
mod checks;
mod credentials;
mod daemon;
mod delegated;
mod due;
mod ground;
mod jobs;
mod keys;
mod moves;
mod paused;
mod reload;
mod replicas;
mod routes;
mod sending;
mod sign_ins;
mod tenants;
mod wiring;

pub use alone::Alone;
pub use audits::NoAudit;
pub use sign_ins::{Departure, NotTaken, UnderWayState};

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config::source::Source;
use crate::http::{self, Listener};
use crate::inbound::webhook::Door;
use crate::model::clock::{Clock, SharedClock, UnixMillis};
use crate::model::work::MailboxId;
use crate::outbound::smtp::Submissions;
use crate::queue::Runner;
use crate::store::{Store, StoreError};
use crate::telemetry::Telemetry;
use ground::Ground;
use jobs::Jobs;
use paused::PausedMailboxes;
use reload::Reloads;
use replicas::Replicas;
use wiring::Wiring;

/// How often the recorder folds its histograms, so that they do not grow while nobody scrapes.
const UPKEEP_TURN: Duration = Duration::from_secs(5);
/// How often a start asks a store again that is away.
const STORE_TURN: Duration = Duration::from_secs(1);
/// How long the store may take to be closed: a database that has gone silent must not keep the daemon from ending.
const FAREWELL: Duration = Duration::from_secs(15);
/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// What the listeners ask of a running daemon.
pub struct Daemon {
    /// Whether it is on its way out.
    pub draining: AtomicBool,
    /// What is on disk.
    pub store: Store,
    /// The metrics recorder.
    pub metrics: Telemetry,
    clock: SharedClock,
    /// Routes that are no longer configured and were seen to have deliveries left.
    removed: Mutex<BTreeSet<String>>,
    jobs: Arc<Jobs>,
    reloads: Reloads,
    replicas: Replicas,
    /// Room for content that is passed on by link.
    pub downloads: Arc<Semaphore>,
    /// Room for one audit that was asked for.
    audits: Semaphore,
    /// Sign-ins under way.
    sign_ins: sign_ins::SignIns,
}

/// A wired bridge that has bound its listeners and has not begun to run.
pub struct Bridge {
    daemon: Arc<Daemon>,
    public: Listener,
    admin: Listener,
    submissions: Option<Submissions>,
    public_router: axum::Router,
    source: Option<Source>,
    grace: Duration,
}

impl Bridge {
    /// Wires everything the configuration names. Nothing runs yet; both listeners are bound.
    ///
    /// # Errors
    /// Something in the configuration cannot be used as it is; the message says what and where.
    pub async fn build(config: Config, metrics: Telemetry, clock: SharedClock) -> anyhow::Result<Self> {
        let public = Listener::bind(config.server.webhook_listen, config.server.webhook_tls.clone())
            .context("server.webhook_listen")?;
        let admin = Listener::bind(config.server.admin_listen, None).context("server.admin_listen")?;
        let ground = Ground::open(&config, clock, admin.address()?).await?;
        let wiring = Wiring::build(config, &ground, None)?;
        let all: Vec<MailboxId> = wiring.mailboxes.to_vec();
        due::watch(&ground.store, &wiring, &all).await?;
        let config = wiring.config.clone();
        let door = Door { hints: Arc::clone(&ground.hints), clock: Arc::clone(&ground.clock) };
        let public_router = http::public(door, config.server.allowed_sources.clone().unwrap_or_default());
        let downloads = http::downloads(config.limits.memory_budget.0);
        let grace = config.server.shutdown_timeout.0;
        let paused = PausedMailboxes::read(&ground.store).await?;
        let jobs = Arc::new(Jobs::new(ground, wiring, paused));
        let submissions = sending::listener(&config, &jobs)?;
        let daemon = Arc::new(Daemon {
            draining: AtomicBool::new(false),
            store: jobs.ground.store.clone(),
            metrics,
            clock: Arc::clone(&jobs.ground.clock),
            removed: Mutex::default(),
            reloads: Reloads::new(jobs.ground.clock.now()),
            jobs,
            replicas: Replicas::default(),
            downloads: Arc::new(Semaphore::new(downloads)),
            audits: Semaphore::new(1),
            sign_ins: sign_ins::SignIns::default(),
        });
        Ok(Self { daemon, public, admin, submissions, public_router, source: None, grace })
    }

    /// Takes over what changes in the files of `source`, from which this bridge was built.
    #[must_use]
    pub fn follow(self, source: Source) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Where the public listener is bound.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn public_address(&self) -> std::io::Result<SocketAddr> {
        self.public.address()
    }

    /// Where the private listener is bound.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn admin_address(&self) -> std::io::Result<SocketAddr> {
        self.admin.address()
    }

    /// Where mail is taken over SMTP, if anywhere.
    pub fn smtp_address(&self) -> Option<SocketAddr> {
        self.submissions.as_ref().and_then(|it| it.address().ok())
    }

    /// What a caller in the same process may ask while it runs.
    pub fn daemon(&self) -> Arc<Daemon> {
        Arc::clone(&self.daemon)
    }

    /// Runs until `stop`, then stops in order: ready turns 503 and the listeners stop accepting, the lanes stop
    /// claiming, attempts in flight get their time, the rest is given back, the store is closed.
    ///
    /// # Errors
    /// A part ended by itself; everything else was drained before this returns.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { daemon, public, admin, submissions, public_router, source, grace } = self;
        let (public_handle, admin_handle) = (public.handle(), admin.handle());
        let mut parts: JoinSet<(&'static str, anyhow::Result<()>)> = JoinSet::new();

        // The public listener stands before the first subscription is asked for: Graph proves it at once.
        parts.spawn(async move { ("the public listener", acknowledge(public, public_router).await) });
        let router = http::admin(Arc::clone(&daemon));
        let admin_part = tokio::spawn(async move { admin.serve(router).await });
        make_due(&daemon, &stop).await?;

        let looping = CancellationToken::new();
        let runner = Runner::new(daemon.store.clone(), Arc::clone(&daemon.jobs), Arc::clone(&daemon.clock));
        let token = looping.clone();
        parts.spawn(async move {
            runner.run(token, grace).await;
            ("the job loop", Ok(()))
        });
        if let Some(submissions) = submissions {
            let token = looping.clone();
            parts.spawn(async move {
                ("the submission listener", submissions.run(token, grace).await.map_err(anyhow::Error::from))
            });
        }
        let (token, hints) = (looping.clone(), Arc::clone(&daemon.jobs.ground.hints));
        let (hint_store, hint_clock) = (daemon.store.clone(), Arc::clone(&daemon.clock));
        parts.spawn(async move {
            hints.run(hint_store, hint_clock, token).await;
            ("the hint worker", Ok(()))
        });
        let (token, follower) = (looping.clone(), Arc::clone(&daemon));
        parts.spawn(async move {
            follower.follow_pauses(token).await;
            ("the eye on paused mailboxes", Ok(()))
        });
        let (token, watcher) = (looping.clone(), Arc::clone(&daemon));
        parts.spawn(async move {
            watcher.watch_credentials(token).await;
            ("the eye on credentials", Ok(()))
        });
        let (token, follower) = (looping.clone(), Arc::clone(&daemon));
        parts.spawn(async move {
            follower.follow_configuration(source, token).await;
            ("the eye on the configuration", Ok(()))
        });
        let (token, replica) = (looping.clone(), Arc::clone(&daemon));
        parts.spawn(async move {
            replica.show_itself(token).await;
            ("the replica's sign of life", Ok(()))
        });
        let (token, keeper) = (looping.clone(), Arc::clone(&daemon));
        parts.spawn(async move {
            keeper.watch_keys(token).await;
            ("the eye on keys", Ok(()))
        });
        let (token, watcher) = (looping.clone(), Arc::clone(&daemon));
        parts.spawn(async move {
            watcher.watch_sign_ins(token).await;
            ("the eye on sign-ins", Ok(()))
        });
        let (token, metrics) = (looping.clone(), daemon.metrics.clone());
        parts.spawn(async move {
            fold_metrics(metrics, token).await;
            ("the metrics upkeep", Ok(()))
        });

        let broken = tokio::select! {
            () = stop.cancelled() => None,
            Some(ended) = parts.join_next() => Some(ended),
        };
        daemon.draining.store(true, Ordering::Relaxed);
        public_handle.graceful_shutdown(Some(grace));
        looping.cancel();
        while parts.join_next().await.is_some() {}
        admin_handle.graceful_shutdown(Some(Duration::from_secs(1)));
        let admin_ended = admin_part.await;
        // A code that a browser brought in the last moment is good once.
        if tokio::time::timeout(FAREWELL, daemon.sign_ins.finished()).await.is_err() {
            tracing::warn!("A sign-in at the browser was broken off by the stop; begin it again");
        }
        // Without it the others find out by themselves.
        let farewell = async {
            drop(daemon.store.leave().await);
            daemon.store.close().await;
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!(
                "The database does not answer, so the others find out by themselves that this replica is gone"
            );
        }
        match broken {
            Some(Ok((part, Ok(())))) => anyhow::bail!("{part} ended by itself"),
            Some(Ok((part, Err(error)))) => Err(error.context(format!("{part} ended by itself"))),
            Some(Err(error)) => Err(anyhow::anyhow!("a part ended by itself: {error}")),
            None => admin_ended.context("the private listener")?,
        }
    }
}

/// Makes the first jobs due. A database that goes away in this moment is waited for as it would be a moment later.
async fn make_due(daemon: &Daemon, stop: &CancellationToken) -> Result<(), StoreError> {
    let trying = async {
        loop {
            let made = match due::first_jobs(&daemon.jobs).await {
                Ok(jobs) => daemon.store.enqueue(jobs).await,
                Err(error) => Err(error),
            };
            match made {
                Err(error) if error.may_pass() => tokio::time::sleep(STORE_TURN).await,
                made => return made,
            }
        }
    };
    stop.run_until_cancelled(trying).await.unwrap_or(Ok(()))
}

/// Serves notifications on a thread of their own: Graph counts the time until we answer, so an acknowledgement must not
/// wait behind a mail that is being parsed.
async fn acknowledge(public: Listener, router: axum::Router) -> anyhow::Result<()> {
    let (ended, end) = tokio::sync::oneshot::channel();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.map_err(anyhow::Error::from).and_then(|it| it.block_on(public.serve(router)));
        // Whoever waited is gone only when the daemon is.
        let _ = ended.send(served);
    };
    std::thread::Builder::new().name("acknowledge".into()).spawn(serve)?;
    end.await?
}

async fn fold_metrics(metrics: Telemetry, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(UPKEEP_TURN) => metrics.upkeep(),
        }
    }
}
