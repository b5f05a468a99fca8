//! What can be seen of protection from the outside: S/MIME, OpenPGP, TNEF and rights management.
//!
//! By content type and name, and by the armour in a text; nothing is verified or opened, and signed mail stays as it is.

use serde::Serialize;

use super::structure::Part;

/// Whether and how a mail is protected by S/MIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Smime {
    /// Not at all. OpenPGP is not S/MIME.
    #[default]
    None,
    /// Signed; legible or inside the signature.
    Signed,
    /// Encrypted: only the recipient's key opens it.
    Encrypted,
}

/// Whether and how a mail is protected by OpenPGP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pgp {
    /// Not at all.
    #[default]
    None,
    /// Signed; the text is legible.
    Signed,
    /// Encrypted: only the recipient's key opens it.
    Encrypted,
}

/// Kinds of protection and wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Security {
    /// S/MIME.
    pub smime: Smime,
    /// OpenPGP: of the whole mail (RFC 3156), or of its text.
    pub pgp: Pgp,
    /// Holds a winmail.dat.
    pub tnef: bool,
    /// Protected by rights management: the text is in an attachment only Microsoft opens.
    pub irm: bool,
}

/// Looks at the parts of a mail and at its text.
pub fn look(parts: &[Part], text: Option<&str>, raw: &[u8]) -> Security {
    let mut seen = Security { pgp: armour(text.unwrap_or_default()), ..Security::default() };
    for part in parts {
        let smime = smime(part, raw);
        if smime == Smime::Encrypted || seen.smime == Smime::None {
            seen.smime = smime;
        }
        let pgp = pgp(part);
        if pgp == Pgp::Encrypted || seen.pgp == Pgp::None {
            seen.pgp = pgp;
        }
        seen.tnef |= is_tnef(part);
        // Exchange calls it `message.rpmsg`, Office 365's own encryption `message_v2.rpmsg` and up.
        let has_rights = part.kind() == "application/x-microsoft-rpmsg-message";
        seen.irm |= has_rights || ends_with(part, ".rpmsg");
    }
    seen
}

/// Whether this part is a winmail.dat.
pub fn is_tnef(part: &Part) -> bool {
    matches!(part.kind(), "application/ms-tnef" | "application/vnd.ms-tnef")
        || part.name.as_deref().is_some_and(|it| it.eq_ignore_ascii_case("winmail.dat"))
}

/// Whether this is a signature beside what it signs.
pub fn is_signature(kind: &str) -> bool {
    matches!(kind, "application/pkcs7-signature" | "application/x-pkcs7-signature" | "application/pgp-signature")
}

fn ends_with(part: &Part, extension: &str) -> bool {
    part.name.as_deref().is_some_and(|it| it.to_ascii_lowercase().ends_with(extension))
}

fn smime(part: &Part, raw: &[u8]) -> Smime {
    match part.kind() {
        "application/pkcs7-signature" | "application/x-pkcs7-signature" => Smime::Signed,
        "multipart/signed" => match part.content_type.parameter("protocol") {
            Some(protocol) if protocol.to_ascii_lowercase().contains("pkcs7") => Smime::Signed,
            _ => Smime::None,
        },
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => match part.content_type.parameter("smime-type") {
            Some(kind) if kind.eq_ignore_ascii_case("signed-data") => Smime::Signed,
            Some(kind) if kind.eq_ignore_ascii_case("certs-only") => Smime::None,
            Some(_) => Smime::Encrypted,
            None if is_signed_data(part, raw) => Smime::Signed,
            None => Smime::Encrypted,
        },
        _ => Smime::None,
    }
}

fn pgp(part: &Part) -> Pgp {
    let is_of_pgp = || {
        let protocol = part.content_type.parameter("protocol");
        protocol.is_some_and(|it| it.trim().to_ascii_lowercase().starts_with("application/pgp-"))
    };
    match part.kind() {
        "multipart/encrypted" if is_of_pgp() => Pgp::Encrypted,
        "multipart/signed" if is_of_pgp() => Pgp::Signed,
        "application/pgp-encrypted" => Pgp::Encrypted,
        "application/pgp-signature" => Pgp::Signed,
        // The old way, in which the text itself is the message (`application/pgp; x-action=sign`).
        "application/pgp" => match part.content_type.parameter("x-action") {
            Some(action) if action.to_ascii_lowercase().contains("sign") => Pgp::Signed,
            _ => Pgp::Encrypted,
        },
        _ => Pgp::None,
    }
}

/// OpenPGP within a text (RFC 9580 §6.2): on a line of its own, so that a quotation does not count.
fn armour(text: &str) -> Pgp {
    let begins = |what: &str| {
        let found = text.match_indices(what).map(|it| it.0);
        found.into_iter().any(|at| {
            let starts = at == 0 || text.as_bytes()[at - 1] == b'\n';
            starts && text[at + what.len()..].lines().next().is_none_or(|rest| rest.trim().is_empty())
        })
    };
    match () {
        () if begins("-----BEGIN PGP MESSAGE-----") => Pgp::Encrypted,
        () if begins("-----BEGIN PGP SIGNED MESSAGE-----") => Pgp::Signed,
        () => Pgp::None,
    }
}

/// The object identifier of signed data (RFC 5652 §5.1), which stands near the beginning.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

fn is_signed_data(part: &Part, raw: &[u8]) -> bool {
    let written = part.written(raw);
    let head = part.encoding.decode(written.get(..256).unwrap_or(written)).into_owned();
    let head = head.get(..64).unwrap_or(&head);
    head.windows(SIGNED_DATA.len()).any(|it| it == SIGNED_DATA)
}
