//! What is wrong with a set-up, and what to do: ten steps from the clock to the public URL, and a probe mail if asked for.
//!
//! Asks Microsoft and the bridge's own URL, not the store, so it works beside a running daemon and without one. What
//! depends on a failed step is skipped and says so: the first failure is the cause. What it makes it removes again.

mod claims;
mod codes;
mod credentials;
mod delegated;
mod finding;
mod lasting;
mod mailbox;
mod network;
mod public_url;
mod removal;
mod round_trip;
mod subscriptions;
mod tenant;
mod trouble;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

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
    /// Cancelled by whoever wants it to end early.
    pub stop: CancellationToken,
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

impl Mailbox {
    /// The folders in which mail that comes to it lies, sooner and later.
    fn places(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.folder.as_str()).chain(self.move_to.as_deref())
    }
}

/// Looks at everything. Each finding is said as soon as those before it are; all are returned.
pub async fn examine(setup: &Setup, mut say: impl FnMut(&Finding)) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    let mut tell = |found: Vec<Finding>| {
        found.iter().for_each(&mut say);
        all.extend(found);
    };
    let walked = walk(setup, &mut tell).await;
    if walked.is_none() {
        let at = all.last().map_or(Step::Clock, |it| it.step);
        let stopped = Finding::of(&codes::STOPPED, at, "bridge", Vec::new());
        say(&stopped);
        all.push(stopped);
    }
    all
}

/// The steps, one after the other; `None`: it was stopped. What only reads is dropped then, what has written something comes
/// to its end.
async fn walk(setup: &Setup, tell: &mut impl FnMut(Vec<Finding>)) -> Option<()> {
    let stop = &setup.stop;
    let (hosts, found) = stop.run_until_cancelled(tenant::hosts(setup)).await?;
    tell(found);

    let mut served: Vec<Option<Served>> = Vec::new();
    let mut late: Vec<Finding> = Vec::new();
    let mut looks = stream::iter(setup.tenants.iter().map(|it| tenant::look(setup, it, &hosts))).buffered(AT_ONCE);
    while let Some(Looked { found, configured, served: one }) = stop.run_until_cancelled(looks.next()).await? {
        tell(found);
        late.extend(configured);
        served.push(one);
    }
    drop(looks);

    let own: Vec<Vec<Option<Served>>> = setup.tenants.iter().map(|it| delegated::served(setup, it, &hosts)).collect();
    let pairs = pairs(setup, &served, &own);
    // All are read first: what is denied in one is judged by whether others can be read.
    let reads = stream::iter(pairs.iter().map(|(_, mailbox, by)| async move {
        match by {
            Some(by) => Some(by.graph.folder(&mailbox.address, &mailbox.folder).await),
            None => None,
        }
    }));
    let reads: Vec<Read> = stop.run_until_cancelled(reads.buffered(AT_ONCE).collect()).await?;
    let readable = readable(&pairs, &reads);
    let mut travellers = Vec::new();
    let looks = pairs.iter().zip(&reads).take_while(|_| !stop.is_cancelled()).map(|((tenant, mailbox, by), read)| {
        let others_work = readable.contains(tenant.config.name.as_str());
        tenant::mailbox(setup, tenant, mailbox, by.zip(read.as_ref()), others_work)
    });
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    while let Some(found) = looks.next().await {
        travellers.push(!found.iter().any(Finding::is_fail));
        tell(found);
    }
    drop(looks);
    go_on(stop)?;

    if let Some(public_url) = &setup.public_url {
        let is_heard = pairs.iter().any(|(tenant, mailbox, by)| tenant::is_heard(setup, tenant, mailbox, *by));
        let look = public_url::look(public_url, &setup.egress, setup.clock.now(), is_heard);
        tell(stop.run_until_cancelled(look).await?);
    }
    tell(late);
    if let Some(round_trip) = &setup.round_trip {
        let trips = pairs.iter().zip(travellers).take_while(|_| !stop.is_cancelled());
        let trips = trips.map(|((tenant, mailbox, by), is_well)| {
            let ground = by.filter(|_| is_well).map(|it| it.ground(tenant));
            round_trip::travel(mailbox, ground, by.map(|it| &it.graph), round_trip, &setup.clock, stop)
        });
        let mut trips = stream::iter(trips).buffered(AT_ONCE);
        while let Some(found) = trips.next().await {
            tell(found);
        }
    }
    go_on(stop)
}

/// `None` once it was stopped.
fn go_on(stop: &CancellationToken) -> Option<()> {
    (!stop.is_cancelled()).then_some(())
}

/// A mailbox, its tenant, and by whom Graph is asked about it.
type Pair<'a> = (&'a Tenant, &'a Mailbox, Option<&'a Served>);
/// What came of reading a mailbox; `None` where nobody could be asked.
type Read = Option<Result<Folder, GraphError>>;

fn pairs<'a>(setup: &'a Setup, served: &'a [Option<Served>], own: &'a [Vec<Option<Served>>]) -> Vec<Pair<'a>> {
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    for (tenant, (served, own)) in setup.tenants.iter().zip(served.iter().zip(own)) {
        for (mailbox, own) in tenant.mailboxes.iter().zip(own) {
            let by = if matches!(mailbox.reach, Reach::Application) { served } else { own };
            pairs.push((tenant, mailbox, by.as_ref()));
        }
    }
    pairs
}

/// The tenants by whose own token a mailbox can be read.
fn readable<'a>(pairs: &[Pair<'a>], reads: &[Read]) -> HashSet<&'a str> {
    let by_own =
        |(_, mailbox, _): &Pair<'a>, read: &Read| matches!((&mailbox.reach, read), (Reach::Application, Some(Ok(_))));
    let readable = pairs.iter().zip(reads).filter(|(pair, read)| by_own(pair, read));
    readable.map(|((tenant, ..), _)| tenant.config.name.as_str()).collect()
}
