//! What holds of any bytes: asked by the fuzzer of bytes nobody wrote, and by a test of the seeds beside it.
//!
//! The HTML is read by a scanner of its own, which shares nothing with the sanitiser it judges: it accepts only
//! well-formed tags with quoted values, so that whatever it cannot read is a finding.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use mailspan::mail::addresses;
use mailspan::mail::beside::Beside;
use mailspan::mail::calendar;
use mailspan::mail::charset;
use mailspan::mail::classify::classify;
use mailspan::mail::compose::{Limits, Raw, author, raw};
use mailspan::mail::digest::content_digest;
use mailspan::mail::facts::Thread;
use mailspan::mail::header::{Field, Fields};
use mailspan::mail::html;
use mailspan::mail::html_text::to_text;
use mailspan::mail::interaction::{Handover, Prepared, Source};
use mailspan::mail::parameters::{Parameterised, file_name};
use mailspan::mail::parse::{Mail, parse};
use mailspan::mail::passing::Passing;
use mailspan::mail::places;
use mailspan::mail::privacy::without_bcc;
use mailspan::mail::shared::{RemoteImages, Shared};
use mailspan::mail::tnef;
use mailspan::mail::transfer::TransferEncoding;
use mailspan::mail::uuencode;
use mailspan::model::address::Address;
use mailspan::model::ids::sha256_hex;
use mailspan::model::route::MatchedBy;
use serde_json::Value;

/// Attachments up to this size are put into the interaction.
const INLINE: u64 = 16 * 1024;
/// What was cut at 1 MiB grows by what the sanitiser adds, and by elements HTML opens again; not without bounds.
const LONGEST_HTML: usize = 8 << 20;

/// A mail of these bytes becomes an interaction that is true of it, and that nobody is harmed by.
pub(crate) fn interaction(raw: &[u8]) {
    let mail = parse(raw);
    let event = event(&mail, raw);
    let event: Value = serde_json::from_slice(&event).expect("the interaction is not JSON");
    let message = &event["data"]["message"];
    assert_eq!(message["size"], raw.len());
    if let Some(html) = message["htmlBody"]["value"].as_str() {
        harmless(html);
    }
    assert!(message["preview"].as_str().is_some_and(|it| it.chars().count() <= 256), "the preview is long");

    let rendered = message["attachments"].as_array().expect("no list of attachments");
    assert_eq!(rendered.len(), mail.attachments.len());
    let mut ids = HashSet::new();
    for (attachment, rendered) in mail.attachments.iter().zip(rendered) {
        let bytes = attachment.bytes(raw);
        assert_eq!(attachment.size, bytes.len() as u64, "a size is wrong");
        assert_eq!(attachment.sha256, sha256_hex(&bytes), "a digest is wrong");
        assert!(ids.insert(&attachment.part_id), "two attachments have the id {:?}", attachment.part_id);
        assert!(attachment.name.as_deref().is_none_or(is_name), "{:?} is no file name", attachment.name);
        assert_eq!(rendered["size"], attachment.size);
    }
    assert_eq!(content_digest(&mail), content_digest(&parse(raw)), "the same mail has two digests");
    for place in places::of(&mail, raw) {
        let Some(written) = place.written else { continue };
        let stands = usize::try_from(written.start).unwrap_or(0)..usize::try_from(written.end).unwrap_or(0);
        assert_eq!(passed(written.encoding, &raw[stands]), place.sha256, "what is passed on is not what is attached");
    }
    let (kept, _) = without_bcc(Bytes::copy_from_slice(raw));
    assert!(without_bcc(kept.clone()).1.is_empty(), "a Bcc field is left");
    assert!(kept.len() <= raw.len());
    for part in &mail.parts {
        assert!(part.body.start <= part.body.end && part.body.end <= raw.len(), "a part lies outside of the mail");
    }
}

/// HTML of these bytes becomes HTML that nobody is harmed by, also when it is made safe a second time; and text.
pub(crate) fn sanitise(input: &[u8]) {
    let written = String::from_utf8_lossy(input);
    let _ = html::content_ids(&written);
    let _ = html::charset(input);
    let _ = html::text_of_any(&written);
    let Some(clean) = html::sanitise(&written) else { return };
    harmless(&clean);
    let _ = to_text(&clean);
    if let Some(again) = html::sanitise(&clean) {
        harmless(&again);
    }
}

