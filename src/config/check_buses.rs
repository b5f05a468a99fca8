//! Checks on buses and stores: places that can be one, logins that are whole, links somebody can follow.

use super::Draft;
#[cfg(any(feature = "nats", feature = "amqp", feature = "kafka"))]
use super::check::secret;
use super::check_webhook::reachable_links;
use super::problem::Report;
use super::tree::Path;
#[cfg(feature = "amqp")]
use crate::destinations::amqp;
use crate::destinations::body::Content;
#[cfg(any(feature = "nats", feature = "amqp", feature = "kafka"))]
use crate::destinations::body::Format;
#[cfg(feature = "kafka")]
use crate::destinations::kafka;
#[cfg(feature = "nats")]
use crate::destinations::nats;
#[cfg(feature = "object_store")]
use crate::destinations::object_store;
#[cfg(feature = "nats")]
use crate::secrets::SecretSource;

/// `kind = "nats"`.
#[cfg(feature = "nats")]
pub(super) fn nats(config: &nats::Config, draft: &Draft, at: &Path, report: &mut Report) {
    if let Err(error) = config.check() {
        report.wrong(&at.key(error.key), error.problem);
    }
    if config.username.is_some() {
        secret(at, "password", config.password.as_ref(), config.password_file.as_ref(), report);
    }
    if let Some(file) = &config.credentials_file
        && let Err(problem) = SecretSource::File(file.clone()).current()
    {
        report.wrong(&at.key("credentials_file"), format!("cannot be used: {problem}"));
    }
    if config.url.scheme() == "nats" && !stays_here(&config.url) {
        report.warn(&at.key("url"), "does not begin with tls://: interactions may travel unencrypted");
    }
    carried(config.content, config.format, draft, at, report);
}

/// `kind = "amqp"`.
#[cfg(feature = "amqp")]
pub(super) fn amqp(config: &amqp::Config, draft: &Draft, at: &Path, report: &mut Report) {
    if let Err(error) = config.check() {
        report.wrong(&at.key(error.key), error.problem);
    }
    if config.username.is_some() {
        secret(at, "password", config.password.as_ref(), config.password_file.as_ref(), report);
    }
    if config.url.scheme() == "amqp" && !stays_here(&config.url) {
        report.warn(&at.key("url"), "does not begin with amqps://: password and interactions travel unencrypted");
    }
    carried(config.content, config.format, draft, at, report);
}

/// `kind = "kafka"`.
#[cfg(feature = "kafka")]
pub(super) fn kafka(config: &kafka::Config, draft: &Draft, at: &Path, report: &mut Report) {
    if let Err(error) = config.check() {
        report.wrong(&at.key(error.key), error.problem);
    }
    if let Some(sasl) = &config.sasl {
        secret(&at.key("sasl"), "password", sasl.password.as_ref(), sasl.password_file.as_ref(), report);
    }
    carried(config.content, config.format, draft, at, report);
}

/// `kind = "object_store"`.
#[cfg(feature = "object_store")]
pub(super) fn object_store(config: &object_store::Config, draft: &Draft, at: &Path, report: &mut Report) {
    match object_store::kind(&config.url) {
        Err(problem) => report.wrong(&at.key("url"), problem),
        Ok((kind, _)) => {
            for name in config.options.keys() {
                if let Err(problem) = object_store::check_option(kind, name) {
                    report.wrong(&at.key("options").key(name), problem);
                }
            }
        }
    }
    if config.timeout.0.is_zero() {
        report.wrong(&at.key("timeout"), "must be longer than 0s");
    }
    if config.content == Content::Link {
        reachable_links(draft, &at.key("content"), report);
    }
}

/// Whether nobody beyond this machine hears what is said. The schemes of buses are not the web's, so neither are their hosts.
#[cfg(any(feature = "nats", feature = "amqp"))]
fn stays_here(url: &url::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// What is said of every body that can carry attachments.
#[cfg(any(feature = "nats", feature = "amqp", feature = "kafka"))]
fn carried(content: Content, format: Format, draft: &Draft, at: &Path, report: &mut Report) {
    if content != Content::Link {
        return;
    }
    let at = at.key("content");
    match format {
        Format::Mime => report.wrong(&at, super::check_webhook::LINKED_MIME),
        _ => reachable_links(draft, &at, report),
    }
}
