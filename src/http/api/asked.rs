//! What a request asks for, read into types; what cannot be read is refused as a problem that says where.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::http::problem::Problem;

/// The fields behind the question mark.
pub(in crate::http) struct Query<T>(pub(in crate::http) T);

/// What stands in the path at its `{…}`.
pub(in crate::http) struct Path<T>(pub(in crate::http) T);

/// The JSON of a body; an empty body counts as `{}`.
pub(in crate::http) struct Body<T>(pub(in crate::http) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        let refused = |error: axum::extract::rejection::QueryRejection| {
            Problem::new(StatusCode::BAD_REQUEST, "bad-query", format!("the query cannot be read: {}", causes(&error)))
        };
        read.map(|axum::extract::Query(it)| Self(it)).map_err(refused)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let refused = |_| Problem::new(StatusCode::BAD_REQUEST, "bad-path", "the path is no text in UTF-8");
        read.map(|axum::extract::Path(it)| Self(it)).map_err(refused)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()));
        let bytes = Bytes::from_request(request, state).await.map_err(|error| unread(&error))?;
        if !is_json && !bytes.is_empty() {
            let detail = "send JSON, with `content-type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-type", detail));
        }
        let json: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let mut reader = serde_json::Deserializer::from_slice(json);
        let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let place = error.path().to_string();
            match place.as_str() {
                "." => format!("the body cannot be read: {}", error.inner()),
                place => format!("the body cannot be read at `{place}`: {}", error.inner()),
            }
        });
        let read = read.and_then(|it| match reader.end() {
            Ok(()) => Ok(it),
            Err(_) => Err("behind the JSON of the body stands something else".to_owned()),
        });
        read.map(Self).map_err(|detail| Problem::new(StatusCode::BAD_REQUEST, "bad-body", detail))
    }
}

fn unread(error: &BytesRejection) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is larger than this takes");
    }
    Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body broke off")
}

fn is_json(kind: Option<&str>) -> bool {
    let essence = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

/// What went wrong, without the wrapping.
fn causes(error: &dyn std::error::Error) -> String {
    let innermost = std::iter::successors(Some(error), |it| it.source()).last();
    innermost.map(ToString::to_string).unwrap_or_default()
}
