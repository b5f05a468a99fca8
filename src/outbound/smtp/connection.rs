//! One connection: reads and writes for a session, encrypts it, and asks on its behalf. Every wait has an end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::config::TlsMode;
use super::login::Login;
use super::reply::{self, Reply};
use super::session::{Action, Handed, Phase, Session, User};
use crate::mail::compose::own_message_id;
use crate::memory::Held;
use crate::model::ids::sha256_hex;
use crate::model::submission::Origin;
use crate::outbound::{Offer, Offered};

/// Read at once.
const PIECE: usize = 64 << 10;
/// From the first byte until somebody is let in.
const LOGIN_WITHIN: Duration = Duration::from_secs(60);
/// From one command to the end of the next (RFC 5321 §4.5.3.2.7).
const COMMAND_WITHIN: Duration = Duration::from_secs(300);
/// From one piece of content to the next, and for all of it, to which a second is added for so many bytes.
const PIECE_WITHIN: Duration = Duration::from_secs(180);
const CONTENT_WITHIN: Duration = Duration::from_secs(600);
const SLOWEST: u64 = 32 << 10;
/// For a handshake, and for a reply to be taken.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(15);
const REPLY_WITHIN: Duration = Duration::from_secs(30);
/// How long a mail waits for room in memory.
const ROOM_WITHIN: Duration = Duration::from_secs(10);

trait Line: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Line for T {}

/// A connection that is served.
struct Connection {
    shared: Arc<Shared>,
    line: Box<dyn Line>,
    peer: IpAddr,
    session: Session,
    /// What is to be said.
    unsaid: String,
    room: Option<Held>,
    /// When patience ends, and when this phase began.
    until: Instant,
    began: Instant,
}

/// The connection is over.
struct Over;

/// Serves a connection until one side ends it. With `stop` it ends after the mail that is coming in.
pub(super) async fn serve(shared: Arc<Shared>, socket: TcpStream, peer: IpAddr, stop: CancellationToken) {
    // Replies are small and each is waited for. Only speed is lost where this is refused.
    let _ = socket.set_nodelay(true);
    let is_implicit = shared.mode == Some(TlsMode::Implicit);
    let now = Instant::now();
    let mut connection = Connection {
        session: Session::new(shared.terms(), is_implicit),
        line: Box::new(socket),
        peer,
        unsaid: String::new(),
        room: None,
        until: now + LOGIN_WITHIN,
        began: now,
        shared,
    };
    // Whichever side ended it, there is nothing left to do.
    let _ = connection.talk(is_implicit, &stop).await;
}

/// Says one thing and hangs up.
pub(super) async fn turn_away(mut socket: TcpStream, reply: Reply) {
    let said = async {
        let _ = socket.write_all(reply.written().as_bytes()).await;
        let _ = socket.shutdown().await;
    };
    let _ = timeout(HANDSHAKE_WITHIN, said).await;
}

