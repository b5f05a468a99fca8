//! Carrying notifications to their endpoints: gathered, posted, tried again, given up.
//!
//! Delivered means 2xx in time; anything else is tried again with growing waits.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{clock::held, policy::NotificationPolicy, world::random_uuid};

/// The sender of everything the tenant posts to others.
pub(crate) struct Courier {
    client: Client,
    policy: Mutex<NotificationPolicy>,
    endpoints: Mutex<HashMap<String, Endpoint>>,
    tallies: Tallies,
    runtime: Handle,
    stop: CancellationToken,
}

struct Endpoint {
    waiting: Vec<Value>,
    /// Whether somebody is about to post what waits.
    gathering: bool,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Tallies {
    sent: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
    posts: AtomicU64,
    failed_posts: AtomicU64,
    delivered: AtomicU64,
    given_up: AtomicU64,
    slow_posts: AtomicU64,
}

/// What became of notifications.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct NotificationCounts {
    /// Notifications handed over for sending, doubles included.
    pub sent: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// Doubled on purpose.
    pub doubled: u64,
    /// POSTs made, repetitions included.
    pub posts: u64,
    /// POSTs not answered with 2xx in time.
    pub failed_posts: u64,
    /// Notifications acknowledged.
    pub delivered: u64,
    /// Notifications dropped after all attempts.
    pub given_up: u64,
    /// POSTs that took three seconds or longer, by which Graph judges an endpoint slow.
    pub slow_posts: u64,
}

/// Graph calls an answer slow from here on.
const SLOW: Duration = Duration::from_secs(3);

impl Courier {
    pub(crate) fn new(policy: NotificationPolicy, roots: &[Vec<u8>], stop: CancellationToken) -> std::io::Result<Self> {
        let mut builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        for root in roots {
            builder =
                builder.add_root_certificate(reqwest::Certificate::from_pem(root).map_err(std::io::Error::other)?);
        }
        Ok(Self {
            client: builder.build().map_err(std::io::Error::other)?,
            policy: Mutex::new(policy),
            endpoints: Mutex::default(),
            tallies: Tallies::default(),
            runtime: Handle::try_current().map_err(std::io::Error::other)?,
            stop,
        })
    }

    pub(crate) fn set_policy(&self, policy: NotificationPolicy) {
        *held(&self.policy) = policy;
    }

    pub(crate) fn policy(&self) -> NotificationPolicy {
        held(&self.policy).clone()
    }

