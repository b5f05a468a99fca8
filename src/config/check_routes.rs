//! Checks on routes: names, schedules, and destinations that could never accept anything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use super::check::{NAME, has_user, is_loopback, is_name, secret};
use super::problem::Report;
use super::route::RouteConfig;
use super::tree::Path;
use super::{Draft, check_vendors};
use crate::destinations;
use crate::destinations::body::{Content, Format};
use crate::destinations::webhook::{self, OneOrMany};
use crate::model::secret::Secret;

/// The length of a signing key in bytes (Standard Webhooks, "Signature scheme").
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

pub(super) fn routes(draft: &Draft, report: &mut Report) {
    let root = Path::default().key("routes");
    if draft.routes.is_empty() {
        report.missing(&root, "no route is configured, so mail has nowhere to go; add [[routes]] with a destination");
    }
    let mut first = HashMap::new();
    let mut catch_all = None;
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
        mailboxes(route, draft, &at, report);
        sizes(route, draft, &at, report);
        let at_destination = at.key("destination");
        match &route.destination {
            destinations::Config::Webhook(config) => {
                webhook(config, &at_destination, report);
                linked(config, draft, &at_destination, report);
            }
            destinations::Config::GenesysCloud(config) => {
                check_vendors::genesys_cloud(config, &at_destination, report);
                check_vendors::attributes(&route.attributes, &at.key("attributes"), report);
                reachable_links(draft, &at_destination.key("kind"), report);
            }
            destinations::Config::AmazonConnect(config) => {
                check_vendors::amazon_connect(config, &at_destination, report);
                check_vendors::attributes(&route.attributes, &at.key("attributes"), report);
                check_vendors::content_url(draft, &at_destination.key("kind"), report);
            }
            destinations::Config::Maildir(_) => {}
        }
    }
}

fn takes_everything(route: &RouteConfig) -> bool {
    let lists = route.recipients.is_empty() && route.mailboxes.is_empty() && route.senders.is_empty();
    lists && route.subject.is_none() && route.kinds.is_empty() && route.has_attachments.is_none()
}

fn mailboxes(route: &RouteConfig, draft: &Draft, at: &Path, report: &mut Report) {
    if draft.mailboxes.iter().any(Option::is_none) {
        return;
    }
    for (index, pattern) in route.mailboxes.iter().enumerate() {
        if !draft.mailboxes.iter().flatten().any(|it| pattern.matches(&it.address)) {
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

fn webhook(config: &webhook::Config, at: &Path, report: &mut Report) {
    url(config, &at.key("url"), report);
    if config.timeout.0.is_zero() {
        report.wrong(&at.key("timeout"), "must be longer than 0s");
    }
    let values = several(config.signing_secret.as_ref());
    let files = several(config.signing_secret_file.as_ref());
    signing_secrets(at, values, files, report);
}

fn linked(config: &webhook::Config, draft: &Draft, at: &Path, report: &mut Report) {
    if config.content != Content::Link {
        return;
    }
    let at = at.key("content");
    if config.format == Format::Mime {
        let says = "cannot be `link` with format = \"mime\", whose body is the mail with all that is in it; write \
                    format = \"json\" or \"cloudevents\", or content = \"inline\"";
        report.wrong(&at, says);
    }
    reachable_links(draft, &at, report);
}

/// Warns where the links a receiver gets lead to this machine only.
fn reachable_links(draft: &Draft, at: &Path, report: &mut Report) {
    let Some(server) = &draft.server else { return };
    if server.content_url.is_none() && server.admin_listen.ip().is_loopback() {
        let says = format!(
            "leads to http://{}, which only this machine reaches; set server.content_url to where receivers reach the private listener",
            server.admin_listen
        );
        report.warn(at, says);
    }
}

fn url(config: &webhook::Config, at: &Path, report: &mut Report) {
    match config.url.scheme() {
        "https" => {}
        "http" if is_loopback(&config.url) => {}
        "http" => report.warn(at, "is not https: interactions travel unencrypted"),
        _ => report.wrong(at, "must begin with https:// or http://"),
    }
    if has_user(&config.url) {
        report.wrong(at, "must not carry a user name or password; interactions are signed instead");
    }
    if is_private(&config.url) && !config.allow_private_networks {
        report.wrong(at, "leads into a private network; set allow_private_networks = true beside it if that is meant");
    }
}

/// The values of a key that takes one or several; `None` when it is not set.
fn several<T>(value: Option<&OneOrMany<T>>) -> Option<Vec<&T>> {
    value.map(|it| match it {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many.iter().collect(),
    })
}

fn signing_secrets(at: &Path, values: Option<Vec<&Secret>>, files: Option<Vec<&PathBuf>>, report: &mut Report) {
    let key = if files.is_some() { "signing_secret_file" } else { "signing_secret" };
    if let (Some(_), None) | (None, Some(_)) = (&values, &files)
        && values.iter().map(Vec::len).chain(files.iter().map(Vec::len)).all(|count| count == 0)
    {
        report.missing(&at.key(key), "is an empty list; it needs at least one secret");
        return;
    }
    // With both keys, or with neither, one look says all there is to say.
    let pairs: Vec<(Option<&Secret>, Option<&PathBuf>)> = match (values, files) {
        (Some(values), None) => values.into_iter().map(|it| (Some(it), None)).collect(),
        (None, Some(files)) => files.into_iter().map(|it| (None, Some(it))).collect(),
        (values, files) => vec![(values.and_then(|it| it.first().copied()), files.and_then(|it| it.first().copied()))],
    };
    for (value, file) in pairs {
        let found = secret(at, "signing_secret", value, file, report);
        if found.is_some_and(|it| !is_signing_secret(it.expose())) {
            let message = "is no signing secret: write whsec_ and the base64 of 24 to 64 random bytes, as \
                           `openssl rand -base64 32` makes them";
            report.wrong(&at.key(key), message);
        }
    }
}

fn is_signing_secret(text: &str) -> bool {
    let key = text.trim().strip_prefix("whsec_").and_then(|it| STANDARD.decode(it).ok());
    key.is_some_and(|it| KEY_BYTES.contains(&it.len()))
}

/// Whether the URL names a private address itself. What a name leads to is looked at when it is used.
fn is_private(url: &Url) -> bool {
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical(),
        Some(Host::Domain(_)) | None => return is_loopback(url),
    };
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signing_secret_is_whsec_and_24_to_64_bytes() {
        let secret = |length: usize| format!("whsec_{}", STANDARD.encode(vec![7; length]));
        for (text, expected) in [
            (secret(23), false),
            (secret(24), true),
            (secret(64), true),
            (secret(65), false),
            (format!(" {}\n", secret(32)), true),
            (secret(32).replace("whsec_", ""), false),
            ("whsec_".into(), false),
            ("whsec_!!!!".into(), false),
        ] {
            assert_eq!(is_signing_secret(&text), expected, "{text}");
        }
    }

    #[test]
    fn an_address_of_a_private_network_is_known_as_such() {
        for (url, expected) in [
            ("https://10.0.0.1", true),
            ("https://192.168.1.1", true),
            ("https://169.254.169.254", true),
            ("https://localhost", true),
            ("https://[::1]", true),
            ("https://[fd00::1]", true),
            ("https://[::ffff:10.0.0.1]", true),
            ("https://0.0.0.0", true),
            ("https://8.8.8.8", false),
            ("https://flows.example.com", false),
            ("https://[2001:db8::1]", false),
        ] {
            assert_eq!(is_private(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
