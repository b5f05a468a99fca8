//! Checks on tenants and mailboxes: who they are, whose they are, and the mistakes everybody makes once in Entra.

use std::collections::HashMap;

use super::Draft;
use super::check::{NAME, is_loopback, is_name};
use super::check_credentials;
use super::problem::Report;
use super::shape::nearest;
use super::tree::Path;
use crate::identity::cloud::{Endpoints, cloud_of_graph, clouds_of_login};
use crate::identity::config::TenantConfig;
use crate::inbound::MailboxConfig;

/// Authorities for users of any organisation: client credentials are refused there (AADSTS9001023, AADSTS50194).
const NO_TENANT: [&str; 3] = ["common", "organizations", "consumers"];

pub(super) fn tenants(draft: &Draft, report: &mut Report) {
    let root = Path::default().key("tenants");
    if draft.tenants.is_empty() {
        report.missing(&root, "no tenant is configured; add [[tenants]] with name, tenant_id and client_id");
    }
    let mut first = HashMap::new();
    for (index, tenant) in draft.tenants.iter().enumerate() {
        let (at, Some(tenant)) = (root.index(index), tenant) else { continue };
        if !is_name(&tenant.name) {
            report.wrong(&at.key("name"), NAME);
        }
        if let Some(first) = first.insert(tenant.name.as_str(), index) {
            report.wrong(&at.key("name"), format!("`{}` is taken by tenants[{first}]; choose another", tenant.name));
        }
        ids(tenant, &at, report);
        endpoints(tenant, &at, report);
        check_credentials::credentials(tenant, draft, &at.key("credentials"), report);
    }
}

fn ids(tenant: &TenantConfig, at: &Path, report: &mut Report) {
    let (id, domain) = (tenant.tenant_id.as_str(), tenant.tenant_id.contains('.'));
    if NO_TENANT.contains(&id.to_lowercase().as_str()) {
        let message = format!("`{id}` is no organisation; paste the Directory (tenant) ID of the app's overview page");
        report.wrong(&at.key("tenant_id"), message);
    } else if !(is_guid(id) || domain && is_name(id)) {
        let message = "must be the Directory (tenant) ID, a GUID, or a verified domain such as contoso.onmicrosoft.com";
        report.wrong(&at.key("tenant_id"), message);
    }
    if !is_guid(&tenant.client_id) {
        let message = "must be the Application (client) ID of the app's overview page, a GUID";
        report.wrong(&at.key("client_id"), message);
    } else if tenant.client_id.eq_ignore_ascii_case(id) {
        let message = "is the same as tenant_id; paste the Application (client) ID of the app's overview page";
        report.wrong(&at.key("client_id"), message);
    }
}

fn endpoints(tenant: &TenantConfig, at: &Path, report: &mut Report) {
    for (key, url) in [("token_endpoint", &tenant.token_endpoint), ("graph_endpoint", &tenant.graph_endpoint)] {
        let Some(url) = url else { continue };
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(url)) {
            report.wrong(&at.key(key), "must begin with https://; secrets and tokens are sent there");
        }
    }
    one_cloud(tenant, at, report);
}

/// Tokens of one cloud are refused in another, and the secret would have gone to the wrong one.
fn one_cloud(tenant: &TenantConfig, at: &Path, report: &mut Report) {
    let Ok(Endpoints { token, graph, .. }) = Endpoints::of(tenant) else { return };
    let (Some(login), Some(api)) = (token.host_str(), graph.host_str()) else { return };
    let (logins, graphs) = (clouds_of_login(login), cloud_of_graph(api));
    let key = match (&tenant.token_endpoint, &tenant.graph_endpoint) {
        (Some(_), _) => "token_endpoint",
        (None, Some(_)) => "graph_endpoint",
        (None, None) => return,
    };
    if let Some(cloud) = graphs.filter(|cloud| !logins.is_empty() && !logins.contains(cloud)) {
        let message = format!(
            "{login} and {api} belong to different clouds; remove both endpoints and set cloud = \"{}\", or the one the organisation lives in",
            cloud.as_str()
        );
        report.wrong(&at.key(key), message);
    }
}

