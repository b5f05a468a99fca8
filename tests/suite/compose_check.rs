//! What is refused before a submission is accepted: each rule, with the place it names.

use bytes::Bytes;
use mailspan::mail::addresses::Mailbox;
use mailspan::mail::compose::{Limits, Submission, check};

use crate::compose::{file, submission};

fn person(email: &str) -> Mailbox {
    Mailbox { name: None, email: email.to_owned() }
}

/// The fields of all problems of a submission that was changed so.
fn refused(change: impl FnOnce(&mut Submission)) -> Vec<String> {
    let mut mail = submission();
    change(&mut mail);
    let problems = check(&mail, &Limits::default()).err().unwrap_or_default();
    for problem in &problems {
        assert!(!problem.sentence.is_empty() && !problem.to_string().contains("secret"), "{problem}");
    }
    problems.into_iter().map(|it| it.field).collect()
}

#[test]
fn what_can_be_sent_is_accepted() {
    assert!(refused(|_| ()).is_empty());
    assert!(
        refused(|mail| {
            mail.to = vec![person("a.b+c'd@sub.example.org"), person("a@bücher.example"), person("first..last@x.jp")];
            mail.cc = vec![Mailbox { name: Some("Ünï, \"Q\"".into()), email: "x@y.example".into() }];
            mail.subject = "ü".repeat(255);
            mail.text = Some("é".repeat(400_000));
            mail.headers = vec![("X-A".into(), "tab\tü".into()), ("List-Id".into(), "<a.b>".into())];
            mail.in_reply_to = vec!["CAF+x=1@mail.example.org".into()];
            mail.attachments = vec![
                file("ü.csv", "text/csv; charset=utf-8", b"a", None),
                file("l.png", "image/png", b"a", Some("l@x")),
            ];
        })
        .is_empty()
    );
}

#[test]
fn people_are_refused_with_their_place() {
    for (email, is_refused) in [
        ("secret", true),
        ("", true),
        ("secret@", true),
        ("secret one@x.org", true),
        (" secret@x.org", true),
        ("secret@x.org\r\nBcc: victim@x.org", true),
        ("sécret@x.org", true),
        ("\"secret\"@x.org", true),
        ("secret@[10.0.0.1]", true),
        ("secret@x..org", true),
        ("secret(c)@x.org", true),
        ("fine@localhost", false),
        ("fine@x_y.example", false),
    ] {
        let expected = if is_refused { vec!["to[1].email".to_owned()] } else { Vec::new() };
        assert_eq!(refused(|mail| mail.to.push(person(email))), expected, "{email:?}");
    }
    let long = format!("{}@x.org", "secret".repeat(11));
    assert_eq!(refused(|mail| mail.bcc.push(person(&long))), ["bcc[0].email"]);
    assert_eq!(refused(|mail| mail.from = person("nobody")), ["from.email"]);
    let name = |name: &str| Mailbox { name: Some(name.into()), ..person("a@x.org") };
    assert_eq!(refused(|mail| mail.reply_to.push(name("a\r\nBcc: b@x.org"))), ["reply_to[0].name"]);
    assert_eq!(refused(|mail| mail.cc.push(name(&"x".repeat(256)))), ["cc[0].name"]);
    assert_eq!(refused(|mail| mail.to.clear()), ["to"]);
    assert_eq!(refused(|mail| mail.to = vec![person("a@x.org"); 501]), ["to"]);
    assert_eq!(refused(|mail| mail.bcc = vec![person("a@x.org"); 500]), ["to"]);
}

#[test]
fn content_is_refused_with_its_place() {
    assert_eq!(refused(|mail| mail.subject = "secret\r\nBcc: b@x.org".into()), ["subject"]);
    assert_eq!(refused(|mail| mail.subject = "x".repeat(256)), ["subject"]);
    assert_eq!(refused(|mail| mail.text = Some("a\0b".into())), ["text"]);
    assert_eq!(refused(|mail| mail.html = Some("é".repeat(1_200_000))), ["html"]);
    assert_eq!(refused(|mail| mail.text = Some("xé".repeat(1_200_000))), ["text"]);
    assert!(refused(|mail| mail.html = Some("x".repeat(2_000_000))).is_empty());
    assert_eq!(
        refused(|mail| mail.references = vec!["a@x".into(), "<b@x>".into(), "c d".into()]),
        ["references[1]", "references[2]"]
    );
    assert_eq!(refused(|mail| mail.in_reply_to = vec![String::new()]), ["in_reply_to[0]"]);
}

