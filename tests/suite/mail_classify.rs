//! What kind of mail it is: a table for each kind, and beside each the mail that only looks like it.

use mailspan::mail::beside::Beside;
use mailspan::mail::classify::classify;
use mailspan::mail::classify::loops::own_ids;
use mailspan::mail::facts::{Classification, Dsn, Kind};
use mailspan::mail::parse::parse;

const HUMAN: &str = "From: Eva Lindner <eva@example.net>\nTo: support@contoso.com\nReturn-Path: <eva@example.net>\n";
const DAEMON: &str =
    "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\nTo: support@contoso.com\nReturn-Path: <>\n";
const EXCHANGE: &str = "X-MS-Has-Attach:\nX-MS-Exchange-Inbox-Rules-Loop: eva@example.net\n";

fn of(text: &str) -> Classification {
    let raw = text.replace('\n', "\r\n").into_bytes();
    classify(&parse(&raw), &raw, &Beside::default())
}

/// A mail of these header fields and this text.
fn plain(head: &str, rest: &str, text: &str) -> Classification {
    of(&format!("{head}{rest}\n\n{text}\n"))
}

/// Each mail is of this kind, and one of its reasons is the one named.
fn all_are(kind: Kind, mails: &[(&str, &str, &str, &str)]) {
    for (head, rest, text, reason) in mails {
        let got = plain(head, rest, text);
        assert_eq!(got.kind, kind, "{head}{rest}\n\n{text}\n{:?}", got.reasons);
        assert!(got.reasons.iter().any(|it| it == reason), "{reason} is not in {:?} of {rest}", got.reasons);
    }
}

/// A mail of several parts.
fn multipart(head: &str, kind: &str, parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|it| format!("--b\n{it}\n")).collect();
    format!("{head}MIME-Version: 1.0\nContent-Type: {kind}; boundary=b\n\n{parts}--b--\n")
}

const NOTE: &str = "Content-Type: text/plain\n\nYour mail did not arrive.";
const STATUS: &str = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n\
    Final-Recipient: rfc822; nobody@example.org\nAction: failed\nStatus: 5.1.1\n";
const ORIGINAL: &str =
    "Content-Type: message/rfc822\n\nFrom: support@contoso.com\nMessage-ID: <first@contoso.com>\n\nHello";

#[test]
fn people_are_known_by_what_they_are_not_only_by_what_is_missing() {
    let address = "sender: address";
    all_are(
        Kind::Human,
        &[
            (HUMAN, "Subject: Where is my order?", "It has not come.", address),
            (
                HUMAN,
                "Subject: Photo\nX-Mailer: iPhone Mail (23B85)\nMime-Version: 1.0 (1.0)",
                "Sent from my iPhone",
                address,
            ),
            (HUMAN, "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\nAuto-Submitted: no", "Hallo", address),
            // Asking for silence proves nothing.
            (HUMAN, "Subject: Re: Order\nX-Auto-Response-Suppress: All\nIn-Reply-To: <a@b>", "Thanks.", address),
            (HUMAN, "Subject: Order\nX-Auto-Response-Suppress: DR, OOF, AutoReply", "Thanks.", address),
            // Answering a mail of a list to its writer, and writing about absence, reports and circles.
            (HUMAN, "Subject: Re: [users] Question\nIn-Reply-To: <a@lists.example.org>", "I know.", address),
            (HUMAN, "Subject: Out of office next week", "Who stands in for Anna? I am out of the office.", address),
            (HUMAN, "Subject: Automatic reply", "Why do I get an automatic reply?", address),
            (HUMAN, "Subject: Undeliverable: Order", "Why do I get this? 550 5.1.1 user unknown", address),
            (HUMAN, "Subject: FW: Undelivered Mail Returned to Sender", "See below.\nReceived: from x", address),
            (HUMAN, "Subject: Delivery failed", "The parcel could not be delivered. Delivery failed twice.", address),
            (HUMAN, "Subject: Read: the manual", "Where is it?", address),
            (HUMAN, "Subject: Meeting\nPrecedence: special-delivery", "On Monday?", address),
            (HUMAN, "Subject: Order\nX-Autoreply: no", "Hello", address),
            ("From: Postmaster Paul <paul@example.net>\n", "Subject: Hello", "Hello", address),
            (HUMAN, "Subject: call me", "", "content: subject"),
            (
                HUMAN,
                "Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64",
                "JVBERi0x",
                "content: attachment",
            ),
        ],
    );
    let unknown = [
        ("From: noreply@example.net\n", "Subject: Your ticket", "Do not answer.", "sender: no-reply"),
        ("From: Shop <no-reply+4711@example.net>\n", "Subject: Order", "Thanks.", "sender: no-reply"),
        ("From: nicht.antworten@example.net\n", "Subject: Order", "Danke.", "sender: no-reply"),
        ("To: support@contoso.com\n", "Subject: Hello", "Hello", "no sender"),
        ("From: Somebody\n", "Subject: Hello", "Hello", "no sender"),
        ("From: postmaster@example.net\n", "Subject: Your question", "We looked into it.", "sender: postmaster"),
        ("From: MAILER-DAEMON@example.net\n", "Subject: Hello", "Hello", "sender: mailer-daemon"),
        ("From: eva@example.net\nReturn-Path: <>\n", "Subject: Hello", "Hello", "return-path: null"),
        (HUMAN, "X-Note: nothing", "", "no content"),
        (HUMAN, "Subject: Order\nX-Loop: eva@example.net", "Hello", "x-loop"),
        // An inbox rule forwards a customer's mail: no answer, and no mail to many.
        (
            HUMAN,
            "Subject: WG: Bestellung\nAuto-Submitted: auto-generated\nX-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent",
            "Wo bleibt sie?",
            "forwarded by a rule",
        ),
    ];
    all_are(Kind::Unknown, &unknown);
    assert_eq!(of("").kind, Kind::Unknown);
}

