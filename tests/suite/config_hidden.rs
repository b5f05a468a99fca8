//! Every place of the configuration that can hold a secret: what Debug, `config show` and problems print of it.

use mailspan::config::Config;
use proptest::prelude::*;

use crate::config_layers::{Folder, GOOD, SIGNING_SECRET, env};
use crate::leaks;

/// What makes of a good configuration one with a secret wherever there can be one: `{n}` is the n-th.
const EVERYWHERE: &str = r#"
[store]
url = "postgres://mailspan:{0}@db.example/mailspan"
[egress]
proxy = "http://proxy-user:{1}@proxy.example:3128"
[outbound]
smtp_listen = "127.0.0.1:2525"
smtp_users = [{ name = "crm", password = "{2}", senders = ["*@contoso.com"] }]
callback = { url = "https://flows.example.com/sent?code={3}", signing_secret = "whsec_{base64}" }
[[api_tokens]]
name = "ops"
token = "{4}"
scopes = ["read"]
[[routes]]
name = "bearer"
[routes.destination]
kind = "webhook"
url = "https://flows.example.com/in"
signing_secret = ["whsec_{base64}"]
headers = { X-Key = "{7}" }
auth = { kind = "bearer", token = "{8}" }
[[routes]]
name = "basic"
[routes.destination]
kind = "webhook"
url = "https://flows.example.com/in"
signing_secret = "whsec_{base64}"
auth = { kind = "basic", username = "ann", password = "{9}" }
[[routes]]
name = "oauth"
[routes.destination]
kind = "webhook"
url = "https://flows.example.com/in"
signing_secret = "whsec_{base64}"
auth = { kind = "oauth2_client_credentials", token_url = "https://login.example/token?code={10}", client_id = "c", client_secret = "{11}" }
[[routes]]
name = "relay"
[routes.destination]
kind = "smtp"
host = "relay.example"
recipient = "support@acme.mypurecloud.de"
username = "mailspan"
password = "{12}"
srs_secret = "{13}"
[[routes]]
name = "genesys"
[routes.destination]
kind = "genesys_cloud"
region = "mypurecloud.de"
client_id = "c"
client_secret = "{14}"
flow_id = "f"
[[routes]]
name = "connect"
[routes.destination]
kind = "amazon_connect"
region = "eu-central-1"
instance_id = "i"
address = "a@b.example"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "{15}"
[[routes]]
name = "nats"
[routes.destination]
kind = "nats"
url = "tls://nats.example"
subject = "mail.in"
username = "mailspan"
password = "{16}"
[[routes]]
name = "amqp"
[routes.destination]
kind = "amqp"
url = "amqps://rabbit.example"
routing_key = "mail"
username = "mailspan"
password = "{17}"
[[routes]]
name = "kafka"
[routes.destination]
kind = "kafka"
brokers = ["kafka.example:9093"]
topic = "mail"
sasl = { mechanism = "plain", username = "mailspan", password = "{18}" }
[[routes]]
name = "store"
[routes.destination]
kind = "object_store"
url = "s3://bucket/in"
options = { region = "eu-central-1", access_key_id = "AKIAIOSFODNN7EXAMPLE", secret_access_key = "{19}" }
"#;

/// How many there are.
const PLACES: usize = 20;

/// The configuration with these secrets; of each only the letters and digits, so that it stands in a URL as it is.
fn with(secrets: &[String]) -> (String, Vec<String>) {
    let key = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("{:0<24.24}", secrets[0]));
    let good = GOOD.replace("[server]", "[server]\ncontent_url = \"https://bridge.example.com\"");
    let good = good.replace("swordfish~Value", "{5}").replace("code=swordfish", "code={6}");
    let good = good.replace(SIGNING_SECRET, "whsec_{base64}");
    let mut text = (good + EVERYWHERE).replace("{base64}", &key);
    for (number, secret) in secrets.iter().enumerate() {
        assert!(text.contains(&format!("{{{number}}}")), "{number} has no place");
        text = text.replace(&format!("{{{number}}}"), secret);
    }
    (text, secrets.iter().cloned().chain([key]).collect())
}

fn any_secrets() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[a-zA-Z0-9]{36,60}", PLACES..=PLACES)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn nothing_that_is_printed_of_a_configuration_holds_a_secret(secrets in any_secrets()) {
        let (text, all) = with(&secrets);
        let folder = Folder::new();
        let loaded = Config::load(&[folder.write("a.toml", &text)], env(&[])).unwrap_or_else(|it| panic!("{it}"));
        let it = &loaded.config;
        let sections = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            it.server, it.store, it.egress, it.outbound, it.api_tokens, it.tenants, it.mailboxes, it.routes, it.telemetry
        );
        prop_assert!(sections.contains("bridge.example.com") && sections.contains("mypurecloud.de"), "{}", sections);
        let shown = serde_json::to_string(&loaded.origins).unwrap();
        prop_assert!(shown.contains("(hidden)"));
        for (what, said) in [("Debug", format!("{sections}{it:?}{loaded:?}")), ("config show", shown)] {
            let found = leaks::found(said.as_bytes(), &all);
            prop_assert!(found.is_empty(), "{} shows {:#?}", what, found);
            let looks = leaks::looks(said.as_bytes());
            prop_assert!(looks.is_empty(), "{} shows {:#?}", what, looks);
        }
    }

    #[test]
    fn no_problem_of_a_configuration_that_was_damaged_anywhere_holds_a_secret(
        secrets in any_secrets(), line in any::<prop::sample::Index>(), how in 0..4_u8,
    ) {
        let (text, all) = with(&secrets);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = line.index(lines.len());
        lines[at] = match how {
            0 => lines[at].replace('=', ""),
            1 => lines[at].replacen(" = ", "x = ", 1),
            2 => lines[at].replacen(" = ", " = 7 #", 1),
            _ => lines[at].replacen('"', "", 1),
        };
        let folder = Folder::new();
        let file = folder.write("a.toml", &lines.join("\n"));
        if let Err(problems) = Config::load(&[file], env(&[])) {
            let said = format!("{problems} {problems:?} {}", serde_json::to_string(&problems.problems).unwrap());
            let found = leaks::found(said.as_bytes(), &all);
            prop_assert!(found.is_empty(), "{:?}: {:#?}", lines[at], found);
        }
    }
}
