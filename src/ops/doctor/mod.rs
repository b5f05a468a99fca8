//! What is wrong with a set-up, and what to do: ten steps from the clock to the public URL, and a probe mail if asked for.
//!
//! Asks Microsoft and the bridge's own URL, not the store, so it works beside a running daemon and without one. What
//! depends on a failed step is skipped and says so: the first failure is the cause. What it makes it removes again.

mod claims;
mod codes;
mod credentials;
mod delegated;
mod finding;
mod mailbox;
mod network;
mod public_url;
mod removal;
mod round_trip;
mod subscriptions;
mod tenant;
mod trouble;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;

pub use self::claims::Needs;
pub use self::codes::all;
pub use self::credentials::unusable;
pub use self::finding::{Entry, Finding, OK, SKIPPED, State, Step};
pub use self::public_url::{PublicUrl, StandIn};
pub use self::round_trip::Journeys;
use self::tenant::{Looked, Served};
use crate::egress::Egress;
use crate::graph::{Folder, GraphError};
use crate::identity::config::TenantConfig;
use crate::model::address::Address;
use crate::model::clock::SharedClock;
use crate::model::token::{AccessToken, TokenError, Tokens};

/// So many hosts, tenants and mailboxes are asked at once: quick with thousands, and no burst for Graph.
const AT_ONCE: usize = 16;

/// What is looked at.
pub struct Setup {
    /// The tenants, with the mailboxes that were asked for.
    pub tenants: Vec<Tenant>,
    /// How requests leave this machine.
    pub egress: Egress,
    /// The time.
    pub clock: SharedClock,
    /// The public URL; `None` where nothing is pushed.
    pub public_url: Option<PublicUrl>,
    /// Where the running daemon's private listener is; `None` where none answers.
    pub daemon: Option<String>,
    /// The mailboxes, as `tenant/address`, whose mail is pushed to it, as it says itself.
    pub pushed: HashSet<String>,
    /// Whether and how a probe mail is sent.
    pub round_trip: Option<RoundTrip>,
}

/// How a probe mail is followed.
pub struct RoundTrip {
    /// Who tells its journey; `None` without a daemon.
    pub journeys: Option<Box<dyn Journeys>>,
    /// How long it may take to arrive, and how long from there to be handed over.
    pub wait: Duration,
}

/// One tenant of it.
pub struct Tenant {
    /// As configured.
    pub config: TenantConfig,
    /// Its mailboxes that are asked for.
    pub mailboxes: Vec<Mailbox>,
    /// Whether a mailbox of it, asked for or not, is written to without a user; and whether one is sent from.
    pub needs: Needs,
}

/// How a mailbox is reached.
pub enum Reach {
    /// Without a user: by the tenant's own token.
    Application,
    /// On behalf of its user.
    User {
        /// The token of the sign-in, or why there is none.
        token: Result<AccessToken, TokenError>,
        /// Who renews it.
        tokens: Arc<dyn Tokens>,
    },
    /// On behalf of its user, whose sign-in the running daemon holds: what its `/health` says of the mailbox.
    Daemon(Value),
}

/// One mailbox of it.
pub struct Mailbox {
    /// Its address.
    pub address: Address,
    /// The folder that is watched.
    pub folder: String,
    /// The folder that delivered mail is moved to, if it is.
    pub move_to: Option<String>,
    /// Whether mail is read from it.
    pub receive: bool,
    /// Whether mail is sent from it.
    pub send: bool,
    /// Whether anything is written into it: marks, moves, drafts.
    pub write: bool,
    /// How it is reached.
    pub reach: Reach,
}

/// Looks at everything. Each finding is said as soon as those before it are; all are returned.
pub async fn examine(setup: &Setup, mut say: impl FnMut(&Finding)) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    let mut tell = |found: Vec<Finding>| {
        found.iter().for_each(&mut say);
        all.extend(found);
    };
    let (hosts, found) = tenant::hosts(setup).await;
    tell(found);

    let mut served: Vec<Option<Served>> = Vec::new();
    let mut late: Vec<Finding> = Vec::new();
    let mut looks = stream::iter(setup.tenants.iter().map(|it| tenant::look(setup, it, &hosts))).buffered(AT_ONCE);
    while let Some(Looked { found, configured, served: one }) = looks.next().await {
        tell(found);
        late.extend(configured);
        served.push(one);
    }
    drop(looks);

    let own: Vec<Vec<Option<Served>>> = setup.tenants.iter().map(|it| delegated::served(setup, it, &hosts)).collect();
    let mut pairs: Vec<(&Tenant, &Mailbox, Option<&Served>)> = Vec::new();
    for (tenant, (served, own)) in setup.tenants.iter().zip(served.iter().zip(&own)) {
        for (mailbox, own) in tenant.mailboxes.iter().zip(own) {
            let by = if matches!(mailbox.reach, Reach::Application) { served } else { own };
            pairs.push((tenant, mailbox, by.as_ref()));
        }
    }
    // All are read first: what is denied in one is judged by whether others can be read.
    let reads: Vec<Option<Result<Folder, GraphError>>> =
        stream::iter(pairs.iter().map(|(_, mailbox, served)| async move {
            match served {
                Some(served) => Some(served.graph.folder(&mailbox.address, &mailbox.folder).await),
                None => None,
            }
        }))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut readable: HashMap<&str, usize> = HashMap::new();
    for ((tenant, mailbox, _), read) in pairs.iter().zip(&reads) {
        let is_one = matches!((&mailbox.reach, read), (Reach::Application, Some(Ok(_))));
        *readable.entry(&tenant.config.name).or_default() += usize::from(is_one);
    }
    let mut travellers = Vec::new();
    let mut looks = stream::iter(pairs.iter().zip(&reads).map(|((tenant, mailbox, served), read)| {
        let others_work = readable.get(tenant.config.name.as_str()).is_some_and(|it| *it > 0);
        tenant::mailbox(setup, tenant, mailbox, served.zip(read.as_ref()), others_work)
    }))
    .buffered(AT_ONCE);
    while let Some(found) = looks.next().await {
        travellers.push(!found.iter().any(Finding::is_fail));
        tell(found);
    }
    drop(looks);

    if let Some(public_url) = &setup.public_url {
        let is_heard = pairs.iter().any(|(tenant, mailbox, by)| tenant::is_heard(setup, tenant, mailbox, *by));
        tell(public_url::look(public_url, &setup.egress, setup.clock.now(), is_heard).await);
    }
    tell(late);
    if let Some(round_trip) = &setup.round_trip {
        let trips = pairs.iter().zip(travellers).map(|((tenant, mailbox, served), is_well)| {
            let ground = served.filter(|_| is_well).map(|it| it.ground(tenant));
            round_trip::travel(mailbox, ground, served.map(|it| &it.graph), round_trip, &setup.clock)
        });
        let mut trips = stream::iter(trips).buffered(AT_ONCE);
        while let Some(found) = trips.next().await {
            tell(found);
        }
    }
    all
}
