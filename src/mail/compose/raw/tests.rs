use bytes::Bytes;

use super::*;
use crate::mail::parse::{Mail, parse};

const ID: &str = "sub_00112233445566778899aabbccddeeff";

fn addresses(list: &[&str]) -> Vec<Address> {
    list.iter().map(|it| Address::parse(it).unwrap()).collect()
}

fn handed(mail: impl AsRef<[u8]>, recipients: Option<&[&str]>) -> Result<Outgoing, Vec<Problem>> {
    let mail = Bytes::copy_from_slice(mail.as_ref());
    let recipients = recipients.map(addresses);
    let sender = Address::parse("desk@contoso.com").unwrap();
    let handed = Raw {
        mail: &mail,
        sender: Some(&sender),
        recipients: recipients.as_deref(),
        id: ID,
        date: 1_800_000_000_000,
        keeps_message_id: true,
    };
    raw(&handed, &Limits::default())
}

fn sent(mail: &str) -> (Outgoing, String) {
    let outgoing = handed(mail, Some(&["ann@example.org"])).unwrap();
    travels(&outgoing.mime);
    let text = String::from_utf8(outgoing.mime.to_vec()).unwrap();
    (outgoing, text)
}

/// What must hold of every mail that leaves.
fn travels(mime: &[u8]) {
    let text = String::from_utf8_lossy(mime);
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "a lone CR or LF: {text}");
    assert!(text.split("\r\n").all(|line| line.len() <= 998), "a long line: {text}");
    assert!(text.split("\r\n").next().unwrap().starts_with("From: "), "{text}");
    let head = text.split("\r\n\r\n").next().unwrap();
    assert!(head.is_ascii(), "{head}");
    for name in ["From:", "Message-ID:", "Date:", "Subject:", "MIME-Version:", "X-Mailspan-Submission-Id:"] {
        assert_eq!(head.split("\r\n").filter(|it| it.starts_with(name)).count(), 1, "{name} {head}");
    }
    for name in ["Sender:", "Received:", "DKIM-Signature:", "Return-Path:", "Resent-"] {
        assert!(!head.split("\r\n").any(|it| it.starts_with(name)), "{name} {head}");
    }
}

fn emails(people: &[Mailbox]) -> Vec<&str> {
    people.iter().map(|it| it.email.as_str()).collect()
}

