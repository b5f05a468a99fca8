//! `GET /mailboxes`: the configured mailboxes and how each stands; and which one a path names.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::asked::Query;
use super::operation::{Door, Operation};
use super::page::{self, Limit, Page};
use crate::app::Daemon;
use crate::config::token::Scope;
use crate::http::problem::Problem;
use crate::model::work::MailboxId;
use crate::ops::health::{Check, Details, SignIn, Status};

pub(super) fn operation() -> Operation {
    let says = "The configured mailboxes, by name.";
    Operation::get("/mailboxes", "listMailboxes", Door::Scope(Scope::Read), says, list)
        .query::<Wanted>()
        .answers::<Page<Mailbox>>(200, "A page of mailboxes.")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Where the page begins: `next_cursor` of the one before.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]+$"))]
    cursor: Option<String>,
    /// How many to show.
    #[serde(default)]
    limit: Limit,
}

/// A mailbox.
#[derive(Serialize, JsonSchema)]
struct Mailbox {
    /// `tenant/address`, its name elsewhere.
    name: String,
    /// Its tenant.
    tenant: String,
    /// Its address.
    address: String,
    /// How well it is.
    status: Status,
    /// What is wrong, when something is.
    reason: Option<String>,
    /// How its mail is found: `push`, `polling`, or `paused`.
    mode: &'static str,
    /// Since when it is paused.
    paused_at: Option<String>,
    /// Who paused it.
    paused_by: Option<String>,
    /// When its subscription ends.
    subscription_expires_at: Option<String>,
    /// When Graph last announced something.
    last_notification_at: Option<String>,
    /// When a page of it was last read.
    last_sync_at: Option<String>,
    /// Messages found and not yet stored.
    waiting: u64,
    /// Messages that need a person.
    parked: u64,
    /// How the sign-in of its user stands; null where it is reached without a user.
    sign_in: Option<Box<SignIn>>,
}

async fn list(State(daemon): State<Arc<Daemon>>, Query(wanted): Query<Wanted>) -> Result<Json<Page<Mailbox>>, Problem> {
    let after: Option<String> = page::after(wanted.cursor.as_deref())?;
    let checks = daemon.checks().await?;
    let configured = daemon.mailboxes();
    let mut found: Vec<Mailbox> = checks.into_iter().filter_map(|it| mailbox(it, &configured)).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.retain(|it| after.as_ref().is_none_or(|after| it.name > *after));
    found.truncate(wanted.limit.to_read() as usize);
    Ok(Json(Page::cut(found, wanted.limit, |it| it.name.clone())))
}

fn mailbox(check: Check, configured: &[MailboxId]) -> Option<Mailbox> {
    let id = configured.iter().find(|it| it.to_string() == check.name)?;
    let Details::Mailbox {
        mode,
        paused_at,
        paused_by,
        subscription_expires_at,
        last_notification_at,
        last_sync_at,
        waiting,
        parked,
        sign_in,
        ..
    } = check.details
    else {
        return None;
    };
    Some(Mailbox {
        name: check.name,
        tenant: id.tenant.clone(),
        address: id.address.to_string(),
        status: check.status,
        reason: check.reason,
        mode,
        paused_at,
        paused_by,
        subscription_expires_at,
        last_notification_at,
        last_sync_at,
        waiting,
        parked,
        sign_in,
    })
}

/// What is said of a path's `{address}`.
pub(super) const ADDRESS: &str =
    "The mailbox's address; `tenant/address` (with `%2F`) where several tenants have one of it.";

/// The configured mailbox that a path names.
///
/// # Errors
/// There is none of this address, or several.
pub(super) fn named(daemon: &Daemon, name: &str) -> Result<MailboxId, Problem> {
    let (tenant, address) = match name.split_once('/') {
        Some((tenant, address)) => (Some(tenant), address),
        None => (None, name),
    };
    let is_meant = |it: &&MailboxId| {
        it.address.as_str().eq_ignore_ascii_case(address) && tenant.is_none_or(|tenant| it.tenant == tenant)
    };
    let configured = daemon.mailboxes();
    let mut meant = configured.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => {
            let detail = "no mailbox of this address is configured; GET /api/v1/mailboxes lists them";
            Err(Problem::new(StatusCode::NOT_FOUND, "no-such-mailbox", detail))
        }
        (Some(_), Some(_)) => {
            let detail = "several tenants have a mailbox of this address; name one as tenant/address";
            Err(Problem::new(StatusCode::CONFLICT, "ambiguous-mailbox", detail))
        }
    }
}
