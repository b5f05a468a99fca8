//! The interaction a receiver gets: its names, its bytes, and what each route adds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mailspan::mail::beside::Beside;
use mailspan::mail::classify::classify;
use mailspan::mail::facts::{Classification, Thread};
use mailspan::mail::interaction::{Handover, Links, Prepared, Source};
use mailspan::mail::parse::{Mail, parse};
use mailspan::mail::shared::{RemoteImages, Shared};
use mailspan::model::address::Address;
use mailspan::model::ids::sha256_hex;
use mailspan::model::route::MatchedBy;
use serde_json::{Value, json};

/// One of our own mails.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mail").join(format!("{name}.eml"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All of them.
pub(crate) fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mail");
    let names = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut names: Vec<_> = names.filter(|it| it.extension().is_some_and(|it| it == "eml")).collect();
    names.sort();
    names
        .into_iter()
        .map(|it| (it.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&it).unwrap()))
        .collect()
}

/// A fixture as a webhook would send it.
pub(crate) fn rendered(name: &str) -> Value {
    render(&fixture(name), 1 << 20, None)
}

pub(crate) fn render(raw: &[u8], inline_limit: u64, links: Option<&Links>) -> Value {
    let mail = parse(raw);
    serde_json::from_slice(&event(&mail, raw, "support-flow", inline_limit, links)).unwrap()
}

pub(crate) fn event(mail: &Mail, raw: &[u8], route: &str, inline_limit: u64, links: Option<&Links>) -> Vec<u8> {
    let mailbox = Address::parse("support@contoso.com").unwrap();
    let classification = classify(mail, raw, &Beside::default());
    let raw_sha256 = sha256_hex(raw);
    let shared = Shared::new(mail).unwrap();
    let prepared = Prepared::new(mail, raw, &shared, source(&mailbox, &classification, &raw_sha256));
    let attributes = BTreeMap::from([("queue".to_owned(), "first".to_owned())]);
    let thread = Thread::alone("mk_1");
    prepared.event(&handover(route, &mailbox, &attributes, &thread, inline_limit, links)).unwrap()
}

fn source<'a>(mailbox: &'a Address, classification: &'a Classification, raw_sha256: &'a str) -> Source<'a> {
    Source {
        tenant: "contoso",
        message_key: "mk_1",
        mailbox,
        folder: "inbox",
        immutable_id: "AAkALg",
        conversation_id: None,
        internet_message_id: Some("<text@example.net>"),
        received_at: 1_795_286_553_123,
        raw_sha256,
        classification,
        calendar: None,
    }
}

fn handover<'a>(
    route: &'a str,
    recipient: &'a Address,
    attributes: &'a BTreeMap<String, String>,
    thread: &'a Thread,
    inline_limit: u64,
    links: Option<&'a Links>,
) -> Handover<'a> {
    Handover {
        interaction_id: "ix_1",
        route,
        matched_by: MatchedBy::Recipient,
        matched_recipient: Some(recipient),
        fan_out_index: 0,
        fan_out_count: 2,
        bcc: &[],
        headers: None,
        remote_images: RemoteImages::Keep,
        attributes,
        inline_limit: Some(inline_limit),
        beside: false,
        links,
        thread,
    }
}

