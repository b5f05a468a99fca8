//! What a mail relay gets, and what its answers lead to, over real sockets and real TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailspan::destinations::{BuildError, Destination, Handover, build};
use mailspan::egress::{self, Egress};
use mailspan::model::outcome::Failure;

use crate::destination_webhook::{Wrist, handover};
use crate::relay::{Act, Nature, Relay, Step};

const MAIL: &str =
    "Message-ID: <1@example.net>\r\nFrom: Ada <ada@example.net>\r\nSubject: Invoice\r\n\r\nHello\r\n.\r\n..end\r\n";

fn mail(raw: impl Into<Bytes>) -> Handover {
    let headers = vec![
        ("mailspan-mailbox", "support@contoso.example".to_owned()),
        ("mailspan-matched-recipient", "help@contoso.example".to_owned()),
    ];
    Handover { raw: raw.into(), headers, ..handover("ix_1") }
}

fn built(port: u16, ca_file: Option<std::path::PathBuf>, more: &str) -> Result<Arc<dyn Destination>, BuildError> {
    let egress = Egress::with_environment(&egress::Config { ca_file, proxy: None }, |_| None).unwrap();
    let section =
        format!("kind = 'smtp'\nhost = 'localhost'\nport = {port}\nrecipient = 'support@acme.example'\n{more}");
    build(&toml::from_str(&section).unwrap(), &egress, Wrist::now())
}

/// A route to this relay that trusts its authority.
fn route(relay: &Relay, more: &str) -> Arc<dyn Destination> {
    built(relay.port, Some(relay.ca_file.clone()), more).unwrap()
}

async fn failure(destination: &Arc<dyn Destination>) -> Failure {
    destination.deliver(&mail(MAIL)).await.unwrap_err()
}

#[tokio::test]
async fn the_mail_comes_as_it_is_over_verified_tls_on_our_own_envelope() {
    let relay = Relay::start().await;
    let destination = route(&relay, "helo = 'bridge.example'\nadd_headers = ['X-Genesys-To']");
    assert_eq!(destination.deliver(&mail(MAIL)).await, Ok(()));
    let [taken] = &relay.taken()[..] else { panic!("one mail") };
    assert!(taken.tls);
    assert_eq!(taken.hello, "bridge.example");
    assert_eq!(taken.to, "<support@acme.example>");
    let (sender, parameters) = taken.from.split_once("> ").unwrap();
    assert!(sender.starts_with("<SRS0=") && sender.ends_with("=example.net=ada@bridge.example"), "{sender}");
    assert_eq!(parameters, format!("SIZE={}", taken.content.len()));
    let text = taken.text();
    assert!(text.ends_with(MAIL), "{text}");
    assert_eq!(taken.header("X-Mailspan-Interaction-Id").as_deref(), Some("ix_1"));
    assert_eq!(taken.header("X-Mailspan-Route").as_deref(), Some("support-flow"));
    assert_eq!(taken.header("X-Genesys-To").as_deref(), Some("help@contoso.example"));
    assert_eq!(taken.header("X-Mailspan-Repeated"), None);
    assert!(taken.header("Received").unwrap().starts_with("by bridge.example (Mailspan)"));
    assert!(!text.to_lowercase().contains("\nbcc:"));
}

#[tokio::test]
async fn the_senders_are_ours_or_nobody() {
    let relay = Relay::start().await;
    let fixed = route(&relay, "bounce_address = 'bounce@bridge.example'");
    let rewriting = route(&relay, "srs_secret = 'tops3cr3t'");
    let null = "Return-Path: <>\r\nFrom: postmaster@example.net\r\n\r\nfailed\r\n";
    for (destination, raw, expected) in [
        (&fixed, MAIL, "<bounce@bridge.example>"),
        (&fixed, null, "<>"),
        (&rewriting, null, "<>"),
        (&rewriting, "Subject: nobody\r\n\r\n", "<>"),
    ] {
        destination.deliver(&mail(raw)).await.unwrap();
        let taken = relay.taken();
        assert!(taken.last().unwrap().from.starts_with(&format!("{expected} ")), "{:?}", taken.last());
    }
    rewriting.deliver(&mail(MAIL)).await.unwrap();
    assert!(relay.taken().last().unwrap().from.contains("=example.net=ada@contoso.example>"), "the mailbox's domain");
    assert!(relay.taken().last().unwrap().hello.starts_with('['), "our address");
}

