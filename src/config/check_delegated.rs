//! Checks on mailboxes that are reached on behalf of their users: where their sign-ins are kept, and how they are made.

use super::Draft;
use super::problem::Report;
use super::tree::Path;
use crate::identity::config::TenantConfig;
use crate::inbound::{Access, MailboxConfig};

pub(super) fn mailboxes(draft: &Draft, report: &mut Report) {
    let delegated: Vec<&MailboxConfig> =
        draft.mailboxes.iter().flatten().filter(|it| it.access == Access::Delegated).collect();
    if delegated.is_empty() {
        return;
    }
    if draft.store.as_ref().is_some_and(|it| it.encryption_key_file.is_none()) {
        let message = "is missing; sign-ins of delegated mailboxes are stored encrypted only; make a key with `openssl rand \
                       -base64 32 > mailspan-store-keys`, let only Mailspan read it, and name the file here";
        report.missing(&Path::default().key("store").key("encryption_key_file"), message);
    }
    for (index, tenant) in draft.tenants.iter().enumerate() {
        let Some(tenant) = tenant else { continue };
        let Some(endpoint) = &tenant.token_endpoint else { continue };
        let ends_well = endpoint.path_segments().and_then(|mut it| it.next_back()) == Some("token");
        if !ends_well && delegated.iter().any(|it| belongs(it, tenant, draft)) {
            let message = "must end in /token, because users of delegated mailboxes sign in beside it";
            report.wrong(&Path::default().key("tenants").index(index).key("token_endpoint"), message);
        }
    }
}

/// Whether nobody but users stands behind the requests of this tenant: then it needs no credential.
pub(super) fn is_for_users_only(tenant: &TenantConfig, draft: &Draft) -> bool {
    let mut own = draft.mailboxes.iter().flatten().filter(|it| belongs(it, tenant, draft)).peekable();
    own.peek().is_some() && own.all(|it| it.access == Access::Delegated)
}

fn belongs(mailbox: &MailboxConfig, tenant: &TenantConfig, draft: &Draft) -> bool {
    match &mailbox.tenant {
        Some(name) => *name == tenant.name,
        None => draft.tenants.len() == 1,
    }
}
