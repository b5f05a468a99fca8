//! Frames, methods and properties of AMQP 0-9-1, as they go over the wire: the few a publisher needs.
//!
//! Numbers and layouts are those of the specification (amqp0-9-1.xml). What a broker says is checked against what is
//! there; nothing it says is taken for a length unseen.

use std::collections::BTreeMap;

/// What a connection begins with.
pub(super) const PROTOCOL: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// The last byte of each frame.
const END: u8 = 0xCE;
/// Type, channel, length before the payload.
pub(super) const HEAD: usize = 7;

pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;

/// A class's and a method's number.
pub(super) type Id = (u16, u16);

pub(super) const START: Id = (10, 10);
pub(super) const START_OK: Id = (10, 11);
pub(super) const TUNE: Id = (10, 30);
pub(super) const TUNE_OK: Id = (10, 31);
pub(super) const OPEN: Id = (10, 40);
pub(super) const OPEN_OK: Id = (10, 41);
pub(super) const CLOSE: Id = (10, 50);
pub(super) const CHANNEL_OPEN: Id = (20, 10);
pub(super) const CHANNEL_OPEN_OK: Id = (20, 11);
pub(super) const CHANNEL_CLOSE: Id = (20, 40);
pub(super) const CONFIRM_SELECT: Id = (85, 10);
pub(super) const CONFIRM_SELECT_OK: Id = (85, 11);
pub(super) const PUBLISH: Id = (60, 40);
pub(super) const RETURN: Id = (60, 50);
pub(super) const ACK: Id = (60, 80);
pub(super) const NACK: Id = (60, 120);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

/// What is no AMQP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoFrame;

impl Frame {
    /// The first frame of what was heard, and how many bytes it took; `None`: there is more to come.
    pub(super) fn read(heard: &[u8], largest: usize) -> Result<Option<(Self, usize)>, NoFrame> {
        let Some((head, rest)) = heard.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [kind, _, _, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| NoFrame)?;
        // `AMQP` in answer to ours is a broker that wants another version.
        if !matches!(kind, 1..=3 | 8) || length > largest {
            return Err(NoFrame);
        }
        match (rest.get(..length), rest.get(length)) {
            (Some(payload), Some(&END)) => Ok(Some((Self { kind, payload: payload.to_vec() }, HEAD + length + 1))),
            (Some(_), Some(_)) => Err(NoFrame),
            _ => Ok(None),
        }
    }

    /// The method it is, and its arguments.
    pub(super) fn method(&self) -> Option<(Id, Arguments<'_>)> {
        let mut arguments = Arguments(&self.payload);
        let id = (arguments.u16()?, arguments.u16()?);
        (self.kind == METHOD).then_some((id, arguments))
    }
}

/// Arguments of a method, one after the other.
pub(super) struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }
}

/// Bytes on their way out.
#[derive(Default)]
pub(super) struct Written(pub(super) Vec<u8>);

impl Written {
    /// A method's frame; `fill` adds its arguments.
    pub(super) fn method(&mut self, channel: u16, (class, method): Id, fill: impl FnOnce(&mut Self)) {
        self.frame(METHOD, channel, |it| {
            it.u16(class);
            it.u16(method);
            fill(it);
        });
    }

    /// A frame; `fill` adds its payload.
    pub(super) fn frame(&mut self, kind: u8, channel: u16, fill: impl FnOnce(&mut Self)) {
        self.0.push(kind);
        self.u16(channel);
        self.sized(fill);
        self.0.push(END);
    }

    fn sized(&mut self, fill: impl FnOnce(&mut Self)) {
        let at = self.0.len();
        self.u32(0);
        fill(self);
        let length = u32::try_from(self.0.len() - at - 4).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_be_bytes());
    }

    /// A short string: what is longer than one may be is cut, so whoever writes it has checked it before.
    pub(super) fn short(&mut self, text: &str) {
        let text = text.as_bytes();
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        self.0.push(length);
        self.0.extend(text.iter().take(usize::from(length)));
    }

    pub(super) fn long(&mut self, text: &[u8]) {
        self.sized(|it| it.0.extend(text));
    }

    pub(super) fn table(&mut self, fields: &BTreeMap<String, Field>) {
        self.sized(|it| {
            for (name, field) in fields {
                it.short(name);
                match field {
                    Field::Text(text) => {
                        it.u8(b'S');
                        it.long(text.as_bytes());
                    }
                    Field::Truth(truth) => {
                        it.u8(b't');
                        it.u8(u8::from(*truth));
                    }
                    Field::Table(inner) => {
                        it.u8(b'F');
                        it.table(inner);
                    }
                }
            }
        });
    }
}

