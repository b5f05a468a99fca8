//! Everything that is made of the configuration, as one thing that is put in the place of another whole.
//!
//! Whoever begins something takes the wiring of that moment and keeps it to the end: an attempt is made by one
//! configuration. What did not change in the configuration is the same in the next wiring, with all it remembers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::Context as _;

use super::delegated::{OwnWay, own_ways};
use super::ground::Ground;
use super::jobs::{RoutePlan, RoutePlans};
use super::routes::{content_url, first_wait, in_turn, renderings, sign_in_base};
use super::tenants::{Tenant, tenants};
use super::{callbacks, routes, sending};
use crate::config::Config;
use crate::config::limits::Unmatched;
use crate::config::route::RouteConfig;
use crate::delivery::Delivery;
use crate::graph::Graph;
use crate::http::api::Access;
use crate::inbound::{Inbound, MailboxConfig, Watched};
use crate::model::work::{Lane, MailboxId};
use crate::outbound::Outbound;

/// What is made of one configuration.
pub(super) struct Wiring {
    pub(super) config: Config,
    /// In the order of the configuration.
    pub(super) tenants: Vec<Tenant>,
    /// In the order of the configuration.
    pub(super) mailboxes: Arc<[MailboxId]>,
    /// In the order they are asked.
    pub(super) routes: Arc<[String]>,
    /// Mailboxes that are reached on behalf of their users.
    pub(super) own_ways: HashMap<MailboxId, OwnWay>,
    /// What links of sign-ins begin with.
    pub(super) sign_in_base: String,
    pub(super) inbound: Inbound,
    pub(super) delivery: Arc<Delivery>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) plans: RoutePlans,
    /// How callbacks are made, where they are configured.
    pub(super) callbacks: Option<RoutePlan>,
    pub(super) access: Arc<Access>,
    /// Whoever works in a mailbox with this wiring holds a clone of its presence.
    presences: HashMap<MailboxId, Arc<()>>,
    /// The lanes of the mailboxes.
    lanes: HashSet<Lane>,
}

impl Wiring {
    /// Wires everything the configuration names. Nothing runs yet, and nobody is talked to.
    ///
    /// # Errors
    /// Something in the configuration cannot be used as it is; the message says what and where.
    pub(super) fn build(config: Config, ground: &Ground, before: Option<&Self>) -> anyhow::Result<Self> {
        let tenants = tenants(&config, ground, before.map_or(&[], |it| &it.tenants))?;
        let (routes, plans) = routes::routes(&config, ground, before)?;
        let own_ways = own_ways(&config, ground, &tenants, before.map(|it| &it.own_ways));
        let inbound = inbound(&config, ground, (&tenants, &own_ways), &plans, before)?;
        let outbound = Arc::new(sending::outbound(&config, ground, &inbound, before)?);
        let delivery = Delivery {
            store: ground.store.clone(),
            clock: Arc::clone(&ground.clock),
            routes,
            content: ground.content.clone(),
            memory: ground.memory.clone(),
            links: ground.links.clone(),
        };
        Ok(Self {
            presences: inbound.mailboxes.keys().map(|it| (it.clone(), Arc::default())).collect(),
            lanes: inbound.mailboxes.keys().map(Lane::mailbox).collect(),
            mailboxes: config.mailboxes.iter().map(Config::mailbox_id).collect(),
            routes: config.routes.iter().map(|it| it.name.clone()).collect(),
            callbacks: callbacks::plan(&outbound),
            access: Arc::new(Access::new(&config.api_tokens, config.server.content_url.is_some())),
            delivery: Arc::new(delivery),
            sign_in_base: sign_in_base(&config, ground.admin),
            own_ways,
            tenants,
            inbound,
            outbound,
            plans,
            config,
        })
    }

    /// Whether work in this lane is known here. Work in a mailbox that is not configured is left alone.
    pub(super) fn works_in(&self, lane: &Lane) -> bool {
        lane.of_mailbox().is_none() || self.lanes.contains(lane)
    }

    /// The mailboxes that are read.
    pub(super) fn read_mailboxes(&self) -> HashSet<MailboxId> {
        let read = self.inbound.mailboxes.iter().filter(|(_, it)| it.config.receive);
        read.map(|(mailbox, _)| mailbox.clone()).collect()
    }

