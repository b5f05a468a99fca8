//! One conversation with a relay, a step at a time, each within its own time and that of the attempt.
//!
//! A step says how far it came when it fails: what is lost before the content's end was not accepted, what is lost
//! after it may have been. Nothing is sent while something unasked lies in the ears.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::reply::Reply;
use super::verdict::{Phase, Trouble};
use super::wire::{Measure, Parcel, put};
use crate::egress::causes;
use crate::model::secret::Secret;

/// Written at once.
const PIECE: usize = 32 << 10;
/// After a relay has closed the door on a mail, its reason may still be read.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

trait Line: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// What a relay offers after EHLO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) start_tls: bool,
    pub(super) eight_bit: bool,
    pub(super) utf8: bool,
    /// SIZE as announced: `Some(None)` without a limit.
    pub(super) size: Option<Option<u64>>,
    pub(super) plain: bool,
    pub(super) login: bool,
}

impl Offers {
    fn read(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines.iter().skip(1) {
            // Old servers write `AUTH=PLAIN`.
            let upper = line.to_ascii_uppercase().replacen("AUTH=", "AUTH ", 1);
            let mut words = upper.split_ascii_whitespace();
            match words.next() {
                Some("STARTTLS") => offers.start_tls = true,
                Some("8BITMIME") => offers.eight_bit = true,
                Some("SMTPUTF8") => offers.utf8 = true,
                // 0 is no limit (RFC 1870, 4).
                Some("SIZE") => offers.size = Some(words.next().and_then(|it| it.parse().ok()).filter(|it| *it > 0)),
                Some("AUTH") => {
                    for word in words {
                        offers.plain |= word == "PLAIN";
                        offers.login |= word == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        offers
    }
}

/// An open connection.
pub(super) struct Session {
    line: Box<dyn Line>,
    heard: Vec<u8>,
    until: Instant,
    local: std::net::IpAddr,
    pub(super) offers: Offers,
}

impl Session {
    /// Connects; with `tls` at once when the port speaks nothing else. Ends with the greeting.
    pub(super) async fn open(
        (host, port): (&str, u16),
        tls: Option<(&Arc<ClientConfig>, &ServerName<'static>)>,
        until: Instant,
    ) -> Result<Self, Trouble> {
        let connecting = within(Phase::Connecting, until, TcpStream::connect((host, port)));
        let line = connecting.await?.map_err(|error| Trouble::Lost(Phase::Connecting, error.to_string()))?;
        // Commands are small and each waits for its answer. Only speed is lost where this is refused.
        let _ = line.set_nodelay(true);
        let local = line.local_addr().map_or(std::net::Ipv4Addr::LOCALHOST.into(), |it| it.ip().to_canonical());
        let mut session = Self { line: Box::new(line), heard: Vec::new(), until, local, offers: Offers::default() };
        if let Some((config, name)) = tls {
            session = session.encrypted(config, name).await?;
        }
        session.expect(Phase::Greeting).await?;
        Ok(session)
    }

    /// The time of the attempt it is used in.
    pub(super) fn use_until(&mut self, until: Instant) {
        self.until = until;
    }

    /// Says who we are and hears what is offered. Without a name, our address is it (RFC 5321, 4.1.3).
    pub(super) async fn hello(&mut self, name: Option<&str>) -> Result<(), Trouble> {
        let name = match (name, self.local) {
            (Some(name), _) => name.to_owned(),
            (None, std::net::IpAddr::V4(ip)) => format!("[{ip}]"),
            (None, std::net::IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        };
        match self.ask(Phase::Hello, &format!("EHLO {name}")).await {
            Ok(reply) => self.offers = Offers::read(&reply),
            // From before 1995: it has nothing to offer.
            Err(Trouble::Refused(_, reply)) if matches!(reply.code, 500 | 502) => {
                self.ask(Phase::Hello, &format!("HELO {name}")).await?;
                self.offers = Offers::default();
            }
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    /// From here on nobody else listens. What was said before does not count any more.
    pub(super) async fn start_tls(
        mut self,
        config: &Arc<ClientConfig>,
        name: &ServerName<'static>,
    ) -> Result<Self, Trouble> {
        self.ask(Phase::StartTls, "STARTTLS").await?;
        // Said in the clear and heard under TLS, it could be somebody else's word (CVE-2011-0411).
        self.nothing_unasked(Phase::StartTls)?;
        self.offers = Offers::default();
        self.encrypted(config, name).await
    }

    async fn encrypted(self, config: &Arc<ClientConfig>, name: &ServerName<'static>) -> Result<Self, Trouble> {
        let Self { line, heard, until, local, offers } = self;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name.clone(), line);
        let line = within(Phase::Handshake, until, handshake).await?;
        let line = line.map_err(|error| Trouble::Lost(Phase::Handshake, causes(&error)))?;
        Ok(Self { line: Box::new(line), heard, until, local, offers })
    }

    /// Logs in by the first way that both sides know.
    pub(super) async fn login(&mut self, user: &str, password: &Secret) -> Result<(), Trouble> {
        let encoded = |text: &[u8]| Zeroizing::new(BASE64_STANDARD.encode(text));
        if self.offers.plain {
            let both = Zeroizing::new(format!("\0{user}\0{}", password.expose()));
            let command = Zeroizing::new(format!("AUTH PLAIN {}", encoded(both.as_bytes()).as_str()));
            return self.ask(Phase::Login, &command).await.map(drop);
        }
        if !self.offers.login {
            return Err(Trouble::NoLogin);
        }
        self.go_on(Phase::Login, "AUTH LOGIN").await?;
        self.go_on(Phase::Login, &encoded(user.as_bytes())).await?;
        self.ask(Phase::Login, &encoded(password.expose().as_bytes())).await.map(drop)
    }

    /// Begins anew; shows also whether anybody is still there.
    pub(super) async fn reset(&mut self) -> Result<(), Trouble> {
        self.ask(Phase::Reset, "RSET").await.map(drop)
    }

    /// Hands a mail over. Done means that the relay has taken responsibility for it.
    pub(super) async fn hand_over(&mut self, sender: &str, recipient: &str, parcel: &Parcel) -> Result<(), Trouble> {
        let parameters = self.parameters(sender, recipient, parcel.measure())?;
        self.ask(Phase::Sender, &format!("MAIL FROM:<{sender}>{parameters}")).await?;
        self.ask(Phase::Recipient, &format!("RCPT TO:<{recipient}>")).await?;
        self.go_on(Phase::Data, "DATA").await?;
        match self.content(parcel).await {
            Err(lost @ Trouble::Lost(..)) => return Err(self.last_words().await.unwrap_or(lost)),
            sent => sent?,
        }
        self.expect(Phase::Acceptance).await.map(drop)
    }

    /// What is said of the mail beside its sender, when the relay can take it at all.
    fn parameters(&self, sender: &str, recipient: &str, mail: Measure) -> Result<String, Trouble> {
        let offers = &self.offers;
        let mut parameters = String::new();
        if let Some(limit) = offers.size {
            if let Some(limit) = limit.filter(|it| mail.size > *it) {
                return Err(Trouble::TooLarge { size: mail.size, limit });
            }
            parameters += &format!(" SIZE={}", mail.size);
        }
        if mail.is_8bit && !offers.eight_bit {
            return Err(Trouble::EightBit);
        }
        let has_utf8_address = !sender.is_ascii() || !recipient.is_ascii();
        if has_utf8_address && !offers.utf8 {
            return Err(Trouble::Utf8Address);
        }
        if mail.is_8bit {
            parameters += " BODY=8BITMIME";
        }
        if offers.utf8 && (has_utf8_address || mail.has_utf8_header) {
            parameters += " SMTPUTF8";
        }
        Ok(parameters)
    }

    async fn content(&mut self, parcel: &Parcel) -> Result<(), Trouble> {
        let mut wire = Vec::with_capacity(PIECE * 2);
        for line in parcel.lines() {
            if wire.len() >= PIECE {
                self.write(Phase::Content, &wire).await?;
                self.no_word_yet()?;
                wire.clear();
            }
            if line.len() > PIECE {
                // A line without end is not copied; only its first byte can be a dot.
                self.write(Phase::Content, &wire).await?;
                wire.clear();
                for (number, piece) in line.chunks(PIECE).enumerate() {
                    let dot: &[u8] = if number == 0 && piece.starts_with(b".") { b"." } else { b"" };
                    self.write(Phase::Content, dot).await?;
                    self.write(Phase::Content, piece).await?;
                }
                wire.extend_from_slice(b"\r\n");
                continue;
            }
            put(line, &mut wire);
        }
        self.write(Phase::Content, &wire).await?;
        self.flush(Phase::Content).await?;
        // What is there is only known once the runtime has looked.
        tokio::task::yield_now().await;
        self.no_word_yet()?;
        // Before these three bytes nothing was accepted; from the first of them on nobody can know.
        self.write(Phase::Acceptance, b".\r\n").await?;
        self.flush(Phase::Acceptance).await
    }

    /// A word before the end cannot be the answer to it: a refusal is one already, and a yes is nobody's.
    fn no_word_yet(&mut self) -> Result<(), Trouble> {
        let Self { line, heard, .. } = self;
        // Nothing to hear is as it should be; a connection that is gone shows at the next write.
        let _ = line.read_buf(heard).now_or_never();
        match Reply::read(heard) {
            Ok(None) if heard.is_empty() => Ok(()),
            Ok(Some((reply, _))) if reply.code >= 400 => Err(Trouble::Refused(Phase::Content, reply)),
            _ => Err(Trouble::Garbled(Phase::Content)),
        }
    }

    /// The reason a relay gave for closing the door while the mail was being sent, if it gave one.
    async fn last_words(&mut self) -> Option<Trouble> {
        self.until = self.until.min(Instant::now() + LAST_WORDS_WITHIN);
        let reply = self.hear(Phase::Content).await.ok()?;
        (!reply.is_positive()).then_some(Trouble::Refused(Phase::Content, reply))
    }

    /// Says goodbye without waiting for an answer.
    pub(super) async fn quit(mut self) {
        self.until = Instant::now() + LAST_WORDS_WITHIN;
        // It is over either way.
        let _ = self.write(Phase::Reset, b"QUIT\r\n").await;
        let _ = self.flush(Phase::Reset).await;
    }

    /// A command that is answered by yes.
    async fn ask(&mut self, phase: Phase, command: &str) -> Result<Reply, Trouble> {
        self.say(phase, command).await?;
        self.expect(phase).await
    }

    /// A command that is answered by "go on".
    async fn go_on(&mut self, phase: Phase, command: &str) -> Result<(), Trouble> {
        self.say(phase, command).await?;
        match self.hear(phase).await? {
            reply if matches!(reply.code, 354 | 334) => Ok(()),
            reply => Err(Trouble::Refused(phase, reply)),
        }
    }

    async fn expect(&mut self, phase: Phase) -> Result<Reply, Trouble> {
        let reply = self.hear(phase).await?;
        if reply.is_positive() { Ok(reply) } else { Err(Trouble::Refused(phase, reply)) }
    }

    async fn say(&mut self, phase: Phase, command: &str) -> Result<(), Trouble> {
        self.nothing_unasked(phase)?;
        let line = Zeroizing::new(format!("{command}\r\n"));
        self.write(phase, line.as_bytes()).await?;
        self.flush(phase).await
    }

    fn nothing_unasked(&self, phase: Phase) -> Result<(), Trouble> {
        if self.heard.is_empty() { Ok(()) } else { Err(Trouble::Garbled(phase)) }
    }

    async fn hear(&mut self, phase: Phase) -> Result<Reply, Trouble> {
        let Self { line, heard, until, .. } = self;
        within(phase, *until, async {
            loop {
                if let Some((reply, used)) = Reply::read(heard).map_err(|_| Trouble::Garbled(phase))? {
                    heard.drain(..used);
                    return Ok(reply);
                }
                match line.read_buf(heard).await {
                    Ok(0) => return Err(Trouble::Lost(phase, "the relay closed it".into())),
                    Ok(_) => {}
                    Err(error) => return Err(Trouble::Lost(phase, causes(&error))),
                }
            }
        })
        .await?
    }

    async fn write(&mut self, phase: Phase, bytes: &[u8]) -> Result<(), Trouble> {
        let written = within(phase, self.until, self.line.write_all(bytes)).await?;
        written.map_err(|error| Trouble::Lost(phase, causes(&error)))
    }

    async fn flush(&mut self, phase: Phase) -> Result<(), Trouble> {
        let flushed = within(phase, self.until, self.line.flush()).await?;
        flushed.map_err(|error| Trouble::Lost(phase, causes(&error)))
    }
}

/// A step, within its own time and that of the attempt.
async fn within<T>(phase: Phase, until: Instant, step: impl Future<Output = T>) -> Result<T, Trouble> {
    let began = Instant::now();
    let end = until.min(began + phase.limit());
    timeout_at(end, step).await.map_err(|_| Trouble::Late(phase, rounded(end.saturating_duration_since(began))))
}

/// For people: whole seconds where there are any.
fn rounded(time: Duration) -> Duration {
    if time >= Duration::from_secs(1) {
        Duration::from_secs(time.as_secs())
    } else {
        Duration::from_millis(time.subsec_millis().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_relay_offers_is_read() {
        let read = |text: &str| Offers::read(&Reply::read(text.as_bytes()).unwrap().unwrap().0);
        let all = read(
            "250-SIZE mx\r\n250-size 1000\r\n250-StartTLS\r\n250-8bitmime\r\n250-AUTH CRAM-MD5 LOGIN PLAIN\r\n250 SMTPUTF8\r\n",
        );
        let expected =
            Offers { start_tls: true, eight_bit: true, utf8: true, size: Some(Some(1000)), plain: true, login: true };
        assert_eq!(all, expected);
        assert_eq!(
            read("250-mx\r\n250-SIZE 0\r\n250 AUTH=LOGIN\r\n"),
            Offers { size: Some(None), login: true, ..Offers::default() }
        );
        assert_eq!(read("250-mx\r\n250 SIZE\r\n").size, Some(None));
        assert_eq!(read("250 STARTTLS\r\n"), Offers::default(), "the first line is its name");
    }
}
