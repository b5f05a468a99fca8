//! Who a mail is from on its envelope: ourselves, never its writer, whose domain does not let us (SPF, DMARC).
//!
//! Either a fixed bounce address, or the writer's address inside one of ours (SRS), as `postsrsd` and `libsrs2` write
//! it. A null return path stays null: nobody is told about a notice that does not arrive.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::header::{first_address, is_mailbox, value};
use crate::model::clock::UnixMillis;

/// Characters of the hash: what the programs above write unless told otherwise, and ask for at the least.
const HASH: usize = 4;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// The alphabet of RFC 4648, 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The original's return path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Original {
    /// `<>`, or nobody that could be told.
    Null,
    /// An address.
    Address(String),
}

impl Original {
    /// What its `Return-Path` says, else who it is `From`. `kind` is what the mail was found to be.
    pub(super) fn of(mail: &[u8], kind: Option<&str>) -> Self {
        // Notices have no return path (RFC 3464, 2; RFC 8098, 3), also where nobody wrote that down.
        if matches!(kind, Some("dsn" | "mdn")) {
            return Self::Null;
        }
        match value(mail, "Return-Path") {
            Some(path) if path.starts_with('<') && path.trim_start_matches('<').trim_start().starts_with('>') => {
                return Self::Null;
            }
            Some(path) => {
                if let Some(address) = first_address(&path) {
                    return Self::Address(address);
                }
            }
            None => {}
        }
        let from = ["From", "Sender"].into_iter().find_map(|it| first_address(&value(mail, it)?));
        from.map_or(Self::Null, Self::Address)
    }
}

/// Rewrites senders.
pub(super) struct Rewriter(hmac::Key);

impl Rewriter {
    /// With this secret. HMAC-SHA1 is what SRS is made of; four characters of it keep strangers from using our
    /// address to send to anybody, and that is all they have to do.
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret))
    }

    /// This address inside one at `domain`. `None`: it cannot be written there.
    pub(super) fn rewrite(&self, address: &str, domain: &str, now: UnixMillis) -> Option<String> {
        let (local, host) = address.rsplit_once('@')?;
        let local = unquoted(local);
        let rewritten = match shape(&local) {
            Shape::Plain => {
                let day = day(now);
                format!("SRS0={}={day}={host}={local}", self.hash(&[&day, host, &local]))
            }
            // Somebody rewrote it before us: their address is kept, and their host is who undoes it.
            Shape::Once(theirs) => format!("SRS1={}={host}={theirs}", self.hash(&[host, theirs])),
            Shape::Twice(first, theirs) => format!("SRS1={}={first}={theirs}", self.hash(&[first, theirs])),
        };
        let address = format!("{}@{domain}", written(&rewritten));
        is_mailbox(&address).then_some(address)
    }

    fn hash(&self, parts: &[&str]) -> String {
        let lower: String = parts.iter().flat_map(|it| it.chars()).map(|it| it.to_ascii_lowercase()).collect();
        let tag = hmac::sign(&self.0, lower.as_bytes());
        let mut text = BASE64_STANDARD.encode(tag.as_ref());
        text.truncate(HASH);
        text
    }
}

enum Shape<'a> {
    Plain,
    /// `SRS0` and what follows it, the separator included.
    Once(&'a str),
    /// Whose `SRS0` it was, and what followed that.
    Twice(&'a str, &'a str),
}

fn shape(local: &str) -> Shape<'_> {
    const SEPARATORS: [char; 3] = ['=', '+', '-'];
    let Some((tag, rest)) = local.split_at_checked(4) else { return Shape::Plain };
    if tag.eq_ignore_ascii_case("SRS0") && rest.starts_with(SEPARATORS) {
        return Shape::Once(rest);
    }
    if tag.eq_ignore_ascii_case("SRS1")
        && let Some((_hash, rest)) = rest.strip_prefix(SEPARATORS).and_then(|it| it.split_once('='))
        && let Some((first, theirs)) = rest.split_once('=')
    {
        return Shape::Twice(first, theirs);
    }
    Shape::Plain
}

/// The day as SRS counts it: two characters that come again after almost three years.
fn day(now: UnixMillis) -> String {
    let day = usize::try_from(now.div_euclid(DAY_MS).rem_euclid(1024)).unwrap_or_default();
    [day >> 5, day & 31].map(|it| char::from(BASE32[it])).iter().collect()
}

/// A local part as it is meant.
fn unquoted(local: &str) -> String {
    let Some(inside) = local.strip_prefix('"').and_then(|it| it.strip_suffix('"')) else { return local.to_owned() };
    let (mut plain, mut characters) = (String::new(), inside.chars());
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or(character) } else { character });
    }
    plain
}

