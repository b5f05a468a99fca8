//! Requests and answers of Kafka's protocol, as they go over the wire: the few a producer needs.
//!
//! Of each the newest version without tagged fields, which every broker from 2.1 on speaks (kafka.apache.org/protocol).
//! What a broker says is checked against what is there.

/// A request's number and version.
pub(super) type Api = (i16, i16);

pub(super) const PRODUCE: Api = (0, 7);
pub(super) const METADATA: Api = (3, 4);
pub(super) const SASL_HANDSHAKE: Api = (17, 1);
pub(super) const INIT_PRODUCER_ID: Api = (22, 1);
pub(super) const SASL_AUTHENTICATE: Api = (36, 0);

/// Who brokers are told is asking.
const CLIENT: &str = "mailspan";

/// Bytes on their way out.
#[derive(Default)]
pub(super) struct Written(pub(super) Vec<u8>);

impl Written {
    /// A request with its header, in its frame; `fill` adds its body.
    pub(super) fn request((key, version): Api, correlation: i32, fill: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut out = Self::default();
        out.sized(|it| {
            it.i16(key);
            it.i16(version);
            it.i32(correlation);
            it.text(Some(CLIENT));
            fill(it);
        });
        out.0
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    /// A number in as many bytes as it needs, small ones of either sign in few.
    pub(super) fn varint(&mut self, value: i64) {
        let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
        while rest >= 0x80 {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits and the mark")]
            self.0.push((rest as u8 & 0x7F) | 0x80);
            rest >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 0x80")]
        self.0.push(rest as u8);
    }

    /// A string, or none.
    pub(super) fn text(&mut self, text: Option<&str>) {
        let Some(text) = text else { return self.i16(-1) };
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.i16(length);
        self.0.extend(text.bytes().take(usize::try_from(length).unwrap_or(0)));
    }

    /// Bytes with their length before them.
    pub(super) fn sized(&mut self, fill: impl FnOnce(&mut Self)) {
        let at = self.0.len();
        self.i32(0);
        fill(self);
        let length = i32::try_from(self.0.len() - at - 4).unwrap_or(i32::MAX);
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Bytes in a record: their length as it is written there, or none.
    pub(super) fn short(&mut self, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return self.varint(-1) };
        self.varint(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        self.0.extend(bytes);
    }
}

/// What is left of an answer.
pub(super) struct Heard<'a>(pub(super) &'a [u8]);

impl<'a> Heard<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn truth(&mut self) -> Option<bool> {
        Some(*self.take(1)?.first()? != 0)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.take(8)?.try_into().ok().map(i64::from_be_bytes)
    }

    /// A string; none is an empty one.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.i16()?;
        std::str::from_utf8(self.take(usize::try_from(length).unwrap_or(0))?).ok()
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.i32()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    /// A list, each element read by `read`. None is an empty one.
    pub(super) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.i32()?;
        (0..count).map(|_| read(self)).collect()
    }
}

/// A broker's number and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: u16,
}

/// Who leads what of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) error: i16,
    pub(super) brokers: Vec<Broker>,
    /// The leader of each partition by its number; -1 where there is none.
    pub(super) leaders: Vec<(i32, i32)>,
}

/// The answer to [`METADATA`] about one topic.
pub(super) fn topic(answer: &[u8]) -> Option<Topic> {
    let mut heard = Heard(answer);
    heard.i32()?; // throttled
    let brokers = heard.list(|it| {
        let (id, host, port) = (it.i32()?, it.text()?.to_owned(), it.i32()?);
        it.text()?; // rack
        Some(Broker { id, host, port: u16::try_from(port).ok()? })
    })?;
    heard.text()?; // cluster
    heard.i32()?; // controller
    let mut topics = heard.list(|it| {
        let error = it.i16()?;
        it.text()?; // name
        it.truth()?; // internal
        let mut leaders = it.list(|it| {
            it.i16()?; // a partition without a leader says so by its leader
            let (partition, leader) = (it.i32()?, it.i32()?);
            it.list(Heard::i32)?; // replicas
            it.list(Heard::i32)?; // in sync
            Some((partition, leader))
        })?;
        leaders.sort_unstable();
        Some((error, leaders))
    })?;
    let (error, leaders) = topics.pop()?;
    Some(Topic { error, brokers, leaders })
}

/// The answer to [`PRODUCE`] about one partition: its error.
pub(super) fn produced(answer: &[u8]) -> Option<i16> {
    let mut heard = Heard(answer);
    let topics = heard.list(|it| {
        it.text()?; // name
        let errors = it.list(|it| {
            it.i32()?; // partition
            let error = it.i16()?;
            it.i64()?; // offset
            it.i64()?; // time
            it.i64()?; // first offset
            Some(error)
        })?;
        errors.first().copied()
    })?;
    topics.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_of_either_sign_are_short() {
        for (value, expected) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[126]),
            (-64, &[127]),
            (64, &[0x80, 1]),
            (300, &[0xD8, 4]),
            (i64::MIN, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
        ] {
            let mut out = Written::default();
            out.varint(value);
            assert_eq!(out.0, expected, "{value}");
        }
    }

    #[test]
    fn a_request_says_its_length_and_who_asks() {
        let request = Written::request(METADATA, 7, |it| it.i8(1));
        assert_eq!(request, b"\x00\x00\x00\x13\x00\x03\x00\x04\x00\x00\x00\x07\x00\x08mailspan\x01");
    }

    #[test]
    fn a_topic_is_read_to_its_leaders() {
        let mut out = Written::default();
        out.i32(0);
        out.i32(1);
        out.i32(5);
        out.text(Some("broker"));
        out.i32(9092);
        out.text(None);
        out.text(Some("cluster"));
        out.i32(5);
        out.i32(1);
        out.i16(0);
        out.text(Some("mail"));
        out.i8(0);
        out.i32(2);
        for (partition, leader) in [(1, -1), (0, 5)] {
            out.i16(0);
            out.i32(partition);
            out.i32(leader);
            out.i32(1);
            out.i32(5);
            out.i32(0);
        }
        let brokers = vec![Broker { id: 5, host: "broker".into(), port: 9092 }];
        assert_eq!(topic(&out.0), Some(Topic { error: 0, brokers, leaders: vec![(0, 5), (1, -1)] }));
        for cut in 0..out.0.len() {
            assert_eq!(topic(&out.0[..cut]), None, "{cut}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_a_broker_says_panics(heard in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = (topic(&heard), produced(&heard));
        }
    }
}
