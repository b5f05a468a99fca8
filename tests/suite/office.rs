//! The office of the stories of sending: a bridge that sends for the support mailbox, and whoever submits and is called back.
//!
//! Used as the manual says: JSON over the API, states read from it, callbacks taken by a receiver.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mailspan_tenant::SentMail;
use reqwest::Method;
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::world::{Bridge, Plan, SIGNING_SECRET, SUPPORT, TURN, World, client};

/// What has not ended by then does not end. A mail whose leaving was cut off is looked for, and sent again a minute later.
pub(crate) const ENDS_WITHIN: Duration = Duration::from_secs(150);
/// The address of customers.
pub(crate) const ANN: &str = "ann@customer.example";

/// A world with somebody to call back.
pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) callbacks: Receiver,
}

/// What the API answered.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Said {
    /// The id of a submission that was taken over.
    pub(crate) fn id(&self) -> String {
        assert_eq!(self.status, 202, "{}", self.body);
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.body)).to_owned()
    }
}

impl Office {
    pub(crate) async fn new() -> Self {
        Self::of(World::new().await).await
    }

    pub(crate) async fn of(world: World) -> Self {
        Self { world, callbacks: Receiver::start().await }
    }

    /// The support mailbox sends, fast, and ends are called back.
    pub(crate) fn plan(&self) -> Plan {
        self.plan_with("send = true")
    }

    /// The same with these lines in the mailbox's table.
    pub(crate) fn plan_with(&self, mailbox: &str) -> Plan {
        let callback = format!(
            "{{ url = \"{}\", signing_secret = {SIGNING_SECRET:?}, allow_private_networks = true }}",
            self.callbacks.url
        );
        let plan = self.world.bare_plan().mailbox(SUPPORT, mailbox).route("all", "", &self.world.inbox);
        plan.value("outbound", "rate_per_minute", "6000").value("outbound", "callback", &callback)
    }

    /// What left, of these subjects: how often each.
    pub(crate) fn sent(&self) -> BTreeMap<String, usize> {
        let mut sent = BTreeMap::new();
        self.world.tenant.sent().into_iter().for_each(|it| *sent.entry(it.subject).or_default() += 1);
        sent
    }

    /// Waits until a mail with this subject left.
    pub(crate) async fn until_left(&self, subject: &str) -> SentMail {
        crate::world::until(&format!("a mail that left: {subject}"), async || {
            self.world.tenant.sent().into_iter().find(|it| it.subject == subject)
        })
        .await
    }

    /// What was called back of a submission: types, in order, each id once.
    pub(crate) fn called(&self, submission: &str) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        let accepted = self.callbacks.received().into_iter().filter(|it| it.accepted);
        let new = accepted.filter(|it| seen.insert(it.header("webhook-id").to_owned())).collect::<Vec<_>>();
        let events = new.iter().map(|it| serde_json::from_slice::<Value>(&it.body).unwrap());
        let own = events.filter(|it| it["data"]["id"] == submission);
        own.map(|it| it["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until an end was called back.
    pub(crate) async fn until_called(&self, submission: &str, kind: &str) {
        crate::world::until_so(kind, async || self.called(submission).iter().any(|it| it == kind)).await;
    }
}

/// A short mail to a customer.
pub(crate) fn letter(subject: &str) -> Value {
    json!({ "from": SUPPORT, "to": [ANN], "subject": subject, "text": "Hello" })
}

/// The same with a file of so many bytes.
pub(crate) fn with_file(mut letter: Value, size: usize) -> Value {
    use base64::Engine as _;
    let content = base64::prelude::BASE64_STANDARD.encode(noise(size as u64, size));
    letter["attachments"] = json!([{ "name": "file.bin", "type": "application/octet-stream", "content": content }]);
    letter
}

/// Bytes that nothing compresses or repeats.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

impl Plan {
    async fn said(&self, method: Method, path: &str, with: impl FnOnce(Request) -> Request) -> Option<Said> {
        let url = format!("http://{}/api/v1{path}", self.admin);
        let request = client().request(method, url).timeout(Duration::from_secs(120));
        let answer = with(request).send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some(Said { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// `POST /messages`.
    pub(crate) async fn submit(&self, mail: &Value) -> Said {
        self.said(Method::POST, "/messages", |it| it.json(mail)).await.expect("an answer")
    }

    /// `POST` with an idempotency key; `None`: no answer came.
    pub(crate) async fn submit_as(&self, path: &str, key: &str, mail: &Value) -> Option<Said> {
        self.said(Method::POST, path, |it| it.header("idempotency-key", key).json(mail)).await
    }

    /// `POST /messages` of a whole mail.
    pub(crate) async fn submit_mime(&self, mime: Vec<u8>) -> Said {
        let raw = |it: Request| it.header("content-type", "message/rfc822").body(mime);
        self.said(Method::POST, "/messages", raw).await.expect("an answer")
    }

    /// `DELETE /messages/{id}`.
    pub(crate) async fn cancel(&self, id: &str) -> Said {
        self.said(Method::DELETE, &format!("/messages/{id}"), |it| it).await.expect("an answer")
    }

    /// `GET /messages/{id}`.
    pub(crate) async fn submission(&self, id: &str) -> Value {
        let said = self.said(Method::GET, &format!("/messages/{id}"), |it| it).await.expect("an answer");
        assert_eq!(said.status, 200, "{}", said.body);
        said.body
    }

    /// Waits until a submission is in this state; until then the bridge's clock runs fast, where there is one.
    pub(crate) async fn until_state(&self, id: &str, state: &str, clock: Option<(&Bridge, Duration)>) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.submission(id).await;
            if shown["state"] == state {
                return shown;
            }
            assert!(begun.elapsed() < ENDS_WITHIN, "it does not become {state}: {shown}");
            if let Some((bridge, by)) = clock {
                bridge.pass(by).await;
            }
            tokio::time::sleep(TURN * 4).await;
        }
    }
}

type Request = reqwest::RequestBuilder;
