//! One session as a state machine: bytes in, actions out. It reads no socket, looks at no clock and asks no store.
//!
//! Content ends at CRLF `.` CRLF and nowhere else, what was heard before TLS is forgotten with it, and every command is
//! answered once, in order.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smtp_proto::{AUTH_LOGIN, AUTH_PLAIN, Error, MailFrom, RcptTo, Request};

use super::content::{Chunk, Content};
use super::envelope::{Envelope, recipient, sender};
use super::login::{self, Exchange, Login, Next};
use super::reply::Reply;
use crate::model::address::{Address, AddressPattern};

/// RFC 5321 §4.5.3.1.4 asks for 512; extensions add to it.
const LONGEST_COMMAND: usize = 2_048;
/// RFC 4954 §4.
const LONGEST_LOGIN: usize = 12_288;
/// So many refused commands, wrong passwords, and commands of somebody unknown end a session.
const MOST_ERRORS: u32 = 20;
const MOST_LOGINS: u32 = 3;
const MOST_UNKNOWN: u32 = 40;

/// What a listener offers to everybody.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// Bytes of a mail.
    pub(super) max_size: u64,
    /// Recipients of a mail.
    pub(super) recipients: usize,
    /// Whether a session begins in plain text and has to be encrypted before anybody is believed.
    pub(super) starts_tls: bool,
}

/// Who was let in.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) senders: Vec<AddressPattern>,
    pub(super) rate_per_minute: Option<u32>,
}

impl User {
    /// Whether this user may send from this address.
    pub(super) fn may_be(&self, address: &Address) -> bool {
        self.senders.iter().any(|it| it.matches(address))
    }
}

/// What is to be done now.
#[derive(Debug)]
pub(super) enum Action {
    /// Say this and go on.
    Say(Reply),
    /// Wait for more bytes.
    More,
    /// Say this, forget what was heard, encrypt; then [`Session::encrypted`].
    Encrypt(Reply),
    /// See who this is; then [`Session::checked`].
    Check(Login),
    /// See whether there is still a user of this name, and what he may; then [`Session::recalled`].
    Recall(String),
    /// See whether this user may send one more mail now; then [`Session::allowed`].
    Allow(User),
    /// Make room for a mail of about so many bytes; then [`Session::room`].
    Room(u64),
    /// Take this over; then [`Session::taken`].
    Take(Handed),
    /// Say this and hang up.
    Close(Reply),
}

/// A mail that was handed in, with its envelope.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) user: String,
    pub(super) sender: Option<Address>,
    pub(super) recipients: Vec<Address>,
    pub(super) mail: Bytes,
}

/// How much patience a session deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has been let in yet.
    Unknown,
    /// The next command is to come.
    Command,
    /// A mail is on its way.
    Content,
}

/// A session.
pub(super) struct Session {
    pub(super) terms: Arc<Terms>,
    is_encrypted: bool,
    has_greeted: bool,
    pub(super) user: Option<User>,
    pub(super) envelope: Option<Envelope>,
    pub(super) state: State,
    /// A line that has not ended yet, and whether it is already too long.
    line: Vec<u8>,
    is_overlong: bool,
    errors: u32,
    logins: u32,
    commands: u32,
}

pub(super) enum State {
    Command,
    Login(Exchange),
    /// Somebody else is to say how it goes on.
    Asked,
    /// The same, and this much of the content comes next.
    AskedFor(Chunk),
    Content(Content),
    Chunk(Chunk),
}

impl Session {
    pub(super) fn new(terms: Arc<Terms>, is_encrypted: bool) -> Self {
        Self {
            terms,
            is_encrypted,
            has_greeted: false,
            user: None,
            envelope: None,
            state: State::Command,
            line: Vec::new(),
            is_overlong: false,
            errors: 0,
            logins: 0,
            commands: 0,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::Content(_) | State::Chunk(_) => Phase::Content,
            _ if self.user.is_none() => Phase::Unknown,
            _ => Phase::Command,
        }
    }

    /// Bytes of a mail that are held.
    pub(super) fn held(&self) -> u64 {
        let content = match &self.state {
            State::Content(content) => content.held(),
            _ => 0,
        };
        (content + self.envelope.as_ref().map_or(0, |it| it.content.len())) as u64
    }

    /// Goes on with what was heard; what is not needed yet stays there.
    pub(super) fn next(&mut self, heard: &mut &[u8]) -> Action {
        match std::mem::replace(&mut self.state, State::Command) {
            State::Content(content) => self.content(content, heard),
            State::Chunk(chunk) => self.chunk(chunk, heard),
            state @ (State::Asked | State::AskedFor(_)) => self.wait(state),
            State::Command => self.with_line(heard, None),
            State::Login(exchange) => self.with_line(heard, Some(exchange)),
        }
    }

    pub(super) fn wait(&mut self, state: State) -> Action {
        self.state = state;
        Action::More
    }

