//! Reports on our own mail, as Exchange Online and others write them: which mail they name, and what they say of whom.

use std::path::PathBuf;

use mailspan::mail::beside::Beside;
use mailspan::mail::classify::{classify, returned};
use mailspan::mail::facts::Kind;
use mailspan::mail::parse::parse;
use mailspan::model::bounce::{BounceAction, Returned};

/// The id of the submission that the reports among the fixtures are about.
pub(crate) const SUBMISSION: &str = "sub_00112233445566778899aabbccddeeff";
const OURS: &str = "sub_00112233445566778899aabbccddeeff@contoso.example";
const EXCHANGES: &str = "AM0PR01MB0042.9f3c@AM0PR01MB0042.eurprd01.prod.example";

/// A report among the fixtures.
pub(crate) fn report(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reports").join(format!("{name}.eml"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn of(raw: &[u8]) -> (Kind, Returned) {
    let mail = parse(raw);
    (classify(&mail, raw, &Beside::default()).kind, returned(&mail, raw))
}

#[test]
fn a_report_names_the_mail_it_is_about_by_all_that_is_left_of_it() {
    let both = [SUBMISSION].as_slice();
    for (name, submissions, ids) in [
        ("unknown_recipient", both, &[EXCHANGES][..]),
        ("refused_headers", &[], &[OURS]),
        ("delayed", both, &[OURS]),
        ("relayed", both, &[OURS]),
        ("several_recipients", both, &[OURS]),
        ("quoted_header", both, &[EXCHANGES]),
        ("answer_only", &[], &[EXCHANGES]),
        ("postfix", both, &[OURS]),
    ] {
        let (kind, said) = of(&report(name));
        assert_eq!(kind, Kind::Dsn, "{name}");
        assert_eq!(said.submissions, submissions, "{name}");
        assert_eq!(said.message_ids, ids, "{name}");
    }
}

#[test]
fn what_became_of_the_mail_is_said_for_each_recipient() {
    use BounceAction::{Delayed, Expanded, Failed, Relayed};
    let nobody = "nobody@customer.example";
    for (name, expected) in [
        ("unknown_recipient", vec![(nobody, Failed, "5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient")]),
        ("refused_headers", vec![(nobody, Failed, "5.7.1", "550 5.7.1 <nobody@customer.example>... Access denied")]),
        ("delayed", vec![(nobody, Delayed, "4.4.7", "450 4.4.316 Connection refused [Message=Socket")]),
        ("relayed", vec![(nobody, Relayed, "2.0.0", "250 2.0.0 OK")]),
        (
            "several_recipients",
            vec![
                ("first@customer.example", Failed, "5.1.10", "550 5.1.10 RESOLVER"),
                ("second@customer.example", Expanded, "2.0.0", "250 2.0.0 the list"),
                ("third@customer.example", Failed, "5.2.2", "554 5.2.2 mailbox full; STOREDRV"),
            ],
        ),
        ("quoted_header", vec![(nobody, Failed, "5.4.1", "")]),
        ("answer_only", vec![(nobody, Failed, "5.1.1", "550 5.1.1 user unknown")]),
        ("postfix", vec![("other@elsewhere.example", Failed, "5.2.2", "552 5.2.2 over quota")]),
    ] {
        let said = of(&report(name)).1.bounces;
        assert_eq!(said.len(), expected.len(), "{name}");
        for (bounce, (recipient, action, status, diagnostic)) in said.iter().zip(expected) {
            assert_eq!((bounce.recipient.as_deref(), bounce.action), (Some(recipient), action), "{name}");
            assert_eq!(bounce.status.as_deref(), Some(status), "{name}");
            let text = bounce.diagnostic.as_deref().unwrap_or_default();
            assert!(text.starts_with(diagnostic) && !text.contains(['\r', '\n']), "{name}: {text}");
            assert!(!format!("{bounce:?}").contains("example"), "whom it is about is nobody's business");
        }
    }
}

#[test]
fn only_what_is_written_like_an_id_of_ours_counts_in_a_text() {
    let letter = |line: &str| {
        format!(
            "From: MAILER-DAEMON@mx.example\r\nReturn-Path: <>\r\nSubject: failure notice\r\n\r\nI could not deliver it: 550 \
             5.1.1 unknown\r\n--- Below this line is a copy of the message.\r\n\r\n{line}\r\n"
        )
    };
    let named = |line: &str| of(letter(line).as_bytes()).1.submissions;
    assert_eq!(named(&format!("> X-MAILSPAN-SUBMISSION-ID: {SUBMISSION}")), [SUBMISSION]);
    for line in [
        "X-Mailspan-Submission-Id: sub_0011".to_owned(),
        format!("X-Mailspan-Submission-Id: {SUBMISSION}0"),
        format!("we write X-Mailspan-Submission-Id: {SUBMISSION}"),
        format!("X-Mailspan-Interaction-Id: {SUBMISSION}"),
    ] {
        assert_eq!(named(&line), Vec::<String>::new(), "{line}");
    }
}

proptest::proptest! {
    /// Whatever a report says, something is said of somebody, and little enough to keep.
    #[test]
    fn any_report_says_something_of_somebody(
        fields in "((Final-Recipient|Action|Status|Diagnostic-Code): [ -~ä\t]{0,700}\n){0,12}",
        id in "[ -~]{0,60}",
    ) {
        let raw = format!(
            "From: postmaster@x.example\nReturn-Path: <>\nContent-Type: multipart/report; report-type=delivery-status; \
             boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n{fields}\n--b\n\
             Content-Type: text/rfc822-headers\n\nX-Mailspan-Submission-Id: {id}\nMessage-ID: <{id}>\n--b--\n"
        );
        let said = of(raw.as_bytes()).1;
        proptest::prop_assert!(!said.bounces.is_empty());
        for bounce in said.bounces {
            proptest::prop_assert!(bounce.diagnostic.is_none_or(|it| it.chars().count() <= 500));
        }
    }
}
