//! Mails of many shapes, made by number: what real mailboxes receive, and what goes wrong in them.
//!
//! Each mail knows which of the demo's routes it must reach, decided here and not by the bridge.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The demo's mailboxes.
pub(super) const MAILBOXES: [&str; 3] = ["support@contoso.example", "sales@contoso.example", "billing@contoso.example"];

/// One mail and where it must arrive.
pub(super) struct Sample {
    /// The mailbox it is received in.
    pub(super) mailbox: &'static str,
    /// The mail.
    pub(super) mime: Vec<u8>,
    /// The routes that must get it.
    pub(super) routes: Vec<&'static str>,
}

/// What a shape needs to know of the mail it writes.
struct Letter<'a> {
    number: usize,
    to: &'a str,
}

type Shape = fn(&Letter<'_>) -> Vec<u8>;

/// Every shape in turn.
const SHAPES: [Shape; 16] = [
    plain,
    alternative,
    attachment,
    inline_image,
    nested,
    encoded_words,
    latin1,
    japanese,
    raw_eight_bit,
    no_message_id,
    automatic,
    bounce,
    invitation,
    list,
    empty,
    large,
];

/// The `number`-th mail.
pub(super) fn sample(number: usize) -> Sample {
    let mailbox = MAILBOXES[number % MAILBOXES.len()];
    let own_route = ["support", "sales", "billing"][number % MAILBOXES.len()];
    // Some name a plus-address, some nobody of ours at all (Bcc): both belong to the mailbox's own route.
    let to = match number % 7 {
        3 => mailbox.replace('@', &format!("+order-{number}@")),
        5 => "undisclosed-recipients@elsewhere.example".to_owned(),
        _ => mailbox.to_owned(),
    };
    let mime = SHAPES[(number / MAILBOXES.len()) % SHAPES.len()](&Letter { number, to: &to });
    Sample { mailbox, mime, routes: vec![own_route, "archive"] }
}

impl Letter<'_> {
    fn head(&self, subject: &str) -> String {
        let Self { number, to } = self;
        format!(
            "Received: from mx.example.net by inbound.contoso.example; Sat, 21 Nov 2026 10:00:00 +0000\r\n\
             From: \"Customer {number}\" <customer{number}@example.net>\r\n\
             To: <{to}>\r\n\
             Subject: {subject}\r\n\
             Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n\
             MIME-Version: 1.0\r\n"
        )
    }

    fn with_id(&self, subject: &str) -> String {
        format!("{}Message-ID: <demo-{}@example.net>\r\n", self.head(subject), self.number)
    }

    fn text(&self) -> String {
        format!(
            "Hello,\r\n\r\nmy order {} has not arrived yet. Could you have a look?\r\n\r\nKind regards\r\n",
            self.number
        )
    }
}

fn plain(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id(&format!("Order {}", letter.number));
    format!("{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{}", letter.text()).into_bytes()
}

fn alternative(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id(&format!("Question about order {}", letter.number));
    format!(
        "{head}Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n\
         --alt\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\
         --alt\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <html><body><p>Hello,</p><p>my <b>order {}</b> has not arrived.</p><script>alert(1)</script></body></html>\r\n--alt--\r\n",
        letter.text(),
        letter.number
    )
    .into_bytes()
}

fn attachment(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id(&format!("Invoice {}", letter.number));
    let content = BASE64.encode(format!("%PDF-1.4 invoice {}", letter.number).repeat(200));
    format!(
        "{head}Content-Type: multipart/mixed; boundary=\"mix\"\r\n\r\n\
         --mix\r\nContent-Type: text/plain\r\n\r\n{}\
         --mix\r\nContent-Type: application/pdf\r\n\
         Content-Disposition: attachment; filename*=UTF-8''Rechnung%20M%C3%A4rz.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--mix--\r\n",
        letter.text(),
        folded(&content)
    )
    .into_bytes()
}

fn inline_image(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id(&format!("Screenshot {}", letter.number));
    let pixel = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
    format!(
        "{head}Content-Type: multipart/related; boundary=\"rel\"\r\n\r\n\
         --rel\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>See <img src=\"cid:shot@example\"> order {}</p>\r\n\
         --rel\r\nContent-Type: image/gif\r\nContent-ID: <shot@example>\r\nContent-Disposition: inline\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{pixel}\r\n--rel--\r\n",
        letter.number
    )
    .into_bytes()
}

