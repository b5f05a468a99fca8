//! The token of an OAuth client (client credentials, RFC 6749 §4.4): one login for all who need it.
//!
//! Kept until shortly before its end or until the API refuses it. A login that failed is remembered for a while, so that
//! a wrong secret is not tried by every mail.

use std::time::Duration;

use http::{StatusCode, header};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::egress::causes;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::reason::{Code, Reason};
use crate::model::retry_after;
use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// A token must outlive the call it is taken for.
const LAST_MOMENTS: Duration = Duration::from_secs(60);
/// The life of a token that does not say.
const UNSTATED_LIFE: u64 = 600;
/// How long a failed login counts.
const PAUSE: Duration = Duration::from_secs(5);

/// The logins of one client.
pub(super) struct Tokens {
    client: reqwest::Client,
    url: Url,
    client_id: String,
    secret: SecretSource,
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<(Secret, Instant)>,
    failed: Option<(Failure, Instant)>,
}

#[derive(Deserialize)]
struct Issued {
    access_token: Secret,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    pub(super) fn new(
        client: reqwest::Client,
        login: &Url,
        (client_id, secret): (String, SecretSource),
        clock: SharedClock,
    ) -> Self {
        let url = super::call::below(login, &["oauth", "token"]);
        Self { client, url, client_id, secret, clock, state: Mutex::default() }
    }

    /// A token that is good now.
    pub(super) async fn token(&self, until: Instant) -> Result<Secret, Failure> {
        let late = || Failure::transient("the login host did not answer in time").coded(Code::TimedOut);
        let mut state = timeout_at(until, self.state.lock()).await.map_err(|_| late())?;
        let now = Instant::now();
        if let Some((token, good_until)) = &state.held
            && *good_until > now
        {
            return Ok(token.clone());
        }
        if let Some((failure, counts_until)) = &state.failed
            && *counts_until > now
        {
            let reason = failure.why().clone();
            return Err(Failure::Transient { reason, after: Some(*counts_until - now) });
        }
        match timeout_at(until, self.login()).await.unwrap_or_else(|_| Err(late())) {
            Ok(issued) => {
                let life = Duration::from_secs(issued.expires_in.unwrap_or(UNSTATED_LIFE));
                let good_until = now + life.saturating_sub(LAST_MOMENTS.min(life / 10));
                *state = State { held: Some((issued.access_token.clone(), good_until)), failed: None };
                Ok(issued.access_token)
            }
            Err(failure) => {
                let after = if let Failure::Transient { after: Some(after), .. } = &failure { *after } else { PAUSE };
                *state = State { held: None, failed: Some((failure.clone(), Instant::now() + after)) };
                Err(failure)
            }
        }
    }

    /// The API refused this token: the next call gets another one. A token that was already replaced is ignored.
    pub(super) async fn refused(&self, token: &Secret) {
        let mut state = self.state.lock().await;
        state.held.take_if(|(held, _)| held == token);
    }

    async fn login(&self) -> Result<Issued, Failure> {
        // Read anew, because replacing the file is all a rotation takes.
        let secret = self.secret.current();
        let secret = secret
            .map_err(|problem| Failure::transient(format_args!("the client's secret cannot be used: {problem}")))
            .map_err(|it| it.coded(Code::Misconfigured))?;
        let request = self.client.post(self.url.clone()).basic_auth(&self.client_id, Some(secret.expose()));
        let answer = request.form(&[("grant_type", "client_credentials")]).send().await;
        let answer = answer
            .map_err(|error| Failure::transient(format_args!("the login host cannot be asked: {}", causes(&error))))
            .map_err(|it| it.coded(Code::Unreachable))?;
        let status = answer.status();
        if status.is_success() {
            let issued = answer.json::<Issued>().await;
            return issued.map_err(|_| {
                Failure::transient("what answers at the login host does not speak OAuth 2.0").coded(Code::BadAnswer)
            });
        }
        let asked = answer.headers().get(header::RETRY_AFTER).and_then(|it| it.to_str().ok());
        let after = asked.and_then(|it| retry_after::parse(it, self.clock.now(), retry_after::MOST));
        let reason = match status {
            // A person can put this right, and mail is no worse for waiting.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("the login host answered {status}; check client_id, client_secret and region")
            }
            it => format!("the login host answered {it}"),
        };
        let code = if status == StatusCode::BAD_REQUEST { 401 } else { status.as_u16() };
        Err(Failure::Transient { reason: Reason::new(Code::of_status(code), reason), after })
    }
}
