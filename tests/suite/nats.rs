//! A real NATS server with JetStream, and a stream to look into.

use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::jetstream::{self, Context, ErrorCode};
use tempfile::TempDir;

use crate::broker::{Running, aside, installed, until_listens};
use crate::world_bridge::free_port;

pub(crate) const PASSWORD: &str = "hunter2";
/// What the server has not answered by then it does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server. It ends when it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    folder: TempDir,
    running: Option<Running>,
}

/// One message of the stream.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) headers: async_nats::HeaderMap,
    pub(crate) payload: bytes::Bytes,
}

impl Kept {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.as_str())
    }
}

impl Server {
    pub(crate) fn is_installed() -> bool {
        installed("nats-server").is_some()
    }

    /// With a stream MAIL for `mail.>`. Whoever has the password may do everything.
    pub(crate) async fn start() -> Self {
        let server = Self::empty("").await;
        server.stream(Config::default()).await;
        server
    }

    /// Without a stream, and with more lines in its configuration.
    pub(crate) async fn empty(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let login = format!("authorization {{ users = [{{ user: bridge, password: {PASSWORD} }}] }}\n");
        let login = if more.contains("authorization") { "" } else { &login };
        std::fs::write(folder.path().join("server.conf"), format!("{login}{more}\n")).unwrap();
        let mut server = Self { port: free_port().port(), folder, running: None };
        server.run().await;
        server
    }

    /// Starts it, again as well.
    pub(crate) async fn run(&mut self) {
        let program = installed("nats-server").unwrap();
        let child = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"])
            .arg(self.folder.path().join("js"))
            .arg("-c")
            .arg(self.folder.path().join("server.conf"))
            .stderr(Stdio::null())
            .spawn();
        self.running = Some(Running(child.unwrap()));
        until_listens(([127, 0, 0, 1], self.port).into()).await;
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    async fn context(port: u16) -> Context {
        let options = async_nats::ConnectOptions::with_user_and_password("bridge".into(), PASSWORD.into())
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE));
        jetstream::new(options.connect(("127.0.0.1", port).into_url()).await.unwrap())
    }

    /// The stream MAIL, of this nature.
    pub(crate) async fn stream(&self, nature: Config) {
        let config =
            Config { name: "MAIL".into(), subjects: vec!["mail.>".into()], discard: DiscardPolicy::New, ..nature };
        Self::context(self.port).await.create_or_update_stream(config).await.unwrap();
    }

    /// What the stream holds, in its order.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let port = self.port;
        aside(async move {
            let stream = match Self::context(port).await.get_stream("MAIL").await {
                Ok(stream) => stream,
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(it) if it.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                        return Vec::new();
                    }
                    _ => panic!("the stream cannot be looked into: {error}"),
                },
            };
            let mut kept = Vec::new();
            for number in 1..=stream.cached_info().state.last_sequence {
                let it = stream.get_raw_message(number).await.unwrap();
                kept.push(Kept { headers: it.headers, payload: it.payload });
            }
            kept
        })
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.kept().iter().map(|it| it.header("Nats-Msg-Id").to_owned()).collect()
    }
}

trait IntoUrl {
    fn into_url(self) -> String;
}

impl IntoUrl for (&str, u16) {
    fn into_url(self) -> String {
        format!("nats://{}:{}", self.0, self.1)
    }
}

/// The section of a route to the server at this port.
pub(crate) fn section(port: u16, more: &str) -> String {
    format!(
        "kind = 'nats'\nurl = 'nats://localhost:{port}'\nsubject = 'mail.support'\nusername = 'bridge'\n\
         password = '{PASSWORD}'\n{more}"
    )
}
