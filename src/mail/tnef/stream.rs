//! The bytes of a winmail.dat: attributes with their checksums ([MS-OXTNEF] §2.1.3) and lists of properties (§2.1.4).
//!
//! Every length is checked against what is there. What is handed out are slices of the same bytes, so that reading
//! costs no more memory than the winmail.dat itself.

use bytes::Bytes;

const SIGNATURE: u32 = 0x223e_9f78;
/// The attributes that are read, by the lower half of their id; the upper half is the type.
pub(super) const RENDERING: u16 = 0x9002;
pub(super) const ATTACHMENT_TITLE: u16 = 0x8010;
pub(super) const ATTACHMENT_BYTES: u16 = 0x800f;
pub(super) const ATTACHMENT_PROPERTIES: u16 = 0x9005;
pub(super) const MESSAGE_PROPERTIES: u16 = 0x9003;
pub(super) const BODY: u16 = 0x800c;
pub(super) const SUBJECT: u16 = 0x8004;
pub(super) const OEM_CODE_PAGE: u16 = 0x9007;

/// The property types of variable length, by [MS-OXCDATA] §2.11.1.
pub(super) const OBJECT: u16 = 0x000d;
pub(super) const STRING8: u16 = 0x001e;
pub(super) const UNICODE: u16 = 0x001f;
pub(super) const BINARY: u16 = 0x0102;
const MULTIPLE: u16 = 0x1000;
/// Properties from here on have names, which stand behind their tags.
const FIRST_NAMED: u16 = 0x8000;

/// A place in bytes. Nothing is read beyond their end.
pub(super) struct Cursor(Bytes);

impl Cursor {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|it| u16::from_le_bytes([it[0], it[1]]))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]))
    }

    fn length(&mut self) -> Option<usize> {
        self.u32().and_then(|it| usize::try_from(it).ok())
    }

    /// Bytes with their length before and padding to four behind; the last of all may lack its padding.
    fn padded(&mut self) -> Option<Bytes> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        let padding = (4 - length % 4) % 4;
        self.take(padding.min(self.0.len()))?;
        Some(bytes)
    }
}

/// One attribute.
pub(super) struct Attribute {
    pub(super) name: u16,
    pub(super) bytes: Bytes,
    /// Whether its checksum is right.
    pub(super) is_sound: bool,
}

/// The attributes of a winmail.dat. `None`: it is none.
pub(super) fn attributes(bytes: &Bytes) -> Option<Attributes> {
    let mut cursor = Cursor::new(bytes.clone());
    let is_tnef = cursor.u32() == Some(SIGNATURE) && cursor.u16().is_some();
    is_tnef.then_some(Attributes { cursor, is_cut_off: false })
}

/// The attributes, one after the other.
pub(super) struct Attributes {
    cursor: Cursor,
    /// Whether it ended in the middle of one.
    pub(super) is_cut_off: bool,
}

impl Iterator for Attributes {
    type Item = Attribute;

    fn next(&mut self) -> Option<Attribute> {
        let rest = self.cursor.0.len();
        if rest == 0 {
            return None;
        }
        let found = self.read();
        if found.is_none() {
            // Some writers pad the end with zeros.
            self.is_cut_off = !self.cursor.0.iter().all(|it| *it == 0);
            self.cursor.0.clear();
        }
        found
    }
}

impl Attributes {
    fn read(&mut self) -> Option<Attribute> {
        let mut cursor = Cursor::new(self.cursor.0.clone());
        let level = cursor.take(1)?[0];
        if !matches!(level, 1 | 2) {
            return None;
        }
        let id = cursor.u32()?;
        let length = cursor.length()?;
        let bytes = cursor.take(length)?;
        // The very last checksum may be missing; the bytes are there.
        let is_sound = cursor.u16().is_some_and(|it| it == checksum(&bytes));
        self.cursor = cursor;
        Some(Attribute { name: (id & 0xffff) as u16, bytes, is_sound })
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)))
}

/// The properties a list has of those that are wanted: the first value of each.
#[derive(Default)]
pub(super) struct Properties {
    found: Vec<(u16, u16, Bytes)>,
    /// Whether the list could be read to its end.
    pub(super) is_whole: bool,
}

