//! One record in a batch of its own (message format 2), and the partition its key belongs to.

use std::borrow::Cow;

use super::wire::Written;

/// What goes into a topic.
pub(super) struct Record<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a [u8],
    pub(super) headers: Vec<(Cow<'static, str>, String)>,
    /// When it was made.
    pub(super) timestamp: i64,
}

/// Who writes it, and how many it wrote to the partition before: what a broker knows a repeated batch by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    pub(super) sequence: i32,
}

/// The batch that holds this record and nothing else.
pub(super) fn batch(record: &Record<'_>, author: Author) -> Vec<u8> {
    let mut checked = Written::default();
    checked.i16(0); // not compressed, in no transaction
    checked.i32(0); // offset of its last record
    checked.i64(record.timestamp);
    checked.i64(record.timestamp);
    checked.i64(author.producer);
    checked.i16(author.epoch);
    checked.i32(author.sequence);
    checked.i32(1); // records
    let mut own = Written::default();
    own.i8(0);
    own.varint(0); // after the batch's time
    own.varint(0); // after the batch's offset
    own.short(Some(record.key.as_bytes()));
    own.short(Some(record.value));
    own.varint(i64::try_from(record.headers.len()).unwrap_or(i64::MAX));
    for (name, value) in &record.headers {
        own.short(Some(name.as_bytes()));
        own.short(Some(value.as_bytes()));
    }
    checked.short(Some(&own.0));

    let mut batch = Written::default();
    batch.i64(0); // its offset, which the broker gives
    batch.sized(|it| {
        it.i32(-1); // the leader's epoch, which the broker gives
        it.i8(2); // this format
        it.u32(crc32c(&checked.0));
        it.0.extend(&checked.0);
    });
    batch.0
}

/// The partition of a key, as Kafka's own clients choose it: a thread stays where it is, whoever writes.
pub(super) fn partition(key: &str, partitions: usize) -> usize {
    let hash = murmur2(key.as_bytes()) & 0x7FFF_FFFF;
    usize::try_from(hash).unwrap_or(0).checked_rem(partitions).unwrap_or(0)
}

/// CRC-32 after Castagnoli (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = (crc ^ u32::from(*byte)).to_le_bytes();
        TABLE.get(usize::from(low)).copied().unwrap_or(0) ^ (crc >> 8)
    };
    !bytes.iter().fold(u32::MAX, step)
}

const fn table() -> [u32; 256] {
    /// The polynomial, its bits reversed.
    const CASTAGNOLI: u32 = 0x82F6_3B78;
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ CASTAGNOLI } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// MurmurHash 2 with Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_B28C;
    const M: u32 = 0x5BD1_E995;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, appendix B.4; and the usual check value.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_key_is_hashed_as_kafka_does() {
        // Kafka's own UtilsTest.
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
        assert_eq!(partition("any", 0), 0);
        assert!((0..100).all(|n| partition(&format!("th_{n}"), 3) < 3));
    }

    #[test]
    fn a_batch_holds_what_it_says() {
        let headers = vec![("a".into(), "b".to_owned())];
        let record = Record { key: "k", value: b"value", headers, timestamp: 7 };
        let batch = batch(&record, Author { producer: 9, epoch: 1, sequence: 3 });
        let length = i32::from_be_bytes(batch[8..12].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), batch.len() - 12);
        assert_eq!(batch[16], 2, "format");
        assert_eq!(u32::from_be_bytes(batch[17..21].try_into().unwrap()), crc32c(&batch[21..]));
        assert_eq!(batch[43..57], [9_i64.to_be_bytes().as_slice(), &[0, 1], &[0, 0, 0, 3]].concat());
        assert!(batch.ends_with(b"\x00\x00\x00\x02k\x0avalue\x02\x02a\x02b"));
    }
}
