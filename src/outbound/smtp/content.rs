//! The content of a mail as it comes in, by DATA or by BDAT (RFC 3030), and what follows its end. What is too large, or
//! has no room, is read on and not kept, so that the client hears why.

use super::dots::Dots;
use super::envelope::Envelope;
use super::reply::{Reply, too_large};
use super::session::{Action, Handed, Session, State};
use crate::mail::compose::{ascii, author};
use crate::model::address::Address;

/// A piece of content that nobody asked for is read over if it is no larger.
const LARGEST_UNASKED: usize = 1 << 20;

/// Content of DATA.
pub(super) enum Content {
    Kept(Dots, Vec<u8>),
    /// What is said at its end.
    Lost(Dots, Reply),
}

/// How much of a piece of BDAT is still to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) left: usize,
    pub(super) is_last: bool,
}

impl Content {
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Kept(_, bytes) => bytes.len(),
            Self::Lost(..) => 0,
        }
    }
}

impl Session {
    /// DATA.
    pub(super) fn begin_content(&mut self) -> Action {
        let declared = match &self.envelope {
            Some(envelope) if envelope.has_content() => Err("go on with BDAT"),
            Some(envelope) if !envelope.recipients.is_empty() => Ok(envelope.declared),
            _ => Err("say MAIL and RCPT first"),
        };
        match declared {
            Ok(declared) => {
                self.state = State::Asked;
                Action::Room(declared)
            }
            Err(text) => self.refuse(Reply::new(503, "5.5.1", text)),
        }
    }

    /// BDAT.
    pub(super) fn begin_chunk(&mut self, chunk: Chunk) -> Action {
        let envelope = self.envelope.as_mut().filter(|it| !it.recipients.is_empty());
        let is_first = envelope.is_some_and(|it| !std::mem::replace(&mut it.is_chunked, true));
        let is_begun = self.envelope.as_ref().is_some_and(|it| it.is_chunked);
        if !is_begun && (self.user.is_none() || chunk.left > LARGEST_UNASKED) {
            return Action::Close(Reply::new(503, "5.5.1", "say MAIL and RCPT first"));
        }
        if !is_first {
            return self.wait(State::Chunk(chunk));
        }
        self.state = State::AskedFor(chunk);
        let declared = self.envelope.as_ref().map_or(0, |it| it.declared);
        let announced = declared.max(u64::try_from(chunk.left).unwrap_or(u64::MAX));
        Action::Room(announced.min(self.terms.max_size))
    }

    /// There is room for the mail's bytes, or there is not.
    pub(super) fn room(&mut self, is_there: bool) -> Action {
        match std::mem::replace(&mut self.state, State::Command) {
            State::AskedFor(chunk) => {
                if !is_there && let Some(envelope) = &mut self.envelope {
                    envelope.lose(no_room());
                }
                self.state = State::Chunk(chunk);
                self.next(&mut &[][..])
            }
            _ if is_there => {
                self.state = State::Content(Content::Kept(Dots::default(), Vec::new()));
                Action::Say(Reply::plain(354, vec!["go on, and end with a dot on a line of its own".into()]))
            }
            _ => {
                self.envelope = None;
                self.refuse(no_room())
            }
        }
    }

    /// There is no room for more of the mail that is coming.
    pub(super) fn lose_room(&mut self) {
        match &mut self.state {
            State::Content(content) => content.lose(no_room()),
            _ => self.envelope.iter_mut().for_each(|it| it.lose(no_room())),
        }
    }

    pub(super) fn content(&mut self, content: Content, heard: &mut &[u8]) -> Action {
        let mut content = content;
        let is_over = match &mut content {
            Content::Kept(dots, kept) => dots.take(heard, |bytes| kept.extend_from_slice(bytes)),
            Content::Lost(dots, _) => dots.take(heard, |_| {}),
        };
        if content.held() as u64 > self.terms.max_size {
            content.lose(too_large(self.terms.max_size));
        }
        match content {
            content if !is_over => self.wait(State::Content(content)),
            Content::Kept(_, kept) => self.hand_in(kept),
            Content::Lost(_, reply) => {
                self.envelope = None;
                self.refuse(reply)
            }
        }
    }

    pub(super) fn chunk(&mut self, mut chunk: Chunk, heard: &mut &[u8]) -> Action {
        let (piece, rest) = heard.split_at(chunk.left.min(heard.len()));
        *heard = rest;
        chunk.left -= piece.len();
        let max_size = self.terms.max_size;
        if let Some(envelope) = self.envelope.as_mut().filter(|it| it.is_chunked && it.refused.is_none()) {
            match (envelope.content.len() + piece.len()) as u64 > max_size {
                true => envelope.lose(too_large(max_size)),
                false => envelope.content.extend_from_slice(piece),
            }
        }
        if chunk.left > 0 {
            return self.wait(State::Chunk(chunk));
        }
        let Some(envelope) = self.envelope.as_mut().filter(|it| it.is_chunked) else {
            return self.refuse(Reply::new(503, "5.5.1", "say MAIL and RCPT first"));
        };
        match envelope.refused.clone() {
            Some(reply) => {
                if chunk.is_last {
                    self.envelope = None;
                }
                self.refuse(reply)
            }
            None if chunk.is_last => {
                let content = std::mem::take(&mut envelope.content);
                self.hand_in(content)
            }
            None => Action::Say(Reply::new(250, "2.0.0", "go on")),
        }
    }

    /// The content is there. Who it says it is from must be somebody this user may be.
    fn hand_in(&mut self, content: Vec<u8>) -> Action {
        let (Some(envelope), Some(user)) = (self.envelope.take(), &self.user) else {
            return self.refuse(Reply::new(503, "5.5.1", "say MAIL and RCPT first"));
        };
        let author = author(&content, envelope.sender.as_ref());
        let is_stranger = author.is_some_and(|it| !Address::parse(&ascii(&it.email)).is_ok_and(|it| user.may_be(&it)));
        if is_stranger {
            return self.refuse(Reply::new(550, "5.7.1", "this user may not send as the address in From"));
        }
        let user = user.name.clone();
        self.state = State::Asked;
        let Envelope { sender, recipients, .. } = envelope;
        Action::Take(Handed { user, sender, recipients, mail: content.into() })
    }

    /// The mail that was handed in was taken over, or not.
    pub(super) fn taken(&mut self, reply: Reply) -> Action {
        self.state = State::Command;
        if reply.is_refusal() { self.refuse(reply) } else { Action::Say(reply) }
    }
}

impl Content {
    fn lose(&mut self, reply: Reply) {
        if let Self::Kept(dots, _) = self {
            *self = Self::Lost(*dots, reply);
        }
    }
}

fn no_room() -> Reply {
    Reply::new(452, "4.3.1", "there is no room for the mail just now; try again in a moment")
}
