//! One exchange with Entra: a credential for a token (client credentials, RFC 6749 §4.4; assertions, RFC 7523 §2.2).
//!
//! Ends in a token, a verdict on the credential, or "could not be asked"; never waits longer than [`ANSWER_WITHIN`].

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use oauth2::basic::{BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenResponse};
use oauth2::{
    AsyncHttpClient, AuthType, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet, ErrorResponse, HttpRequest,
    HttpResponse, RequestTokenError, Scope, StandardRevocableToken, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};

use super::aadsts::{self, Decision, Verdict};
use super::cloud::Endpoints;
use super::proof::Proof;
use crate::model::clock::{SharedClock, UnixMillis};
use crate::model::retry_after;
use crate::model::secret::Secret;
use crate::model::token::AccessToken;

/// The whole exchange, connecting included.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// An answer of Entra is a few KiB; what is longer is not one.
const ANSWER_LIMIT: usize = 256 * 1024;
/// The life of a token that does not say: short, so that a wrong guess costs an exchange and not a refused call.
pub(super) const UNSTATED_LIFE: Duration = Duration::from_secs(600);
/// Entra's loop detection looks back over minutes; asking again sooner only prolongs it.
const LOOP_PAUSE: Duration = Duration::from_secs(300);

/// How an assertion is introduced (RFC 7523 §2.2).
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub(super) type Entra<TokenUrlState = EndpointSet> = Client<
    EntraRefusal,
    BasicTokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    TokenUrlState,
>;

/// An application's registration with Entra.
pub(super) struct Registration {
    pub(super) entra: Entra,
    pub(super) client_id: String,
    /// Whom an assertion is for: the token endpoint itself.
    pub(super) audience: String,
    scope: Scope,
    /// What the platform is asked for a token for.
    resource: String,
    pub(super) http: Http,
    /// By no proxy.
    platform: reqwest::Client,
    pub(super) clock: SharedClock,
}

/// The clients exchanges are made with. Neither follows redirects, or a secret would be carried elsewhere.
#[derive(Clone)]
pub struct Ways {
    /// To Entra.
    pub entra: reqwest::Client,
    /// To the platform's own token endpoint: by no proxy.
    pub platform: reqwest::Client,
}

/// A token as it was issued.
pub(super) struct Issued {
    pub(super) token: AccessToken,
    pub(super) life: Duration,
}

/// What a refusal means, by the protocol's word and Entra's codes.
pub(super) type Judge = fn(&str, &[u32]) -> Verdict;

/// Why there is no token.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// Entra looked at the request and refused it.
    Refused(Verdict),
    /// Entra could not be asked, or asks for patience.
    Unavailable { reason: String, after: Option<Duration> },
}

impl Registration {
    pub(super) fn new(client_id: &str, endpoints: &Endpoints, ways: Ways, clock: SharedClock) -> Self {
        let entra = Entra::<EndpointNotSet>::new(ClientId::new(client_id.to_owned()))
            .set_token_uri(TokenUrl::from_url(endpoints.token.clone()))
            .set_auth_type(AuthType::RequestBody);
        Self {
            entra,
            client_id: client_id.to_owned(),
            audience: endpoints.token.as_str().to_owned(),
            scope: Scope::new(endpoints.scope.clone()),
            resource: endpoints.scope.trim_end_matches("/.default").to_owned(),
            http: Http { http: ways.entra, clock: clock.clone() },
            platform: ways.platform,
            clock,
        }
    }

    /// Exchanges this proof for a token.
    pub(super) async fn exchange(&self, proof: &Proof) -> Result<Issued, ExchangeError> {
        match proof {
            Proof::Secret(secret) => {
                let entra = self.entra.clone().set_client_secret(ClientSecret::new(secret.expose().to_owned()));
                self.ask(&entra, None).await
            }
            Proof::Certificate(certificate) => {
                let assertion = certificate.assertion(&self.audience, &self.client_id, self.clock.now());
                self.ask(&self.entra, Some(&assertion.map_err(unavailable)?)).await
            }
            Proof::Token(token) => self.ask(&self.entra, Some(token)).await,
            Proof::Platform(platform) => platform.exchange(&self.platform, &self.resource, self.clock.now()).await,
        }
    }

