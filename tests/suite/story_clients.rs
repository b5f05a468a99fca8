//! Mail programs of other people at the SMTP listener: Python's smtplib, swaks, a Postfix as relay, and usual mistakes.
//!
//! Each is judged by what left the tenant.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mail_parser::{Message, MessageParser, MimeHeaders as _};
use mailspan_tenant::SentMail;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::office::{ANN, Office};
use crate::postfix::Postfix;
use crate::submitting::{Door, PASSWORD, USER, reply};
use crate::world::{Bridge, SUPPORT, until_so};
use crate::world_program::Program;

fn read(sent: &SentMail) -> Message<'_> {
    MessageParser::default().parse(&sent.mime[..]).unwrap()
}

fn text(sent: &SentMail) -> String {
    String::from_utf8_lossy(&sent.mime).into_owned()
}

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn left_out(program: &str) {
    eprintln!("LEFT OUT: {program} is not installed, so what it makes of the listener is not known");
}

/// Has Python's smtplib do this; `None` where there is no Python.
fn smtplib(door: &Door, case: Value) -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/smtp_client.py");
    let mut whole = json!({ "port": door.port, "ca": door.ca, "user": USER, "password": PASSWORD, "from": SUPPORT });
    whole.as_object_mut().unwrap().extend(case.as_object().unwrap().clone());
    let python =
        Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut python) = python else {
        left_out("Python");
        return None;
    };
    python.stdin.take().unwrap().write_all(whole.to_string().as_bytes()).unwrap();
    let said = python.wait_with_output().unwrap();
    assert!(said.status.success(), "smtplib broke down: {}", String::from_utf8_lossy(&said.stderr));
    Some(serde_json::from_slice(&said.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_smtplib_submits_what_its_manual_shows() {
    let office = Office::new().await;
    let door = Door::new(&office);
    let plan = door.open(office.plan());
    let bridge = Bridge::start(&plan).await;
    let case = json!({ "to": [ANN, "Bob <bob@customer.example>"], "cc": ["eve@customer.example"],
        "bcc": ["boss@elsewhere.example"], "subject": "Grüße aus Köln", "text": "Grüße\n.\n..dots\n", "html": "<p>Grüße <img src=\"cid:logo@client.example\"></p>",
        "image": [137, 80, 78, 71, 1, 2, 3], "attached": 100_000 });
    let Some(said) = tokio::task::block_in_place(|| smtplib(&door, case)) else { return };
    assert_eq!((&said["error"], &said["refused"]), (&Value::Null, &json!({})), "{said}");
    for feature in ["size", "8bitmime", "smtputf8", "pipelining", "enhancedstatuscodes", "auth"] {
        assert!(said["features"][feature].is_string(), "{feature} is not offered: {said}");
    }
    let sent = office.until_left("Grüße aus Köln").await;
    assert_eq!(sent.recipients, [ANN, "bob@customer.example", "eve@customer.example", "boss@elsewhere.example"]);
    assert!(!text(&sent).to_lowercase().contains("boss@") && !text(&sent).contains("Bcc"), "{}", text(&sent));
    assert!(sent.internet_message_id.ends_with("@client.example>"), "{}", sent.internet_message_id);
    let mail = read(&sent);
    assert_eq!(mail.body_text(0).unwrap().replace("\r\n", "\n"), "Grüße\n.\n..dots\n");
    assert!(mail.body_html(0).unwrap().contains("cid:logo@client.example"));
    let mut files: Vec<_> =
        mail.attachments().map(|it| (it.attachment_name(), it.content_id(), it.contents().len())).collect();
    files.sort_unstable();
    assert_eq!(files, [(None, Some("logo@client.example"), 7), (Some("Übersicht.pdf"), None, 100_000)]);

    // Three mails in one session, then what is not allowed.
    let case = |changes: Value| {
        let mut case = json!({ "to": [ANN], "subject": "Again", "text": "x" });
        case.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        tokio::task::block_in_place(|| smtplib(&door, case)).unwrap()
    };
    assert_eq!(case(json!({ "times": 3 }))["error"], Value::Null);
    until_so("three mails", async || office.sent().get("Again") == Some(&3)).await;
    let code = |said: &Value| said["error"][0].as_u64().or(said["refused"][ANN][0].as_u64());
    let wrong = case(json!({ "password": "guessed" }));
    assert_eq!(code(&wrong), Some(535), "{wrong}");
    let stranger = case(json!({ "from": "ceo@elsewhere.example" }));
    assert!(matches!(code(&stranger), Some(550 | 553 | 554)), "{stranger}");
    let nobody = case(json!({ "user": null }));
    assert!(matches!(code(&nobody), Some(530)), "{nobody}");
    let plain = case(json!({ "starttls": false }));
    assert!(plain["error"].is_string() || matches!(code(&plain), Some(530 | 538)), "AUTH in the clear: {plain}");
    assert_eq!(office.world.tenant.sent_count(), 4);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swaks_submits_with_each_way_of_logging_in() {
    if !Command::new("swaks").arg("--version").stdout(Stdio::null()).status().is_ok_and(|it| it.success()) {
        return left_out("swaks");
    }
    let office = Office::new().await;
    let door = Door::new(&office);
    let plan = door.open(office.plan());
    let bridge = Bridge::start(&plan).await;
    let file = office.world.path("orders.csv");
    std::fs::write(&file, "number;name\n1;Grüße\n").unwrap();
    let swaks = |arguments: &[&str]| {
        let mut command = Command::new("swaks");
        command.args([
            "--server",
            "localhost",
            "--port",
            &door.port.to_string(),
            "--tls",
            "--tls-verify",
            "--tls-ca-path",
        ]);
        command.arg(&door.ca).args(["--from", SUPPORT, "--timeout", "60s", "--auth-user", USER]);
        let done = tokio::task::block_in_place(|| command.args(arguments).output().unwrap());
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    for way in ["PLAIN", "LOGIN"] {
        let subject = format!("Subject: By {way}");
        let (code, said) = swaks(&[
            "--auth",
            way,
            "--auth-password",
            PASSWORD,
            "--to",
            &format!("{ANN},bob@customer.example"),
            "--header",
            &subject,
            "--body",
            "Hello\n.\nfrom swaks",
            "--attach-type",
            "text/csv",
            "--attach-name",
            "orders.csv",
            "--attach",
            &format!("@{}", file.display()),
        ]);
        assert_eq!(code, Some(0), "{said}");
        let sent = office.until_left(&format!("By {way}")).await;
        assert_eq!(sent.recipients, [ANN, "bob@customer.example"]);
        let mail = read(&sent);
        assert!(mail.body_text(0).unwrap().contains("Hello\r\n.\r\nfrom swaks"), "{}", text(&sent));
        let file = mail.attachments().next().unwrap();
        assert_eq!(
            (file.attachment_name(), file.contents()),
            (Some("orders.csv"), "number;name\n1;Grüße\n".as_bytes())
        );
    }
    let (code, said) = swaks(&["--auth", "PLAIN", "--auth-password", "guessed", "--to", ANN]);
    assert_eq!(code, Some(28), "{said}");
    assert!(said.contains("535 5.7.8"), "{said}");
    assert_eq!(office.world.tenant.sent_count(), 2);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postfix_relays_through_us_and_keeps_what_we_cannot_take_yet() {
    let office = Office::new().await;
    let door = Door::new(&office);
    let plan = door.open(office.plan());
    let Some(postfix) = relaying(&door).await else { return left_out("Postfix with SASL, or root to run it,") };
    let program = Program::start(&plan, &office.world.path("mailspan.toml"));
    plan.until_ready().await;
    submit(&postfix, "Through Postfix", &[ANN, "bob@customer.example"]).await;
    until_so("the mail that Postfix relayed", async || {
        assert!(!postfix.log().contains("status=bounced"), "{}", postfix.log());
        office.world.tenant.sent_count() == 1
    })
    .await;
    let sent = &office.world.tenant.sent()[0];
    let mut to = sent.recipients.clone();
    to.sort();
    assert_eq!(to, [ANN, "bob@customer.example"]);
    assert!(
        text(sent).contains("Gr\u{fc}\u{df}e") || read(sent).body_text(0).unwrap().contains("Grüße"),
        "{}",
        text(sent)
    );
    // It hears our answer before the mail leaves, and writes it down when it comes to it.
    until_so("Postfix to know", async || postfix.log().contains("status=sent (250 2.")).await;

    // We are away for a while; it keeps the mail.
    let deferred = || postfix.log().matches("status=deferred").count();
    let before = deferred();
    program.kill().await;
    submit(&postfix, "While we were away", &[ANN]).await;
    until_so("Postfix to wait", async || deferred() > before).await;
    let program = Program::start(&plan, &office.world.path("mailspan.toml"));
    plan.until_ready().await;
    until_so("the mail that Postfix kept", async || {
        postfix.flush();
        tokio::time::sleep(Duration::from_millis(300)).await;
        office.sent().get("While we were away") == Some(&1)
    })
    .await;
    assert_eq!(office.sent(), [("Through Postfix".to_owned(), 1), ("While we were away".to_owned(), 1)].into());
    assert_eq!(program.terminate().await, Some(0));
}

/// A Postfix that hands everything on to us, as its manual shows (SASL_README, TLS_README); `None` where it cannot.
async fn relaying(door: &Door) -> Option<Postfix> {
    let has_sasl = ["x86_64", "aarch64"]
        .iter()
        .any(|it| Path::new(&format!("/usr/lib/{it}-linux-gnu/sasl2/libplain.so")).exists());
    if !has_sasl {
        return None;
    }
    let (port, ca) = (door.port, door.ca.clone());
    Postfix::start(move |at| {
        // Its own users may not enter our folder.
        std::fs::copy(&ca, format!("{at}/etc/ca.pem")).unwrap();
        format!(
            "mynetworks = 127.0.0.0/8\nrelayhost = [localhost]:{port}\nsmtp_sasl_auth_enable = yes\n\
             smtp_sasl_password_maps = inline:{{ {{ [localhost]:{port} = {USER}:{PASSWORD} }} }}\n\
             smtp_sasl_security_options = noanonymous\nsmtp_tls_security_level = verify\nsmtp_tls_CAfile = {at}/etc/ca.pem\n\
             smtp_host_lookup = native\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n\
             smtp_connect_timeout = 5s\n"
        )
    })
    .await
}

/// Hands a mail to Postfix, as a machine in its network does.
async fn submit(postfix: &Postfix, subject: &str, to: &[&str]) {
    let mut line = BufReader::new(TcpStream::connect(("127.0.0.1", postfix.port)).await.unwrap());
    let mail = format!(
        "From: {SUPPORT}\r\nTo: {ANN}\r\nSubject: {subject}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n."
    );
    let mut all = vec!["EHLO printer.example".to_owned(), format!("MAIL FROM:<{SUPPORT}> BODY=8BITMIME")];
    all.extend(to.iter().map(|it| format!("RCPT TO:<{it}>")));
    all.extend(["DATA".to_owned(), mail]);
    let mut said = reply(&mut line).await;
    for command in all {
        assert!(said.starts_with(['2', '3']), "before {command}: {said}");
        line.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        said = reply(&mut line).await;
    }
    assert!(said.contains("250 2.0.0 Ok: queued"), "{said}");
    line.write_all(b"QUIT\r\n").await.unwrap();
    reply(&mut line).await;
}
