//! One conversation with a broker: opened, logged in, and one message at a time until each is confirmed.
//!
//! A message is taken when the broker says so and has not returned it. Whatever else happens ends the conversation.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::super::connection::Line;
use super::frame::{self, Arguments, Field, Frame, Id, Properties, Written};
use super::verdict::Trouble;
use crate::model::secret::Secret;

/// The one channel of a conversation.
const CHANNEL: u16 = 1;
/// Larger frames are not asked for: 128 KiB, as most brokers offer.
const FRAME_MAX: u32 = 128 << 10;
/// The least a broker has to take (specification, 4.2.3).
const FRAME_MIN: u32 = 4096;
/// Type, channel, length and end around a payload.
const AROUND: usize = frame::HEAD + 1;
/// After a broker has closed the door on a message, its reason may still be read.
const LAST_WORDS_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

/// An open conversation.
pub(super) struct Session {
    line: Box<dyn Line>,
    heard: Vec<u8>,
    frame_max: usize,
    published: u64,
}

/// One message and where it goes.
pub(super) struct Message<'a> {
    pub(super) exchange: &'a str,
    pub(super) routing_key: &'a str,
    pub(super) properties: Properties,
    pub(super) body: &'a Bytes,
}

impl Session {
    /// Logs in and makes ready for messages that are confirmed.
    pub(super) async fn begin(
        line: Box<dyn Line>,
        virtual_host: &str,
        (user, password): (&str, &Secret),
    ) -> Result<Self, Trouble> {
        let mut session = Self { line, heard: Vec::new(), frame_max: FRAME_MAX as usize, published: 0 };
        session.say(frame::PROTOCOL).await?;
        session.expect(frame::START).await?;
        let answer = Zeroizing::new(format!("\0{user}\0{}", password.expose()));
        let mut out = Zeroizing::new(Vec::new());
        let mut start_ok = Written::default();
        start_ok.method(0, frame::START_OK, |it| {
            it.table(&who_we_are());
            it.short("PLAIN");
            it.long(answer.as_bytes());
            it.short("en_US");
        });
        out.append(&mut start_ok.0);
        session.say(&out).await?;
        let tune = session.expect(frame::TUNE).await?;
        let (frame_max, channels) = tuned(&tune).ok_or(Trouble::NoAmqp)?;
        session.frame_max = frame_max as usize;
        session.ask_open(virtual_host, frame_max, channels).await?;
        session.expect(frame::OPEN_OK).await?;
        let mut out = Written::default();
        out.method(CHANNEL, frame::CHANNEL_OPEN, |it| it.short(""));
        session.say(&out.0).await?;
        session.expect(frame::CHANNEL_OPEN_OK).await?;
        let mut out = Written::default();
        out.method(CHANNEL, frame::CONFIRM_SELECT, |it| it.u8(0));
        session.say(&out.0).await?;
        session.expect(frame::CONFIRM_SELECT_OK).await?;
        Ok(session)
    }

    async fn ask_open(&mut self, virtual_host: &str, frame_max: u32, channels: u16) -> Result<(), Trouble> {
        let mut out = Written::default();
        out.method(0, frame::TUNE_OK, |it| {
            it.u16(channels);
            it.u32(frame_max);
            // No heartbeats: nobody is there to send them between hand-overs, and a silent connection is not kept long.
            it.u16(0);
        });
        out.method(0, frame::OPEN, |it| {
            it.short(virtual_host);
            it.short("");
            it.u8(0);
        });
        self.say(&out.0).await
    }

