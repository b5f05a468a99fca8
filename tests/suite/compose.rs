//! Mail that leaves, read back: by our own reader, by Python's, and by the simulated tenant's.

use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use mailspan::mail::addresses::Mailbox;
use mailspan::mail::attachment::Disposition;
use mailspan::mail::compose::{Automatic, File, SUBMISSION_FIELD, Submission, Way, graph_message, mime, ways};
use mailspan::mail::parse::{Mail, parse};
use proptest::prelude::*;

fn person(name: Option<&str>, email: &str) -> Mailbox {
    Mailbox { name: name.map(str::to_owned), email: email.to_owned() }
}

/// A plain submission; tests change what they are about.
pub(crate) fn submission() -> Submission {
    Submission {
        id: "sub_0123456789abcdef".into(),
        date: 1_795_251_600_000,
        from: person(Some("Support"), "support@contoso.com"),
        to: vec![person(Some("Ann Müller"), "ann@example.org")],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: Vec::new(),
        subject: "Your order".into(),
        text: Some("Hello\n".into()),
        html: None,
        attachments: Vec::new(),
        headers: Vec::new(),
        in_reply_to: Vec::new(),
        references: Vec::new(),
        automatic: Automatic::No,
    }
}

pub(crate) fn file(name: &str, kind: &str, content: &[u8], cid: Option<&str>) -> File {
    File {
        name: name.into(),
        kind: kind.into(),
        size: content.len() as u64,
        content: Bytes::copy_from_slice(content),
        cid: cid.map(str::to_owned),
        disposition: if cid.is_some() { Disposition::Inline } else { Disposition::Attachment },
    }
}

fn kinds(mail: &Mail) -> Vec<String> {
    mail.parts.iter().map(|part| part.kind().to_string()).collect()
}

/// Rules of RFC 5322 that hold for every line.
fn assert_carried(mail: &[u8]) {
    assert!(mail.is_ascii());
    let text = std::str::from_utf8(mail).unwrap();
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "bare line ends");
    let longest = text.split("\r\n").map(str::len).max().unwrap_or_default();
    assert!(longest <= 998, "a line of {longest}");
}

#[test]
fn a_mail_has_the_structure_that_readers_expect() {
    let png = file("logo.png", "image/png", b"\x89PNG", Some("logo"));
    let pdf = file("a.pdf", "application/pdf", b"%PDF", None);
    let html = Some("<p>Hello <img src=\"cid:logo\"></p>".to_owned());
    for (text, html, files, expected) in [
        (true, None, vec![], vec!["text/plain"]),
        (false, html.clone(), vec![], vec!["text/html"]),
        (false, None, vec![], vec!["text/plain"]),
        (true, html.clone(), vec![], vec!["multipart/alternative", "text/plain", "text/html"]),
        (
            true,
            html.clone(),
            vec![png.clone()],
            vec!["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"],
        ),
        (
            true,
            html,
            vec![pdf.clone(), png.clone()],
            vec![
                "multipart/mixed",
                "multipart/alternative",
                "text/plain",
                "multipart/related",
                "text/html",
                "image/png",
                "application/pdf",
            ],
        ),
        (true, None, vec![png], vec!["multipart/mixed", "text/plain", "image/png"]),
    ] {
        let mut mail = submission();
        mail.text = text.then(|| "Hello".to_owned());
        (mail.html, mail.attachments) = (html, files);
        let raw = mime(&mail);
        assert_carried(&raw);
        let read = parse(&raw);
        assert_eq!(kinds(&read), expected);
        assert!(read.problems.is_empty(), "{:?}", read.problems);
    }
}

