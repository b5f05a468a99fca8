//! One request to Graph: a slot of its mailbox, a token, immutable ids, and an answer in bounded time or an error.
//!
//! A refused token is replaced once. Nothing else is repeated here: when to try again is the job's to decide.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Method, StatusCode};
use reqwest::Response;
use url::Url;

use super::Graph;
use super::error::GraphError;
use super::refusal::{Answer, word};
use super::slots::Room;
use crate::memory::{Budget, Held, while_fetched};
use crate::model::retry_after;
use crate::model::token::AccessToken;

/// Ids that survive a move between folders; not sticky, so it is asked for in every request
/// (learn.microsoft.com/graph/outlook-immutable-id).
pub(super) const IMMUTABLE_IDS: &str = "IdType=\"ImmutableId\"";

const PREFER: HeaderName = HeaderName::from_static("prefer");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
const REQUEST_ID: &str = "request-id";

/// An error's body is a few hundred bytes; what is longer is not read to its end.
const ERROR_LIMIT: u64 = 64 * 1024;
/// The largest answer that is read as JSON: a batch of twenty whole messages fits.
const JSON_LIMIT: u64 = 64 * 1024 * 1024;

/// A body of unknown length that is larger than this gets room for the longest there may be: what is not written to
/// takes no memory, while growing on would copy the body again and again.
const GROWS_UNTIL: usize = 1 << 20;

const JSON: &str = "application/json";
/// A peer takes at least so many bytes in a second, or is not waited for.
const SLOWEST: u64 = 32 * 1024;

/// What to ask.
pub(super) struct Call {
    /// What it is called in logs and metrics.
    pub(super) operation: &'static str,
    method: Method,
    url: Url,
    prefer: HeaderValue,
    body: Option<(Bytes, &'static str)>,
    /// Where in a file the body belongs.
    range: Option<HeaderValue>,
    /// Whether the address carries its own token, so that ours must not go there.
    is_presigned: bool,
}

impl Call {
    pub(super) fn get(operation: &'static str, url: Url) -> Self {
        Self::new(operation, Method::GET, url, None)
    }

    pub(super) fn delete(operation: &'static str, url: Url) -> Self {
        Self::new(operation, Method::DELETE, url, None)
    }

    pub(super) fn send<T: serde::Serialize>(
        operation: &'static str,
        method: Method,
        url: Url,
        body: &T,
    ) -> Result<Self, GraphError> {
        let body = serde_json::to_vec(body).map_err(|_| GraphError::bad("a request that cannot be written as JSON"))?;
        Ok(Self::new(operation, method, url, Some((body.into(), JSON))))
    }

    /// A POST of a body that is written already; an empty one says so.
    pub(super) fn post(operation: &'static str, url: Url, body: Bytes, kind: &'static str) -> Self {
        Self::new(operation, Method::POST, url, Some((body, kind)))
    }

    /// A request to an address that Graph handed out together with a token of its own.
    pub(super) fn presigned(operation: &'static str, method: Method, url: Url) -> Self {
        Self { is_presigned: true, ..Self::new(operation, method, url, None) }
    }

    /// With a part of a file, and where in it that belongs.
    pub(super) fn part(mut self, bytes: Bytes, range: HeaderValue) -> Self {
        self.body = Some((bytes, "application/octet-stream"));
        self.range = Some(range);
        self
    }

    /// Asks for pages of this size.
    pub(super) fn paged(mut self, size: u32) -> Self {
        let prefer = format!("{IMMUTABLE_IDS}, odata.maxpagesize={size}");
        self.prefer = HeaderValue::try_from(prefer).unwrap_or(self.prefer);
        self
    }

    /// How long the body may be on its way, beyond the wait for an answer.
    fn on_its_way(&self) -> Duration {
        Duration::from_secs(self.body.as_ref().map_or(0, |(body, _)| body.len() as u64 / SLOWEST))
    }

    fn new(operation: &'static str, method: Method, url: Url, body: Option<(Bytes, &'static str)>) -> Self {
        let prefer = HeaderValue::from_static(IMMUTABLE_IDS);
        Self { operation, method, url, prefer, body, range: None, is_presigned: false }
    }
}

impl Graph {
    /// Asks, in `slots` slots of `room`, and reads the whole answer.
    pub(super) async fn ask(&self, room: &Room, slots: u32, call: Call) -> Result<Bytes, GraphError> {
        self.ask_for_status(room, slots, call).await.map(|(_, body)| body)
    }

