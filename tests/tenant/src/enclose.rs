//! MIME as the tenant writes it: of a message that was written as JSON, and with what was attached afterwards.
//!
//! A mail that came as MIME and to which nothing was attached leaves as it came, without its Bcc.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    draft::{Enclosure, Written},
    envelope::Person,
};

/// The set of properties that become header fields when the message is sent ([MS-OXPROPS], PS_INTERNET_HEADERS).
const HEADER_PROPERTY: &str = "string {00020386-0000-0000-c000-000000000046} name ";
/// PidTagInReplyToId and PidTagInternetReferences ([MS-OXPROPS]).
const IN_REPLY_TO_PROPERTY: &str = "string 0x1042";
const REFERENCES_PROPERTY: &str = "string 0x1039";
/// Bytes of a text in one encoded word (RFC 2047 §2: 75 letters in all).
const WORD: usize = 42;

/// A message written as JSON, by `sender` if it names nobody else. What is attached is not in it.
pub(crate) fn written(message: &Written, sender: &str, message_id: &str, now: Timestamp) -> Bytes {
    let mut head = String::new();
    let mut put = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
    let from = message.from.clone().unwrap_or(Person { name: sender.to_owned(), address: sender.to_owned() });
    put("From", &people(&[from]));
    let lists = [("To", &message.to), ("Cc", &message.cc), ("Bcc", &message.bcc), ("Reply-To", &message.reply_to)];
    for (name, list) in lists.into_iter().filter_map(|(name, list)| Some((name, list.as_ref()?))) {
        if !list.is_empty() {
            put(name, &people(list));
        }
    }
    put("Subject", &words(message.subject.as_deref().unwrap_or_default()));
    put("Message-ID", message_id);
    put("Date", &now.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string());
    if let Some(importance) = message.importance.filter(|it| *it != "normal") {
        put("Importance", importance);
    }
    for (name, value) in message.headers.iter().flatten() {
        put(name, &words(value));
    }
    for (id, value) in message.properties.iter().flatten() {
        let id = id.to_ascii_lowercase();
        match (id.as_str(), id.strip_prefix(HEADER_PROPERTY)) {
            (IN_REPLY_TO_PROPERTY, _) => put("In-Reply-To", value),
            (REFERENCES_PROPERTY, _) => put("References", &value.replace(' ', "\r\n ")),
            (_, Some(name)) => put(name, &words(value)),
            _ => {}
        }
    }
    let kind = if message.body.as_ref().is_some_and(|it| it.is_html) { "html" } else { "plain" };
    put("MIME-Version", "1.0");
    put("Content-Type", &format!("text/{kind}; charset=utf-8"));
    put("Content-Transfer-Encoding", "base64");
    let body = message.body.as_ref().map_or("", |it| it.content.as_str());
    format!("{head}\r\n{}", base64_lines(body.as_bytes())).into()
}

/// The mail that leaves: without Bcc, with a Message-ID, and with what was attached to its draft.
pub(crate) fn leaving(draft: &[u8], enclosures: &[Enclosure], message_id: &str) -> Bytes {
    let (fields, body) = split(draft);
    let is = |field: &[u8], name: &str| {
        field.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
            && field[name.len()..].trim_ascii_start().first() == Some(&b':')
    };
    let mut mime = Vec::with_capacity(draft.len());
    if !fields.iter().any(|field| is(field, "Message-ID")) {
        mime.extend_from_slice(format!("Message-ID: {message_id}\r\n").as_bytes());
    }
    let is_content = |field: &[u8]| field.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
    let kept = fields.iter().filter(|field| !is(field, "Bcc"));
    if enclosures.is_empty() {
        kept.for_each(|field| mime.extend_from_slice(field));
        mime.extend_from_slice(b"\r\n");
        mime.extend_from_slice(body);
        return mime.into();
    }
    kept.filter(|field| !is_content(field)).for_each(|field| mime.extend_from_slice(field));
    if !fields.iter().any(|field| is(field, "MIME-Version")) {
        mime.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }
    let mut entity = Vec::with_capacity(body.len() + 256);
    fields.iter().filter(|field| is_content(field)).for_each(|field| entity.extend_from_slice(field));
    entity.extend_from_slice(b"\r\n");
    entity.extend_from_slice(body);
    let (inline, files): (Vec<_>, Vec<_>) = enclosures.iter().partition(|it| it.is_inline);
    let related = if inline.is_empty() { entity } else { multipart("related", &entity, &inline) };
    let mixed = if files.is_empty() { related } else { multipart("mixed", &related, &files) };
    mime.extend_from_slice(&mixed);
    mime.into()
}

/// The same mail with another Message-ID.
pub(crate) fn renamed(mime: &[u8], message_id: &str) -> Bytes {
    let (fields, body) = split(mime);
    let mut renamed = format!("Message-ID: {message_id}\r\n").into_bytes();
    let is_id = |field: &[u8]| field.get(..11).is_some_and(|start| start.eq_ignore_ascii_case(b"message-id:"));
    fields.iter().filter(|field| !is_id(field)).for_each(|field| renamed.extend_from_slice(field));
    renamed.extend_from_slice(b"\r\n");
    renamed.extend_from_slice(body);
    renamed.into()
}

