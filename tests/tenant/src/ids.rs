//! Ids as Exchange hands them out: long, case-sensitive, base64url with padding, meaning nothing to a client.
//!
//! An immutable id names a message for as long as it stays in its mailbox; a mutable one dies with every move.
//! Both are computed from numbers and checked by computing them again, so nothing is stored per id.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use serde::{Deserialize, Serialize};

/// The immutable id of one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub(crate) String);

impl MessageId {
    /// The id as it stands in URLs and answers (to be percent-encoded in a path).
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for MessageId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for MessageId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl From<String> for MessageId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// What an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Named {
    /// A message for good.
    Immutable { mailbox: u32, number: u32 },
    /// A message where it lay after its `incarnation`-th move.
    Mutable { mailbox: u32, number: u32, incarnation: u32 },
    /// A folder.
    Folder { mailbox: u32, number: u32 },
}

/// How the ids of messages are to be written in an answer (`Prefer: IdType="ImmutableId"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdStyle {
    Immutable,
    Mutable,
}

/// Length of the id before base64: 113 bytes become 152 characters, one of them padding.
const MESSAGE_BYTES: usize = 113;
const FOLDER_BYTES: usize = 86;
/// The beginnings seen on real ids ("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A", "AAMkAG", "AQMkAG").
const IMMUTABLE_HEAD: [u8; 27] = [
    0x00, 0x09, 0x00, 0x2E, 0, 0, 0, 0, 0, 0x1D, 0x84, 0x03, 0x11, 0xAA, 0x66, 0x11, 0xCD, 0x9B, 0xC8, 0x00, 0xAA,
    0x00, 0x2F, 0x84, 0x5A, 0x0D, 0x00,
];
const MUTABLE_HEAD: [u8; 5] = [0x00, 0x03, 0x24, 0x00, 0x67];
const FOLDER_HEAD: [u8; 5] = [0x01, 0x03, 0x24, 0x00, 0x67];

impl Named {
    /// Writes the id. `seed` tells one tenant's ids from another's.
    pub(crate) fn write(self, seed: u64) -> String {
        let (head, length, fields): (&[u8], usize, [u32; 3]) = match self {
            Named::Immutable { mailbox, number } => (&IMMUTABLE_HEAD, MESSAGE_BYTES, [mailbox, number, 0]),
            Named::Mutable { mailbox, number, incarnation } => {
                (&MUTABLE_HEAD, MESSAGE_BYTES, [mailbox, number, incarnation])
            }
            Named::Folder { mailbox, number } => (&FOLDER_HEAD, FOLDER_BYTES, [mailbox, number, 0]),
        };
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(head);
        for field in fields {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        let mut noise = check(seed, self);
        while bytes.len() < length {
            bytes.push(noise as u8);
            noise = noise.rotate_right(9).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        URL_SAFE.encode(bytes)
    }

    /// Reads an id this tenant wrote; anything else is none of ours.
    pub(crate) fn read(seed: u64, id: &str) -> Option<Self> {
        let bytes = URL_SAFE.decode(id).ok()?;
        let field = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let fields = |at: usize| Some((field(at)?, field(at + 4)?, field(at + 8)?));
        let named = if bytes.starts_with(&IMMUTABLE_HEAD) {
            let (mailbox, number, _) = fields(IMMUTABLE_HEAD.len())?;
            Named::Immutable { mailbox, number }
        } else if bytes.starts_with(&MUTABLE_HEAD) {
            let (mailbox, number, incarnation) = fields(MUTABLE_HEAD.len())?;
            Named::Mutable { mailbox, number, incarnation }
        } else if bytes.starts_with(&FOLDER_HEAD) {
            let (mailbox, number, _) = fields(FOLDER_HEAD.len())?;
            Named::Folder { mailbox, number }
        } else {
            return None;
        };
        (named.write(seed) == id).then_some(named)
    }
}

fn check(seed: u64, named: Named) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, named).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_as_what_it_named() {
        for named in [
            Named::Immutable { mailbox: 0, number: 0 },
            Named::Immutable { mailbox: 9_999, number: 123_456 },
            Named::Mutable { mailbox: 3, number: 7, incarnation: 2 },
            Named::Folder { mailbox: 3, number: 1 },
        ] {
            assert_eq!(Named::read(5, &named.write(5)), Some(named));
        }
    }

    #[test]
    fn an_id_looks_like_a_real_one() {
        let id = Named::Immutable { mailbox: 1, number: 2 }.write(5);
        assert_eq!(id.len(), 152);
        assert!(id.starts_with("AAkALg") && id.ends_with('='));
    }

    #[test]
    fn an_id_of_another_tenant_or_in_another_case_is_nothing() {
        let id = Named::Immutable { mailbox: 1, number: 2 }.write(5);
        assert_eq!(Named::read(6, &id), None);
        assert_eq!(Named::read(5, &id.to_lowercase()), None);
        assert_eq!(Named::read(5, "x"), None);
    }
}
