//! The routes, wired: their destinations, how their jobs are attempted, and what their deliveries are made of.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::ground::Ground;
use super::jobs::{RoutePlan, RoutePlans};
use super::wiring::Wiring;
use crate::config::Config;
use crate::config::route::{Order, RouteConfig};
use crate::delivery::{Rendering, Route};
use crate::destinations::{self, Destination};

/// Every configured route, ready for deliveries, and how its jobs are attempted. A destination that did not change keeps
/// its connections and its tokens.
pub(super) fn routes(
    config: &Config,
    ground: &Ground,
    before: Option<&Wiring>,
) -> anyhow::Result<(HashMap<String, Route>, RoutePlans)> {
    let (mut routes, mut plans) = (HashMap::new(), HashMap::new());
    for route in &config.routes {
        let destination = match before.and_then(|it| same_destination(it, route)) {
            Some(same) => same,
            None => destinations::build(&route.destination, &ground.egress, Arc::clone(&ground.clock))
                .with_context(|| format!("route {}", route.name))?,
        };
        let plan = RoutePlan::new(u32::from(route.concurrency.get()), destination.timeout(), route.backoff());
        plans.insert(route.name.clone(), plan);
        let max_message_size = route.max_message_size.0;
        routes.insert(route.name.clone(), Route { destination, max_message_size });
    }
    Ok((routes, plans))
}

fn same_destination(before: &Wiring, route: &RouteConfig) -> Option<Arc<dyn Destination>> {
    let known = before.config.routes.iter().find(|it| it.name == route.name)?;
    let known = (known.destination == route.destination).then_some(known)?;
    before.delivery.routes.get(&known.name).map(|it| Arc::clone(&it.destination))
}

/// The routes that take the mails of a conversation one after the other.
pub(super) fn in_turn(config: &Config) -> HashSet<String> {
    config.routes.iter().filter(|it| it.order == Order::Thread).map(|it| it.name.clone()).collect()
}

/// The wait before a route's first attempt: the first step of its schedule.
pub(super) fn first_wait(route: &RouteConfig) -> i64 {
    route.retry.first().map_or(0, |step| step.millis())
}

/// What each route's deliveries must know whatever the configuration says by the time they are attempted.
pub(super) fn renderings(
    config: &Config,
    content_url: &str,
    plans: &RoutePlans,
) -> anyhow::Result<HashMap<String, serde_json::Value>> {
    let base = (content_url, config.server.content_url.is_some());
    let rendering = |route: &RouteConfig| {
        let schedule = plans.get(&route.name).map_or(Duration::ZERO, RoutePlan::longest);
        let schedule_ms = i64::try_from(schedule.as_millis()).unwrap_or(i64::MAX);
        let rendering = Rendering {
            headers: route.wanted_headers(),
            remote_images: route.remote_images,
            attributes: route.attributes.clone(),
            ..Rendering::new(route.destination.body(), schedule_ms, base)
        };
        anyhow::Ok((route.name.clone(), serde_json::to_value(rendering)?))
    };
    config.routes.iter().map(rendering).collect()
}

/// What links to content begin with: as configured, else the private listener's own address.
pub(super) fn content_url(config: &Config, admin: SocketAddr) -> String {
    let configured = config.server.content_url.as_ref().map(|it| it.as_str().trim_end_matches('/').to_owned());
    configured.unwrap_or_else(|| {
        // A listener on every address is reached by none of that name.
        let ip = match admin.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        format!("http://{}", SocketAddr::new(ip, admin.port()))
    })
}

/// What the links of sign-ins begin with. Entra takes this machine under one name only: localhost
/// (learn.microsoft.com/entra/identity-platform/reply-url).
pub(super) fn sign_in_base(config: &Config, admin: SocketAddr) -> String {
    match config.server.content_url {
        Some(_) => content_url(config, admin),
        None => format!("http://localhost:{}", admin.port()),
    }
}
