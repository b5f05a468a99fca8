//! Microsoft's clouds: `cloud` alone switches login, Graph, scope, the audience of assertions and where files go together, and
//! nothing is ever asked of a host of another cloud.
//!
//! Behind a proxy that knows every name stands the simulated tenant, under a certificate for all of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::authority::vouched_for;
use crate::identity_keys::Pair;
use crate::office::noise;
use crate::world::{Bridge, Plan, SUPPORT, World, options, until_so};

/// A cloud, as its documentation names it.
struct Cloud {
    name: &'static str,
    login: &'static str,
    graph: &'static str,
    files: &'static str,
}

const CLOUDS: [Cloud; 4] = [
    Cloud {
        name: "global",
        login: "login.microsoftonline.com",
        graph: "graph.microsoft.com",
        files: "outlook.office.com",
    },
    Cloud {
        name: "gcc_high",
        login: "login.microsoftonline.us",
        graph: "graph.microsoft.us",
        files: "outlook.office365.us",
    },
    Cloud {
        name: "dod",
        login: "login.microsoftonline.us",
        graph: "dod-graph.microsoft.us",
        files: "outlook-dod.office365.us",
    },
    Cloud {
        name: "china",
        login: "login.partner.microsoftonline.cn",
        graph: "microsoftgraph.chinacloudapi.cn",
        files: "partner.outlook.cn",
    },
];

/// A proxy that leads every name to one place, and notes who was asked for.
struct Crossroads {
    address: SocketAddr,
    authority: String,
    asked: Arc<Mutex<BTreeSet<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Crossroads {
    async fn before(tenant: SocketAddr) -> Self {
        let names: BTreeSet<_> = CLOUDS.iter().flat_map(|it| [it.login, it.graph, it.files]).collect();
        let (tls, authority) = vouched_for(&Vec::from_iter(names));
        let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TlsAcceptor::from(tls));
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let book = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                open.spawn(Self::pass_on(client, tenant, acceptor.clone(), Arc::clone(&book)));
            }
        });
        Self { address, authority, asked, server }
    }

    /// Whoever hangs up early is noted as well.
    async fn pass_on(
        mut client: TcpStream,
        tenant: SocketAddr,
        acceptor: TlsAcceptor,
        book: Arc<Mutex<BTreeSet<String>>>,
    ) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.ok()?);
        }
        let asked = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
        book.lock().unwrap().insert(asked);
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
        let mut client = acceptor.accept(client).await.ok()?;
        let mut server = TcpStream::connect(tenant).await.ok()?;
        copy_bidirectional(&mut client, &mut server).await.ok()?;
        Some(())
    }

    fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Crossroads {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A world whose tenant lives in this cloud, and hands out addresses for files at this host.
async fn world_in(cloud: &Cloud, files: &str) -> (World, Crossroads) {
    let world = World::with(mailspan_tenant::Options {
        public_origin: Some(format!("https://{}", cloud.graph)),
        upload_origin: Some(format!("https://{files}")),
        ..options()
    })
    .await;
    world.tenant.known_as(&format!("https://{}", cloud.login));
    let crossroads = Crossroads::before(world.tenant.address()).await;
    (world, crossroads)
}

/// A configuration that says where the tenant lives by the name of its cloud only.
fn plan(world: &World, crossroads: &Crossroads, cloud: &Cloud) -> Plan {
    let pair = Pair::valid_for(Duration::from_secs(24 * 3600));
    let files: (PathBuf, PathBuf) = (world.path("certificate.pem"), world.path("key.pem"));
    pair.write(&files);
    assert!(world.tenant.register_certificate(world.tenant.client_id(), &pair.certificate));
    let roots = world.path("roots.pem");
    std::fs::write(&roots, &crossroads.authority).unwrap();
    Plan::new(&world.database.url)
        .text("egress", "proxy", &format!("http://{}", crossroads.address))
        .text("egress", "ca_file", &roots.display().to_string())
        .more(&format!(
            "\n[[tenants]]\nname = \"contoso\"\ntenant_id = {:?}\nclient_id = {:?}\ncloud = {:?}\ncredentials = [{{ kind = \
             \"certificate\", certificate_file = {:?}, private_key_file = {:?} }}]\n",
            world.tenant.tenant_id(),
            world.tenant.client_id(),
            cloud.name,
            files.0,
            files.1
        ))
        .mailbox(SUPPORT, "")
        .route("all", "", &world.inbox)
}

/// Hands in a mail with a file that goes through a session of its own.
async fn hand_in(plan: &Plan) -> String {
    let file = BASE64_STANDARD.encode(noise(5, 3_300_000));
    let mail = json!({ "from": SUPPORT, "to": ["ann@customer.example"], "subject": "A large file", "text": "see the file",
        "attachments": [{ "name": "a.bin", "type": "application/octet-stream", "content": file }] });
    plan.submit_as("/messages", "large", &mail).await.unwrap().id()
}

async fn in_its_own_cloud(cloud: &Cloud, with_file: bool) {
    let (world, crossroads) = world_in(cloud, cloud.files).await;
    let plan = plan(&world, &crossroads, cloud);
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("In this cloud");
    world.inbox.until_has(&["In this cloud"]).await;
    world.until_read(&id).await;
    let mut hosts = vec![cloud.login, cloud.graph];
    if with_file {
        let submission = hand_in(&plan).await;
        plan.until_state(&submission, "sent", None).await;
        hosts.push(cloud.files);
    }
    bridge.stop().await;
    let hosts: BTreeSet<String> = hosts.into_iter().map(|it| format!("{it}:443")).collect();
    assert_eq!(crossroads.asked(), hosts, "{}", cloud.name);
    assert_eq!(world.tenant.counters().authorized_uploads, 0, "no token goes where files go");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_cloud_mail_flows_by_its_own_hosts_and_no_others() {
    for cloud in &CLOUDS {
        // A large file costs a test far more than a mail, and one goes the same way as another.
        in_its_own_cloud(cloud, cloud.name == "dod").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_not_brought_to_a_host_of_another_cloud_and_the_mail_waits() {
    let [global, gcc_high, ..] = &CLOUDS;
    let (world, crossroads) = world_in(gcc_high, global.files).await;
    let plan = plan(&world, &crossroads, gcc_high);
    let bridge = Bridge::start(&plan).await;
    let submission = hand_in(&plan).await;
    let says = format!("an upload session at {}, which is no host of this tenant's cloud", global.files);
    until_so("the trouble to be told", async || {
        plan.page(&format!("/api/v1/messages/{submission}")).await.is_some_and(|it| it.1.contains(&says))
    })
    .await;
    assert!(!crossroads.asked().contains(&format!("{}:443", global.files)), "{:?}", crossroads.asked());
    assert_eq!(world.tenant.sent_count(), 0);
    bridge.stop().await;
}
