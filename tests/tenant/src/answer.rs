//! An answer before it is written: status, headers, content, and what becomes of the connection.
//!
//! The same answer serves a request of its own and an item of a `$batch`; only the writing differs.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What the tenant has to say to one request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content: Content,
    pub(crate) ending: Ending,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Nothing,
    Json(Value),
    /// Raw content with its media type.
    Raw(Bytes, &'static str),
    /// An error in Graph's form; the request's ids are added when it is written.
    Error {
        code: String,
        message: String,
    },
}

/// What becomes of the connection once the answer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Whole,
    /// Closed without a byte of the answer.
    Dropped,
    /// Closed in the middle of the body.
    Truncated,
}

impl Answer {
    fn of(status: u16, content: Content) -> Self {
        Self { status, headers: Vec::new(), content, ending: Ending::Whole }
    }

    pub(crate) fn json(status: u16, value: Value) -> Self {
        Self::of(status, Content::Json(value))
    }

    pub(crate) fn raw(content: Bytes, media_type: &'static str) -> Self {
        Self::of(200, Content::Raw(content, media_type))
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::of(status, Content::Nothing)
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::of(status, Content::Error { code: code.to_owned(), message: message.to_owned() })
    }

    pub(crate) fn dropped() -> Self {
        Self { ending: Ending::Dropped, ..Self::empty(504) }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The tenant says what it cannot do rather than pretend.
    pub(crate) fn not_simulated(what: &str) -> Self {
        Self::error(501, "NotImplemented", &format!("{what} is not simulated."))
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::error(400, "BadRequest", message)
    }

    pub(crate) fn item_not_found() -> Self {
        Self::error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    }

    pub(crate) fn access_denied() -> Self {
        Self::error(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
    }
}

/// The error object of Graph (`odata.error`).
pub(crate) fn error_body(
    code: &str,
    message: &str,
    now: Timestamp,
    request_id: &str,
    client_request_id: &str,
) -> Value {
    json!({ "error": {
        "code": code,
        "message": message,
        "innerError": {
            "date": now.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
            "request-id": request_id,
            "client-request-id": client_request_id,
        },
    }})
}
