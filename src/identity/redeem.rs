//! What a user granted, exchanged with Entra for tokens: a refresh token (RFC 6749 §6), a code of the browser with its
//! verifier (RFC 7636), a code of a device (RFC 8628).
//!
//! A confidential client shows its credential with each; a public one shows its id alone.

use std::borrow::Cow;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use oauth2::basic::BasicTokenResponse;
use oauth2::{
    AsyncHttpClient as _, AuthorizationCode, ClientSecret, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl,
    RefreshToken, RequestTokenError, Scope, TokenResponse as _,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::aadsts;
use super::exchange::{
    ANSWER_WITHIN, Entra, EntraRefusal, ExchangeError, HttpError, JWT_BEARER, Registration, UNSTATED_LIFE, unavailable,
};
use super::proof::Proof;
use crate::model::secret::Secret;
use crate::model::token::AccessToken;

/// What is exchanged.
pub(super) enum Granted<'a> {
    /// The refresh token of a sign-in that is going on.
    Refresh(&'a Secret),
    /// What the browser came back with.
    Code { code: &'a Secret, verifier: &'a Secret, redirect: &'a str },
    /// What a device was given, whose user may have typed in the other half.
    Device(&'a Secret),
}

/// Tokens as they were issued on behalf of a user.
#[derive(Debug, Clone)]
pub(super) struct OnBehalf {
    pub(super) token: AccessToken,
    pub(super) life: Duration,
    /// What the next ones are asked for with; `None`: the old one goes on.
    pub(super) refresh_token: Option<Secret>,
    /// The permissions that were granted, as Entra writes them.
    pub(super) scopes: Vec<String>,
}

/// Why there are no tokens.
pub(super) enum NotRedeemed {
    /// As for every exchange.
    Exchange(ExchangeError),
    /// The device's user has not finished.
    Pending,
    /// The same, and we ask too often.
    SlowDown,
    /// The device's user said no.
    Declined,
    /// The device's code is over.
    Expired,
}

/// A code for a device, as Entra hands it out.
#[derive(Deserialize)]
pub(super) struct DeviceAnswer {
    pub(super) device_code: String,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    pub(super) expires_in: u64,
    /// Seconds between two questions; five where it is left out (RFC 8628 §3.2).
    pub(super) interval: Option<u64>,
}

impl From<ExchangeError> for NotRedeemed {
    fn from(error: ExchangeError) -> Self {
        Self::Exchange(error)
    }
}

/// How a client proves itself in a form: its secret, or an assertion.
enum Shown {
    Nothing,
    Secret(Secret),
    Assertion(Secret),
}

impl Registration {
    /// Exchanges what a user granted for tokens. `proof` is left out by a public client.
    pub(super) async fn redeem(
        &self,
        proof: Option<&Proof>,
        granted: &Granted<'_>,
        scopes: &[String],
    ) -> Result<OnBehalf, NotRedeemed> {
        let shown = self.shown(proof)?;
        let asked = async {
            match granted {
                Granted::Refresh(token) => self.refresh(&shown, token, scopes).await.map_err(NotRedeemed::from),
                Granted::Code { code, verifier, redirect } => {
                    self.code(&shown, code, verifier, redirect).await.map_err(NotRedeemed::from)
                }
                Granted::Device(code) => self.device(&shown, code).await,
            }
        };
        let answer = tokio::time::timeout(ANSWER_WITHIN, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(unavailable("Entra did not answer in time").into()))?;
        Ok(OnBehalf {
            token: AccessToken(Secret::new(answer.access_token().secret().as_str())),
            life: answer.expires_in().unwrap_or(UNSTATED_LIFE),
            refresh_token: answer.refresh_token().map(|it| Secret::new(it.secret().as_str())),
            scopes: answer.scopes().into_iter().flatten().map(|it| it.to_string()).collect(),
        })
    }

    /// Asks for a code for a device.
    pub(super) async fn device_code(&self, endpoint: &Url, scopes: &[String]) -> Result<DeviceAnswer, ExchangeError> {
        let form = [("client_id", self.client_id.as_str()), ("scope", &scopes.join(" "))];
        let asked = tokio::time::timeout(ANSWER_WITHIN, self.post(endpoint, &form)).await;
        let answer = asked.unwrap_or_else(|_| Err(unavailable("Entra did not answer in time")))?;
        read(&answer).map_err(|refusal| match refusal {
            Some(refusal) => ExchangeError::of_refusal(&refusal, aadsts::judge_grant),
            None => unavailable("what answers at the device code endpoint does not speak OAuth 2.0"),
        })
    }

    fn shown(&self, proof: Option<&Proof>) -> Result<Shown, ExchangeError> {
        Ok(match proof {
            // A platform's identity is none of the application's credentials; whoever asks leaves it out.
            None | Some(Proof::Platform(_)) => Shown::Nothing,
            Some(Proof::Secret(secret)) => Shown::Secret(secret.clone()),
            Some(Proof::Token(token)) => Shown::Assertion(token.clone()),
            Some(Proof::Certificate(certificate)) => {
                let assertion = certificate.assertion(&self.audience, &self.client_id, self.clock.now());
                Shown::Assertion(assertion.map_err(unavailable)?)
            }
        })
    }

    fn client(&self, shown: &Shown) -> Entra {
        match shown {
            Shown::Secret(secret) => {
                self.entra.clone().set_client_secret(ClientSecret::new(secret.expose().to_owned()))
            }
            Shown::Nothing | Shown::Assertion(_) => self.entra.clone(),
        }
    }

    async fn refresh(
        &self,
        shown: &Shown,
        token: &Secret,
        scopes: &[String],
    ) -> Result<BasicTokenResponse, ExchangeError> {
        let (client, token) = (self.client(shown), RefreshToken::new(token.expose().to_owned()));
        let mut request =
            client.exchange_refresh_token(&token).add_scopes(scopes.iter().map(|it| Scope::new(it.clone())));
        for (name, value) in shown.assertion() {
            request = request.add_extra_param(name, value);
        }
        let answer = request.request_async(&self.http).await;
        answer.map_err(|error| ExchangeError::of(error, aadsts::judge_grant))
    }

    async fn code(
        &self,
        shown: &Shown,
        code: &Secret,
        verifier: &Secret,
        redirect: &str,
    ) -> Result<BasicTokenResponse, ExchangeError> {
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|_| unavailable("the redirect URI is no URL"))?;
        let client = self.client(shown);
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()))
            .set_redirect_uri(Cow::Owned(redirect));
        for (name, value) in shown.assertion() {
            request = request.add_extra_param(name, value.to_owned());
        }
        let answer = request.request_async(&self.http).await;
        answer.map_err(|error| ExchangeError::of(error, aadsts::judge_grant))
    }

    /// Asks once how far the device's user is. When to ask again is not decided here.
    async fn device(&self, shown: &Shown, code: &Secret) -> Result<BasicTokenResponse, NotRedeemed> {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", self.client_id.as_str()),
            ("device_code", code.expose()),
        ];
        form.extend(shown.assertion());
        if let Shown::Secret(secret) = shown {
            form.push(("client_secret", secret.expose()));
        }
        let answer = self.post(self.entra.token_uri().url(), &form).await?;
        read(&answer).map_err(|refusal| match refusal {
            None => unavailable("what answers at the token endpoint does not speak OAuth 2.0").into(),
            Some(refusal) => match refusal.error.as_str() {
                "authorization_pending" => NotRedeemed::Pending,
                "slow_down" => NotRedeemed::SlowDown,
                "authorization_declined" | "access_denied" => NotRedeemed::Declined,
                "expired_token" | "code_expired" => NotRedeemed::Expired,
                _ => ExchangeError::of_refusal(&refusal, aadsts::judge_grant).into(),
            },
        })
    }

    async fn post(&self, url: &Url, form: &[(&str, &str)]) -> Result<HttpResponse, ExchangeError> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = http::Request::post(url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.into_bytes());
        let request: HttpRequest = request.map_err(|_| unavailable("the address of Entra is no URL"))?;
        let answer: Result<HttpResponse, HttpError> = self.http.call(request).await;
        answer.map_err(|error| ExchangeError::of(RequestTokenError::Request(error), aadsts::judge_grant))
    }
}

impl Shown {
    fn assertion(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let assertion = match self {
            Self::Assertion(assertion) => Some(assertion.expose()),
            Self::Nothing | Self::Secret(_) => None,
        };
        let pairs = |it| [("client_assertion_type", JWT_BEARER), ("client_assertion", it)];
        assertion.map(pairs).into_iter().flatten()
    }
}

/// The answer, or the refusal; `None`: it is neither.
fn read<T: DeserializeOwned>(answer: &HttpResponse) -> Result<T, Option<EntraRefusal>> {
    match answer.status().is_success() {
        true => serde_json::from_slice(answer.body()).map_err(|_| None),
        false => Err(serde_json::from_slice(answer.body()).ok()),
    }
}