    /// The same, where one success is not as good as another.
    pub(super) async fn ask_for_status(
        &self,
        room: &Room,
        slots: u32,
        call: Call,
    ) -> Result<(StatusCode, Bytes), GraphError> {
        // The slots are held until the answer has come: Graph counts them so.
        let _slots = room.enter(slots, &*self.options.clock).await?;
        self.in_time(async {
            let answer = self.answer(room, &call).await?;
            let status = answer.status();
            Ok((status, self.read(answer, JSON_LIMIT, |_| true).await?))
        })
        .await
    }

    /// The same for a mail: its room in memory is taken once its size is known, before its bytes are read.
    pub(super) async fn ask_for_content(
        &self,
        room: &Room,
        call: Call,
        limit: u64,
        budget: &Budget,
    ) -> Result<(Bytes, Held), GraphError> {
        let _slots = room.enter(1, &*self.options.clock).await?;
        self.in_time(async {
            let answer = self.answer(room, &call).await?;
            let taken = match answer.content_length() {
                Some(length) if length > limit => return Err(GraphError::TooLarge { limit }),
                Some(length) => tokio::time::timeout(self.options.idle, budget.take(while_fetched(length))).await,
                None => tokio::time::timeout(self.options.idle, budget.take_unknown()).await,
            };
            let Ok(mut held) = taken else { return Err(GraphError::NoRoom) };
            let body = self.read(answer, limit, |bytes| held.grow_to(while_fetched(bytes))).await?;
            Ok((body, held))
        })
        .await
    }

    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, GraphError>>) -> Result<T, GraphError> {
        match tokio::time::timeout(self.options.whole, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(GraphError::unavailable("Graph did not finish its answer in time")),
        }
    }

    /// A successful answer's head.
    async fn answer(&self, room: &Room, call: &Call) -> Result<Response, GraphError> {
        let mut answer = match call.is_presigned {
            true => self.once(call, None).await?,
            false => self.once_with_token(call).await?,
        };
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let headers = std::mem::take(answer.headers_mut());
        // A body that breaks off leaves the status, which is most of what there is to know.
        let body = self.read(answer, ERROR_LIMIT, |_| true).await.unwrap_or_default();
        let retry_after = text(&headers, RETRY_AFTER.as_str())
            .and_then(|value| retry_after::parse(value, self.options.clock.now(), retry_after::MOST));
        let error = Answer { status, retry_after, request_id: text(&headers, REQUEST_ID), body: &body }.into_error();
        if let GraphError::Throttled { after } = error {
            self.pause(room, after);
        }
        Err(error)
    }

    async fn once_with_token(&self, call: &Call) -> Result<Response, GraphError> {
        let token = self.tokens.token().await?;
        let answer = self.once(call, Some(&token)).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.tokens.refused(&token);
        self.once(call, Some(&self.tokens.token().await?)).await
    }

    /// Graph asks to leave this mailbox alone.
    pub(super) fn pause(&self, room: &Room, wait: Duration) {
        metrics::counter!("mailspan_graph_throttled_total").increment(1);
        room.close(wait, self.options.clock.now());
    }

    /// Sends the request and waits for the answer's head.
    async fn once(&self, call: &Call, token: Option<&AccessToken>) -> Result<Response, GraphError> {
        let id = uuid::Uuid::new_v4();
        let started = Instant::now();
        let patience = self.options.answer_within + call.on_its_way();
        let sent = tokio::time::timeout(patience, self.http.execute(self.request(call, token, id)?));
        let outcome = match sent.await {
            Err(_) => Err(("timeout", GraphError::unavailable("Graph did not answer in time"))),
            Ok(Err(error)) => Err((if error.is_timeout() { "timeout" } else { "unreachable" }, broken(&error))),
            // Where the client follows redirects, it must not have followed one out of the house.
            Ok(Ok(answer)) if answer.url().origin() != call.url.origin() => {
                Err(("redirected", GraphError::LeadsElsewhere))
            }
            Ok(Ok(answer)) => Ok(answer),
        };
        let (status, request_id) = match &outcome {
            Ok(answer) => (label(answer.status()), text(answer.headers(), REQUEST_ID).unwrap_or_default()),
            Err((status, _)) => (Cow::Borrowed(*status), ""),
        };
        let took = started.elapsed();
        tracing::debug!(
            tenant = self.tenant,
            operation = call.operation,
            status = &*status,
            took_ms = took.as_millis() as u64,
            client_request_id = %id,
            request_id = word(request_id),
            "Graph was asked"
        );
        metrics::counter!("mailspan_graph_requests_total", "operation" => call.operation, "status" => status)
            .increment(1);
        metrics::histogram!("mailspan_graph_request_seconds").record(took.as_secs_f64());
        outcome.map_err(|(_, error)| error)
    }

    fn request(
        &self,
        call: &Call,
        token: Option<&AccessToken>,
        id: uuid::Uuid,
    ) -> Result<reqwest::Request, GraphError> {
        let mut request = reqwest::Request::new(call.method.clone(), call.url.clone());
        let headers = request.headers_mut();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, bearer(token)?);
            headers.insert(PREFER, call.prefer.clone());
        }
        if let Ok(id) = HeaderValue::from_str(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())) {
            headers.insert(CLIENT_REQUEST_ID, id);
        }
        if let Some(range) = &call.range {
            headers.insert(CONTENT_RANGE, range.clone());
        }
        if let Some((body, kind)) = &call.body {
            match body.is_empty() {
                true => headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0")),
                false => headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind)),
            };
            *request.body_mut() = Some(body.clone().into());
        }
        Ok(request)
    }

    /// Reads a body to its end, as far as `limit` and as far as there is `room` for so many bytes. Never a part of it:
    /// a body that breaks off is an error.
    async fn read(
        &self,
        mut answer: Response,
        limit: u64,
        mut room: impl FnMut(u64) -> bool,
    ) -> Result<Bytes, GraphError> {
        let announced = answer.content_length();
        if announced.is_some_and(|length| length > limit) {
            return Err(GraphError::TooLarge { limit });
        }
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut body = Vec::with_capacity(announced.map_or(0, size));
        while let Some(chunk) = self.chunk(&mut answer).await? {
            let so_far = (body.len() + chunk.len()) as u64;
            if so_far > limit {
                return Err(GraphError::TooLarge { limit });
            }
            if !room(so_far) {
                return Err(GraphError::NoRoom);
            }
            if size(so_far) > body.capacity().max(GROWS_UNTIL) {
                body.reserve_exact(size(limit).saturating_sub(body.len()));
            }
            body.extend_from_slice(&chunk);
        }
        match announced {
            Some(length) if length != body.len() as u64 => Err(GraphError::unavailable("the answer broke off")),
            _ => Ok(body.into()),
        }
    }

    async fn chunk(&self, answer: &mut Response) -> Result<Option<Bytes>, GraphError> {
        match tokio::time::timeout(self.options.idle, answer.chunk()).await {
            Err(_) => Err(GraphError::unavailable("the answer stopped in the middle")),
            Ok(Err(error)) => Err(broken(&error)),
            Ok(Ok(chunk)) => Ok(chunk),
        }
    }
}

