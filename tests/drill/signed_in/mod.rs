//! The world of the drill on sign-ins: a mailbox on behalf of its user, tokens that live for a second or two, and a tenant
//! that answers late, so that a kill meets a rotation.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mailspan_tenant::{Fault, FaultAction, NotificationPolicy, Operation, Options, SignInPolicy, Tenant};
use serde_json::Value;

use super::world::bridge::{Bridge, free_port};

const SUPPORT: &str = "support@contoso.example";
/// 32 bytes.
const KEY: &str = "Cw3Qb4WcQ8pYp1rB7nXvH2mK5tLs9eJfUoZ6iDgAkEM=";
/// What has not happened by then does not happen. After some kills and lost answers in a row a mailbox is left alone for up to
/// six minutes.
const DEADLINE: Duration = Duration::from_secs(400);

pub(crate) struct World {
    tenant: Tenant,
    pub(crate) bridge: Bridge,
    admin: String,
    folder: tempfile::TempDir,
    asking: reqwest::Client,
    mails: usize,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Sums {
    pub(crate) kills: u32,
    /// Refresh tokens that were handed out.
    pub(crate) handed_out: usize,
    pub(crate) mails: usize,
}

impl World {
    /// The program runs, and the mailbox's user has signed in.
    pub(crate) async fn start() -> Self {
        let options = Options {
            token_lifetime: Duration::from_secs(1)..=Duration::from_secs(2),
            notifications: NotificationPolicy::fast(),
            ..Options::default()
        };
        let tenant = Tenant::start(options).await.unwrap();
        tenant.add_mailbox(SUPPORT);
        tenant.sign_in_policy(SignInPolicy { interval: 1, ..SignInPolicy::default() });
        let folder = tempfile::tempdir().unwrap();
        let admin = free_port();
        let text = configuration(folder.path(), &tenant, &admin.to_string());
        let mut bridge = Bridge::run(folder.path(), &text, admin, Vec::new());
        bridge.until_ready().await;
        let asking = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).tls_certs_only([]);
        let world = Self {
            tenant,
            bridge,
            admin: format!("http://{admin}"),
            folder,
            asking: asking.build().unwrap(),
            mails: 0,
        };
        world.sign_in().await;
        world.slow_down();
        world
    }

    async fn sign_in(&self) {
        let url = format!("{}/api/v1/mailboxes/{SUPPORT}/sign-in", self.admin);
        let begun: Value =
            self.asking.post(&url).json(&serde_json::json!({})).send().await.unwrap().json().await.unwrap();
        assert!(self.tenant.enter_code(begun["user_code"].as_str().unwrap(), SUPPORT), "{begun}");
        self.until("somebody has signed in", async || {
            let progress: Value = self.asking.get(&url).send().await.unwrap().json().await.unwrap();
            progress["state"] == "signed_in"
        })
        .await;
    }

    /// Refreshes take their time, and the answer to one in ten is lost on its way.
    fn slow_down(&self) {
        let fault = |probability, action| Fault {
            operation: Some(Operation::Token),
            mailbox: None,
            message: None,
            probability,
            times: None,
            after: 0,
            action,
        };
        self.tenant.fault(fault(0.1, FaultAction::DropAfter));
        self.tenant.fault(fault(0.5, FaultAction::Slow(Duration::from_millis(100))));
    }

    /// A mail comes, and the bridge is killed so long after it has asked for tokens: before the answer, as it comes, or while
    /// what was answered is written down.
    pub(crate) async fn kill_in_rotation(&mut self, after: Duration) {
        self.tenant.receive(SUPPORT, mail(self.mails));
        self.mails += 1;
        let asked = self.asked();
        self.until("tokens are asked for", async || self.asked() > asked).await;
        tokio::time::sleep(after).await;
        self.bridge.kill().await;
    }

    /// How often tokens were asked for.
    fn asked(&self) -> u64 {
        self.tenant.requests().get(Operation::Token.name()).copied().unwrap_or(0)
    }

    /// Nobody has to sign in again, and all mail has come through.
    pub(crate) async fn end(mut self) -> Sums {
        self.tenant.clear_faults();
        self.bridge.until_ready().await;
        self.tenant.receive(SUPPORT, mail(self.mails));
        self.mails += 1;
        let arrived = self.folder.path().join("mail/new");
        self.until("all mail has come through", async || subjects(&arrived) >= self.mails).await;
        let (_, health) = self.bridge.health().await.unwrap();
        let checks = health["checks"].as_array().unwrap();
        let mailbox = checks.iter().find(|it| it["kind"] == "mailbox").unwrap();
        assert_eq!(mailbox["sign_in"]["state"], "signed_in", "{mailbox}\n{}", self.bridge.tail());
        let log = std::fs::read_to_string(self.folder.path().join("bridge.log")).unwrap();
        assert!(!log.contains("there is no sign-in: AADSTS"), "{}", self.bridge.tail());
        assert!(!log.contains("1.AXkA"), "no refresh token is in the log");
        let sums =
            Sums { kills: self.bridge.kills, handed_out: self.tenant.refresh_tokens(SUPPORT), mails: self.mails };
        self.bridge.stop().await;
        sums
    }

    async fn until(&self, what: &str, mut look: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !look().await {
            assert!(begun.elapsed() < DEADLINE, "there is still missing: {what}\n{}", self.bridge.tail());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// How many different mails lie in a folder; one may have come twice.
fn subjects(folder: &Path) -> usize {
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    let subject = |path: PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().find(|it| it.starts_with("Subject: ")).map(str::to_owned)
    };
    files.filter_map(|it| subject(it.unwrap().path())).collect::<std::collections::BTreeSet<_>>().len()
}

fn mail(number: usize) -> Vec<u8> {
    format!(
        "From: Ann <ann@customer.example>\r\nTo: {SUPPORT}\r\nMessage-ID: <{number}.{:x}@customer.example>\r\n\
         Subject: Mail {number}\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\nHello\r\n",
        fastrand::u64(..)
    )
    .into_bytes()
}

fn configuration(folder: &Path, tenant: &Tenant, admin: &str) -> String {
    let keys = folder.join("keys");
    std::fs::write(&keys, KEY).unwrap();
    let (database, mail) = (folder.join("mailspan.db"), folder.join("mail"));
    format!(
        r#"
server = {{ webhook_listen = "{}", admin_listen = "{admin}", shutdown_timeout = "10s" }}
store = {{ url = "sqlite:{}", encryption_key_file = {keys:?} }}
sync = {{ mode = "poll", poll_interval = "1s", sweep_interval = "5s" }}

[[tenants]]
name = "contoso"
tenant_id = "{}"
client_id = "{}"
token_endpoint = "{}"
graph_endpoint = "{}"

[[mailboxes]]
address = "{SUPPORT}"
access = "delegated"

[[routes]]
name = "all"
[routes.destination]
kind = "maildir"
path = {mail:?}
"#,
        free_port(),
        database.display(),
        tenant.tenant_id(),
        tenant.client_id(),
        tenant.token_endpoint(),
        tenant.graph_endpoint(),
    )
}
