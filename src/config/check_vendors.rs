//! Checks on destinations that are a vendor's API: addresses, credentials, and what the vendor would refuse.

use std::collections::BTreeMap;

use url::Url;

use super::Draft;
use super::check::{has_user, is_loopback, secret};
use super::problem::Report;
use super::tree::Path;
use crate::destinations::amazon_connect;
use crate::destinations::genesys_cloud::{self, OWN_ATTRIBUTES, RESERVED_PROVIDER};
use crate::model::address::Address;

/// The longest name of an attribute.
const LONGEST_NAME: usize = 127;
/// Lengths and counts of Amazon Connect's model.
const LONGEST_INSTANCE: usize = 100;
const LONGEST_FLOW: usize = 500;
const MOST_ATTACHMENTS: u16 = 50;
/// What one route's own attributes may take in bytes; our own need the rest of what a vendor keeps.
const MOST_ATTRIBUTES: usize = 8_000;

/// `kind = "genesys_cloud"`.
pub(super) fn genesys_cloud(config: &genesys_cloud::Config, at: &Path, report: &mut Report) {
    if let Err(error) = config.urls() {
        report.wrong(&at.key(error.key), error.problem);
    }
    for (key, url) in [("login_url", &config.login_url), ("api_url", &config.api_url)] {
        if let Some(url) = url {
            address(url, &at.key(key), report);
        }
    }
    if config.client_id.trim().is_empty() {
        report.wrong(&at.key("client_id"), "is empty");
    }
    secret(at, "client_secret", config.client_secret.as_ref(), config.client_secret_file.as_ref(), report);
    match (&config.flow_id, &config.queue_id) {
        (None, None) => report.missing(
            &at.key("flow_id"),
            "is missing; set it to the inbound e-mail flow that routes conversations, or queue_id to their queue",
        ),
        (Some(_), Some(_)) => report.wrong(&at.key("queue_id"), "is set beside flow_id; keep one of the two"),
        _ => {}
    }
    if config.provider.trim().is_empty() || config.provider.eq_ignore_ascii_case(RESERVED_PROVIDER) {
        report.wrong(
            &at.key("provider"),
            format!("must be a name, and not `{RESERVED_PROVIDER}`, which is native mail's"),
        );
    }
    if config.timeout.0.is_zero() {
        report.wrong(&at.key("timeout"), "must be longer than 0s");
    }
    attributes(&config.attributes, &at.key("attributes"), report);
}

/// `kind = "amazon_connect"`.
pub(super) fn amazon_connect(config: &amazon_connect::Config, at: &Path, report: &mut Report) {
    if let Err(error) = config.url() {
        report.wrong(&at.key(error.key), error.problem);
    }
    if let Some(url) = &config.endpoint_url {
        address(url, &at.key("endpoint_url"), report);
    }
    if !(1..=LONGEST_INSTANCE).contains(&config.instance_id.len()) {
        report.wrong(&at.key("instance_id"), format!("must have 1 to {LONGEST_INSTANCE} characters"));
    }
    if Address::parse(&config.address).is_err() {
        report.wrong(&at.key("address"), "must be an e-mail address of the instance");
    }
    if config.contact_flow_id.as_ref().is_some_and(|it| !(1..=LONGEST_FLOW).contains(&it.len())) {
        report.wrong(&at.key("contact_flow_id"), format!("must have 1 to {LONGEST_FLOW} characters"));
    }
    let (key, file) = (config.secret_access_key.as_ref(), config.secret_access_key_file.as_ref());
    match &config.access_key_id {
        Some(id) => {
            if id.is_empty() || !id.chars().all(|it| it.is_ascii_alphanumeric()) {
                report.wrong(&at.key("access_key_id"), "must be letters and digits, as in AKIA…");
            }
            secret(at, "secret_access_key", key, file, report);
        }
        None if key.is_some() || file.is_some() => {
            report.missing(
                &at.key("access_key_id"),
                "is missing; set it, or remove secret_access_key to use AWS's own places",
            );
        }
        None => {}
    }
    if !(1..=MOST_ATTACHMENTS).contains(&config.max_attachments) {
        report.wrong(&at.key("max_attachments"), format!("must be 1 to {MOST_ATTACHMENTS}"));
    }
    if config.timeout.0.is_zero() {
        report.wrong(&at.key("timeout"), "must be longer than 0s");
    }
    attributes(&config.attributes, &at.key("attributes"), report);
}

/// The vendor fetches attachments itself, so it must be able to.
pub(super) fn content_url(draft: &Draft, at: &Path, report: &mut Report) {
    if draft.server.as_ref().is_some_and(|it| it.content_url.is_none()) {
        report.wrong(at, "takes attachments by link; set server.content_url to where AWS reaches the private listener");
    }
}

/// Attributes of a person's own, as a vendor can keep them.
pub(super) fn attributes(attributes: &BTreeMap<String, String>, at: &Path, report: &mut Report) {
    for name in attributes.keys() {
        let is_plain = name.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_'));
        if name.is_empty() || name.len() > LONGEST_NAME || !is_plain {
            report.wrong(&at.key(name), format!("must be named with 1 to {LONGEST_NAME} letters, digits, `-` and `_`"));
        } else if name.starts_with(OWN_ATTRIBUTES) {
            report.wrong(&at.key(name), format!("must not begin with `{OWN_ATTRIBUTES}`, as Mailspan's own do"));
        }
    }
    let size: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MOST_ATTRIBUTES {
        report.wrong(at, format!("takes {size} bytes with its names; there is room for {MOST_ATTRIBUTES}"));
    }
}

/// Secrets and mail go there.
fn address(url: &Url, at: &Path, report: &mut Report) {
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(url) => {}
        _ => report.wrong(at, "must begin with https://"),
    }
    if has_user(url) || url.query().is_some() || url.fragment().is_some() {
        report.wrong(at, "must be scheme, host and path only");
    }
}
