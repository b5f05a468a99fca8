//! One question to a token endpoint, and what its answer means.
//!
//! Whatever is refused may be put right by a person, so nothing here is for good. No text of the server is repeated:
//! it may hold what it was sent.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use serde::Deserialize;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::auth;
use super::client::{read_to_limit, unreached};
use super::oauth::{ClientAuthentication, Config};
use crate::model::clock::UnixMillis;
use crate::model::outcome::Failure;
use crate::model::reason::{Code, Reason};
use crate::model::retry_after;
use crate::model::secret::Secret;

/// The life of a token that does not say: short, so that a wrong guess costs a question and not a refused mail.
const UNSTATED_LIFE: Duration = Duration::from_secs(300);

/// No token is kept for longer, whatever it says of itself.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What a refusal may be called (RFC 6749 §5.2, RFC 8707 §2), and what a person does about it.
const REFUSALS: [(&str, &str); 8] = [
    ("invalid_client", "check client_id and client_secret, and client_authentication"),
    ("invalid_request", "check scope, audience and client_authentication"),
    ("invalid_scope", "check scope"),
    ("invalid_target", "check audience"),
    ("invalid_grant", "allow the client to ask for tokens with its own credentials"),
    ("unauthorized_client", "allow the client to ask for tokens with its own credentials"),
    ("unsupported_grant_type", "allow the client to ask for tokens with its own credentials"),
    ("access_denied", "allow the client this audience and scope"),
];

/// Where tokens are asked for, and as whom.
pub(super) struct Endpoint {
    config: Config,
}

/// A token as it was issued.
pub(super) struct Issued {
    pub(super) token: HeaderValue,
    pub(super) life: Duration,
}

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// What the server asked for.
    pub(super) after: Option<Duration>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Refusal {
    pub(super) fn late() -> Self {
        Self::new("did not answer in time")
    }

    fn new(what: impl std::fmt::Display) -> Self {
        Self { reason: format!("the token endpoint {what}"), after: None }
    }

    pub(super) fn as_failure(&self, after: Option<Duration>) -> Failure {
        Failure::Transient { reason: Reason::new(Code::Unauthorized, &self.reason), after }
    }
}

impl Endpoint {
    pub(super) fn new(config: &Config) -> Self {
        // The secret is handed in with every question: its file may be replaced.
        Self { config: Config { client_secret: None, client_secret_file: None, ..config.clone() } }
    }

    pub(super) async fn ask(
        &self,
        client: &reqwest::Client,
        secret: &Secret,
        now: UnixMillis,
    ) -> Result<Issued, Refusal> {
        let request = self.question(secret).map_err(Refusal::new)?;
        let answer = client.execute(request).await.map_err(|error| Refusal {
            reason: format!("the token endpoint gave {}", unreached(&error, "auth.token_url")),
            after: None,
        })?;
        let status = answer.status();
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = asked.and_then(|value| retry_after::parse(value, now, retry_after::DAY));
        let body = Zeroizing::new(read_to_limit(answer).await);
        match status.is_success() {
            true => granted(&body),
            false => Err(Refusal { after, ..refused(status, &body) }),
        }
    }

    fn question(&self, secret: &Secret) -> Result<reqwest::Request, &'static str> {
        let Config { token_url, client_id, scope, audience, client_authentication, .. } = &self.config;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        let extra = [("scope", scope), ("audience", audience)];
        extra.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).for_each(|(key, value)| {
            form.append_pair(key, value);
        });
        let mut request = reqwest::Request::new(Method::POST, token_url.clone());
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        match client_authentication {
            ClientAuthentication::ClientSecretBasic => {
                // Both are encoded as in a form first (RFC 6749 §2.3.1), so the colon parts them whatever they hold.
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new(format!("{}:{}", encoded(client_id), encoded(secret.expose())));
                let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                let mut value = HeaderValue::from_str(&value).map_err(|_| "cannot be asked with this client_secret")?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            ClientAuthentication::ClientSecretPost => {
                form.append_pair("client_id", client_id).append_pair("client_secret", secret.expose());
            }
        }
        *request.body_mut() = Some(form.finish().into());
        Ok(request)
    }
}

