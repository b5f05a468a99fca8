//! Checks on routes: names, schedules, and destinations that could never accept anything.

use std::collections::{HashMap, HashSet};

use super::check::{NAME, is_name};
#[cfg(any(feature = "nats", feature = "amqp", feature = "kafka", feature = "object_store"))]
use super::check_buses;
use super::problem::Report;
use super::route::RouteConfig;
use super::tree::Path;
use super::{Draft, check_smtp, check_vendors, check_webhook};
use crate::destinations;

pub(super) fn routes(draft: &Draft, report: &mut Report) {
    let root = Path::default().key("routes");
    let watched = draft.mailboxes.iter().any(|it| it.as_ref().is_none_or(|it| it.receive));
    if draft.routes.is_empty() && (watched || draft.mailboxes.is_empty()) {
        report.missing(&root, "no route is configured, so mail has nowhere to go; add [[routes]] with a destination");
    }
    let mut first = HashMap::new();
    let mut catch_all = None;
    let known = draft.mailboxes.iter().flatten().map(|it| it.address.as_str()).collect();
    for (index, route) in draft.routes.iter().enumerate() {
        let (at, Some(route)) = (root.index(index), route) else { continue };
        if !is_name(&route.name) {
            report.wrong(&at.key("name"), NAME);
        }
        if let Some(first) = first.insert(route.name.as_str(), index) {
            report.wrong(&at.key("name"), format!("`{}` is taken by routes[{first}]; choose another", route.name));
        }
        if route.retry.is_empty() {
            report
                .missing(&at.key("retry"), "is empty; it needs at least one step, as in [\"0s\"] for a single attempt");
        }
        if let Some(name) = catch_all {
            report
                .warn(&at, format!("is never reached: `{name}` before it takes everything, and only the first counts"));
        }
        let only_first = draft.routing.as_ref().is_some_and(|it| !it.multiple_destinations);
        if only_first && catch_all.is_none() && takes_everything(route) {
            catch_all = Some(&route.name);
        }
        mailboxes(route, draft, &known, &at, report);
        sizes(route, draft, &at, report);
        let of_route = &at;
        let at = at.key("destination");
        match &route.destination {
            destinations::Config::Webhook(config) => check_webhook::webhook(config, draft, &at, report),
            destinations::Config::Smtp(config) => check_smtp::relay(config, &at, report),
            destinations::Config::GenesysCloud(config) => {
                check_vendors::genesys_cloud(config, &at, report);
                check_vendors::attributes(&route.attributes, &of_route.key("attributes"), report);
                check_webhook::reachable_links(draft, &at.key("kind"), report);
            }
            destinations::Config::AmazonConnect(config) => {
                check_vendors::amazon_connect(config, &at, report);
                check_vendors::attributes(&route.attributes, &of_route.key("attributes"), report);
                check_vendors::content_url(draft, &at.key("kind"), report);
            }
            destinations::Config::Maildir(_) => {}
            #[cfg(feature = "nats")]
            destinations::Config::Nats(config) => check_buses::nats(config, draft, &at, report),
            #[cfg(feature = "amqp")]
            destinations::Config::Amqp(config) => check_buses::amqp(config, draft, &at, report),
            #[cfg(feature = "kafka")]
            destinations::Config::Kafka(config) => check_buses::kafka(config, draft, &at, report),
            #[cfg(feature = "object_store")]
            destinations::Config::ObjectStore(config) => check_buses::object_store(config, draft, &at, report),
        }
    }
}

fn takes_everything(route: &RouteConfig) -> bool {
    let lists = route.recipients.is_empty() && route.mailboxes.is_empty() && route.senders.is_empty();
    lists && route.subject.is_none() && route.kinds.is_empty() && route.has_attachments.is_none()
}

/// `known` holds the addresses of all mailboxes: of thousands most routes name some, and few use a wildcard.
fn mailboxes(route: &RouteConfig, draft: &Draft, known: &HashSet<&str>, at: &Path, report: &mut Report) {
    if draft.mailboxes.iter().any(Option::is_none) {
        return;
    }
    for (index, pattern) in route.mailboxes.iter().enumerate() {
        let is_named = known.contains(pattern.as_str());
        if !is_named && !draft.mailboxes.iter().flatten().any(|it| pattern.matches(&it.address)) {
            let at = at.key("mailboxes");
            report.warn(
                &at.index(draft.values.nth_present(&at, index).unwrap_or(index)),
                "matches no configured mailbox",
            );
        }
    }
}

fn sizes(route: &RouteConfig, draft: &Draft, at: &Path, report: &mut Report) {
    let Some(limits) = &draft.limits else { return };
    if route.max_message_size > limits.max_message_size {
        let message = format!("is more than limits.max_message_size ({}), which holds first", limits.max_message_size);
        report.warn(&at.key("max_message_size"), message);
    }
}
