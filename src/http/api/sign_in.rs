//! `POST|GET /mailboxes/{address}/sign-in`: a user signs in for a delegated mailbox, and how far that is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::Caller;
use super::asked::{Body, Path};
use super::mailboxes::{ADDRESS, named};
use super::operation::{Door, Operation};
use crate::app::{Daemon, UnderWayState};
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::identity::sign_in::SignInError;
use crate::model::clock::rfc3339;
use crate::model::work::MailboxId;

const PATH: &str = "/mailboxes/{address}/sign-in";

/// `POST /mailboxes/{address}/sign-in`.
pub(super) fn beginning() -> Operation {
    let says = "Begins a sign-in for a mailbox that is reached on behalf of its user: by a code that the user types in elsewhere, or by a \
                link that is opened in the user's browser.";
    Operation::post(PATH, "beginSignIn", Door::Scope(Scope::Operate), says, begin)
        .name("address", ADDRESS)
        .body::<Wanted>()
        .answers::<SignInProgress>(202, "It has begun; it is now the user's turn.")
        .refuses(&[404, 409, 502])
}

/// `GET /mailboxes/{address}/sign-in`.
pub(super) fn showing() -> Operation {
    let says =
        "How far the sign-in is that was last begun for a mailbox: by a code by this process, at the browser by any.";
    Operation::get(PATH, "getSignIn", Door::Scope(Scope::Operate), says, show)
        .name("address", ADDRESS)
        .answers::<SignInProgress>(200, "How far it is.")
        .refuses(&[404, 409])
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BeginSignIn")]
struct Wanted {
    /// How the user signs in.
    #[serde(default)]
    by: By,
}

/// How a user signs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SignInBy")]
enum By {
    /// By a code that is typed in on another device.
    #[default]
    DeviceCode,
    /// At the browser, by a link.
    Browser,
}

/// How far a sign-in is.
#[derive(Default, Serialize, JsonSchema)]
struct SignInProgress {
    /// The mailbox.
    mailbox: String,
    /// `none`: no sign-in was begun; `waiting` for the user; `signed_in`; `failed`.
    state: &'static str,
    /// What the user types in.
    user_code: Option<String>,
    /// Where.
    verification_uri: Option<String>,
    /// What the user opens in the browser, once.
    link: Option<String>,
    /// Until when the code or the link is good.
    expires_at: Option<String>,
    /// Who has signed in.
    signed_in_as: Option<String>,
    /// Why nobody has, and what to do.
    reason: Option<String>,
}

async fn begin(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    Path(address): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Result<(StatusCode, Json<SignInProgress>), Problem> {
    let mailbox = delegated(&daemon, &address)?;
    let progress = match wanted.by {
        By::DeviceCode => progress(&mailbox, daemon.begin_device_sign_in(&mailbox).await.map_err(refused)?),
        By::Browser => {
            let (link, expires_at) = daemon.begin_browser_sign_in(&mailbox).await.map_err(refused)?;
            SignInProgress { link: Some(link), ..progress(&mailbox, UnderWayState::Browser { expires_at }) }
        }
    };
    tracing::info!(mailbox = %mailbox, who = caller.name, by = ?wanted.by, "A sign-in to {mailbox} was begun");
    Ok((StatusCode::ACCEPTED, Json(progress)))
}

async fn show(State(daemon): State<Arc<Daemon>>, Path(address): Path<String>) -> Result<Json<SignInProgress>, Problem> {
    let mailbox = delegated(&daemon, &address)?;
    Ok(Json(progress(&mailbox, daemon.sign_in_under_way(&mailbox).await.map_err(refused)?)))
}

/// The mailbox that a path names, if users sign in to it.
pub(in crate::http) fn delegated(daemon: &Daemon, name: &str) -> Result<MailboxId, Problem> {
    let mailbox = named(daemon, name)?;
    if daemon.is_delegated(&mailbox) {
        return Ok(mailbox);
    }
    let detail =
        "this mailbox is reached without a user, so nobody signs in; set access = \"delegated\" to change that";
    Err(Problem::new(StatusCode::CONFLICT, "not-delegated", detail))
}

fn refused(error: SignInError) -> Problem {
    match error {
        SignInError::Unavailable { .. } => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "sign-in-unavailable", error),
        other => Problem::new(StatusCode::BAD_GATEWAY, "sign-in-refused", other),
    }
}

fn progress(mailbox: &MailboxId, under_way: UnderWayState) -> SignInProgress {
    let begun = SignInProgress { mailbox: mailbox.to_string(), state: "waiting", ..SignInProgress::default() };
    match under_way {
        UnderWayState::None => SignInProgress { state: "none", ..begun },
        UnderWayState::Device { user_code, verification_uri, expires_at } => SignInProgress {
            user_code: Some(user_code),
            verification_uri: Some(verification_uri),
            expires_at: Some(rfc3339(expires_at)),
            ..begun
        },
        UnderWayState::Browser { expires_at } => SignInProgress { expires_at: Some(rfc3339(expires_at)), ..begun },
        UnderWayState::Ended(Ok(signed_in)) => {
            SignInProgress { state: "signed_in", signed_in_as: Some(signed_in.user), ..begun }
        }
        UnderWayState::Ended(Err(error)) => {
            SignInProgress { state: "failed", reason: Some(error.to_string()), ..begun }
        }
    }
}
