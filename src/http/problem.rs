//! Refusals as RFC 9457 says: a problem with a type, a title and a sentence that says what to do.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::store::StoreError;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    name: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    places: Vec<Place>,
}

/// A place in what was sent, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ProblemPlace")]
pub(super) struct Place {
    /// The member it is about, such as `to[1].email`.
    pub(super) field: String,
    /// What is wrong with it and what to do; goes on from the member's name.
    pub(super) detail: String,
}

impl Problem {
    /// A problem of this kind; `name` is the last part of its type.
    pub(super) fn new(status: StatusCode, name: &'static str, detail: impl std::fmt::Display) -> Self {
        Self { status, name, detail: detail.to_string(), headers: Vec::new(), places: Vec::new() }
    }

    /// The same with a header; a value HTTP cannot carry is left out.
    pub(super) fn with(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        self.headers.extend(value.map(|it| (name, it)));
        self
    }

    /// The same with all places that are wrong.
    pub(super) fn at(mut self, places: Vec<Place>) -> Self {
        self.places = places;
        self
    }

    /// The last part of its type.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// What is wrong and what to do.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

/// A problem (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Body<'a> {
    /// What kind of problem it is: `urn:mailspan:problem:` and a name that stays the same.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'a str,
    /// The status.
    status: u16,
    /// What is wrong and what to do.
    detail: &'a str,
    /// Every place that is wrong, where the problem has several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    problems: &'a [Place],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            kind: format!("urn:mailspan:problem:{}", self.name),
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            problems: &self.places,
        };
        // Made of texts and a number, which JSON always takes.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        let mut response = (self.status, headers, body).into_response();
        response.headers_mut().extend(self.headers);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    /// The one place where a store that did not answer becomes an answer.
    fn from(error: StoreError) -> Self {
        if !error.is_told() {
            tracing::error!(reason = %error, "The API could not be answered by the store");
        }
        match error {
            StoreError::Unavailable(_) | StoreError::Contended(_) | StoreError::Closed | StoreError::Open(_) => {
                let detail = "the store cannot be used right now; ask again shortly";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", detail)
            }
            StoreError::Sealed(_) => {
                let detail = "this is encrypted with a key that is not configured; the log of the bridge names it";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "key-missing", detail)
            }
            StoreError::Refused(_) | StoreError::Unreadable(_) => {
                let detail = "the store refused; the log of the bridge says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store-refused", detail)
            }
        }
    }
}