#[test]
fn every_fixture_renders_into_what_the_schema_promises() {
    for (name, raw) in fixtures() {
        for limit in [0, 1 << 20] {
            assert_eq!(super::mail_schema::violations(&render(&raw, limit, None)), Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn the_interaction_has_the_names_and_values_of_the_contract() {
    let raw = fixture("text");
    let body = rendered("text");
    let address = |name: Value, email: &str| json!({ "name": name, "email": email });
    assert_eq!(body["type"], "interaction.email.received");
    assert_eq!(body["timestamp"], "2026-11-21T18:42:33.123Z");
    let data = &body["data"];
    assert_eq!(
        data["route"],
        json!({ "name": "support-flow", "matchedBy": "recipient", "matchedRecipient": address("Support".into(), "support@contoso.com"),
            "fanOutIndex": 0, "fanOutCount": 2 })
    );
    assert_eq!(data["mailbox"], json!({ "address": "support@contoso.com", "folder": "inbox" }));
    assert_eq!(
        data["thread"],
        json!({ "threadId": "mk_1", "isNew": true, "previousInteractionId": null, "basis": "none", "gap": [] })
    );
    assert_eq!(data["attributes"], json!({ "queue": "first" }));
    let message = &data["message"];
    assert_eq!(message["messageId"], json!(["text@example.net"]));
    assert_eq!(message["inReplyTo"], json!(["first@contoso.com"]));
    assert_eq!(message["references"], json!(["first@contoso.com", "second@contoso.com"]));
    assert_eq!(message["from"], json!([address("Eva Lindner".into(), "eva@example.net")]));
    assert_eq!(
        message["cc"],
        json!([address("Anna".into(), "anna@contoso.com"), address("broken address".into(), "")])
    );
    assert_eq!(message["replyTo"], json!([address(Value::Null, "replies@example.net")]));
    assert_eq!(message["sentAt"], "2026-11-21T18:42:33+01:00");
    assert_eq!(message["receivedAt"], "2026-11-21T18:42:33.123Z");
    assert_eq!(message["size"], raw.len());
    assert_eq!(message["importance"], "high");
    assert_eq!(message["preview"], "Guten Tag, wo bleibt meine Bestellung? Grüße Eva");
    assert_eq!(message["textBody"]["derived"], false);
    assert_eq!(message["htmlBody"], Value::Null);
    assert_eq!(
        message["raw"],
        json!({ "url": null, "urlExpiresAt": null, "size": raw.len(), "sha256": sha256_hex(&raw) })
    );
    let headers = message["headers"].as_array().unwrap();
    let notes: Vec<_> = headers.iter().filter(|it| it["name"] == "X-Note").map(|it| it["value"].clone()).collect();
    assert_eq!(notes, ["one", "two"]);
}

#[test]
fn the_same_mail_gives_the_same_bytes() {
    for (name, raw) in fixtures() {
        let render = || event(&parse(&raw), &raw, "support-flow", 1 << 20, None);
        assert!(render() == render(), "{name}");
    }
}

#[test]
fn two_routes_differ_only_in_what_the_route_says() {
    let raw = fixture("mixed");
    let mail = parse(&raw);
    let parsed = |route| serde_json::from_slice::<Value>(&event(&mail, &raw, route, 1 << 20, None)).unwrap();
    let (first, mut second) = (parsed("one"), parsed("two"));
    assert_ne!(first, second);
    second["data"]["route"]["name"] = "one".into();
    assert_eq!(first, second);
}

#[test]
fn an_attachment_is_stored_linked_or_honestly_left_out() {
    let raw = fixture("mixed");
    let links = Links {
        raw: "https://bridge.example.com/raw".into(),
        attachments: BTreeMap::from([("2".into(), "https://bridge.example.com/2".into())]),
        expires_at: "2026-12-21T00:00:00.000Z".into(),
    };
    let states = |limit, links| {
        let body = render(&raw, limit, links);
        assert_eq!(super::mail_schema::violations(&body), Vec::<String>::new());
        let attachments = body["data"]["message"]["attachments"].as_array().unwrap().clone();
        attachments
            .iter()
            .map(|it| (it["state"].clone(), it["content"].is_string(), it["url"].is_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(states(9, None), [("stored".into(), true, false), ("stored".into(), true, false)]);
    assert_eq!(states(8, None), [("omitted_too_large".into(), false, false), ("stored".into(), true, false)]);
    assert_eq!(states(0, Some(&links)), [("link".into(), false, true), ("omitted_too_large".into(), false, false)]);
    let body = render(&raw, 1 << 20, None);
    assert_eq!(body["data"]["message"]["attachments"][0]["content"], "JVBERi0xLjQK");
}

#[test]
fn no_more_than_32_mib_are_put_into_one_interaction() {
    let file = |size: usize| format!("--b\r\nContent-Type: a/b; name=x.bin\r\n\r\n{}\r\n", "x".repeat(size));
    let sizes = [20 << 20, 11 << 20, 2 << 20, 1 << 20, 1, 0];
    let files: String = sizes.into_iter().map(file).collect();
    let raw = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{files}--b--\r\n").into_bytes();
    let mail = parse(&raw);
    let address = |it: &str| (it.to_owned(), format!("https://bridge.example.com/{it}"));
    let links =
        Links { attachments: mail.attachments.iter().map(|it| address(&it.part_id)).collect(), ..Links::default() };
    for (links, left) in [(None, "omitted_too_large"), (Some(&links), "link")] {
        let body = event(&mail, &raw, "flow", 1 << 30, links);
        assert!(body == event(&mail, &raw, "flow", 1 << 30, links), "every attempt says the same");
        assert!(body.len() < 44 << 20, "{}", body.len());
        let body: Value = serde_json::from_slice(&body).unwrap();
        let attachments = body["data"]["message"]["attachments"].as_array().unwrap();
        let states: Vec<_> = attachments.iter().map(|it| it["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["stored", "stored", left, "stored", left, "stored"]);
        for it in attachments {
            assert_eq!(
                (it["content"].is_string(), it["url"].is_string()),
                (it["state"] == "stored", it["state"] == "link")
            );
        }
    }
}

#[test]
fn long_bodies_are_cut_on_a_letter_and_say_so() {
    let text = "ü".repeat(600_000);
    for (kind, body) in [("text/plain", "textBody"), ("text/html", "htmlBody")] {
        let raw = format!("From: a@x.de\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n{text}");
        let body = &render(raw.as_bytes(), 0, None)["data"]["message"][body];
        assert_eq!(body["isTruncated"], true);
        assert_eq!(body["value"].as_str().unwrap().chars().count(), (1 << 20) / 2);
    }
}

#[test]
fn a_cloud_event_and_headers_say_what_the_event_says() {
    let raw = fixture("alternative");
    let mail = parse(&raw);
    let mailbox = Address::parse("support@contoso.com").unwrap();
    let classification = classify(&mail, &raw, &Beside::default());
    let shared = Shared::new(&mail).unwrap();
    let prepared = Prepared::new(&mail, &raw, &shared, source(&mailbox, &classification, "0"));
    let (attributes, thread) = (BTreeMap::new(), Thread::alone("mk_1"));
    let handover = handover("flow", &mailbox, &attributes, &thread, 0, None);
    let event: Value = serde_json::from_slice(&prepared.event(&handover).unwrap()).unwrap();
    let cloud: Value = serde_json::from_slice(&prepared.cloud_event(&handover).unwrap()).unwrap();
    let context = json!({
        "specversion": "1.0", "id": "ix_1", "source": "/tenants/contoso/mailboxes/support@contoso.com",
        "type": "interaction.email.received", "subject": "mk_1", "time": event["timestamp"],
        "datacontenttype": "application/json", "data": event["data"],
    });
    assert_eq!(cloud, context);
    let attributes = BTreeMap::from([("queue".to_owned(), "für 100 %".to_owned()), ("a&b".to_owned(), String::new())]);
    let fields: BTreeMap<_, _> =
        prepared.headers(&Handover { attributes: &attributes, ..handover }).into_iter().collect();
    for (name, value) in [
        ("mailspan-interaction-id", "ix_1"),
        ("mailspan-mailbox", "support@contoso.com"),
        ("mailspan-matched-by", "recipient"),
        ("mailspan-received-at", "2026-11-21T18:42:33.123Z"),
        ("mailspan-kind", "calendar"),
        ("mailspan-thread-is-new", "true"),
        ("mailspan-attributes", "a%26b=&queue=f%C3%BCr%20100%20%25"),
    ] {
        assert_eq!(fields[name], value, "{name}");
    }
    assert!(!fields.contains_key("mailspan-previous-interaction-id"), "what is absent has no field");
}
