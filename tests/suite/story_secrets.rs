//! A bridge with every kind of secret, in every kind of trouble: none of them is in anything that it says, counts, shows or
//! stores; and with a key, nothing of what people wrote is to be found in its database either.

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use mailspan_tenant::{Fault, FaultAction, Operation};
use serde_json::Value;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::identity_keys::{Pair, write};
use crate::leaks;
use crate::receiver::Answer;
use crate::submitting::reply;
use crate::world::{Inbox, Plan, SIGNING_SECRET, SUPPORT, World, client, until_so, written};
use crate::world_bridge::free_port;
use crate::world_program::Program;

/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:9";
/// What people wrote.
const WRITTEN: &str = "canary-in-the-body";

/// The secrets of this story, each with a name to be known by.
struct Secrets {
    all: Vec<String>,
}

impl Secrets {
    fn make(&mut self, name: &str) -> String {
        let secret = format!("canary-{name}-{:016x}", fastrand::u64(..));
        self.all.push(secret.clone());
        secret
    }
}

/// Every destination there is, before nobody, with a secret each.
fn troubled(mut plan: Plan, secrets: &mut Secrets) -> Plan {
    let hook = "kind = \"webhook\"\nallow_private_networks = true\ntimeout = \"2s\"";
    let signed = format!("{hook}\nsigning_secret = {SIGNING_SECRET:?}");
    let routes = [
        (
            "oauth",
            format!(
                "{signed}\nurl = \"http://{NOBODY}/in?code={}\"\nauth = {{ kind = \"oauth2_client_credentials\", token_url = \
                 \"http://{NOBODY}/token\", client_id = \"c\", client_secret = {:?} }}",
                secrets.make("code"),
                secrets.make("oauth")
            ),
        ),
        (
            "relay",
            format!(
                "kind = \"smtp\"\nhost = \"127.0.0.1\"\nport = 9\ntls = \"none\"\nallow_insecure_login = true\nusername = \
                 \"u\"\npassword = {:?}\nsrs_secret = {:?}\nrecipient = \"a@b.example\"",
                secrets.make("relay"),
                secrets.make("srs")
            ),
        ),
        (
            "nats",
            format!(
                "kind = \"nats\"\nurl = \"nats://{NOBODY}\"\nsubject = \"mail\"\nusername = \"u\"\npassword = {:?}",
                secrets.make("nats")
            ),
        ),
        (
            "amqp",
            format!(
                "kind = \"amqp\"\nurl = \"amqp://{NOBODY}/v\"\nrouting_key = \"mail\"\nusername = \"u\"\npassword = {:?}",
                secrets.make("amqp")
            ),
        ),
        (
            "kafka",
            format!(
                "kind = \"kafka\"\nbrokers = [\"{NOBODY}\"]\ntopic = \"mail\"\ntls = false\nsasl = {{ mechanism = \"plain\", \
                 username = \"u\", password = {:?} }}",
                secrets.make("kafka")
            ),
        ),
        (
            "bucket",
            format!(
                "kind = \"object_store\"\nurl = \"s3://bucket/in\"\ntimeout = \"3s\"\noptions = {{ region = \"eu-central-1\", endpoint \
                 = \"http://{NOBODY}\", allow_http = \"true\", access_key_id = \"AKIAIOSFODNN7EXAMPLE\", secret_access_key = {:?} }}",
                secrets.make("bucket")
            ),
        ),
    ];
    for (name, destination) in routes {
        plan = plan.route_to(name, "retry = [\"0s\", \"1h\"]", &destination);
    }
    plan
}

async fn asked(plan: &Plan, path: &str, token: &str) -> String {
    let answer = client().get(format!("http://{}{path}", plan.admin)).bearer_auth(token).send().await.unwrap();
    format!("{:?}\n{}", answer.headers().clone(), answer.text().await.unwrap())
}

/// Logs in over SMTP, once with a wrong password and once with the right one.
async fn logs_in(listen: SocketAddr, user: &str, passwords: [&str; 2]) -> String {
    use base64::Engine as _;
    let mut line = BufReader::new(TcpStream::connect(listen).await.unwrap());
    let encode = |text: String| base64::prelude::BASE64_STANDARD.encode(text);
    let commands = [
        "EHLO x\r\n".to_owned(),
        format!("AUTH PLAIN {}\r\n", encode(format!("\0{user}\0{}", passwords[0]))),
        format!("AUTH PLAIN {}\r\n", encode(format!("\0{user}\0{}", passwords[1]))),
        "QUIT\r\n".to_owned(),
    ];
    let mut said = reply(&mut line).await;
    for command in commands {
        line.write_all(command.as_bytes()).await.unwrap();
        said += &reply(&mut line).await;
    }
    assert!(said.contains("535 ") && said.contains("235 "), "{said}");
    said
}