    pub(super) fn refuse(&mut self, reply: Reply) -> Action {
        self.errors += 1;
        match self.errors > MOST_ERRORS {
            true => Action::Close(Reply::new(421, "4.7.0", "too many commands were refused; come again later")),
            false => Action::Say(reply),
        }
    }

    fn with_line(&mut self, heard: &mut &[u8], exchange: Option<Exchange>) -> Action {
        let end = memchr::memchr(b'\n', heard);
        let (piece, rest) = heard.split_at(end.map_or(heard.len(), |it| it + 1));
        *heard = rest;
        let is_login = exchange.is_some() || self.line.get(..4).or(piece.get(..4)).is_some_and(is_auth);
        let longest = if is_login { LONGEST_LOGIN } else { LONGEST_COMMAND };
        self.is_overlong |= self.line.len() + piece.len() > longest;
        match self.is_overlong {
            true => self.line.clear(),
            false => self.line.extend_from_slice(piece),
        }
        if end.is_none() {
            return self.wait(exchange.map_or(State::Command, State::Login));
        }
        let line = zeroize::Zeroizing::new(std::mem::take(&mut self.line));
        if std::mem::take(&mut self.is_overlong) {
            return self.refuse(Reply::new(500, "5.5.6", "the line is too long"));
        }
        let action = match exchange {
            Some(exchange) => self.login(exchange.heard(&line)),
            None => self.command(&line),
        };
        // What follows BDAT is its content.
        if matches!(self.state, State::Chunk(_)) { self.next(heard) } else { action }
    }

    fn command(&mut self, line: &[u8]) -> Action {
        self.commands += 1;
        if self.user.is_none() && self.commands > MOST_UNKNOWN {
            return Action::Close(Reply::new(421, "4.7.0", "too many commands without AUTH; come again later"));
        }
        let bad_order = |text| Reply::new(503, "5.5.1", text);
        match Request::parse(&mut line.iter()) {
            Ok(Request::Ehlo { .. }) => {
                (self.has_greeted, self.envelope) = (true, None);
                Action::Say(self.offers())
            }
            Ok(Request::Helo { .. }) => {
                (self.has_greeted, self.envelope) = (true, None);
                Action::Say(Reply::plain(250, vec!["mailspan".into()]))
            }
            Ok(Request::Noop { .. }) => Action::Say(Reply::new(250, "2.0.0", "at your service")),
            Ok(Request::Rset) => {
                self.envelope = None;
                Action::Say(Reply::new(250, "2.0.0", "begin anew"))
            }
            Ok(Request::Quit) => Action::Close(Reply::new(221, "2.0.0", "good bye")),
            Ok(Request::Help { .. }) => Action::Say(Reply::new(
                214,
                "2.0.0",
                "hand in mail with AUTH, MAIL, RCPT and DATA (RFC 5321, RFC 6409)",
            )),
            Ok(Request::Vrfy { .. }) => {
                Action::Say(Reply::new(252, "2.0.0", "nobody is looked up here; send, and see whether it comes back"))
            }
            Ok(Request::StartTls) if self.terms.starts_tls && !self.is_encrypted => {
                Action::Encrypt(Reply::new(220, "2.0.0", "ready for TLS"))
            }
            Ok(Request::StartTls) => self.refuse(bad_order("TLS is not offered now")),
            Ok(_) if !self.has_greeted => self.refuse(bad_order("say EHLO first")),
            Ok(Request::Auth { mechanism, initial_response }) => self.auth(mechanism, &initial_response),
            Ok(Request::Mail { from }) => self.mail(&from),
            Ok(Request::Rcpt { to }) => self.rcpt(&to),
            Ok(Request::Data) => self.begin_content(),
            Ok(Request::Bdat { chunk_size, is_last }) => self.begin_chunk(Chunk { left: chunk_size, is_last }),
            Ok(_) => self.refuse(Reply::new(502, "5.5.1", "this command is not for submission")),
            Err(error) => self.refuse(illegible(&error)),
        }
    }

    fn mail(&mut self, from: &MailFrom<Cow<'_, str>>) -> Action {
        match self.may_mail().and_then(|user| Ok((user, sender(from, &self.terms)?))) {
            Ok((user, sender)) => {
                let declared = u64::try_from(from.size).unwrap_or(u64::MAX);
                self.envelope = Some(Envelope { sender, declared, ..Envelope::default() });
                self.state = State::Asked;
                Action::Recall(user)
            }
            Err(reply) => self.refuse(reply),
        }
    }

    /// Who said MAIL, as he is configured now. `None`: he is no more, however he came in.
    pub(super) fn recalled(&mut self, user: Option<User>) -> Action {
        let sender = self.envelope.as_ref().and_then(|it| it.sender.as_ref());
        match user {
            // What a command without AUTH is told (RFC 4954 §6).
            None => self.allowed(Err(Reply::new(530, "5.7.0", "this user is configured no longer"))),
            Some(user) if sender.is_none_or(|it| user.may_be(it)) => {
                self.user = Some(user.clone());
                Action::Allow(user)
            }
            Some(_) => {
                self.allowed(Err(Reply::new(550, "5.7.1", "this user may not send from the address in MAIL FROM")))
            }
        }
    }

