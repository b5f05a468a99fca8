//! `POST /mailboxes/{address}/sync`: look now; with `since`, compare everything received from then on with what is known,
//! and take up what nobody drives on.

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
use super::times::Moment;
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::model::clock::rfc3339;
use crate::model::work::{Work, ahead_of_backlog};

pub(super) fn operation() -> Operation {
    let says = "Looks at a mailbox now; with `since`, sweeps it from there, so that what was missed is fetched, and what nobody drives on is \
                taken up again.";
    Operation::post("/mailboxes/{address}/sync", "syncMailbox", Door::Scope(Scope::Operate), says, sync)
        .name("address", ADDRESS)
        .body::<Wanted>()
        .answers::<Due>(202, "The look, or the sweep, is due.")
        .refuses(&[404, 409])
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SyncMailbox")]
struct Wanted {
    /// From which received time on the mailbox is compared with what is known; never from before the beginning that
    /// `sync.start_from` says.
    since: Option<Moment>,
}

/// What is due.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DueWork")]
struct Due {
    /// The mailbox.
    mailbox: String,
    /// `look` or `sweep`.
    due: &'static str,
    /// From which received time on it is swept.
    since: Option<String>,
    /// How many fetches and deliveries that nobody drove on are due again.
    taken_up: u64,
}

async fn sync(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    Path(address): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Result<(StatusCode, Json<Due>), Problem> {
    let mailbox = named(&daemon, &address)?;
    if daemon.is_paused(&mailbox) {
        let detail = "the mailbox is paused; resume it first, which looks at it as well";
        return Err(Problem::new(StatusCode::CONFLICT, "mailbox-paused", detail));
    }
    let now = daemon.now();
    let since = wanted.since.map(|it| it.at(now));
    let mut taken_up = 0;
    let work = match since {
        Some(since) => {
            daemon.store.sweep_since(&mailbox, since).await?;
            taken_up = daemon.store.take_up(&mailbox, since).await?;
            Work::Sweep { mailbox: mailbox.clone() }
        }
        None => Work::Look { mailbox: mailbox.clone() },
    };
    let due = work.kind();
    daemon.store.enqueue(vec![work.due(ahead_of_backlog(now))]).await?;
    tracing::info!(mailbox = %mailbox, due, who = caller.name, "A {due} at {mailbox} was asked for by hand");
    Ok((StatusCode::ACCEPTED, Json(Due { mailbox: mailbox.to_string(), due, since: since.map(rfc3339), taken_up })))
}