async fn typed(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailspan"));
    let output: Output = command.args(arguments).envs(variables.iter().copied()).output().await.unwrap();
    [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_a_bridge_it_gives_no_secret_away() {
    let world = World::new().await;
    let mut secrets = Secrets { all: vec![world.tenant.client_secret().to_owned()] };
    let (wrong, operator, nobody) = (secrets.make("refused"), secrets.make("operator"), secrets.make("nobody"));
    let (password, guess) = (secrets.make("password"), secrets.make("guess"));
    let (user, header) = (secrets.make("basic"), secrets.make("header"));
    let key = "Cw3Qb4WcQ8pYp1rB7nXvH2mK5tLs9eJfUoZ6iDgAkEM=".to_owned();
    write(&world.path("store-keys"), &key);
    let pair = Pair::valid_for(Duration::from_secs(3600));
    pair.write(&(world.path("certificate.pem"), world.path("key.pem")));
    secrets.all.extend(pair.key.lines().filter(|it| !it.starts_with("-----")).map(str::to_owned));
    secrets.all.extend([key, SIGNING_SECRET.trim_start_matches("whsec_").to_owned()]);
    write(&world.path("operator"), &operator);
    write(&world.path("nobody"), &nobody);

    let listen = free_port();
    let credentials = format!(
        "{{ kind = \"client_secret\", secret = {wrong:?} }}, {{ kind = \"certificate\", certificate_file = {:?}, private_key_file = \
         {:?} }}, {{ kind = \"client_secret\", secret = {:?} }}",
        world.path("certificate.pem"),
        world.path("key.pem"),
        world.tenant.client_secret()
    );
    let failing = Inbox::start().await;
    failing.usually_answers(Answer::Status(500));
    let webhook = |inbox: &Inbox, more: &str| {
        format!(
            "kind = \"webhook\"\nurl = \"{}\"\nsigning_secret = {SIGNING_SECRET:?}\nallow_private_networks = true\n\
             headers = {{ X-Key = {header:?} }}\n{more}",
            inbox.url
        )
    };
    let basic = format!("content = \"link\"\nauth = {{ kind = \"basic\", username = \"ann\", password = {user:?} }}");
    let bearer = format!("auth = {{ kind = \"bearer\", token = {:?} }}", secrets.make("bearer"));
    let plan = world
        .bare_plan()
        .only_tenant("contoso", &world.tenant, &credentials)
        .mailbox(SUPPORT, "")
        .route_to("all", "", &webhook(&world.inbox, &basic))
        .route_to("failing", "retry = [\"0s\", \"1h\"]", &webhook(&failing, &bearer))
        .text("store", "encryption_key_file", &world.path("store-keys").display().to_string())
        .text("telemetry", "log", "trace")
        .value("telemetry", "redact", "false")
        .text("outbound", "smtp_listen", &listen.to_string())
        .value(
            "outbound",
            "smtp_users",
            &format!("[{{ name = \"crm\", password = {password:?}, senders = [\"*@contoso.example\"] }}]"),
        )
        .more(&format!(
            "[[api_tokens]]\nname = \"ops\"\ntoken = {operator:?}\nscopes = [\"read\", \"operate\", \"send\"]\n"
        ));
    let plan = plan.clone().text("server", "content_url", &format!("http://{}", plan.admin));
    let plan = troubled(plan, &mut secrets);

    for (operation, status) in
        [(Operation::Delta, 500), (Operation::Mime, 503), (Operation::Patch, 403), (Operation::Token, 503)]
    {
        world.tenant.fault(Fault::on(operation, FaultAction::refuse(status, "oops")).times(1));
    }
    let file = world.path("mailspan.toml");
    let program = Program::start(&plan, &file);
    plan.until_ready().await;
    plan.until_watching().await;
    let mail =
        written(&format!("From: ann@customer.example\r\nTo: {SUPPORT}\r\nMessage-ID: <s@customer.example>"), WRITTEN);
    world.tenant.receive(SUPPORT, mail);
    let accepted = world.inbox.until_has(&[WRITTEN]).await;
    until_so("every route to have had its trouble", async || {
        let (_, health) = plan.health().await;
        let routes = health["checks"].as_array().unwrap().iter().filter(|it| it["kind"] == "route").collect::<Vec<_>>();
        routes.len() == 8 && routes.iter().filter(|it| it["name"] != "all").all(|it| !it["reason"].is_null())
    })
    .await;

    // Whoever asks: with a token, with a wrong one, with a link and with a changed one.
    let mut pages = String::new();
    for path in ["/health", "/metrics", "/health/ready"] {
        pages += &plan.page(path).await.unwrap().1;
    }
    for path in ["deliveries", "messages", "mailboxes", "routes", "trace?q=canary-in", "audit", "openapi.json"] {
        for token in [&operator, &nobody] {
            pages += &asked(&plan, &format!("/api/v1/{path}"), token).await;
        }
    }
    let link = accepted[0].body["data"]["message"]["raw"]["url"].as_str().unwrap().to_owned();
    let signature = link.split("signature=").nth(1).unwrap().to_owned();
    for url in [link.clone(), link.replace("signature=", "signature=x"), link.replace("/raw", "/attachments/7")] {
        let answer = client().get(url).send().await.unwrap();
        pages += &format!("{:?}", answer.headers());
        if !answer.status().is_success() {
            pages += &answer.text().await.unwrap();
        }
    }
    pages += &logs_in(listen, "crm", [&guess, &password]).await;

    // What is typed at it, and what is wrong in its configuration.
    let config = file.display().to_string();
    let mut printed = String::new();
    for arguments in [["config", "show"], ["config", "check"]] {
        printed += &typed(&[&arguments[..], &["--config", &config]].concat(), &[]).await;
        printed += &typed(&[&arguments[..], &["--config", &config, "--json"]].concat(), &[]).await;
    }
    for token in ["operator", "nobody"] {
        let path = world.path(token).display().to_string();
        for arguments in [&["delivery", "list"][..], &["mailbox", "list"], &["trace", "canary"]] {
            let variables = [("MAILSPAN_TOKEN_FILE", path.as_str())];
            printed += &typed(&[arguments, &["--config", &config]].concat(), &variables).await;
        }
    }
    let broken = world.path("broken.toml");
    std::fs::write(&broken, plan.toml().replace("smtp_users", "smtp_user").replace("password", "passwrd")).unwrap();
    printed += &typed(&["config", "check", "--config", &broken.display().to_string()], &[]).await;

    world.tenant.expire_tokens();
    world.receives("After the tokens ended");
    world.inbox.until_has(&["After the tokens ended"]).await;
    let log = program.log().join("\n");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap_or_default();
    let core = limits.lines().find(|it| it.starts_with("Max core file size")).map(|it| it.split_whitespace().nth(4));
    assert!(core.is_none_or(|it| it == Some("0")), "what is in memory is written to no file: {limits}");
    secrets.all.extend(world.tenant.subscriptions().into_iter().filter_map(|it| it.client_state));
    program.kill().await;

    for (what, said) in [("the log", &log), ("a page", &pages), ("a command", &printed)] {
        assert!(said.len() > 5_000, "{what} said too little to mean anything: {said}");
        leaks::assert_none(what, said.as_bytes(), &secrets.all);
        leaks::assert_none(what, said.as_bytes(), std::slice::from_ref(&signature));
        // The search would have found each of them.
        let end: String = said.lines().rev().take(3).collect();
        for secret in secrets.all.iter().chain([&signature]) {
            let planted = format!("{end}{secret}");
            assert_eq!(leaks::found(planted.as_bytes(), std::slice::from_ref(secret)).len(), 1, "{secret}");
        }
    }
    assert!(log.contains("hyper") && log.contains("\"TRACE\""), "libraries spoke as well");

    let database = world.database.url.trim_start_matches("sqlite:");
    for file in [database.to_owned(), format!("{database}-wal")] {
        let bytes = std::fs::read(&file).unwrap();
        let holds = |text: &str| memchr::memmem::find(&bytes, text.as_bytes()).is_some();
        let stored: Vec<String> = secrets.all.iter().filter(|it| it.len() != 64).cloned().collect();
        assert_eq!(leaks::found(&bytes, &stored), Vec::<String>::new(), "{file}");
        assert!(!holds(&format!("this is about {WRITTEN}")), "{file} holds what people wrote");
    }
    let kept = world.number("SELECT COUNT(*) FROM contents WHERE sealed IS NOT NULL").await;
    assert!(kept > 0, "what is not delivered everywhere is still there, encrypted");
    assert!(world.texts("SELECT subject FROM messages").await.iter().any(|it| it == WRITTEN), "subjects are readable");
    let unused: Value = accepted[0].body["data"]["message"]["textBody"].clone();
    assert!(unused["value"].as_str().unwrap().contains(WRITTEN));
}