#[test]
fn a_mail_that_needs_nothing_keeps_its_body_byte_for_byte() {
    let body = "preamble\r\n--b\r\nContent-Type: text/plain\r\nX-Own: 1\r\n\r\nHi  \r\n.\r\n--b--\r\nepilogue";
    let mail = format!(
        "From: Desk <desk@contoso.com>\r\nTo: ann@example.org\r\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\r\n\
         Message-ID: <own@contoso.com>\r\nDate: Sat, 21 Nov 2026 18:42:33 +0100\r\nX-Campaign: 7\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n{body}"
    );
    let (outgoing, text) = sent(&mail);
    assert!(text.ends_with(&format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{body}")), "{text}");
    assert!(text.contains("\r\nX-Campaign: 7\r\n") && text.contains("\r\nDate: Sat, 21 Nov 2026 18:42:33 +0100\r\n"));
    assert_eq!((outgoing.message_id.as_str(), outgoing.subject.as_str()), ("own@contoso.com", "Grüße"));
    assert!(text.contains(&format!("\r\nX-Mailspan-Submission-Id: {ID}\r\n")), "{text}");
}

#[test]
fn what_clients_leave_out_is_filled_in_and_what_must_not_leave_is_taken_out() {
    let (outgoing, text) = sent(
        "Return-Path: <x@y>\nReceived: from a by b;\n Mon\nDKIM-Signature: v=1\nSender: boss@contoso.com\nBcc: eve@x.org\n\
         X-MS-Exchange-Organization-SCL: -1\nX-Mailspan-Submission-Id: sub_forged\nResent-From: a@b.org\nTo: ann@example.org\n\
         Subject: a\nSubject: b\nMessage-ID: broken\n\nHi",
    );
    assert_eq!(outgoing.from.email, "desk@contoso.com");
    assert_eq!(outgoing.message_id, format!("{ID}@contoso.com"));
    assert!(text.contains("Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n"), "{text}");
    assert!(!text.contains("forged") && !text.contains("SCL") && !text.contains("boss"), "{text}");
    assert_eq!(outgoing.subject, "a");
    assert!(text.ends_with("\r\n\r\nHi"), "{text}");
    for nothing in ["", "\r\n", "\r\n\r\n", "just text", "no field\nat all"] {
        let (outgoing, _) = sent(nothing);
        assert_eq!(emails(&outgoing.bcc), ["ann@example.org"], "{nothing:?}");
    }
}

#[test]
fn the_envelope_says_who_gets_it() {
    let mail = "From: desk@contoso.com\r\nTo: Ann <ann@example.org>, Bo <bo@example.org>\r\nCc: cy@Bücher.example, ANN@example.org\r\n\
                Bcc: Dee <dee@example.org>\r\n\r\n.";
    type Case =
        (Option<&'static [&'static str]>, &'static [&'static str], &'static [&'static str], &'static [&'static str]);
    let cases: [Case; 5] = [
        // The whole of it: Bcc gets it as well, whether or not the client named it to us.
        (
            Some(&["ann@example.org", "bo@example.org", "cy@bücher.example"]),
            &["ann@example.org", "bo@example.org"],
            &["cy@Bücher.example"],
            &["dee@example.org"],
        ),
        // One of several hand-overs.
        (Some(&["bo@example.org"]), &["bo@example.org"], &[], &[]),
        (Some(&["cy@xn--bcher-kva.example"]), &[], &["cy@Bücher.example"], &[]),
        // A copy for somebody nobody sees.
        (Some(&["dee@example.org", "archive@contoso.com"]), &[], &[], &["dee@example.org", "archive@contoso.com"]),
        (None, &["ann@example.org", "bo@example.org"], &["cy@Bücher.example"], &["dee@example.org"]),
    ];
    for (recipients, to, cc, bcc) in cases {
        let outgoing = handed(mail, recipients).unwrap();
        assert_eq!((&emails(&outgoing.to)[..], &emails(&outgoing.cc)[..], &emails(&outgoing.bcc)[..]), (to, cc, bcc));
        let read = parse(&outgoing.mime);
        assert_eq!((read.to.len(), read.cc.len(), read.bcc.len()), (to.len(), cc.len(), bcc.len()), "{recipients:?}");
    }
    let passed_on = "From: desk@contoso.com\r\nTo: ann@example.org\r\nResent-To: bo@example.org\r\n\r\n.";
    let outgoing = handed(passed_on, None).unwrap();
    assert_eq!((emails(&outgoing.to), emails(&outgoing.bcc)), (vec![], vec!["bo@example.org"]));
}

#[test]
fn what_graph_cannot_carry_is_refused_with_the_reason() {
    let long = "x".repeat(1000);
    let huge = "abc de\r\n".repeat(400_000);
    let signed = |text: &str| {
        format!(
            "Content-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"\r\n\r\n--b\r\n\r\n{text}\r\n\
             --b\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--b--\r\n"
        )
    };
    for (mail, field, words) in [
        ("From: a@contoso.com, b@contoso.com\r\n\r\n.".to_owned(), "from", "names more than one"),
        ("From: a@contoso.com\r\nFrom: b@contoso.com\r\n\r\n.".to_owned(), "from", "names more than one"),
        ("To: grüße@example.org\r\n\r\n.".to_owned(), "to[0].email", "before the @"),
        (format!("Subject: {}\r\n\r\n.", "x".repeat(300)), "subject", "shorten it"),
        (format!("X-A: {}\r\n\r\n.", "y ".repeat(70_000)), "headers", "longer than 128 KiB"),
        (format!("Subject: a\r\n\r\n{huge}"), "mail", "attach it as a file"),
        (signed(&long), "mail", "without breaking it"),
        (signed(&huge), "mail", "signed or encrypted"),
    ] {
        let to = if words == "before the @" { "grüße@example.org" } else { "ann@example.org" };
        let problems = handed(&mail, Some(&[to])).unwrap_err();
        assert!(problems.iter().any(|it| it.field == field && it.sentence.contains(words)), "{words}: {problems:?}");
    }
    let nobody = handed("From: desk@contoso.com\r\n\r\n.", None).unwrap_err();
    assert_eq!(nobody[0].field, "to");
}