/// A local part as it is written (RFC 5321, 4.1.2).
fn written(local: &str) -> String {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || !c.is_ascii();
    let has_loose_dots = local.starts_with('.') || local.ends_with('.') || local.contains("..");
    if local.chars().all(is_atom) && !has_loose_dots {
        return local.to_owned();
    }
    format!("\"{}\"", local.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21.
    const NOW: UnixMillis = 1_795_219_200_000;

    fn original(mail: &str, kind: Option<&str>) -> Option<String> {
        match Original::of(mail.as_bytes(), kind) {
            Original::Null => None,
            Original::Address(address) => Some(address),
        }
    }

    #[test]
    fn the_return_path_comes_before_the_writer_and_null_stays_null() {
        for (mail, kind, expected) in [
            ("Return-Path: bounces@list.example\nFrom: ada@example.net\n\n", None, Some("bounces@list.example")),
            ("Return-Path: <>\nFrom: MAILER-DAEMON@example.net\n\n", None, None),
            ("Return-Path: < >\nFrom: ada@example.net\n\n", None, None),
            ("From: Ada <ada@example.net>\n\n", Some("human"), Some("ada@example.net")),
            ("From: Postmaster <p@example.net>\n\n", Some("dsn"), None),
            ("Return-Path: p@example.net\n\n", Some("mdn"), None),
            ("From: nobody\nSender: ada@example.net\n\n", None, Some("ada@example.net")),
            ("Return-Path: nonsense\nFrom: ada@example.net\n\n", None, Some("ada@example.net")),
            ("Subject: a\n\nFrom: ada@example.net\n", None, None),
        ] {
            assert_eq!(original(mail, kind).as_deref(), expected, "{mail}");
        }
    }

    #[test]
    fn a_sender_is_rewritten_once_twice_and_thrice() {
        let rewriter = Rewriter::new(b"tops3cr3t");
        let first = rewriter.rewrite("Ada@Example.net", "bridge.example", NOW).unwrap();
        assert!(first.starts_with("SRS0=") && first.ends_with("=Example.net=Ada@bridge.example"), "{first}");
        assert_eq!(first.split('=').nth(1).unwrap().len(), HASH);
        assert_eq!(
            rewriter.rewrite("Ada@Example.net", "bridge.example", NOW + 1),
            Some(first.clone()),
            "the whole day"
        );
        assert_ne!(rewriter.rewrite("Ada@Example.net", "bridge.example", NOW + DAY_MS), Some(first.clone()));
        assert_ne!(Rewriter::new(b"other").rewrite("Ada@Example.net", "bridge.example", NOW), Some(first.clone()));

        let second = rewriter.rewrite(&first, "second.example", NOW).unwrap();
        let theirs = first.strip_suffix("@bridge.example").unwrap().strip_prefix("SRS0").unwrap();
        assert!(
            second.starts_with("SRS1=") && second.ends_with(&format!("=bridge.example={theirs}@second.example")),
            "{second}"
        );
        let third = rewriter.rewrite(&second, "third.example", NOW).unwrap();
        assert_eq!(third, second.replace("@second", "@third"), "it does not grow");
    }

    #[test]
    fn what_cannot_be_written_bare_is_quoted() {
        let rewriter = Rewriter::new(b"tops3cr3t");
        for (address, end) in [
            ("\"a b\"@example.net", "=example.net=a b\"@b.example"),
            ("\"a\\\"b\"@example.net", "=example.net=a\\\"b\"@b.example"),
            ("\"plain\"@example.net", "=example.net=plain@b.example"),
            ("jürgen@bücher.example", "=bücher.example=jürgen@b.example"),
            ("a..b@example.net", "=example.net=a..b\"@b.example"),
        ] {
            let rewritten = rewriter.rewrite(address, "b.example", NOW).unwrap();
            assert!(rewritten.ends_with(end) && is_mailbox(&rewritten), "{rewritten}");
        }
        assert_eq!(rewriter.rewrite(&format!("{}@example.net", "a".repeat(306)), "b.example", NOW), None);
    }

    /// What postsrsd 1.10 answers with this secret.
    #[test]
    fn senders_are_rewritten_as_postsrsd_does() {
        let rewriter = Rewriter::new(b"tops3cr3t");
        for (address, expected) in [
            ("Ada@Example.net", "SRS0=OZ/O=JK=Example.net=Ada@bridge.example"),
            (
                "SRS0=abcd=TT=orig.example=joe@other.example",
                "SRS1=8PoB=other.example==abcd=TT=orig.example=joe@bridge.example",
            ),
        ] {
            let rewritten = rewriter.rewrite(address, "bridge.example", 1_795_305_001_493);
            assert_eq!(rewritten.as_deref(), Some(expected));
        }
    }

    #[test]
    fn days_are_counted_in_two_letters() {
        assert_eq!((day(0), day(DAY_MS * 33), day(DAY_MS * 1024)), ("AA".into(), "BB".into(), "AA".into()));
    }
}
