//! AUTH PLAIN (RFC 4616) and AUTH LOGIN, as an exchange of lines; who may in is decided elsewhere.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use smtp_proto::{AUTH_LOGIN, AUTH_PLAIN};
use zeroize::Zeroizing;

use crate::model::secret::Secret;

/// Some clients leave the padding out.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A longer name is nobody's.
const LONGEST_NAME: usize = 255;

/// What a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) name: String,
    pub(super) password: Secret,
}

/// How far an exchange has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Name and password are to come in one line.
    Plain,
    /// LOGIN: the name is to come.
    Name,
    /// LOGIN: the password is to come.
    Password(String),
}

/// What follows a line of the exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for more with this challenge, already in base64.
    Ask(&'static str, Exchange),
    /// All is there.
    Check(Login),
    /// The client gave up.
    Cancelled,
    /// It is none.
    Broken,
}

/// An exchange begins. `None` where the mechanism is not offered.
pub(super) fn begin(mechanism: u64, first: &str) -> Option<Next> {
    let exchange = match mechanism {
        AUTH_PLAIN => Exchange::Plain,
        AUTH_LOGIN => Exchange::Name,
        _ => return None,
    };
    Some(if first.is_empty() { exchange.ask() } else { exchange.heard(first.as_bytes()) })
}

impl Exchange {
    fn ask(self) -> Next {
        let challenge = match self {
            Self::Plain => "",
            Self::Name => "VXNlcm5hbWU6",
            Self::Password(_) => "UGFzc3dvcmQ6",
        };
        Next::Ask(challenge, self)
    }

    /// A line of the client, without its end.
    pub(super) fn heard(self, line: &[u8]) -> Next {
        let line = line.trim_ascii();
        match line {
            b"*" => return Next::Cancelled,
            // RFC 4954 §4: an initial response that is empty.
            b"=" => return self.given(Vec::new().into()),
            _ => {}
        }
        match TOLERANT.decode(line) {
            Ok(bytes) => self.given(Zeroizing::new(bytes)),
            Err(_) => Next::Broken,
        }
    }

    fn given(self, bytes: Zeroizing<Vec<u8>>) -> Next {
        let Ok(text) = std::str::from_utf8(&bytes) else { return Next::Broken };
        match self {
            Self::Plain => {
                // Who to be stands before who one is, and nobody may be somebody else.
                let mut pieces = text.split('\0');
                match (pieces.next(), pieces.next(), pieces.next(), pieces.next()) {
                    (Some(other), Some(name), Some(password), None)
                        if (other.is_empty() || other == name) && name.len() <= LONGEST_NAME =>
                    {
                        Next::Check(Login { name: name.to_owned(), password: Secret::new(password) })
                    }
                    _ => Next::Broken,
                }
            }
            Self::Name if text.len() > LONGEST_NAME => Next::Broken,
            Self::Name => Self::Password(text.to_owned()).ask(),
            Self::Password(name) => Next::Check(Login { name, password: Secret::new(text) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn login(name: &str, password: &str) -> Next {
        Next::Check(Login { name: name.into(), password: Secret::new(password) })
    }

    #[test]
    fn both_mechanisms_are_heard_in_every_form() {
        let base64 = |text: &str| BASE64_STANDARD.encode(text);
        for (mechanism, first, lines, end) in [
            (AUTH_PLAIN, base64("\0desk\0secret"), vec![], login("desk", "secret")),
            (AUTH_PLAIN, String::new(), vec![base64("\0desk\0secret")], login("desk", "secret")),
            (AUTH_PLAIN, base64("desk\0desk\0secret"), vec![], login("desk", "secret")),
            (AUTH_PLAIN, base64("\0desk\0").trim_end_matches('=').to_owned(), vec![], login("desk", "")),
            (AUTH_PLAIN, base64("boss\0desk\0secret"), vec![], Next::Broken),
            (AUTH_PLAIN, base64("desk\0secret"), vec![], Next::Broken),
            (AUTH_PLAIN, base64("\0a\0b\0c"), vec![], Next::Broken),
            (AUTH_PLAIN, "=".to_owned(), vec![], Next::Broken),
            (AUTH_PLAIN, "not base64".to_owned(), vec![], Next::Broken),
            (AUTH_PLAIN, "/w==".to_owned(), vec![], Next::Broken),
            (AUTH_PLAIN, String::new(), vec!["*".to_owned()], Next::Cancelled),
            (AUTH_LOGIN, String::new(), vec![base64("desk"), base64("sécret")], login("desk", "sécret")),
            (AUTH_LOGIN, base64("desk"), vec![format!("{} ", base64("secret"))], login("desk", "secret")),
            (AUTH_LOGIN, String::new(), vec![base64("desk"), "*".to_owned()], Next::Cancelled),
        ] {
            let mut next = begin(mechanism, &first).unwrap();
            for line in lines {
                let Next::Ask(_, exchange) = next else { panic!("{first}: {next:?}") };
                next = exchange.heard(line.as_bytes());
            }
            assert_eq!(next, end, "{first}");
        }
        assert_eq!(begin(smtp_proto::AUTH_CRAM_MD5, ""), None);
        assert_eq!(begin(AUTH_LOGIN, ""), Some(Next::Ask("VXNlcm5hbWU6", Exchange::Name)));
    }
}
