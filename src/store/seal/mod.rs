//! Sealing: what is sealed can be read with its key only, and nowhere but in its own place.
//!
//! AES-256-GCM. Every row has a key of its own, derived with HKDF-SHA256 from the key of the file and the name of the
//! row, so the 2^32 random nonces that GCM allows a key are counted by row and never used up. Place, version and key are
//! bound as associated data: pieces cannot be swapped, nor moved to another row or table. Sealed bytes are
//! version (1) | key id (8) | nonce (12) | ciphertext | tag (16).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

mod keys;
mod place;

use keys::KEY_ID;
use keys::{Key, Ring};
pub use keys::{KeyId, exposed};
pub use place::Place;

const VERSION: u8 = 1;
const HEADER: usize = 1 + KEY_ID + NONCE_LEN;
const TAG: usize = 16;
/// How many bytes sealing adds.
pub(super) const OVERHEAD: usize = HEADER + TAG;
/// What sealed text begins with where a column holds text.
const SEALED_TEXT: &str = "sealed:";

/// Why something that is sealed cannot be read, or cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was sealed with a key that is not held.
    #[error(
        "it is sealed with the key {0}, which store.encryption_key_file does not hold; add that key as a further line of the file"
    )]
    UnknownKey(KeyId),
    /// The key is right and the bytes are not: changed, cut, or moved from another place.
    #[error("what is sealed was changed, cut or moved from another place")]
    Damaged,
    /// It is not sealed, or by a later version.
    #[error("it is not sealed in a way this version knows")]
    Unknown,
    /// The system has no randomness.
    #[error("there is no randomness to be had")]
    NoRandomness,
}

/// The keys that seal and open. Clones share them.
#[derive(Clone)]
pub struct Seal(Arc<Held>);

struct Held {
    ring: RwLock<Arc<Ring>>,
    file: Option<PathBuf>,
    /// Why the file could not be read the last time.
    trouble: Mutex<Option<String>>,
    /// Held by whoever reads the file.
    refreshing: Mutex<()>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// The keys of a file, one a line; the first seals, all open.
    ///
    /// # Errors
    /// The file cannot be read or a line is no key; the message names both and shows no key.
    pub fn of_file(file: &Path) -> Result<Self, String> {
        let ring = Ring::of_file(file)?;
        Ok(Self::of(ring, Some(file.to_owned())))
    }

    /// Keys as a file would hold them.
    ///
    /// # Errors
    /// A line is no key.
    pub fn of_text(text: &str) -> Result<Self, String> {
        Ok(Self::of(Ring::of_text(text)?, None))
    }

    fn of(ring: Ring, file: Option<PathBuf>) -> Self {
        Self(Arc::new(Held {
            ring: RwLock::new(Arc::new(ring)),
            file,
            trouble: Mutex::default(),
            refreshing: Mutex::default(),
        }))
    }

    /// Reads the file anew. Returns whether its keys are others now; what cannot be read changes nothing.
    ///
    /// # Errors
    /// The file cannot be read or a line is no key.
    pub fn refresh(&self) -> Result<bool, String> {
        let Some(file) = &self.0.file else { return Ok(false) };
        // One after the other: whoever read the file first must not be the last to write down what was in it.
        let _alone = self.0.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Ring::of_file(file);
        *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = read.as_ref().err().cloned();
        let ring = read?;
        let is_new = ring.ids() != self.ring().ids();
        if is_new {
            *self.0.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        }
        Ok(is_new)
    }

    /// Why the file could not be read the last time; what was read before holds.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key that seals.
    pub fn sealing(&self) -> KeyId {
        self.ring().first().id
    }

    /// Whether this key opens.
    pub fn holds(&self, key: KeyId) -> bool {
        self.ring().find(key).is_some()
    }

    /// Seals bytes for their place.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let ring = self.ring();
        let key = ring.first();
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.push(VERSION);
        sealed.extend_from_slice(key.id.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let bound = place.bound(VERSION, key.id);
        let row_key = row_key(key, place).ok_or(SealError::NoRandomness)?;
        let tag = row_key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut sealed[HEADER..])
            .map_err(|_| SealError::NoRandomness)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// What was sealed for this place; wiped when it is dropped.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.open_in_place(place, sealed.to_vec()).map(Zeroizing::new)
    }

    /// The same without a copy, for content.
    pub(super) fn open_in_place(&self, place: &Place<'_>, mut sealed: Vec<u8>) -> Result<Vec<u8>, SealError> {
        let id = key_of(&sealed)?;
        let ring = self.ring_with(id)?;
        let key = ring.find(id).ok_or(SealError::UnknownKey(id))?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1 + KEY_ID..HEADER]).map_err(|_| SealError::Unknown)?;
        let bound = place.bound(VERSION, id);
        let row_key = row_key(key, place).ok_or(SealError::Damaged)?;
        let opened = row_key.open_within(nonce, Aad::from(bound), &mut sealed, HEADER..);
        let length = opened.map_err(|_| SealError::Damaged)?.len();
        sealed.truncate(length);
        Ok(sealed)
    }

    /// Seals text for a column that holds text.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal_text(&self, place: &Place<'_>, plain: &str) -> Result<String, SealError> {
        Ok(format!("{SEALED_TEXT}{}", STANDARD.encode(self.seal(place, plain.as_bytes())?)))
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.0.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys, read anew where this one is not among them: another replica may have been given it first.
    fn ring_with(&self, id: KeyId) -> Result<Arc<Ring>, SealError> {
        let ring = self.ring();
        if ring.find(id).is_some() {
            return Ok(ring);
        }
        // What is wrong with the file is told by whoever watches it. Whatever comes of this: another may have found the key
        // in this moment.
        drop(self.refresh());
        Some(self.ring()).filter(|ring| ring.find(id).is_some()).ok_or(SealError::UnknownKey(id))
    }
}

/// What stands in a column of text, opened if it is sealed.
pub(super) fn open_text(seal: Option<&Seal>, place: &Place<'_>, text: String) -> Result<String, SealError> {
    let Some(sealed) = text.strip_prefix(SEALED_TEXT) else { return Ok(text) };
    let sealed = STANDARD.decode(sealed).map_err(|_| SealError::Damaged)?;
    let opened = open_bytes(seal, place, sealed)?;
    String::from_utf8(opened).map_err(|_| SealError::Damaged)
}

/// What is sealed, opened with whatever keys are held.
pub(super) fn open_bytes(seal: Option<&Seal>, place: &Place<'_>, sealed: Vec<u8>) -> Result<Vec<u8>, SealError> {
    match seal {
        Some(seal) => seal.open_in_place(place, sealed),
        None => Err(SealError::UnknownKey(key_of(&sealed)?)),
    }
}

/// The key that something was sealed with.
pub(super) fn key_of(sealed: &[u8]) -> Result<KeyId, SealError> {
    match sealed.first() {
        Some(&VERSION) if sealed.len() >= OVERHEAD => KeyId::of(&sealed[1..=KEY_ID]).ok_or(SealError::Unknown),
        _ => Err(SealError::Unknown),
    }
}

fn row_key(key: &Key, place: &Place<'_>) -> Option<LessSafeKey> {
    let info = place.row_name();
    let info = info.each_ref().map(AsRef::as_ref);
    let derived = key.secret.expand(&info, &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(derived)))
}

#[cfg(test)]
mod tests;