    pub(crate) fn counts(&self) -> NotificationCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tallies = &self.tallies;
        NotificationCounts {
            sent: of(&tallies.sent),
            lost: of(&tallies.lost),
            doubled: of(&tallies.doubled),
            posts: of(&tallies.posts),
            failed_posts: of(&tallies.failed_posts),
            delivered: of(&tallies.delivered),
            given_up: of(&tallies.given_up),
            slow_posts: of(&tallies.slow_posts),
        }
    }

    /// Sends a notification, or does to it what the policy says.
    pub(crate) fn send(self: &Arc<Self>, url: &str, notification: Value) {
        let policy = self.policy();
        if fastrand::f64() < policy.lose {
            self.tallies.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if fastrand::f64() < policy.double {
            self.tallies.doubled.fetch_add(1, Ordering::Relaxed);
            self.send_once(url, notification.clone(), &policy);
        }
        self.send_once(url, notification, &policy);
    }

    fn send_once(self: &Arc<Self>, url: &str, notification: Value, policy: &NotificationPolicy) {
        self.tallies.sent.fetch_add(1, Ordering::Relaxed);
        let wait = policy.delay + policy.jitter.mul_f64(fastrand::f64());
        if wait.is_zero() {
            self.put(url, notification);
            return;
        }
        let (courier, url) = (self.clone(), url.to_owned());
        self.spawn(async move {
            tokio::time::sleep(wait).await;
            courier.put(&url, notification);
        });
    }

    /// Lays a notification down for its endpoint's next POST.
    fn put(self: &Arc<Self>, url: &str, notification: Value) {
        let mut endpoints = held(&self.endpoints);
        let policy = self.policy();
        let endpoint = endpoints.entry(url.to_owned()).or_insert_with(|| Endpoint {
            waiting: Vec::new(),
            gathering: false,
            room: Arc::new(Semaphore::new(policy.parallel.max(1))),
        });
        endpoint.waiting.push(notification);
        if !std::mem::replace(&mut endpoint.gathering, true) {
            let (courier, url) = (self.clone(), url.to_owned());
            self.spawn(async move { courier.gather(url, policy).await });
        }
    }

    async fn gather(self: Arc<Self>, url: String, policy: NotificationPolicy) {
        tokio::time::sleep(policy.gather).await;
        let (mut waiting, room) = {
            let mut endpoints = held(&self.endpoints);
            let Some(endpoint) = endpoints.get_mut(&url) else { return };
            endpoint.gathering = false;
            (std::mem::take(&mut endpoint.waiting), endpoint.room.clone())
        };
        if policy.reorder {
            fastrand::shuffle(&mut waiting);
        }
        for chunk in waiting.chunks(policy.max_batch.max(1)) {
            let (courier, url, policy) = (self.clone(), url.clone(), policy.clone());
            let (room, chunk) = (room.clone(), chunk.to_vec());
            self.spawn(async move {
                if let Ok(_room) = room.acquire_owned().await {
                    courier.deliver(&url, chunk, &policy).await;
                }
            });
        }
    }

    /// Posts until it is acknowledged or too late.
    async fn deliver(&self, url: &str, notifications: Vec<Value>, policy: &NotificationPolicy) {
        let count = notifications.len() as u64;
        let body = json!({ "value": notifications }).to_string();
        let began = Instant::now();
        let mut timeout = policy.first_timeout;
        let mut wait = policy.first_retry;
        loop {
            if self.post(url, body.clone(), timeout).await {
                self.tallies.delivered.fetch_add(count, Ordering::Relaxed);
                return;
            }
            if began.elapsed() + wait > policy.give_up_after {
                self.tallies.given_up.fetch_add(count, Ordering::Relaxed);
                return;
            }
            // Up to a fifth more, so that endpoints are not hit by all at once.
            tokio::time::sleep(wait.mul_f64(1.0 + 0.2 * fastrand::f64())).await;
            timeout = policy.retry_timeout;
            wait *= 2;
        }
    }

    /// Posts once. Returns whether it was acknowledged in time.
    async fn post(&self, url: &str, body: String, timeout: Duration) -> bool {
        self.tallies.posts.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let request =
            self.client.post(url).timeout(timeout).header(CONTENT_TYPE, "application/json; charset=utf-8").body(body);
        let acknowledged = request.send().await.is_ok_and(|response| response.status().is_success());
        if began.elapsed() >= SLOW {
            self.tallies.slow_posts.fetch_add(1, Ordering::Relaxed);
        }
        if !acknowledged {
            self.tallies.failed_posts.fetch_add(1, Ordering::Relaxed);
        }
        acknowledged
    }

    /// Posts these very notifications once, as a forger would; no retry, no policy. Returns the status, if any.
    pub(crate) async fn forge(&self, url: &str, body: &Value) -> Option<u16> {
        // No endpoint is judged by this: it takes as long as it takes.
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body.to_string());
        request.send().await.ok().map(|response| response.status().as_u16())
    }

    /// The handshake: the endpoint must echo the decoded token as plain text, in time, with 200.
    pub(crate) async fn validate(&self, url: &str, timeout: Duration) -> Result<(), String> {
        const FAILED: &str = "Subscription validation request failed.";
        const MUST: &str = "Notification endpoint must respond with 200 OK to validation request.";
        let token = format!(
            "Validation: Testing client application reachability for subscription Request-Id: {}",
            random_uuid()
        );
        let mut url = reqwest::Url::parse(url).map_err(|_| format!("{FAILED} {MUST}"))?;
        url.query_pairs_mut().append_pair("validationToken", &token);
        let request = self.client.post(url).timeout(timeout).header(CONTENT_TYPE, "text/plain; charset=utf-8").body("");
        let unreachable = |error: reqwest::Error| match error.is_timeout() {
            true => "Subscription validation request timed out.".to_owned(),
            false => format!("{FAILED} {MUST}"),
        };
        let response = request.send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            let reason = response.status().canonical_reason().unwrap_or("Unknown").replace(' ', "");
            return Err(format!("{FAILED} {MUST} HTTP status code is '{reason}'."));
        }
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media_type.to_ascii_lowercase().starts_with("text/plain") {
            return Err(format!("{FAILED} The validation response must be text/plain."));
        }
        let body = response.text().await.map_err(unreachable)?;
        if body != token {
            return Err(format!("{FAILED} The validation response must be the validation token."));
        }
        Ok(())
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }
}
