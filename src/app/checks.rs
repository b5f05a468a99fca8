//! How each part is, asked of the parts themselves: the checks of `/health` and the gauges of `/metrics`.

use std::collections::{BTreeSet, HashMap};
use std::sync::PoisonError;

use super::jobs::Jobs;
use super::wiring::Wiring;
use super::{Daemon, sending};
use crate::model::clock::{UnixMillis, rfc3339};
use crate::model::work::{Lane, MailboxId};
use crate::ops::health::{Check, Details, Health, Sending, Status, shown};
use crate::store::{Audited, LaneCount, MailboxState, PushState, StoreError};

/// A mailbox whose last complete look is older than this many of its own intervals is not well.
const MISSED_TURNS: i64 = 3;

impl Daemon {
    /// How everything is, now. Where the store cannot be read, how the tenants are, and that it cannot.
    pub async fn health(&self) -> Health {
        let checks = self.checks().await.unwrap_or_else(|error| {
            let mut checks = self.tenant_checks();
            checks.push(self.store_check(Status::Failing, Some(error.to_string())));
            checks
        });
        Health::of(checks)
    }

    /// How each part is.
    ///
    /// # Errors
    /// The store cannot be read, so nothing is known of mailboxes and routes.
    pub async fn checks(&self) -> Result<Vec<Check>, StoreError> {
        let now = self.clock.now();
        let wiring = self.jobs.present();
        let mut checks = self.tenant_checks();
        let (counts, states) = (self.store.counts().await?, self.store.mailboxes().await?);
        checks.push(match self.store.ping().await {
            Ok(()) => {
                let reason = self.key_trouble().await;
                let status = if reason.is_some() { Status::Degraded } else { Status::Ok };
                self.store_check(status, reason)
            }
            Err(error) => self.store_check(Status::Failing, Some(error.to_string())),
        });
        checks.extend(self.replicas_check());
        let counts: HashMap<Lane, LaneCount> = counts.into_iter().map(|it| (it.lane.clone(), it)).collect();
        let why = self.why_parked(&counts).await;
        // Without the count the rest still stands.
        let open = self.store.open_submissions(now).await.unwrap_or_default();
        let states: HashMap<MailboxId, MailboxState> = states.into_iter().map(|it| (it.mailbox.clone(), it)).collect();
        let whole = Whole { jobs: &self.jobs, wiring: &wiring, counts: &counts, why: &why, now };
        checks.extend(wiring.mailboxes.iter().map(|it| {
            let sending = sending::sending(&wiring.outbound, it, &open, now);
            whole.mailbox_check(it, states.get(it), sending)
        }));
        let left = states.values().filter(|it| !wiring.inbound.mailboxes.contains_key(&it.mailbox));
        checks.extend(left.filter_map(|it| whole.left_mailbox_check(it)));
        let left_behind = left_behind(&wiring.routes, &counts);
        checks.extend(wiring.routes.iter().chain(&left_behind).map(|name| whole.route_check(name)));
        checks.extend(whole.callbacks_check());
        checks.push(self.reloads.check());
        Ok(checks)
    }

    fn tenant_checks(&self) -> Vec<Check> {
        let now = self.clock.now();
        self.jobs.present().tenants.iter().map(|it| it.check(now)).collect()
    }

    fn store_check(&self, status: Status, reason: Option<String>) -> Check {
        let details = Details::Store { database: self.store.database() };
        Check { kind: "store", name: "store".into(), status, reason, details }
    }

    /// Why the job that has been parked the longest was, in each lane that has any.
    async fn why_parked(&self, counts: &HashMap<Lane, LaneCount>) -> HashMap<Lane, String> {
        let mut why = HashMap::new();
        for lane in counts.values().filter(|it| it.parked > 0).map(|it| &it.lane) {
            // Without a reason the count still stands.
            let parked = self.store.parked(Some(lane), 1).await.unwrap_or_default();
            if let Some(reason) = parked.into_iter().next().and_then(|it| it.last_error) {
                why.insert(lane.clone(), reason);
            }
        }
        why
    }

