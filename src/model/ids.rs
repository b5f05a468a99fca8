//! Ids that are computed, so that a second look at the same mail arrives at the same id.

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256 as lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&SHA256, bytes);
    hex(digest.as_ref())
}

/// What makes two copies of a mail the same mail: its Message-ID and its content agree.
/// Message-ID alone never does: senders reuse it. A mail without one is only ever itself, so its immutable id stands in.
pub fn message_key(tenant: &str, identity: &str, content_digest: &str) -> String {
    format!("mk_{}", short(&["message", tenant, identity, content_digest]))
}

/// The key of the `copy`-th message (from 1) that has the same Message-ID and content in one mailbox:
/// each is a message of its own, because each lies in the mailbox by itself.
pub fn message_key_of_copy(key: &str, copy: u32) -> String {
    if copy <= 1 { key.to_owned() } else { format!("{key}_{copy}") }
}

/// The interaction of one message and one route. Never holds a dot: Standard Webhooks signs `id.timestamp.body`.
pub fn interaction_id(message_key: &str, route: &str) -> String {
    format!("ix_{}", short(&["interaction", message_key, route]))
}

/// The callback of one submission and state. Never holds a dot: Standard Webhooks signs `id.timestamp.body`.
pub fn event_id(submission: &str, state: &str) -> String {
    format!("cb_{}", short(&["callback", submission, state]))
}

/// 128 bits of a hash over parts that cannot run into each other.
fn short(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    hex(&context.finish().as_ref()[..16])
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_mail_and_route_always_have_the_same_id() {
        let key = message_key("contoso", "<a@b>", "digest");
        assert_eq!(key, message_key("contoso", "<a@b>", "digest"));
        assert_ne!(key, message_key("contoso", "<a@b>", "other content"));
        assert_ne!(key, message_key("fabrikam", "<a@b>", "digest"));
        assert_ne!(interaction_id(&key, "a"), interaction_id(&key, "b"));
        assert!(!interaction_id(&key, "a.b").contains('.'));
        assert_eq!(message_key_of_copy(&key, 1), key);
        assert_ne!(message_key_of_copy(&key, 2), key);
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        assert_ne!(message_key("ab", "c", "d"), message_key("a", "bc", "d"));
    }

    #[test]
    fn hashes_are_written_as_sha256sum_writes_them() {
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