#[test]
fn header_fields_are_refused_with_their_names() {
    for (name, value, is_refused) in [
        ("X-Fine", "1", false),
        ("Precedence", "bulk", false),
        ("X-Fine", "secret\r\nBcc: b@x.org", true),
        ("Bcc", "b@x.org", true),
        ("FROM", "b@x.org", true),
        ("Content-Type", "text/html", true),
        ("X-Mailspan-Submission-Id", "1", true),
        ("X-MS-Exchange-Organization-SCL", "-1", true),
        ("DKIM-Signature", "v=1", true),
    ] {
        let expected = if is_refused { vec![format!("headers.{name}")] } else { Vec::new() };
        assert_eq!(refused(|mail| mail.headers = vec![(name.into(), value.into())]), expected, "{name}");
    }
    for name in ["", "X Y", "X:Y", "Ü", "X\r\nBcc"] {
        assert_eq!(refused(|mail| mail.headers = vec![(name.into(), "1".into())]), ["headers"], "{name:?}");
    }
    assert_eq!(refused(|mail| mail.headers = vec![("X-A".into(), "x".repeat(40_000))]), ["headers"]);
}

#[test]
fn attachments_are_refused_with_their_place() {
    let with = |name: &str, kind: &str, cid: Option<&str>| {
        let file = file(name, kind, b"a", cid);
        refused(move |mail| mail.attachments = vec![file])
    };
    assert_eq!(with("", "a/b", None), ["attachments[0].name"]);
    assert_eq!(with("a\r\nb", "a/b", None), ["attachments[0].name"]);
    assert_eq!(with("a", "pdf", None), ["attachments[0].type"]);
    assert_eq!(with("a", "a/b; x=\r\ny", None), ["attachments[0].type"]);
    assert_eq!(with("a", "a/b", Some("<x>")), ["attachments[0].cid"]);
    let twice = vec![file("a", "a/b", b"", Some("x")), file("b", "a/b", b"", Some("x"))];
    assert_eq!(refused(move |mail| mail.attachments = twice), ["attachments[1].cid"]);
    let mut large = file("a", "a/b", b"", None);
    (large.size, large.content) = (151 << 20, Bytes::new());
    assert_eq!(refused(|mail| mail.attachments = vec![large.clone()]), ["attachments[0].content", "attachments"]);
    large.size = 30 << 20;
    assert_eq!(refused(|mail| mail.attachments = vec![large.clone()]), ["attachments"]);
    let limits = Limits { size: 150 << 20, ..Limits::default() };
    assert!(check(&Submission { attachments: vec![large], ..submission() }, &limits).is_ok());
    assert_eq!(refused(|mail| mail.attachments = vec![file("a", "a/b", b"", None); 251]), ["attachments"]);
}

#[test]
fn all_problems_are_told_at_once() {
    let fields = refused(|mail| {
        mail.to.push(person("no"));
        mail.subject = "a\nb".into();
        mail.headers = vec![("To".into(), "x".into())];
        mail.attachments = vec![file("", "x", b"", None)];
    });
    assert_eq!(fields, ["to[1].email", "subject", "attachments[0].name", "attachments[0].type", "headers.To"]);
}

#[test]
fn what_is_accepted_fits_one_request() {
    let mut mail = submission();
    mail.text = Some("xé".repeat(300_000));
    mail.html = Some("é".repeat(300_000));
    mail.to = vec![Mailbox { name: Some("ü".repeat(255)), email: "a@x.org".into() }; 400];
    mail.attachments = vec![file("a", "a/b", &[1; 2_000_000], None), file("b", "a/b", &[1; 200_000], None)];
    assert_eq!(check(&mail, &Limits::default()), Ok(()));
    let length = mailspan::mail::compose::mime(&mail).len();
    assert!(length.div_ceil(3) * 4 < 4_000_000, "{length}");
}
