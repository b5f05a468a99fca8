//! The world of a drill of sending: clients at three doors, the real program, and a tenant that loses its answers.
//!
//! [`World::end`] is the judge: every letter that was taken over left once, every end was called back, the API and the
//! bridge's own books say the same.

pub(crate) mod clients;
pub(crate) mod desk;
pub(crate) mod letters;
pub(crate) mod smtp;
pub(crate) mod verdict;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mailspan_tenant::{Fault, FaultAction, NotificationPolicy, Options, Refusing, Tenant};
use serde_json::Value;

use super::world::books;
use super::world::bridge::{Bridge, free_port};
use clients::{Clients, Doors};
use desk::{Desk, SIGNING_SECRET};
use letters::{Door, Letter, SENDERS};
use verdict::Sums;

const PASSWORD: &str = "drill password, long enough";
const USER: &str = "agents";

/// How a drill of sending is set up.
pub(crate) struct Setting {
    /// What it is called.
    pub(crate) name: &'static str,
    /// `store.url`; without it a SQLite file of its own.
    pub(crate) store: Option<String>,
    /// How many letters are submitted.
    pub(crate) letters: u64,
    /// How many clients submit at a time.
    pub(crate) at_once: usize,
    /// What a client waits between two letters.
    pub(crate) pause: Duration,
    /// Whether the SMTP listener is open; without it, letters that would go there are left out.
    pub(crate) smtp: bool,
    /// How likely the tenant does the work and closes the connection without an answer.
    pub(crate) lost: f64,
}

/// Everything a drill of sending plays with.
pub(crate) struct World {
    setting: Setting,
    folder: PathBuf,
    store: String,
    pub(crate) tenant: Tenant,
    pub(crate) desk: Desk,
    pub(crate) bridge: Bridge,
    pub(crate) clients: Clients,
    doors: Doors,
    begun: Instant,
}

