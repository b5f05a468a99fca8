//! `GET /audit`: did we lose any? What the mailboxes show, against what became of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;

use super::asked::Query;
use super::mailboxes::named;
use super::operation::{Door, Operation};
use super::times::Moment;
use crate::app::{Daemon, NoAudit};
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::ops::audit::report::AuditReport;

/// How far back is looked where nobody says.
const USUAL_MS: i64 = 24 * 3600 * 1000;

pub(super) fn operation() -> Operation {
    let says = "Did we lose any? Reads the mailboxes independently and accounts for every message received since then.";
    Operation::get("/audit", "audit", Door::Scope(Scope::Read), says, answer)
        .query::<Wanted>()
        .answers::<AuditReport>(200, "The ledger of each mailbox, also of those that could not be read.")
        .refuses(&[404, 409, 429])
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Mail received since then; without it, within the last 24 hours.
    since: Option<Moment>,
    /// One mailbox, by its address; `tenant/address` where several tenants have one of it. Without it, all.
    mailbox: Option<String>,
}

async fn answer(State(daemon): State<Arc<Daemon>>, Query(wanted): Query<Wanted>) -> Result<Json<AuditReport>, Problem> {
    let now = daemon.now();
    let since = wanted.since.map_or(now.saturating_sub(USUAL_MS), |it| it.at(now));
    if !(0..=now).contains(&since) {
        let detail = "since lies in the future, or before 1970; write a time such as 2026-11-21T18:00:00Z, or 24h";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail));
    }
    let mailbox = wanted.mailbox.map(|it| named(&daemon, &it)).transpose()?;
    match daemon.audit(mailbox.as_ref(), since).await {
        Ok(report) => Ok(Json(report)),
        Err(NoAudit::Busy) => {
            let detail = "another audit runs, and one at a time is enough for the mailboxes; ask again shortly";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "audit-running", detail);
            Err(problem.with(header::RETRY_AFTER, Some(HeaderValue::from_static("10"))))
        }
        Err(NoAudit::NotRead) => {
            let detail = "this mailbox is configured with `receive = false`: no mail is read from it";
            Err(Problem::new(StatusCode::CONFLICT, "not-received", detail))
        }
    }
}
