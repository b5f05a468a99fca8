//! The attachments of an understood mail, for destinations that file them one by one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;

use crate::destinations::Parts;
use crate::mail::kept::Understood;

impl Parts for Understood {
    fn digests(&self) -> Vec<String> {
        let held = self.mail.attachments.iter().filter(|it| it.is_held());
        // The same file attached twice is one file.
        held.map(|it| it.sha256.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn bytes(&self, digest: &str) -> Option<Bytes> {
        let found = self.mail.attachments.iter().find(|it| it.is_held() && it.sha256 == digest)?;
        Some(match found.bytes(&self.raw) {
            Cow::Owned(bytes) => bytes.into(),
            Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
        })
    }
}
