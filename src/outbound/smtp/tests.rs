//! Sessions as tables: what is said, what is answered, what is handed in.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::reply::{Reply, refused};
use super::session::{Action, Handed, Phase, Session, Terms, User};
use crate::model::address::AddressPattern;
use crate::model::secret::Secret;
use crate::outbound::Refused;

/// A driver that has everything at hand.
struct Desk {
    session: Session,
    said: String,
    taken: Vec<Handed>,
    has_room: bool,
    is_over: bool,
    /// What users there are may send from.
    senders: Vec<AddressPattern>,
}

impl Desk {
    fn new(starts_tls: bool) -> Self {
        let terms = Terms { max_size: 2_000, recipients: 3, starts_tls };
        let session = Session::new(Arc::new(terms), false);
        let senders = vec![AddressPattern::parse("*@contoso.com").unwrap()];
        Self { session, said: String::new(), taken: Vec::new(), has_room: true, is_over: false, senders }
    }

    fn user(&self, name: String) -> Option<User> {
        let senders = self.senders.clone();
        (!senders.is_empty()).then_some(User { name, senders, rate_per_minute: None })
    }

    /// One that is known already.
    fn known() -> Self {
        let mut desk = Self::new(false);
        desk.hear(format!("EHLO x\r\nAUTH PLAIN {}\r\n", login("desk", "swordfish")).as_bytes());
        assert!(desk.said.ends_with("235 2.7.0 welcome\r\n"), "{}", desk.said);
        desk.said.clear();
        desk
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_over {
            let mut action = self.session.next(&mut rest);
            action = loop {
                action = match action {
                    Action::Check(login) => {
                        let is_right = login.name == "desk" && login.password == Secret::new("swordfish");
                        let user = self.user(login.name).filter(|_| is_right);
                        self.session.checked(user.ok_or_else(|| Reply::new(535, "5.7.8", "wrong")))
                    }
                    Action::Recall(name) => {
                        let user = self.user(name);
                        self.session.recalled(user)
                    }
                    Action::Allow(_) => self.session.allowed(Ok(())),
                    Action::Room(_) => self.session.room(self.has_room),
                    Action::Take(handed) => {
                        self.taken.push(handed);
                        self.session.taken(Reply::new(250, "2.0.0", "sub_1 queued"))
                    }
                    action => break action,
                };
            };
            match action {
                Action::Say(reply) => self.said.push_str(&reply.written()),
                Action::Close(reply) => {
                    self.said.push_str(&reply.written());
                    self.is_over = true;
                }
                Action::Encrypt(reply) => {
                    self.said.push_str(&reply.written());
                    rest = &[];
                    self.session.encrypted();
                }
                _ => {}
            }
        }
    }

    /// The codes of all replies, with their enhanced ones.
    fn codes(&self) -> Vec<String> {
        let last_lines = self.said.lines().filter(|it| it.as_bytes().get(3) == Some(&b' '));
        let code = |line: &str| {
            let mut words = line.split(' ');
            let (code, next) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let has_enhanced = next.split('.').count() == 3 && next.starts_with(['2', '4', '5']);
            if has_enhanced { format!("{code} {next}") } else { code.to_owned() }
        };
        last_lines.map(code).collect()
    }
}

fn login(name: &str, password: &str) -> String {
    BASE64_STANDARD.encode(format!("\0{name}\0{password}"))
}

const BEGUN: &str = "MAIL FROM:<a@contoso.com>\r\nRCPT TO:<ann@example.org>\r\n";

fn content(desk: &Desk) -> Vec<String> {
    desk.taken.iter().map(|it| String::from_utf8_lossy(&it.mail).into_owned()).collect()
}

