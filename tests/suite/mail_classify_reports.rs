//! Reports, receipts, meetings and circles: mail that is known by its structure, or by what mail systems have in common.

use mailspan::mail::beside::Beside;
use mailspan::mail::classify::classify;
use mailspan::mail::classify::loops::own_ids;
use mailspan::mail::facts::{Dsn, Kind};
use mailspan::mail::parse::parse;

use super::mail_classify::{DAEMON, HUMAN, NOTE, ORIGINAL, multipart, of, plain};

const STATUS: &str = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n\
    Final-Recipient: rfc822; nobody@example.org\nAction: failed\nStatus: 5.1.1\n";

#[test]
fn a_meeting_says_its_method_and_an_attached_calendar_is_an_attachment() {
    let event = |kind: &str| format!("Content-Type: {kind}\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR");
    let with =
        |part: &str| of(&multipart(HUMAN, "multipart/alternative", &["Content-Type: text/plain\n\nMonday?", part]));
    for (part, reason) in [
        (event("text/calendar; method=REQUEST"), "calendar: request"),
        (event("text/calendar; charset=utf-8; method=\"REPLY\""), "calendar: reply"),
        (event("text/calendar; method=Cancel"), "calendar: cancel"),
        (event("text/calendar"), "calendar: request"),
    ] {
        let got = with(&part);
        assert_eq!((got.kind, got.reasons), (Kind::Calendar, vec![reason.to_owned()]), "{part}");
        assert!(!got.suppress_auto_response);
    }
    for part in [
        event("text/calendar; method=PUBLISH"),
        event("text/calendar; method=REQUEST").replacen('\n', "\nContent-Disposition: attachment; filename=a.ics\n", 1),
        "Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nEND:VCALENDAR".to_owned(),
        "Content-Type: message/rfc822\n\nContent-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR".to_owned(),
    ] {
        assert_eq!(with(&part).kind, Kind::Human, "{part}");
    }
    // A room answers by itself, and still it is an answer to a meeting.
    let head = format!("{HUMAN}Auto-Submitted: auto-generated\nSubject: Accepted: Meeting\n");
    let room = of(&multipart(&head, "multipart/alternative", &[NOTE, &event("text/calendar; method=REPLY")]));
    assert_eq!((room.kind, room.suppress_auto_response), (Kind::Calendar, true));
    let class = plain(HUMAN, "Subject: Canceled: Meeting\nContent-Class: urn:content-classes:calendarmessage", "x");
    assert_eq!((class.kind, class.reasons), (Kind::Calendar, vec!["content-class: calendarmessage".to_owned()]));
}

#[test]
fn a_read_receipt_is_known_by_its_structure() {
    let receipt = "Content-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; eva@example.net\n\
        Original-Message-ID: <first@contoso.com>\nDisposition: manual-action/MDN-sent-manually; displayed";
    let read = of(&multipart(HUMAN, "multipart/report; report-type=disposition-notification", &[NOTE, receipt]));
    assert_eq!(read.kind, Kind::Mdn);
    assert_eq!(read.reasons, ["report-type: disposition-notification", "disposition: displayed"]);
    assert!(read.suppress_auto_response && read.dsn.is_none());
    let unnamed = of(&multipart(HUMAN, "multipart/report", &[NOTE, &receipt.replace("displayed", "deleted")]));
    assert_eq!((unnamed.kind, unnamed.reasons), (Kind::Mdn, vec!["disposition: deleted".to_owned()]));
    let class = plain(HUMAN, "Subject: Read: Order\nContent-Class: urn:content-classes:mdn", "It was read.");
    assert_eq!((class.kind, class.reasons), (Kind::Mdn, vec!["content-class: mdn".to_owned()]));
    // Somebody sends a receipt on.
    let forwarded = multipart(HUMAN, "multipart/mixed", &["Content-Type: text/plain\n\nWhat is this?", receipt]);
    assert_eq!(of(&forwarded).kind, Kind::Human);
}

