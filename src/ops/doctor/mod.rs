//! What is wrong with a set-up, and what to do: ten steps from the clock to the public URL, and a probe mail if asked for.
//!
//! Asks Microsoft and the bridge's own URL, never the store, so it works beside a running daemon and without one. What
//! depends on a failed step is skipped and says so: the first failure is the cause. It leaves nothing behind.

mod claims;
mod codes;
mod credentials;
mod finding;
mod mailbox;
mod network;
mod public_url;
mod round_trip;
mod subscriptions;
mod tenant;
mod trouble;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

pub use self::codes::all;
pub use self::credentials::unusable;
pub use self::finding::{Entry, Finding, OK, SKIPPED, State, Step};
pub use self::public_url::PublicUrl;
pub use self::round_trip::Journeys;
use self::tenant::{Looked, Served};
use crate::egress::Egress;
use crate::graph::{Folder, GraphError};
use crate::identity::config::TenantConfig;
use crate::model::address::Address;
use crate::model::clock::SharedClock;

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
    /// Its mailboxes.
    pub mailboxes: Vec<Mailbox>,
}

/// One mailbox of it.
#[derive(Debug, Clone)]
pub struct Mailbox {
    /// Its address.
    pub address: Address,
    /// The folder that is watched.
    pub folder: String,
    /// Whether mail is read from it.
    pub receive: bool,
    /// Whether mail is sent from it.
    pub send: bool,
    /// Whether anything is written into it: marks, moves, drafts.
    pub write: bool,
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

    let pairs: Vec<(&Tenant, &Mailbox, Option<&Served>)> = setup
        .tenants
        .iter()
        .zip(&served)
        .flat_map(|(tenant, served)| tenant.mailboxes.iter().map(move |it| (tenant, it, served.as_ref())))
        .collect();
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
    for ((tenant, ..), read) in pairs.iter().zip(&reads) {
        *readable.entry(&tenant.config.name).or_default() += usize::from(matches!(read, Some(Ok(_))));
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
        tell(public_url::look(public_url, &setup.egress, setup.clock.now()).await);
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
