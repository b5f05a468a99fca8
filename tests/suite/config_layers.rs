//! Defaults, then files in order, then the environment; every value knows where it came from, and no secret is shown.

use std::path::{Path, PathBuf};

use mailspan::cli::config::{ConfigAction, ConfigCommand, Sources};
use mailspan::config::{Config, Loaded, Origin};
use mailspan::inbound::Mode;

pub(crate) const SIGNING_SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5";

pub(crate) const GOOD: &str = r#"
[server]
public_url = "https://bridge.example.com"

[[tenants]]
name = "contoso"
tenant_id = "9a7e1c52-4f0b-4d6e-8a55-0c1d2e3f4a5b"
client_id = "3f6b0d1e-7c2a-4e8f-9b10-5d4c3b2a1f0e"
[[tenants.credentials]]
kind = "client_secret"
secret = "swordfish~Value"

[[mailboxes]]
address = "Support@Contoso.com"

[[routes]]
name = "support-flow"
[routes.destination]
kind = "webhook"
url = "https://flows.example.com/inbound?code=swordfish"
signing_secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"
"#;

/// A folder with configuration files in it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

pub(crate) fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

fn load(files: &[PathBuf], variables: &[(&str, &str)]) -> Loaded {
    Config::load(files, env(variables)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn origin<'a>(loaded: &'a Loaded, key: &str) -> &'a Origin {
    &loaded.origins.iter().find(|it| it.key == key).unwrap_or_else(|| panic!("{key}")).origin
}

#[test]
fn what_no_file_says_is_the_default() {
    let folder = Folder::new();
    let loaded = load(&[folder.write("a.toml", GOOD)], &[]);
    assert_eq!(loaded.config.server.webhook_listen.to_string(), "0.0.0.0:8080");
    assert_eq!(loaded.config.sync.mode, Mode::Push);
    assert_eq!(loaded.config.routes[0].concurrency.get(), 8);
    assert_eq!(loaded.config.routes[0].backoff().steps.len(), 11);
    assert_eq!(*origin(&loaded, "server.webhook_listen"), Origin::Default);
    assert_eq!(*origin(&loaded, "routes[0].concurrency"), Origin::Default);
}

#[test]
fn a_later_file_wins_and_a_variable_wins_over_every_file() {
    let folder = Folder::new();
    let first = folder.write("first.toml", GOOD);
    let second = folder.write("second.toml", "[sync]\nmode = \"poll\"\npoll_interval = \"5m\"\n");
    let files = [first.clone(), second.clone()];

    let loaded = load(&files, &[("MAILSPAN__SYNC__POLL_INTERVAL", "7m"), ("PATH", "/bin"), ("MAILSPAN_OTHER", "x")]);
    assert_eq!(loaded.config.sync.mode, Mode::Poll);
    assert_eq!(loaded.config.sync.poll_interval.to_string(), "7m");
    assert_eq!(loaded.config.sync.sweep_interval.to_string(), "15m", "what a file leaves out stays as it was");
    assert_eq!(*origin(&loaded, "sync.mode"), Origin::File { path: second, line: Some(2) });
    assert_eq!(*origin(&loaded, "sync.poll_interval"), Origin::Variable("MAILSPAN__SYNC__POLL_INTERVAL".into()));
    assert_eq!(*origin(&loaded, "tenants[0].name"), Origin::File { path: first.clone(), line: Some(6) });

    let back = load(&[files[1].clone(), files[0].clone(), folder.write("c.toml", "sync.mode = \"push\"")], &[]);
    assert_eq!(back.config.sync.mode, Mode::Push, "the order of the files decides");
}

#[test]
fn variables_reach_into_lists_and_become_what_the_key_wants() {
    let folder = Folder::new();
    let file = folder.write("a.toml", GOOD);
    let loaded = load(
        &[file],
        &[
            ("MAILSPAN__TENANTS__0__CLIENT_ID", "11111111-2222-4333-8444-555555555555"),
            ("MAILSPAN__ROUTES__0__CONCURRENCY", "3"),
            ("MAILSPAN__ROUTES__0__HAS_ATTACHMENTS", "true"),
            ("MAILSPAN__ROUTES__0__RECIPIENTS", "a@contoso.com, b@contoso.com"),
            ("MAILSPAN__ROUTES__0__KINDS", "[\"human\"]"),
            ("MAILSPAN__ROUTES__0__ATTRIBUTES", "{ queue = \"tier-1\" }"),
            ("MAILSPAN__ROUTES__0__DESTINATION__TIMEOUT", "9s"),
            ("MAILSPAN__ROUTES__0__DESTINATION__ALLOW_PRIVATE_NETWORKS", "true"),
            ("MAILSPAN__MAILBOXES__1__ADDRESS", "sales@contoso.com"),
        ],
    );
    let route = &loaded.config.routes[0];
    assert_eq!(loaded.config.tenants[0].client_id, "11111111-2222-4333-8444-555555555555");
    assert_eq!((route.concurrency.get(), route.has_attachments), (3, Some(true)));
    assert_eq!((route.recipients.len(), route.kinds.len()), (2, 1));
    assert_eq!(route.attributes.get("queue").map(String::as_str), Some("tier-1"));
    let mailspan::destinations::Config::Webhook(webhook) = &route.destination else { panic!("not a webhook") };
    assert_eq!(webhook.timeout.to_string(), "9s");
    assert!(webhook.allow_private_networks);
    assert_eq!(loaded.config.mailboxes[1].address.as_str(), "sales@contoso.com");
}

