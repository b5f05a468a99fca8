//! What a store's refusals lead to. A person can put right a bucket that is missing and keys that are refused, and mail is
//! no worse for waiting.

use std::error::Error as _;

use ::object_store::Error;
use ::object_store::client::HttpError;
use http::StatusCode;

use crate::egress::causes;
use crate::model::outcome::Failure;

/// The one place where an error of a store becomes a decision. What a store says may name keys and mails, so none of its
/// words are passed on.
pub(super) fn failure(error: &Error) -> Failure {
    match error {
        Error::NotFound { .. } => Failure::transient("what url names is not there; create it, or correct url"),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            Failure::transient("the store refused the credentials; check options, and that they may read and create")
        }
        Error::NotSupported { .. } | Error::NotImplemented { .. } => {
            Failure::transient("the store cannot put an object only where none is, which url needs")
        }
        _ => match status(error) {
            Some(StatusCode::PAYLOAD_TOO_LARGE) => Failure::permanent("the mail is larger than the store takes"),
            Some(status) => Failure::transient(format_args!("the store answered {status}")),
            None => Failure::transient(format_args!("the store cannot be used: {}", reason(error))),
        },
    }
}

/// The crate keeps its type for it to itself, so it is read where it is told; nowhere: unknown.
fn status(error: &Error) -> Option<StatusCode> {
    let text = error.source()?.to_string();
    let (_, after) = text.split_once("status code: ")?;
    after.get(..3)?.parse().ok()
}

/// The innermost words that are the system's or ours.
fn reason(error: &Error) -> String {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(it) = cause.downcast_ref::<std::io::Error>() {
            return it.to_string();
        }
        if let Some(it) = cause.downcast_ref::<reqwest::Error>() {
            return causes(it);
        }
        if let Some(it) = cause.downcast_ref::<crate::egress::EgressError>() {
            return it.to_string();
        }
        if let Some(it) = cause.downcast_ref::<HttpError>()
            && it.source().is_none()
        {
            return format!("{:?}", it.kind());
        }
        next = cause.source();
    }
    "check url and options".into()
}
