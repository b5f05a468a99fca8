//! Programs that speak SMTP hand in mail: it leaves once, nobody sees Bcc, and no trick or cut makes more or less of it.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use mailspan::mail::parse::parse;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Bridge, DEADLINE, SUPPORT, World, until, until_so};
use crate::world_bridge::{Plan, free_port};
use crate::world_live::Live;

const USERS: &str = "[{ name = \"crm\", password = \"swordfish\", senders = [\"*@contoso.example\"] }]";

trait Line: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// A client that says what it is told to.
pub(crate) struct Client {
    line: Box<dyn Line>,
    heard: String,
}

impl Client {
    async fn connect(listen: SocketAddr) -> Self {
        let mut client = Self { line: Box::new(TcpStream::connect(listen).await.unwrap()), heard: String::new() };
        assert!(client.reply().await.starts_with("220 "));
        client
    }

    /// One that has logged in.
    pub(crate) async fn known(listen: SocketAddr) -> Self {
        let mut client = Self::connect(listen).await;
        client.log_in().await;
        client
    }

    async fn log_in(&mut self) {
        self.ask("EHLO client.example", "250").await;
        self.ask(&login("swordfish"), "235 2.7.0").await;
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.line.write_all(bytes).await.unwrap();
    }

    async fn ask(&mut self, command: &str, answer: &str) -> String {
        self.say(format!("{command}\r\n").as_bytes()).await;
        let reply = self.reply().await;
        assert!(reply.lines().last().unwrap_or_default().starts_with(answer), "{command}: {reply}");
        reply
    }

    /// The next reply, all its lines; what was heard before the end, when there is none.
    async fn reply(&mut self) -> String {
        loop {
            let mut end = 0;
            for line in self.heard.split_inclusive("\r\n") {
                end += line.len();
                if line.ends_with("\r\n") && line.as_bytes().get(3) == Some(&b' ') {
                    return self.heard.drain(..end).collect();
                }
            }
            let mut piece = [0; 1024];
            let reading = tokio::time::timeout(DEADLINE, self.line.read(&mut piece));
            match reading.await.expect("an answer in time") {
                Ok(0) | Err(_) => return std::mem::take(&mut self.heard),
                Ok(length) => self.heard.push_str(std::str::from_utf8(&piece[..length]).unwrap()),
            }
        }
    }

    /// Hands a mail in, to which the answer must begin so.
    pub(crate) async fn hand_in(&mut self, from: &str, recipients: &[&str], mail: &str, answer: &str) -> String {
        self.ask(&format!("MAIL FROM:<{from}>"), "250 2.1.0").await;
        for recipient in recipients {
            self.ask(&format!("RCPT TO:<{recipient}>"), "250 2.1.5").await;
        }
        self.ask("DATA", "354").await;
        self.ask(&format!("{mail}\r\n."), answer).await
    }
}

fn login(password: &str) -> String {
    format!("AUTH PLAIN {}", BASE64_STANDARD.encode(format!("\0crm\0{password}")))
}

/// A plan with a listener, and where it listens.
pub(crate) fn listening(world: &World) -> (Plan, SocketAddr) {
    let listen = free_port();
    let plan = world.plan().text("outbound", "smtp_listen", &listen.to_string());
    (plan.value("outbound", "smtp_users", USERS), listen)
}

/// A connection that was greeted; `None`: it was turned away.
async fn greeted(listen: SocketAddr) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(listen).await.unwrap();
    let mut greeting = [0; 4];
    let read = tokio::time::timeout(DEADLINE, socket.read_exact(&mut greeting)).await.expect("a greeting in time");
    (read.is_ok() && greeting == *b"220 ").then_some(socket)
}

/// The next line that is said, and nothing of what follows it.
async fn line_of(socket: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(tokio::time::timeout(DEADLINE, socket.read_u8()).await.expect("a line in time").unwrap());
    }
    String::from_utf8(line).unwrap()
}