fn granted(body: &[u8]) -> Result<Issued, Refusal> {
    let Ok(Granted { access_token, token_type, expires_in }) = serde_json::from_slice(body) else {
        return Err(Refusal::new("answered with no token; check auth.token_url"));
    };
    if token_type.is_some_and(|it| !it.eq_ignore_ascii_case("bearer")) {
        return Err(Refusal::new("issues tokens of another type than Bearer, which are not spoken"));
    }
    let token = auth::bearer(&access_token).map_err(|_| Refusal::new("answered with a token that is none"))?;
    Ok(Issued { token, life: expires_in.as_ref().and_then(seconds).unwrap_or(UNSTATED_LIFE).min(LONGEST_LIFE) })
}

/// Seconds as a number, or as some servers write them, as a text.
fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

/// The one place where a refusal becomes words.
fn refused(status: StatusCode, body: &[u8]) -> Refusal {
    if status.is_redirection() {
        let advice = "redirects are not followed, so set auth.token_url to the final address";
        return Refusal::new(format_args!("answered {status}; {advice}"));
    }
    let named = serde_json::from_slice::<Refused>(body).ok();
    let named = named.and_then(|it| REFUSALS.iter().find(|(error, _)| *error == it.error));
    match named {
        Some((error, advice)) if status.is_client_error() => {
            Refusal::new(format_args!("refused the client: {error}; {advice}"))
        }
        _ => Refusal::new(format_args!("answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_life_is_read_in_every_way_it_is_written() {
        for (written, expected) in [
            (r#", "expires_in": 3600"#, 3600),
            (r#", "expires_in": "3600""#, 3600),
            (r#", "expires_in": 59.9"#, 59),
            (r#", "expires_in": 0"#, 0),
            (r#", "expires_in": -5"#, 0),
            (r#", "expires_in": null"#, 300),
            (r#", "expires_in": "soon""#, 300),
            (r#", "expires_in": 1e300"#, 300),
            (r#", "expires_in": 99999999"#, 86_400),
            ("", 300),
        ] {
            let body = format!(r#"{{"access_token": "abc", "token_type": "bearer"{written}}}"#);
            let Ok(issued) = granted(body.as_bytes()) else { panic!("{body}") };
            assert_eq!((issued.token.to_str().unwrap(), issued.life.as_secs()), ("Bearer abc", expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_grant_is_explained_and_not_repeated() {
        for (body, told) in [
            ("<html>hunter2</html>", "no token"),
            (r#"{"token": "hunter2"}"#, "no token"),
            (r#"{"access_token": ["hunter2"]}"#, "no token"),
            (r#"{"access_token": "hunter2", "token_type": "mac"}"#, "another type"),
            (r#"{"access_token": "hunter2\r\nx: y"}"#, "that is none"),
            (r#"{"access_token": ""}"#, "that is none"),
        ] {
            let Err(Refusal { reason, .. }) = granted(body.as_bytes()) else { panic!("{body}") };
            assert!(reason.contains(told) && !reason.contains("hunter2"), "{reason}");
        }
    }

    #[test]
    fn a_refusal_is_called_by_its_standard_name_only() {
        for (status, body, told) in [
            (401, r#"{"error": "invalid_client"}"#, "invalid_client; check client_id"),
            (400, r#"{"error": "invalid_scope", "error_description": "hunter2"}"#, "invalid_scope; check scope"),
            (400, r#"{"error": "hunter2"}"#, "answered 400"),
            (403, "hunter2", "answered 403"),
            (503, r#"{"error": "invalid_client"}"#, "answered 503"),
            (302, "", "redirects are not followed"),
        ] {
            let Refusal { reason, .. } = refused(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert!(reason.contains(told) && !reason.contains("hunter2"), "{reason}");
        }
    }
}
