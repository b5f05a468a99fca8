//! The keys of `store.encryption_key_file`: 32 random bytes a line, as base64 or hexadecimal; `#` begins a comment.
//!
//! The first seals, all open: so a key is replaced by putting the new one before it.

use std::path::Path;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// How many bytes name a key.
pub(super) const KEY_ID: usize = 8;
const KEY: usize = 32;
/// Keys of another use, or of a later way of sealing, are derived under another name.
const SALT: &[u8] = b"mailspan sealing 1";

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The name of a key: made from it, and nothing of it can be told from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID]);

impl KeyId {
    /// An id as it stands in sealed bytes.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for KeyId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        from_hex(text).and_then(|bytes| Self::of(&bytes)).ok_or(())
    }
}

/// One key, ready to derive from.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) secret: Prk,
}

impl Key {
    fn of(bytes: &[u8]) -> Option<Self> {
        struct IdLength;
        impl KeyType for IdLength {
            fn len(&self) -> usize {
                KEY_ID
            }
        }
        let secret = Salt::new(HKDF_SHA256, SALT).extract(bytes);
        let mut id = [0; KEY_ID];
        secret.expand(&[b"id"], IdLength).ok()?.fill(&mut id).ok()?;
        Some(Self { id: KeyId(id), secret })
    }
}

/// All keys of a file, in its order; never empty.
pub(super) struct Ring(Vec<Key>);

impl Ring {
    pub(super) fn of_file(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| format!("{shown}: {error}"))?;
        Self::of_text(&text).map_err(|problem| format!("{shown}: {problem}"))
    }

    pub(super) fn of_text(text: &str) -> Result<Self, String> {
        let mut keys: Vec<(usize, Key)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let bytes = key_bytes(line).map_err(|problem| format!("line {number} {problem}"))?;
            let key = Key::of(&bytes).ok_or_else(|| format!("line {number} cannot be used as a key"))?;
            if let Some((first, _)) = keys.iter().find(|(_, it)| it.id == key.id) {
                return Err(format!("line {number} is the key of line {first} once more; remove one of the two"));
            }
            keys.push((number, key));
        }
        if keys.is_empty() {
            return Err(
                "no key is in it; write one line with 32 random bytes, made by `openssl rand -base64 32`".into()
            );
        }
        Ok(Self(keys.into_iter().map(|(_, key)| key).collect()))
    }

    /// The key that seals.
    pub(super) fn first(&self) -> &Key {
        &self.0[0]
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&Key> {
        self.0.iter().find(|it| it.id == id)
    }

    pub(super) fn ids(&self) -> Vec<KeyId> {
        self.0.iter().map(|it| it.id).collect()
    }
}

fn key_bytes(line: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let decoded = match from_hex(line) {
        Some(bytes) if line.len() == 2 * KEY => Some(bytes),
        _ => BASE64.decode(line).or_else(|_| BASE64_URL.decode(line)).ok(),
    };
    let Some(bytes) = decoded.map(Zeroizing::new) else {
        return Err(format!(
            "is neither base64 nor hexadecimal; a key is {KEY} random bytes, `openssl rand -base64 {KEY}`"
        ));
    };
    if bytes.len() != KEY {
        return Err(format!("holds {} bytes; a key is {KEY} random bytes, `openssl rand -base64 {KEY}`", bytes.len()));
    }
    if bytes.iter().all(|it| *it == bytes[0]) {
        return Err(format!("is one byte over and over; a key is {KEY} random bytes, `openssl rand -base64 {KEY}`"));
    }
    Ok(bytes)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let nibble = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

/// What is wrong with who may read the file: anybody but its owner. `None`: nothing, or the system does not say.
pub fn exposed(file: &Path) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
        (mode & 0o077 != 0).then(|| {
            format!(
                "{} can be read by others than its owner (mode {mode:o}); chmod 600 it, and think of making a new key",
                file.display()
            )
        })
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        None
    }
}
