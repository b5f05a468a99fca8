//! Reading mail: each kind of mail by a fixture, and every kind of rubbish without a panic.

use std::time::Instant;

use mailspan::mail::attachment::Disposition::{Attachment, Inline};
use mailspan::mail::digest::content_digest;
use mailspan::mail::parse::{Mail, parse};
use mailspan::mail::security::Smime;
use mailspan::model::ids::sha256_hex;
use proptest::prelude::*;

use super::mail_interaction::{event, fixture, fixtures};

fn read(name: &str) -> Mail {
    parse(&fixture(name))
}

fn text(mail: &Mail) -> &str {
    mail.text.as_ref().map(|it| it.value.as_str()).unwrap_or_default()
}

fn html(mail: &Mail) -> &str {
    mail.html.as_ref().and_then(|it| it.sanitised()).unwrap_or_default()
}

fn names(mail: &Mail) -> Vec<&str> {
    mail.attachments.iter().filter_map(|it| it.name.as_deref()).collect()
}

#[test]
fn plain_text_is_read_with_its_letters() {
    let mail = read("text");
    assert_eq!(text(&mail), "Guten Tag,\n\nwo bleibt   meine Bestellung?\n\nGrüße\nEva\n");
    assert_eq!(mail.subject.as_deref(), Some("A question about order 4711"));
    assert_eq!(
        mail.recipients().iter().map(|it| it.as_str()).collect::<Vec<_>>(),
        ["support@contoso.com", "anna@contoso.com"]
    );
    assert_eq!(mail.senders()[0].as_str(), "eva@example.net");
    assert!(!mail.has_attachments() && mail.problems.is_empty());
}

#[test]
fn html_alone_is_made_safe_and_gives_the_text() {
    let mail = read("html");
    assert_eq!(text(&mail), "Hello world\n\none\ttwo\n\n1 < 2 & 3");
    assert!(mail.text_is_derived);
    assert!(html(&mail).contains("<p style=\"color:#333\">Hello <b>world</b></p>"), "{}", html(&mail));
    assert!(!html(&mail).contains("script") && !html(&mail).contains("red"));
    assert!(mail.attachments.is_empty());
}

#[test]
fn of_alternatives_each_form_is_taken_for_what_it_is() {
    let mail = read("alternative");
    assert_eq!((text(&mail), html(&mail)), ("Plain text", "<p>Rich text</p>"));
    assert!(!mail.text_is_derived && !mail.has_attachments());
    let invitation = &mail.attachments[0];
    assert_eq!(
        (invitation.kind.as_str(), invitation.part_id.as_str(), invitation.disposition),
        ("text/calendar", "3", Inline)
    );
}

#[test]
fn files_are_attachments_with_their_decoded_bytes() {
    let raw = fixture("mixed");
    let mail = parse(&raw);
    assert_eq!(text(&mail), "See the files.");
    assert_eq!(names(&mail), ["invoice.pdf", "prices.csv"]);
    assert_eq!(&*mail.attachments[0].bytes(&raw), b"%PDF-1.4\n");
    assert_eq!(&*mail.attachments[1].bytes(&raw), b"K\xe4se;1", "bytes stay as they are, in their own charset");
    assert_eq!(mail.attachments[1].size, 6);
    assert!(mail.has_attachments());
    assert_eq!(mail.parts.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["", "1", "1.1", "1.2", "2", "3"]);
}

#[test]
fn an_image_the_html_shows_is_no_attachment() {
    let mail = read("related");
    let logo = &mail.attachments[0];
    assert_eq!((logo.cid.as_deref(), logo.disposition), (Some("logo@x"), Inline));
    assert!(!mail.has_attachments());
    assert!(html(&mail).contains("<img src=\"cid:logo%40x\" alt=\"logo\">"), "{}", html(&mail));
}

#[test]
fn a_mail_in_a_mail_is_one_attachment_named_after_its_subject() {
    let raw = fixture("nested");
    let mail = parse(&raw);
    assert_eq!(text(&mail), "Please see the mail below.");
    assert_eq!(names(&mail), ["Beschwerde über 1 2.eml"]);
    assert_eq!((mail.attachments[0].kind.as_str(), mail.attachments[0].disposition), ("message/rfc822", Attachment));
    assert_eq!(names(&parse(&mail.attachments[0].bytes(&raw))), ["inner.txt"]);
}

