//! Content by link: a receiver gets the large of a mail over HTTP, whole or in ranges, for as long as was promised.
//!
//! A link opens what it was made for, to whoever holds it, and nothing else.

use std::fmt::Write as _;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use mailspan::model::ids::sha256_hex;
use reqwest::Response;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::receiver::Answer;
use crate::world::{Bridge, DEADLINE, Inbox, Plan, SIGNING_SECRET, SUPPORT, World, client, until, until_so};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A route whose content is linked, and further lines of the route.
fn linked(plan: Plan, inbox: &Inbox, more: &str) -> Plan {
    with_content(plan, inbox, more, "content = \"link\"")
}

fn with_content(plan: Plan, inbox: &Inbox, more: &str, content: &str) -> Plan {
    let destination = format!(
        "kind = \"webhook\"\nurl = \"{}\"\nsigning_secret = {SIGNING_SECRET:?}\nallow_private_networks = true\n{content}",
        inbox.url
    );
    plan.route_to("all", more, &destination)
}

/// Bytes that look like nothing in particular.
fn noise(size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..size).map(|_| random.u8(..)).collect()
}

/// A mail with a large PDF in even lines of base64, the same in uneven ones, a note in quoted-printable and a page as it is.
fn mail(subject: &str, large: &[u8]) -> Vec<u8> {
    let text = BASE64_STANDARD.encode(large);
    let mut even = String::new();
    for line in text.as_bytes().chunks(76) {
        write!(even, "{}\r\n", std::str::from_utf8(line).unwrap()).unwrap();
    }
    let uneven = even.replacen("\r\n", "\r\n\r\n", 3);
    let note = "Gr=C3=BC=C3=9Fe=20\r\n".repeat(30_000);
    let page = "<p>so it is</p>\r\n".repeat(20_000);
    format!(
        "From: Ann <ann@customer.example>\r\nTo: {SUPPORT}\r\nSubject: {subject}\r\nMessage-ID: <{:x}@customer.example>\r\n\
         Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nPlease find attached.\r\n\
         --b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename*=UTF-8''Rechnung%20%C3%BC.pdf\r\n\r\n{even}\
         --b\r\nContent-Type: application/octet-stream; name=uneven.bin\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment\r\n\r\n{uneven}\
         --b\r\nContent-Type: text/csv; name=note.csv\r\nContent-Transfer-Encoding: quoted-printable\r\n\
         Content-Disposition: attachment\r\n\r\n{note}\
         --b\r\nContent-Type: text/html; name=page.html\r\nContent-Disposition: attachment\r\n\r\n{page}\
         --b--\r\n",
        fastrand::u64(..)
    )
    .into_bytes()
}