#[test]
fn absence_needs_its_words_and_a_sign_of_a_machine() {
    let exchange =
        format!("{HUMAN}{EXCHANGE}Auto-Submitted: auto-generated\nX-Auto-Response-Suppress: All\nIn-Reply-To: <a@b>\n");
    let reply = format!("{HUMAN}In-Reply-To: <a@b>\n");
    all_are(
        Kind::OutOfOffice,
        &[
            (&exchange, "Subject: Automatic reply: Order 4711", "Back on Monday.", "subject: automatic reply"),
            (&exchange, "Subject: Automatische Antwort: Bestellung", "Bin weg.", "subject: automatic reply"),
            (
                &exchange,
                "Subject: =?utf-8?Q?R=C3=A9ponse_automatique_=3A_Commande?=",
                "Je reviens.",
                "subject: automatic reply",
            ),
            (&exchange, "Subject: Abwesenheitsnotiz", "Bin weg.", "subject: absence"),
            (&reply, "Subject: Out of Office: Order\nX-Auto-Response-Suppress: All", "Back on Monday.", "in-reply-to"),
            (&reply, "Subject: I am out of the office\nPrecedence: bulk", "Back on Monday.", "precedence: bulk"),
            ("From: eva@example.net\nReturn-Path: <>\n", "Subject: on vacation", "Back soon.", "return-path: null"),
            (
                HUMAN,
                "Subject: Re: Order\nAuto-Submitted: auto-replied (vacation)",
                "I am on vacation until Monday.",
                "text: absence",
            ),
            (HUMAN, "Subject: Re: Bestellung\nAuto-Submitted: auto-replied", "Ich bin im Urlaub.", "text: absence"),
            (HUMAN, "Subject: Re: Order\nX-Mailer: vacation 1.2.7", "Hello", "vacation program"),
            (HUMAN, "Subject: Abwesend\nX-Autoreply: yes", "Hallo", "x-autoreply"),
        ],
    );
    // A newsletter about holidays is generated, and no absence.
    let news = plain(
        "From: News <news@example.net>\nList-Unsubscribe: <mailto:u@example.net>\n",
        "Subject: On holiday?\nPrecedence: bulk\nAuto-Submitted: auto-generated",
        "On vacation with us.",
    );
    assert_eq!(news.kind, Kind::Bulk, "{:?}", news.reasons);
}

