//! One tenant after the other through steps 1 to 8: what is asked, in which order, and what is skipped for what.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use url::Url;

use super::claims::{self, Claims, Needs};
use super::codes;
use super::credentials::{self, Beside, of_tenant};
use super::finding::{Finding, Step};
use super::lasting::Lasting;
use super::mailbox::{self, Ground};
use super::network::{self, Reached};
use super::subscriptions::{self, Wanted};
use super::trouble::Trouble;
use super::{AT_ONCE, Mailbox, PublicUrl, Reach, Setup, Tenant, delegated};
use crate::egress::EgressError;
use crate::graph::{Folder, Graph, GraphError, Options, Subscription};
use crate::identity::config::Cloud;
use crate::identity::{Endpoints, Identity, Tried, Ways, cloud_of};
use crate::model::token::{AccessToken, Tokens};

/// Doctor asks once and is waited for by a person.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Where Exchange takes large attachments (learn.microsoft.com/graph/outlook-large-attachments).
const UPLOADS: &str = "https://outlook.office.com";

/// What each host answered, by its origin.
pub(super) type Hosts = HashMap<String, Result<Reached, Trouble>>;

/// What came of a tenant before its mailboxes.
pub(super) struct Looked {
    pub(super) found: Vec<Finding>,
    /// What belongs to the last step.
    pub(super) configured: Vec<Finding>,
    /// None where no mailbox can be asked for.
    pub(super) served: Option<Served>,
}

/// A tenant with a token.
pub(super) struct Served {
    pub(super) graph: Graph,
    claims: Option<Claims>,
    subscriptions: Option<Result<Vec<Subscription>, GraphError>>,
}

impl Served {
    /// What refusals are judged by, where nothing is known of other mailboxes.
    pub(super) fn ground<'a>(&'a self, tenant: &'a Tenant) -> Ground<'a> {
        Ground { tenant: &tenant.config, claims: self.claims.as_ref(), needs: tenant.needs, others_work: false }
    }
}

/// Steps 1 and 2: each host once, however many tenants share it.
pub(super) async fn hosts(setup: &Setup) -> (Hosts, Vec<Finding>) {
    let (mut logins, mut graphs, mut uploads) = (Vec::new(), Vec::new(), Vec::new());
    for tenant in &setup.tenants {
        let Ok(endpoints) = Endpoints::of(&tenant.config) else { continue };
        add(&mut logins, endpoints.token);
        add(&mut graphs, endpoints.graph);
        let is_global = tenant.config.cloud == Cloud::Global && tenant.config.graph_endpoint.is_none();
        if let Ok(url) = Url::parse(UPLOADS)
            && is_global
            && tenant.mailboxes.iter().any(|it| it.send)
        {
            add(&mut uploads, url);
        }
    }
    let Ok(http) = setup.egress.client().and_then(|it| setup.egress.finish(it)) else {
        return (Hosts::new(), Vec::new());
    };
    let mut asked: Vec<&Url> = Vec::new();
    for url in logins.iter().chain(&graphs).chain(&uploads) {
        if !asked.iter().any(|it| it.origin() == url.origin()) {
            asked.push(url);
        }
    }
    let knocks = asked
        .into_iter()
        .map(|url| async { (url.origin().ascii_serialization(), network::knock(&http, url, &setup.clock).await) });
    let hosts: Hosts = stream::iter(knocks).buffered(AT_ONCE).collect().await;
    let answer = |url: &Url| hosts.get(&url.origin().ascii_serialization());
    let mut found: Vec<Finding> = Vec::new();
    for url in &logins {
        found.extend(answer(url).map(|it| network::clock(&network::host(url), it)));
    }
    for url in logins.iter().chain(graphs.iter().filter(|url| !logins.iter().any(|it| it.origin() == url.origin()))) {
        found.extend(answer(url).map(|it| network::way(&network::host(url), url, &setup.egress, it)));
    }
    for url in &uploads {
        found.extend(answer(url).map(|it| network::upload_way(&network::host(url), url, &setup.egress, it)));
    }
    (hosts, found)
}

fn add(urls: &mut Vec<Url>, url: Url) {
    if !urls.iter().any(|it| it.origin() == url.origin()) {
        urls.push(url);
    }
}