impl World {
    /// Starts it all; clients submit, and from now on the tenant loses answers.
    pub(crate) async fn start(setting: Setting) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.join(format!("drill-{}-{}", setting.name.replace(' ', "-"), std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let own = format!("sqlite:{}", folder.join("mailspan.db").display());
        let store = setting.store.clone().unwrap_or(own);
        let options =
            Options { notifications: NotificationPolicy::fast(), max_message_size: 150 << 20, ..Options::default() };
        let tenant = Tenant::start(options).await.unwrap();
        SENDERS.iter().for_each(|address| tenant.add_mailbox(address));
        let letters = || (0..setting.letters).map(Letter).filter(|it| setting.smtp || it.door() != Door::Smtp);
        for letter in letters().filter(|it| it.comes_back()) {
            tenant.refuse_mail_to(
                &letter.to(),
                Refusing::new("5.1.1", "The email account that you tried to reach does not exist"),
            );
        }
        let desk = Desk::open().await;
        let ports = Ports { public: free_port(), admin: free_port(), smtp: free_port() };
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("cert.pem"), own.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
        let mut text = configuration(&store, &tenant, &desk, &ports);
        if setting.smtp {
            text = text.replacen("[outbound]\n", &format!("[outbound]\n{}", listener(&folder, &ports)), 1);
        }
        let mut bridge = Bridge::run(&folder, &text, ports.admin, Vec::new());
        bridge.until_ready().await;
        bridge.until_pushed(&tenant, SENDERS.len()).await;

        let replies: Vec<Letter> = letters().filter(|it| it.door() == Door::Reply).collect();
        replies.iter().for_each(|it| drop(tenant.receive(it.from(), it.question())));
        let begun = Instant::now();
        while desk.questions() < replies.len() {
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "{} questions came\n{}",
                desk.questions(),
                bridge.tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tenant.fault(Fault::everywhere(FaultAction::DropAfter).chance(setting.lost));
        desk.refuses(0.05);
        bridge.restarts.clear();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).tls_certs_only([]);
        let doors = Doors {
            api: format!("http://{}/api/v1", ports.admin),
            http: http.build().unwrap(),
            smtp: smtp::Client::new(ports.smtp, USER, PASSWORD, own.cert.der().clone()),
            desk: desk.clone(),
        };
        let clients = Clients::begin(&doors, letters().collect(), setting.at_once, setting.pause);
        Self { setting, folder, store, tenant, desk, bridge, clients, doors, begun: Instant::now() }
    }

    /// A world in which nothing is lost and nobody submits.
    pub(crate) async fn quiet(name: &'static str) -> Self {
        Self::start(Setting {
            name,
            store: None,
            letters: 0,
            at_once: 0,
            pause: Duration::ZERO,
            smtp: false,
            lost: 0.0,
        })
        .await
    }

    /// Submits a letter once; whether it was taken over.
    pub(crate) async fn offers(&self, letter: Letter) -> Result<bool, String> {
        self.doors.offer(letter).await
    }

    /// Posts JSON to the API, which takes it over.
    pub(crate) async fn posts(&self, path: &str, json: &Value) {
        let request = self.doors.http.post(format!("{}{path}", self.doors.api)).timeout(Duration::from_secs(120));
        let answer = request.json(json).send().await.unwrap();
        let status = answer.status();
        assert!(status == 202, "{status}: {}\n{}", answer.text().await.unwrap(), self.bridge.tail());
    }

    /// The interaction that a letter answers.
    pub(crate) async fn asked(&self, letter: Letter) -> String {
        let begun = Instant::now();
        loop {
            if let Some(id) = self.desk.question_of(letter) {
                return id;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the question does not come\n{}", self.bridge.tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The end of a quiet world.
    pub(crate) async fn close(mut self) {
        self.bridge.stop().await;
        drop(std::fs::remove_dir_all(&self.folder));
    }

    /// Waits until everything that was taken over has come to its end, and judges it. `patience` is how long nothing at all
    /// may move before what is missing counts as lost.
    pub(crate) async fn end(mut self, patience: Duration) -> (u32, Sums) {
        let book = self.clients.end().await;
        let (mut best, mut moved) = (0, Instant::now());
        loop {
            self.bridge.until_ready().await;
            let (is_over, sum) = verdict::ended(book.promises.len(), &self.desk, &self.tenant);
            if is_over || moved.elapsed() > patience {
                break;
            }
            if sum > best {
                (best, moved) = (sum, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let took = self.begun.elapsed();
        self.tenant.clear_faults();
        let mut sums = Sums::default();
        let mut wrong = verdict::wrong(&self.tenant, &book, &self.desk, &mut sums);
        wrong.extend(self.doors.said_of_each(sums.sent, &self.tenant).await);
        books::until_done(&self.store, patience).await;
        self.bridge.stop().await;
        wrong.extend(books::read(&self.store).await.left_behind());
        report(&self.setting, self.bridge.kills, &self.tenant, &sums, took);
        assert!(wrong.is_empty(), "{}: {wrong:#?}\n{}", self.setting.name, self.bridge.tail());
        drop(std::fs::remove_dir_all(&self.folder));
        (self.bridge.kills, sums)
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what a drill is run for")]
fn report(setting: &Setting, kills: u32, tenant: &Tenant, sums: &Sums, took: Duration) {
    println!(
        "{}: {} letters ({:?}), {kills} kills, {} submissions sent, {} taken over twice because the 250 was lost, \
         callbacks (and acceptances) {:?}, {} requests on Graph, {:.1} s in all",
        setting.name,
        setting.letters,
        sums.promised,
        sums.sent,
        sums.taken_twice,
        sums.callbacks,
        tenant.graph_requests(),
        took.as_secs_f64()
    );
}

impl Doors {
    /// What the API says of every submission, where that is not what happened.
    async fn said_of_each(&self, expected: usize, tenant: &Tenant) -> Vec<String> {
        let (mut wrong, mut seen, mut cursor) = (Vec::new(), 0, String::new());
        loop {
            let url = format!("{}/messages?limit=200{cursor}", self.api);
            let Ok(answer) = self.http.get(&url).send().await else {
                return vec!["the API does not answer".to_owned()];
            };
            let Ok(page) = answer.json::<Value>().await else {
                return vec!["a page of messages is no JSON".to_owned()];
            };
            let items = page["items"].as_array().cloned().unwrap_or_default();
            seen += items.len();
            for item in &items {
                let url = format!("{}/messages/{}", self.api, item["id"].as_str().unwrap_or_default());
                let Ok(answer) = self.http.get(&url).send().await else { return vec![format!("no answer to {url}")] };
                let Ok(item) = answer.json::<Value>().await else { return vec![format!("{url} is no JSON")] };
                let to = item["to"][0]["email"].as_str().unwrap_or_default();
                let is_gone = to.starts_with("gone");
                let state = if is_gone { "bounced" } else { "sent" };
                if item["state"] != state {
                    wrong.push(format!("the API says of a mail to {to}: {item}"));
                }
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if seen != expected || tenant.sent_count() != expected {
            wrong.push(format!("the API knows {seen} submissions, {expected} left, {} mails", tenant.sent_count()));
        }
        wrong
    }
}

struct Ports {
    public: SocketAddr,
    admin: SocketAddr,
    smtp: SocketAddr,
}

/// The keys of the SMTP listener.
fn listener(folder: &Path, ports: &Ports) -> String {
    let folder = folder.display();
    format!(
        "smtp_listen = \"{}\"\nsmtp_tls = {{ cert_file = \"{folder}/cert.pem\", key_file = \"{folder}/key.pem\" }}\n\
         smtp_users = [{{ name = \"{USER}\", password = \"{PASSWORD}\", senders = [\"*@contoso.example\"] }}]\n",
        ports.smtp
    )
}

fn configuration(store: &str, tenant: &Tenant, desk: &Desk, ports: &Ports) -> String {
    let Ports { public, admin, .. } = ports;
    let retry = vec!["\"500ms\""; 59].join(", ");
    let mut text = format!(
        r#"
server = {{ webhook_listen = "{public}", admin_listen = "{admin}", public_url = "http://{public}", shutdown_timeout = "10s" }}
store = {{ url = "{store}" }}
sync = {{ poll_interval = "2s", sweep_interval = "10s" }}

[outbound]
rate_per_minute = 60000
max_message_size = "150MiB"
callback = {{ url = "{callbacks}", signing_secret = "{SIGNING_SECRET}", allow_private_networks = true, timeout = "2s" }}

[[tenants]]
name = "contoso"
tenant_id = "{tenant_id}"
client_id = "{client_id}"
token_endpoint = "{token_endpoint}"
graph_endpoint = "{graph_endpoint}"
credentials = [{{ kind = "client_secret", secret = "{secret}" }}]

[[routes]]
name = "all"
retry = ["0s", {retry}]
[routes.destination]
kind = "webhook"
url = "{interactions}"
signing_secret = "{SIGNING_SECRET}"
timeout = "2s"
allow_private_networks = true
"#,
        callbacks = desk.url("callbacks"),
        interactions = desk.url("interactions"),
        tenant_id = tenant.tenant_id(),
        client_id = tenant.client_id(),
        token_endpoint = tenant.token_endpoint(),
        graph_endpoint = tenant.graph_endpoint(),
        secret = tenant.client_secret(),
    );
    for address in SENDERS {
        text.push_str(&format!("\n[[mailboxes]]\naddress = \"{address}\"\nsend = true\n"));
    }
    text
}