#[test]
fn an_automatic_answer_says_so_or_answers_as_a_machine() {
    all_are(
        Kind::AutoReply,
        &[
            (
                HUMAN,
                "Subject: Ticket 4711\nAuto-Submitted: auto-replied",
                "We got your mail.",
                "auto-submitted: auto-replied",
            ),
            (
                HUMAN,
                "Subject: Re: Order\nAuto-Submitted: auto-generated\nIn-Reply-To: <a@b>",
                "We got it.",
                "in-reply-to",
            ),
            (
                "From: noreply@example.net\n",
                "Subject: Ticket\nX-Autoreply: yes\nPrecedence: bulk",
                "Got it.",
                "x-autoreply",
            ),
            (HUMAN, "Subject: Ticket\nPrecedence: auto_reply", "Got it.", "precedence: auto_reply"),
            (HUMAN, "Subject: Ticket\nX-Autorespond: Order", "Got it.", "x-autorespond"),
            (
                "From: eva@example.net\nReturn-Path: <>\n",
                "Subject: Re: Order\nReferences: <a@b>",
                "Got it.",
                "return-path: null",
            ),
            (
                "From: eva@example.net\nReturn-Path: <>\n",
                "Subject: Auto-Reply: Order",
                "Got it.",
                "subject: automatic reply",
            ),
            (
                HUMAN,
                "Subject: Automatic reply: Order\nX-Auto-Response-Suppress: All\nIn-Reply-To: <a@b>",
                "Got it.",
                "subject: automatic reply",
            ),
            // An automatic answer that quotes somebody's absence.
            (
                HUMAN,
                "Subject: Ticket\nAuto-Submitted: auto-replied",
                "Got it.\n> I am out of the office",
                "auto-submitted: auto-replied",
            ),
        ],
    );
}

#[test]
fn lists_and_mail_to_many_are_told_apart() {
    all_are(
        Kind::List,
        &[
            (HUMAN, "Subject: [users] Hello\nList-Id: <users.example.org>\nPrecedence: list", "Hello", "list-id"),
            (HUMAN, "Subject: Hello\nList-Post: <mailto:users@example.org>", "Hello", "list-post"),
            (HUMAN, "Subject: Hello\nX-BeenThere: users@example.org", "Hello", "x-beenthere"),
            (HUMAN, "Subject: Hello\nPrecedence: list", "Hello", "precedence: list"),
            (HUMAN, "Subject: Issue 7\nList-Id: <a.example>\nAuto-Submitted: auto-generated", "Closed", "list-id"),
        ],
    );
    all_are(
        Kind::Bulk,
        &[
            (HUMAN, "Subject: Sale\nList-Unsubscribe: <mailto:u@example.net>", "Cheap!", "list-unsubscribe"),
            (HUMAN, "Subject: Sale\nFeedback-ID: 1:2:3:example", "Cheap!", "feedback-id"),
            (HUMAN, "Subject: Sale\nPrecedence: Bulk", "Cheap!", "precedence: bulk"),
            (HUMAN, "Subject: Disk full\nAuto-Submitted: auto-generated", "95 %", "auto-submitted: auto-generated"),
            (
                HUMAN,
                "Subject: New mail\nAuto-Submitted: auto-notified; owner-email=a@b",
                "1",
                "auto-submitted: auto-notified",
            ),
            (HUMAN, "Subject: Odd\nAuto-Submitted: eva@example.net", "1", "auto-submitted: other"),
        ],
    );
    let arf = multipart(
        "From: fbl@example.net\n",
        "multipart/report; report-type=feedback-report",
        &[NOTE, "Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nVersion: 1", ORIGINAL],
    );
    let got = of(&arf);
    assert_eq!((got.kind, got.dsn), (Kind::Bulk, None));
    assert_eq!(got.reasons, ["report-type: feedback-report", "feedback report"]);
}

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

#[test]
fn machines_and_those_who_ask_for_silence_get_no_automatic_answer() {
    assert_eq!(
        plain(HUMAN, "Auto-Submitted: Auto-Replied (vacation)", "x").auto_submitted.as_deref(),
        Some("auto-replied")
    );
    for (head, rest, suppress) in [
        (HUMAN, "Subject: x", false),
        (HUMAN, "Auto-Submitted: no", false),
        (HUMAN, "X-Auto-Response-Suppress: DR", false),
        (HUMAN, "X-Auto-Response-Suppress: DR, OOF", true),
        (HUMAN, "X-Auto-Response-Suppress: All", true),
        (HUMAN, "Auto-Submitted: auto-generated", true),
        (HUMAN, "List-Id: <a.example>", true),
        (HUMAN, "Precedence: bulk", true),
        (HUMAN, "X-Loop: a@example.net", true),
        (DAEMON, "Subject: x", true),
        ("From: eva@example.net\nReturn-Path: <>\n", "Subject: x", true),
        ("From: no-reply@example.net\n", "Subject: x", true),
        ("To: support@contoso.com\n", "Subject: x", true),
    ] {
        assert_eq!(plain(head, rest, "x").suppress_auto_response, suppress, "{head}{rest}");
    }
}