#[test]
fn letters_beyond_ascii_and_long_lines_are_encoded() {
    let long = "word ".repeat(400);
    for (mail, text) in [
        ("Subject: x\n\nGr\u{fc}\u{df}e".to_owned(), "Grüße".to_owned()),
        (format!("Subject: x\n\n{long}"), long.clone()),
        (
            format!("Content-Transfer-Encoding: quoted-printable\n\n{}=C3=BC", "a".repeat(1200)),
            format!("{}ü", "a".repeat(1200)),
        ),
        ("Content-Type: text/plain; charset=us-ascii; format=flowed\n\nGr\u{fc}n".to_owned(), "Grün".to_owned()),
    ] {
        let (outgoing, _) = sent(&mail);
        let read = parse(&outgoing.mime);
        assert_eq!(read.text.unwrap().value.trim_end(), text.trim_end());
    }
    let (outgoing, text) = sent(
        "From: Jörg Müller <desk@contoso.com>\nTo: Zoë <ann@example.org>\nSubject: Grüße\nX-Own: ä\nList-Unsubscribe: <https://x.org/u>\n\
         Content-Type: text/plain; name=\"ü.txt\"\n\n.",
    );
    let read = parse(&outgoing.mime);
    assert_eq!((read.from[0].name.as_deref(), read.to[0].name.as_deref()), (Some("Jörg Müller"), Some("Zoë")));
    assert_eq!(read.subject.as_deref(), Some("Grüße"));
    assert_eq!(read.fields.first("x-own").unwrap().text(), "ä");
    assert!(text.contains("List-Unsubscribe: <https://x.org/u>\r\n"), "{text}");
    let latin: &[u8] = b"Subject: Gr\xfcn\n\nGr\xfcn";
    let read = parse(&handed(latin, Some(&["ann@example.org"])).unwrap().mime);
    assert_eq!((read.subject.as_deref(), read.text.unwrap().value.as_str()), (Some("Grün"), "Grün"));
}

#[test]
fn what_is_signed_keeps_every_byte_but_its_line_ends() {
    let inside = "Content-Type: text/plain; charset=utf-8\n\nGrüße,  \nFrom here\n";
    let mail = format!(
        "Subject: x\nContent-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=\"b\"\n\n\
         --b\n{inside}\n--b\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n"
    );
    let (_, text) = sent(&mail);
    assert!(text.contains(&format!("--b\r\n{}\r\n--b\r\n", inside.replace('\n', "\r\n"))), "{text}");
    assert!(text.contains("Content-Transfer-Encoding: 8bit\r\n"), "{text}");
}

/// Name, cid and digest of everything that is attached, in the mail or beside it.
fn files(mail: &Mail, apart: &[File]) -> Vec<(Option<String>, Option<String>, String)> {
    let inside = mail.attachments.iter().map(|it| (it.name.clone(), it.cid.clone(), it.sha256.clone()));
    let apart =
        apart.iter().map(|it| (Some(it.name.clone()), it.cid.clone(), crate::model::ids::sha256_hex(&it.content)));
    let mut all: Vec<_> = inside.chain(apart).collect();
    all.sort();
    all
}

fn part(kind: &str, name: &str, cid: Option<&str>, size: usize, in_base64: bool) -> String {
    let content: Vec<u8> = (0..size).map(|it| (it * 7 + name.len()) as u8).collect();
    let cid = cid.map(|it| format!("Content-ID: <{it}>\r\n")).unwrap_or_default();
    let head = format!(
        "Content-Type: {kind}; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n{cid}"
    );
    match in_base64 {
        true => {
            let body = String::from_utf8(super::super::encode::base64(&content)).unwrap();
            format!("{head}Content-Transfer-Encoding: base64\r\n\r\n{body}")
        }
        false => format!("{head}\r\n{}", "letter by letter\r\n".repeat(size / 18)),
    }
}

#[test]
fn a_large_mail_is_parted_and_holds_the_same_files_when_it_is_put_together_again() {
    let inner = "From: x@y.org\r\nSubject: About/this\r\n\r\nhello\r\n".to_owned() + &"mail\r\n".repeat(100_000);
    let mail = format!(
        "From: desk@contoso.com\r\nTo: ann@example.org\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n\
         --o\r\nContent-Type: multipart/related; boundary=r\r\n\r\n--r\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <p>Look <img src=\"cid:logo@x\"></p>\r\n--r\r\n{}\r\n--r--\r\n\
         --o\r\n{}\r\n--o\r\n{}\r\n--o\r\n{}\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n{inner}\r\n--o--\r\n",
        part("image/png", "logo.png", Some("logo@x"), 2_000_000, true),
        part("application/pdf", "large.pdf", None, 4_000_000, true),
        part("application/pdf", "small.pdf", None, 1_000, true),
        part("text/csv", "log.csv", None, 1_000_000, false),
    );
    let before = parse(mail.as_bytes());
    let (outgoing, _) = sent(&mail);
    let after = parse(&outgoing.mime);
    assert!(outgoing.mime.len() as u64 <= LARGEST, "{}", outgoing.mime.len());
    assert_eq!(files(&after, &outgoing.files), files(&before, &[]));
    let names: Vec<_> = outgoing.files.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["large.pdf", "log.csv", "About this.eml"]);
    assert!(after.html.unwrap().original.value.contains("cid:logo@x"));
}

