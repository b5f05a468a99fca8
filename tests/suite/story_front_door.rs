//! The public listener's own TLS and its guest list.
//!
//! A certificate is replaced while mail flows; a broken pair keeps the old one; strangers find nothing.

use std::path::Path;

use mailspan_tenant::{NotificationPolicy, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

use crate::world::{Bridge, Plan, SUPPORT, World, client, options, until_so};
use crate::world_program::Program;

/// A private authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Authority of the stories");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a certificate for this machine and its key; returns its bytes, by which it is known.
    fn issue(&self, cert_file: &Path, key_file: &Path) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::write(key_file, key.serialize_pem()).unwrap();
        std::fs::write(cert_file, certificate.pem()).unwrap();
        certificate.der().to_vec()
    }
}

fn over_tls(world: &World, cert_file: &Path, key_file: &Path) -> Plan {
    let plan = world.plan();
    let url = format!("https://localhost:{}", plan.public.port());
    plan.text("server", "public_url", &url)
        .value("server", "webhook_tls", &format!("{{ cert_file = {cert_file:?}, key_file = {key_file:?} }}"))
        .text("sync", "sweep_interval", "15m")
        .text("sync", "poll_interval", "15m")
}

/// The certificate the listener shows.
async fn shown(plan: &Plan) -> Vec<u8> {
    let client = reqwest::Client::builder().no_proxy().tls_info(true).tls_danger_accept_invalid_certs(true);
    let url = format!("https://localhost:{}/", plan.public.port());
    let answer = client.build().unwrap().get(url).send().await.unwrap();
    answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap().peer_certificate().unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn graph_is_heard_over_tls_and_a_new_certificate_is_taken_up_while_running() {
    let authority = Authority::new();
    let options = Options {
        trusted_roots: vec![authority.0.pem().into_bytes()],
        notifications: NotificationPolicy::fast(),
        ..options()
    };
    let world = World::with(options).await;
    let (cert_file, key_file) = (world.path("cert.pem"), world.path("key.pem"));
    let first = authority.issue(&cert_file, &key_file);
    let plan = over_tls(&world, &cert_file, &key_file).text("telemetry", "log", "info");
    let program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    assert_eq!(shown(&plan).await, first);
    world.receives("By the first");
    world.inbox.until_has(&["By the first"]).await;
    // Half a replacement is no pair: the old one stays until both files fit.
    std::fs::write(&cert_file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let second = authority.issue(&world.path("new-cert.pem"), &world.path("new-key.pem"));
    std::fs::rename(world.path("new-key.pem"), &key_file).unwrap();
    program.until_says("The new certificate cannot be used; the old one stays").await;
    assert_eq!(shown(&plan).await, first);
    std::fs::rename(world.path("new-cert.pem"), &cert_file).unwrap();
    until_so("the new certificate", async || shown(&plan).await == second).await;
    world.receives("By the second");
    world.inbox.until_has(&["By the first", "By the second"]).await;
    assert_eq!(program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_and_slow_talkers_do_not_disturb_a_tls_listener() {
    use tokio::io::AsyncWriteExt as _;
    let authority = Authority::new();
    let options = Options { trusted_roots: vec![authority.0.pem().into_bytes()], ..options() };
    let world = World::with(options).await;
    let (cert_file, key_file) = (world.path("cert.pem"), world.path("key.pem"));
    authority.issue(&cert_file, &key_file);
    let plan = over_tls(&world, &cert_file, &key_file);
    let bridge = Bridge::start(&plan).await;
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    let mut idle = Vec::new();
    for number in 0..100 {
        let mut connection = tokio::net::TcpStream::connect(plan.public).await.unwrap();
        if number % 2 == 0 {
            connection.write_all(b"POST /graph/notifications HTTP/1.1\r\n").await.unwrap();
        }
        idle.push(connection);
    }
    assert!(client().post(plan.notifications()).send().await.is_err(), "plain HTTP is not answered");
    world.receives("Through the crowd");
    world.inbox.until_has(&["Through the crowd"]).await;
    // That it stops within the deadline of stories, whoever is connected, is all that is asked.
    bridge.stop().await;
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_sources_find_the_public_listener() {
    for (allowed, welcome) in [("[\"192.0.2.0/24\", \"2001:db8::/32\"]", false), ("[\"127.0.0.0/8\"]", true)] {
        let world = World::new().await;
        let plan = world.plan().value("server", "allowed_sources", allowed);
        let bridge = Bridge::start(&plan).await;
        let url = format!("{}?validationToken=a", plan.notifications());
        let status = client().post(url).send().await.unwrap().status().as_u16();
        assert_eq!(status, if welcome { 200 } else { 404 });
        // Kept out, Graph cannot prove the endpoint: the mailbox is polled, and mail flows all the same.
        let mode = if welcome { "push" } else { "polling" };
        world.receives("Either way");
        world.inbox.until_has(&["Either way"]).await;
        let is_so = |it: &Value| it["mode"] == mode && it["reason"].is_null() == welcome;
        plan.until_check("mailbox", SUPPORT, mode, is_so).await;
        assert_eq!(plan.page("/health/ready").await.unwrap().0, 200);
        bridge.stop().await;
    }
}
