//! Compressed RTF ([MS-OXRTFCP]): the text of a winmail.dat, unpacked.
//!
//! It cannot grow beyond eight times its size: seventeen bytes of it give at most 136; nor beyond what a text may be
//! long. The sizes it claims are not believed.

use bytes::Bytes;

use super::LONGEST_TEXT;

const COMPRESSED: u32 = 0x7546_5a4c;
const UNCOMPRESSED: u32 = 0x414c_454d;
const HEADER: usize = 16;
const DICTIONARY: usize = 4096;
/// What the dictionary holds before the first byte (§2.1.2.1).
const BEGINNING: &[u8; 207] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \
\\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\
\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

/// RTF as it was before it was compressed.
pub(super) struct Rtf {
    pub(super) bytes: Vec<u8>,
    /// Whether it is as long as it should be, and its checksum is right.
    pub(super) is_sound: bool,
}

/// `None`: it is no compressed RTF.
pub(super) fn unpack(packed: &Bytes) -> Option<Rtf> {
    let number = |at: usize| packed.get(at..at + 4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]));
    let (size, length, kind, checksum) = (number(0)?, number(4)?, number(8)?, number(12)?);
    // The size counts from behind itself.
    let end = usize::try_from(size).ok()?.saturating_add(4).clamp(HEADER, packed.len());
    let body = packed.get(HEADER..end)?;
    let length = usize::try_from(length).ok()?.min(LONGEST_TEXT);
    match kind {
        UNCOMPRESSED => {
            let bytes = body.get(..length).unwrap_or(body).to_vec();
            Some(Rtf { is_sound: bytes.len() == length, bytes })
        }
        COMPRESSED => {
            let mut bytes = inflate(body);
            bytes.truncate(LONGEST_TEXT);
            Some(Rtf { is_sound: bytes.len() == length && crc(body) == checksum, bytes })
        }
        _ => None,
    }
}

fn inflate(packed: &[u8]) -> Vec<u8> {
    let mut dictionary = [0; DICTIONARY];
    dictionary[..BEGINNING.len()].copy_from_slice(BEGINNING);
    let mut write = BEGINNING.len();
    let mut out = Vec::with_capacity((packed.len() * 2).min(LONGEST_TEXT));
    let mut input = packed.iter().copied();
    while out.len() < LONGEST_TEXT {
        let Some(flags) = input.next() else { break };
        for bit in 0..8 {
            let Some(byte) = input.next() else { return out };
            if flags >> bit & 1 == 0 {
                dictionary[write] = byte;
                write = (write + 1) % DICTIONARY;
                out.push(byte);
                continue;
            }
            let Some(low) = input.next() else { return out };
            let word = usize::from(u16::from_be_bytes([byte, low]));
            let (from, length) = (word >> 4, (word & 0xf) + 2);
            // A reference to what is about to be written is the end.
            if from == write {
                return out;
            }
            for step in 0..length {
                let byte = dictionary[(from + step) % DICTIONARY];
                dictionary[write] = byte;
                write = (write + 1) % DICTIONARY;
                out.push(byte);
            }
        }
    }
    out
}

/// The checksum of §2.1.3.2: that of Ethernet without its two inversions.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, byte| TABLE[usize::from((crc as u8) ^ byte)] ^ (crc >> 8))
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The two examples of [MS-OXRTFCP] §4.1 and §4.2: plain text, and a run that reads what it has just written.
    #[test]
    fn the_examples_of_the_specification_are_unpacked() {
        let simple = [
            0x2d, 0, 0, 0, 0x2b, 0, 0, 0, 0x4c, 0x5a, 0x46, 0x75, 0xf1, 0xc5, 0xc7, 0xa7, 0x03, 0x00, 0x0a, 0x00, 0x72,
            0x63, 0x70, 0x67, 0x31, 0x32, 0x35, 0x42, 0x32, 0x0a, 0xf3, 0x20, 0x68, 0x65, 0x6c, 0x09, 0x00, 0x20, 0x62,
            0x77, 0x05, 0xb0, 0x6c, 0x64, 0x7d, 0x0a, 0x80, 0x0f, 0xa0,
        ];
        let crossing = [
            0x1a, 0, 0, 0, 0x1c, 0, 0, 0, 0x4c, 0x5a, 0x46, 0x75, 0xe2, 0xd4, 0x4b, 0x51, 0x41, 0x00, 0x04, 0x20, 0x57,
            0x58, 0x59, 0x5a, 0x0d, 0x6e, 0x7d, 0x01, 0x0e, 0xb0,
        ];
        for (packed, text) in [
            (&simple[..], "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"),
            (&crossing, "{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"),
        ] {
            let rtf = unpack(&packed.to_vec().into()).unwrap();
            assert_eq!((String::from_utf8_lossy(&rtf.bytes).as_ref(), rtf.is_sound), (text, true));
            let mut wrong = packed.to_vec();
            wrong[12] ^= 1;
            assert!(!unpack(&wrong.into()).unwrap().is_sound);
        }
    }

    #[test]
    fn uncompressed_rtf_is_taken_as_it_is_and_the_rest_refused() {
        let packed =
            |kind: &[u8; 4]| [&16_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), kind, &[0; 4], b"{\\x}"].concat();
        assert_eq!(unpack(&packed(b"MELA").into()).unwrap().bytes, b"{\\x}");
        assert!(unpack(&packed(b"nope").into()).is_none());
        assert!(unpack(&Bytes::from_static(b"short")).is_none());
    }

    #[test]
    fn no_more_is_unpacked_than_a_text_may_be_long() {
        let (mut body, mut write) = (Vec::new(), BEGINNING.len());
        for _ in 0..2 * LONGEST_TEXT / 136 {
            // Eight references follow.
            body.extend([0xff]);
            for _ in 0..8 {
                let from = (write + 100) % DICTIONARY;
                body.extend(u16::try_from(from << 4 | 15).unwrap().to_be_bytes());
                write = (write + 17) % DICTIONARY;
            }
        }
        let head = [[0xff; 4], [0xff; 4], *b"LZFu", crc(&body).to_le_bytes()].concat();
        let rtf = unpack(&[head, body].concat().into()).unwrap();
        assert_eq!((rtf.bytes.len(), rtf.is_sound), (LONGEST_TEXT, true));
    }

    proptest::proptest! {
        #[test]
        fn nothing_grows_beyond_eight_times_its_size(mut packed: Vec<u8>) {
            packed.splice(..0, [[0xff; 4], [0xff; 4], *b"LZFu", [0; 4]].concat());
            let rtf = unpack(&packed.clone().into()).unwrap();
            proptest::prop_assert!(rtf.bytes.len() <= packed.len() * 8);
        }
    }
}