#[tokio::test]
async fn a_certificate_that_is_not_the_relays_ends_it_unless_nobody_asks() {
    let stranger = Relay::like(Nature { certified_for: "other.example", ..Nature::default() }).await;
    let unknown = Relay::start().await;
    let no_ca = |more: &str| built(unknown.port, None, more).unwrap();
    for destination in [route(&stranger, ""), no_ca(""), no_ca("tls = 'starttls'")] {
        let failure = failure(&destination).await;
        assert!(matches!(failure, Failure::Transient { .. }) && failure.reason().contains("TLS"), "{failure:?}");
    }
    assert!(stranger.taken().is_empty() && unknown.taken().is_empty());
    no_ca("tls = 'opportunistic'").deliver(&mail(MAIL)).await.unwrap();
    assert!(unknown.taken()[0].tls);
    no_ca("tls = 'none'").deliver(&mail(MAIL)).await.unwrap();
    assert!(!unknown.taken()[1].tls);
}

#[tokio::test]
async fn tls_is_there_from_the_first_byte_or_by_starttls_or_not_at_all() {
    let implicit = Relay::like(Nature { implicit: true, ..Nature::default() }).await;
    route(&implicit, "tls = 'implicit'").deliver(&mail(MAIL)).await.unwrap();
    assert!(implicit.taken()[0].tls);

    let bare = Relay::like(Nature { start_tls: false, ..Nature::default() }).await;
    let failure = failure(&route(&bare, "")).await;
    assert!(matches!(failure, Failure::Transient { .. }) && failure.reason().contains("STARTTLS"), "{failure:?}");
    assert!(bare.said().iter().all(|it| it.starts_with("EHLO")), "nothing of the mail: {:?}", bare.said());
    route(&bare, "tls = 'opportunistic'").deliver(&mail(MAIL)).await.unwrap();
    assert!(!bare.taken()[0].tls);
}

#[tokio::test]
async fn words_slipped_in_before_tls_are_not_heard() {
    let relay = Relay::start().await;
    relay.will([(Step::StartTls, Act::Say("220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"))]);
    let failure = failure(&route(&relay, "username = 'mailspan'\npassword = 'swordfish'")).await;
    assert!(matches!(failure, Failure::Transient { .. }) && failure.reason().contains("out of turn"), "{failure:?}");
    assert!(!relay.said().iter().any(|it| it.starts_with("AUTH")), "{:?}", relay.said());
}

