//! A real RabbitMQ: the one that `MAILSPAN_TEST_AMQP` names (its management API 10000 ports above), or one of our own.
//!
//! It starts slowly, so tests share it where they can: each has a virtual host of its own.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::{Running, aside, installed};
use crate::world::until;

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
        // The script stops what it started, which being killed would keep it from.
        let _ = Command::new("kill").arg(self.running.0.id().to_string()).status();
        let _ = self.running.0.wait();
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

    /// Closes every connection to this virtual host, as a broker does that stops.
    pub(crate) async fn close_all(&self) {
        let connections = until("connections are listed", async || {
            let listed = self.ask(Method::GET, &format!("vhosts/{}/connections", self.virtual_host), Value::Null).await;
            listed.as_array().filter(|it| it.iter().any(|it| it["name"].is_string())).cloned()
        });
        for connection in connections.await {
            let name = connection["name"].as_str().unwrap().replace(' ', "%20").replace('>', "%3E");
            self.ask(Method::DELETE, &format!("connections/{name}"), Value::Null).await;
        }
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
        ids.dedup();
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

async fn call(port: u16, method: Method, path: &str, body: Value) -> (reqwest::StatusCode, Value) {
    let url = format!("http://127.0.0.1:{}/api/{path}", port + 10_000);
    let mut request = reqwest::Client::new().request(method, url).basic_auth("guest", Some("guest"));
    if !body.is_null() {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or(Value::Null))
}

async fn own() -> (u16, Option<Own>) {
    let folder = tempfile::Builder::new().prefix("mailspan-rabbit").tempdir_in("/var/tmp").unwrap();
    assert!(Command::new("chmod").arg("755").arg(folder.path()).status().unwrap().success());
    // Four more ports are counted from it.
    let port = 20_000 + u16::try_from(std::process::id() % 5_000).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq");
    let mut program = Command::new(script);
    program.arg(folder.path().join("node")).arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let own = Own { running: Running(program.spawn().unwrap()), _folder: folder };
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
        assert!(began.elapsed().as_secs() < 120, "RabbitMQ did not start");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    (port, Some(own))
}

/// A message's headers.
pub(crate) fn headers(kept: &Kept) -> BTreeMap<String, String> {
    let headers = kept.properties["headers"].as_object().unwrap();
    headers.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}
