//! A mail server on a real socket: it keeps what it gets, and misbehaves by script.
//!
//! Without a script it does what RFC 5321 says. A scripted act is used once, when its step comes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::authority::vouched_for;

/// When something goes another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Greeting,
    Hello,
    StartTls,
    Login,
    Reset,
    Sender,
    Recipient,
    Data,
    /// While the content comes.
    Content,
    /// Once all of it came.
    Acceptance,
}

/// What happens then.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// This is said instead; lines end as written.
    Say(&'static str),
    /// This is said, and the connection ends.
    SayAndDrop(&'static str),
    /// The connection ends.
    Drop,
    /// Nothing happens any more.
    Hang,
}

/// A mail that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    /// What stood behind `MAIL FROM:`.
    pub(crate) from: String,
    /// What stood behind `RCPT TO:`.
    pub(crate) to: String,
    /// The content, dots undone.
    pub(crate) content: Vec<u8>,
    /// Whether that was encrypted.
    pub(crate) tls: bool,
    /// Who had logged in, and by what.
    pub(crate) login: Option<String>,
    /// What was said in EHLO.
    pub(crate) hello: String,
}

impl Mail {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// The value of the first field of this name.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next()?.to_owned();
        let line = head.lines().find(|it| it.to_lowercase().starts_with(&format!("{}:", name.to_lowercase())))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }
}

/// What the server is like.
#[derive(Clone)]
pub(crate) struct Nature {
    /// Its offers after EHLO, beside STARTTLS.
    pub(crate) offers: Vec<&'static str>,
    /// Whether STARTTLS is offered.
    pub(crate) start_tls: bool,
    /// Whether it speaks TLS from the first byte.
    pub(crate) implicit: bool,
    /// Whom its certificate is for.
    pub(crate) certified_for: &'static str,
}

impl Default for Nature {
    fn default() -> Self {
        let offers = vec!["SIZE 1000000", "8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES"];
        Self { offers, start_tls: true, implicit: false, certified_for: "localhost" }
    }
}

#[derive(Default)]
struct Book {
    acts: Vec<(Step, Act)>,
    taken: Vec<Mail>,
    connections: usize,
    said: Vec<String>,
}

struct Server {
    nature: Nature,
    tls: TlsAcceptor,
    book: Mutex<Book>,
}

/// A running server.
pub(crate) struct Relay {
    pub(crate) port: u16,
    /// The file with the certificate of its authority.
    pub(crate) ca_file: PathBuf,
    server: Arc<Server>,
    running: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Relay {
    pub(crate) async fn start() -> Self {
        Self::like(Nature::default()).await
    }

    pub(crate) async fn like(nature: Nature) -> Self {
        let (tls, ca) = vouched_for(&[nature.certified_for]);
        let tls = TlsAcceptor::from(tls);
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, ca).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(Server { nature, tls, book: Mutex::default() });
        let running = tokio::spawn({
            let server = server.clone();
            async move {
                let mut open = JoinSet::new();
                while let Ok((line, _)) = listener.accept().await {
                    let server = server.clone();
                    open.spawn(async move { server.serve(line).await });
                }
            }
        });
        Self { port, ca_file, server, running, _folder: folder }
    }

    /// Lets these happen, each once.
    pub(crate) fn will(&self, acts: impl IntoIterator<Item = (Step, Act)>) {
        self.server.book.lock().unwrap().acts.extend(acts);
    }

    pub(crate) fn taken(&self) -> Vec<Mail> {
        self.server.book.lock().unwrap().taken.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.server.book.lock().unwrap().connections
    }