fn multipart(kind: &str, first: &[u8], rest: &[&Enclosure]) -> Vec<u8> {
    let boundary = format!("_{kind}_{:032x}_", fastrand::u128(..));
    let head = format!("Content-Type: multipart/{kind}; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n");
    let mut entity = head.into_bytes();
    entity.extend_from_slice(first);
    for file in rest {
        entity.extend_from_slice(format!("\r\n--{boundary}\r\n{}\r\n", part_head(file)).as_bytes());
        entity.extend_from_slice(base64_lines(&file.content).as_bytes());
    }
    entity.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    entity
}

fn part_head(file: &Enclosure) -> String {
    let name = match file.name.is_ascii() {
        true => format!("filename=\"{}\"", file.name.replace(['"', '\\'], "_")),
        false => format!("filename*=utf-8''{}", utf8_percent_encode(&file.name, NON_ALPHANUMERIC)),
    };
    let disposition = if file.is_inline { "inline" } else { "attachment" };
    let id = file.content_id.as_ref().map(|id| format!("Content-ID: <{}>\r\n", id.trim_matches(['<', '>'])));
    format!(
        "Content-Type: {}\r\nContent-Disposition: {disposition};\r\n {name}\r\n{}Content-Transfer-Encoding: base64\r\n",
        file.media_type,
        id.unwrap_or_default()
    )
}

/// The header fields of a mail, each with its line breaks, and the body.
pub(crate) fn split(mime: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut fields: Vec<&[u8]> = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < mime.len() {
        let end = mime[at..].iter().position(|byte| *byte == b'\n').map_or(mime.len(), |found| at + found + 1);
        let line = &mime[at..end];
        let is_blank = line.trim_ascii().is_empty();
        if (is_blank || !line.starts_with(b" ") && !line.starts_with(b"\t")) && at > start {
            fields.push(&mime[start..at]);
            start = at;
        }
        at = end;
        if is_blank {
            return (fields, &mime[at..]);
        }
    }
    if at > start {
        fields.push(&mime[start..at]);
    }
    (fields, &[])
}

fn people(list: &[Person]) -> String {
    let one = |person: &Person| match person.name == person.address || person.name.is_empty() {
        true => format!("<{}>", person.address),
        false => format!("{} <{}>", phrase(&person.name), person.address),
    };
    list.iter().map(one).collect::<Vec<_>>().join(",\r\n ")
}

fn phrase(name: &str) -> String {
    match name.is_ascii() {
        true => format!("\"{}\"", name.replace(['\r', '\n'], " ").replace('\\', "\\\\").replace('"', "\\\"")),
        false => words(name),
    }
}

/// Text of a header field, in encoded words if it needs them.
pub(crate) fn words(text: &str) -> String {
    if text.is_ascii() && text.len() < 900 && !text.contains(['\r', '\n']) {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.floor_char_boundary(WORD);
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(&rest[..end])));
        rest = &rest[end..];
    }
    words.join("\r\n ")
}

fn base64_lines(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / 38 + 2);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(76));
        lines.push_str(line);
        lines.push_str("\r\n");
        rest = after;
    }
    lines
}

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders};

    use super::*;

    #[test]
    fn mime_leaves_as_it_came_without_its_bcc() {
        let draft =
            b"From: a@x.org\r\nBcc: b@x.org,\r\n c@x.org\r\nX-Custom: 1\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n\r\n.\r\n";
        let left = leaving(draft, &[], "<2@x>");
        assert_eq!(&left[..], b"From: a@x.org\r\nX-Custom: 1\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n\r\n.\r\n");
        assert_eq!(&leaving(b"From: a@x\n\nHi", &[], "<2@x>")[..], b"Message-ID: <2@x>\r\nFrom: a@x\n\r\nHi");
        assert_eq!(&leaving(b"Subject: only", &[], "<2@x>")[..], b"Message-ID: <2@x>\r\nSubject: only\r\n");
    }

    #[test]
    fn what_was_attached_is_in_the_mail() {
        let file = |name: &str, is_inline: bool| Enclosure {
            name: name.to_owned(),
            media_type: "image/png".to_owned(),
            content_id: is_inline.then(|| "logo".to_owned()),
            is_inline,
            content: Bytes::from(vec![7; 200]),
        };
        let draft = b"Subject: =?utf-8?q?=C3=BC?=\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<b>x</b>";
        let left = leaving(draft, &[file("grün.png", true), file("b \"c\".png", false)], "<2@x>");
        let mail = MessageParser::default().parse(&left[..]).unwrap();
        assert_eq!((mail.subject(), mail.body_html(0).as_deref()), (Some("ü"), Some("<b>x</b>")));
        let files: Vec<_> = mail.attachments().map(|it| (it.attachment_name(), it.contents().len())).collect();
        assert_eq!(files, [(Some("grün.png"), 200), (Some("b _c_.png"), 200)]);
        assert_eq!(mail.attachments().next().unwrap().content_id(), Some("logo"));
    }
}
