//! Parts of every kind: what each is called, where it belongs, and that its bytes are whole.

use mailspan::mail::attachment::Disposition::{self, Attachment, Inline};
use mailspan::mail::attachment::Origin;
use mailspan::mail::parse::{Mail, parse};
use mailspan::mail::security::{Pgp, Smime};
use mailspan::model::ids::sha256_hex;

const CAT: &str = "begin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\n";

fn text(mail: &Mail) -> &str {
    mail.text.as_ref().map(|it| it.value.as_str()).unwrap_or_default()
}

/// A multipart of this kind with these parts, each its header fields and its body.
fn multipart(kind: &str, parts: &[(&str, &str)]) -> Vec<u8> {
    let parts: String = parts.iter().map(|(head, body)| format!("--b\r\n{head}\r\n\r\n{body}\r\n")).collect();
    format!("Subject: x\r\nContent-Type: multipart/{kind}; boundary=b\r\n\r\n{parts}--b--\r\n").into_bytes()
}

#[test]
fn a_mail_in_a_mail_is_whole_in_every_writing() {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let inner = "Subject: =?utf-8?Q?Beschwerde_=C3=BCber?= 1\r\n\r\ninner text";
    let encoded = BASE64_STANDARD.encode(inner);
    let base64 = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64";
    for (kind, head, body, name) in [
        ("mixed", "Content-Type: message/rfc822", inner, "Beschwerde über 1.eml"),
        ("mixed", base64, encoded.as_str(), "Beschwerde über 1.eml"),
        ("mixed", "Content-Type: message/global", inner, "Beschwerde über 1.eml"),
        ("digest", "X-Any: thing", inner, "Beschwerde über 1.eml"),
        ("mixed", "Content-Type: message/rfc822; name=\"own.eml\"", inner, "own.eml"),
        ("mixed", "Content-Type: message/rfc822\r\nContent-Disposition: inline", "no mail at all", "message.eml"),
    ] {
        let raw = multipart(kind, &[("Content-Type: message/rfc822", "Subject: first\r\n\r\n1"), (head, body)]);
        let mail = parse(&raw);
        let attached = &mail.attachments[1];
        let bytes = attached.bytes(&raw);
        let meant = if body == encoded { inner } else { body };
        assert_eq!((&*bytes, attached.name.as_deref()), (meant.as_bytes(), Some(name)), "{head}");
        assert_eq!((attached.origin, attached.size), (Origin::Item, meant.len() as u64), "{head}");
        assert_eq!(attached.sha256, sha256_hex(meant.as_bytes()), "{head}");
        assert!(mail.has_attachments() && text(&mail).is_empty());
    }
}

#[test]
fn the_name_of_a_long_encoded_mail_is_read_from_its_beginning() {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let inner = format!("X-Long: {}\r\nSubject: found\r\n\r\n{}", "x".repeat(60_000), "y".repeat(1 << 20));
    let late = format!("X-Long: {}\r\nSubject: lost\r\n\r\n", "x".repeat(200_000));
    for (inner, name) in [(inner, "found.eml"), (late, "message.eml")] {
        let head = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64";
        let raw = multipart("mixed", &[(head, &BASE64_STANDARD.encode(&inner))]);
        let mail = parse(&raw);
        let attached = &mail.attachments[0];
        assert_eq!((attached.name.as_deref(), attached.size), (Some(name), inner.len() as u64));
    }
}

#[test]
fn uuencoded_files_leave_the_text_and_become_attachments() {
    let raw = multipart(
        "mixed",
        &[("Content-Type: text/plain", &format!("Hi,\r\n{CAT}Bye\r\n{CAT}")), ("Content-Type: text/html", "<p>x")],
    );
    let mail = parse(&raw);
    assert_eq!(text(&mail).lines().take(2).collect::<Vec<_>>(), ["Hi,", "Bye"]);
    let seen: Vec<_> = mail.attachments.iter().map(|it| (it.part_id.as_str(), it.name.as_deref())).collect();
    assert_eq!(seen, [("1.uu.1", Some("cat.txt")), ("1.uu.2", Some("cat.txt"))]);
    assert!(mail.attachments.iter().all(|it| &*it.bytes(&raw) == b"Cat" && it.origin == Origin::Mime));
    assert!(mail.has_attachments() && !mail.html.as_ref().unwrap().original.value.contains("begin"));
    let quoted =
        parse(b"Content-Transfer-Encoding: quoted-printable\r\n\r\nbegin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\n");
    assert_eq!((text(&quoted), quoted.attachments.len()), ("", 1));
    let sentence = b"Subject: x\r\n\r\nbegin 644 is how it starts,\r\nand so on to the\r\nend\r\n";
    assert_eq!((parse(sentence).attachments.len(), text(&parse(sentence)).len()), (0, 49));
}