/// Steps 3 and 4, and what is asked once for all mailboxes.
pub(super) async fn look(setup: &Setup, tenant: &Tenant, hosts: &Hosts) -> Looked {
    let (mut found, mut configured) = (Vec::new(), Vec::new());
    let is_for_users_only = tenant.mailboxes.iter().all(|it| !matches!(it.reach, Reach::Application));
    if tenant.config.credentials.is_empty() && is_for_users_only {
        let why = "Nobody but users stands behind the requests of this tenant: it has no credential";
        return Looked {
            found: vec![Finding::skipped(Step::Token, &tenant.config.name, why)],
            configured,
            served: None,
        };
    }
    let served = match tokens(setup, tenant, hosts, &mut found, &mut configured).await {
        Some((identity, token)) => serve(setup, tenant, hosts, identity, &token, &mut found).await,
        None => {
            found.push(Finding::skipped(Step::Roles, &tenant.config.name, "There is no token: see above"));
            None
        }
    };
    Looked { found, configured, served }
}

async fn tokens(
    setup: &Setup,
    tenant: &Tenant,
    hosts: &Hosts,
    found: &mut Vec<Finding>,
    configured: &mut Vec<Finding>,
) -> Option<(Identity, AccessToken)> {
    let config = &tenant.config;
    let identity = match identity(setup, tenant) {
        Ok(identity) => identity,
        Err(problem) => {
            let mut facts = of_tenant(config);
            facts.extend([("credential", "?".into()), ("kind", "as configured".into()), ("problem", problem)]);
            found.push(Finding::of(&codes::CREDENTIAL_UNREADABLE, Step::Token, &config.name, facts));
            return None;
        }
    };
    let endpoints = identity.endpoints();
    let login = hosts.get(&endpoints.token.origin().ascii_serialization());
    let is_unreached = matches!(login, Some(Err(_)));
    // The platform hands out tokens whether the login host is reached or not.
    if is_unreached && config.credentials.iter().all(|it| it.kind() != "managed_identity") {
        let why = format!("{} is not reached: see above", network::host(&endpoints.token));
        found.push(Finding::skipped(Step::Token, &config.name, why));
        return None;
    }
    let tried = identity.try_each().await;
    let clock_is_wrong = login.is_some_and(|it| network::clock("", it).is_fail());
    let lives_in = match credentials::may_live_elsewhere(&tried) {
        true => match setup.egress.client().and_then(|it| setup.egress.finish(it)) {
            Ok(http) => cloud_of(config, &http).await,
            Err(_) => None,
        },
        false => None,
    };
    found.extend(credentials::tokens(config, &tried, Beside { clock_is_wrong, lives_in }));
    configured.extend(credentials::configured(config, &tried, setup.clock.now()));
    first(tried).map(|token| (identity, token))
}

fn first(tried: Vec<Tried>) -> Option<AccessToken> {
    tried.into_iter().find_map(|it| it.outcome.ok())
}

fn identity(setup: &Setup, tenant: &Tenant) -> Result<Identity, String> {
    let told = |error: EgressError| error.to_string();
    let egress = &setup.egress;
    let ways = Ways {
        entra: egress.client().and_then(|it| egress.finish(it)).map_err(told)?,
        platform: egress.client().and_then(|it| egress.finish(it.no_proxy())).map_err(told)?,
    };
    Identity::new(&tenant.config, ways, Arc::clone(&setup.clock)).map_err(|error| error.to_string())
}

async fn serve(
    setup: &Setup,
    tenant: &Tenant,
    hosts: &Hosts,
    identity: Identity,
    token: &AccessToken,
    found: &mut Vec<Finding>,
) -> Option<Served> {
    let (claims, endpoints) = (Claims::of(token), identity.endpoints().clone());
    let roles = claims::roles(&tenant.config, &endpoints, claims.as_ref(), tenant.needs);
    let is_of_no_use = roles.iter().any(Finding::is_fail);
    found.extend(roles);
    if is_of_no_use {
        return None;
    }
    // What was issued a moment ago ends within the hour; a long look needs somebody who renews.
    let tokens = Arc::new(Lasting::new(Arc::new(identity), Arc::clone(&setup.clock)));
    let mut served = reached(setup, tenant, hosts, &endpoints, claims, tokens)?;
    let is_pushed = |it: &Mailbox| it.receive && matches!(it.reach, Reach::Application);
    if setup.public_url.is_some() && tenant.mailboxes.iter().any(is_pushed) {
        served.subscriptions = Some(served.graph.list_subscriptions().await);
    }
    Some(served)
}

