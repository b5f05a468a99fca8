//! Roles of Exchange (RBAC for Applications): what an app may do in the mailboxes of a scope, whatever Entra grants it.
//!
//! Grants of both are added to each other, and these stand in no token (learn.microsoft.com/exchange/permissions-exo/
//! application-rbac). Also where in the world the tenant lives, as its login host tells it.

use std::sync::Mutex;

use crate::{clock::held, refused::Refusal, refused::refusal, tenant::Tenant, world::Mailbox};

/// All role assignments.
#[derive(Debug, Default)]
pub(crate) struct Assignments(Mutex<Vec<Assignment>>);

#[derive(Debug)]
struct Assignment {
    client_id: String,
    /// As a permission of Graph is called, such as `Mail.ReadWrite`.
    permission: String,
    /// The mailboxes of the scope.
    scope: Vec<String>,
}

impl Assignments {
    /// Whether a role lets the app do one of these things in the mailbox; in any at all where none is named.
    pub(crate) fn reach(&self, client_id: &str, mailbox: Option<&Mailbox>, enough: &[&str]) -> bool {
        held(&self.0).iter().any(|it| {
            it.client_id.eq_ignore_ascii_case(client_id)
                && enough.contains(&it.permission.as_str())
                && mailbox.is_none_or(|mailbox| it.scope.iter().any(|it| it.eq_ignore_ascii_case(&mailbox.address)))
        })
    }
}

/// Another national cloud: the host of its Graph, and the part of its region.
#[derive(Debug, Clone)]
pub(crate) struct Elsewhere {
    pub(crate) graph_host: String,
    pub(crate) region: Option<String>,
}

impl Elsewhere {
    /// What a token request for a tenant of another cloud is answered with.
    pub(crate) fn refusal(&self) -> Refusal {
        let text = "Confidential Client is not supported in Cross Cloud request.".to_owned();
        refusal(400, "invalid_request", 900_382, text)
    }
}

impl Tenant {
    /// Gives an app a role of Exchange such as `Application Mail.ReadWrite` in these mailboxes: at once, not within two
    /// hours.
    pub fn assign_role(&self, client_id: &str, role: &str, scope: &[&str]) {
        let permission = role.strip_prefix("Application ").unwrap_or(role).to_owned();
        let scope = scope.iter().map(|it| (*it).to_owned()).collect();
        held(&self.world.assignments.0).push(Assignment { client_id: client_id.to_owned(), permission, scope });
    }

    /// Moves the tenant into another national cloud: tokens are refused here (900382), and discovery says where it lives.
    pub fn lives_in(&self, graph_host: &str, region: Option<&str>) {
        let elsewhere = Elsewhere { graph_host: graph_host.to_owned(), region: region.map(str::to_owned) };
        *held(&self.world.elsewhere) = Some(elsewhere);
    }
}
