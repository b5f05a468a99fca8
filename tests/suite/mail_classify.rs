//! What kind of mail it is: a table for each kind, and beside each the mail that only looks like it.

use mailspan::mail::beside::Beside;
use mailspan::mail::classify::classify;
use mailspan::mail::facts::{Classification, Kind};
use mailspan::mail::parse::parse;

pub(crate) const HUMAN: &str =
    "From: Eva Lindner <eva@example.net>\nTo: support@contoso.com\nReturn-Path: <eva@example.net>\n";
pub(crate) const DAEMON: &str =
    "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\nTo: support@contoso.com\nReturn-Path: <>\n";
const EXCHANGE: &str = "X-MS-Has-Attach:\nX-MS-Exchange-Inbox-Rules-Loop: eva@example.net\n";

pub(crate) fn of(text: &str) -> Classification {
    let raw = text.replace('\n', "\r\n").into_bytes();
    classify(&parse(&raw), &raw, &Beside::default())
}

/// A mail of these header fields and this text.
pub(crate) fn plain(head: &str, rest: &str, text: &str) -> Classification {
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
pub(crate) fn multipart(head: &str, kind: &str, parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|it| format!("--b\n{it}\n")).collect();
    format!("{head}MIME-Version: 1.0\nContent-Type: {kind}; boundary=b\n\n{parts}--b--\n")
}

pub(crate) const NOTE: &str = "Content-Type: text/plain\n\nYour mail did not arrive.";
pub(crate) const ORIGINAL: &str =
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
            ("From: casino.reply@example.net\n", "Subject: Order", "Hello", address),
            // Answered from a ticket system that sends through a provider.
            (HUMAN, "Subject: Re: Order\nIn-Reply-To: <a@b>\nFeedback-ID: 1.eu-west-1.x:AmazonSES", "Hello", address),
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
            (HUMAN, "Subject: Re: Order\nAuto-Submitted: auto-replied (vacation)", "Hello", "vacation program"),
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
    let notice = "Subject: Absence notice: Anna is on vacation\nAuto-Submitted: auto-generated";
    let notice = plain("From: personnel@example.net\n", notice, "Anna is on annual leave until Monday.");
    assert_eq!(notice.kind, Kind::Bulk, "{:?}", notice.reasons);
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
            // A ticket system writes as Exchange does, but Exchange did not write it.
            (
                HUMAN,
                "Subject: Automatic reply: Order\nAuto-Submitted: auto-generated\nX-Auto-Response-Suppress: All\nIn-Reply-To: <a@b>\n\
                 X-MS-Exchange-Organization-AuthSource: x",
                "Ticket 7",
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
    let pieces =
        ["could not deliver ", "delivery delivery fail ", "a@", "deliver\n> ", "5.1.1 #", "Message-ID: <a\n", "=?a?q?"];
    let mail = |piece: &str, times: usize| {
        let subject = piece.trim().repeat(times.min(2000)).replace('\n', " ");
        format!("{DAEMON}Subject: {subject}\n\n{}", piece.repeat(times)).into_bytes()
    };
    // The first mail of all pays for the patterns.
    for raw in pieces.map(|it| mail(it, 1)) {
        let _ = classify(&parse(&raw), &raw, &Beside::default());
    }
    for piece in pieces {
        let raw = mail(piece, (1 << 20) / piece.len());
        let mail = parse(&raw);
        let took = || {
            let begun = std::time::Instant::now();
            let _ = classify(&mail, &raw, &Beside::default());
            begun.elapsed()
        };
        // Where much else runs, a look may be kept from the processor; the quickest of some tells how long one takes.
        let enough = std::time::Duration::from_secs(1);
        let quickest = (0..10).map(|_| took()).find(|it| *it < enough);
        assert!(quickest.is_some(), "{piece:?} always took longer than {enough:?}");
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
