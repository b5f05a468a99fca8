//! `--round-trip`: a mail from the mailbox to itself, followed on its whole way.
//!
//! The probe is a real mail: routes see it like any other, and handing it over is what is proven. Its subject says what it
//! is, a header marks it, no copy is kept in Sent Items, and it is removed from the mailbox at the end, however that is. One
//! that came too late for that is removed by the next trip.

mod journey;
mod probes;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::journey::{is_marked, is_over, legs, shown, standing};
use super::codes;
use super::finding::{Entry, Fact, Finding, Step};
use super::mailbox::{self, Ground};
use super::removal::remove;
use super::{Mailbox, RoundTrip};
use crate::graph::{Graph, GraphError, ReceivedFrom, SendError};
use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::token::BoxFuture;

/// How long the mark as read may take once every route has accepted.
const MARKED_WITHIN: Duration = Duration::from_secs(5);
/// How long after a question the next is asked: at first, and at last. The times of the legs are the daemon's own.
const FIRST_TURN: Duration = Duration::from_millis(500);
const LAST_TURN: Duration = Duration::from_secs(2);
/// Mail that came this long before the probe was sent is looked at as well: clocks differ.
const SLACK_MS: i64 = 10 * 60 * 1000;
/// A mailbox in which more comes meanwhile is asked for in pages, up to so many.
const MOST_PAGES: usize = 20;
/// How long a probe that is on its way is waited for once somebody stops the trip.
const GRACE: Duration = Duration::from_secs(5);

/// Who tells journeys: the running daemon.
pub trait Journeys: Send + Sync {
    /// Whether it may be asked; or why not.
    fn ready(&self) -> BoxFuture<'_, Result<(), String>>;

    /// The answer of `GET /api/v1/trace` for the mail that has this id in its mailbox and was found since then, or why
    /// there is none.
    fn of<'a>(&'a self, id: &'a str, since: UnixMillis) -> BoxFuture<'a, Result<Value, String>>;
}

/// A probe on its way.
struct Trip<'a> {
    mailbox: &'a Mailbox,
    ground: Ground<'a>,
    graph: &'a Graph,
    token: String,
    subject: String,
    sent_at: UnixMillis,
    /// How long it may take to arrive, and from there to be handed over.
    wait: Duration,
    /// Its id in the mailbox, once it was seen there.
    id: OnceLock<String>,
}

/// Sends a probe and follows it.
pub(super) async fn travel(
    mailbox: &Mailbox,
    ground: Option<Ground<'_>>,
    graph: Option<&Graph>,
    how: &RoundTrip,
    clock: &SharedClock,
    stop: &CancellationToken,
) -> Vec<Finding> {
    let skipped = |why: &str| vec![Finding::skipped(Step::RoundTrip, mailbox.address.as_str(), why)];
    let (Some(ground), Some(graph)) = (ground, graph) else {
        return skipped("What failed above comes first");
    };
    if !mailbox.receive {
        return skipped("No mail is read from it: it only sends");
    }
    if !mailbox.send {
        return skipped("send = false: write to it from elsewhere, and ask `mailspan trace` where that mail is");
    }
    let token = uuid::Uuid::new_v4().simple().to_string();
    let subject = probes::subject(&token);
    let (sent_at, wait, id) = (clock.now(), how.wait, OnceLock::new());
    let trip = Trip { mailbox, ground, graph, token, subject, sent_at, wait, id };
    trip.make(how.journeys.as_deref(), stop).await
}