#[test]
fn names_and_subjects_are_read_however_they_are_encoded() {
    let mail = read("names");
    assert_eq!(mail.subject.as_deref(), Some("Dateinamen überall"));
    assert_eq!(names(&mail), ["Rechnung für Eva.pdf", "Übersicht.xls"]);
    let mail = read("raw_eight_bit");
    assert_eq!(mail.subject.as_deref(), Some("Grüße aus Köln"));
    assert_eq!(mail.from[0].name.as_deref(), Some("Jörg Müller"));
    assert_eq!(names(&mail), ["Übersicht.pdf"]);
    assert!(mail.headers().any(|it| it.name == "X-Utf8" && it.value == "Grüße"));
}

#[test]
fn every_charset_becomes_text() {
    for (name, subject, body) in [
        ("iso_2022_jp", "注意", "こんにちは"),
        ("gb18030", "你好", "你好，世界"),
        ("mislabelled", "Quotes", "“Smart” € 5 für Käse"),
    ] {
        let mail = read(name);
        assert_eq!((mail.subject.as_deref(), text(&mail).trim()), (Some(subject), body), "{name}");
    }
}

#[test]
fn broken_mail_is_read_as_far_as_it_goes_and_says_what_is_wrong() {
    for (raw, body, problems) in [
        (fixture("no_headers"), "This is just a line of text\nand another one\n", vec!["no header section"]),
        (fixture("only_headers"), "", vec![]),
        (vec![], "", vec!["empty"]),
        (fixture("truncated"), "Still legible", vec!["a multipart is not closed"]),
        (
            fixture("missing_boundary"),
            "--guess\nContent-Type: text/plain\n\nhello\n--guess--\n",
            vec!["a multipart has no parts"],
        ),
        (b"Date: never\r\n\r\nx".to_vec(), "x", vec!["the date is no date"]),
        (
            b"Content-Type: multipart/mixed; boundary=x\r\n\r\nonly text".to_vec(),
            "only text",
            vec!["a multipart has no parts"],
        ),
    ] {
        let mail = parse(&raw);
        assert_eq!((text(&mail), &mail.problems), (body, &problems), "{}", raw.escape_ascii());
        assert_eq!(mail.size, raw.len() as u64);
    }
    assert!(html(&read("truncated")).contains("Still legi"));
}

#[test]
fn protection_is_seen_from_the_outside() {
    for (name, smime, tnef, irm, has_attachments) in [
        ("signed", Smime::Signed, false, false, false),
        ("encrypted", Smime::Encrypted, false, false, true),
        ("winmail", Smime::None, true, true, true),
        ("text", Smime::None, false, false, false),
        ("report", Smime::None, false, false, false),
    ] {
        let mail = read(name);
        assert_eq!((mail.security.smime, mail.security.tnef, mail.security.irm), (smime, tnef, irm), "{name}");
        assert_eq!(mail.has_attachments(), has_attachments, "{name}");
    }
}

#[test]
fn copies_of_a_mail_share_a_digest_and_other_mails_do_not() {
    let original = String::from_utf8(fixture("mixed")).unwrap();
    let digest = |raw: &str| content_digest(&parse(raw.as_bytes()));
    let edit = |from: &str, to: &str| {
        assert!(original.contains(from), "{from}");
        digest(&original.replace(from, to))
    };
    // The copy in the other mailbox: another way, another wrapping, a name from the address book.
    let copy = original.replace("outer", "another").replace("mixed@example.net", "reused@example.net");
    let copy = copy.replace("Eva Lindner <eva@example.net>", "\"Lindner, Eva\" <Eva@Example.net>");
    let copy = format!("Received: from mx.example.net\r\nX-MS-Exchange-Organization-SCL: -1\r\n{copy}");
    assert_eq!(digest(&copy), digest(&original));
    for (from, to) in [
        ("eva@example.net", "bob@example.net"),
        ("support@contoso.com", "sales@contoso.com"),
        ("18:42:33", "18:42:34"),
        ("With files", "Without files"),
        (
            "See the files.\r\n--outer-inner\r\nContent-Type: text/html",
            "See them.\r\n--outer-inner\r\nContent-Type: text/html",
        ),
        ("<p>See", "<p>Look at"),
        ("JVBERi0xLjQK", "JVBERi0xLjUK"),
    ] {
        assert_ne!(edit(from, to), digest(&original), "{from}");
    }
}