impl Properties {
    /// Reads a list of properties.
    pub(super) fn read(bytes: &Bytes, wanted: &[u16]) -> Self {
        let mut cursor = Cursor::new(bytes.clone());
        let mut properties = Self::default();
        properties.is_whole = properties.fill(&mut cursor, wanted).is_some();
        properties
    }

    fn fill(&mut self, cursor: &mut Cursor, wanted: &[u16]) -> Option<()> {
        for _ in 0..cursor.u32()? {
            let kind = cursor.u16()?;
            let id = cursor.u16()?;
            if id >= FIRST_NAMED {
                skip_name(cursor)?;
            }
            let value = value(cursor, kind)?;
            if wanted.contains(&id) && !self.found.iter().any(|it| it.0 == id) {
                self.found.push((id, kind & !MULTIPLE, value));
            }
        }
        Some(())
    }

    /// The type and the bytes of a property.
    pub(super) fn value(&self, id: u16) -> Option<(u16, &Bytes)> {
        self.found.iter().find(|it| it.0 == id).map(|it| (it.1, &it.2))
    }

    /// A number.
    pub(super) fn number(&self, id: u16) -> Option<u32> {
        let (_, bytes) = self.value(id)?;
        bytes.get(..4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]))
    }
}

fn skip_name(cursor: &mut Cursor) -> Option<()> {
    const GUID: usize = 16;
    cursor.take(GUID)?;
    match cursor.u32()? {
        0 => cursor.take(4).map(drop),
        _ => cursor.padded().map(drop),
    }
}

/// The first value; the others are passed over.
fn value(cursor: &mut Cursor, kind: u16) -> Option<Bytes> {
    let size = match kind & !MULTIPLE {
        // Shorter ones are padded to four bytes.
        0x0002 | 0x0003 | 0x0004 | 0x000a | 0x000b => 4,
        0x0005 | 0x0006 | 0x0007 | 0x0014 | 0x0040 => 8,
        0x0048 => 16,
        OBJECT | STRING8 | UNICODE | BINARY => {
            let mut first = None;
            for _ in 0..cursor.u32()? {
                let value = cursor.padded()?;
                first.get_or_insert(value);
            }
            return Some(first.unwrap_or_default());
        }
        // Of an unknown length: what follows cannot be found.
        _ => return None,
    };
    let count = if kind & MULTIPLE == 0 { 1 } else { cursor.length()? };
    let values = cursor.take(count.checked_mul(size)?)?;
    Some(values.slice(..size.min(values.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_properties_is_read_whatever_their_types() {
        let mut list = 5_u32.to_le_bytes().to_vec();
        // A boolean, a list of numbers, a named string, a padded string, binary without its last padding.
        list.extend([0x0b, 0, 0x01, 0x0e, 1, 0, 0, 0]);
        list.extend([0x03, 0x10, 0x02, 0x0e, 2, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0]);
        list.extend([0x1e, 0, 0x01, 0x80].into_iter().chain([9; 16]).chain([1, 0, 0, 0, 4, 0, 0, 0, b'a', 0, b'b', 0]));
        list.extend([1, 0, 0, 0, 2, 0, 0, 0, b'x', 0, 0, 0]);
        list.extend([0x1e, 0, 0x04, 0x37, 1, 0, 0, 0, 5, 0, 0, 0, b'a', b'.', b't', b'x', b't', 0, 0, 0]);
        list.extend([0x02, 0x01, 0x01, 0x37, 1, 0, 0, 0, 1, 0, 0, 0, 42]);
        let wanted = [0x0e01, 0x0e02, 0x3704, 0x3701];
        let read = Properties::read(&list.clone().into(), &wanted);
        assert!(read.is_whole);
        assert_eq!((read.number(0x0e01), read.number(0x0e02)), (Some(1), Some(7)));
        assert_eq!(read.value(0x3704), Some((STRING8, &Bytes::from_static(b"a.txt"))));
        assert_eq!(read.value(0x3701), Some((BINARY, &Bytes::from_static(&[42]))));
        for end in 0..list.len() - 1 {
            assert!(!Properties::read(&list[..end].to_vec().into(), &wanted).is_whole, "{end}");
        }
        let huge = [1, 0, 0, 0, 0x03, 0x10, 0x02, 0x0e, 0xff, 0xff, 0xff, 0xff];
        assert!(!Properties::read(&huge.to_vec().into(), &wanted).is_whole);
    }
}
