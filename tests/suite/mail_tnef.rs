//! winmail.dat: written here as Outlook writes it, and read with everything that can be wrong with it.

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use mailspan::mail::attachment::{Attachment, Disposition, Origin};
use mailspan::mail::parse::{Mail, parse};
use mailspan::mail::tnef::{self, Unpacked};
use proptest::prelude::*;

use super::mail_interaction::render;

/// A winmail.dat in the making.
#[derive(Clone)]
struct Tnef(Vec<u8>);

impl Tnef {
    fn new() -> Self {
        let tnef = Self([&0x223e_9f78_u32.to_le_bytes()[..], &[1, 0]].concat());
        tnef.attribute(1, 0x0008_9006, &0x0001_0000_u32.to_le_bytes()).code_page(1252)
    }

    fn attribute(mut self, level: u8, id: u32, bytes: &[u8]) -> Self {
        let checksum = bytes.iter().fold(0_u16, |sum, it| sum.wrapping_add(u16::from(*it)));
        self.0.push(level);
        self.0.extend(id.to_le_bytes());
        self.0.extend((bytes.len() as u32).to_le_bytes());
        self.0.extend(bytes);
        self.0.extend(checksum.to_le_bytes());
        self
    }

    fn code_page(self, number: u32) -> Self {
        self.attribute(1, 0x0006_9007, &[number.to_le_bytes(), [0; 4]].concat())
    }

    fn mail(self, properties: &[Property]) -> Self {
        self.attribute(1, 0x0006_9003, &list(properties))
    }

    /// A file as Outlook writes it: a title in eight letters, and all else in properties.
    fn file(self, title: &str, bytes: Option<&[u8]>, properties: &[Property]) -> Self {
        let mut tnef = self.attribute(2, 0x0006_9002, &[0; 14]);
        tnef = tnef.attribute(2, 0x0001_8010, &[title.as_bytes(), &[0]].concat());
        if let Some(bytes) = bytes {
            tnef = tnef.attribute(2, 0x0006_800f, bytes);
        }
        tnef.attribute(2, 0x0006_9005, &list(properties))
    }

    fn bytes(&self) -> Bytes {
        self.0.clone().into()
    }
}

