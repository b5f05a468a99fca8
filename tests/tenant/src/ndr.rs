//! The report that a mail could not be delivered, as Exchange Online writes it to the sender.
//!
//! RFC 3464 in three parts: words for people, fields for programs, and the mail itself, or only its header where that
//! is larger than 10 MB (learn.microsoft.com/exchange/…/ndrs-in-exchange-online, InternalDsnMaxMessageAttachSize).

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    enclose::{split, words},
    envelope::{Envelope, Person},
    transport::Refusing,
    world::random_uuid,
};

/// A larger mail comes back as its header alone.
const LARGEST_RETURNED: usize = 10 << 20;
/// The mailbox of every organisation that writes its reports.
const WRITER: &str = "MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e";
const SERVER: &str = "AM0PR04MB4711.eurprd04.prod.outlook.com";

/// The report on `mail`, sent to `to`, about these recipients; they are all refused, or all still being tried.
pub(crate) fn report(
    envelope: &Envelope,
    mail: &Bytes,
    to: &str,
    recipients: &[(Person, Refusing)],
    now: Timestamp,
) -> Bytes {
    let is_delayed = recipients.iter().all(|(_, why)| why.is_delayed);
    let (prefix, action) = if is_delayed { ("Delivery delayed: ", "delayed") } else { ("Undeliverable: ", "failed") };
    let domain = to.rsplit_once('@').map_or("contoso.com", |(_, domain)| domain);
    let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let (boundary, inner) = (random_uuid(), random_uuid());
    let mut report = format!(
        "Received: from {SERVER} (2603:10a6:208::1) by {SERVER}\r\n (2603:10a6:208::2) with Microsoft SMTP Server id 15.20.8769.22; {date}\r\n\
         From: Microsoft Outlook\r\n <{WRITER}@{domain}>\r\nTo: <{to}>\r\nDate: {date}\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\
         X-MS-Exchange-Message-Is-Ndr:\r\nContent-Language: en-US\r\n\
         Message-ID: <{}@{SERVER}>\r\nIn-Reply-To: {id}\r\nReferences: {id}\r\n\
         Subject: {}\r\nAuto-Submitted: auto-replied\r\nReturn-Path: <>\r\n\
         X-MS-Exchange-Organization-AuthAs: Internal\r\nMIME-Version: 1.0\r\n\r\n",
        random_uuid(),
        words(&format!("{prefix}{}", envelope.subject)),
        id = envelope.message_id,
    )
    .into_bytes();
    let said = match is_delayed {
        true => "Delivery to these recipients or groups is delayed, and will be tried again:",
        false => "Delivery has failed to these recipients or groups:",
    };
    let listed = |line: fn(&Person, &Refusing) -> String| {
        recipients.iter().map(|(who, why)| line(who, why)).collect::<Vec<_>>().concat()
    };
    report.extend_from_slice(
        format!(
            "--{boundary}\r\nContent-Type: multipart/alternative; differences=Content-Type;\r\n\tboundary=\"{inner}\"\r\n\r\n\
             --{inner}\r\nContent-Type: text/plain; charset=\"us-ascii\"\r\n\r\n{said}\r\n\r\n{}\r\n\
             --{inner}\r\nContent-Type: text/html; charset=\"us-ascii\"\r\n\r\n\
             <html><body><p>{said}</p>{}</body></html>\r\n\r\n--{inner}--\r\n\r\n",
            listed(|who, why| format!("{0} ({0})<mailto:{0}>\r\n{1}\r\n\r\n", who.address, why.said)),
            listed(|who, why| format!("<p><a href=\"mailto:{0}\">{0}</a></p><p>{1}</p>", who.address, why.said)),
        )
        .as_bytes(),
    );
    let mut fields = format!(
        "--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns;{SERVER}\r\n\
         Received-From-MTA: dns;{SERVER}\r\nArrival-Date: {date}\r\n\r\n"
    );
    for (who, Refusing { status, said, .. }) in recipients {
        let code = if status.starts_with('4') { "450" } else { "550" };
        fields.push_str(&format!(
            "Final-Recipient: rfc822;{0}\r\nAction: {action}\r\nStatus: {status}\r\n\
             Diagnostic-Code: smtp;{code} {status} {said}\r\nX-Display-Name: {0}\r\n\r\n",
            who.address
        ));
    }
    report.extend_from_slice(fields.as_bytes());
    let (kind, returned) = match mail.len() > LARGEST_RETURNED {
        true => ("text/rfc822-headers", split(mail).0.concat().into()),
        false => ("message/rfc822", mail.clone()),
    };
    report.extend_from_slice(format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n").as_bytes());
    report.extend_from_slice(&returned);
    report.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    report.into()
}