#[test]
fn a_mail_is_handed_in() {
    let mut desk = Desk::known();
    desk.hear(
        b"MAIL FROM:<A@contoso.com> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x\r\n\
          RCPT TO:<ann@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;ann@example.org\r\nRCPT TO:<ANN@example.org>\r\n\
          RCPT TO:<bo@b\xc3\xbccher.example>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
    );
    let codes = ["250 2.1.0", "250 2.1.5", "250 2.1.5", "250 2.1.5", "354", "250 2.0.0", "221 2.0.0"];
    assert_eq!(desk.codes(), codes, "{}", desk.said);
    let [handed] = desk.taken.as_slice() else { panic!("{:?}", desk.taken) };
    assert_eq!(handed.user, "desk");
    assert_eq!(handed.sender.as_ref().map(ToString::to_string).as_deref(), Some("a@contoso.com"));
    let recipients: Vec<_> = handed.recipients.iter().map(ToString::to_string).collect();
    assert_eq!(recipients, ["ann@example.org", "bo@xn--bcher-kva.example"]);
    assert_eq!(&handed.mail[..], b"Subject: x\r\n\r\n.dot\r\n");
}

#[test]
fn every_command_has_its_answer() {
    let long = format!("NOOP {}\r\n", "x".repeat(3_000));
    let key = login("desk", "swordfish");
    let known = |rest: &str| format!("EHLO x\r\nAUTH PLAIN {key}\r\n{rest}");
    let cases: Vec<(String, Vec<&str>)> = vec![
        (
            "EHLO x\r\nNOOP\r\nHELP\r\nVRFY a\r\nRSET\r\n".into(),
            vec!["250", "250 2.0.0", "214 2.0.0", "252 2.0.0", "250 2.0.0"],
        ),
        ("HELO x\r\nQUIT\r\nNOOP\r\n".into(), vec!["250", "221 2.0.0"]),
        ("ehlo x\nnoop\n".into(), vec!["250", "250 2.0.0"]),
        ("MAIL FROM:<a@contoso.com>\r\n".into(), vec!["503 5.5.1"]),
        (format!("EHLO x\r\n{BEGUN}DATA\r\n"), vec!["250", "530 5.7.0", "503 5.5.1", "503 5.5.1"]),
        ("EHLO x\r\nSTARTTLS\r\n".into(), vec!["250", "503 5.5.1"]),
        (
            "EHLO\r\nWHAT\r\nEHLO x\r\nEXPN a\r\nETRN x\r\n".into(),
            vec!["501 5.5.4", "500 5.5.1", "250", "502 5.5.1", "502 5.5.1"],
        ),
        (long, vec!["500 5.5.6"]),
        (
            "EHLO x\r\nAUTH CRAM-MD5\r\nAUTH PLAIN !\r\nAUTH LOGIN\r\n*\r\n".into(),
            vec!["250", "504 5.5.4", "501 5.5.2", "334", "501 5.0.0"],
        ),
        (
            "EHLO x\r\nAUTH LOGIN\r\nZGVzaw==\r\nc3dvcmRmaXNo\r\nAUTH PLAIN\r\n".into(),
            vec!["250", "334", "334", "235 2.7.0", "503 5.5.1"],
        ),
        (known("MAIL FROM:<a@fabrikam.com>\r\n"), vec!["250", "235 2.7.0", "550 5.7.1"]),
        (known("MAIL FROM:<a@contoso.com> SIZE=9000\r\n"), vec!["250", "235 2.7.0", "552 5.3.4"]),
        (
            known("MAIL FROM:<a@contoso.com> HOLDFOR=9\r\nMAIL FROM:<a@contoso.com> BODY=BINARYMIME\r\n"),
            vec!["250", "235 2.7.0", "555 5.5.4", "555 5.5.4"],
        ),
        (
            known("MAIL FROM:<a@contoso.com> X=1\r\nMAIL FROM: a\r\nMAIL FROM:<a>\r\n"),
            vec!["250", "235 2.7.0", "555 5.5.4", "501 5.5.4", "553 5.1.7"],
        ),
        (
            known(&format!("{BEGUN}MAIL FROM:<a@contoso.com>\r\nAUTH LOGIN\r\n")),
            vec!["250", "235 2.7.0", "250 2.1.0", "250 2.1.5", "503 5.5.1", "503 5.5.1"],
        ),
        (known("MAIL FROM:<a@contoso.com>\r\nDATA\r\n"), vec!["250", "235 2.7.0", "250 2.1.0", "503 5.5.1"]),
        (
            known(
                "MAIL FROM:<>\r\nRCPT TO:<>\r\nRCPT TO:<postmaster>\r\nRCPT TO:<gr\u{fc}n@x.org>\r\nRCPT TO:<\"a b\"@x.org>\r\n",
            ),
            vec!["250", "235 2.7.0", "250 2.1.0", "553 5.1.3", "553 5.1.3", "553 5.6.7", "553 5.1.3"],
        ),
        (
            known(
                "MAIL FROM:<>\r\nRCPT TO:<a@x.org>\r\nRCPT TO:<b@x.org>\r\nRCPT TO:<c@x.org>\r\nRCPT TO:<d@x.org>\r\nRCPT TO:<a@x.org>\r\n",
            ),
            vec!["250", "235 2.7.0", "250 2.1.0", "250 2.1.5", "250 2.1.5", "250 2.1.5", "452 4.5.3", "250 2.1.5"],
        ),
    ];
    for (said, answers) in cases {
        let mut desk = Desk::new(false);
        desk.hear(said.as_bytes());
        assert_eq!(desk.codes(), answers, "{said}\n{}", desk.said);
        assert!(desk.taken.is_empty());
    }
}

