//! Who is asking, said in the receiver's own way beside the signature: a token, a password, or a certificate.
//!
//! What is shown is read anew when its file changes, goes to the configured address only, and is never logged.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::oauth::{self, Tokens};
use crate::destinations::BuildError;
use crate::destinations::watched::Watched;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::reason::Code;
use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// `auth = { kind = … }`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Config {
    /// A fixed token.
    Bearer(Bearer),
    /// A user name and a password.
    Basic(Basic),
    /// Tokens of an OAuth 2.0 server, asked for as they are needed.
    Oauth2ClientCredentials(oauth::Config),
    /// A certificate of our own, shown while TLS is set up.
    Mtls(Mtls),
}

/// `kind = "bearer"` (RFC 6750).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bearer {
    /// The token.
    pub token: Option<Secret>,
    /// The file that holds it.
    pub token_file: Option<PathBuf>,
}

/// `kind = "basic"` (RFC 7617).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Option<Secret>,
    /// The file that holds it.
    pub password_file: Option<PathBuf>,
}

/// `kind = "mtls"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mtls {
    /// The certificate chain, as PEM, our own certificate first.
    pub certificate_file: PathBuf,
    /// Its private key, as PEM.
    pub private_key_file: PathBuf,
}

/// What is shown with every request.
pub(super) enum Auth {
    /// Nothing beside the signature, or nothing beside the connection's own certificate.
    Nothing,
    /// The same until its file changes.
    Fixed(Watched<HeaderValue>),
    /// Tokens that expire.
    Tokens(Box<Tokens>),
}

impl Auth {
    pub(super) fn new(webhook: &super::Config, clock: &SharedClock) -> Result<Self, BuildError> {
        let now = clock.now();
        Ok(match &webhook.auth {
            None | Some(Config::Mtls(_)) => Self::Nothing,
            Some(Config::Bearer(Bearer { token, token_file })) => {
                let (key, source) = one_of(["auth.token", "auth.token_file"], token.as_ref(), token_file.as_ref())?;
                Self::Fixed(Watched::secret(source, now, bearer).map_err(|problem| BuildError::new(key, problem))?)
            }
            Some(Config::Basic(Basic { username, password, password_file })) => {
                check_username(username).map_err(|problem| BuildError::new("auth.username", problem))?;
                let keys = ["auth.password", "auth.password_file"];
                let (key, source) = one_of(keys, password.as_ref(), password_file.as_ref())?;
                let username = username.clone();
                let made = Watched::secret(source, now, move |password| basic(&username, password));
                Self::Fixed(made.map_err(|problem| BuildError::new(key, problem))?)
            }
            Some(Config::Oauth2ClientCredentials(config)) => {
                Self::Tokens(Box::new(Tokens::new(config, webhook.allow_private_networks, clock.clone())?))
            }
        })
    }

    /// What goes into `authorization` now; `None`: the field is left out.
    pub(super) async fn shown(
        &self,
        client: &reqwest::Client,
        clock: &SharedClock,
        until: Instant,
    ) -> Result<Option<HeaderValue>, Failure> {
        match self {
            Self::Nothing => Ok(None),
            Self::Fixed(value) => value.current(clock.now()).map(Some).map_err(|problem| {
                Failure::transient(format_args!("auth cannot be used: {problem}")).coded(Code::Misconfigured)
            }),
            Self::Tokens(tokens) => tokens.token(client, until).await.map(Some),
        }
    }

    /// What to show instead of what was answered with 401; `None`: there is nothing better.
    pub(super) async fn instead_of(
        &self,
        refused: &HeaderValue,
        client: &reqwest::Client,
        until: Instant,
    ) -> Result<Option<HeaderValue>, Failure> {
        match self {
            Self::Tokens(tokens) => tokens.instead_of(refused, client, until).await,
            Self::Nothing | Self::Fixed(_) => Ok(None),
        }
    }
}

/// The secret given by exactly one of these two keys, and the key.
pub(super) fn one_of(
    keys: [&'static str; 2],
    value: Option<&Secret>,
    file: Option<&PathBuf>,
) -> Result<(&'static str, SecretSource), BuildError> {
    let [key, key_file] = keys;
    match (value, file) {
        (Some(secret), None) => Ok((key, SecretSource::Inline(secret.clone()))),
        (None, Some(path)) => Ok((key_file, SecretSource::File(path.clone()))),
        (None, None) => Err(BuildError::new(key, format_args!("is missing; set it, or name its file as {key_file}"))),
        (Some(_), Some(_)) => {
            Err(BuildError::new(key, format_args!("is set together with {key_file}; keep one of them")))
        }
    }
}

/// `Bearer …`.
///
/// # Errors
/// It is no token; never shown.
pub fn bearer(token: &Secret) -> Result<HeaderValue, &'static str> {
    let token = token.expose();
    match token.is_empty() || !token.bytes().all(|it| it.is_ascii_graphic()) {
        true => Err("is no bearer token; it is ASCII without spaces, and without the word Bearer"),
        false => sensitive(&zeroize::Zeroizing::new(format!("Bearer {token}"))),
    }
}

/// `Basic …`.
///
/// # Errors
/// It is no password; never shown.
pub fn basic(username: &str, password: &Secret) -> Result<HeaderValue, &'static str> {
    let password = password.expose();
    match password.is_empty() || password.chars().any(char::is_control) {
        true => Err("is no password; it is one line and not empty"),
        false => {
            let pair = zeroize::Zeroizing::new(format!("{username}:{password}"));
            sensitive(&zeroize::Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
        }
    }
}

/// Whether a user name can be told from its password.
///
/// # Errors
/// What is wrong with it.
pub fn check_username(username: &str) -> Result<(), &'static str> {
    match username.is_empty() || username.contains(':') || username.chars().any(char::is_control) {
        true => Err("must be one line, not empty, and without a colon"),
        false => Ok(()),
    }
}

/// A value that is neither shown in debugging nor kept in the tables of HTTP/2.
fn sensitive(text: &str) -> Result<HeaderValue, &'static str> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "cannot be carried by HTTP")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_passwords_are_written_as_their_standards_say() {
        // RFC 6750 §2.1 and RFC 7617 §2 and §2.1.
        assert_eq!(bearer(&Secret::new("mF_9.B5f-4.1JqM")).unwrap(), "Bearer mF_9.B5f-4.1JqM");
        assert_eq!(basic("Aladdin", &Secret::new("open sesame")).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("test", &Secret::new("123£")).unwrap(), "Basic dGVzdDoxMjPCow==");
    }

    #[test]
    fn what_is_no_token_or_password_is_refused_unseen() {
        for token in ["", "two words", "Bearer abc", "a\r\nb", "Grüße"] {
            assert!(bearer(&Secret::new(token)).is_err_and(|it| it.contains("bearer token")), "{token:?}");
        }
        for password in ["", "a\r\nb", "a\0b"] {
            assert!(basic("ann", &Secret::new(password)).is_err_and(|it| it.contains("password")), "{password:?}");
        }
        for (username, fine) in [("ann", true), ("ann@a.example", true), ("", false), ("a:b", false), ("a\nb", false)] {
            assert_eq!(check_username(username).is_ok(), fine, "{username:?}");
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let shown = format!("{:?}", [bearer(&Secret::new("hunter2")), basic("ann", &Secret::new("hunter2"))]);
        assert!(!shown.contains("hunter2") && !shown.contains("YW5u"), "{shown}");
    }
}