#[test]
fn a_part_that_is_uuencoded_as_a_whole_is_decoded() {
    for encoding in ["x-uuencode", "X-UUE", "uuencode"] {
        let head = format!("Content-Type: application/pdf\r\nContent-Transfer-Encoding: {encoding}");
        let raw = multipart("mixed", &[(&head, CAT)]);
        let mail = parse(&raw);
        let cat = &mail.attachments[0];
        assert_eq!(
            (&*cat.bytes(&raw), cat.name.as_deref(), cat.kind.as_str()),
            (&b"Cat"[..], Some("cat.txt"), "application/pdf")
        );
        assert_eq!(cat.sha256, sha256_hex(b"Cat"));
        let broken = multipart("mixed", &[(&head, "no file at all")]);
        assert_eq!(&*parse(&broken).attachments[0].bytes(&broken), b"no file at all");
    }
}

/// What it is about, the kind of multipart, its parts, how the second is disposed, and whether the mail has attachments.
type Case = (&'static str, &'static str, Vec<(&'static str, &'static str)>, Disposition, bool);

#[test]
fn each_part_is_where_it_belongs() {
    let html = ("Content-Type: text/html", "<p><img src=\"cid:a@x\"><img src=\"logo.png\">");
    let plain = ("Content-Type: text/plain", "text");
    let png = |head: &'static str| (head, "png");
    let cases: [Case; 13] = [
        (
            "an image the HTML shows",
            "related",
            vec![html, png("Content-Type: image/png\r\nContent-ID: <a@x>")],
            Inline,
            false,
        ),
        (
            "… though it is called a file",
            "related",
            vec![
                html,
                png("Content-Type: image/png\r\nContent-ID: <a@x>\r\nContent-Disposition: attachment; filename=a.png"),
            ],
            Inline,
            false,
        ),
        (
            "… and stands outside",
            "mixed",
            vec![html, png("Content-Type: image/png; name=a.png\r\nContent-ID: <a@x>")],
            Inline,
            false,
        ),
        (
            "an image by its address",
            "related",
            vec![html, png("Content-Type: image/png\r\nContent-Location: logo.png")],
            Inline,
            false,
        ),
        (
            "an image nothing shows",
            "mixed",
            vec![
                plain,
                png("Content-Type: image/png; name=a.png\r\nContent-ID: <b@x>\r\nContent-Disposition: attachment"),
            ],
            Attachment,
            true,
        ),
        (
            "a photograph a telephone sends",
            "mixed",
            vec![
                plain,
                png("Content-Type: image/jpeg; name=IMG_1.jpg\r\nContent-Disposition: inline; filename=IMG_1.jpg"),
            ],
            Inline,
            true,
        ),
        (
            "a document that hides inline",
            "mixed",
            vec![plain, ("Content-Type: application/pdf\r\nContent-Disposition: inline; filename=a.pdf", "pdf")],
            Inline,
            true,
        ),
        (
            "a text that is a file",
            "mixed",
            vec![plain, ("Content-Type: text/csv\r\nContent-Disposition: attachment; filename=a.csv", "a;b")],
            Attachment,
            true,
        ),
        (
            "a text that has a name",
            "mixed",
            vec![plain, ("Content-Type: text/plain; name=a.log", "log")],
            Attachment,
            true,
        ),
        ("an image without a name", "mixed", vec![plain, png("Content-Type: image/png")], Inline, false),
        (
            "a file without a type",
            "mixed",
            vec![plain, ("Content-Disposition: attachment; filename=a.bin", "bin")],
            Attachment,
            true,
        ),
        (
            "a calendar beside the text",
            "alternative",
            vec![plain, ("Content-Type: text/calendar; method=REQUEST", "BEGIN:VCALENDAR")],
            Inline,
            false,
        ),
        (
            "a signature",
            "mixed",
            vec![plain, ("Content-Type: application/pgp-signature; name=signature.asc", "x")],
            Attachment,
            false,
        ),
    ];
    for (what, kind, parts, disposition, has_attachments) in cases {
        let raw = multipart(kind, &parts);
        let mail = parse(&raw);
        let found = mail.attachments.iter().map(|it| it.disposition).collect::<Vec<_>>();
        assert_eq!(found, [disposition], "{what}");
        assert_eq!(mail.has_attachments(), has_attachments, "{what}");
        assert_eq!(&*mail.attachments[0].bytes(&raw), parts[1].1.as_bytes(), "{what}");
    }
    let image = parse(b"Content-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n\r\nQ2F0\r\n");
    assert_eq!((image.attachments.len(), image.attachments[0].size), (1, 3), "a mail that is an image");
}

