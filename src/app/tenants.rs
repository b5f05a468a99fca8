//! The tenants, wired: each with its tokens and its Graph.

use std::sync::Arc;

use anyhow::Context as _;

use super::ground::Ground;
use crate::config::Config;
use crate::graph::{Graph, Options};
use crate::identity::Identity;
use crate::identity::config::TenantConfig;
use crate::model::token::Tokens;

/// One tenant: its tokens and its Graph.
#[derive(Clone)]
pub(super) struct Tenant {
    pub(super) config: TenantConfig,
    pub(super) identity: Arc<Identity>,
    pub(super) graph: Arc<Graph>,
}

impl Tenant {
    fn new(config: &TenantConfig, ground: &Ground) -> anyhow::Result<Self> {
        let identity = Identity::new(config, ground.ways.clone(), Arc::clone(&ground.clock))
            .with_context(|| format!("tenant {}", config.name))?;
        let identity = Arc::new(identity);
        let tokens: Arc<dyn Tokens> = Arc::clone(&identity) as Arc<dyn Tokens>;
        let endpoint = identity.endpoints().graph.clone();
        let options = Options { slots: ground.slots(&config.name), ..Options::new(Arc::clone(&ground.clock)) };
        let graph = Graph::new(endpoint, config.name.clone(), tokens, ground.ways.entra.clone(), options);
        Ok(Self { config: config.clone(), identity, graph: Arc::new(graph) })
    }
}

/// Every configured tenant. One that did not change keeps its tokens, and what is known of its credentials.
///
/// # Errors
/// No token can be had with what a tenant has.
pub(super) fn tenants(config: &Config, ground: &Ground, before: &[Tenant]) -> anyhow::Result<Vec<Tenant>> {
    let tenant = |it: &TenantConfig| match before.iter().find(|before| before.config == *it) {
        Some(same) => Ok(same.clone()),
        None => Tenant::new(it, ground),
    };
    config.tenants.iter().map(tenant).collect()
}
