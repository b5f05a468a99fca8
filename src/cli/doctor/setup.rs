//! What doctor looks at, made of the configuration, and how each mailbox is reached for the look.
//!
//! The sign-ins of delegated mailboxes belong to the running daemon, which is asked how they are; where none runs, the
//! store is opened for as long as it takes to get a token.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::by_sign_in::{BySignIn, Turn};
use crate::cli::ask::{Client, NoAnswer};
use crate::config::Config;
use crate::identity::config::TenantConfig;
use crate::inbound::{Access, MailboxConfig, MarkRead};
use crate::model::address::Address;
use crate::model::clock::{UnixMillis, rfc3339};
use crate::model::token::{BoxFuture, Tokens as _};
use crate::ops::doctor::{Journeys, Mailbox, Needs, Reach, Tenant};

/// The tenants with the mailboxes that are asked for; all of them where none is. `runs`: there is a daemon, and `health`
/// is what it says of itself.
pub(super) async fn tenants(
    config: &Arc<Config>,
    wanted: &[Address],
    runs: bool,
    health: Option<&Value>,
) -> Result<Vec<Tenant>, String> {
    if let Some(unknown) = wanted.iter().find(|it| !config.mailboxes.iter().any(|known| known.address == **it)) {
        return Err(format!("--mailbox {unknown}: no mailbox of this address is configured"));
    }
    let is_wanted = |it: &MailboxConfig| wanted.is_empty() || wanted.contains(&it.address);
    let is_of = |it: &MailboxConfig, tenant: &TenantConfig| it.tenant.as_deref() == Some(tenant.name.as_str());
    let turn = Turn::default();
    let mut tenants = Vec::new();
    for tenant in &config.tenants {
        let mut mailboxes = Vec::new();
        for it in config.mailboxes.iter().filter(|it| is_of(it, tenant) && is_wanted(it)) {
            mailboxes.push(mailbox(it, reach(config, it, runs, health, &turn).await));
        }
        if wanted.is_empty() || !mailboxes.is_empty() {
            // What is too much is judged by all that is configured: nobody should be told to take away what others need.
            let own = || config.mailboxes.iter().filter(|it| is_of(it, tenant) && it.access == Access::Application);
            let needs = Needs { write: own().any(writes), send: own().any(|it| it.send) };
            tenants.push(Tenant { config: tenant.clone(), mailboxes, needs });
        }
    }
    Ok(tenants)
}

/// Whether anything is written to it.
fn writes(config: &MailboxConfig) -> bool {
    let marks = config.mark_read != MarkRead::Never || config.move_to.is_some() || config.category.is_some();
    config.send || config.receive && marks
}

fn mailbox(config: &MailboxConfig, reach: Reach) -> Mailbox {
    Mailbox {
        address: config.address.clone(),
        folder: config.folder.clone(),
        move_to: config.move_to.clone(),
        receive: config.receive,
        send: config.send,
        write: writes(config),
        reach,
    }
}

async fn reach(
    config: &Arc<Config>,
    mailbox: &MailboxConfig,
    runs: bool,
    health: Option<&Value>,
    turn: &Turn,
) -> Reach {
    if mailbox.access != Access::Delegated {
        return Reach::Application;
    }
    let name = Config::mailbox_id(mailbox).to_string();
    if runs {
        let own = health.into_iter().flat_map(mailboxes).find(|it| it["name"] == name.as_str());
        return Reach::Daemon(own.cloned().unwrap_or_default());
    }
    let tokens = BySignIn::new(config, name, turn);
    Reach::User { token: tokens.token().await, tokens: Arc::new(tokens) }
}

/// What a daemon's `/health` says of its mailboxes.
fn mailboxes(health: &Value) -> impl Iterator<Item = &Value> {
    let checks = health["checks"].as_array().map_or(&[][..], Vec::as_slice);
    checks.iter().filter(|it| it["kind"] == "mailbox")
}

/// The names of those whose mail is pushed to it.
pub(super) fn pushed(health: &Value) -> HashSet<String> {
    let pushed = mailboxes(health).filter(|it| it["mode"] == "push");
    pushed.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect()
}

/// The daemon's answers to where a mail is.
pub(super) struct Teller(pub(super) Client);

impl Journeys for Teller {
    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            // Of what needs the same scope, this is answered from an index.
            let asked = self.0.get(&["messages"], &[("limit", "1".to_owned())]).await;
            asked.map(|_| ()).map_err(NoAnswer::into_text)
        })
    }

    fn of<'a>(&'a self, id: &'a str, since: UnixMillis) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move {
            let query = [("q", id.to_owned()), ("since", rfc3339(since)), ("limit", "1".to_owned())];
            self.0.get(&["trace"], &query).await.map_err(NoAnswer::into_text)
        })
    }
}