#[test]
fn a_delivery_report_is_read_field_by_field() {
    let report = |kind: &str, parts: &[&str]| of(&multipart(DAEMON, kind, parts));
    let expected = |action: &str, status: &str, recipient: &str, original: Option<&str>| {
        Some(Dsn {
            action: Some(action.into()),
            status: Some(status.into()),
            final_recipient: Some(recipient.into()),
            original_message_id: original.map(Into::into),
        })
    };
    let kind = "multipart/report; report-type=delivery-status";
    let failed = expected("failed", "5.1.1", "nobody@example.org", Some("first@contoso.com"));
    let got = report(kind, &[NOTE, STATUS, ORIGINAL]);
    assert_eq!((got.kind, &got.dsn), (Kind::Dsn, &failed));
    assert_eq!(got.reasons, ["report-type: delivery-status", "delivery-status part"]);
    assert_eq!(report("multipart/report", &[NOTE, STATUS, ORIGINAL]).dsn, failed);
    assert_eq!(report("multipart/mixed", &[NOTE, STATUS, ORIGINAL]).dsn, failed);
    let headers = ORIGINAL.replace("message/rfc822", "text/rfc822-headers");
    assert_eq!(report(kind, &[NOTE, STATUS, &headers]).dsn, failed);
    // In base64, and for addresses that are not ASCII.
    let fields = "Final-Recipient: rfc822; nobody@example.org\nAction: failed\nStatus: 5.1.1\n";
    let packed = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("A: b\n\n{fields}"));
    let packed = format!("Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n{packed}");
    assert_eq!(report(kind, &[NOTE, &packed, ORIGINAL]).dsn, failed);
    let global = "Content-Type: message/global-delivery-status\n\nReporting-MTA: dns; mx\n\n\
        Final-Recipient: utf-8; gr\\x{FC}n@example.org\nAction: delayed\nStatus: 4.4.7\n";
    assert_eq!(report(kind, &[NOTE, global]).dsn, expected("delayed", "4.4.7", "grün@example.org", None));
    // The worst of several decides.
    let several = format!("{STATUS}\nFinal-Recipient: rfc822; other@example.org\nAction: delivered\nStatus: 2.0.0\n");
    assert_eq!(report(kind, &[NOTE, &several, ORIGINAL]).dsn, failed);
    // Structure alone is enough; Exchange sends from the address of its tenant.
    let exchange = multipart(HUMAN, kind, &[NOTE, STATUS, ORIGINAL]);
    assert_eq!(of(&exchange).dsn, failed);
    // Forwarded by a person: whole, or its parts.
    let forwarded = format!("Content-Type: message/rfc822\n\n{}", multipart(DAEMON, kind, &[NOTE, STATUS]));
    for part in [forwarded.replace("--b", "--c").replace("boundary=b", "boundary=c").as_str(), STATUS] {
        let got = of(&multipart(HUMAN, "multipart/mixed", &["Content-Type: text/plain\n\nWhy?", part]));
        assert_eq!((got.kind, got.dsn), (Kind::Human, None), "{part}");
    }
}

