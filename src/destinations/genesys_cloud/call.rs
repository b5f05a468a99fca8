//! One call to the API: at our pace, with a token, and with an answer or the knowledge that there is none.
//!
//! The one place where what Genesys answers becomes a decision.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::pace::Pace;
use super::token::Tokens;
use crate::egress::causes;
use crate::model::answer;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::reason::{Code, Reason};
use crate::model::retry_after;
use crate::secrets::SecretSource;

/// A page of a search is a megabyte; what is longer than this is no answer.
const ANSWER_LIMIT: usize = 4 << 20;
/// The window calls are counted in.
const WINDOW: Duration = Duration::from_secs(60);

/// The API.
pub(super) struct Api {
    client: reqwest::Client,
    url: Url,
    tokens: Tokens,
    pace: Pace,
    clock: SharedClock,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("url", &self.url.origin().ascii_serialization()).finish_non_exhaustive()
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// How long Genesys wants to be left alone.
    after: Option<Duration>,
    /// What Genesys finds the call by in its own records.
    correlation: Option<String>,
}

/// No conversation came of a call.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// And none was made.
    Refused(Failure),
    /// As far as we know.
    Unknown(String),
}

impl Api {
    pub(super) fn new(
        client: reqwest::Client,
        (login, api): (Url, Url),
        credentials: (String, SecretSource),
        per_minute: NonZeroU32,
        clock: SharedClock,
    ) -> Self {
        let tokens = Tokens::new(client.clone(), &login, credentials, clock.clone());
        Self { client, url: api, tokens, pace: Pace::new(per_minute), clock }
    }

    /// Posts a body; a token that is refused is renewed once.
    pub(super) async fn post(
        &self,
        path: &[&str],
        body: &impl Serialize,
        until: Instant,
    ) -> Result<Answer, Unanswered> {
        let refused = Unanswered::Refused;
        let body = serde_json::to_vec(body).map(Bytes::from);
        let body = body.map_err(|_| {
            refused(Failure::permanent("the interaction cannot be written as JSON").coded(Code::Unsendable))
        })?;
        let url = below(&self.url, path);
        for last in [false, true] {
            let token = self.tokens.token(until).await.map_err(refused)?;
            self.pace.take(Instant::now()).map_err(|after| {
                let reason = Reason::new(Code::Throttled, "the calls of this minute are used up");
                refused(Failure::Postponed { reason, after })
            })?;
            let request = self.client.post(url.clone()).bearer_auth(token.expose());
            let sent = request.header(header::CONTENT_TYPE, "application/json").body(body.clone()).send();
            let answer = match timeout_at(until, sent).await {
                Err(_) => return Err(Unanswered::Unknown("Genesys Cloud did not answer in time".into())),
                Ok(Err(error)) => return Err(unreached(&error)),
                Ok(Ok(answer)) => answer,
            };
            let answer = self.read(answer, until).await?;
            if answer.status == StatusCode::UNAUTHORIZED && !last {
                self.tokens.refused(&token).await;
                continue;
            }
            return Ok(answer);
        }
        Err(refused(
            Failure::transient("Genesys Cloud refuses the tokens its login host issues").coded(Code::Unauthorized),
        ))
    }

    async fn read(&self, mut answer: reqwest::Response, until: Instant) -> Result<Answer, Unanswered> {
        let status = answer.status();
        let after = self.rest(status, answer.headers());
        let correlation = text(answer.headers(), "inin-correlation-id").and_then(plain);
        let mut body = Vec::new();
        let reading = async {
            while let Ok(Some(chunk)) = answer.chunk().await {
                if body.len() + chunk.len() > ANSWER_LIMIT {
                    return;
                }
                body.extend_from_slice(&chunk);
            }
        };
        // The status has said most; what a body that breaks off leaves open is seen when it is read.
        let _ = timeout_at(until, reading).await;
        Ok(Answer { status, body: body.into(), after, correlation })
    }

