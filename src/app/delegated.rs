//! The mailboxes that are reached on behalf of their users, wired: each with tokens and a Graph of its own; and the eye
//! on their sign-ins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::Daemon;
use super::ground::Ground;
use super::tenants::Tenant;
use crate::config::Config;
use crate::graph::{Graph, Options};
use crate::identity::Identity;
use crate::identity::delegated::Delegated;
use crate::identity::standing::Standing;
use crate::inbound::Access;
use crate::model::token::Tokens;
use crate::model::work::{Lane, MailboxId, Work, ahead_of_backlog};
use crate::ops::health::{SignIn, shown};

/// How often sign-ins are looked at.
const TURN: Duration = Duration::from_secs(1);
/// How many are looked at together.
const TOGETHER: usize = 16;

/// One mailbox: its tokens and its Graph.
#[derive(Clone)]
pub(super) struct OwnWay {
    pub(super) tokens: Arc<Delegated>,
    pub(super) graph: Arc<Graph>,
    identity: Arc<Identity>,
}

/// Every delegated mailbox. One whose tenant did not change keeps its tokens, and what is known of its sign-in.
pub(super) fn own_ways(
    config: &Config,
    ground: &Ground,
    tenants: &[Tenant],
    before: Option<&HashMap<MailboxId, OwnWay>>,
) -> HashMap<MailboxId, OwnWay> {
    let delegated = config.mailboxes.iter().filter(|it| it.access == Access::Delegated).map(Config::mailbox_id);
    let own_way = |mailbox: MailboxId| {
        let tenant = tenants.iter().find(|it| it.config.name == mailbox.tenant)?;
        let same = before.and_then(|it| it.get(&mailbox)).filter(|it| Arc::ptr_eq(&it.identity, &tenant.identity));
        let own_way = same.cloned().unwrap_or_else(|| OwnWay::new(&mailbox, tenant, ground));
        Some((mailbox, own_way))
    };
    delegated.filter_map(own_way).collect()
}

impl OwnWay {
    fn new(mailbox: &MailboxId, tenant: &Tenant, ground: &Ground) -> Self {
        let identity = Arc::clone(&tenant.identity);
        let http = ground.ways.entra.clone();
        let grants = Arc::new(ground.store.grants(mailbox));
        let clock = Arc::clone(&ground.clock);
        let tokens = Delegated::new(mailbox.clone(), Arc::clone(&identity), grants, http.clone(), Arc::clone(&clock));
        let tokens = Arc::new(tokens);
        let options = Options { slots: ground.slots(&mailbox.tenant), ..Options::new(clock) };
        let endpoint = identity.endpoints().graph.clone();
        let shown: Arc<dyn Tokens> = Arc::clone(&tokens) as Arc<dyn Tokens>;
        let graph = Arc::new(Graph::new(endpoint, mailbox.tenant.clone(), shown, http, options));
        Self { tokens, graph, identity }
    }

    /// How its sign-in stands, for whoever asks.
    pub(super) fn sign_in(&self) -> SignIn {
        let stopped = |state, reason| SignIn { state, signed_in_at: None, refreshed_at: None, reason };
        match self.tokens.standing() {
            Standing::Unknown => stopped("unknown", None),
            Standing::SignedIn { since, refreshed_at } => SignIn {
                state: "signed_in",
                signed_in_at: shown(Some(since)),
                refreshed_at: shown(Some(refreshed_at)),
                reason: None,
            },
            Standing::Needed { reason, .. } => stopped("needs_sign_in", Some(reason)),
            Standing::Blocked { reason, .. } => stopped("blocked", Some(reason)),
        }
    }
}

impl Daemon {
    /// The tokens of a delegated mailbox; `None`: it is reached without a user.
    pub(super) fn delegated(&self, mailbox: &MailboxId) -> Option<Arc<Delegated>> {
        self.jobs.present().own_ways.get(mailbox).map(|it| Arc::clone(&it.tokens))
    }

    /// Keeps sign-ins alive and notices those made elsewhere, until the stop.
    pub(super) async fn watch_sign_ins(&self, stop: CancellationToken) {
        let watching = async {
            loop {
                let watched: Vec<_> = self.jobs.present().own_ways.values().map(|it| Arc::clone(&it.tokens)).collect();
                let watched = watched.into_iter().map(|tokens| async move {
                    if tokens.watch().await {
                        self.goes_on(tokens.mailbox()).await;
                    }
                });
                futures_util::stream::iter(watched).buffer_unordered(TOGETHER).collect::<()>().await;
                tokio::time::sleep(TURN).await;
            }
        };
        let polling = async {
            loop {
                self.poll_devices().await;
                tokio::time::sleep(TURN).await;
            }
        };
        stop.run_until_cancelled(futures_util::future::join(watching, polling)).await;
    }

    /// Somebody has signed in: what waited for that is due at once.
    pub(super) async fn goes_on(&self, mailbox: &MailboxId) {
        let now = self.now();
        let of_mailbox = || mailbox.clone();
        let jobs = vec![
            Work::Look { mailbox: of_mailbox() }.due(ahead_of_backlog(now)),
            Work::Renew { mailbox: of_mailbox() }.due(now),
            Work::Mark { mailbox: of_mailbox() }.due(now),
        ];
        let due = async {
            self.store.enqueue(jobs).await?;
            self.store.bring_forward(&Lane::mailbox(mailbox), now).await?;
            self.store.bring_forward(&Lane::sending(mailbox), now).await
        };
        if let Err(error) = due.await {
            tracing::warn!(mailbox = %mailbox, reason = %error, "What waited for the sign-in to {mailbox} waits for its own schedule");
        }
    }
}
