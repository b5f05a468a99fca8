//! One exchange with Entra: a credential for a token (client credentials, RFC 6749 §4.4).
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
use crate::model::clock::SharedClock;
use crate::model::retry_after;
use crate::model::secret::Secret;
use crate::model::token::AccessToken;

/// The whole exchange, connecting included.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// An answer of Entra is a few KiB; what is longer is not one.
const ANSWER_LIMIT: usize = 256 * 1024;
/// The life of a token that does not say: short, so that a wrong guess costs an exchange and not a refused call.
const UNSTATED_LIFE: Duration = Duration::from_secs(600);
/// Entra's loop detection looks back over minutes; asking again sooner only prolongs it.
const LOOP_PAUSE: Duration = Duration::from_secs(300);

type Entra<TokenUrlState = EndpointSet> = Client<
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
    entra: Entra,
    scope: Scope,
    http: Http,
}

/// A token as it was issued.
pub(super) struct Issued {
    pub(super) token: AccessToken,
    pub(super) life: Duration,
}

/// Why there is no token.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// Entra looked at the request and refused it.
    Refused(Verdict),
    /// Entra could not be asked, or asks for patience.
    Unavailable { reason: String, after: Option<Duration> },
}

impl Registration {
    pub(super) fn new(client_id: &str, endpoints: &Endpoints, http: reqwest::Client, clock: SharedClock) -> Self {
        let entra = Entra::<EndpointNotSet>::new(ClientId::new(client_id.to_owned()))
            .set_token_uri(TokenUrl::from_url(endpoints.token.clone()))
            .set_auth_type(AuthType::RequestBody);
        Self { entra, scope: Scope::new(endpoints.scope.clone()), http: Http { http, clock } }
    }

    pub(super) async fn exchange(&self, secret: &Secret) -> Result<Issued, ExchangeError> {
        let entra = self.entra.clone().set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        let request = entra.exchange_client_credentials().add_scope(self.scope.clone());
        let answer = tokio::time::timeout(ANSWER_WITHIN, request.request_async(&self.http)).await;
        match answer {
            Err(_) => Err(unavailable("Entra did not answer in time")),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(answer)) => Ok(Issued {
                token: AccessToken(Secret::new(answer.access_token().secret().as_str())),
                life: answer.expires_in().unwrap_or(UNSTATED_LIFE),
            }),
        }
    }
}

fn unavailable(reason: impl Into<String>) -> ExchangeError {
    ExchangeError::Unavailable { reason: reason.into(), after: None }
}

impl From<RequestTokenError<HttpError, EntraRefusal>> for ExchangeError {
    /// The one place where an answer of Entra becomes a decision.
    fn from(error: RequestTokenError<HttpError, EntraRefusal>) -> Self {
        match error {
            RequestTokenError::ServerResponse(refusal) => {
                let verdict = aadsts::judge(&refusal.error, &refusal.error_codes);
                match verdict.decision {
                    Decision::Transient => {
                        let reason = describe(&verdict);
                        let after = (verdict.code == Some(aadsts::LOOP_DETECTED)).then_some(LOOP_PAUSE);
                        Self::Unavailable { reason, after }
                    }
                    Decision::NextCredential | Decision::Fatal => Self::Refused(verdict),
                }
            }
            RequestTokenError::Request(error) => Self::Unavailable { reason: error.reason, after: error.after },
            // A proxy's page or half an answer: whatever it is, Entra has not refused anything.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                unavailable("what answered at the token endpoint does not speak OAuth 2.0")
            }
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
struct EntraRefusal {
    error: String,
    #[serde(default)]
    error_codes: Vec<u32>,
}

impl fmt::Display for EntraRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.error, self.error_codes)
    }
}

impl ErrorResponse for EntraRefusal {}

/// Carries the exchange over our HTTP client.
struct Http {
    http: reqwest::Client,
    clock: SharedClock,
}

#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct HttpError {
    reason: String,
    after: Option<Duration>,
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
                let after = answer.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                let after = after.and_then(|value| retry_after::parse(value, self.clock.now(), retry_after::MOST));
                return Err(HttpError { reason: format!("Entra answered {}", status.as_u16()), after });
            }
            let headers = std::mem::take(answer.headers_mut());
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                if body.len() + chunk.len() > ANSWER_LIMIT {
                    return Err(HttpError { reason: "the answer of Entra is too long to be one".into(), after: None });
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = HttpResponse::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}