    /// Rests when Genesys asks for it or when its window is used up. Returns how long it asked for.
    fn rest(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let number = |name| text(headers, name).and_then(|it| it.trim().parse::<u64>().ok());
        let reset = number("inin-ratelimit-reset").map(|it| Duration::from_secs(it).min(WINDOW));
        let asked = text(headers, header::RETRY_AFTER.as_str());
        let asked = asked.and_then(|it| retry_after::parse(it, self.clock.now(), retry_after::DAY));
        let is_throttled = status == StatusCode::TOO_MANY_REQUESTS;
        let is_used_up = number("inin-ratelimit-count")
            .zip(number("inin-ratelimit-allowed"))
            .is_some_and(|(count, allowed)| count >= allowed);
        let rest = match () {
            () if is_throttled => asked.or(reset).or(Some(WINDOW)),
            () if is_used_up => reset,
            () => None,
        };
        if let Some(rest) = rest {
            self.pace.rest(Instant::now() + rest);
        }
        if is_throttled { rest } else { asked }
    }
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

#[derive(Deserialize)]
struct Said {
    code: String,
}

/// The conversation an answer speaks of; `known` where it was named in the call.
pub(super) fn conversation(answer: &Answer, known: Option<&str>) -> Result<String, Unanswered> {
    let refused = |failure| Err(Unanswered::Refused(failure));
    match answer.status {
        it if it.is_success() => {
            let made = serde_json::from_slice::<Made>(&answer.body).ok().map(|it| it.id).filter(|it| is_id(it));
            let made = made.or_else(|| known.map(str::to_owned));
            made.ok_or_else(|| Unanswered::Unknown(answer.says("and named no conversation")))
        }
        // Whoever answered may have passed the call on before.
        it if it.is_server_error() || it == StatusCode::REQUEST_TIMEOUT => Err(Unanswered::Unknown(answer.says(""))),
        StatusCode::FORBIDDEN => refused(answer.transient("; the client's role needs conversation:email:create")),
        it if it.is_redirection() => {
            refused(answer.transient("; redirects are not followed, so set region or api_url to the final address"))
        }
        StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => refused(answer.transient("")),
        _ => {
            refused(answer.of(Failure::permanent(answer.says("; check flow_id, queue_id, skill_ids and language_id"))))
        }
    }
}

impl Answer {
    /// What was answered, without a word of the mail.
    pub(super) fn says(&self, more: &str) -> String {
        let code = serde_json::from_slice::<Said>(&self.body).ok().and_then(|it| plain(&it.code));
        let details: Vec<String> =
            code.into_iter().chain(self.correlation.as_ref().map(|it| format!("correlation id {it}"))).collect();
        let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
        format!("Genesys Cloud answered {}{details}{more}", self.status)
    }

    pub(super) fn transient(&self, more: &str) -> Failure {
        self.of(Failure::Transient { reason: self.says(more).into(), after: self.after })
    }

    /// A failure that this answer is the reason for.
    fn of(&self, failure: Failure) -> Failure {
        let said = answer::Answer::new(self.status, &self.body);
        failure.coded(Code::of_status(self.status.as_u16())).answered(said)
    }
}

/// The one place where silence becomes a decision: only a call that never left certainly came to nothing.
fn unreached(error: &reqwest::Error) -> Unanswered {
    if error.is_connect() || error.is_builder() {
        let failure = Failure::transient(format_args!("no connection to Genesys Cloud: {}", causes(error)));
        return Unanswered::Refused(failure.coded(Code::Unreachable));
    }
    Unanswered::Unknown(format!("no answer from Genesys Cloud: {}", causes(error)))
}

/// A path below a base, with each part escaped.
pub(super) fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().extend(path);
    }
    url
}

/// Whether a text can be the id of a conversation.
pub(super) fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.chars().all(|it| it.is_ascii_alphanumeric() || it == '-')
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|it| it.to_str().ok())
}

/// A word that says nothing of a person: what a code or an id is made of.
fn plain(text: &str) -> Option<String> {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_');
    ((1..=64).contains(&text.len()) && text.chars().all(is_plain)).then(|| text.to_owned())
}
