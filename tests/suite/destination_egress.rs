//! How HTTP leaves the house: private authorities and proxies, each against the real thing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use mailspan::destinations::build;
use mailspan::egress::{Config, Egress};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::authority::vouched_for;
use crate::destination_webhook::{Wrist, handover};
use crate::receiver::Receiver;

/// An HTTPS server whose certificate only a private authority vouches for.
struct Private {
    port: u16,
    ca: String,
    server: tokio::task::JoinHandle<()>,
}

impl Private {
    async fn start() -> Self {
        let (tls, ca) = vouched_for(&["localhost", "private.invalid"]);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = axum::Router::new().fallback(|| async { "private" }).into_make_service();
        let tls = axum_server::tls_rustls::RustlsConfig::from_config(tls);
        let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
        let server = tokio::spawn(async move { server.serve(app).await.unwrap() });
        Self { port, ca, server }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A forward proxy that knows every name: whatever is asked of it, it asks one server.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let book = asked.clone();
        let server = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                open.spawn(Self::pass_on(client, target, book.clone()));
            }
        });
        Self { port, asked, server }
    }

    async fn pass_on(mut client: TcpStream, target: SocketAddr, book: Arc<Mutex<Vec<String>>>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let text = String::from_utf8(head.clone()).unwrap();
        book.lock().unwrap().push(text.clone());
        let mut server = TcpStream::connect(target).await.unwrap();
        match text.starts_with("CONNECT ") {
            true => client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap(),
            false => server.write_all(&head).await.unwrap(),
        }
        // However it ends, the test looks at what was asked and answered.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }

    /// What was asked, first lines only.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|it| it.lines().next().unwrap().to_owned()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn bare(config: &Config) -> reqwest::Client {
    let egress = Egress::with_environment(config, |_| None).unwrap();
    egress.finish(egress.client().unwrap()).unwrap()
}

fn with_ca(file: &Path) -> Config {
    Config { ca_file: Some(file.to_owned()), proxy: None }
}

fn by_proxy(proxy: &Proxy) -> Config {
    Config { proxy: format!("http://user:hunter2@localhost:{}", proxy.port).parse().ok(), ca_file: None }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_its_file_is_named_and_only_then() {
    let server = Private::start().await;
    let url = format!("https://localhost:{}/", server.port);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, &server.ca).unwrap();

    let refused = bare(&Config::default()).get(&url).send().await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
    let reason = mailspan::egress::causes(&refused);
    assert!(reason.contains("certificate") && !reason.contains("localhost:"), "{reason}");
    assert_eq!(bare(&with_ca(&file)).get(&url).send().await.unwrap().text().await.unwrap(), "private");
}

#[tokio::test]
async fn a_configured_proxy_is_asked_and_resolves_the_names_itself() {
    let receiver = Receiver::start().await;
    let proxy = Proxy::before(local(receiver.url.port().unwrap())).await;
    let client = bare(&by_proxy(&proxy));
    let answer = client.post("http://nowhere.invalid/in").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(proxy.asked(), ["POST http://nowhere.invalid/in HTTP/1.1"]);
    let asked = proxy.asked.lock().unwrap()[0].to_lowercase();
    assert!(asked.contains("proxy-authorization: basic dxnlcjpodw50zxiy"), "{asked}");
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn https_goes_through_the_proxys_tunnel() {
    let server = Private::start().await;
    let proxy = Proxy::before(local(server.port)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, &server.ca).unwrap();
    let config = Config { ca_file: Some(file), ..by_proxy(&proxy) };
    let answer = bare(&config).get("https://private.invalid/").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "private");
    assert_eq!(proxy.asked(), ["CONNECT private.invalid:443 HTTP/1.1"]);
}

#[tokio::test]
async fn loopback_and_the_named_exceptions_never_go_by_the_proxy() {
    let receiver = Receiver::start().await;
    let proxy = Proxy::before(local(receiver.url.port().unwrap())).await;
    let url = format!("http://localhost:{}", proxy.port);
    let egress = Egress::with_environment(&Config::default(), |name| match name {
        "HTTP_PROXY" => Some(url.clone()),
        "NO_PROXY" => Some("direct.invalid".into()),
        _ => None,
    })
    .unwrap();
    let client = egress.finish(egress.client().unwrap()).unwrap();

    client.get(receiver.url.clone()).send().await.unwrap();
    assert!(client.get("http://direct.invalid/").send().await.is_err());
    assert!(proxy.asked().is_empty());
    client.get("http://other.invalid/").send().await.unwrap();
    assert_eq!(proxy.asked(), ["GET http://other.invalid/ HTTP/1.1"]);
}

#[tokio::test]
async fn a_webhook_reaches_its_receiver_by_a_proxy_on_a_private_network() {
    let receiver = Receiver::start().await;
    let proxy = Proxy::before(local(receiver.url.port().unwrap())).await;
    let egress = Egress::with_environment(&by_proxy(&proxy), |_| None).unwrap();
    let section = "kind = 'webhook'\nurl = 'http://flows.invalid/in'\ntimeout = '60s'\n\
                   signing_secret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'";
    let destination = build(&toml::from_str(section).unwrap(), &egress, Wrist::now()).unwrap();
    assert_eq!(destination.deliver(&handover("ix_1")).await, Ok(()));
    assert_eq!(proxy.asked(), ["POST http://flows.invalid/in HTTP/1.1"]);
}

#[test]
fn a_machine_without_root_certificates_is_told_what_to_do() {
    const BARE: &str = "MAILSPAN_TEST_WITHOUT_ROOTS";
    if std::env::var_os(BARE).is_some() {
        let egress = Egress::with_environment(&Config::default(), |_| None).unwrap();
        let error = egress.finish(egress.client().unwrap()).unwrap_err().to_string();
        assert!(error.contains("ca-certificates") && error.contains("egress.ca_file"), "{error}");
        return;
    }
    // The system's roots are found by environment, and that belongs to a whole process: this test again, in its own.
    let name = concat!(module_path!(), "::a_machine_without_root_certificates_is_told_what_to_do");
    let name = name.split_once("::").unwrap().1;
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact"])
        .envs([(BARE, "1"), ("SSL_CERT_FILE", "/nonexistent/file"), ("SSL_CERT_DIR", "/nonexistent/folder")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}
