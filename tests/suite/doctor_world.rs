//! The set-ups that doctor is sent to: a tenant in which all is well, what is then broken, and what the program says.
//!
//! Whatever it says is searched for secrets, tokens and gaps in its sentences.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use mailspan_tenant::{MessageState, Options, Tenant};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::said;
use crate::world::{Plan, SUPPORT, options};

/// A second mailbox, of which nothing is broken.
pub(crate) const SALES: &str = "sales@contoso.example";
const ROLES: [&str; 2] = ["Application Mail.ReadWrite", "Application Mail.Send"];
/// Nothing that a test sends doctor to may keep it for longer.
const PATIENCE: Duration = Duration::from_secs(180);
/// What would lead a request elsewhere than the configuration says.
const SURROUNDINGS: [&str; 10] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_DIR",
    "MAILSPAN_TOKEN_FILE",
];

/// A tenant and a configuration for it.
pub(crate) struct Clinic {
    pub(crate) tenant: Tenant,
    pub(crate) plan: Plan,
    pub(crate) folder: tempfile::TempDir,
    /// The authorities that the world trusts, as the program sees it.
    pub(crate) roots: Option<PathBuf>,
}

/// What doctor said.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) code: Option<i32>,
    pub(crate) status: String,
    pub(crate) checks: Vec<Value>,
}

impl Clinic {
    /// All is well: two mailboxes, reached by roles of Exchange with a scope, and polled.
    pub(crate) async fn new() -> Self {
        Self::with(Options { roles: Vec::new(), ..options() }).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let clinic = Self::bare(options).await;
        for role in ROLES {
            clinic.tenant.assign_role(clinic.tenant.client_id(), role, &[SUPPORT, SALES]);
        }
        clinic
    }