/// Reads JSON. The reason names the place and never the content.
pub(super) fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, GraphError> {
    serde_json::from_slice(body).map_err(|error| {
        GraphError::bad(format!("not the JSON expected, at line {} column {}", error.line(), error.column()))
    })
}

fn bearer(token: &AccessToken) -> Result<HeaderValue, GraphError> {
    let value = zeroize::Zeroizing::new(format!("Bearer {}", token.0.expose()));
    let mut value = HeaderValue::from_str(&value).map_err(|_| GraphError::bad("a token that fits no header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What broke, by its innermost cause: the outer ones repeat the URL, which names the mailbox.
fn broken(error: &reqwest::Error) -> GraphError {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let cause = causes.last().map(|cause| format!(": {cause}")).unwrap_or_default();
    match (error.is_connect(), error.is_timeout()) {
        (true, _) => GraphError::Unreachable { reason: format!("no connection to Graph{cause}") },
        (false, true) => GraphError::unavailable("Graph did not answer in time"),
        (false, false) => GraphError::unavailable(format!("the connection to Graph broke{cause}")),
    }
}

/// The statuses of every day without an allocation.
fn label(status: StatusCode) -> Cow<'static, str> {
    match status.as_u16() {
        200 => "200".into(),
        201 => "201".into(),
        204 => "204".into(),
        401 => "401".into(),
        404 => "404".into(),
        429 => "429".into(),
        503 => "503".into(),
        other => other.to_string().into(),
    }
}
