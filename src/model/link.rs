//! Links to the content of an interaction: what is signed, how long it holds, and how it is written and read.
//!
//! Plain functions over a key: the same interaction, content, expiry and key always give the same link, so the body
//! that carries it is the same on every attempt and on every replica.

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::clock::UnixMillis;

/// How many bytes a key has.
pub const KEY_BYTES: usize = 32;
/// How long a link outlives the schedule of the delivery that hands it out.
pub const AFTERWARDS_MS: i64 = 7 * DAY_MS;
/// A link is never handed out with less than this left.
const AT_LEAST_MS: i64 = DAY_MS;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// What a link signs, in words: a signature made for something else with this key is none for a link.
const PURPOSE: &str = "mailspan link 1";
/// Everything but what RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The mail as it was fetched.
    Raw,
    /// One attachment, by its part id.
    Attachment(&'a str),
}

/// Why a link is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Something in it was changed, or it was made with another key.
    #[error("the signature does not fit this address; use the link as it was handed out")]
    Forged,
    /// Its time is over.
    #[error("the link has expired; a replay of the delivery hands out a new one")]
    Expired,
}

/// The key that signs links.
#[derive(Clone)]
pub struct LinkKey(hmac::Key);

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey(…)")
    }
}

impl LinkKey {
    /// The key of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The address of `target` below `base`, good until `expires` (Unix seconds).
    pub fn link(&self, base: &str, interaction: &str, target: Target<'_>, expires: i64) -> String {
        let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &signed(interaction, target, expires)));
        let path = path(interaction, target);
        format!("{}{path}?expires={expires}&signature={signature}", base.trim_end_matches('/'))
    }

    /// Whether this signature is ours and its time is not over.
    ///
    /// # Errors
    /// It is not, or it is.
    pub fn verify(
        &self,
        interaction: &str,
        target: Target<'_>,
        expires: i64,
        signature: &str,
        now: UnixMillis,
    ) -> Result<(), Refused> {
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Forged)?;
        // Compared in constant time. Only what we signed ourselves is told that it came too late.
        hmac::verify(&self.0, &signed(interaction, target, expires), &signature).map_err(|_| Refused::Forged)?;
        if now < expires.saturating_mul(1000) { Ok(()) } else { Err(Refused::Expired) }
    }
}

/// Where `target` is found on the private listener.
fn path(interaction: &str, target: Target<'_>) -> String {
    let interaction = utf8_percent_encode(interaction, SEGMENT);
    match target {
        Target::Raw => format!("/api/v1/interactions/{interaction}/raw"),
        Target::Attachment(part) => {
            format!("/api/v1/interactions/{interaction}/attachments/{}", utf8_percent_encode(part, SEGMENT))
        }
    }
}

/// Lengths stand before the parts, so that no two contents are signed as the same bytes.
fn signed(interaction: &str, target: Target<'_>, expires: i64) -> Vec<u8> {
    let (kind, part) = match target {
        Target::Raw => ("raw", ""),
        Target::Attachment(part) => ("attachment", part),
    };
    let mut bytes = expires.to_be_bytes().to_vec();
    for text in [PURPOSE, interaction, kind, part] {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// Until when the links of a delivery hold, in Unix seconds: a week after a schedule of `schedule_ms` that began at
/// `begun` is used up. An attempt that comes later still, because the bridge was down for long, gets links that hold
/// longer by whole steps: attempts of one schedule share their links, and none is handed out that is about to expire.
pub fn expires(begun: UnixMillis, schedule_ms: i64, now: UnixMillis) -> i64 {
    let step = schedule_ms.max(0).saturating_add(AFTERWARDS_MS);
    let needed = now.saturating_add(AT_LEAST_MS).saturating_sub(begun).max(1);
    let steps = needed.div_euclid(step) + i64::from(needed.rem_euclid(step) > 0);
    begun.saturating_add(step.saturating_mul(steps.max(1))).div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://bridge.example.com/mail/";

    fn parts(link: &str) -> (i64, String) {
        let query = link.split_once("?expires=").unwrap().1;
        let (expires, signature) = query.split_once("&signature=").unwrap();
        (expires.parse().unwrap(), signature.to_owned())
    }

    #[test]
    fn a_link_opens_what_it_was_made_for_and_nothing_else() {
        let key = LinkKey::new(&[7; KEY_BYTES]);
        let link = key.link(BASE, "ix_1", Target::Attachment("1.2"), 2_000);
        assert!(
            link.starts_with("https://bridge.example.com/mail/api/v1/interactions/ix_1/attachments/1.2?expires=2000&")
        );
        let (expires, signature) = parts(&link);
        let verify = |key: &LinkKey, id, target, expires, signature: &str, now| {
            key.verify(id, target, expires, signature, now).err()
        };
        let target = Target::Attachment("1.2");
        let other = LinkKey::new(&[8; KEY_BYTES]);
        let cut = &signature[..signature.len() - 2];
        for (key, id, target, expires, signature, now, expected) in [
            (&key, "ix_1", target, expires, signature.as_str(), 1_999_999, None),
            (&key, "ix_1", target, expires, &signature, 2_000_000, Some(Refused::Expired)),
            (&key, "ix_2", target, expires, &signature, 0, Some(Refused::Forged)),
            (&key, "ix_1", Target::Raw, expires, &signature, 0, Some(Refused::Forged)),
            (&key, "ix_1", Target::Attachment("1"), expires, &signature, 0, Some(Refused::Forged)),
            (&key, "ix_1", target, expires + 1, &signature, 0, Some(Refused::Forged)),
            (&other, "ix_1", target, expires, &signature, 0, Some(Refused::Forged)),
            (&key, "ix_1", target, expires, cut, 0, Some(Refused::Forged)),
            (&key, "ix_1", target, expires, "", 0, Some(Refused::Forged)),
            (&key, "ix_1", target, expires, "§", 0, Some(Refused::Forged)),
        ] {
            assert_eq!(verify(key, id, target, expires, signature, now), expected, "{id} {target:?} {signature}");
        }
    }

    #[test]
    fn a_part_id_is_one_segment() {
        let link = LinkKey::new(&[7; KEY_BYTES]).link(BASE, "ix_1", Target::Attachment("2/a b?"), 1);
        assert!(link.contains("/attachments/2%2Fa%20b%3F?expires=1&"), "{link}");
    }

    #[test]
    fn a_link_outlives_its_schedule_by_a_week_and_later_attempts_get_whole_steps_more() {
        let (begun, schedule) = (1_000_000, 10 * DAY_MS);
        let step = schedule + AFTERWARDS_MS;
        let at = |days: i64| expires(begun, schedule, begun + days * DAY_MS);
        let steps = |count: i64| (begun + count * step) / 1000;
        for (days, expected) in [(-3, 1), (0, 1), (10, 1), (16, 1), (17, 2), (33, 2), (34, 3), (340, 21)] {
            assert_eq!(at(days), steps(expected), "{days}");
        }
        assert!(expires(i64::MAX - 5, i64::MAX, i64::MAX) > 0, "no number overflows");
    }

    proptest::proptest! {
        #[test]
        fn no_link_is_handed_out_that_is_about_to_expire(
            begun in 0..1i64 << 45, schedule in 0..100 * DAY_MS, later in 0..1i64 << 42,
        ) {
            let now = begun + later;
            let until = expires(begun, schedule, now) * 1000;
            proptest::prop_assert!(until > now + AT_LEAST_MS - 1000);
            proptest::prop_assert!(until >= begun + schedule + AFTERWARDS_MS - 1000);
        }
    }
}