    /// Every command, of every connection.
    pub(crate) fn said(&self) -> Vec<String> {
        self.server.book.lock().unwrap().said.clone()
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
type Line = BufReader<Box<dyn Io>>;

/// `None` ends the connection.
type Going = Option<()>;

impl Server {
    async fn serve(&self, line: TcpStream) -> Going {
        self.book.lock().unwrap().connections += 1;
        let mut tls = self.nature.implicit;
        let mut line: Line =
            BufReader::new(if tls { Box::new(self.tls.accept(line).await.ok()?) } else { Box::new(line) });
        let (mut from, mut to, mut login, mut hello) = (String::new(), String::new(), None, String::new());
        self.answer(&mut line, Step::Greeting, "220 relay.example ESMTP\r\n").await?;
        loop {
            let command = self.command(&mut line).await?;
            let (verb, rest) = command.split_once([' ', ':']).unwrap_or((&command, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => {
                    hello = rest.to_owned();
                    let mut offers = vec!["relay.example".to_owned()];
                    offers.extend(self.nature.offers.iter().map(|it| (*it).to_owned()));
                    if self.nature.start_tls && !tls {
                        offers.push("STARTTLS".into());
                    }
                    let last = offers.pop().unwrap_or_default();
                    let text: String = offers.iter().map(|it| format!("250-{it}\r\n")).collect();
                    self.answer(&mut line, Step::Hello, &format!("{text}250 {last}\r\n")).await?
                }
                "HELO" => self.answer(&mut line, Step::Hello, "250 relay.example\r\n").await?,
                "STARTTLS" => {
                    if self.answer(&mut line, Step::StartTls, "220 go\r\n").await? {
                        let bare = line.into_inner();
                        line = BufReader::new(Box::new(self.tls.accept(bare).await.ok()?));
                        tls = true;
                    }
                    continue;
                }
                "AUTH" if rest.eq_ignore_ascii_case("LOGIN") => {
                    say(&mut line, "334 VXNlcm5hbWU6\r\n").await?;
                    let user = self.command(&mut line).await?;
                    say(&mut line, "334 UGFzc3dvcmQ6\r\n").await?;
                    let password = self.command(&mut line).await?;
                    login = Some(format!("LOGIN {user} {password}"));
                    self.answer(&mut line, Step::Login, "235 2.7.0 welcome\r\n").await?
                }
                "AUTH" => {
                    login = Some(rest.to_owned());
                    self.answer(&mut line, Step::Login, "235 2.7.0 welcome\r\n").await?
                }
                "RSET" => self.answer(&mut line, Step::Reset, "250 2.0.0 ok\r\n").await?,
                "MAIL" => {
                    from = rest.trim_start_matches("FROM:").to_owned();
                    self.answer(&mut line, Step::Sender, "250 2.1.0 ok\r\n").await?
                }
                "RCPT" => {
                    to = rest.trim_start_matches("TO:").to_owned();
                    self.answer(&mut line, Step::Recipient, "250 2.1.5 ok\r\n").await?
                }
                "DATA" => {
                    if self.answer(&mut line, Step::Data, "354 go\r\n").await? {
                        let content = self.content(&mut line).await?;
                        let mail = Mail {
                            from: from.clone(),
                            to: to.clone(),
                            content,
                            tls,
                            login: login.clone(),
                            hello: hello.clone(),
                        };
                        self.accept(&mut line, mail).await?;
                    }
                    true
                }
                "QUIT" => return None,
                _ => self.answer(&mut line, Step::Hello, "500 5.5.1 what?\r\n").await?,
            };
        }
    }

    async fn command(&self, line: &mut Line) -> Option<String> {
        let mut command = String::new();
        line.read_line(&mut command).await.ok().filter(|read| *read > 0)?;
        let command = command.trim_end().to_owned();
        self.book.lock().unwrap().said.push(command.clone());
        Some(command)
    }

    async fn content(&self, line: &mut Line) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        if let Some(act) = self.act(Step::Content) {
            line.read_until(b'\n', &mut content).await.ok()?;
            perform(line, act).await?;
        }
        loop {
            let mut one = Vec::new();
            line.read_until(b'\n', &mut one).await.ok().filter(|read| *read > 0)?;
            assert!(one.ends_with(b"\r\n") && !one[..one.len() - 2].contains(&b'\r'), "a lone line end came");
            match one.strip_prefix(b".") {
                Some(b"\r\n") => return Some(content),
                Some(rest) => content.extend_from_slice(rest),
                None => content.extend_from_slice(&one),
            }
        }
    }

    /// A mail that is refused is not taken; one whose answer is lost is.
    async fn accept(&self, line: &mut Line, mail: Mail) -> Going {
        let act = self.act(Step::Acceptance);
        if !matches!(act, Some(Act::Say(_) | Act::SayAndDrop(_))) {
            self.book.lock().unwrap().taken.push(mail);
        }
        match act {
            Some(act) => perform(line, act).await,
            None => say(line, "250 2.0.0 taken\r\n").await,
        }
    }

    /// Whether it went as usual.
    async fn answer(&self, line: &mut Line, step: Step, usual: &str) -> Option<bool> {
        match self.act(step) {
            Some(act) => perform(line, act).await.map(|()| false),
            None => say(line, usual).await.map(|()| true),
        }
    }

    fn act(&self, step: Step) -> Option<Act> {
        let mut book = self.book.lock().unwrap();
        let at = book.acts.iter().position(|(it, _)| *it == step)?;
        Some(book.acts.remove(at).1)
    }
}

/// TLS keeps back what the socket does not take at once, and nothing but this sends it on.
async fn say(line: &mut Line, text: &str) -> Going {
    line.write_all(text.as_bytes()).await.ok()?;
    line.flush().await.ok()
}

async fn perform(line: &mut Line, act: Act) -> Going {
    match act {
        Act::Say(text) => say(line, text).await,
        Act::SayAndDrop(text) => {
            say(line, text).await?;
            None
        }
        Act::Drop => None,
        Act::Hang => std::future::pending().await,
    }
}
