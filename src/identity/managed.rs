//! Tokens from the platform this runs on: a virtual machine's metadata service, or App Service and Container Apps.
//!
//! Never through a proxy, and never over redirects: only this machine can reach its platform.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use url::Url;

use super::aadsts::{Decision, Verdict};
use super::exchange::{ANSWER_WITHIN, ExchangeError, Issued, UNSTATED_LIFE, patience, read_limited, unavailable};
use crate::model::clock::UnixMillis;
use crate::model::secret::Secret;
use crate::model::token::AccessToken;

/// The metadata service of virtual machines (learn.microsoft.com/entra/identity/managed-identities-azure-resources/
/// how-to-use-vm-token).
const MACHINE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
const MACHINE_VERSION: &str = "2018-02-01";
const APP_VERSION: &str = "2019-08-01";
/// The waits between tries within one exchange, as the platform asks for when it is busy or just waking up.
const WAITS: [Duration; 3] = [Duration::from_millis(400), Duration::from_millis(1200), Duration::from_millis(3600)];
/// One try: the platform is on this machine or beside it.
const TRY_WITHIN: Duration = Duration::from_secs(5);

/// The place a platform hands out tokens at, and how it wants to be asked.
#[derive(Debug)]
pub(super) struct Platform {
    endpoint: Url,
    identity: Option<String>,
    /// What App Service and Container Apps give their own apps to show; virtual machines ask for no secret.
    header: Option<Secret>,
}

/// An answer with a token. Numbers come as texts, and each platform leaves out another one.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<Number>,
    expires_on: Option<Number>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(i64),
    Text(String),
}

impl Number {
    fn value(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

impl Platform {
    /// The platform as its own variables tell it.
    pub(super) fn new(
        identity: Option<&str>,
        endpoint: Option<&Url>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let header = environment("IDENTITY_HEADER").filter(|it| !it.is_empty()).map(Secret::new);
        let told = environment("IDENTITY_ENDPOINT").filter(|it| !it.is_empty());
        let endpoint = match (endpoint, told) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(told)) if header.is_some() => {
                Url::parse(&told).map_err(|error| format!("IDENTITY_ENDPOINT of the environment: {error}"))?
            }
            (None, _) => Url::parse(MACHINE).map_err(|error| error.to_string())?,
        };
        Ok(Self { endpoint, identity: identity.map(str::to_owned), header })
    }

    /// Asks for a token for this resource.
    pub(super) async fn exchange(
        &self,
        http: &reqwest::Client,
        resource: &str,
        now: UnixMillis,
    ) -> Result<Issued, ExchangeError> {
        let asked = async {
            let mut waits = WAITS.into_iter();
            loop {
                let (reason, after) = match self.ask(http, resource, now).await {
                    Err(ExchangeError::Unavailable { reason, after }) => (reason, after),
                    ended => return ended,
                };
                match waits.next() {
                    // A longer wait is the cache's to keep.
                    Some(wait) if after.is_none_or(|after| after <= wait) => tokio::time::sleep(wait).await,
                    _ => return Err(ExchangeError::Unavailable { reason, after }),
                }
            }
        };
        let in_time = tokio::time::timeout(ANSWER_WITHIN, asked).await;
        in_time.unwrap_or_else(|_| Err(unavailable("the platform did not answer in time")))
    }

    async fn ask(&self, http: &reqwest::Client, resource: &str, now: UnixMillis) -> Result<Issued, ExchangeError> {
        let version = if self.header.is_some() { APP_VERSION } else { MACHINE_VERSION };
        let mut url = self.endpoint.clone();
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
        if let Some(identity) = &self.identity {
            url.query_pairs_mut().append_pair("client_id", identity);
        }
        let request = match &self.header {
            Some(header) => http.get(url).header("X-IDENTITY-HEADER", header.expose()),
            None => http.get(url).header("Metadata", "true"),
        };
        let unreached = |error: reqwest::Error| {
            unavailable(format!("the platform's token endpoint: {}", crate::egress::causes(&error)))
        };
        let answer = request.timeout(TRY_WITHIN).send().await.map_err(unreached)?;
        let (status, after) = (answer.status(), patience(answer.headers(), now));
        if is_passing(status) {
            let reason = format!("the platform's token endpoint answered {}", status.as_u16());
            return Err(ExchangeError::Unavailable { reason, after });
        }
        let body = read_limited(answer).await.map_err(unavailable)?;
        if !status.is_success() {
            return Err(ExchangeError::Refused(Verdict {
                code: None,
                decision: Decision::NextCredential,
                says: match status {
                    StatusCode::BAD_REQUEST => {
                        "the platform does not know this identity: assign it to this machine or app, and check identity_client_id"
                    }
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                        "the platform does not let this program ask for tokens: check IDENTITY_HEADER and endpoint"
                    }
                    _ => "what answers at the platform's token endpoint hands out no tokens: check endpoint",
                },
            }));
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| unavailable("what answered at the platform's token endpoint is no token"))?;
        let until = |end: i64| end.saturating_sub(now.div_euclid(1000));
        let life = answer.expires_in.as_ref().and_then(Number::value);
        let life = life.or_else(|| answer.expires_on.as_ref().and_then(Number::value).map(until));
        let life = life.and_then(|it| u64::try_from(it).ok()).map_or(UNSTATED_LIFE, Duration::from_secs);
        Ok(Issued { token: AccessToken(Secret::new(answer.access_token)), life })
    }
}

/// Statuses that pass by themselves: the service is busy, being updated, or not there yet.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 404 | 408 | 410 | 429)
}