#[tokio::test]
async fn a_login_is_made_over_tls_only_unless_allowed() {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let credentials = "username = 'mailspan'\npassword = 'swordfish'";
    for (offer, expected) in [
        ("AUTH PLAIN LOGIN", format!("PLAIN {}", BASE64_STANDARD.encode("\0mailspan\0swordfish"))),
        ("AUTH LOGIN", format!("LOGIN {} {}", BASE64_STANDARD.encode("mailspan"), BASE64_STANDARD.encode("swordfish"))),
    ] {
        let relay = Relay::like(Nature { offers: vec![offer], ..Nature::default() }).await;
        route(&relay, credentials).deliver(&mail(MAIL)).await.unwrap();
        assert_eq!(relay.taken()[0].login.as_ref(), Some(&expected));
        for tls in ["none", "opportunistic"] {
            let in_the_clear = route(&relay, &format!("{credentials}\ntls = '{tls}'"));
            let before = relay.said().iter().filter(|it| it.starts_with("AUTH")).count();
            assert!(failure(&in_the_clear).await.reason().contains("login"));
            assert_eq!(relay.said().iter().filter(|it| it.starts_with("AUTH")).count(), before);
        }
        let allowed = route(&relay, &format!("{credentials}\ntls = 'none'\nallow_insecure_login = true"));
        allowed.deliver(&mail(MAIL)).await.unwrap();
        relay.will([(Step::Login, Act::Say("535 5.7.8 no swordfish\r\n"))]);
        let failure = failure(&route(&relay, credentials)).await;
        assert!(matches!(failure, Failure::Transient { .. }) && !failure.reason().contains("swordfish"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_mail_and_a_dead_one_is_replaced() {
    let relay = Relay::start().await;
    let destination = route(&relay, "");
    for _ in 0..3 {
        destination.deliver(&mail(MAIL)).await.unwrap();
    }
    assert_eq!((relay.connections(), relay.taken().len()), (1, 3));
    assert_eq!(relay.said().iter().filter(|it| *it == "RSET").count(), 2);
    for (number, act) in [
        (Step::Reset, Act::SayAndDrop("421 4.4.2 too long\r\n")),
        (Step::Reset, Act::Drop),
        (Step::Reset, Act::Say("HTTP/1.1 400 no\r\n")),
        (Step::Sender, Act::SayAndDrop("421 4.7.0 enough mails\r\n")),
        (Step::Sender, Act::Drop),
    ]
    .into_iter()
    .enumerate()
    {
        relay.will([act]);
        destination.deliver(&mail(MAIL)).await.unwrap();
        assert_eq!((relay.connections(), relay.taken().len()), (2 + number, 4 + number));
    }
    // A refusal of a mail is none of the connection.
    relay.will([(Step::Recipient, Act::Say("550 5.1.1 no\r\n"))]);
    assert!(matches!(failure(&destination).await, Failure::Permanent { .. }));
    destination.deliver(&mail(MAIL)).await.unwrap();
    assert_eq!(relay.connections(), 6);
}

/// A relay that has the whole mail and whose answer is lost in this way, and what is said of that. Where the time of the
/// attempt was over before the mail was there, nothing is known of that case, and another relay is asked.
async fn taken_without_an_answer(raw: &'static str, act: &Act, timeout: &str) -> (Relay, Failure) {
    for _ in 0..12 {
        let relay = Relay::start().await;
        relay.will([(Step::Acceptance, act.clone())]);
        let failure = route(&relay, &format!("timeout = '{timeout}'")).deliver(&mail(raw)).await.unwrap_err();
        if !relay.taken().is_empty() {
            return (relay, failure);
        }
    }
    panic!("the mail never came to its end within {timeout}")
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_with_the_same_ids_and_a_flag() {
    for (act, timeout) in [(Act::Drop, "60s"), (Act::Hang, "5s")] {
        let no_id = "From: ada@example.net\r\n\r\nHello\r\n";
        let (relay, failure) = taken_without_an_answer(no_id, &act, timeout).await;
        assert!(
            matches!(failure, Failure::Transient { .. }) && failure.reason().contains("may have arrived"),
            "{failure:?}"
        );
        route(&relay, "timeout = '60s'").deliver(&Handover { attempt: 2, ..mail(no_id) }).await.unwrap();
        let [first, second] = &relay.taken()[..] else { panic!("two copies") };
        for name in ["Message-ID", "X-Mailspan-Interaction-Id"] {
            assert_eq!(first.header(name), second.header(name));
        }
        assert_eq!(first.header("Message-ID").as_deref(), Some("<ix_1@contoso.example>"));
        assert_eq!(
            (first.header("X-Mailspan-Repeated"), second.header("X-Mailspan-Repeated").as_deref()),
            (None, Some("2"))
        );
    }
}

#[tokio::test]
async fn what_goes_wrong_at_each_step_is_tried_again_or_needs_a_person() {
    let steps =
        [Step::Greeting, Step::Hello, Step::StartTls, Step::Sender, Step::Recipient, Step::Data, Step::Acceptance];
    for step in steps {
        let acts = [
            (Act::Say("451 4.3.0 later\r\n"), false),
            (Act::Say("421-4.3.2 closing\r\n421 4.3.2 now\r\n"), false),
            (
                Act::Say("554 5.6.0 <ada@example.net>\r\n"),
                matches!(step, Step::Sender | Step::Recipient | Step::Data | Step::Acceptance),
            ),
            (Act::Drop, false),
            (Act::Say("\u{1}\u{2}garbage\r\n"), false),
            (Act::Say("250-one\r\n550 other\r\n"), false),
        ];
        for (act, is_permanent) in acts {
            let relay = Relay::start().await;
            relay.will([(step, act.clone())]);
            let destination = route(&relay, "timeout = '60s'");
            let failure = failure(&destination).await;
            assert_eq!(matches!(failure, Failure::Permanent { .. }), is_permanent, "{act:?} at {step:?}: {failure:?}");
            assert!(!failure.reason().contains("ada"), "{failure}");
            destination.deliver(&mail(MAIL)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn silence_at_any_step_ends_with_the_attempts_time() {
    for step in [Step::Greeting, Step::Hello, Step::Sender, Step::Data, Step::Acceptance] {
        let relay = Relay::start().await;
        relay.will([(step, Act::Hang)]);
        let failure = failure(&route(&relay, "timeout = '300ms'")).await;
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?} at {step:?}");
    }
}

#[tokio::test]
async fn a_yes_before_the_end_is_no_yes_and_a_refusal_before_it_is_heard() {
    let large = format!("From: ada@example.net\r\n\r\n{}", format!("{}\r\n", "x".repeat(990)).repeat(16_000));
    // More than all buffers between them hold, so that the word is there before the end.
    for (said, is_permanent) in
        [("250 2.0.0 taken\r\n", false), ("552 5.3.4 too large\r\n", true), ("451 4.3.1 full\r\n", false)]
    {
        for act in [Act::Say(said), Act::SayAndDrop(said)] {
            let relay = Relay::like(Nature { offers: vec![], ..Nature::default() }).await;
            relay.will([(Step::Content, act)]);
            let destination = route(&relay, "timeout = '60s'");
            let failure = destination.deliver(&mail(large.clone())).await.unwrap_err();
            let drops = relay.taken().is_empty();
            assert!(drops, "the content did not end");
            // What closes the connection may take its last words along.
            let expected = is_permanent && !failure.reason().contains("lost");
            assert_eq!(matches!(failure, Failure::Permanent { .. }), expected, "{failure:?}");
        }
    }
    let relay = Relay::start().await;
    relay.will([(Step::Data, Act::Say("354 go\r\n250 2.0.0 taken\r\n"))]);
    let failure = failure(&route(&relay, "timeout = '60s'")).await;
    assert!(failure.reason().contains("out of turn"), "{failure:?}");
}

#[tokio::test]
async fn what_a_relay_does_not_announce_it_does_not_get() {
    let small = Relay::like(Nature { offers: vec!["SIZE 100"], ..Nature::default() }).await;
    let failure = failure(&route(&small, "")).await;
    assert!(matches!(failure, Failure::Permanent { .. }) && failure.reason().contains("SIZE 100"), "{failure:?}");
    let unlimited = Relay::like(Nature { offers: vec!["SIZE 0"], ..Nature::default() }).await;
    route(&unlimited, "").deliver(&mail(MAIL)).await.unwrap();
    assert!(unlimited.taken()[0].from.contains("> SIZE="));

    let seven = Relay::like(Nature { offers: vec![], ..Nature::default() }).await;
    let body = "From: ada@example.net\r\n\r\nGrüße\r\n";
    let failure = route(&seven, "").deliver(&mail(body)).await.unwrap_err();
    assert!(matches!(failure, Failure::Permanent { .. }) && failure.reason().contains("8BITMIME"), "{failure:?}");
    assert!(!seven.said().iter().any(|it| it.starts_with("MAIL")));
    route(&seven, "").deliver(&mail(MAIL)).await.unwrap();
    assert!(seven.taken()[0].from.ends_with('>'), "no parameters: {}", seven.taken()[0].from);

    let eight = Relay::like(Nature { offers: vec!["8BITMIME"], ..Nature::default() }).await;
    route(&eight, "").deliver(&mail(body)).await.unwrap();
    assert!(eight.taken()[0].from.ends_with("> BODY=8BITMIME"));
    let failure = route(&eight, "").deliver(&mail("From: jürgen@example.net\r\n\r\n")).await.unwrap_err();
    assert!(matches!(failure, Failure::Permanent { .. }) && failure.reason().contains("SMTPUTF8"), "{failure:?}");
    let utf8 = Relay::start().await;
    route(&utf8, "").deliver(&mail("From: jürgen@example.net\r\n\r\n")).await.unwrap();
    assert!(utf8.taken()[0].from.ends_with(" BODY=8BITMIME SMTPUTF8"), "{}", utf8.taken()[0].from);
}

#[tokio::test]
async fn a_mail_of_any_shape_arrives_whole() {
    let relay = Relay::like(Nature { offers: vec!["8BITMIME", "SIZE"], ..Nature::default() }).await;
    let destination = route(&relay, "");
    let long = format!(".{}", "x".repeat(200_000));
    let many = ".\r\n..\r\n".repeat(40_000);
    for body in [long.as_str(), &many, "a\n.\nb", "a\r.\rb", "", "\u{0}\u{ff}", "no end"] {
        let raw = format!("Subject: a\r\n\r\n{body}");
        destination.deliver(&mail(raw.clone())).await.unwrap();
        let taken = relay.taken().pop().unwrap();
        let mut expected = raw.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
        if !expected.ends_with("\r\n") {
            expected += "\r\n";
        }
        assert!(taken.text().ends_with(&expected), "{:?}", &raw[..raw.len().min(40)]);
        assert!(taken.from.contains(&format!("SIZE={}", taken.content.len())));
    }
}

#[tokio::test]
async fn many_at_once_are_all_there_and_few_connections_stay() {
    let relay = Relay::start().await;
    let destination = route(&relay, "");
    let mut running = tokio::task::JoinSet::new();
    for number in 0..12 {
        let destination = destination.clone();
        running.spawn(async move {
            destination.deliver(&Handover { interaction: format!("ix_{number}"), ..mail(MAIL) }).await
        });
    }
    assert!(running.join_all().await.iter().all(Result::is_ok));
    let mut ids: Vec<_> = relay.taken().iter().filter_map(|it| it.header("X-Mailspan-Interaction-Id")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 12);
    assert!(destination.timeout() == Duration::from_secs(120));
}

#[test]
fn a_section_that_is_of_no_use_names_its_key() {
    for (more, key) in [
        ("timeout = '0s'", "timeout"),
        ("helo = 'two words'", "helo"),
        ("username = 'mailspan'", "password"),
        ("password = 'swordfish'", "username"),
        ("username = 'a'\npassword = 'b'\npassword_file = 'c'", "password"),
        ("srs_secret = 'a'\nsrs_secret_file = 'b'", "srs_secret"),
        ("srs_secret_file = '/nonexistent'", "srs_secret_file"),
    ] {
        let Err(error) = built(25, None, more) else { panic!("{more} was taken") };
        assert_eq!(error.key, key, "{error}");
        assert!(!error.to_string().contains("swordfish"), "{error}");
    }
}