#[test]
fn reasons_name_nobody() {
    let personal = ["eva", "Lindner", "contoso", "example", "nobody", "Secret"];
    for text in [
        format!("{DAEMON}Subject: Undeliverable: Secret\n\nnobody@example.org could not be delivered. 550 5.1.1"),
        format!("{HUMAN}Subject: Secret\nAuto-Submitted: eva@example.net\n\nx"),
        format!("{HUMAN}Subject: Secret\nList-Id: Secret <secret.example.org>\n\nx"),
        format!("{HUMAN}Subject: Out of office Secret\nX-Autoreply: eva@example.net\n\nx"),
        multipart(HUMAN, "multipart/report; report-type=\"eva@example.net\"", &[NOTE]),
    ] {
        for reason in of(&text).reasons {
            assert!(!personal.iter().any(|it| reason.contains(it) && reason != "report-type: eva"), "{reason}");
        }
    }
}

/// A second for a mail that takes milliseconds: it fails where the time begins to grow with the text.
#[test]
fn a_text_built_to_be_searched_forever_is_not() {
    for piece in
        ["could not deliver ", "delivery delivery fail ", "a@", "deliver\n> ", "5.1.1 #", "Message-ID: <a\n", "=?a?q?"]
    {
        let text = piece.repeat((1 << 20) / piece.len());
        let raw = format!("{DAEMON}Subject: {}\n\n{text}", piece.trim().repeat(2000).replace('\n', " ")).into_bytes();
        let mail = parse(&raw);
        let begun = std::time::Instant::now();
        let _ = classify(&mail, &raw, &Beside::default());
        println!("{piece:?}: {:?}", begun.elapsed());
        assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{piece:?} took {:?}", begun.elapsed());
    }
}

proptest::proptest! {
    #[test]
    fn every_mail_has_one_kind_and_reasons_for_it(
        fields in proptest::collection::vec((
            "(From|To|Return-Path|Subject|Auto-Submitted|Precedence|List-Id|X-Failed-Recipients|Content-Class|X-Loop|\
              X-Auto-Response-Suppress|In-Reply-To|Content-Type|Received|X-Autoreply|X-Mailer)",
            "(MAILER-DAEMON|postmaster@|eva@x.de|<>|auto-replied|bulk|Undeliverable|Out of office|vacation|\
              multipart/report; report-type=delivery-status; boundary=b|text/calendar; method=REPLY|[ -~ü]){0,4}",
        ), 0..12),
        body in "(--b\n|--b--|Content-Type: message/(delivery-status|rfc822|disposition-notification)\n|\n|\
                  Final-Recipient: rfc822;|Action: failed|Status: 5.1.1|could not be delivered|a@x.de|[ -~ü]){0,20}",
    ) {
        let head: String = fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let raw = format!("{head}\n{body}").into_bytes();
        let got = classify(&parse(&raw), &raw, &Beside::default());
        proptest::prop_assert!(!got.reasons.is_empty());
        proptest::prop_assert_eq!(got.kind == Kind::Dsn, got.dsn.is_some());
        proptest::prop_assert_eq!(classify(&parse(&raw), &raw, &Beside::default()), got);
    }

    #[test]
    fn any_bytes_are_classified(raw: Vec<u8>) {
        let _ = classify(&parse(&raw), &raw, &Beside::default());
    }
}

#[test]
fn every_kind_is_asked_for_by_the_name_it_is_given() {
    use Kind::{AutoReply, Bulk, Calendar, Dsn, Human, List, Loop, Mdn, OutOfOffice, Unknown};
    for kind in [Human, AutoReply, OutOfOffice, Dsn, Mdn, Bulk, List, Calendar, Loop, Unknown] {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        assert_eq!(serde_json::from_value::<Kind>(kind.as_str().into()).unwrap(), kind);
    }
}