#[test]
fn a_name_is_read_however_it_is_written_and_cannot_do_harm() {
    for (written, name) in [
        ("filename*=utf-8''%e2%82%ac%20rates.pdf", Some("€ rates.pdf")),
        ("filename*0*=utf-8'en'%e2%82; filename*1*=%ac; filename*2=\".pdf\"", Some("€.pdf")),
        ("filename*0=\"very long \"; filename*1=\"name.pdf\"", Some("very long name.pdf")),
        ("filename*=windows-1251''%cf%f0%e8.pdf", Some("При.pdf")),
        ("filename*=shift_jis''%83e%83X%83g.txt", Some("テスト.txt")),
        ("filename=\"=?utf-8?B?4oKsLnBkZg==?=\"", Some("€.pdf")),
        ("filename=\"=?iso-2022-jp?B?GyRCJU8bKEI=?= =?iso-2022-jp?B?GyRCJU8bKEI=?=.txt\"", Some("ハハ.txt")),
        ("filename=\"=?utf-8?Q?a=C3?= =?utf-8?Q?=BC.pdf?=\"", Some("aü.pdf")),
        ("filename=\"Gr\u{fc}\u{df}e.pdf\"", Some("Grüße.pdf")),
        ("filename=\"..\\..\\windows\\win.ini\"", Some("win.ini")),
        ("filename=\"../../etc/passwd\"", Some("passwd")),
        ("filename*=utf-8''..%2F..%2Fetc%2Fpasswd", Some("passwd")),
        ("filename*=utf-8''a%00b%0d%0a.txt", Some("ab  .txt")),
        ("filename*=utf-8''txt.%e2%80%aeexe", Some("txt.exe")),
        ("filename=\"=?utf-8?B?Li4vYQ==?=\"", Some("a")),
        ("filename=\"..\"", None),
        ("filename=\"\"", None),
    ] {
        let head = format!("Content-Type: application/pdf\r\nContent-Disposition: attachment; {written}");
        assert_eq!(parse(&multipart("mixed", &[(&head, "x")])).attachments[0].name.as_deref(), name, "{written}");
    }
}

#[test]
fn a_header_without_encoding_is_in_the_character_set_of_the_text() {
    let mail = |subject: &[u8], charset: &str, kind: &str| {
        let inner = format!(
            "\r\nContent-Type: multipart/{kind}; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset={charset}\r\n\r\nx\r\n--b--\r\n"
        );
        parse(&[b"Subject: ", subject, b"\r\nFrom: ", subject, b" <a@x.de>", inner.as_bytes()].concat())
    };
    for (subject, charset, meant) in [
        (&b"\x83e\x83X\x83g"[..], "shift_jis", "テスト"),
        (b"\xc4\xe3\xba\xc3", "gb2312", "你好"),
        (b"\xcf\xf0\xe8\xe2\xe5\xf2", "windows-1251", "Привет"),
        (b"Gr\xfc\xdfe", "iso-8859-1", "Grüße"),
        (b"Gr\xfc\xdfe", "utf-8", "Grüße"),
        ("Grüße".as_bytes(), "shift_jis", "Grüße"),
    ] {
        let mail = mail(subject, charset, "mixed");
        assert_eq!(mail.subject.as_deref(), Some(meant), "{charset}");
        assert_eq!(mail.from[0].name.as_deref(), Some(meant), "{charset}");
    }
}

#[test]
fn protection_is_seen_in_every_form() {
    let text = |body: &str| format!("Content-Type: text/plain\r\n\r\n{body}").into_bytes();
    let protocol = |kind: &str, protocol: &str| {
        format!("Content-Type: multipart/{kind}; protocol=\"{protocol}\"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n")
            .into_bytes()
    };
    let named =
        |name: &str| multipart("mixed", &[(&format!("Content-Type: application/octet-stream; name={name}"), "x")]);
    for (raw, smime, pgp, irm) in [
        (protocol("signed", "application/pgp-signature"), Smime::None, Pgp::Signed, false),
        (protocol("encrypted", "application/pgp-encrypted"), Smime::None, Pgp::Encrypted, false),
        (protocol("signed", "application/pkcs7-signature"), Smime::Signed, Pgp::None, false),
        (protocol("signed", "application/x-unknown"), Smime::None, Pgp::None, false),
        (
            text("-----BEGIN PGP MESSAGE-----\r\n\r\nhQ\r\n-----END PGP MESSAGE-----"),
            Smime::None,
            Pgp::Encrypted,
            false,
        ),
        (text("Hi\r\n-----BEGIN PGP SIGNED MESSAGE----- \r\nHash: SHA256"), Smime::None, Pgp::Signed, false),
        (text("> -----BEGIN PGP MESSAGE-----\r\n"), Smime::None, Pgp::None, false),
        (text("what is -----BEGIN PGP MESSAGE-----?"), Smime::None, Pgp::None, false),
        (b"Content-Type: application/pgp; x-action=sign\r\n\r\nx".to_vec(), Smime::None, Pgp::Signed, false),
        (named("message_v2.rpmsg"), Smime::None, Pgp::None, true),
        (named("message_v4.RPMSG"), Smime::None, Pgp::None, true),
        (named("message.rpmsg"), Smime::None, Pgp::None, true),
        (named("rpmsg.txt"), Smime::None, Pgp::None, false),
    ] {
        let seen = parse(&raw).security;
        assert_eq!((seen.smime, seen.pgp, seen.irm), (smime, pgp, irm), "{}", raw.escape_ascii());
    }
}
