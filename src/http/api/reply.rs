//! `POST /interactions/{interaction}/reply`: answers the mail of an interaction, in its conversation.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::access::Caller;
use super::asked::Path;
use super::operation::{Door, Operation};
use super::submission::{self, By, Kind, Receipt, ReplyToInteraction, RequestFields, Unanswered};
use super::submit::ACCEPTED;
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::model::address::{Address, AddressPattern};
use crate::model::submission::Origin;
use crate::outbound::Answers;

pub(super) fn operation() -> Operation {
    let says = "Answers the mail of an interaction: recipients, subject and conversation are taken from it where they are left out.";
    let path = "/interactions/{interaction}/reply";
    Operation::post(path, "replyToInteraction", Door::Scope(Scope::Send), says, reply)
        .name("interaction", "The interaction's id.")
        .headers::<RequestFields>()
        .body::<ReplyToInteraction>()
        .answers::<Receipt>(202, ACCEPTED)
        .refuses(&[404, 408, 409, 410, 422])
}

async fn reply(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    Path(interaction): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    if query.is_some_and(|it| !it.is_empty()) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-query", "a reply has no query; write members"));
    }
    if submission::kind(request.headers())? == Kind::Raw {
        let detail = "send JSON, with `content-type: application/json`; a mail as it is goes to POST /messages";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-type", detail));
    }
    let key = submission::key(request.headers())?;
    let answered = daemon.delivery().answered(&interaction).await?;
    let message = &answered.message;
    let mailbox = &message.mailbox;
    let answers = Answers {
        mailbox: mailbox.clone(),
        immutable_id: message.immutable_id.clone(),
        interaction: Some(interaction.clone()),
        thread: message.joined.as_ref().map(|it| it.thread.clone()),
    };
    let own = own_addresses(&daemon, &answers, answered.matched_recipient.as_ref());
    let is_own = |email: &str| Address::parse(email).is_ok_and(|it| own.iter().any(|own| own.matches(&it)));
    let by = By { origin: Origin::Reply, name: &caller.name, key, answers: Some(answers) };
    submission::written(&daemon.outbound(), by, request, |json, files, limits| {
        submission::answer(json, files, &answered.answering, mailbox.address.as_str(), is_own, limits)
            .map_err(unanswered)
    })
    .await
}

/// The addresses of the mailbox that answers: its own, those it sends as, and the one the mail was found by.
fn own_addresses(daemon: &Daemon, answers: &Answers, matched: Option<&Address>) -> Vec<AddressPattern> {
    let outbound = daemon.outbound();
    let senders = &outbound.senders;
    let send_as = senders.iter().filter(|it| it.mailbox == answers.mailbox).flat_map(|it| it.send_as.iter().cloned());
    let plain = [Some(&answers.mailbox.address), matched].into_iter().flatten();
    plain.filter_map(|it| AddressPattern::parse(it.as_str()).ok()).chain(send_as).collect()
}

/// The one place where an answer that cannot be made becomes an answer.
fn unanswered(unanswered: Unanswered) -> Problem {
    match unanswered {
        Unanswered::Wrong(places) => submission::wrong(places),
        Unanswered::NotByProgram => {
            let detail = "the mail was written by a program or wants no automatic answer, so `auto_submitted` cannot be sent to it: two programs could answer each other for ever";
            Problem::new(StatusCode::CONFLICT, "no-automatic-reply", detail)
        }
        Unanswered::NotToAll => {
            let detail = "the mail went to more people than are kept of it; name those who are to get the answer in `to` and `cc`, without `reply_all`";
            Problem::new(StatusCode::CONFLICT, "too-many-people", detail)
        }
    }
}