#[test]
fn only_a_dot_between_line_ends_ends_a_mail() {
    for trick in ["\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r\n\0.\r\n", "\r\n. \r\n", "\r\n.\r\r\n"] {
        let mut desk = Desk::known();
        let mail = format!("{BEGUN}DATA\r\nSubject: x\r\n{trick}MAIL FROM:<a@contoso.com>\r\nDATA\r\n");
        desk.hear(mail.as_bytes());
        assert_eq!((desk.taken.len(), desk.session.phase()), (0, Phase::Content), "{trick:?}");
        desk.hear(b"\r\n.\r\n");
        assert_eq!(desk.taken.len(), 1, "{trick:?}");
        assert!(content(&desk)[0].contains("MAIL FROM"), "{trick:?}");
        assert_eq!(desk.codes().last().unwrap(), "250 2.0.0");
    }
    let mut desk = Desk::known();
    desk.hear(format!("{BEGUN}DATA\r\n.\r\n").as_bytes());
    assert_eq!(content(&desk), [""], "a mail without content ends as well");
}

#[test]
fn before_tls_nobody_is_believed_and_what_was_said_is_forgotten() {
    let mut desk = Desk::new(true);
    desk.hear(b"EHLO x\r\n");
    assert!(desk.said.contains("STARTTLS") && !desk.said.contains("AUTH"), "{}", desk.said);
    desk.hear(format!("AUTH PLAIN {}\r\nMAIL FROM:<a@contoso.com>\r\n", login("desk", "swordfish")).as_bytes());
    assert_eq!(desk.codes(), ["250", "538 5.7.11", "530 5.7.0"]);
    // What is smuggled in behind STARTTLS is never heard.
    desk.hear(b"STARTTLS\r\nEHLO evil\r\nRSET\r\n");
    assert_eq!(desk.codes().last().unwrap(), "220 2.0.0");
    desk.said.clear();
    desk.hear(b"NOOP\r\nMAIL FROM:<a@contoso.com>\r\nEHLO x\r\nSTARTTLS\r\n");
    assert_eq!(desk.codes(), ["250 2.0.0", "503 5.5.1", "250", "503 5.5.1"]);
    assert!(desk.said.contains("AUTH PLAIN LOGIN") && !desk.said.contains("250-STARTTLS"), "{}", desk.said);
}

#[test]
fn who_is_wrong_too_often_is_sent_away() {
    let wrong = format!("AUTH PLAIN {}\r\n", login("desk", "guess"));
    let noise = "WHAT\r\n";
    for (said, closes_with, replies) in [
        (format!("EHLO x\r\n{}", wrong.repeat(9)), "535 5.7.8", 4),
        (noise.repeat(99), "421 4.7.0", 21),
        ("NOOP\r\n".repeat(99), "421 4.7.0", 41),
    ] {
        let mut desk = Desk::new(false);
        desk.hear(said.as_bytes());
        let codes = desk.codes();
        assert!(desk.is_over, "{said}");
        assert_eq!((codes.last().unwrap().as_str(), codes.len()), (closes_with, replies));
    }
}