enum Property {
    Number(u16, u32),
    Unicode(u16, &'static str),
    String8(u16, &'static [u8]),
    Binary(u16, Vec<u8>),
    /// A mail in the mail.
    Mail(Vec<u8>),
    /// One with a name, as Outlook has many.
    Named,
}

fn list(properties: &[Property]) -> Vec<u8> {
    let mut out = (properties.len() as u32).to_le_bytes().to_vec();
    for property in properties {
        let (kind, id, value): (u16, u16, Vec<u8>) = match property {
            Property::Number(id, number) => {
                out.extend([3_u16.to_le_bytes(), id.to_le_bytes()].concat());
                out.extend(number.to_le_bytes());
                continue;
            }
            Property::Unicode(id, text) => {
                (0x1f, *id, text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect())
            }
            Property::String8(id, bytes) => (0x1e, *id, [bytes, &[0_u8][..]].concat()),
            Property::Binary(id, bytes) => (0x102, *id, bytes.clone()),
            Property::Mail(bytes) => (0x0d, 0x3701, [&MAIL_INTERFACE[..], bytes].concat()),
            Property::Named => (0x1f, 0x8005, vec![b'x', 0, 0, 0]),
        };
        out.extend([kind.to_le_bytes(), id.to_le_bytes()].concat());
        if id >= 0x8000 {
            out.extend([0x29; 16]);
            out.extend([1_u32, 6].map(u32::to_le_bytes).concat());
            out.extend([b'a', 0, b'b', 0, 0, 0, 0, 0]);
        }
        out.extend([1, value.len() as u32].map(u32::to_le_bytes).concat());
        out.extend(&value);
        out.resize(out.len().next_multiple_of(4).max(out.len() + (4 - value.len() % 4) % 4), 0);
    }
    out
}

const MAIL_INTERFACE: [u8; 16] = [7, 3, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];

/// Compressed RTF without any compression: all literals, and the end.
fn compressed(rtf: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut write = 207;
    let mut chunks = rtf.chunks(8).peekable();
    while let Some(chunk) = chunks.next() {
        let is_last = chunks.peek().is_none() && chunk.len() < 8;
        body.push(if is_last { 1 << chunk.len() } else { 0 });
        body.extend(chunk);
        write = (write + chunk.len()) % 4096;
        if is_last {
            body.extend(((write as u16) << 4).to_be_bytes());
        }
    }
    if rtf.len().is_multiple_of(8) {
        body.push(1);
        body.extend(((write as u16) << 4).to_be_bytes());
    }
    let crc = body.iter().fold(0_u32, |crc, byte| {
        let mut low = (crc ^ u32::from(*byte)) & 0xff;
        for _ in 0..8 {
            low = if low & 1 == 1 { 0xedb8_8320 ^ (low >> 1) } else { low >> 1 };
        }
        low ^ (crc >> 8)
    });
    let head = [body.len() as u32 + 12, rtf.len() as u32, 0x7546_5a4c, crc];
    [head.map(u32::to_le_bytes).concat(), body].concat()
}

const HTML_IN_RTF: &[u8] = br"{\rtf1\ansi\ansicpg1252\fromhtml1{\fonttbl{\f0 Arial;}}{\*\htmltag64 <p>}Gr\'fc\'dfe \htmlrtf{\f0\htmlrtf0 aus{\*\htmltag84 <img src=cid:logo@x>}\htmlrtf}\htmlrtf0{\*\htmltag72 </p>}}";

/// A winmail.dat with all there is.
fn full() -> Tnef {
    let inner = Tnef::new()
        .mail(&[Property::Unicode(0x0037, "Re: inner / mail"), Property::Unicode(0x1000, "inner text")])
        .file("IN.TXT", Some(b"within"), &[Property::Unicode(0x3707, "inside.txt")]);
    Tnef::new()
        .mail(&[
            Property::Named,
            Property::Number(0x0017, 1),
            Property::String8(0x1000, b"Gr\xfc\xdfe"),
            Property::Binary(0x1009, compressed(HTML_IN_RTF)),
        ])
        .file(
            "UBERSI~1.PDF",
            Some(b"%PDF-1.7"),
            &[Property::Unicode(0x3707, "..\\Übersicht 2026.pdf"), Property::Unicode(0x370e, "Application/PDF")],
        )
        .file(
            "logo.png",
            None,
            &[
                Property::Binary(0x3701, b"PNG".to_vec()),
                Property::Unicode(0x3712, "<logo@x>"),
                Property::Number(0x3714, 4),
            ],
        )
        .file("Untitled", Some(b"icon"), &[Property::Number(0x3705, 5), Property::Named, Property::Mail(inner.0)])
}

fn mail(text: &str, tnef: &[u8]) -> Vec<u8> {
    let tnef = BASE64_STANDARD.encode(tnef);
    format!(
        "From: eva@example.net\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n\
         --b\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=winmail.dat\r\n\r\n{tnef}\r\n--b--\r\n"
    )
    .into_bytes()
}

fn text(mail: &Mail) -> Option<&str> {
    mail.text.as_ref().map(|it| it.value.as_str())
}

fn named<'a>(mail: &'a Mail, part: &str) -> &'a Attachment {
    mail.attachments.iter().find(|it| it.part_id == part).unwrap_or_else(|| panic!("no part {part}"))
}