    /// Sets the gauges that are read, not counted.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point by the exposition format")]
    pub async fn read_gauges(&self) {
        let (now, wiring) = (self.clock.now(), self.jobs.present());
        if let Ok(counts) = self.store.counts().await {
            let counts: HashMap<Lane, LaneCount> = counts.into_iter().map(|it| (it.lane.clone(), it)).collect();
            for mailbox in wiring.mailboxes.iter() {
                let parked = counts.get(&Lane::mailbox(mailbox)).map_or(0, |it| it.parked);
                metrics::gauge!("mailspan_parked_messages", "mailbox" => mailbox.to_string()).set(parked as f64);
            }
            let callbacks = counts.get(&Lane::callbacks());
            metrics::gauge!("mailspan_callbacks_waiting").set(callbacks.map_or(0, |it| it.waiting) as f64);
            metrics::gauge!("mailspan_callbacks_parked").set(callbacks.map_or(0, |it| it.parked) as f64);
            // A route that was seen once keeps its gauges, down to nought.
            let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
            removed.extend(left_behind(&wiring.routes, &counts));
            for route in wiring.routes.iter().chain(removed.iter()) {
                let count = counts.get(&Lane::route(route));
                let oldest = count.and_then(|it| it.oldest_created_at).map_or(0, |at| (now - at).max(0));
                metrics::gauge!("mailspan_queue_depth", "route" => route.clone())
                    .set(count.map_or(0, |it| it.waiting) as f64);
                metrics::gauge!("mailspan_queue_oldest_seconds", "route" => route.clone()).set(oldest as f64 / 1000.0);
                metrics::gauge!("mailspan_parked", "route" => route.clone())
                    .set(count.map_or(0, |it| it.parked) as f64);
                let paused = self.jobs.standing(&Lane::route(route)).paused_until().is_some();
                metrics::gauge!("mailspan_route_paused", "route" => route.clone()).set(f64::from(u8::from(paused)));
            }
        }
        if let Ok(states) = self.store.mailboxes().await {
            for state in states.iter().filter(|it| wiring.inbound.mailboxes.contains_key(&it.mailbox)) {
                let name = state.mailbox.to_string();
                let push = if state.push.state == PushState::Push { 1.0 } else { 0.0 };
                metrics::gauge!("mailspan_mailbox_push", "mailbox" => name.clone()).set(push);
                if let Some(Audited { at, unaccounted }) = state.audited {
                    metrics::gauge!("mailspan_audit_imbalance", "mailbox" => name.clone()).set(unaccounted as f64);
                    metrics::gauge!("mailspan_audit_last_timestamp_seconds", "mailbox" => name.clone())
                        .set(at as f64 / 1000.0);
                }
                if let Some(subscription) = &state.subscription {
                    let seconds = subscription.expires_at as f64 / 1000.0;
                    metrics::gauge!("mailspan_subscription_expiry_timestamp_seconds", "mailbox" => name).set(seconds);
                }
            }
        }
        let memory = &self.jobs.ground.memory;
        let (free, all) = (memory.free() as f64, memory.all() as f64);
        metrics::gauge!("mailspan_memory_budget_bytes", "state" => "used").set(all - free);
        metrics::gauge!("mailspan_memory_budget_bytes", "state" => "free").set(free);
    }
}

/// What the checks of mailboxes and routes are made of.
struct Whole<'a> {
    jobs: &'a Jobs,
    wiring: &'a Wiring,
    counts: &'a HashMap<Lane, LaneCount>,
    /// Why the job that has been parked the longest was, by lane.
    why: &'a HashMap<Lane, String>,
    now: UnixMillis,
}