    /// Two mailboxes, and nobody who may do anything in them beside what tokens hold.
    pub(crate) async fn bare(options: Options) -> Self {
        let tenant = Tenant::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("mailspan.db").display());
        let plan = Plan::new(&store).text("sync", "mode", "poll").tenant("contoso", &tenant);
        let clinic = Self { tenant, plan, folder, roots: None };
        clinic.mailboxes()
    }

    /// The same tenant, by these credentials.
    pub(crate) fn credentials(mut self, credentials: &str) -> Self {
        self.plan = self.plan.only_tenant("contoso", &self.tenant, credentials);
        self.mailboxes()
    }

    fn mailboxes(mut self) -> Self {
        [SUPPORT, SALES].iter().for_each(|it| self.tenant.add_mailbox(it));
        let mail = self.folder.path().join("mail");
        let destination = format!("kind = \"maildir\"\npath = {mail:?}");
        self.plan = self.plan.mailbox(SUPPORT, "").mailbox(SALES, "").route_to("all", "", &destination);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What doctor says of it.
    pub(crate) async fn report(&self) -> Report {
        self.report_of(&self.plan.toml(), &[]).await
    }

    /// What it says of this configuration, asked with these arguments as well.
    pub(crate) async fn report_of(&self, toml: &str, args: &[&str]) -> Report {
        Report::read(&self.doctor(toml, &[&["--json"], args].concat()).await)
    }

    /// What it says when it gets this signal once something has happened.
    pub(crate) async fn report_until(&self, toml: &str, args: &[&str], name: &str, then: impl Future) -> Report {
        let child = self.command(toml, &[&["--json"], args].concat()).spawn().unwrap();
        let id = child.id().unwrap().to_string();
        then.await;
        let signal = Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap();
        assert!(signal.success());
        Report::read(&self.ended(child).await)
    }

    /// Runs the program. Nothing it says may be a secret, or a sentence with a gap.
    pub(crate) async fn doctor(&self, toml: &str, args: &[&str]) -> Output {
        self.ended(self.command(toml, args).spawn().unwrap()).await
    }

    fn command(&self, toml: &str, args: &[&str]) -> Command {
        let file = self.path("doctor.toml");
        said::secrets_of(toml);
        std::fs::write(&file, toml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailspan"));
        command.arg("doctor").arg("--config").arg(&file).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        SURROUNDINGS.iter().for_each(|it| _ = command.env_remove(it));
        if let Some(roots) = &self.roots {
            command.env("SSL_CERT_FILE", roots);
        }
        command
    }

    async fn ended(&self, child: Child) -> Output {
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("doctor ends").unwrap();
        let output = said::printed(output);
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        // The folder has a name of its own by chance, in which anything may stand.
        let said = String::from_utf8(said).unwrap().replace(self.folder.path().to_str().unwrap(), "");
        let secret = self.tenant.client_secret();
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for telling in [secret, &encoded, "eyJ", "PRIVATE"] {
            assert!(!said.contains(telling), "{telling} in {said}");
        }
        output
    }

    /// What lies in the drafts of both mailboxes.
    pub(crate) fn drafts(&self) -> Vec<MessageState> {
        let all = [SUPPORT, SALES].into_iter().flat_map(|it| self.tenant.messages(it));
        all.filter(|it| it.folder == "drafts").collect()
    }
}

impl Report {
    fn read(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let said: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)));
        let checks = said["checks"].as_array().unwrap().clone();
        Self { code: output.status.code(), status: said["status"].as_str().unwrap().to_owned(), checks }
    }

    /// The checks that did not end well, as `check subject state code`.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let text = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
        let troubled = self.checks.iter().filter(|it| it["state"] == "warn" || it["state"] == "fail");
        troubled.map(|it| ["check", "subject", "state", "code"].map(|name| text(it, name)).join(" ")).collect()
    }

    /// The codes of what did not end well, in order.
    pub(crate) fn codes(&self) -> Vec<String> {
        let troubled = self.checks.iter().filter(|it| it["state"] == "warn" || it["state"] == "fail");
        troubled.map(|it| it["code"].as_str().unwrap().to_owned()).collect()
    }

    /// The first check with this code.
    pub(crate) fn check(&self, code: &str) -> &Value {
        let found = self.checks.iter().find(|it| it["code"] == code);
        found.unwrap_or_else(|| panic!("{code} is not among {:#?}", self.checks))
    }

    /// This is what is wrong, this alone, and it is said as a person needs it.
    pub(crate) fn says_only(&self, what: &str, wanted: &[&str]) {
        assert_eq!(self.codes(), wanted, "{what}: {:#?}", self.checks);
        let is_broken = self.checks.iter().any(|it| it["state"] == "fail");
        assert_eq!(self.code, Some(i32::from(is_broken)), "{what}");
        assert_eq!(
            self.status,
            if is_broken {
                "fail"
            } else if wanted.is_empty() {
                "pass"
            } else {
                "warn"
            },
            "{what}"
        );
        let steps: Vec<u64> = self.checks.iter().map(|it| it["step"].as_u64().unwrap()).collect();
        assert!(steps.iter().all(|it| (1..=11).contains(it)), "{what}: {steps:?}");
        for check in &self.checks {
            let text = |name: &str| check[name].as_str().unwrap_or_default();
            assert!(text("what").len() > 10, "{what}: {check}");
            let is_trouble = wanted.contains(&text("code"));
            assert_eq!(text("cause").len() > 10 && text("cure").len() > 10, is_trouble, "{what}: {check}");
            for name in ["what", "cause", "cure"] {
                assert!(!text(name).contains(['{', '}']) && !text(name).contains("  "), "{what}: {check}");
            }
        }
    }
}

/// The configuration with one text in place of another, which must be there.
pub(crate) fn changed(toml: &str, from: &str, to: &str) -> String {
    assert!(toml.contains(from), "{from} is not in {toml}");
    toml.replace(from, to)
}

/// Writes a file and returns its path as TOML writes it.
pub(crate) fn file(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    format!("{path:?}")
}