#[test]
fn a_winmail_is_unpacked_and_stays() {
    let raw = mail("", &full().0);
    let mail = parse(&raw);
    let seen: Vec<_> = mail
        .attachments
        .iter()
        .map(|it| (it.part_id.as_str(), it.name.as_deref().unwrap_or_default(), it.kind.as_str(), it.origin))
        .collect();
    assert_eq!(
        seen,
        [
            ("2", "winmail.dat", "application/ms-tnef", Origin::Mime),
            ("2.tnef.1", "Übersicht 2026.pdf", "application/pdf", Origin::Tnef),
            ("2.tnef.2", "logo.png", "application/octet-stream", Origin::Tnef),
            ("2.tnef.3", "Re  inner   mail.dat", "application/ms-tnef", Origin::Tnef),
            ("2.tnef.3.1", "inside.txt", "application/octet-stream", Origin::Tnef),
        ]
    );
    assert_eq!(&*named(&mail, "2").bytes(&raw), &full().0[..]);
    for (part, bytes) in [("2.tnef.1", &b"%PDF-1.7"[..]), ("2.tnef.2", b"PNG"), ("2.tnef.3.1", b"within")] {
        let found = named(&mail, part);
        assert_eq!((&*found.bytes(&raw), found.size), (bytes, bytes.len() as u64), "{part}");
        assert_eq!(found.sha256, mailspan::model::ids::sha256_hex(bytes), "{part}");
    }
    let inner = Bytes::from(named(&mail, "2.tnef.3").bytes(&raw).into_owned());
    assert_eq!(tnef::unpack(&inner).unwrap().text.as_deref(), Some("inner text"));
    assert_eq!(
        (named(&mail, "2.tnef.2").disposition, named(&mail, "2.tnef.1").disposition),
        (Disposition::Inline, Disposition::Attachment)
    );
    assert!(mail.security.tnef && mail.has_attachments() && mail.problems.is_empty(), "{:?}", mail.problems);
    let body = render(&raw, 1 << 20, None);
    assert_eq!(super::mail_schema::violations(&body), Vec::<String>::new());
    assert_eq!(body["data"]["message"]["attachments"][1]["content"], BASE64_STANDARD.encode("%PDF-1.7"));
    assert_eq!(body["data"]["message"]["attachments"][1]["origin"], "tnef");
}

#[test]
fn its_text_is_shown_where_the_mail_has_none_of_its_own() {
    let with = parse(&mail("Own words", &full().0));
    assert_eq!((text(&with), with.html.is_none()), (Some("Own words"), true));
    let without = parse(&mail("", &full().0));
    assert_eq!(text(&without), Some("Grüße"));
    let html = without.html.as_ref().unwrap();
    assert_eq!(html.original.value, "<p>Grüße aus<img src=cid:logo@x></p>");
    assert!(html.sanitised().unwrap().contains("cid:logo"), "{:?}", html.sanitised());
    assert_eq!(without.preview, "Grüße");
}

fn unpacked(tnef: &Tnef) -> Unpacked {
    tnef::unpack(&tnef.bytes()).unwrap()
}

#[test]
fn a_body_is_read_in_every_form() {
    let rtf = br"{\rtf1\ansi\fromtext one\par two}";
    for (tnef, text, html) in [
        (Tnef::new().attribute(1, 0x0002_800c, b"Gr\xfc\xdfe\r\nEva\0"), Some("Grüße\nEva"), None),
        (Tnef::new().mail(&[Property::Unicode(0x1000, "日本語\r\n")]), Some("日本語\n"), None),
        (Tnef::new().code_page(932).mail(&[Property::String8(0x1000, b"\x83e\x83X\x83g")]), Some("テスト"), None),
        (Tnef::new().mail(&[Property::Binary(0x1009, compressed(rtf))]), Some("one\ntwo"), None),
        (
            Tnef::new().mail(&[Property::Binary(0x1013, b"<p>\xcf\xf0".to_vec()), Property::Number(0x3fde, 1251)]),
            None,
            Some("<p>Пр"),
        ),
        (Tnef::new().mail(&[Property::Unicode(0x1013, "<p>ü")]), None, Some("<p>ü")),
        (Tnef::new().mail(&[Property::Binary(0x1009, b"no rtf".to_vec())]), None, None),
        (Tnef::new(), None, None),
    ] {
        let unpacked = unpacked(&tnef);
        assert_eq!((unpacked.text.as_deref(), unpacked.html.as_deref()), (text, html));
    }
}