    fn rcpt(&mut self, to: &RcptTo<Cow<'_, str>>) -> Action {
        let most = self.terms.recipients;
        let taken = match self.envelope.as_mut().filter(|it| !it.has_content()) {
            None => Err(Reply::new(503, "5.5.1", "say MAIL first")),
            Some(envelope) => recipient(to).and_then(|it| envelope.add(it, most)),
        };
        match taken {
            Ok(()) => Action::Say(Reply::new(250, "2.1.5", "recipient taken")),
            Err(reply) => self.refuse(reply),
        }
    }

    fn offers(&self) -> Reply {
        let size = format!("SIZE {}", self.terms.max_size);
        let mut lines = ["mailspan", "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"]
            .map(str::to_owned)
            .to_vec();
        lines.push(size);
        lines.push(if self.must_encrypt() { "STARTTLS" } else { "AUTH PLAIN LOGIN" }.to_owned());
        Reply::plain(250, lines)
    }

    fn must_encrypt(&self) -> bool {
        self.terms.starts_tls && !self.is_encrypted
    }

    fn auth(&mut self, mechanism: u64, first: &str) -> Action {
        let reply = match () {
            () if self.must_encrypt() => {
                Reply::new(538, "5.7.11", "say STARTTLS first: passwords do not travel in plain text")
            }
            () if self.user.is_some() => Reply::new(503, "5.5.1", "you are known already"),
            () if self.envelope.is_some() => Reply::new(503, "5.5.1", "not within a mail"),
            () if mechanism & (AUTH_PLAIN | AUTH_LOGIN) == 0 => Reply::new(504, "5.5.4", "offered are PLAIN and LOGIN"),
            () => match login::begin(mechanism, first) {
                Some(next) => return self.login(next),
                None => Reply::new(504, "5.5.4", "offered are PLAIN and LOGIN"),
            },
        };
        self.refuse(reply)
    }

    fn login(&mut self, next: Next) -> Action {
        match next {
            Next::Ask(challenge, exchange) => {
                self.state = State::Login(exchange);
                Action::Say(Reply::plain(334, vec![challenge.to_owned()]))
            }
            Next::Check(login) => {
                self.state = State::Asked;
                Action::Check(login)
            }
            Next::Cancelled => self.refuse(Reply::new(501, "5.0.0", "AUTH was given up")),
            Next::Broken => self.refuse(Reply::new(501, "5.5.2", "this is not what AUTH asks for")),
        }
    }

    /// Who may hand in a mail now.
    fn may_mail(&self) -> Result<String, Reply> {
        if self.must_encrypt() {
            return Err(Reply::new(530, "5.7.0", "say STARTTLS first"));
        }
        let Some(user) = &self.user else { return Err(Reply::new(530, "5.7.0", "say AUTH first")) };
        match self.envelope {
            Some(_) => Err(Reply::new(503, "5.5.1", "a mail has been begun: finish it or say RSET")),
            None => Ok(user.name.clone()),
        }
    }

    /// Who said AUTH is known now, or not. `Err` says why not.
    pub(super) fn checked(&mut self, outcome: Result<User, Reply>) -> Action {
        self.state = State::Command;
        match outcome {
            Ok(user) => {
                self.user = Some(user);
                Action::Say(Reply::new(235, "2.7.0", "welcome"))
            }
            Err(reply) => {
                self.logins += 1;
                if self.logins >= MOST_LOGINS { Action::Close(reply) } else { Action::Say(reply) }
            }
        }
    }

    /// The mail that was announced may come, or not now.
    pub(super) fn allowed(&mut self, outcome: Result<(), Reply>) -> Action {
        self.state = State::Command;
        match outcome {
            Ok(()) => Action::Say(Reply::new(250, "2.1.0", "sender taken")),
            Err(reply) => {
                self.envelope = None;
                self.refuse(reply)
            }
        }
    }

    /// TLS stands: whatever was said before it counts no more (RFC 3207 §4.2).
    pub(super) fn encrypted(&mut self) {
        let Self { terms, errors, commands, .. } = self;
        *self = Self { errors: *errors, commands: *commands, ..Self::new(Arc::clone(terms), true) };
    }
}

/// What is said to a line that is no command.
fn illegible(error: &Error) -> Reply {
    match error {
        Error::UnsupportedParameter { .. } => Reply::new(555, "5.5.4", "a parameter is not known here"),
        Error::InvalidSenderAddress => Reply::new(553, "5.1.7", "this is not an address"),
        Error::InvalidRecipientAddress => Reply::new(553, "5.1.3", "this is not an address"),
        Error::SyntaxError { syntax } => Reply::new(501, "5.5.4", format!("write it as {syntax}")),
        Error::InvalidParameter { .. } => Reply::new(501, "5.5.4", "a parameter is not legible"),
        _ => Reply::new(500, "5.5.1", "this is no command known here"),
    }
}

fn is_auth(begins: &[u8]) -> bool {
    begins.eq_ignore_ascii_case(b"auth")
}