    /// To be held by whoever works in this mailbox.
    pub(super) fn presence(&self, mailbox: &MailboxId) -> Option<Arc<()>> {
        self.presences.get(mailbox).cloned()
    }

    /// Whether nobody works in this mailbox with this wiring, once it is not the present one any more.
    pub(super) fn is_left(&self, mailbox: &MailboxId) -> bool {
        self.presences.get(mailbox).is_none_or(|it| Arc::strong_count(it) == 1)
    }
}

/// What mailboxes that are configured no longer were reached by, where no tenant has it any more: what was set up in them is
/// taken down with that.
fn parted(
    mailboxes: &HashMap<MailboxId, Watched>,
    tenants: &[Tenant],
    before: Option<&Wiring>,
) -> HashMap<MailboxId, Arc<Graph>> {
    let Some(before) = before else { return HashMap::new() };
    let known = before.inbound.mailboxes.iter().map(|(id, it)| (id, &it.graph)).chain(&before.inbound.parted);
    let has_tenant = |id: &MailboxId| tenants.iter().any(|it| it.config.name == id.tenant);
    let is_tenants = |graph| before.tenants.iter().any(|it| Arc::ptr_eq(&it.graph, graph));
    let is_in_use = |id: &MailboxId, graph| mailboxes.contains_key(id) || has_tenant(id) && is_tenants(graph);
    let parted = known.filter(|(id, graph)| !is_in_use(id, graph));
    parted.map(|(id, graph)| (id.clone(), Arc::clone(graph))).collect()
}

fn inbound(
    config: &Config,
    ground: &Ground,
    ways: (&[Tenant], &HashMap<MailboxId, OwnWay>),
    plans: &RoutePlans,
    before: Option<&Wiring>,
) -> anyhow::Result<Inbound> {
    let mailboxes = mailboxes(config, ways, before)?;
    Ok(Inbound {
        store: ground.store.clone(),
        clock: Arc::clone(&ground.clock),
        parted: parted(&mailboxes, ways.0, before),
        mailboxes,
        tenants: ways.0.iter().map(|it| (it.config.name.clone(), Arc::clone(&it.graph))).collect(),
        hints: Arc::clone(&ground.hints),
        rules: config.routes.iter().map(RouteConfig::rule).collect(),
        renderings: renderings(config, &content_url(config, ground.admin), plans)?,
        multiple_destinations: config.routing.multiple_destinations,
        park_unmatched: config.routing.unmatched == Unmatched::Park,
        public_url: config.server.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        sync: config.sync.clone(),
        max_message_size: config.limits.max_message_size.0,
        memory: ground.memory.clone(),
        kept: Arc::clone(&ground.kept),
        first_waits: config.routes.iter().map(|it| (it.name.clone(), first_wait(it))).collect(),
        in_turn: in_turn(config),
        thread_names: ground.thread_names.clone(),
        loops: config.routing.loops(),
        removed: ground.removed.clone(),
    })
}

fn mailboxes(
    config: &Config,
    (tenants, own_ways): (&[Tenant], &HashMap<MailboxId, OwnWay>),
    before: Option<&Wiring>,
) -> anyhow::Result<HashMap<MailboxId, Watched>> {
    let graphs: HashMap<&str, _> = tenants.iter().map(|it| (it.config.name.as_str(), &it.graph)).collect();
    let mailbox = |it: &MailboxConfig| {
        let id = Config::mailbox_id(it);
        let graph = own_ways.get(&id).map(|it| &it.graph).or_else(|| graphs.get(id.tenant.as_str()).copied());
        let graph = graph.with_context(|| format!("mailbox {id}: there is no such tenant"))?;
        let silent_sweeps = before.and_then(|it| it.inbound.mailboxes.get(&id)).map(|it| Arc::clone(&it.silent_sweeps));
        let watched =
            Watched { config: it.clone(), graph: Arc::clone(graph), silent_sweeps: silent_sweeps.unwrap_or_default() };
        anyhow::Ok((id, watched))
    };
    config.mailboxes.iter().map(mailbox).collect()
}