#[test]
fn importance_is_read_from_every_header_that_says_it() {
    for (headers, importance) in [
        ("Importance: High", "high"),
        ("Importance: low", "low"),
        ("X-Priority: 5", "low"),
        ("X-Priority: 3", "normal"),
        ("Priority: urgent", "high"),
        ("X-MSMail-Priority: High", "high"),
        ("Subject: x", "normal"),
    ] {
        let mail = parse(format!("{headers}\r\n\r\n").as_bytes());
        assert_eq!(serde_json::to_value(mail.importance).unwrap(), importance, "{headers}");
    }
}

#[test]
fn ten_thousand_parts_are_ten_thousand_attachments() {
    let part = "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\nx\r\n";
    let raw = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n", part.repeat(10_000));
    let mail = parse(raw.as_bytes());
    assert_eq!(mail.attachments.len(), 10_000);
    assert_eq!(mail.attachments[9_999].part_id, "10000");
    assert!(event(&mail, raw.as_bytes(), "flow", 1 << 20, None).len() > 1_000_000);
}

#[test]
fn deep_nesting_stays_readable_and_cheap() {
    let mut raw = String::new();
    for depth in 0..200 {
        raw.push_str(&format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n"));
    }
    raw.push_str("Content-Type: text/plain\r\n\r\ndeep down\r\n");
    (0..200).rev().for_each(|depth| raw.push_str(&format!("--b{depth}--\r\n")));
    let mail = parse(raw.as_bytes());
    assert!(mail.problems.contains(&"parts nested more than 100 deep"));
    let deepest = &mail.attachments[0];
    assert!(deepest.kind.starts_with("multipart/") && deepest.bytes(raw.as_bytes()).ends_with(b"--b100--"));
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(50_000);
    assert_eq!(parse(messages.as_bytes()).attachments.len(), 1);
}

#[test]
fn nothing_of_a_broken_mail_hides_the_rest_of_it() {
    let multipart = |body: &str| {
        parse(format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", body.replace('\n', "\r\n")).as_bytes())
    };
    let file = "--b\nContent-Type: application/pdf; name=a.pdf\n\nx\n--b--\n";
    for (what, first, expected) in [
        ("a boundary within a line", "--b\n\none --b two\n--bb\n", "one --b two\n--bb"),
        ("an inner part that never ends", "--b\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\ntext\n", "text"),
        ("an inner boundary that never comes", "--b\nContent-Type: multipart/mixed; boundary=i\n\ntext\n", "text"),
        ("a part without a blank line", "--b\nContent-Type: text/plain\ntext\n", "text\n"),
        ("a part without anything", "--b\n", ""),
        ("two types", "--b\nContent-Type: text/plain\nContent-Type: image/png\n\ntext\n", "text"),
        ("no type", "--b\nContent-Type: text\n\ntext\n", "text"),
    ] {
        let mail = multipart(&format!("{first}{file}"));
        assert_eq!((text(&mail), names(&mail)), (expected, vec!["a.pdf"]), "{what}");
    }
}

#[test]
fn a_mail_in_a_mail_is_never_opened() {
    let inner = "Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\ninner\r\n--i--\r\n";
    for kind in ["message/rfc822", "Message/Global", "message/rfc822 (x)"] {
        let raw = format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nouter\r\n--b\r\nContent-Type: {kind}\r\n\r\n{inner}\r\n--b--\r\n"
        );
        let mail = parse(raw.as_bytes());
        assert_eq!((text(&mail), names(&mail)), ("outer", vec!["message.eml"]), "{kind}");
        assert_eq!(&*mail.attachments[0].bytes(raw.as_bytes()), inner.as_bytes());
    }
    let digest = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n\r\nx\r\n--b--\r\n";
    assert_eq!(names(&parse(digest.as_bytes())), ["one.eml"]);
}

/// Each of these took the library time that grows with the square of the size, or stack with the depth. Here they must
/// end; how fast they do is printed.
#[test]
fn hostile_mail_comes_to_an_end() {
    let fill = |size: usize, text: &str| text.repeat(size / text.len());
    let mixed = "Content-Type: multipart/mixed; boundary=";
    let distinct = |count: usize, size: usize| {
        let filler = "x".repeat(size / count);
        let part = |it| format!("--b\r\n{mixed}z{it}\r\n\r\n{filler}\r\n");
        format!("{mixed}b\r\n\r\n{}", (0..count).map(part).collect::<String>())
    };
    let nested = |depth: usize| (0..depth).map(|it| format!("{mixed}b{it}\r\n\r\n--b{it}\r\n")).collect::<String>();
    let (small, large) = (1 << 20, 5 << 20);
    for (what, raw, problem) in [
        ("unfinished words", format!("Subject: {}", fill(small, "=?a?q?")), None),
        ("unfinished words of two letters", format!("Subject: {}", fill(small, "=?ab?q?")), None),
        ("unfinished words with ends far away", format!("Subject: {} ?=", fill(small, "=?ab?q?")), None),
        ("parameters", format!("Content-Type: a/b{}", fill(small, ";a*1=b")), Some("a content type longer than 8 KiB")),
        ("addresses", format!("To: {}", fill(small, "a,(\"<")), None),
        ("references", format!("References: {}", fill(small, "<")), None),
        ("folded lines", fill(small, "a\r\n b: c\r\n"), None),
        ("header lines", fill(large, "a:\r\n"), Some("more than 200000 header lines")),
        ("nested html", format!("Content-Type: text/html\r\n\r\n{}", fill(small, "<div>")), None),
        (
            "reopened html",
            format!(
                "Content-Type: text/html\r\n\r\n{}{}",
                (0..20_000).map(|it| format!("<b id={it}>")).collect::<String>(),
                fill(small, "<p>")
            ),
            None,
        ),
        ("false boundaries", format!("{mixed}b\r\n\r\n{}", fill(large, "--b\r\n")), Some("more than 20000 parts")),
        ("boundaries within a line", format!("{mixed}b\r\n\r\n--b\r\n\r\n{}", fill(large, "x--b")), None),
        (
            "one boundary that never comes",
            format!("{mixed}b\r\n\r\n{}", fill(large, &format!("--b\r\n{mixed}z\r\n\r\n"))),
            Some("more than 20000 parts"),
        ),
        ("5000 boundaries that never come", distinct(5_000, large), Some("too many boundaries that never come")),
        ("100 boundaries that never come", distinct(100, large), None),
        ("10000 parts", distinct(1, 10) + &fill(large, &format!("--b\r\n\r\n{}\r\n", "x".repeat(512))), None),
        ("500 nested parts", nested(500) + "\r\n" + &fill(large, "x\r\n"), Some("parts nested more than 100 deep")),
        ("15000 nested parts", nested(15_000), Some("parts nested more than 100 deep")),
        ("nested mails", fill(large, "Content-Type: message/rfc822\r\n\r\n"), None),
        (
            "nested digests",
            fill(large, "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n"),
            Some("more than 20000 parts"),
        ),
    ] {
        let started = Instant::now();
        let mail = parse(raw.as_bytes());
        println!("{what}, {} KiB: {:?} {:?}", raw.len() >> 10, started.elapsed(), mail.problems);
        assert!(problem.is_none_or(|it| mail.problems.contains(&it)), "{what}: {:?}", mail.problems);
        assert!(!mail.problems.contains(&"the parser refused it"), "{what}");
    }
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let fixtures = fixtures();
    let edits = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..4u8), 0..12);
    (0..fixtures.len(), edits).prop_map(move |(which, edits)| {
        let mut raw = fixtures[which].1.clone();
        for (index, byte, edit) in edits {
            let at = index.index(raw.len().max(1));
            match edit {
                0 if at < raw.len() => raw[at] = byte,
                1 => raw.insert(at, byte),
                2 if at < raw.len() => drop(raw.remove(at)),
                _ => raw.truncate(at.max(16)),
            }
        }
        raw
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_are_some_mail(raw: Vec<u8>) {
        let mail = parse(&raw);
        prop_assert!(!mail.problems.contains(&"the parser refused it"));
        serde_json::from_slice::<serde_json::Value>(&event(&mail, &raw, "flow", 100, None)).unwrap();
    }

    #[test]
    fn mutated_mail_is_read_and_rendered_within_the_schema(raw in mutated()) {
        let mail = parse(&raw);
        prop_assert!(!mail.problems.contains(&"the parser refused it"));
        let body = event(&mail, &raw, "flow", 100, None);
        prop_assert_eq!(&body, &event(&parse(&raw), &raw, "flow", 100, None));
        let body = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(super::mail_schema::violations(&body), Vec::<String>::new());
        let _ = content_digest(&mail);
        let mut ids = std::collections::HashSet::new();
        for attachment in &mail.attachments {
            let bytes = attachment.bytes(&raw);
            prop_assert_eq!((attachment.size, &attachment.sha256), (bytes.len() as u64, &sha256_hex(&bytes)));
            prop_assert!(ids.insert(&attachment.part_id), "{} twice", attachment.part_id);
            let name = attachment.name.as_deref().unwrap_or("x");
            prop_assert!(!name.is_empty() && !name.contains(['/', '\\']) && !name.contains(char::is_control));
        }
    }
}