/// A header field with this value is read by every grammar there is.
pub(crate) fn headers(input: &[u8]) {
    let (label, value) = input.split_at(input.iter().position(|it| *it == b'\n').unwrap_or(0));
    let value = charset::unlabelled(value).replace(['\r', '\n'], "");
    let _ = charset::decode(std::str::from_utf8(label).ok(), input);
    let field = Field { name: "to".into(), value };
    let _ = field.text();
    let _ = addresses::date(&field.value);
    let read = Parameterised::read(&field.value);
    for name in ["filename", "name", "charset", "boundary"] {
        if let Some(name) = read.parameter(name).and_then(file_name) {
            assert!(is_name(&name), "{name:?} is no file name");
        }
    }
    let fields = Fields(vec![field]);
    let _ = addresses::list(&fields, "to");
    let ids = addresses::message_ids(&fields, "to");
    assert!(ids.iter().all(|it| !it.is_empty() && !it.contains(char::is_whitespace)), "an id with a blank");
}

/// Whatever transfer encoding these bytes are said to have, they are decoded.
pub(crate) fn transfer(input: &[u8]) {
    for encoding in [TransferEncoding::Identity, TransferEncoding::Base64, TransferEncoding::QuotedPrintable] {
        let bytes = encoding.decode(input);
        assert!(bytes.len() <= input.len(), "decoding made more of it");
        assert_eq!(passed(encoding, input), sha256_hex(&bytes), "decoding in pieces makes something else of it");
    }
    let text = charset::unlabelled(input);
    let files = uuencode::files(text.as_bytes());
    assert!(files.iter().map(|it| it.bytes.len()).sum::<usize>() <= text.len(), "files out of nothing");
    assert!(uuencode::without(&text, &files).len() <= text.len());
}

/// A winmail.dat of these bytes is unpacked, by itself and as part of a mail; it never holds much more than it weighs.
pub(crate) fn tnef(input: &[u8]) {
    if let Some(unpacked) = tnef::unpack(&Bytes::copy_from_slice(input)) {
        let most = input.len() * 16 + 4096;
        assert!(unpacked.files.iter().map(|it| it.bytes.len()).sum::<usize>() <= most, "files out of nothing");
        assert!(unpacked.text.is_none_or(|it| it.len() <= most), "a text out of nothing");
        assert!(unpacked.html.is_none_or(|it| it.len() <= most), "HTML out of nothing");
        assert!(unpacked.files.iter().all(|it| it.name.as_deref().is_none_or(is_name)), "no file name");
    }
    let mut mail = b"From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: application/ms-tnef\r\n\r\n".to_vec();
    mail.extend_from_slice(input);
    interaction(&mail);
}

/// A calendar of these bytes is read; what is said of the meeting is what the interaction may say.
pub(crate) fn calendar(input: &[u8]) {
    let text = charset::unlabelled(input);
    let Some(read) = calendar::read(&text, None) else { return };
    if let Some(start) = read.start {
        let digits = |it: &str| it.bytes().filter(u8::is_ascii_digit).count();
        assert!(digits(&start) >= 8 && start.is_ascii(), "{start:?} is no time");
    }
}

/// SHA-256 of what is passed on piece by piece, in pieces of an odd size.
fn passed(encoding: TransferEncoding, written: &[u8]) -> String {
    let mut passing = Passing::new(encoding);
    let mut all: Vec<u8> = written.chunks(61).flat_map(|piece| passing.pass(piece)).collect();
    all.extend(passing.finish());
    sha256_hex(&all)
}

/// A mail of these bytes, handed in to be sent, leaves as one that travels, from one person to those of its envelope;
/// or there is a reason why not.
pub(crate) fn outgoing(input: &[u8]) {
    let address = |text: &str| Address::parse(text).expect("an address");
    let (mail, sender) = (Bytes::copy_from_slice(input), address("support@contoso.com"));
    let recipients = [address("ann@example.org"), address("bob@example.org")];
    let handed = Raw {
        mail: &mail,
        sender: Some(&sender),
        recipients: Some(&recipients),
        id: "sub_00112233445566778899aabbccddeeff",
        date: 1_795_286_553_123,
        keeps_message_id: true,
    };
    match raw(&handed, &Limits::default()) {
        Err(problems) => assert!(!problems.is_empty(), "refused for no reason"),
        Ok(outgoing) => {
            let text = String::from_utf8_lossy(&outgoing.mime);
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "a lone end of a line");
            assert!(outgoing.mime.split(|it| *it == b'\n').all(|it| it.len() <= 999), "a long line");
            assert!(text.split("\r\n\r\n").next().is_some_and(str::is_ascii), "a header beyond ASCII");
            let read = parse(&outgoing.mime);
            assert_eq!(read.from.len(), 1, "from more than one");
            assert_eq!(read.message_ids, [outgoing.message_id.as_str()], "another Message-ID");
            assert_eq!(read.to.len() + read.cc.len() + read.bcc.len(), outgoing.recipients(), "others get it");
            let said = author(input, Some(&sender)).map(|it| it.email);
            assert_eq!(said.as_deref(), Some(outgoing.from.email.as_str()), "from another than was checked");
        }
    }
}

