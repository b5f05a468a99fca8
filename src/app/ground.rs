//! What lives as long as the daemon, whatever becomes of the configuration: the store, the ways out, and every memory
//! that must not be lost because somebody changed a key.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

use super::keys;
use crate::config::Config;
use crate::delivery::Content;
use crate::egress::Egress;
use crate::graph::Slots;
use crate::identity::Ways;
use crate::inbound::hints::Hints;
use crate::inbound::{Removed, loops};
use crate::mail::kept::KeptMail;
use crate::memory::Budget;
use crate::model::clock::SharedClock;
use crate::model::link::LinkKey;
use crate::model::thread::ThreadNames;
use crate::outbound::{OwnIds, Troubles, UploadPace};
use crate::store::Store;

/// The part of the memory budget that may hold mail ready for several routes.
const KEPT_SHARE: u64 = 8;
/// The store's secret that signs links to content.
const LINKS: &str = "links";

/// What every wiring stands on.
pub(super) struct Ground {
    pub(super) store: Store,
    pub(super) clock: SharedClock,
    pub(super) egress: Egress,
    pub(super) ways: Ways,
    pub(super) hints: Arc<Hints>,
    pub(super) memory: Budget,
    pub(super) kept: Arc<KeptMail>,
    pub(super) content: Content,
    pub(super) links: LinkKey,
    pub(super) thread_names: ThreadNames,
    pub(super) removed: Removed,
    pub(super) uploads: UploadPace,
    pub(super) troubles: Troubles,
    pub(super) own_ids: OwnIds,
    /// Where the private listener stands.
    pub(super) admin: SocketAddr,
    /// Room for calls, by tenant.
    slots: Mutex<HashMap<String, Slots>>,
}

impl Ground {
    /// Opens the store and makes the ways out.
    ///
    /// # Errors
    /// The store or a way out is of no use; the message names the key.
    pub(super) async fn open(config: &Config, clock: SharedClock, admin: SocketAddr) -> anyhow::Result<Self> {
        let seal = keys::seal(&config.store)?;
        let store = Store::open_sealed(&config.store.url, Arc::clone(&clock), seal).await.context("store.url")?;
        let egress = Egress::new(&config.egress)?;
        let ways =
            Ways { entra: egress.finish(egress.client()?)?, platform: egress.finish(egress.client()?.no_proxy())? };
        let hints = Arc::new(Hints::default());
        for state in store.mailboxes().await? {
            if let Some(known) = state.subscription {
                hints.expect(&known.id, &state.mailbox, known.client_state);
            }
        }
        let budget = config.limits.memory_budget.0;
        let kept = Arc::new(KeptMail::new(usize::try_from(budget / KEPT_SHARE).unwrap_or(usize::MAX)));
        Ok(Self {
            links: LinkKey::new(&store.secret(LINKS).await?),
            thread_names: loops::thread_names(&store).await.context("store.url")?,
            content: Content::new(Arc::clone(&kept)),
            memory: Budget::new(budget),
            removed: Removed::default(),
            uploads: UploadPace::default(),
            troubles: Troubles::default(),
            own_ids: OwnIds::default(),
            slots: Mutex::default(),
            store,
            clock,
            egress,
            ways,
            hints,
            kept,
            admin,
        })
    }

    /// Room for the calls of this tenant: the same for whoever asks, so that new credentials bring no more calls.
    pub(super) fn slots(&self, tenant: &str) -> Slots {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(tenant.to_owned()).or_default().clone()
    }
}