    /// Whether nothing was said since the last message. A broker that stops says so, or hangs up.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.heard.is_empty() && self.line.read_buf(&mut self.heard).now_or_never().is_none()
    }

    /// Hands one message over and waits until the broker has it.
    pub(super) async fn publish(&mut self, message: &Message<'_>) -> Result<(), Trouble> {
        self.published += 1;
        let mut out = Written::default();
        out.method(CHANNEL, frame::PUBLISH, |it| {
            it.u16(0);
            it.short(message.exchange);
            it.short(message.routing_key);
            it.u8(1); // mandatory: what goes nowhere comes back
        });
        message.properties.write(message.body.len(), CHANNEL, &mut out);
        let largest = self.frame_max - AROUND;
        if out.0.len() > self.frame_max {
            return Err(Trouble::HeaderTooLarge);
        }
        for piece in message.body.chunks(largest) {
            out.frame(frame::BODY, CHANNEL, |it| it.0.extend(piece));
            self.say(&out.0).await?;
            out.0.clear();
        }
        self.say(&out.0).await?;
        self.confirmed().await
    }

    async fn confirmed(&mut self) -> Result<(), Trouble> {
        let mut returned = None;
        loop {
            let frame = self.hear().await?;
            // What is returned comes with its content, which we know.
            let Some((id, mut arguments)) = frame.method() else { continue };
            match id {
                frame::RETURN => returned = Some(arguments.u16().ok_or(Trouble::NoAmqp)?),
                frame::ACK | frame::NACK => {
                    if arguments.u64().ok_or(Trouble::NoAmqp)? < self.published {
                        continue;
                    }
                    return match (id, returned) {
                        (_, Some(code)) => Err(Trouble::Returned(code)),
                        (frame::ACK, None) => Ok(()),
                        _ => Err(Trouble::NotTaken),
                    };
                }
                _ => closed(id, &mut arguments)?,
            }
        }
    }

    /// The arguments of this method, which comes next.
    async fn expect(&mut self, expected: Id) -> Result<Frame, Trouble> {
        loop {
            let frame = self.hear().await?;
            let Some((id, mut arguments)) = frame.method() else { continue };
            if id == expected {
                return Ok(frame);
            }
            closed(id, &mut arguments)?;
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let said = async {
            self.line.write_all(bytes).await?;
            self.line.flush().await
        };
        let Err(error) = said.await else { return Ok(()) };
        // A broker that hung up may have said why.
        let words = timeout(LAST_WORDS_WITHIN, async {
            loop {
                let frame = self.hear().await?;
                if let Some((id, mut arguments)) = frame.method() {
                    closed(id, &mut arguments)?;
                }
            }
        });
        match words.await {
            Ok(Err::<(), _>(closed @ Trouble::Closed(_))) => Err(closed),
            _ => Err(Trouble::Lost(error.to_string())),
        }
    }

    async fn hear(&mut self) -> Result<Frame, Trouble> {
        loop {
            if let Some((frame, length)) = Frame::read(&self.heard, self.frame_max).map_err(|_| Trouble::NoAmqp)? {
                self.heard.drain(..length);
                return Ok(frame);
            }
            match self.line.read_buf(&mut self.heard).await {
                Ok(0) => return Err(Trouble::Lost("the broker hung up".into())),
                Ok(_) => {}
                Err(error) => return Err(Trouble::Lost(error.to_string())),
            }
        }
    }
}

/// A broker that ends the conversation, or the channel in it. Anything else unasked is of no interest to a publisher.
fn closed(id: Id, arguments: &mut Arguments<'_>) -> Result<(), Trouble> {
    match id {
        frame::CLOSE | frame::CHANNEL_CLOSE => Err(Trouble::Closed(arguments.u16().ok_or(Trouble::NoAmqp)?)),
        _ => Ok(()),
    }
}

/// The size of frames and the number of channels both sides agree on; 0 is no limit.
fn tuned(tune: &Frame) -> Option<(u32, u16)> {
    let (_, mut arguments) = tune.method()?;
    let (channels, frame_max) = (arguments.u16()?, arguments.u32()?);
    let frame_max = if frame_max == 0 { FRAME_MAX } else { frame_max.min(FRAME_MAX) };
    (frame_max >= FRAME_MIN).then_some((frame_max, channels))
}

fn who_we_are() -> BTreeMap<String, Field> {
    let text = |text: &str| Field::Text(text.into());
    // So that a refused login is said, and not only shown by hanging up.
    let able = ["publisher_confirms", "basic.nack", "authentication_failure_close", "connection.blocked"];
    let able = able.map(|it| (it.to_owned(), Field::Truth(true)));
    BTreeMap::from([
        ("product".to_owned(), text("mailspan")),
        ("version".to_owned(), text(env!("CARGO_PKG_VERSION"))),
        ("connection_name".to_owned(), text("mailspan")),
        ("capabilities".to_owned(), Field::Table(BTreeMap::from(able))),
    ])
}
