//! A real RabbitMQ: the one that `MAILSPAN_TEST_AMQP` names (its management API 10000 ports above), or one of our own.
//!
//! It starts slowly, so tests share it where they can: each has a virtual host of its own.

use std::collections::{BTreeMap, HashSet};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::{Running, aside, installed};
use crate::world::until_so;

/// A virtual host with an exchange `in`, and a queue `mail` behind its routing key `support`.
pub(crate) struct Rabbit {
    pub(crate) port: u16,
    pub(crate) virtual_host: String,
    _own: Option<Own>,
}

struct Own {
    running: Running,
    _folder: TempDir,
}

impl Drop for Own {
    fn drop(&mut self) {
        // The script stops what it started, which being killed would keep it from. Where it has ended, its number may be
        // somebody else's.
        if matches!(self.running.0.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.running.0.id().to_string()).status();
            let _ = self.running.0.wait();
        }
    }
}

/// One message of the queue.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) payload: String,
    pub(crate) properties: Value,
}

impl Rabbit {
    pub(crate) fn is_here() -> bool {
        std::env::var_os("MAILSPAN_TEST_AMQP").is_some() || installed("rabbitmq-server").is_some()
    }

    pub(crate) async fn start() -> Self {
        let (port, own) = match std::env::var("MAILSPAN_TEST_AMQP") {
            Ok(url) => (url::Url::parse(&url).unwrap().port().unwrap(), None),
            Err(_) => own().await,
        };
        let virtual_host = format!("t-{}", uuid::Uuid::new_v4().simple());
        let rabbit = Self { port, virtual_host, _own: own };
        let host = &rabbit.virtual_host;
        rabbit.ask(Method::PUT, &format!("vhosts/{host}"), json!({})).await;
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        rabbit.ask(Method::PUT, &format!("permissions/{host}/guest"), all).await;
        rabbit.ask(Method::PUT, &format!("exchanges/{host}/in"), json!({ "type": "direct", "durable": true })).await;
        rabbit.queue(json!({})).await;
        rabbit
    }

    /// The queue, anew and empty, with these arguments.
    pub(crate) async fn queue(&self, arguments: Value) {
        let host = &self.virtual_host;
        let _ = call(self.port, Method::DELETE, &format!("queues/{host}/mail"), Value::Null).await;
        let queue = json!({ "durable": true, "arguments": arguments });
        self.ask(Method::PUT, &format!("queues/{host}/mail"), queue).await;
        let binding = json!({ "routing_key": "support" });
        self.ask(Method::POST, &format!("bindings/{host}/e/in/q/mail"), binding).await;
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = call(self.port, method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// Closes every connection to this virtual host, as a broker does that stops. It lists one some seconds after it was
    /// opened, at first without its name, and perhaps still when it is gone.
    pub(crate) async fn close_all(&self) {
        until_so("connections are listed and closed", async || {
            let listed = self.ask(Method::GET, &format!("vhosts/{}/connections", self.virtual_host), Value::Null).await;
            let listed = listed.as_array().cloned().unwrap_or_default();
            let names: Vec<&str> = listed.iter().filter_map(|it| it["name"].as_str()).collect();
            let mut closed = 0;
            for name in &names {
                let path = format!("connections/{}", name.replace(' ', "%20").replace('>', "%3E"));
                let (status, answer) = call(self.port, Method::DELETE, &path, Value::Null).await;
                assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{path}: {status} {answer}");
                closed += usize::from(status.is_success());
            }
            closed > 0 && names.len() == listed.len()
        })
        .await;
    }

    /// What the queue holds; it stays there.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let (port, path) = (self.port, format!("queues/{}/mail/get", self.virtual_host));
        let get = json!({ "count": 100, "ackmode": "ack_requeue_true", "encoding": "auto" });
        let (status, listed) = aside(async move { call(port, Method::POST, &path, get).await });
        assert!(status.is_success(), "{status} {listed}");
        let all = listed.as_array().cloned().unwrap_or_default().into_iter();
        all.map(|it| Kept { payload: it["payload"].as_str().unwrap().into(), properties: it["properties"].clone() })
            .collect()
    }

    /// The distinct ids of messages, as a consumer tells them apart.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> =
            self.kept().iter().map(|it| it.properties["message_id"].as_str().unwrap().to_owned()).collect();
        let mut seen = HashSet::new();
        ids.retain(|it| seen.insert(it.clone()));
        ids
    }

    /// The section of a route to it, through this port.
    pub(crate) fn section(&self, port: u16, more: &str) -> String {
        section(port, &self.virtual_host, more)
    }
}

pub(crate) fn section(port: u16, virtual_host: &str, more: &str) -> String {
    format!(
        "kind = 'amqp'\nurl = 'amqp://localhost:{port}/{virtual_host}'\nexchange = 'in'\nrouting_key = 'support'\n\
         username = 'guest'\npassword = 'guest'\n{more}"
    )
}

async fn call(port: u16, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let url = format!("http://127.0.0.1:{}/api/{path}", port + 10_000);
    let mut request = reqwest::Client::new().request(method, url).basic_auth("guest", Some("guest"));
    if !body.is_null() {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or(Value::Null))
}

async fn own() -> (u16, Option<Own>) {
    // A port that was free a moment ago may be taken by now.
    for _ in 0..5 {
        let port = free_port();
        if let Some(own) = started(port).await {
            return (port, Some(own));
        }
    }
    panic!("RabbitMQ does not start");
}

/// One of which those that are counted from it are free as well.
fn free_port() -> u16 {
    let begin = std::process::id() % 5_000;
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let ports = (0..5_000).map(|n| 12_000 + u16::try_from((begin + n) % 5_000).unwrap());
    let found = ports.into_iter().find(|it| [0, 5_000, 10_000, 15_000].into_iter().all(|more| is_free(it + more)));
    found.expect("one of so many ports is free")
}

/// `None`: it ended again.
async fn started(port: u16) -> Option<Own> {
    let folder = tempfile::Builder::new().prefix("mailspan-rabbit").tempdir_in("/var/tmp").unwrap();
    assert!(Command::new("chmod").arg("755").arg(folder.path()).status().unwrap().success());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq");
    let mut program = Command::new(script);
    program.arg(folder.path().join("node")).arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut own = Own { running: Running(program.spawn().unwrap()), _folder: folder };
    let client = reqwest::Client::new();
    let overview = format!("http://127.0.0.1:{}/api/overview", port + 10_000);
    let began = std::time::Instant::now();
    while !client
        .get(&overview)
        .basic_auth("guest", Some("guest"))
        .send()
        .await
        .is_ok_and(|it| it.status().is_success())
    {
        if own.running.0.try_wait().unwrap().is_some() {
            return None;
        }
        assert!(began.elapsed().as_secs() < 300, "RabbitMQ did not start");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    Some(own)
}

/// A message's headers.
pub(crate) fn headers(kept: &Kept) -> BTreeMap<String, String> {
    let headers = kept.properties["headers"].as_object().unwrap();
    headers.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}