fn nested(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id(&format!("Fwd: complaint {}", letter.number));
    format!(
        "{head}Content-Type: multipart/mixed; boundary=\"fwd\"\r\n\r\n\
         --fwd\r\nContent-Type: text/plain\r\n\r\nPlease see below.\r\n\
         --fwd\r\nContent-Type: message/rfc822\r\n\r\n\
         From: other@example.org\r\nSubject: complaint {}\r\nMessage-ID: <inner-{}@example.org>\r\n\r\nIt is broken.\r\n--fwd--\r\n",
        letter.number, letter.number
    )
    .into_bytes()
}

fn encoded_words(letter: &Letter<'_>) -> Vec<u8> {
    let subject = format!("=?UTF-8?B?{}?=", BASE64.encode(format!("Grüße 😀 zu Auftrag {}", letter.number)));
    let head = letter.with_id(&subject);
    format!("{head}Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n")
        .into_bytes()
}

fn latin1(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id(&format!("=?iso-8859-1?Q?R=FCckfrage_{}?=", letter.number));
    let mut mime = format!("{head}Content-Type: text/plain; charset=iso-8859-1\r\n\r\n").into_bytes();
    mime.extend_from_slice(b"Sch\xf6ne Gr\xfc\xdfe \x80 5\r\n");
    mime
}

fn japanese(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id(&format!("=?ISO-2022-JP?B?GyRCQ21KOBsoQg==?= {}", letter.number));
    let mut mime = format!("{head}Content-Type: text/plain; charset=ISO-2022-JP\r\n\r\n").into_bytes();
    mime.extend_from_slice(b"\x1b$BCmJ8\x1b(B\r\n");
    mime
}

fn raw_eight_bit(letter: &Letter<'_>) -> Vec<u8> {
    let mut mime = letter.with_id("R\u{fffd}").replace('\u{fffd}', "aw \u{e4}").into_bytes();
    mime.extend_from_slice(b"X-Raw: \xfc\xff\r\n\r\nHeaders with bytes that nobody encoded.\r\n");
    mime
}

fn no_message_id(letter: &Letter<'_>) -> Vec<u8> {
    format!("{}\r\n{}", letter.head("Alert: disk full"), letter.text()).into_bytes()
}

fn automatic(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id("Automatic reply: out of office");
    format!("{head}Auto-Submitted: auto-replied\r\nX-Auto-Response-Suppress: All\r\n\r\nI am away.\r\n").into_bytes()
}

fn bounce(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id("Undelivered Mail Returned to Sender");
    format!(
        "{head}Content-Type: multipart/report; report-type=delivery-status; boundary=\"dsn\"\r\n\r\n\
         --dsn\r\nContent-Type: text/plain\r\n\r\nCould not be delivered.\r\n\
         --dsn\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.example.net\r\n\r\nFinal-Recipient: rfc822; gone@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n--dsn--\r\n"
    )
    .into_bytes()
}

fn invitation(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id("Invitation: call back");
    format!(
        "{head}Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\n\
         BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:{}@example.net\r\nDTSTART:20261201T090000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        letter.number
    )
    .into_bytes()
}

fn list(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id("[news] Weekly digest");
    format!("{head}List-Id: <news.example.net>\r\nPrecedence: bulk\r\n\r\nThe news.\r\n").into_bytes()
}

fn empty(letter: &Letter<'_>) -> Vec<u8> {
    format!("{}\r\n", letter.with_id("")).into_bytes()
}

fn large(letter: &Letter<'_>) -> Vec<u8> {
    let head = letter.with_id(&format!("Photos {}", letter.number));
    let content = folded(&BASE64.encode(vec![u8::try_from(letter.number % 251).unwrap_or(0); 600_000]));
    format!(
        "{head}Content-Type: multipart/mixed; boundary=\"big\"\r\n\r\n--big\r\nContent-Type: text/plain\r\n\r\nSee attached.\r\n\
         --big\r\nContent-Type: application/zip; name=\"photos.zip\"\r\nContent-Disposition: attachment\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{content}\r\n--big--\r\n"
    )
    .into_bytes()
}

fn folded(base64: &str) -> String {
    let mut text = String::with_capacity(base64.len() + base64.len() / 38);
    for (index, character) in base64.chars().enumerate() {
        if index > 0 && index.is_multiple_of(76) {
            text.push_str("\r\n");
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_appears_and_every_mail_knows_its_routes() {
        let count = SHAPES.len() * MAILBOXES.len();
        for number in 0..count {
            let sample = sample(number);
            assert!(!sample.mime.is_empty());
            assert_eq!(sample.routes.len(), 2);
        }
    }
}
