//! Who learns what: Bcc stays with whom it names, a route sees the header fields and images it asked for, and nothing of
//! what people wrote to each other gets into logs, metrics or health.

use std::path::Path;

use mailspan_tenant::{Fault, FaultAction, Operation};
use serde_json::{Value, json};

use crate::receiver::Answer;
use crate::world::{Bridge, Inbox, Plan, SUPPORT, World, until, until_so, written};
use crate::world_program::Program;

const HIDDEN: &str = "whistle@elsewhere.example";

/// The files of a maildir.
fn delivered(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder.join("new")) else { return Vec::new() };
    entries.map(|it| String::from_utf8_lossy(&std::fs::read(it.unwrap().path()).unwrap()).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bcc_never_leaks_into_another_routes_copy() {
    let world = World::new().await;
    let (vip, all) = (Inbox::start().await, Inbox::start().await);
    let folder = world.path("maildir");
    let plan = world
        .bare_plan()
        .mailbox(SUPPORT, "")
        .route("help", &format!("recipients = [\"{SUPPORT}\"]"), &world.inbox)
        .route("vip", "recipients = [\"vip@contoso.example\", \"support@*\"]", &vip)
        .route("all", "", &all)
        .route("only-bcc", "recipients = [\"vip@contoso.example\"]", &all)
        .route_to("disk", "", &format!("kind = \"maildir\"\npath = {folder:?}"));
    let bridge = Bridge::start(&plan).await;
    let head = format!(
        "From: Ann <ann@customer.example>\r\nTo: {SUPPORT}\r\nbcc: Vera <VIP+1@contoso.example>,\r\n Whistle <{HIDDEN}>\r\n\
         Message-ID: <bcc@customer.example>\r\nRESENT-BCC: {HIDDEN}\r\nX-Kept: yes"
    );
    let mail = written(&head, "In confidence");
    let left = String::from_utf8(mail.clone()).unwrap();
    let left = left.replace(&format!("bcc: Vera <VIP+1@contoso.example>,\r\n Whistle <{HIDDEN}>\r\n"), "");
    let left = left.replace(&format!("RESENT-BCC: {HIDDEN}\r\n"), "");
    world.tenant.receive(SUPPORT, mail);
    for inbox in [&world.inbox, &vip, &all] {
        inbox.until_has(&["In confidence"]).await;
    }
    let copies = until("a copy on disk", async || Some(delivered(&folder)).filter(|it| !it.is_empty())).await;
    assert!(copies[0].ends_with(&left), "every other byte stays: {}", copies[0]);
    let bcc = |inbox: &Inbox| inbox.accepted()[0].body["data"]["message"]["bcc"].clone();
    assert_eq!(bcc(&vip), json!([{ "name": "Vera", "email": "VIP+1@contoso.example" }]));
    assert_eq!((bcc(&world.inbox), bcc(&all)), (json!([]), json!([])));
    bridge.stop().await;
    // Nobody was reached by Bcc alone, and nobody learns of others.
    assert_eq!(all.received().len(), 1);
    for inbox in [&world.inbox, &vip, &all] {
        for request in inbox.received() {
            let seen = format!("{:?}{}", request.headers, String::from_utf8_lossy(&request.body)).to_lowercase();
            assert!(!seen.contains("whistle") && !seen.contains("resent-bcc"), "{seen}");
        }
    }
    let size = &vip.accepted()[0].body["data"]["message"]["raw"]["size"];
    assert_eq!(size, &json!(left.len()), "what is stored is the mail without Bcc");
    assert!(!copies[0].to_lowercase().contains("whistle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_gets_the_header_fields_and_the_images_it_asks_for() {
    let world = World::new().await;
    let (few, none) = (Inbox::start().await, Inbox::start().await);
    let plan = world.plan().route("few", "headers = [\"subject\", \"X-*\"]\nremote_images = \"drop\"", &few).route(
        "none",
        "headers = []",
        &none,
    );
    let bridge = Bridge::start(&plan).await;
    let mail = format!(
        "From: ann@customer.example\r\nTo: {SUPPORT}\r\nMessage-ID: <h@customer.example>\r\nX-Mailer: one\r\n\
         x-mailer: two\r\nSubject: Images\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n\
         <p>Hi</p><img src=\"https://tracker.example/1.gif\"><img src=\"cid:logo@x\" alt=\"Logo\">"
    );
    world.tenant.receive(SUPPORT, mail.into_bytes());
    for inbox in [&world.inbox, &few, &none] {
        inbox.until_has(&["Images"]).await;
    }
    let message = |inbox: &Inbox| inbox.accepted()[0].body["data"]["message"].clone();
    let field = |name: &str, value: &str| json!({ "name": name, "value": value });
    let wanted = json!([field("X-Mailer", "one"), field("x-mailer", "two"), field("Subject", "Images")]);
    assert_eq!(message(&few)["headers"], wanted);
    assert_eq!(message(&none)["headers"], json!([]));
    assert!(message(&world.inbox)["headers"].as_array().unwrap().len() > 5);
    let html = |inbox: &Inbox| message(inbox)["htmlBody"]["value"].as_str().unwrap().to_owned();
    assert_eq!(html(&few), "<p>Hi</p><img src=\"cid:logo@x\" alt=\"Logo\">");
    assert!(html(&world.inbox).contains("tracker.example") && html(&none).contains("tracker.example"));
    assert_eq!(message(&few)["messageId"], json!(["h@customer.example"]), "only the list gets shorter");
    bridge.stop().await;
}

/// What must be seen nowhere: each place where people write has its own.
const CANARIES: [&str; 11] = [
    "canarylocal",
    "canaryname",
    "canarysubject",
    "canarytext",
    "canaryhtml",
    "canaryfile",
    "canaryheader",
    "canaryid",
    "canarybcc",
    "canarycode",
    "canarycc",
];

/// What may be seen: a name out of the configuration. That it is found shows that the search finds what is there.
const CONFIGURED: &str = "canarymailbox@contoso.example";

/// What is said of all that befalls them.
const TELLING: [&str; 3] = ["transient", "parked", "mailspan::graph"];

fn telling_mail(number: usize, broken: bool) -> Vec<u8> {
    let end = if broken { "" } else { "--b--\r\n" };
    format!(
        "From: Canaryname Ann <canarylocal{number}@customer.example>\r\nTo: {SUPPORT}\r\nCc: canarycc@customer.example\r\n\
         Bcc: canarybcc@contoso.example\r\nMessage-ID: <canaryid{number}@customer.example>\r\nX-Note: canaryheader\r\n\
         Subject: canarysubject {number}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/html\r\n\r\n<p>canarytext</p><a href=\"https://canaryhtml.example\">x</a>\r\n\
         --b\r\nContent-Type: application/pdf; name=canaryfile.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n!!not base64\r\n{end}"
    )
    .into_bytes()
}

/// Success, refusals, parked mail, odd mail, a receiver and a Graph that fail, a crash and a restart: all that the
/// program said meanwhile.
async fn what_is_said(redact: bool) -> (String, String) {
    let world = World::new().await;
    world.tenant.add_mailbox(CONFIGURED);
    let gone = Inbox::start().await;
    gone.usually_answers(Answer::Status(410));
    // One mail may meet every refusal below.
    let patient = format!("retry = [\"0s\"{}]", ", \"500ms\"".repeat(20));
    let plan = world
        .bare_plan()
        .mailbox(SUPPORT, "")
        .route("all", &patient, &world.inbox)
        .mailbox(CONFIGURED, "")
        .route("gone", "senders = [\"*3@customer.example\"]", &gone)
        .value("telemetry", "redact", if redact { "true" } else { "false" })
        .text("telemetry", "log", "trace")
        .text("telemetry", "format", "json");
    let refused = |status| Answer::With(status, "x-reason", "canarysubject".to_owned());
    world.inbox.will_answer([refused(500), refused(400), refused(302), Answer::DropAfterReading, refused(429)]);
    for (operation, status) in
        [(Operation::Delta, 500), (Operation::Mime, 503), (Operation::Mime, 404), (Operation::Patch, 403)]
    {
        let refusal = FaultAction::refuse(status, "canarycode@customer.example");
        world.tenant.fault(Fault::on(operation, refusal).times(2));
    }
    let first = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    for number in 0..4 {
        world.tenant.receive(SUPPORT, telling_mail(number, number == 1));
    }
    world.inbox.until_has(&["canarysubject 0", "canarysubject 1", "canarysubject 2", "canarysubject 3"]).await;
    until_so("a parked delivery", async || {
        plan.check("route", "gone").await.get("parked").and_then(Value::as_i64).is_some_and(|it| it > 0)
    })
    .await;
    for telling in TELLING {
        first.until_says(telling).await;
    }
    let pages = said_by_pages(&plan).await;
    let mut said = first.log().join("\n");
    first.kill().await;
    let mut second = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    world.tenant.receive(SUPPORT, telling_mail(7, false));
    world.inbox.until_has(&["canarysubject 7"]).await;
    let pages = pages + &said_by_pages(&plan).await;
    second.signal("TERM").await;
    assert_eq!(second.ends().await, Some(0));
    said += "\n";
    said += &second.until_silent().await.join("\n");
    (said, pages)
}

async fn said_by_pages(plan: &Plan) -> String {
    let mut all = String::new();
    for path in ["/health", "/metrics", "/health/ready"] {
        all += &plan.page(path).await.unwrap().1;
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_people_write_to_each_other_is_logged_counted_or_shown() {
    let (said, pages) = what_is_said(true).await;
    for telling in TELLING {
        assert!(said.contains(telling), "there was nothing of {telling} to be said: {said}");
    }
    for (place, text) in [("the log", &said), ("health and metrics", &pages)] {
        assert!(lines_with(CONFIGURED, text) > 0, "the search does not find what is in {place}: {text}");
        for canary in CANARIES {
            assert_eq!(lines_with(canary, text), 0, "{canary} is in {place}");
        }
    }
    assert!(pages.contains("mailspan_deliveries_total") && pages.contains("\"checks\""), "{pages}");
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_speak_in_detail_without_redaction_and_of_nobody_either() {
    for redact in [true, false] {
        let (said, _) = what_is_said(redact).await;
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let detailed = lines.filter(|line| {
            let is_ours = line["target"].as_str().is_some_and(|it| it.starts_with("mailspan"));
            !is_ours && (line["level"] == "DEBUG" || line["level"] == "TRACE")
        });
        assert_eq!(detailed.count() == 0, redact, "with redact = {redact}");
        for canary in CANARIES {
            assert_eq!(lines_with(canary, &said), 0, "{canary} with redact = {redact}");
        }
    }
}

fn lines_with(canary: &str, text: &str) -> usize {
    text.to_lowercase().lines().filter(|line| line.contains(canary)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_refused_gives_no_secret_away() {
    let world = World::new().await;
    let plan = world.plan().route_to(
        "wrong",
        "subject = \"(\"",
        "kind = \"webhook\"\nurl = \"https://flows.example\"\nsigning_secret = \"whsec_canarysecret\"",
    );
    let mut program = Program::start(&plan, &world.path("mailspan.toml"));
    assert_eq!(program.ends().await, Some(2));
    let said = program.until_silent().await.join("\n");
    assert!(said.contains("signing_secret") && !said.contains("canarysecret"), "{said}");
}