async fn until_sent(world: &World, count: usize) {
    until_so("the mails to be sent", async || world.tenant.sent_count() >= count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_change_with_the_configuration_and_the_listener_stays() {
    let world = World::new().await;
    let (plan, listen) = listening(&world);
    let live = Live::start(&world, &plan).await;
    let mut before = Client::known(listen).await;
    live.change(&plan.clone().value("outbound", "smtp_users", &USERS.replace("swordfish", "stickleback"))).await;
    let mut client = Client::connect(listen).await;
    client.ask("EHLO client.example", "250").await;
    client.ask(&login("swordfish"), "535").await;
    client.ask(&login("stickleback"), "235").await;
    let mail = |subject: &str| format!("From: {SUPPORT}\nTo: ann@example.org\nSubject: {subject}\n\nHello");
    client.hand_in(SUPPORT, &["ann@example.org"], &mail("After"), "250 2.0.0 sub_").await;
    before.hand_in(SUPPORT, &["ann@example.org"], &mail("Within"), "250 2.0.0 sub_").await;
    until_sent(&world, 2).await;
    // Who is removed hands in nothing more, however long a session lasts; what may be sent from is asked at each mail.
    live.change(&plan.clone().value("outbound", "smtp_users", &USERS.replace("*@", "nobody@"))).await;
    before.ask(&format!("MAIL FROM:<{SUPPORT}>"), "550 5.7.1").await;
    live.change(&plan.clone().value("outbound", "smtp_users", &USERS.replace("crm", "desk"))).await;
    before.ask(&format!("MAIL FROM:<{SUPPORT}>"), "530 5.7.0").await;
    live.change(&plan).await;
    before.hand_in(SUPPORT, &["ann@example.org"], &mail("Again"), "250 2.0.0 sub_").await;
    until_sent(&world, 3).await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_handed_in_leaves_once_and_nobody_sees_bcc() {
    for world in [Some(World::sqlite().await), World::postgres().await].into_iter().flatten() {
        let (plan, listen) = listening(&world);
        let bridge = Bridge::start(&plan).await;
        let mut client = Client::known(listen).await;
        let mail = format!(
            "From: Support <{SUPPORT}>\nTo: Ann <ann@example.org>\nBcc: eve@example.org\nSubject: Gr\u{fc}\u{df}e\n\
             X-Campaign: spring\n\n..schön {}",
            "lang ".repeat(300)
        );
        let reply = client.hand_in(SUPPORT, &["ann@example.org", "eve@example.org"], &mail, "250 2.0.0 sub_").await;
        assert!(reply.trim_end().ends_with(" queued"), "{reply}");
        let other = format!("From: {SUPPORT}\r\nTo: ann@example.org\r\n\r\nHi");
        let refused = [
            ("ceo@contoso.example", other.replace(SUPPORT, "ceo@contoso.example"), "550 5.1.8"),
            (SUPPORT, other.replace(SUPPORT, "ceo@fabrikam.example"), "550 5.7.1"),
            (SUPPORT, format!("Subject: {}\r\n{other}", "x".repeat(300)), "554 5.6.0 subject has 300 letters"),
        ];
        for (from, mail, answer) in refused {
            client.hand_in(from, &["ann@example.org"], &mail, answer).await;
        }
        client.ask("QUIT", "221").await;
        until_sent(&world, 1).await;
        let [sent] = &world.tenant.sent()[..] else { panic!("one mail left") };
        assert_eq!(sent.recipients, ["ann@example.org", "eve@example.org"]);
        let read = parse(&sent.mime);
        assert_eq!((read.subject.as_deref(), read.fields.value("x-campaign")), (Some("Grüße"), Some("spring")));
        assert!(read.text.is_some_and(|it| it.value.starts_with("..schön lang")));
        let text = String::from_utf8_lossy(&sent.mime);
        assert!(!text.contains("eve@") && !text.replace("\r\n", "").contains(['\r', '\n']), "{text}");
        assert!(text.lines().all(|it| it.len() <= 998), "{text}");
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_cut_at_any_byte_leaves_nothing_or_exactly_one_mail() {
    let world = World::new().await;
    let (plan, listen) = listening(&world);
    let bridge = Bridge::start(&plan).await;
    let mail = format!("From: {SUPPORT}\r\nTo: ann@example.org\r\nMessage-ID: <cut@contoso.example>\r\n\r\nHi\r\n");
    let script = format!(
        "EHLO x\r\n{}\r\nMAIL FROM:<{SUPPORT}>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n{mail}.\r\n",
        login("swordfish")
    );
    for cut in 0..=script.len() {
        // One address has so many sessions at once and no more, and those before may not have ended yet.
        let mut socket = until("a session", async || greeted(listen).await).await;
        socket.write_all(&script.as_bytes()[..cut]).await.unwrap();
        drop(socket);
    }
    // Whether or not the last one was heard to its end, the client does not know, and hands it in again.
    let socket = until("a session", async || greeted(listen).await).await;
    let mut client = Client { line: Box::new(socket), heard: "220 ".to_owned() };
    client.reply().await;
    client.log_in().await;
    let first = client.hand_in(SUPPORT, &["ann@example.org"], mail.trim_end(), "250 2.0.0 sub_").await;
    let again = client.hand_in(SUPPORT, &["ann@example.org"], mail.trim_end(), "250 2.0.0 sub_").await;
    assert_eq!(first.split(' ').nth(2), again.split(' ').nth(2));
    assert!(again.contains("it was handed in before"), "{again}");
    until_sent(&world, 1).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM submissions").await, 1);
    bridge.stop().await;
    assert_eq!(world.tenant.sent_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_travel_encrypted_and_nothing_slips_in_before() {
    let world = World::new().await;
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    for mode in ["starttls", "implicit"] {
        let (plan, listen) = listening(&world);
        let tls = format!("{{ cert_file = {chain:?}, key_file = {key:?}, mode = {mode:?} }}");
        let bridge = Bridge::start(&plan.value("outbound", "smtp_tls", &tls)).await;
        let mut plain = TcpStream::connect(listen).await.unwrap();
        if mode == "starttls" {
            let mut client = Client { line: Box::new(plain), heard: String::new() };
            client.reply().await;
            client.ask("EHLO x", "250").await;
            client.ask(&login("swordfish"), "538 5.7.11").await;
            client.ask(&format!("MAIL FROM:<{SUPPORT}>"), "530 5.7.0").await;
            // The second command is thrown away with the plain text it came in.
            plain = TcpStream::connect(listen).await.unwrap();
            assert!(line_of(&mut plain).await.starts_with("220 "));
            plain.write_all(b"STARTTLS\r\nEHLO evil\r\n").await.unwrap();
            assert!(line_of(&mut plain).await.starts_with("220 2.0.0"));
        }
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = Client { line: Box::new(connector.connect(name, plain).await.unwrap()), heard: String::new() };
        if mode == "implicit" {
            assert!(client.reply().await.starts_with("220 "));
        }
        client.ask("NOOP", "250 2.0.0").await;
        client.ask("EHLO x", "250").await;
        client.ask(&login("guess"), "535 5.7.8").await;
        client.ask(&login("swordfish"), "235 2.7.0").await;
        let before = world.tenant.sent_count();
        let mail = format!("From: {SUPPORT}\r\nTo: ann@example.org\r\n\r\n{mode}");
        client.hand_in(SUPPORT, &["ann@example.org"], &mail, "250 2.0.0 sub_").await;
        until_sent(&world, before + 1).await;
        let metrics = bridge.daemon.metrics.render();
        assert!(metrics.contains("mailspan_smtp_logins_total{outcome=\"refused\"}"), "{metrics}");
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_are_guessed_at_once_are_no_more_than_one_after_the_other() {
    let world = World::new().await;
    let (plan, listen) = listening(&world);
    let bridge = Bridge::start(&plan).await;
    let mut guesses = tokio::task::JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = Client::connect(listen).await;
        client.ask("EHLO client.example", "250").await;
        clients.push(client);
    }
    for (number, mut client) in clients.into_iter().enumerate() {
        guesses.spawn(async move {
            client.say(format!("{}\r\n", login(&format!("guess {number}"))).as_bytes()).await;
            client.reply().await
        });
    }
    let (mut looked_at, mut not_looked_at) = (0, 0);
    while not_looked_at < 54 {
        let reply = guesses.join_next().await.expect("54 that are not looked at").unwrap();
        match &reply[..3] {
            "454" => not_looked_at += 1,
            "535" => looked_at += 1,
            _ => panic!("{reply}"),
        }
    }
    assert!(looked_at <= 10, "{looked_at}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_coming_in_is_taken_when_the_bridge_stops_and_nothing_after_it() {
    let world = World::new().await;
    let (plan, listen) = listening(&world);
    let plan = plan.text("server", "shutdown_timeout", "60s");
    let bridge = Bridge::start(&plan).await;
    let (mut idle, mut busy) = (Client::known(listen).await, Client::known(listen).await);
    busy.ask(&format!("MAIL FROM:<{SUPPORT}>"), "250").await;
    busy.ask("RCPT TO:<ann@example.org>", "250").await;
    busy.ask("DATA", "354").await;
    busy.say(format!("From: {SUPPORT}\r\nTo: ann@example.org\r\n\r\nHi").as_bytes()).await;
    bridge.ask_to_stop();
    assert!(idle.reply().await.starts_with("421 4.3.2"), "who is idle is sent away");
    let refused = async || TcpStream::connect(listen).await.is_err();
    until_so("the listener to be closed", refused).await;
    busy.say(b"\r\n.\r\n").await;
    assert!(busy.reply().await.starts_with("250 2.0.0 sub_"));
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    bridge.stop().await;
    let bridge = Bridge::start(&plan).await;
    until_sent(&world, 1).await;
    bridge.stop().await;
}