#[test]
fn an_image_that_the_html_shows_leaves_as_such() {
    let mail = format!(
        "To: ann@example.org\r\nContent-Type: multipart/related; boundary=r\r\n\r\n--r\r\nContent-Type: text/html\r\n\r\n\
         <img src=\"cid:logo@x\">\r\n--r\r\n{}\r\n--r--\r\n",
        part("image/png", "logo.png", Some("logo@x"), 3_500_000, true)
    );
    let (outgoing, _) = sent(&mail);
    let [file] = outgoing.files.as_slice() else { panic!("{:?}", outgoing.files) };
    assert_eq!((file.cid.as_deref(), file.is_shown(), file.size), (Some("logo@x"), true, 3_500_000));
    let only = part("application/pdf", "only.pdf", None, 3_500_000, true);
    let (outgoing, text) = sent(&format!("To: ann@example.org\r\n{only}"));
    assert_eq!(outgoing.files[0].name, "only.pdf");
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn a_mail_in_a_mail_stays_one() {
    let inner = "From: Jörg <x@y.org>\nReceived: by a\nSubject: Grüße\n\nschön\n";
    let mail = format!(
        "Content-Type: multipart/mixed; boundary=o\n\n--o\n\nsee below\n--o\nContent-Type: message/rfc822\n\n{inner}\n--o--\n"
    );
    let (_, text) = sent(&mail);
    assert!(text.is_ascii() && text.contains("Received: by a\r\n"), "{text}");
    let read = parse(text.as_bytes());
    let inner = parse(&read.attachments[0].bytes(text.as_bytes()));
    assert_eq!((inner.subject.as_deref(), inner.text.unwrap().value.trim()), (Some("Grüße"), "schön"));
    let mut deep = "Subject: x\n\nschön".to_owned();
    for _ in 0..30 {
        deep = format!("Content-Type: message/rfc822\n\n{deep}");
    }
    assert!(handed(&deep, Some(&["ann@example.org"])).unwrap_err()[0].sentence.contains("ten deep"));
}

const PIECES: &[&str] = &[
    "From: a@contoso.com\n",
    "To: ann@example.org, bo@example.org\r\n",
    "Subject: =?utf-8?Q?=C3=BC?= ü\n",
    "\n",
    "\r\n",
    "\r",
    "Content-Type: multipart/mixed; boundary=b\n",
    "Content-Type: multipart/signed; boundary=\"c d\"\r\n",
    "\n--b\n",
    "--c d\r\n",
    "\n--b--\n",
    "\n--c d--\r\n",
    "Content-Type: text/html; charset=utf-16\n\n",
    "Content-Transfer-Encoding: base64\n",
    "AAAA",
    "Content-Type: message/rfc822\n\n",
    "Content-Transfer-Encoding: quoted-printable\n",
    "=C3=\n",
    "\0",
    "ü",
    "\u{1f600}",
    " folded\n",
    ".\r\n",
    "From ",
    "X-A : b\n",
    "Bcc: dee@x.org\n",
    "Content-Disposition: attachment; filename*=utf-8''%C3%BC\n",
    "begin 644 a\n`\nend\n",
];

proptest::proptest! {
    #[test]
    fn any_bytes_become_a_mail_that_travels_or_a_reason(
        pieces in proptest::collection::vec((0..PIECES.len(), 1..4_usize), 0..25), long in 0..3_usize
    ) {
        let mut mail: String = pieces.iter().map(|(piece, times)| PIECES[*piece].repeat(*times)).collect();
        mail.push_str(&"y".repeat(long * 700));
        match handed(&mail, Some(&["ann@example.org", "dee@x.org"])) {
            Ok(outgoing) => {
                travels(&outgoing.mime);
                proptest::prop_assert!(outgoing.recipients() >= 2);
                let read = parse(&outgoing.mime);
                proptest::prop_assert_eq!(read.to.len() + read.cc.len() + read.bcc.len(), outgoing.recipients());
                proptest::prop_assert_eq!(read.from.len(), 1);
                proptest::prop_assert_eq!(&read.message_ids, std::slice::from_ref(&outgoing.message_id));
            }
            Err(problems) => proptest::prop_assert!(!problems.is_empty()),
        }
    }

    #[test]
    fn any_eight_bits_are_survived(mail: Vec<u8>) {
        if let Ok(outgoing) = handed(&mail, Some(&["ann@example.org"])) {
            travels(&outgoing.mime);
        }
    }
}