#[test]
fn bounces_that_are_no_report_are_known_by_what_they_share() {
    let quoted = "\n--- Below this line is a copy of the message.\n\nReturn-Path: <support@contoso.com>\nMessage-ID: <first@contoso.com>\n";
    let letter = |said: &str| format!("{said}\n{quoted}");
    let postmaster = "From: postmaster@example.net\nTo: support@contoso.com\n";
    let somebody = "From: Messaging <sysadmin@example.net>\nTo: support@contoso.com\nReturn-Path: <>\n";
    let ndr = "From: Microsoft Outlook <x@example.net>\nX-MS-Exchange-Message-Is-Ndr:\n";
    let failed = "X-Failed-Recipients: nobody@example.org, other@example.org\n";
    for (head, subject, text, status) in [
        (
            DAEMON,
            "failure notice",
            letter("I could not deliver it.\n\n<nobody@example.org>:\nRemote host said: 550 5.1.1 No such user"),
            Some("5.1.1"),
        ),
        (
            DAEMON,
            "Hello",
            letter("<nobody@example.org>:\nSorry, no mailbox here by that name. (#5.1.1)"),
            Some("5.1.1"),
        ),
        (
            DAEMON,
            "Mail delivery failed",
            letter(
                "  nobody@example.org\n    SMTP error from remote server after RCPT TO:<nobody@example.org>: 550 full",
            ),
            None,
        ),
        (
            postmaster,
            "Undeliverable: Order",
            letter("Your message to support@contoso.com did not reach nobody@example.org"),
            None,
        ),
        (somebody, "Undeliverable Message", letter("To: nobody@example.org"), None),
        (somebody, "Mail", letter("Could not be delivered to: <nobody@example.org>\nmailbox is full"), None),
        (ndr, "Unzustellbar: Angebot", letter("nobody@example.org\nDiese Adresse gibt es nicht. (550 5.1.10)"), None),
        (&format!("{HUMAN}{failed}"), "Returned mail", letter("It failed."), None),
    ] {
        let got = plain(head, &format!("Subject: {subject}"), &text);
        assert_eq!(got.kind, Kind::Dsn, "{head}{subject}\n{text}\n{:?}", got.reasons);
        let dsn = got.dsn.unwrap();
        assert_eq!(dsn.action.as_deref(), Some("failed"), "{text}");
        assert_eq!(dsn.final_recipient.as_deref(), Some("nobody@example.org"), "{text}");
        assert_eq!(dsn.original_message_id.as_deref(), Some("first@contoso.com"), "{text}");
        assert!(status.is_none() || dsn.status.as_deref() == status, "{text}");
        assert!(got.suppress_auto_response);
    }
    let delayed = plain(
        DAEMON,
        "Subject: Delivery Status Notification (Delay)",
        "Delivery to nobody@example.org has been delayed",
    );
    assert_eq!(delayed.dsn.unwrap().action.as_deref(), Some("delayed"));
    let gateway = format!("{HUMAN}Auto-Submitted: auto-replied\n");
    let got = plain(&gateway, "Subject: Undeliverable mail", &letter("nobody@example.org: 550 5.1.1 no such user"));
    assert_eq!(got.dsn.unwrap().final_recipient.as_deref(), Some("nobody@example.org"));
    // Signs of a machine without the words, the words without the signs, and a postmaster who is a person.
    for (head, rest, text) in [
        (somebody, "Subject: Your invoice", "Here it is."),
        (somebody, "Subject: Automatic reply: Undeliverable", "I am away; mail could not be delivered. 550 5.1.1"),
        (
            postmaster,
            "Subject: Re: Undeliverable: Order\nIn-Reply-To: <a@b>",
            "I had a look: 550 5.1.1 was my mistake.",
        ),
        (HUMAN, "Subject: Mail delivery failed", "550 5.1.1 user unknown"),
        (&gateway, "Subject: Your order", "It could not be delivered."),
        (somebody, "Subject: Delivery problem", "My parcel could not be delivered."),
        ("From: Mail Delivery Solutions <sales@example.net>\n", "Subject: Delivery report", "As agreed."),
        (
            "From: Microsoft Outlook <MicrosoftExchange329e71ec88ae@contoso.com>\nReturn-Path: <>\n",
            "Subject: Your mailbox",
            "Your mailbox is full.",
        ),
    ] {
        let got = plain(head, rest, text);
        assert!(got.kind != Kind::Dsn && got.dsn.is_none(), "{rest}\n{:?}", got.reasons);
    }
}

#[test]
fn a_circle_is_known_by_our_own_mark_and_by_its_length() {
    let raw = format!("{HUMAN}X-Mailspan-Interaction-Id: ix_1\nX-Mailspan-Interaction-Id: ix_2\nSubject: x\n\nx")
        .into_bytes();
    let mail = parse(&raw);
    assert_eq!(own_ids(&mail), ["ix_1", "ix_2"]);
    assert_eq!(classify(&mail, &raw, &Beside::default()).kind, Kind::Human, "a mark that is not ours proves nothing");
    let came_back = Beside { came_back: Some("its interaction id is ours".into()), ..Beside::default() };
    let got = classify(&mail, &raw, &came_back);
    assert_eq!((got.kind, got.suppress_auto_response), (Kind::Loop, true));
    assert_eq!(got.reasons, ["came back: its interaction id is ours"]);
    // Somebody forwards one of ours.
    let forwarded =
        multipart(HUMAN, "multipart/mixed", &["Content-Type: message/rfc822\n\nX-Mailspan-Interaction-Id: ix_1\n\nx"]);
    assert!(own_ids(&parse(forwarded.as_bytes())).is_empty());
    for (hops, kind) in [(1, Kind::Human), (49, Kind::Human), (50, Kind::Loop)] {
        let hops = "Received: from a by b; Sat, 21 Nov 2026 18:42:33 +0100\n".repeat(hops);
        let got = plain(&format!("{hops}{HUMAN}"), "Subject: x", "x");
        assert_eq!(got.kind, kind, "{:?}", got.reasons);
    }
    // A report that goes round is a circle first.
    let report = multipart(DAEMON, "multipart/report; report-type=delivery-status", &[NOTE, STATUS]);
    let report = "Received: from a\n".repeat(50) + &report;
    let got = of(&report);
    assert_eq!((got.kind, got.reasons), (Kind::Loop, vec!["received: 50 hops".to_owned()]));
}