impl Connection {
    async fn talk(&mut self, is_implicit: bool, stop: &CancellationToken) -> Result<(), Over> {
        if is_implicit {
            self.encrypt().await?;
        }
        self.say(&Reply::plain(220, vec!["mailspan ESMTP ready".into()]));
        let mut heard = vec![0; PIECE];
        loop {
            self.flush().await?;
            let length = self.hear(&mut heard, stop).await?;
            let mut rest = heard.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                let phase = self.session.phase();
                let action = self.session.next(&mut rest);
                let is_more = matches!(action, Action::More);
                if self.act(action).await? == Then::Forget {
                    rest = &[];
                }
                if !is_more || phase != self.session.phase() {
                    self.began = Instant::now();
                }
                self.hold();
            }
        }
    }

    /// What comes next. Time is counted from the last thing that was whole, so that dribbling brings none.
    async fn hear(&mut self, heard: &mut [u8], stop: &CancellationToken) -> Result<usize, Over> {
        let now = Instant::now();
        let until = match self.session.phase() {
            Phase::Unknown => self.until,
            Phase::Command => self.began + COMMAND_WITHIN,
            Phase::Content => {
                let all = self.began + CONTENT_WITHIN + Duration::from_secs(self.session.held() / SLOWEST);
                all.min(now + PIECE_WITHIN)
            }
        };
        let is_within_content = self.session.phase() == Phase::Content;
        let read = tokio::select! {
            biased;
            () = stop.cancelled(), if !is_within_content => {
                return self.hang_up(&Reply::new(421, "4.3.2", "the bridge is being stopped; come again later")).await;
            }
            read = timeout_at(until, self.line.read(heard)) => read,
        };
        match read {
            Ok(Ok(0) | Err(_)) => Err(Over),
            Ok(Ok(length)) => Ok(length),
            Err(_) => self.hang_up(&Reply::new(421, "4.4.2", "nothing came for too long")).await,
        }
    }

    async fn act(&mut self, action: Action) -> Result<Then, Over> {
        let mut action = action;
        loop {
            action = match action {
                Action::More => return Ok(Then::GoOn),
                Action::Say(reply) => {
                    self.say(&reply);
                    return Ok(Then::GoOn);
                }
                Action::Close(reply) => return self.hang_up(&reply).await,
                Action::Encrypt(reply) => {
                    self.say(&reply);
                    self.flush().await?;
                    self.encrypt().await?;
                    self.session.encrypted();
                    return Ok(Then::Forget);
                }
                Action::Check(login) => {
                    let known = self.check(&login).await;
                    self.session.checked(known)
                }
                Action::Recall(name) => {
                    let user = self.shared.outbound().users.named(&name);
                    self.session.recalled(user)
                }
                Action::Allow(user) => {
                    let may = self.shared.guard().may_send(&user.name, user.rate_per_minute, self.shared.now());
                    let too_many = || Reply::new(450, "4.7.1", "too many mails within a minute; try again in a minute");
                    self.session.allowed(if may { Ok(()) } else { Err(too_many()) })
                }
                Action::Room(bytes) => {
                    let budget = self.shared.outbound().memory.clone();
                    let room = async {
                        match bytes {
                            0 => budget.take_unknown().await,
                            bytes => budget.take(bytes).await,
                        }
                    };
                    self.room = timeout(ROOM_WITHIN, room).await.ok();
                    self.session.room(self.room.is_some())
                }
                Action::Take(handed) => {
                    // From here on it has the room that every mail takes while it is accepted.
                    self.room = None;
                    let reply = self.take(handed).await;
                    self.session.taken(reply)
                }
            };
        }
    }

    /// What is held of a mail has its room, or is let go.
    fn hold(&mut self) {
        let held = self.session.held();
        let is_over = held == 0 && self.session.phase() != Phase::Content;
        let has_room = self.room.as_mut().is_none_or(|it| it.grow_to(held));
        if !has_room {
            self.session.lose_room();
        }
        if is_over || !has_room {
            self.room = None;
        }
    }

    async fn check(&mut self, login: &Login) -> Result<User, Reply> {
        let (now, name) = (self.shared.now(), login.name.as_str());
        let begun = self.shared.guard().begin(self.peer, name, now);
        let Some(begun) = begun else {
            count("blocked");
            return Err(Reply::new(454, "4.7.0", "too many passwords were wrong; try again in a quarter of an hour"));
        };
        if !begun.wait.is_zero() {
            tokio::time::sleep(begun.wait).await;
        }
        match self.shared.outbound().users.known(login) {
            Some(user) => {
                self.shared.guard().right(begun, self.peer, name, self.shared.now());
                count("accepted");
                Ok(user)
            }
            None => {
                self.shared.guard().wrong(begun, name, self.shared.now());
                count("refused");
                tracing::warn!(peer = %self.peer, "A login over SMTP was refused: no such user, or another password");
                Err(Reply::new(535, "5.7.8", "no such user, or another password"))
            }
        }
    }

    async fn take(&self, mut handed: Handed) -> Reply {
        // In whatever order a client names them the second time, it is the same mail.
        handed.recipients.sort_unstable();
        let user = handed.user.clone();
        let offer = Offer {
            origin: Origin::Smtp,
            by: handed.user.clone(),
            key: key(&handed),
            mail: Offered::Raw { mail: handed.mail, sender: handed.sender, recipients: Some(handed.recipients) },
            send_at: None,
            save_to_sent_items: true,
            metadata: serde_json::Map::new(),
            answers: None,
        };
        match self.shared.outbound().accept(offer).await {
            Ok(receipt) => {
                tracing::info!(
                    submission = receipt.id,
                    user,
                    repeated = receipt.is_repeated,
                    "A mail was handed in over SMTP"
                );
                reply::accepted(&receipt)
            }
            Err(why) => {
                let reply = reply::refused(&why);
                tracing::warn!(user, code = reply.code, "A mail that was handed in over SMTP was refused");
                reply
            }
        }
    }

    async fn encrypt(&mut self) -> Result<(), Over> {
        let Some(certificate) = &self.shared.certificate else { return Err(Over) };
        let acceptor = certificate.acceptor(self.shared.now());
        let (nothing, _) = tokio::io::duplex(1);
        let line = std::mem::replace(&mut self.line, Box::new(nothing));
        match timeout(HANDSHAKE_WITHIN, acceptor.accept(line)).await {
            Ok(Ok(line)) => {
                self.line = Box::new(line);
                Ok(())
            }
            _ => Err(Over),
        }
    }

    fn say(&mut self, reply: &Reply) {
        self.unsaid.push_str(&reply.written());
    }

    async fn flush(&mut self) -> Result<(), Over> {
        if self.unsaid.is_empty() {
            return Ok(());
        }
        let said = std::mem::take(&mut self.unsaid);
        let writing = async {
            self.line.write_all(said.as_bytes()).await?;
            self.line.flush().await
        };
        match timeout(REPLY_WITHIN, writing).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over),
        }
    }

    async fn hang_up<T>(&mut self, reply: &Reply) -> Result<T, Over> {
        self.say(reply);
        self.flush().await?;
        // The peer may have gone already.
        let _ = timeout(REPLY_WITHIN, self.line.shutdown()).await;
        Err(Over)
    }
}

/// What becomes of the bytes that were heard and not looked at yet.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    /// They were said before TLS.
    Forget,
}

/// The same mail handed in again after a lost answer: the same bytes with the same Message-ID, for the same people. A
/// mail without a Message-ID may be meant twice.
fn key(handed: &Handed) -> Option<String> {
    let id = own_message_id(&handed.mail)?;
    let recipients: Vec<_> = handed.recipients.iter().map(ToString::to_string).collect();
    let sender = handed.sender.as_ref().map(ToString::to_string).unwrap_or_default();
    let said = [vec![id, sender, sha256_hex(&handed.mail)], recipients].concat().join("\n");
    Some(format!("smtp-{}", sha256_hex(said.as_bytes())))
}

fn count(outcome: &'static str) {
    metrics::counter!("mailspan_smtp_logins_total", "outcome" => outcome).increment(1);
}