/// Graph by these tokens; `None` where Graph's host is not reached.
pub(super) fn reached(
    setup: &Setup,
    tenant: &Tenant,
    hosts: &Hosts,
    endpoints: &Endpoints,
    claims: Option<Claims>,
    tokens: Arc<dyn Tokens>,
) -> Option<Served> {
    let Some(Ok(_)) = hosts.get(&endpoints.graph.origin().ascii_serialization()) else { return None };
    let http = setup.egress.client().and_then(|it| setup.egress.finish(it)).ok()?;
    let options =
        Options { answer_within: ANSWER_WITHIN, whole: ANSWER_WITHIN * 2, ..Options::new(Arc::clone(&setup.clock)) };
    let graph = Graph::new(endpoints.graph.clone(), tenant.config.name.clone(), tokens, http, options);
    Some(Served { graph, claims, subscriptions: None })
}

/// Steps 5 to 8 for one mailbox. `read` is what came of reading it; `None` where that could not be tried.
pub(super) async fn mailbox(
    setup: &Setup,
    tenant: &Tenant,
    mailbox: &Mailbox,
    read: Option<(&Served, &Result<Folder, GraphError>)>,
    others_work: bool,
) -> Vec<Finding> {
    let Mailbox { address, folder, .. } = mailbox;
    let mut found = delegated::sign_in(&tenant.config, mailbox);
    let Some((served, read)) = read else {
        if !matches!(mailbox.reach, Reach::Daemon(_)) {
            found.push(Finding::skipped(Step::Mailbox, address.as_str(), "Graph cannot be asked: see above"));
        }
        return found;
    };
    let ground =
        Ground { others_work, needs: Needs { write: mailbox.write, send: mailbox.send }, ..served.ground(tenant) };
    found.push(mailbox::read(address, folder, read, ground));
    let skipped = |step, why: &str| Finding::skipped(step, address.as_str(), why);
    if read.is_err() {
        found.push(skipped(Step::Write, "The mailbox cannot be read: see above"));
    } else if mailbox.write {
        let probe = mailbox::probe(&served.graph, address, tenant.config.cloud).await;
        found.push(mailbox::written(address, folder, &probe, ground));
    } else {
        found.push(skipped(Step::Write, "Nothing is ever written into it, as configured"));
    }
    if mailbox.send && read.is_ok() {
        found.push(claims::may_send(&tenant.config, address.as_str(), served.claims.as_ref()));
    }
    if let (Some(listed), Some(public), true) =
        (&served.subscriptions, &setup.public_url, mailbox.receive && read.is_ok())
    {
        let notification_url = notification_url(public);
        let wanted = Wanted {
            tenant: &tenant.config,
            notification_url: &notification_url,
            daemon: setup.daemon.as_deref(),
            now: setup.clock.now(),
        };
        found.extend(subscriptions::judge(address, folder, listed, wanted));
    }
    found
}

/// Whether Graph pushes the mail of this mailbox to the public URL, as its list and the running daemon both say: then the
/// URL is reached from outside, whatever it looks like from here.
pub(super) fn is_heard(setup: &Setup, tenant: &Tenant, mailbox: &Mailbox, served: Option<&Served>) -> bool {
    let Some(Ok(listed)) = served.and_then(|it| it.subscriptions.as_ref()) else { return false };
    let Some(wanted) = setup.public_url.as_ref().map(notification_url) else { return false };
    setup.pushed.contains(&format!("{}/{}", tenant.config.name, mailbox.address))
        && listed.iter().any(|it| {
            it.is_of(&mailbox.address, &mailbox.folder)
                && it.expires_at > setup.clock.now()
                && it.notification_url.as_deref() == Some(wanted.as_str())
        })
}

/// Where Graph is to post.
fn notification_url(public: &PublicUrl) -> String {
    format!("{}/graph/notifications", public.url.as_str().trim_end_matches('/'))
}
