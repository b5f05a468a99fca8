//! What somebody wants sent, out of a request: read as it comes, refused with every problem at once, and handed in.

mod answer;
mod asked;
mod letter;
mod letters;
mod lift;
#[cfg(test)]
mod lift_tests;
mod members;
mod taken;
mod written;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub(super) use answer::{Unanswered, answer};
pub(super) use asked::{Envelope, EnvelopeFields, Kind, RequestFields, key, kind};
use letter::Wanted;
use lift::Content;
use taken::Taken;
pub(super) use written::{ReplyToInteraction, SubmitMessage, submission};

use super::BASE;
use crate::http::problem::{Place, Problem};
use crate::mail::compose::{self, Limits};
use crate::model::submission::{Origin, SubmissionState};
use crate::outbound::{self, Answers, Offer, Offered, Outbound, Refused, Stage};

/// A mail that was accepted: it is on disk and will be sent.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Receipt")]
pub(super) struct Receipt {
    /// Its id, for `GET /messages/{id}`.
    id: String,
    /// Where it stands.
    state: SubmissionState,
    /// Whether it was accepted before, under the same `Idempotency-Key`.
    repeated: bool,
}

/// Who hands something in, and how.
pub(super) struct By<'a> {
    /// The door.
    pub(super) origin: Origin,
    /// Who asks.
    pub(super) name: &'a str,
    /// The request's key.
    pub(super) key: Option<String>,
    /// The mail it answers.
    pub(super) answers: Option<Answers>,
}

/// What reads the JSON of a mail, with the content of its files.
type Files = BTreeMap<usize, Content>;

/// Hands in a mail that is written in JSON.
pub(super) async fn written(
    outbound: &Outbound,
    by: By<'_>,
    request: Request,
    read: impl FnOnce(Value, Files, &Limits) -> Result<Wanted, Problem>,
) -> Result<Response, Problem> {
    let Taken { json, contents, stage, room } = taken::json(outbound, request).await?;
    let limits = Limits { size: outbound.max_message_size, ..Limits::default() };
    let done = match read(json, contents, &limits) {
        Ok(wanted) => {
            // Accepting takes room of its own; holding both would keep large mails out for ever.
            drop(room);
            outbound.accept(offer(by, wanted, stage)).await.map_err(refused)
        }
        Err(problem) => Err(problem),
    };
    if done.is_err() {
        taken::forget(outbound, stage).await;
    }
    Ok(accepted(done?))
}

fn offer(by: By<'_>, wanted: Wanted, stage: Option<Stage>) -> Offer {
    Offer {
        origin: by.origin,
        by: by.name.to_owned(),
        mail: Offered::Written(Box::new(wanted.mail), stage),
        key: by.key,
        send_at: wanted.send_at,
        save_to_sent_items: wanted.save_to_sent_items,
        metadata: wanted.metadata,
        answers: by.answers,
    }
}

/// Hands in a mail as it is.
pub(super) async fn raw(
    outbound: &Outbound,
    by: By<'_>,
    request: Request,
    envelope: Envelope,
) -> Result<Response, Problem> {
    let (mail, room) = taken::mail(outbound, request).await?;
    let author = compose::author(&mail, envelope.sender.as_ref());
    if let (Some(author), Some(sender)) = (author, &envelope.sender)
        && !author.email.eq_ignore_ascii_case(sender.as_str())
    {
        let detail = "names another address in the mail than beside it: they must be the same";
        return Err(wrong(vec![Place { field: "from".into(), detail: detail.into() }]));
    }
    let offer = Offer {
        origin: by.origin,
        by: by.name.to_owned(),
        mail: Offered::Raw { mail, sender: envelope.sender, recipients: envelope.recipients },
        key: by.key,
        send_at: envelope.send_at,
        save_to_sent_items: envelope.save_to_sent_items,
        metadata: serde_json::Map::new(),
        answers: by.answers,
    };
    // Accepting takes room of its own; holding both would keep large mails out for ever.
    drop(room);
    outbound.accept(offer).await.map(accepted).map_err(refused)
}

/// 202: it is on disk.
fn accepted(receipt: outbound::Receipt) -> Response {
    let place = HeaderValue::from_str(&format!("{BASE}/messages/{}", receipt.id)).ok();
    let receipt = Receipt { id: receipt.id, state: receipt.state, repeated: receipt.is_repeated };
    let mut response = (StatusCode::ACCEPTED, Json(receipt)).into_response();
    response.headers_mut().extend(place.map(|it| (header::LOCATION, it)));
    response
}

/// The one place where a mail that is not accepted becomes an answer.
fn refused(refused: Refused) -> Problem {
    let place = |it: compose::Problem| Place { field: it.field, detail: it.sentence };
    match refused {
        Refused::Problems(problems) => wrong(problems.into_iter().map(place).collect()),
        Refused::NoSender => {
            let at = Place { field: "from".into(), detail: format!("cannot be sent for: {refused}") };
            let detail = "nothing here sends mail for the address in from";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no-sender", detail).at(vec![at])
        }
        // As the draft of the field has it (draft-ietf-httpapi-idempotency-key-header §2.7).
        Refused::KeyReused => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", refused),
        Refused::TooLarge { .. } => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", refused),
        Refused::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", refused),
        Refused::Store(error) => error.into(),
    }
}

/// A mail with these mistakes.
pub(super) fn wrong(places: Vec<Place>) -> Problem {
    let count = places.len();
    let detail = match count {
        1 => "the mail cannot be sent as it is; `problems` says what is wrong and where".to_owned(),
        _ => format!("the mail cannot be sent as it is for {count} reasons; `problems` says what is wrong and where"),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "mail-refused", detail).at(places)
}