pub(super) fn mailboxes(draft: &Draft, report: &mut Report) {
    let root = Path::default().key("mailboxes");
    let watched = draft.mailboxes.iter().any(|it| it.as_ref().is_none_or(|it| it.receive));
    let is_idle = !watched && !draft.mailboxes.iter().flatten().any(|it| it.send);
    if draft.mailboxes.is_empty() {
        report.missing(
            &root,
            "no mailbox is configured, so there is nothing to watch; add [[mailboxes]] with its address",
        );
    } else if is_idle {
        let message =
            "no mailbox receives and none sends, so there is nothing to do; set receive or send = true on one";
        report.missing(&root, message);
    }
    let mut first = HashMap::new();
    for (index, mailbox) in draft.mailboxes.iter().enumerate() {
        let (at, Some(mailbox)) = (root.index(index), mailbox) else { continue };
        let tenant = tenant_of(mailbox, draft, &at, report);
        if let Some(first) = first.insert((tenant, mailbox.address.as_str()), index) {
            report.wrong(&at.key("address"), format!("is mailboxes[{first}] once more; keep one of the two"));
        }
        folders(mailbox, &at, report);
        if !is_idle {
            sending(mailbox, &at, report);
        }
    }
    unused_tenants(draft, report);
}

/// The tenant's name, where one can be said.
fn tenant_of<'a>(mailbox: &'a MailboxConfig, draft: &'a Draft, at: &Path, report: &mut Report) -> Option<&'a str> {
    let names: Vec<&str> = draft.tenants.iter().flatten().map(|it| it.name.as_str()).collect();
    let at = at.key("tenant");
    // A tenant that could not be read may be the one that is meant.
    let complete = draft.tenants.iter().all(Option::is_some);
    match mailbox.tenant.as_deref() {
        None if draft.tenants.len() > 1 => {
            let message = format!("is missing; with several tenants it has to be one of: {}", names.join(", "));
            report.missing(&at, message);
            None
        }
        None => names.first().copied(),
        Some(name) if names.contains(&name) || !complete || names.is_empty() => Some(name),
        Some(name) => {
            let message = match nearest(name, &names) {
                Some(meant) => format!("there is no tenant `{name}`; did you mean `{meant}`?"),
                None => format!("there is no tenant `{name}`; one of: {}", names.join(", ")),
            };
            report.wrong(&at, message);
            Some(name)
        }
    }
}

fn sending(mailbox: &MailboxConfig, at: &Path, report: &mut Report) {
    if !mailbox.receive && !mailbox.send {
        report.warn(&at.key("send"), "this mailbox neither receives nor sends, so nothing is done with it");
    }
    if !mailbox.send && !mailbox.send_as.is_empty() {
        report.warn(&at.key("send_as"), "is of no use with send = false");
    }
}

fn folders(mailbox: &MailboxConfig, at: &Path, report: &mut Report) {
    if mailbox.folder.trim().is_empty() {
        report.wrong(&at.key("folder"), "is empty; write a well-known name such as inbox, or a folder's id");
    }
    if mailbox.move_to.as_deref().is_some_and(|it| it.eq_ignore_ascii_case(&mailbox.folder)) {
        report.wrong(&at.key("move_to"), "is the watched folder itself; choose another or remove the key");
    }
}

fn unused_tenants(draft: &Draft, report: &mut Report) {
    // Only where every mailbox says whose it is.
    let unclear = draft.mailboxes.iter().any(|it| it.as_ref().is_none_or(|it| it.tenant.is_none()));
    if unclear || draft.mailboxes.is_empty() || draft.tenants.len() < 2 {
        return;
    }
    for (index, tenant) in draft.tenants.iter().enumerate() {
        let Some(tenant) = tenant else { continue };
        if !draft.mailboxes.iter().flatten().any(|it| it.tenant.as_deref() == Some(&tenant.name)) {
            report.warn(&Path::default().key("tenants").index(index), "no mailbox belongs to this tenant");
        }
    }
}

/// The form of Entra's ids: 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_guid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}