async fn get(url: &str, headers: &[(&'static str, &str)]) -> Response {
    // Many megabytes, decoded on the way by a busy machine.
    let request = client().get(url).timeout(DEADLINE);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

async fn problem(url: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
    let answer = get(url, headers).await;
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{url}");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    (status, body["type"].as_str().unwrap().trim_start_matches("urn:mailspan:problem:").to_owned())
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("{at} in {value}"))
}

fn attachments(body: &Value) -> &Vec<Value> {
    body["data"]["message"]["attachments"].as_array().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_downloads_the_mail_and_its_attachments_whole_and_in_ranges() {
    let world = World::new().await;
    let plan = linked(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, "");
    let bridge = Bridge::start(&plan).await;
    let large = noise(5_000_000);
    let mime = mail("With content by link", &large);
    world.tenant.receive(SUPPORT, mime.clone());
    let body = world.inbox.until_has(&["With content by link"]).await.remove(0).body;
    assert!(world.inbox.received()[0].body.len() < 20_000, "the body stays small");

    let raw = &body["data"]["message"]["raw"];
    let answer = get(text(raw, "/url"), &[]).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"message/rfc822".parse().unwrap())
    );
    let downloaded = answer.bytes().await.unwrap();
    assert_eq!(downloaded, mime);
    assert_eq!(sha256_hex(&downloaded), text(raw, "/sha256"));

    let names = ["Rechnung ü.pdf", "uneven.bin", "note.csv", "page.html"];
    for (attachment, name) in attachments(&body).iter().zip(names) {
        assert_eq!((text(attachment, "/name"), text(attachment, "/state")), (name, "link"));
        assert_eq!(attachment["content"], Value::Null);
        let (url, size) = (text(attachment, "/url"), attachment["size"].as_u64().unwrap());
        let answer = get(url, &[]).await;
        let headers = answer.headers().clone();
        let whole = answer.bytes().await.unwrap();
        assert_eq!(whole.len() as u64, size, "{name}");
        assert_eq!(sha256_hex(&whole), text(attachment, "/sha256"), "{name}");
        for (header, value) in [
            ("content-type", text(attachment, "/type")),
            ("content-length", &size.to_string()),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox; default-src 'none'"),
            ("accept-ranges", "bytes"),
            ("etag", &format!("\"{}\"", text(attachment, "/sha256"))),
        ] {
            assert_eq!(headers[header], value, "{name} {header}");
        }
        assert!(headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename="));

        let mut pieces = Vec::new();
        for from in (0..size).step_by(700_001) {
            let until = (from + 700_001).min(size);
            let range = format!("bytes={from}-{}", until - 1);
            let answer = get(url, &[("range", &range), ("if-range", headers["etag"].to_str().unwrap())]).await;
            assert_eq!(answer.status(), 206, "{name} {range}");
            assert_eq!(answer.headers()["content-range"], format!("bytes {from}-{}/{size}", until - 1));
            pieces.extend(answer.bytes().await.unwrap());
        }
        assert_eq!(pieces, whole, "{name}: ranges put together");
    }

    let (url, size) = (text(&attachments(&body)[0], "/url"), large.len());
    let answer = client().head(url).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-length"]),
        (200, &size.to_string().parse().unwrap())
    );
    let last = get(url, &[("range", "bytes=-3")]).await;
    assert_eq!(last.bytes().await.unwrap(), large[size - 3..]);
    let stale = get(url, &[("range", "bytes=0-1"), ("if-range", "\"another\"")]).await;
    assert_eq!(stale.status(), 200, "another content: all of this one");
    assert_eq!(
        get(url, &[("range", &format!("bytes={size}-"))]).await.headers()["content-range"],
        format!("bytes */{size}")
    );
    assert_eq!(problem(url, &[("range", &format!("bytes={size}-"))]).await.0, 416);
    let tag = format!("\"{}\"", sha256_hex(&large));
    assert_eq!(get(url, &[("if-none-match", &tag)]).await.status(), 304);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_changed_or_is_another_parts_is_refused() {
    let world = World::new().await;
    let plan = linked(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, "");
    let bridge = Bridge::start(&plan).await;
    world.tenant.receive(SUPPORT, mail("Sealed", &noise(5_000)));
    let body = world.inbox.until_has(&["Sealed"]).await.remove(0).body;
    let raw = text(&body, "/data/message/raw/url").to_owned();
    let first = text(&attachments(&body)[0], "/url").to_owned();
    let (raw_address, raw_query) = raw.split_once('?').unwrap();
    let (first_address, first_query) = first.split_once('?').unwrap();
    let forwarded: &[(&str, &str)] = &[("x-forwarded-for", "192.0.2.1")];
    for url in [
        format!("{raw_address}?{first_query}"),
        format!("{first_address}?{raw_query}"),
        raw.replacen("expires=", "expires=9", 1),
        format!("{raw}A"),
        format!("{raw_address}?{}", raw_query.split_once('&').unwrap().0),
    ] {
        assert_eq!(problem(&url, &[]).await, (403, "link-forged".to_owned()), "{url}");
    }
    assert_eq!(problem(raw_address, forwarded).await, (403, "no-link".to_owned()));
    assert_eq!(get(&raw, forwarded).await.status(), 200, "a link is good through a proxy");

    // The machine itself needs no link.
    assert_eq!(get(raw_address, &[]).await.status(), 200);
    let interaction = raw_address.strip_suffix("/raw").unwrap();
    let shown: Value = get(interaction, &[]).await.json().await.unwrap();
    assert_eq!(shown, body, "the interaction as it was delivered");
    assert_eq!(problem(interaction, forwarded).await.0, 403);
    assert_eq!(problem(&format!("{interaction}?{raw_query}"), forwarded).await.0, 403);
    assert_eq!(problem(&format!("{interaction}/attachments/99"), &[]).await, (404, "no-such-content".to_owned()));
    assert_eq!(problem(&format!("{interaction}0/raw"), &[]).await, (404, "no-such-content".to_owned()));
    let schema: Value =
        get(&format!("http://{}/api/v1/interaction.schema.json", plan.admin), &[]).await.json().await.unwrap();
    assert_eq!(schema, *crate::mail_schema::SCHEMA);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_until_it_expires_and_then_the_content_goes() {
    let world = World::new().await;
    let plan = linked(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, "");
    let bridge = Bridge::start(&plan).await;
    let id = world.tenant.receive(SUPPORT, mail("For a week", &noise(300_000)));
    let body = world.inbox.until_has(&["For a week"]).await.remove(0).body;
    world.until_read(&id).await;
    let url = text(&attachments(&body)[0], "/url").to_owned();
    let kept = async || world.number("SELECT COUNT(*) FROM contents").await;

    bridge.pass(DAY * 6).await;
    // Mail without links comes and goes meanwhile, and tidying with it.
    world.receives("Next week");
    world.inbox.until_has(&["Next week"]).await;
    assert_eq!(get(&url, &[]).await.status(), 200, "after every route has accepted");
    assert!(kept().await > 0);

    bridge.pass(DAY * 2).await;
    assert_eq!(problem(&url, &[]).await, (403, "link-expired".to_owned()));
    let address = url.split_once('?').unwrap().0;
    world.receives("The week after");
    // A download that is under way when the content goes breaks off: nothing else can be said by then.
    let is_gone = async || client().get(address).send().await.is_ok_and(|it| it.status() == 410);
    until_so("the content to go", is_gone).await;
    assert_eq!(problem(address, &[]).await, (410, "content-gone".to_owned()));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_hands_out_the_same_links_and_they_survive_a_restart() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(500));
    let retry = format!("retry = [\"0s\", \"300ms\"{}]", ", \"1s\"".repeat(60));
    let plan = linked(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, &retry);
    let bridge = Bridge::start(&plan).await;
    let large = noise(400_000);
    world.tenant.receive(SUPPORT, mail("Again and again", &large));
    until_so("two attempts", async || world.inbox.received().len() >= 2).await;
    let early: Value = serde_json::from_slice(&world.inbox.received()[0].body).unwrap();
    let url = text(&attachments(&early)[0], "/url").to_owned();
    assert_eq!(get(&url, &[]).await.bytes().await.unwrap(), large, "before anybody has accepted");
    bridge.stop().await;
    // Another place for links counts for mail that comes from now on.
    let plan = plan.text("server", "content_url", "https://elsewhere.example.com");
    world.inbox.usually_answers(Answer::Status(200));
    let bridge = Bridge::start(&plan).await;
    world.inbox.until_has(&["Again and again"]).await;
    let attempts = world.inbox.received();
    assert!(attempts.len() >= 3);
    for attempt in &attempts {
        assert_eq!(attempt.body, attempts[0].body);
    }
    assert_eq!(get(&url, &[]).await.bytes().await.unwrap(), large, "after the last attempt");
    world.tenant.receive(SUPPORT, mail("Elsewhere", &large));
    let body = world.inbox.until_has(&["Elsewhere"]).await.pop().unwrap().body;
    assert!(text(&body, "/data/message/raw/url").starts_with("https://elsewhere.example.com/api/v1/interactions/ix_"));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_attempt_hands_out_links_that_still_hold() {
    let world = World::new().await;
    world.inbox.usually_answers(Answer::Status(500));
    let plan = linked(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, "retry = [\"0s\", \"1h\", \"20d\"]");
    let bridge = Bridge::start(&plan).await;
    let large = noise(10_000);
    world.tenant.receive(SUPPORT, mail("Late", &large));
    // What is not written down before time passes is due that much later.
    let failed = "SELECT COUNT(*) FROM jobs WHERE kind = 'deliver' AND last_error IS NOT NULL AND leased_until IS NULL";
    until_so("an attempt that failed", async || world.number(failed).await == 1).await;
    world.inbox.usually_answers(Answer::Status(200));
    // The bridge was away for far longer than the schedule takes.
    bridge.pass(DAY * 60).await;
    let body = world.inbox.until_has(&["Late"]).await.remove(0).body;
    let url = text(&attachments(&body)[0], "/url");
    assert_eq!(get(url, &[]).await.bytes().await.unwrap(), large);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_too_large_for_its_route_is_linked_instead_of_parked() {
    let world = World::new().await;
    let plan = linked(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, "max_message_size = \"2KiB\"");
    let bridge = Bridge::start(&plan).await;
    let id = world.tenant.receive(SUPPORT, mail("Larger than the route takes", &noise(100_000)));
    world.inbox.until_has(&["Larger than the route takes"]).await;
    world.until_read(&id).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_the_body_is_linked_where_a_place_for_links_is_named() {
    let world = World::new().await;
    let plan = |content| with_content(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, "", content);
    let states = |body: &Value| attachments(body).iter().map(|it| text(it, "/state").to_owned()).collect::<Vec<_>>();
    let bare = plan("inline_limit = \"400KiB\"");
    let bridge = Bridge::start(&bare).await;
    world.tenant.receive(SUPPORT, mail("Without a place", &noise(500_000)));
    let body = world.inbox.until_has(&["Without a place"]).await.remove(0).body;
    assert_eq!(states(&body), ["omitted_too_large", "omitted_too_large", "stored", "stored"]);
    assert_eq!(body["data"]["message"]["raw"]["url"], Value::Null);
    // Nobody wrote down where its parts stand, so the mail is read for it.
    let address = format!("http://{}/api/v1/interactions/{}", bare.admin, text(&body, "/data/interactionId"));
    for attachment in attachments(&body) {
        let part = get(&format!("{address}/attachments/{}", text(attachment, "/partId")), &[]).await;
        assert_eq!(sha256_hex(&part.bytes().await.unwrap()), text(attachment, "/sha256"));
    }
    bridge.stop().await;

    let plan = plan("inline_limit = \"400KiB\"");
    let place = format!("http://{}", plan.admin);
    let plan = plan.text("server", "content_url", &place);
    let bridge = Bridge::start(&plan).await;
    let large = noise(500_000);
    world.tenant.receive(SUPPORT, mail("With a place", &large));
    let body = world.inbox.until_has(&["With a place"]).await.pop().unwrap().body;
    assert_eq!(states(&body), ["link", "link", "stored", "stored"]);
    assert_eq!(get(text(&attachments(&body)[1], "/url"), &[]).await.bytes().await.unwrap(), large);
    assert_eq!(get(text(&body, "/data/message/raw/url"), &[]).await.status(), 200);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_open_each_others_links() {
    let Some(world) = World::postgres().await else { return };
    let mut plan = linked(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, "");
    let other = linked(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, "");
    let places = format!("http://{}", other.admin);
    plan = plan.text("server", "content_url", &places);
    let first = Bridge::start(&plan).await;
    let large = noise(600_000);
    let id = world.tenant.receive(SUPPORT, mail("From the first", &large));
    let body = world.inbox.until_has(&["From the first"]).await.remove(0).body;
    world.until_read(&id).await;
    let second = Bridge::begin(&other).await;
    let url = text(&attachments(&body)[0], "/url");
    let answer = until("the second replica's answer", async || Some(get(url, &[]).await)).await;
    assert_eq!(answer.bytes().await.unwrap(), large);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_do_not_read_hold_up_no_stop_and_no_more_memory_than_their_share() {
    let world = World::new().await;
    let plan = linked(world.bare_plan().mailbox(SUPPORT, ""), &world.inbox, "");
    // A sixteenth of it has room for three downloads.
    let plan = plan.text("limits", "memory_budget", "40MiB").text("limits", "max_message_size", "40MiB");
    let bridge = Bridge::start(&plan).await;
    world.tenant.receive(SUPPORT, mail("Slowly", &noise(5_000_000)));
    let body = world.inbox.until_has(&["Slowly"]).await.remove(0).body;
    let url = text(&body, "/data/message/raw/url");
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(asking_and_not_reading(&plan, url).await);
    }
    let answer = get(url, &[]).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    idle.pop();
    until_so("room for another", async || get(url, &[("range", "bytes=0-9")]).await.status() == 206).await;
    // Stopping within the deadline of stories is all that is asked.
    bridge.stop().await;
}

/// Asks for this address, waits for the head of the answer and reads no further.
async fn asking_and_not_reading(plan: &Plan, url: &str) -> TcpStream {
    let path = url.split_once("/api").unwrap().1;
    let mut peer = TcpStream::connect(plan.admin).await.unwrap();
    peer.write_all(format!("GET /api{path} HTTP/1.1\r\nhost: {}\r\n\r\n", plan.admin).as_bytes()).await.unwrap();
    let mut head = [0; 12];
    peer.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    peer
}