#[test]
fn everything_can_come_from_variables() {
    let loaded = load(
        &[],
        &[
            ("MAILSPAN__SYNC__MODE", "poll"),
            ("MAILSPAN__TENANTS__0__NAME", "contoso"),
            ("MAILSPAN__TENANTS__0__TENANT_ID", "contoso.onmicrosoft.com"),
            ("MAILSPAN__TENANTS__0__CLIENT_ID", "3f6b0d1e-7c2a-4e8f-9b10-5d4c3b2a1f0e"),
            ("MAILSPAN__TENANTS__0__CREDENTIALS__0__KIND", "client_secret"),
            ("MAILSPAN__TENANTS__0__CREDENTIALS__0__SECRET", "swordfish~Value"),
            ("MAILSPAN__MAILBOXES__0__ADDRESS", "support@contoso.com"),
            ("MAILSPAN__ROUTES__0__NAME", "archive"),
            ("MAILSPAN__ROUTES__0__DESTINATION", "{ kind = \"maildir\", path = \"/var/mail/support\" }"),
        ],
    );
    assert_eq!(loaded.config.routes[0].name, "archive");
}

#[test]
fn a_mailbox_knows_its_tenant_when_there_is_only_one() {
    let folder = Folder::new();
    let loaded = load(&[folder.write("a.toml", GOOD)], &[]);
    assert_eq!(Config::mailbox_id(&loaded.config.mailboxes[0]).to_string(), "contoso/support@contoso.com");
}

fn answer(action: ConfigAction) -> (u8, String) {
    let mut out = vec![];
    let code = ConfigCommand { action }.run(env(&[]), &mut out).unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn sources(path: PathBuf, json: bool) -> Sources {
    Sources { config: vec![path], json }
}

#[test]
fn no_secret_is_shown_anywhere() {
    let folder = Folder::new();
    let file = folder.write("a.toml", GOOD);
    let loaded = load(std::slice::from_ref(&file), &[("MAILSPAN__STORE__URL", "postgres://bridge:swordfish@db/mail")]);
    let (_, text) = answer(ConfigAction::Show(sources(file.clone(), false)));
    let (_, json) = answer(ConfigAction::Show(sources(file.clone(), true)));
    let debug = format!("{loaded:?} {:?} {:?}", loaded.config.tenants, loaded.config);
    for shown in [&text, &json, &debug] {
        assert!(!shown.contains("swordfish") && !shown.contains(SIGNING_SECRET), "{shown}");
    }
    assert!(text.contains("secret = \"(hidden)\""), "{text}");
    assert!(text.contains("signing_secret = \"(hidden)\""), "{text}");
    assert!(text.contains("url = \"https://flows.example.com/inbound?(hidden)\""), "{text}");
}

#[test]
fn what_show_prints_is_toml_with_the_places_beside_it() {
    let folder = Folder::new();
    let file = folder.write("a.toml", GOOD);
    let (code, text) = answer(ConfigAction::Show(sources(file.clone(), false)));
    assert_eq!(code, 0);
    let table: toml::Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(table["routes"][0]["destination"]["kind"].as_str(), Some("webhook"));
    assert_eq!(table["tenants"][0]["credentials"][0]["kind"].as_str(), Some("client_secret"));
    let line = text.lines().find(|it| it.starts_with("public_url")).unwrap();
    assert!(line.ends_with(&format!("# {}:3", file.display())), "{line}");
    let order: Vec<_> = text.lines().filter(|it| it.starts_with('[')).collect();
    let expected = "[server] [store] [limits] [sync] [routing] [outbound] [telemetry] [[tenants]] [[tenants.credentials]] \
                    [[mailboxes]] [[routes]] [routes.destination]";
    assert_eq!(order.join(" "), expected);
}

#[test]
fn check_counts_what_is_fine_and_refuses_with_2() {
    let folder = Folder::new();
    let good = folder.write("good.toml", GOOD);
    let (code, text) = answer(ConfigAction::Check(sources(good.clone(), false)));
    assert_eq!((code, text), (0, format!("{} is fine: 1 tenant, 1 mailbox, 1 route\n", good.display())));
    let (code, json) = answer(ConfigAction::Check(sources(good, true)));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["usable"], &json["counts"]["routes"]), (0, &true.into(), &1.into()));

    let bad = folder.write("bad.toml", &GOOD.replace("public_url", "publik_url"));
    let (code, json) = answer(ConfigAction::Check(sources(bad.clone(), true)));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(code, 2);
    assert_eq!(json["usable"], false);
    assert_eq!(json["problems"][0]["key"], "server.publik_url");
    assert_eq!(json["problems"][0]["origin"]["file"]["line"], 3);
    assert_eq!(answer(ConfigAction::Show(sources(bad, false))).0, 2);
    assert!(
        answer(ConfigAction::Check(sources(folder.path().join("nowhere.toml"), false))).1.contains("cannot be read")
    );
}
