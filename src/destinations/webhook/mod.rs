//! A signed webhook (Standard Webhooks 1.0): accepted is 2xx and nothing else.
//!
//! Whatever else a receiver answers may be put right by a person, so the retry schedule decides when to give up;
//! only 410 says at once that nobody is there. The body is never touched: the same bytes on every attempt.

pub mod auth;
pub mod client;
pub mod config;
pub mod headers;
pub mod oauth;
pub mod signature;
mod token_endpoint;

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tokio::time::{Instant, timeout_at};

use self::auth::Auth;
use self::client::{read_into, unreached};
pub use self::config::{Config, OneOrMany};
use self::signature::Signer;
use super::watched::Watched;
use super::{BuildError, Destination, Handover};
use crate::egress::Egress;
use crate::model::answer::Answer;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::reason::Code;
use crate::model::retry_after;
use crate::model::token::BoxFuture;
use crate::model::units::Span;

/// An answer's body is read this long, so that its connection can be used again.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A webhook, ready to post to.
pub struct Webhook {
    url: url::Url,
    headers: HeaderMap,
    client: Watched<reqwest::Client>,
    auth: Auth,
    signer: Signer,
    clock: SharedClock,
    timeout: Duration,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.url.origin().ascii_serialization())
            .field("signer", &self.signer)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// A webhook as configured, with a client of its own that lives as long as it does.
    ///
    /// # Errors
    /// A key is missing or of no use; the message names the key and says what to do.
    pub fn new(config: &Config, egress: &Egress, clock: SharedClock) -> Result<Self, BuildError> {
        config.check()?;
        let now = clock.now();
        let (key, sources) = config.signing_secrets()?;
        Ok(Self {
            url: config.url.clone(),
            headers: headers::read(&config.headers)
                .map_err(|(name, problem)| BuildError::new("headers", format_args!("`{name}` {problem}")))?,
            client: client::client(config, egress, now)?,
            auth: Auth::new(config, &clock)?,
            signer: Signer::new(sources, now).map_err(|problem| BuildError::new(key, problem))?,
            clock,
            timeout: config.timeout.0,
        })
    }

    async fn post(&self, handover: &Handover) -> Result<(), Failure> {
        let until = Instant::now() + self.timeout;
        // The files were good at the start: one that is not any more is being replaced, which heals without a restart.
        let client = self
            .client
            .current(self.clock.now())
            .map_err(|problem| misconfigured(format_args!("auth cannot be used: {problem}")))?;
        let shown = self.auth.shown(&client, &self.clock, until).await?;
        let mut answer = self.ask(&client, handover, shown.as_ref(), until).await?;
        // A token can be withdrawn before its time: another one, and once more what was asked.
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(refused) = &shown
            && let Some(another) = self.auth.instead_of(refused, &client, until).await?
        {
            drain(answer, until).await;
            answer = self.ask(&client, handover, Some(&another), until).await?;
        }
        let status = answer.status();
        let verdict = verdict(status, answer.headers(), self.clock.now());
        // The status is the answer. The rest is read for the connection's sake, and to show what was refused, so its end
        // decides nothing.
        let body = drain(answer, until).await;
        verdict.map_err(|failure| failure.coded(Code::of_status(status.as_u16())).answered(Answer::new(status, &body)))
    }

    async fn ask(
        &self,
        client: &reqwest::Client,
        handover: &Handover,
        shown: Option<&HeaderValue>,
        until: Instant,
    ) -> Result<reqwest::Response, Failure> {
        let mut request = self.request(handover)?;
        if let Some(shown) = shown {
            request.headers_mut().insert(AUTHORIZATION, shown.clone());
        }
        match timeout_at(until, client.execute(request)).await {
            Err(_) => {
                let late = Failure::transient(format_args!("no answer within {}", Span(self.timeout)));
                Err(late.coded(Code::TimedOut))
            }
            // It may be over by the next attempt.
            Ok(Err(error)) => Err(Failure::transient(unreached(&error, "url")).coded(Code::Unreachable)),
            Ok(Ok(answer)) => Ok(answer),
        }
    }

    fn request(&self, handover: &Handover) -> Result<reqwest::Request, Failure> {
        let mut request = reqwest::Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        for (name, text) in &handover.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable("a header's name"))?;
            headers.insert(name, value(text, "a header's value")?);
        }
        let now = self.clock.now();
        let timestamp = now.div_euclid(1_000);
        // The receiver splits `id.timestamp.body` at dots, so an id with one could be read as another.
        if handover.interaction.is_empty() || handover.interaction.contains('.') {
            return Err(unsendable("the interaction's id"));
        }
        let signature = self
            .signer
            .sign(&handover.interaction, timestamp, &handover.body, now)
            .map_err(|problem| misconfigured(format_args!("the attempt cannot be signed: {problem}")))?;
        headers.insert("webhook-id", value(&handover.interaction, "the interaction's id")?);
        headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
        headers.insert("webhook-signature", value(&signature, "the signature")?);
        headers.insert("mailspan-attempt", HeaderValue::from(handover.attempt));
        headers.insert(CONTENT_TYPE, value(handover.content_type, "the content type")?);
        *request.body_mut() = Some(handover.body.clone().into());
        Ok(request)
    }
}

impl Destination for Webhook {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.post(handover))
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn value(text: &str, what: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| unsendable(what))
}

/// What HTTP cannot carry today it cannot carry tomorrow.
fn unsendable(what: &str) -> Failure {
    Failure::permanent(format_args!("{what} cannot be sent as an HTTP header")).coded(Code::Unsendable)
}

/// A file that was good at the start and is not now.
fn misconfigured(problem: impl std::fmt::Display) -> Failure {
    Failure::transient(problem).coded(Code::Misconfigured)
}

/// The one place where a receiver's answer becomes a decision.
fn verdict(status: StatusCode, headers: &HeaderMap, now: i64) -> Result<(), Failure> {
    let asked = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = asked.and_then(|value| retry_after::parse(value, now, retry_after::DAY));
    match status {
        it if it.is_success() => Ok(()),
        StatusCode::GONE => Err(Failure::Gone {
            reason: "the receiver answered 410 Gone: it wants no more; correct the route's url".into(),
        }),
        it if it.is_redirection() => Err(Failure::Transient {
            reason: format!("the receiver answered {it}; redirects are not followed, so set url to the final address")
                .into(),
            after,
        }),
        it => Err(Failure::Transient { reason: format!("the receiver answered {it}").into(), after }),
    }
}

/// The body of an answer, however far it came.
async fn drain(answer: reqwest::Response, until: Instant) -> Vec<u8> {
    let mut read = Vec::new();
    // A receiver that dawdles has answered all the same.
    let _ = timeout_at(until.min(Instant::now() + ANSWER_WITHIN), read_into(&mut read, answer)).await;
    read
}