#[test]
fn what_is_wrong_is_said_and_the_rest_is_read() {
    let cut = |end: usize| Tnef(full().0[..full().0.len() - end].to_vec());
    let mut checksum = full();
    *checksum.0.last_mut().unwrap() ^= 1;
    let mut crc = compressed(HTML_IN_RTF);
    crc[12] ^= 1;
    let damaged = Tnef::new().mail(&[Property::Binary(0x1009, crc)]).file("a.txt", Some(b"x"), &[]);
    let nameless = Tnef::new().attribute(2, 0x0006_9002, &[0; 14]).file("b.txt", Some(b"x"), &[]);
    for (tnef, files, problem) in [
        (cut(100), 3, "a winmail.dat is cut off"),
        (checksum, 4, "a checksum in a winmail.dat is wrong"),
        (damaged, 1, "the text in a winmail.dat is damaged"),
        (nameless, 1, "a file in a winmail.dat has no bytes"),
    ] {
        let unpacked = unpacked(&tnef);
        assert!(unpacked.problems.contains(&problem), "{problem}: {:?}", unpacked.problems);
        assert_eq!(unpacked.files.len(), files, "{problem}");
    }
    assert!(tnef::unpack(&Bytes::from_static(b"no winmail.dat at all")).is_none());
    let raw = mail("text", b"no winmail.dat at all");
    assert_eq!((parse(&raw).attachments.len(), parse(&raw).has_attachments()), (1, true));
}

#[test]
fn a_winmail_that_holds_nothing_but_the_text_is_no_file() {
    let mail = parse(&mail("", &Tnef::new().mail(&[Property::Unicode(0x1000, "Hello")]).0));
    assert_eq!((text(&mail), mail.has_attachments(), mail.attachments.len()), (Some("Hello"), false, 1));
}

#[test]
fn nesting_and_numbers_are_bounded() {
    let mut nested = Tnef::new().file("innermost.txt", Some(b"x"), &[]);
    for _ in 0..20 {
        nested = Tnef::new().file("mail", None, &[Property::Number(0x3705, 5), Property::Mail(nested.0)]);
    }
    let found = unpacked(&nested);
    assert_eq!((found.files.len(), found.files[7].path.as_str()), (8, "1.1.1.1.1.1.1.1"));
    assert_eq!(found.problems, ["mails in a winmail.dat are nested too deep"]);
    let mut many = Tnef::new();
    for _ in 0..10_100 {
        many = many.file("a", Some(b"x"), &[]);
    }
    let found = unpacked(&many);
    assert_eq!((found.files.len(), found.problems), (10_000, vec!["a winmail.dat holds more than 10000 files"]));
}

/// Samples of others are read where they are at hand: `MAILSPAN_TNEF_SAMPLE` names a folder of winmail.dat files.
#[test]
fn all_samples_are_read() {
    let Some(folder) = std::env::var_os("MAILSPAN_TNEF_SAMPLE") else {
        println!("no samples here; MAILSPAN_TNEF_SAMPLE names a folder of them");
        return;
    };
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let found = tnef::unpack(&std::fs::read(&path).unwrap().into());
        let found = found.unwrap_or_else(|| panic!("{} is no winmail.dat", path.display()));
        let texts =
            [&found.text, &found.html].map(|it| it.as_deref().map(|it| it.chars().take(60).collect::<String>()));
        println!("{}: {texts:?} {:?}", path.display(), found.problems);
        for file in found.files {
            println!("  {} {:?} {:?} {} bytes", file.path, file.name, file.kind, file.bytes.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_whatever_are_too_much(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..4_u8), 0..12),
        tail: Vec<u8>,
    ) {
        let mut tnef = full().0;
        for (index, byte, edit) in edits {
            let at = index.index(tnef.len().max(1));
            match edit {
                0 | 1 if at < tnef.len() => tnef[at] = byte,
                2 => tnef.insert(at, byte),
                _ => tnef.truncate(at.max(200)),
            }
        }
        let _ = tnef::unpack(&tnef.clone().into());
        let _ = tnef::unpack(&[&full().0[..6], &tail].concat().into());
        let raw = mail("", &tnef);
        prop_assert!(!parse(&raw).problems.contains(&"the parser refused it"));
        prop_assert_eq!(super::mail_schema::violations(&render(&raw, 10, None)), Vec::<String>::new());
    }
}