#[test]
fn what_is_too_large_or_has_no_room_is_read_on_and_refused() {
    let large = "a line of text\r\n".repeat(200);
    let mut desk = Desk::known();
    desk.hear(format!("{BEGUN}DATA\r\n{large}").as_bytes());
    assert_eq!(desk.session.held(), 0, "it is not kept");
    desk.hear(format!(".\r\n{BEGUN}DATA\r\nSubject: y\r\n\r\n.\r\n").as_bytes());
    let codes = desk.codes();
    assert_eq!(codes[2..], ["354", "552 5.3.4", "250 2.1.0", "250 2.1.5", "354", "250 2.0.0"]);
    assert_eq!(desk.taken.len(), 1);

    let mut desk = Desk::known();
    desk.has_room = false;
    desk.hear(format!("{BEGUN}DATA\r\n{BEGUN}BDAT 4 LAST\r\nabcdNOOP\r\n").as_bytes());
    assert_eq!(desk.codes()[2..], ["452 4.3.1", "250 2.1.0", "250 2.1.5", "452 4.3.1", "250 2.0.0"]);

    let mut desk = Desk::known();
    desk.hear(format!("{BEGUN}DATA\r\nSubject: x\r\n").as_bytes());
    desk.session.lose_room();
    desk.hear(b"\r\nmore\r\n.\r\nNOOP\r\n");
    assert_eq!(desk.codes()[2..], ["354", "452 4.3.1", "250 2.0.0"]);
    assert!(desk.taken.is_empty());
}

#[test]
fn content_comes_in_pieces_as_well() {
    let mut desk = Desk::known();
    desk.hear(format!("{BEGUN}BDAT 12\r\nSubject: x\r\nBDAT 0\r\nBDAT 6 LAST\r\n\r\n\r\n.\n").as_bytes());
    assert_eq!(desk.codes()[2..], ["250 2.0.0", "250 2.0.0", "250 2.0.0"], "{}", desk.said);
    assert_eq!(content(&desk), ["Subject: x\r\n\r\n\r\n.\n"]);
    for (said, answers) in [
        (
            format!("{BEGUN}BDAT 3\r\nabcDATA\r\nRCPT TO:<b@x.org>\r\nRSET\r\nNOOP\r\n"),
            vec!["250 2.0.0", "503 5.5.1", "503 5.5.1", "250 2.0.0", "250 2.0.0"],
        ),
        (
            format!("{BEGUN}BDAT 2500\r\n{}BDAT 3 LAST\r\nabcNOOP\r\n", "x".repeat(2500)),
            vec!["552 5.3.4", "552 5.3.4", "250 2.0.0"],
        ),
        (format!("{BEGUN}BDAT 0 LAST\r\nNOOP\r\n"), vec!["250 2.0.0", "250 2.0.0"]),
        (format!("{BEGUN}BDAT x\r\nBDAT 3 FIRST\r\n"), vec!["501 5.5.4", "501 5.5.4"]),
    ] {
        let mut desk = Desk::known();
        desk.hear(said.as_bytes());
        assert_eq!(desk.codes()[2..], answers, "{said}");
    }
    let mut desk = Desk::known();
    desk.hear(b"BDAT 4\r\nNOOPNOOP\r\nBDAT 99999999\r\nNOOP\r\n");
    assert_eq!(desk.codes(), ["503 5.5.1", "250 2.0.0", "503 5.5.1"]);
    assert!(desk.is_over);
}