#[test]
fn what_was_submitted_is_what_a_reader_gets() {
    let mut mail = submission();
    mail.subject = "Grüße aus Köln – your order №5 テスト".into();
    mail.cc = vec![person(Some("Lee, \"Ann\""), "lee@bücher.example"), person(None, "bob@example.org")];
    mail.bcc = vec![person(None, "boss@contoso.com")];
    mail.reply_to = vec![person(Some("Desk"), "desk@contoso.com")];
    mail.html = Some("<p>Grüße</p>".into());
    mail.text = Some("Grüße\n\nFrom here\n.\n".into());
    mail.in_reply_to = vec!["2@x".into()];
    mail.references = (0..40).map(|n| format!("{n}.a.rather.long.id@mail.example.org")).collect();
    mail.headers =
        vec![("X-Campaign".into(), "Übung 7".into()), ("List-Unsubscribe".into(), "<https://x.example/u>".into())];
    mail.automatic = Automatic::Generated;
    mail.attachments =
        vec![file(&format!("{} Rechnung.pdf", "ü".repeat(40)), "application/pdf", b"%PDF\x00\xff", None)];
    let raw = mime(&mail);
    assert_carried(&raw);
    let read = parse(&raw);
    assert_eq!(read.subject.as_deref(), Some(mail.subject.as_str()));
    assert_eq!((read.from, read.to), (vec![mail.from.clone()], mail.to.clone()));
    assert_eq!(read.cc[0], person(Some("Lee, \"Ann\""), "lee@xn--bcher-kva.example"));
    assert_eq!((read.bcc, read.reply_to), (mail.bcc.clone(), mail.reply_to.clone()));
    assert_eq!((read.in_reply_to, read.references), (mail.in_reply_to.clone(), mail.references.clone()));
    assert_eq!(read.message_ids, ["sub_0123456789abcdef@contoso.com"]);
    assert_eq!(read.sent_at.as_deref(), Some("2026-11-21T09:00:00Z"));
    assert_eq!(read.text.unwrap().value, "Grüße\n\nFrom here\n.\n");
    let attached = &read.attachments[0];
    assert_eq!(attached.name.as_deref(), Some(mail.attachments[0].name.as_str()));
    assert_eq!(attached.bytes(&raw).as_ref(), b"%PDF\x00\xff");
    let field = |name: &str| read.fields.first(name).map(|it| it.text());
    assert_eq!(field(SUBMISSION_FIELD).as_deref(), Some(mail.id.as_str()));
    assert_eq!(field("X-Campaign").as_deref(), Some("Übung 7"));
    assert_eq!(field("List-Unsubscribe").as_deref(), Some("<https://x.example/u>"));
    assert_eq!(field("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(field("X-Auto-Response-Suppress").as_deref(), Some("All"));
    assert_eq!(mime(&mail), raw, "the same mail whenever it is written");
    assert!(!format!("{mail:?}").contains("ann@"), "{mail:?}");
}

#[test]
fn files_travel_with_the_mail_as_long_as_there_is_room() {
    let mut mail = submission();
    mail.html = Some("<img src=\"cid:logo\">".into());
    let large = |name: &str, size: u64| File { size, content: Bytes::new(), ..file(name, "a/b", b"", None) };
    let mut shown = large("logo.png", 400_000);
    (shown.cid, shown.disposition) = (Some("logo".into()), Disposition::Inline);
    mail.attachments = vec![
        large("a", 1_600_000),
        large("b", 400_000),
        large("c", 100_000_000),
        File { kind: "message/rfc822".into(), ..large("d", 10) },
        shown,
        large("e", 2_999_999),
        large("f", 3_000_000),
    ];
    use Way::{OneRequest, Session, WithMail};
    assert_eq!(ways(&mail), [WithMail, OneRequest, Session, OneRequest, WithMail, OneRequest, Session]);
    for file in &mut mail.attachments {
        file.content = vec![1; file.size.min(3_000_000) as usize].into();
    }
    let raw = mime(&mail);
    assert!(raw.len() < 2_950_000, "{}", raw.len());
    assert_eq!(parse(&raw).attachments.len(), 2);
}

#[test]
fn json_holds_what_mime_holds_or_refuses() {
    let mut mail = submission();
    mail.html = Some("<p>x</p>".into());
    mail.in_reply_to = vec!["2@x".into()];
    mail.headers = vec![("X-Campaign".into(), "7".into())];
    mail.attachments = vec![file("logo.png", "image/png", b"\x89PNG", Some("logo"))];
    let message = graph_message(&mail, &[("String {1} Name Key", "sub_1")]).unwrap();
    assert_eq!(message["body"], serde_json::json!({ "contentType": "html", "content": "<p>x</p>" }));
    assert_eq!(message["internetMessageId"], "<sub_0123456789abcdef@contoso.com>");
    assert_eq!(message["internetMessageHeaders"][0]["value"], "sub_0123456789abcdef");
    assert_eq!(
        message["singleValueExtendedProperties"][0],
        serde_json::json!({ "id": "String 0x1042", "value": "<2@x>" })
    );
    assert_eq!(message["singleValueExtendedProperties"][1]["value"], "sub_1");
    assert_eq!(
        (&message["attachments"][0]["contentId"], &message["attachments"][0]["isInline"]),
        (&"logo".into(), &true.into())
    );

    mail.headers = (0..5).map(|n| (format!("X-{n}"), String::new())).collect();
    mail.headers.push(("List-Id".into(), "<a.b>".into()));
    mail.automatic = Automatic::Replied;
    let problems = graph_message(&mail, &[]).unwrap_err();
    assert_eq!(
        problems.iter().map(|it| it.field.as_str()).collect::<Vec<_>>(),
        ["headers.List-Id", "automatic", "headers"]
    );
}

const PYTHON: &str = r#"
import sys, json, email, email.policy
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
people = lambda name: [[a.display_name, a.addr_spec] for a in (mail[name].addresses if mail[name] else [])]
text, html = mail.get_body(("plain",)), mail.get_body(("html",))
print(json.dumps({"subject": mail["subject"], "from": people("from"), "to": people("to"), "cc": people("cc"), "custom": mail["X-Custom"],
  "text": text and text.get_content(), "html": html and html.get_content(),
  "defects": [type(d).__name__ for part in mail.walk() for d in part.defects],
  "files": [[a.get_filename(), len(a.get_payload(decode=True))] for a in mail.iter_attachments()]}))
"#;

/// What Python's `email` makes of a mail; none where there is no Python.
fn python(mail: &[u8]) -> Option<serde_json::Value> {
    let mut child =
        Command::new("python3").args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take()?.write_all(mail).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn another_reader_gets_the_same() {
    let mut mail = submission();
    mail.subject = "Grüße 漢字 and a long subject that has to be folded more than once, for it goes on and on".into();
    mail.to.push(person(Some("Jörg \"J\" O'Neill, Ltd."), "j@example.org"));
    mail.cc = vec![person(Some("Ünïcode Ümläut"), "u@example.org")];
    mail.text = Some("Zeile ä\nx=y\n".repeat(30));
    mail.html = Some(format!("<p>{}</p>", "long line ü ".repeat(200)));
    mail.headers = vec![("X-Custom".into(), "tab and ü".into())];
    mail.attachments = vec![file("grün & \"quoted\".pdf", "application/pdf", &[1; 5000], None)];
    let Some(read) = python(&mime(&mail)) else { return };
    assert_eq!(read["subject"], mail.subject.as_str());
    assert_eq!(read["to"][1], serde_json::json!(["Jörg \"J\" O'Neill, Ltd.", "j@example.org"]));
    assert_eq!(read["cc"][0][0], mail.cc[0].name.as_deref().unwrap());
    assert_eq!(read["text"].as_str().unwrap().replace("\r\n", "\n"), mail.text.as_deref().unwrap());
    assert_eq!(read["html"].as_str().unwrap().trim_end(), mail.html.as_deref().unwrap());
    assert_eq!((&read["custom"], &read["defects"]), (&"tab and ü".into(), &serde_json::json!([])));
    assert_eq!(read["files"], serde_json::json!([["grün & \"quoted\".pdf", 5000]]));
}

proptest! {
    #[test]
    fn whatever_is_submitted_is_read_back(
        subject in "[ -~äß漢😀]{0,80}",
        name in "[ -~äß漢]{0,40}",
        text in "[ -~äß漢\n]{0,300}",
        html in proptest::option::of("<p>[a-zäß漢 =]{0,200}</p>"),
        files in proptest::collection::vec(("[ -~ä漢]{1,60}", proptest::collection::vec(any::<u8>(), 0..400), any::<bool>()), 0..4),
    ) {
        let mut mail = submission();
        (mail.subject, mail.html, mail.text) = (subject, html, Some(text));
        mail.to = vec![person(Some(&name), "ann@example.org")];
        let number = |(at, (name, content, shown)): (usize, (String, Vec<u8>, bool))| {
            file(&name, "application/x-test", &content, shown.then(|| format!("cid{at}@x")).as_deref())
        };
        mail.attachments = files.into_iter().enumerate().map(number).collect();
        let raw = mime(&mail);
        assert_carried(&raw);
        let read = parse(&raw);
        // A reader folds blanks in names and subjects.
        let fold = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assert_eq!(fold(read.subject.as_deref().unwrap_or_default()), fold(&mail.subject));
        prop_assert_eq!(read.to[0].name.clone().unwrap_or_default(), fold(&name));
        prop_assert_eq!(read.text.unwrap().value.replace("\r\n", "\n"), mail.text.unwrap());
        let mut came: Vec<_> = read.attachments.iter().map(|it| (it.cid.clone(), it.bytes(&raw).into_owned())).collect();
        let mut sent: Vec<_> = mail.attachments.iter().map(|it| (it.cid.clone(), it.content.to_vec())).collect();
        came.sort();
        sent.sort();
        prop_assert_eq!(came, sent);
    }
}