impl Whole<'_> {
    fn mailbox_check(&self, mailbox: &MailboxId, state: Option<&MailboxState>, sending: Option<Sending>) -> Check {
        let Self { wiring, counts, why, now, .. } = *self;
        let lane = Lane::mailbox(mailbox);
        let receives = wiring.inbound.mailboxes.get(mailbox).is_none_or(|it| it.config.receive);
        let count = counts.get(&lane);
        let polling = state.is_none_or(|it| it.push.state == PushState::Polling);
        let sync = &wiring.inbound.sync;
        let last_sync_at = state.and_then(|it| it.last_sync_at);
        let lag = last_sync_at.map(|at| now - at);
        // With push a quiet mailbox is read at its sweeps only.
        let turn = if polling { sync.poll_interval } else { sync.sweep_interval }.millis();
        let parked = count.map_or(0, |it| it.parked);
        let unaccounted = state.and_then(|it| it.audited).filter(|it| it.unaccounted > 0);
        let fallen_back =
            state.filter(|_| polling).and_then(|it| it.push.reason.clone()).filter(|it| it != "configured");
        let paused = state.and_then(|it| it.paused.clone());
        let sign_in = wiring.own_ways.get(mailbox).map(|it| Box::new(it.sign_in()));
        let not_signed_in = sign_in.as_ref().and_then(|it| it.reason.clone());
        let (status, reason) = if let Some((at, who)) = &paused {
            (Status::Degraded, Some(format!("paused since {} by {who}; resume it to go on", rfc3339(*at))))
        } else if let Some(reason) = not_signed_in {
            (Status::Failing, Some(format!("there is no sign-in: {reason}")))
        } else if !receives {
            sending::late(sending.as_ref()).unwrap_or((Status::Ok, None))
        } else if lag.is_some_and(|lag| lag > MISSED_TURNS * turn + 60_000) {
            (Status::Failing, Some("it could not be read to its end for too long".to_owned()))
        } else if last_sync_at.is_none() {
            let patience = MISSED_TURNS * turn + 60_000;
            let late = state.is_some_and(|it| now - it.started_at > patience);
            let status = if late { Status::Failing } else { Status::Degraded };
            (status, Some("it was not read yet".to_owned()))
        } else if let Some(late) = sending::late(sending.as_ref()) {
            late
        } else if let Some(reason) = fallen_back {
            (Status::Degraded, Some(format!("polling instead of push: {reason}")))
        } else if let Some(audited) = unaccounted {
            let Audited { at, unaccounted } = audited;
            let reason = format!(
                "the audit of {} could not account for {unaccounted} messages; `mailspan audit` names them and what to do",
                rfc3339(at)
            );
            (Status::Degraded, Some(reason))
        } else if parked > 0 {
            (Status::Degraded, Some(format!("{parked} messages are parked{}", first_reason(why.get(&lane)))))
        } else {
            (Status::Ok, None)
        };
        Check {
            kind: "mailbox",
            name: mailbox.to_string(),
            status,
            reason,
            details: Details::Mailbox {
                mode: match () {
                    () if paused.is_some() => "paused",
                    () if !receives => "sender",
                    () if polling => "polling",
                    () => "push",
                },
                paused_at: shown(paused.as_ref().map(|it| it.0)),
                paused_by: paused.map(|it| it.1),
                subscription_expires_at: shown(state.and_then(|it| it.subscription.as_ref()).map(|it| it.expires_at)),
                last_notification_at: shown(self.jobs.ground.hints.last_heard(mailbox)),
                last_sync_at: shown(last_sync_at),
                lag_seconds: lag.map(|lag| lag / 1000),
                waiting: count.map_or(0, |it| it.fetches),
                parked,
                sending,
                sign_in,
            },
        }
    }

    /// A mailbox that is no longer configured, where something of it is left.
    fn left_mailbox_check(&self, state: &MailboxState) -> Option<Check> {
        let count = self.counts.get(&Lane::mailbox(&state.mailbox)).filter(|it| it.fetches + it.parked > 0)?;
        let (waiting, parked) = (count.fetches, count.parked);
        let stands = format!("{waiting} of its messages wait until it is configured again, {parked} are parked");
        Some(Check {
            kind: "mailbox",
            name: state.mailbox.to_string(),
            status: Status::Degraded,
            reason: Some(format!("the mailbox is no longer configured; {stands}")),
            details: Details::Mailbox {
                mode: "removed",
                paused_at: None,
                paused_by: None,
                subscription_expires_at: shown(state.subscription.as_ref().map(|it| it.expires_at)),
                last_notification_at: shown(self.jobs.ground.hints.last_heard(&state.mailbox)),
                last_sync_at: shown(state.last_sync_at),
                lag_seconds: None,
                waiting,
                parked,
                sending: None,
                sign_in: None,
            },
        })
    }

    fn route_check(&self, name: &str) -> Check {
        let is_configured = self.wiring.routes.iter().any(|it| it == name);
        self.hand_over_check(("route", "the route", "deliveries"), name, &Lane::route(name), is_configured)
    }

    /// How the callbacks stand, where there are any or could be.
    fn callbacks_check(&self) -> Option<Check> {
        let lane = Lane::callbacks();
        let is_configured = self.wiring.callbacks.is_some();
        let what = ("callbacks", "outbound.callback", "callbacks");
        let check = || self.hand_over_check(what, "outbound.callback", &lane, is_configured);
        (is_configured || self.counts.contains_key(&lane)).then(check)
    }

    fn hand_over_check(
        &self,
        (kind, what, things): (&'static str, &str, &str),
        name: &str,
        lane: &Lane,
        is_configured: bool,
    ) -> Check {
        let Self { counts, why, now, .. } = *self;
        let count = counts.get(lane);
        let standing = self.jobs.standing(lane);
        let paused = standing.paused_until();
        let because = standing.why().map(|it| format!(": {it}")).unwrap_or_default();
        let parked = count.map_or(0, |it| it.parked);
        let retrying = count.map_or(0, |it| it.retrying);
        let (status, reason) = match paused {
            _ if !is_configured => {
                let waiting = count.map_or(0, |it| it.waiting);
                let stands = format!("{parked} of its {things} are parked, {waiting} will be when they are due");
                let reason = format!("{what} is no longer configured; {stands}");
                (Status::Degraded, Some(reason))
            }
            Some(until) if until > now => {
                let stands = format!("paused, one delivery is tried at {}", rfc3339(until));
                (Status::Failing, Some(format!("{stands}{because}")))
            }
            Some(_) => {
                (Status::Failing, Some(format!("paused, one delivery at a time is tried until one succeeds{because}")))
            }
            None if parked > 0 => {
                (Status::Degraded, Some(format!("{parked} {things} are parked{}", first_reason(why.get(lane)))))
            }
            None if retrying > 0 => {
                (Status::Degraded, Some(format!("{retrying} {things} failed and wait for another attempt")))
            }
            None => (Status::Ok, None),
        };
        Check {
            kind,
            name: name.to_owned(),
            status,
            reason,
            details: Details::Route {
                state: match paused {
                    _ if !is_configured => "removed",
                    Some(_) => "paused",
                    None => "running",
                },
                paused_until: shown(paused.filter(|_| is_configured)),
                consecutive_failures: standing.failures(),
                queue_depth: count.map_or(0, |it| it.waiting),
                queue_oldest_seconds: count
                    .and_then(|it| it.oldest_created_at)
                    .map_or(0, |at| (now - at).max(0) / 1000),
                parked,
            },
        }
    }
}

/// Routes that left the configuration, and work behind.
fn left_behind(configured: &[String], counts: &HashMap<Lane, LaneCount>) -> BTreeSet<String> {
    let names = counts.keys().filter_map(Lane::of_route).map(str::to_owned);
    names.filter(|name| !configured.contains(name)).collect()
}

fn first_reason(reason: Option<&String>) -> String {
    reason.map(|it| format!("; the first: {it}")).unwrap_or_default()
}