#[test]
fn from_must_be_somebody_the_user_may_be() {
    for (head, answer) in [
        ("From: A <a@contoso.com>\r\n", "250 2.0.0"),
        ("Subject: without From\r\n", "250 2.0.0"),
        ("From: ceo@fabrikam.com\r\n", "550 5.7.1"),
        ("From: \"a@contoso.com\" <ceo@fabrikam.com>\r\n", "550 5.7.1"),
        // Not for us to say what is wrong with it.
        ("From: a@contoso.com, ceo@fabrikam.com\r\n", "250 2.0.0"),
    ] {
        let mut desk = Desk::known();
        desk.hear(format!("{BEGUN}DATA\r\n{head}\r\n.\r\n").as_bytes());
        assert_eq!(desk.codes().last().unwrap(), answer, "{head}");
    }
}

#[test]
fn a_refused_mail_leaves_the_session_as_it_was() {
    let mut desk = Desk::known();
    desk.hear(BEGUN.as_bytes());
    let mut session = desk.session;
    assert!(matches!(session.next(&mut &b"DATA\r\n"[..]), Action::Room(0)));
    session.room(true);
    assert!(matches!(session.next(&mut &b"Subject: x\r\n\r\n.\r\n"[..]), Action::Take(_)));
    assert!(matches!(session.taken(refused(&Refused::NoSender)), Action::Say(reply) if reply.code == 550));
    assert!(matches!(session.next(&mut &b"MAIL FROM:<>\r\n"[..]), Action::Recall(_)));
}

#[test]
fn what_a_user_may_is_asked_again_at_each_mail() {
    let mut desk = Desk::known();
    let mail = "RCPT TO:<ann@example.org>\r\nDATA\r\nFrom: a@contoso.com\r\n\r\n.\r\n";
    for (senders, from, answers) in [
        (None, "a@contoso.com", &["530 5.7.0", "503 5.5.1"][..]),
        (None, "", &["530 5.7.0", "503 5.5.1"]),
        (Some("*@fabrikam.com"), "a@contoso.com", &["550 5.7.1", "503 5.5.1"]),
        (Some("*@fabrikam.com"), "a@fabrikam.com", &["250 2.1.0", "250 2.1.5", "354", "550 5.7.1"]),
        (Some("*@contoso.com"), "a@contoso.com", &["250 2.1.0", "250 2.1.5", "354", "250 2.0.0"]),
    ] {
        desk.senders = senders.map(|it| AddressPattern::parse(it).unwrap()).into_iter().collect();
        desk.hear(format!("MAIL FROM:<{from}>\r\n{mail}").as_bytes());
        assert_eq!(desk.codes()[..answers.len()], *answers, "{senders:?} {from}");
        desk.said.clear();
    }
}

const PIECES: &[&str] = &[
    "EHLO x\r\n",
    "MAIL FROM:<a@contoso.com>\r\n",
    "RCPT TO:<ann@example.org>\r\n",
    "DATA\r\n",
    "Subject: x\r\n",
    "\r\n",
    ".\r\n",
    ".",
    "\r",
    "\n",
    "BDAT 7\r\n",
    "BDAT 3 LAST\r\n",
    "AUTH LOGIN\r\n",
    "AUTH PLAIN AGRlc2sAc3dvcmRmaXNo\r\n",
    "STARTTLS\r\n",
    "RSET\r\n",
    "\0",
    "\u{fc}",
    "NOOP\r\n",
    "From: a@contoso.com\r\n",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "QUIT\r\n",
];

proptest::proptest! {
    /// However the bytes of a session arrive, the same is answered and the same is handed in.
    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut(
        pieces in proptest::collection::vec((0..PIECES.len(), 1..30_usize), 0..25), step in 1..9_usize
    ) {
        let repeated = |(piece, times): &(usize, usize)| PIECES[*piece].repeat(if *piece == 20 { *times } else { 1 });
        let said: String = pieces.iter().map(repeated).collect();
        let (mut whole, mut cut) = (Desk::known(), Desk::known());
        whole.hear(said.as_bytes());
        said.as_bytes().chunks(step).for_each(|it| cut.hear(it));
        proptest::prop_assert_eq!(&whole.said, &cut.said);
        proptest::prop_assert_eq!(content(&whole), content(&cut));
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>, starts_tls: bool) {
        let mut desk = Desk::new(starts_tls);
        desk.hear(&bytes);
        proptest::prop_assert!(desk.taken.is_empty());
    }
}