/// A mail as a route's webhook would send it.
fn event(mail: &Mail, raw: &[u8]) -> Vec<u8> {
    let mailbox = Address::parse("support@contoso.com").expect("an address");
    let (classification, sha256, thread) =
        (classify(mail, raw, &Beside::default()), sha256_hex(raw), Thread::alone("mk_1"));
    let shared = Shared::new(mail).expect("the texts are not JSON");
    let source = Source {
        tenant: "contoso",
        message_key: "mk_1",
        mailbox: &mailbox,
        folder: "inbox",
        immutable_id: "AAkALg",
        conversation_id: None,
        internet_message_id: None,
        received_at: 1_795_286_553_123,
        raw_sha256: &sha256,
        classification: &classification,
        calendar: mail.calendar.as_ref(),
    };
    let attributes = BTreeMap::new();
    let handover = Handover {
        interaction_id: "ix_1",
        route: "flow",
        matched_by: MatchedBy::Recipient,
        matched_recipient: Some(&mailbox),
        fan_out_index: 0,
        fan_out_count: 1,
        attributes: &attributes,
        bcc: &[],
        headers: None,
        remote_images: RemoteImages::Keep,
        inline_limit: Some(INLINE),
        beside: false,
        links: None,
        thread: &thread,
    };
    Prepared::new(mail, raw, &shared, source).event(&handover).expect("the interaction is not JSON")
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty()
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c.is_control() || "/\\".contains(c))
}

/// Elements that run, load, submit, or change how what follows is read.
const FORBIDDEN: &[&str] = &[
    "animate",
    "annotation-xml",
    "applet",
    "audio",
    "base",
    "body",
    "button",
    "embed",
    "form",
    "frame",
    "frameset",
    "head",
    "html",
    "iframe",
    "image",
    "input",
    "isindex",
    "link",
    "listing",
    "math",
    "meta",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "option",
    "param",
    "plaintext",
    "script",
    "select",
    "set",
    "source",
    "style",
    "svg",
    "template",
    "textarea",
    "title",
    "track",
    "video",
    "xmp",
];
/// Attributes that hold an address.
const ADDRESSES: &[&str] = &["href", "src", "cite", "background", "poster", "action", "data", "longdesc"];

/// Fails when this HTML could run, load from, or submit to anything.
fn harmless(html: &str) {
    assert!(html.len() <= LONGEST_HTML, "{} bytes of HTML", html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = tag(&rest[at + 1..]);
    }
}

/// Judges the tag that begins here. Returns what follows it.
fn tag(text: &str) -> &str {
    let inside = text.strip_prefix('/').unwrap_or(text);
    let (name, mut rest) = split_word(inside);
    let place: String = text.chars().take(60).collect();
    assert!(name.starts_with(|c: char| c.is_ascii_alphabetic()), "no tag: <{place}");
    assert!(!FORBIDDEN.contains(&name.to_ascii_lowercase().as_str()), "forbidden: <{place}");
    loop {
        if let Some(after) = rest.strip_prefix('>') {
            return after;
        }
        let (attribute, after) = split_word(rest.strip_prefix(' ').unwrap_or_else(|| panic!("no tag: <{place}")));
        let value = after.strip_prefix("=\"").and_then(|it| it.split_once('"'));
        let (value, after) = value.unwrap_or_else(|| panic!("an attribute without a quoted value: <{place}"));
        harmless_attribute(&attribute.to_ascii_lowercase(), value);
        rest = after;
    }
}

fn split_word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c))).unwrap_or(text.len()))
}

fn harmless_attribute(name: &str, value: &str) {
    assert!(!name.is_empty() && !name.starts_with("on"), "the attribute {name:?}");
    assert!(!["srcdoc", "formaction", "srcset", "id", "ping", "xmlns"].contains(&name), "the attribute {name}");
    let plain = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&nbsp;", " ");
    let plain = plain.replace("&amp;", "&").to_lowercase();
    if name == "style" {
        let bad = ["url(", "expression(", "@", "javascript:", "behavior:", "binding:", "position:", "\\"];
        assert!(!bad.iter().any(|it| plain.contains(it)), "the style {value:?}");
    }
    if ADDRESSES.contains(&name) {
        // As a browser reads it: blanks and control characters around it and newlines in it do not count.
        let address: String = plain.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
        let good = ["http:", "https:", "mailto:", "tel:", "cid:", "data:image/"];
        assert!(good.iter().any(|it| address.starts_with(it)), "the address {value:?}");
        assert!(!address.starts_with("data:image/svg"), "the address {value:?}");
    }
}