impl Trip<'_> {
    async fn make(&self, journeys: Option<&dyn Journeys>, stop: &CancellationToken) -> Vec<Finding> {
        if let Some(daemon) = journeys
            && let Err(problem) = daemon.ready().await
        {
            return vec![self.found(&codes::DAEMON_UNREADABLE, vec![("problem", problem)])];
        }
        let swept = self.sweep().await;
        if stop.is_cancelled() {
            return swept.into_iter().collect();
        }
        let begun = Instant::now();
        if let Err(error) = self.send().await {
            return swept.into_iter().chain([self.unsent(&error)]).collect();
        }
        let sent = begun.elapsed();
        let followed = async {
            match journeys {
                Some(daemon) => self.follow(daemon, sent).await,
                None => self.wait_for_it(sent).await,
            }
        };
        let outcome = match stop.run_until_cancelled(followed).await {
            Some(outcome) => outcome,
            None => self.stopped().await,
        };
        swept.into_iter().chain([outcome]).chain(self.clean_up().await).collect()
    }

    /// Removes what earlier trips left: their probes came too late for them.
    async fn sweep(&self) -> Option<Finding> {
        let of_others = i64::try_from(self.wait.as_millis()).unwrap_or(i64::MAX).saturating_mul(2).max(SLACK_MS);
        let before = self.sent_at.saturating_sub(of_others);
        let error = probes::sweep(self.graph, self.mailbox, self.ground.tenant.cloud, before).await.err()?;
        Some(self.found(&codes::OLD_PROBES_LEFT, vec![("graph", mailbox::said(&error))]))
    }

    async fn send(&self) -> Result<(), GraphError> {
        let written = probes::written(&self.token, &self.mailbox.address);
        match self.graph.send_mail(&self.mailbox.address, &written, false).await {
            // Whether it left shows by itself.
            Ok(()) | Err(SendError::Unknown(_)) => Ok(()),
            Err(SendError::NotDone(error)) => Err(error),
        }
    }

    fn unsent(&self, error: &GraphError) -> Finding {
        match error {
            GraphError::AccessDenied(refusal) if !refusal.by_policy => {
                self.found(&codes::SEND_DENIED, vec![("graph", mailbox::said(error))])
            }
            _ => mailbox::refused(Step::RoundTrip, &self.mailbox.address, &self.mailbox.folder, error, self.ground),
        }
    }

    /// Without a daemon: until the mail lies in the folder.
    async fn wait_for_it(&self, sent: Duration) -> Finding {
        let (begun, mut turns) = (Instant::now(), Turns::default());
        while begun.elapsed() < self.wait {
            if self.look().await.is_some() {
                let came = begun.elapsed() + sent;
                let what = format!(
                    "A probe mail was sent in {} and lay in the folder after {}; no daemon runs here that would hand it over",
                    shown(sent),
                    shown(came)
                );
                return Finding::pass(Step::RoundTrip, self.mailbox.address.as_str(), what, self.facts());
            }
            turns.pause().await;
        }
        self.late(&codes::PROBE_NOT_ARRIVED, None)
    }

    /// With a daemon: until it has handed the mail over, or it is clear that it will not. It is asked by the mail's id only,
    /// which it finds in an index: for a text it would search all that it knows.
    async fn follow(&self, daemon: &dyn Journeys, sent: Duration) -> Finding {
        let (begun, mut turns) = (Instant::now(), Turns::default());
        let (mut arrived, mut journey) = (None, None);
        let mut ended: Option<Instant> = None;
        loop {
            if let Some(id) = self.look().await {
                arrived = arrived.or_else(|| Some(Instant::now()));
                if let Ok(answer) = daemon.of(id, self.sent_at.saturating_sub(SLACK_MS)).await
                    && let Some(told) = answer["messages"].as_array().and_then(|it| it.first()).cloned()
                {
                    journey = Some(told);
                }
            }
            if let Some(told) = &journey
                && is_over(told)
            {
                let since = *ended.get_or_insert_with(Instant::now);
                if is_marked(told) || told["state"] != "delivered" || since.elapsed() > MARKED_WITHIN {
                    return self.arrived(told, sent);
                }
            }
            match arrived {
                None if begun.elapsed() > self.wait => return self.late(&codes::PROBE_NOT_ARRIVED, None),
                Some(at) if at.elapsed() > self.wait => {
                    let entry = if journey.is_some() { &codes::PROBE_STUCK } else { &codes::PROBE_NOT_FOUND };
                    return self.late(entry, journey.as_ref());
                }
                _ => turns.pause().await,
            }
        }
    }

    /// Somebody stopped it: a probe that is about to arrive is waited for, so that it can be removed.
    async fn stopped(&self) -> Finding {
        let (begun, mut turns) = (Instant::now(), Turns::default());
        loop {
            // What arrives while a look takes its time is found by the next one.
            let waited = begun.elapsed();
            if self.look().await.is_some() {
                break;
            }
            if waited > GRACE {
                let why = "it had not arrived yet".to_owned();
                return self.found(&codes::PROBE_LEFT_BEHIND, vec![("graph", why)]);
            }
            turns.pause().await;
        }
        let why = "It was stopped before the probe had gone its way; the probe is removed";
        Finding::skipped(Step::RoundTrip, self.mailbox.address.as_str(), why)
    }

    /// The probe's id, once it lies in the folder, or where the daemon has moved it from there.
    async fn look(&self) -> Option<&str> {
        for folder in self.mailbox.places() {
            if self.id.get().is_none()
                && let Ok(Some(id)) = self.look_into(folder).await
            {
                return Some(self.id.get_or_init(|| id).as_str());
            }
        }
        self.id.get().map(String::as_str)
    }

    async fn look_into(&self, folder: &str) -> Result<Option<String>, GraphError> {
        let address = &self.mailbox.address;
        let start = ReceivedFrom::Start { folder, since: self.sent_at.saturating_sub(SLACK_MS) };
        let mut page = self.graph.received_since(address, start).await?;
        for _ in 0..MOST_PAGES {
            let is_it = |subject: &str| subject.contains(&self.token);
            if let Some(it) = page.items.iter().find(|it| it.subject.as_ref().is_some_and(|it| is_it(it.as_str()))) {
                return Ok(Some(it.id.clone()));
            }
            let Some(next) = page.next else { break };
            page = self.graph.received_since(address, ReceivedFrom::Link(&next)).await?;
        }
        Ok(None)
    }

    fn arrived(&self, journey: &Value, sent: Duration) -> Finding {
        let standing = standing(journey);
        match journey["state"].as_str().unwrap_or_default() {
            "delivered" => {
                let what = format!("A probe mail went the whole way: sent in {}, {}", shown(sent), legs(journey));
                Finding::pass(Step::RoundTrip, self.mailbox.address.as_str(), what, self.facts())
            }
            "filtered" => self.found(&codes::PROBE_FILTERED, vec![("standing", standing)]),
            _ => self.found(&codes::PROBE_PARKED, vec![("standing", standing)]),
        }
    }

    fn late(&self, entry: &Entry, journey: Option<&Value>) -> Finding {
        let standing = journey.map(standing).unwrap_or_default();
        self.found(entry, vec![("seconds", self.wait.as_secs().to_string()), ("standing", standing)])
    }

    async fn clean_up(&self) -> Option<Finding> {
        let (id, cloud) = (self.id.get()?, self.ground.tenant.cloud);
        let error = remove(self.graph, &self.mailbox.address, id, cloud).await.err()?;
        Some(self.found(&codes::PROBE_LEFT_BEHIND, vec![("graph", mailbox::said(&error))]))
    }

    fn found(&self, entry: &Entry, more: Vec<Fact>) -> Finding {
        let mut facts = self.facts();
        facts.extend(more);
        Finding::of(entry, Step::RoundTrip, self.mailbox.address.as_str(), facts)
    }

    fn facts(&self) -> Vec<Fact> {
        vec![
            ("mailbox", self.mailbox.address.as_str().to_owned()),
            ("folder", self.mailbox.folder.clone()),
            ("client_id", self.ground.tenant.client_id.clone()),
            ("token", self.token.clone()),
            ("subject", self.subject.clone()),
        ]
    }
}

/// Pauses between questions, each twice as long as the one before, up to the last.
struct Turns(Duration);

impl Default for Turns {
    fn default() -> Self {
        Self(FIRST_TURN)
    }
}

impl Turns {
    async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LAST_TURN);
    }
}