    async fn ask(&self, entra: &Entra, assertion: Option<&Secret>) -> Result<Issued, ExchangeError> {
        let mut request = entra.exchange_client_credentials().add_scope(self.scope.clone());
        if let Some(assertion) = assertion {
            request = request
                .add_extra_param("client_assertion_type", JWT_BEARER)
                .add_extra_param("client_assertion", assertion.expose());
        }
        let answer = tokio::time::timeout(ANSWER_WITHIN, request.request_async(&self.http)).await;
        match answer {
            Err(_) => Err(unavailable("Entra did not answer in time")),
            Ok(Err(error)) => Err(ExchangeError::of(error, aadsts::judge)),
            Ok(Ok(answer)) => Ok(Issued {
                token: AccessToken(Secret::new(answer.access_token().secret().as_str())),
                life: answer.expires_in().unwrap_or(UNSTATED_LIFE),
            }),
        }
    }
}

pub(super) fn unavailable(reason: impl Into<String>) -> ExchangeError {
    ExchangeError::Unavailable { reason: reason.into(), after: None }
}

impl ExchangeError {
    /// The one place where an answer of Entra becomes a decision.
    pub(super) fn of(error: RequestTokenError<HttpError, EntraRefusal>, judge: Judge) -> Self {
        match error {
            RequestTokenError::ServerResponse(refusal) => Self::of_refusal(&refusal, judge),
            RequestTokenError::Request(error) => Self::Unavailable { reason: error.reason, after: error.after },
            // A proxy's page or half an answer: whatever it is, Entra has not refused anything.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                unavailable("what answered at the token endpoint does not speak OAuth 2.0")
            }
        }
    }

    pub(super) fn of_refusal(refusal: &EntraRefusal, judge: Judge) -> Self {
        let verdict = judge(&refusal.error, &refusal.error_codes);
        match verdict.decision {
            Decision::Transient => {
                let reason = describe(&verdict);
                let after = (verdict.code == Some(aadsts::LOOP_DETECTED)).then_some(LOOP_PAUSE);
                Self::Unavailable { reason, after }
            }
            Decision::NextCredential | Decision::Fatal | Decision::SignIn | Decision::Blocked => Self::Refused(verdict),
        }
    }
}

/// A verdict in one line.
pub(super) fn describe(verdict: &Verdict) -> String {
    match verdict.code {
        Some(code) => format!("AADSTS{code}: {}", verdict.says),
        None => verdict.says.to_owned(),
    }
}

/// Entra's refusal. The description is left out on purpose: it may name accounts, and nothing is decided by it.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct EntraRefusal {
    pub(super) error: String,
    #[serde(default)]
    pub(super) error_codes: Vec<u32>,
}

impl fmt::Display for EntraRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.error, self.error_codes)
    }
}

impl ErrorResponse for EntraRefusal {}

/// Carries the exchange over our HTTP client.
pub(super) struct Http {
    pub(super) http: reqwest::Client,
    clock: SharedClock,
}

#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct HttpError {
    pub(super) reason: String,
    pub(super) after: Option<Duration>,
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        let what = match () {
            () if error.is_timeout() => "Entra did not answer in time",
            () if error.is_connect() => "no connection to Entra",
            () => "the connection to Entra broke",
        };
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let reason = causes.last().map_or_else(|| what.to_owned(), |cause| format!("{what}: {cause}"));
        Self { reason, after: None }
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let mut answer = self.http.execute(request.try_into()?).await?;
            let status = answer.status();
            // Said by status alone: whatever the body holds, a busy Entra has judged no credential.
            if status.is_server_error() || status.as_u16() == 429 || status.as_u16() == 408 {
                let after = patience(answer.headers(), self.clock.now());
                return Err(HttpError { reason: format!("Entra answered {}", status.as_u16()), after });
            }
            let headers = std::mem::take(answer.headers_mut());
            let body = read_limited(answer).await.map_err(|reason| HttpError { reason, after: None })?;
            let mut response = HttpResponse::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}

/// How long an answer asks to wait.
pub(super) fn patience(headers: &http::HeaderMap, now: UnixMillis) -> Option<Duration> {
    let value = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    value.and_then(|value| retry_after::parse(value, now, retry_after::MOST))
}

/// The body of an answer, which is short or none of an answer's.
pub(super) async fn read_limited(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| HttpError::from(error).reason)? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Err("the answer is too long to hold a token".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
