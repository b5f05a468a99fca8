//! What mail programs do wrong, at the SMTP listener: handled as their users expect, and never to anybody's harm.

use mail_parser::{Message, MessageParser};

use crate::office::{ANN, Office};
use crate::submitting::Door;
use crate::world::{Bridge, SUPPORT, until_so};

const BOSS: &str = "boss@elsewhere.example";

fn parse(mime: &[u8]) -> Message<'_> {
    MessageParser::default().parse(mime).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_mistakes_of_mail_programs_reach_their_readers_all_the_same() {
    let office = Office::new().await;
    let door = Door::new(&office);
    let plan = door.open(office.plan());
    let bridge = Bridge::start(&plan).await;
    let head = |subject: &str| format!("From: {SUPPORT}\r\nTo: {ANN}\r\nSubject: {subject}\r\n");

    // Lines that end in LF alone.
    let mail = format!("{}\r\nfirst\r\nsecond\r\n", head("Bare line feeds")).replace("\r\n", "\n");
    taken(&door.hand(&[ANN], mail.as_bytes()).await);
    let sent = office.until_left("Bare line feeds").await;
    assert_eq!(parse(&sent.mime).body_text(0).unwrap().trim_end(), "first\r\nsecond");

    // Lines longer than anybody may write (RFC 5322 §2.1.1), in the text and in the header.
    let (long, ids) = ("word ".repeat(2_000), format!("<{}@x.example>", "i".repeat(1_200)));
    let mail = format!("{}X-Trace: {}\r\nReferences: {ids}\r\n\r\n{long}\r\n", head("Long lines"), "t".repeat(3_000));
    taken(&door.hand(&[ANN], mail.as_bytes()).await);
    let sent = office.until_left("Long lines").await;
    assert_eq!(parse(&sent.mime).body_text(0).unwrap().trim_end(), long.trim_end());

    // No Message-ID, no Date, no MIME-Version.
    taken(&door.hand(&[ANN], format!("{}\r\nbare\r\n", head("Nothing but the needed")).as_bytes()).await);
    let sent = office.until_left("Nothing but the needed").await;
    let mail = parse(&sent.mime);
    assert!(mail.date().is_some_and(mail_parser::DateTime::is_valid), "it has a date");
    assert!(mail.message_id().is_some_and(|it| it.ends_with("@contoso.example")), "{:?}", mail.message_id());

    // Letters in the header that nobody encoded.
    let mail = [head("Gr\u{fc}\u{df}e roh").as_bytes(), b"\r\n8 bit\r\n"].concat();
    taken(&door.hand(&[ANN], &mail).await);
    office.until_left("Gr\u{fc}\u{df}e roh").await;

    // The envelope says who gets it; who is named only in the header does not.
    let mail = format!("{}Cc: eve@customer.example\r\n\r\nnot for Eve\r\n", head("Envelope"));
    taken(&door.hand(&[ANN], mail.as_bytes()).await);
    let sent = office.until_left("Envelope").await;
    assert!(sent.recipients.contains(&ANN.to_owned()), "{:?}", sent.recipients);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_blind_copied_is_never_seen() {
    let office = Office::new().await;
    let door = Door::new(&office);
    let plan = door.open(office.plan());
    let bridge = Bridge::start(&plan).await;
    let mail = |subject: &str, bcc: &str| {
        format!("From: {SUPPORT}\r\nTo: {ANN}\r\nSubject: {subject}\r\n{bcc}\r\nHello\r\n").into_bytes()
    };
    taken(&door.hand(&[ANN, BOSS], &mail("In the envelope", "")).await);
    taken(&door.hand(&[ANN, BOSS], &mail("In both", &format!("Bcc: Boss <{BOSS}>\r\n"))).await);
    taken(&door.hand(&[ANN, BOSS], &mail("Folded", &format!("bCC :\r\n {BOSS}\r\n"))).await);
    let said = plan.submit_mime(mail("Over HTTP", &format!("Bcc: {BOSS}\r\n"))).await;
    said.id();
    for subject in ["In the envelope", "In both", "Folded", "Over HTTP"] {
        let sent = office.until_left(subject).await;
        assert_eq!(sent.recipients, [ANN, BOSS], "{subject}");
        let text = String::from_utf8_lossy(&sent.mime).to_lowercase();
        assert!(!text.contains("boss") && !text.contains("bcc"), "{subject}: {text}");
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_mail_is_smuggled_in_behind_a_dot() {
    let office = Office::new().await;
    let door = Door::new(&office);
    let plan = door.open(office.plan());
    let bridge = Bridge::start(&plan).await;
    let smuggled = format!(
        "MAIL FROM:<{SUPPORT}>\r\nRCPT TO:<victim@elsewhere.example>\r\nDATA\r\nSubject: Smuggled\r\n\r\nx\r\n"
    );
    let mut mails = 1;
    for (number, end) in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r\n\0.\r\n"].into_iter().enumerate() {
        let subject = format!("Dot {number}");
        let mail = format!("From: {SUPPORT}\r\nTo: {ANN}\r\nSubject: {subject}\r\n\r\nbefore{end}{smuggled}");
        // Taken as one mail, or refused; what matters is that there are never two.
        let said = door.hand(&[ANN], mail.as_bytes()).await;
        assert!(said.starts_with("250 2.") || said.starts_with('5'), "{said}");
        if said.starts_with('2') {
            mails += 1;
            office.until_left(&subject).await;
        }
    }
    taken(&door.hand(&[ANN], format!("From: {SUPPORT}\r\nTo: {ANN}\r\nSubject: Last\r\n\r\nx\r\n").as_bytes()).await);
    until_so("the last mail", async || office.sent().contains_key("Last")).await;
    // What was taken over and has not left yet counts as well.
    assert_eq!(office.world.number("SELECT COUNT(*) FROM submissions").await, mails);
    let sent = office.world.tenant.sent();
    assert!(sent.iter().all(|it| it.recipients == [ANN] && it.subject != "Smuggled"), "a mail was smuggled in");
    bridge.stop().await;
}

fn taken(said: &str) {
    assert!(said.starts_with("250 2."), "{said}");
}