/// A value in a table.
#[derive(Debug, Clone)]
pub(super) enum Field {
    Text(String),
    Truth(bool),
    Table(BTreeMap<String, Field>),
}

/// What goes before a body.
#[derive(Debug, Clone)]
pub(super) struct Properties {
    pub(super) content_type: String,
    pub(super) headers: BTreeMap<String, Field>,
    pub(super) message_id: String,
    pub(super) timestamp: u64,
    pub(super) kind: String,
    pub(super) app_id: String,
}

impl Properties {
    /// content-type, headers, delivery-mode, message-id, timestamp, type and app-id, in the order of the specification.
    const FLAGS: u16 = (1 << 15) | (1 << 13) | (1 << 12) | (1 << 7) | (1 << 6) | (1 << 5) | (1 << 3);
    /// To be kept on disk.
    const PERSISTENT: u8 = 2;

    /// The content header of a body of this size.
    pub(super) fn write(&self, body: usize, channel: u16, out: &mut Written) {
        out.frame(HEADER, channel, |it| {
            it.u16(PUBLISH.0);
            it.u16(0);
            it.u64(body as u64);
            it.u16(Self::FLAGS);
            it.short(&self.content_type);
            it.table(&self.headers);
            it.u8(Self::PERSISTENT);
            it.short(&self.message_id);
            it.u64(self.timestamp);
            it.short(&self.kind);
            it.short(&self.app_id);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_wherever_it_is_cut() {
        let mut out = Written::default();
        out.method(1, CHANNEL_CLOSE, |it| {
            it.u16(404);
            it.short("NOT_FOUND");
        });
        assert_eq!(&out.0[..HEAD], [1, 0, 1, 0, 0, 0, 16]);
        for cut in 0..out.0.len() {
            assert_eq!(Frame::read(&out.0[..cut], 4096), Ok(None), "{cut}");
        }
        let (frame, length) = Frame::read(&[&out.0[..], b"more"].concat(), 4096).unwrap().unwrap();
        assert_eq!(length, out.0.len());
        let (id, mut arguments) = frame.method().unwrap();
        assert_eq!((id, arguments.u16()), (CHANNEL_CLOSE, Some(404)));
        assert_eq!(arguments.u64(), Some(u64::from_be_bytes(*b"\x09NOT_FOU")));
        assert_eq!(arguments.u64(), None, "no more than there is");
    }

    #[test]
    fn what_is_no_frame_is_no_frame() {
        let good = [8, 0, 0, 0, 0, 0, 0, END];
        assert!(Frame::read(&good, 10).unwrap().is_some());
        let mut open = good;
        open[7] = 0;
        let huge = [1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0];
        for wrong in [&open[..], &huge, b"AMQP\x00\x01\x00\x00", b"HTTP/1.1 400"] {
            assert_eq!(Frame::read(wrong, 4096), Err(NoFrame), "{wrong:?}");
        }
    }

    #[test]
    fn properties_stand_in_the_order_of_their_flags() {
        let headers = BTreeMap::from([("a".to_owned(), Field::Text("b".into()))]);
        let properties = Properties {
            content_type: "c".into(),
            headers,
            message_id: "ix_1".into(),
            timestamp: 7,
            kind: "t".into(),
            app_id: "m".into(),
        };
        let mut out = Written::default();
        properties.write(300, 1, &mut out);
        let expected =
            b"\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x01\x2c\xb0\xe8\x01c\x00\x00\x00\x08\x01aS\x00\x00\x00\x01b\x02\
                         \x04ix_1\x00\x00\x00\x00\x00\x00\x00\x07\x01t\x01m";
        assert_eq!(&out.0[HEAD..out.0.len() - 1], expected);
    }

    proptest::proptest! {
        #[test]
        fn nothing_a_broker_says_panics(heard in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            if let Ok(Some((frame, _))) = Frame::read(&heard, 128)
                && let Some((_, mut arguments)) = frame.method()
            {
                while arguments.u16().is_some() {}
            }
        }
    }
}
