//! What must agree between values that are each right by themselves.
//!
//! Works on whatever could be read, so that one problem does not hide another.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use url::{Host, Url};

use super::problem::Report;
use super::tree::Path;
use super::{Draft, check_delegated, check_routes, check_submission, check_tenants, check_tokens, check_webhook};
use crate::inbound::Mode;
use crate::model::secret::Secret;
use crate::secrets::SecretSource;
use crate::store::{Seal, exposed};

/// Looking more often than this tires Graph and finds nothing more.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Every check there is.
pub(super) fn everything(draft: &Draft, report: &mut Report) {
    let root = Path::default();
    listeners(draft, &root.key("server"), report);
    public_url(draft, &root.key("server"), report);
    content_url(draft, &root.key("server"), report);
    store(draft, &root.key("store"), report);
    egress(draft, &root.key("egress"), report);
    limits(draft, &root.key("limits"), report);
    sync(draft, &root.key("sync"), report);
    if let Some(telemetry) = &draft.telemetry
        && let Err(message) = crate::telemetry::filter(&telemetry.log)
    {
        report.wrong(&root.key("telemetry").key("log"), message);
    }
    if let Some(callback) = draft.outbound.as_ref().and_then(|it| it.callback.as_ref()) {
        check_webhook::webhook(&callback.webhook(), draft, &root.key("outbound").key("callback"), report);
    }
    check_submission::listener(draft, report);
    check_tokens::tokens(draft, report);
    check_tenants::tenants(draft, report);
    check_tenants::mailboxes(draft, report);
    check_delegated::mailboxes(draft, report);
    check_routes::routes(draft, report);
}

fn listeners(draft: &Draft, server: &Path, report: &mut Report) {
    let Some(config) = &draft.server else { return };
    if overlap(config.webhook_listen, config.admin_listen) {
        let message = format!(
            "stands where webhook_listen ({}) stands; the private listener needs a port of its own",
            config.webhook_listen
        );
        report.wrong(&server.key("admin_listen"), message);
    }
    if let Some(tls) = &config.webhook_tls {
        let at = server.key("webhook_tls");
        pem(&at.key("cert_file"), &tls.cert_file, "CERTIFICATE-----", report);
        pem(&at.key("key_file"), &tls.key_file, "PRIVATE KEY-----", report);
    }
    if config.allowed_sources.as_ref().is_some_and(Vec::is_empty) {
        let message = "is empty, so no notification would be let in; list networks or remove the key";
        report.missing(&server.key("allowed_sources"), message);
    }
}

pub(super) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || everywhere)
}

fn public_url(draft: &Draft, server: &Path, report: &mut Report) {
    let at = server.key("public_url");
    let push = draft.sync.as_ref().is_some_and(|it| it.mode == Mode::Push);
    let Some(config) = &draft.server else { return };
    match &config.public_url {
        None if push => report.missing(
            &at,
            format!(
                "is missing; Graph posts notifications there; set it here or in {}, or set sync.mode = \"poll\"",
                at.variable()
            ),
        ),
        None => {}
        Some(url) if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(url)) => {
            report.wrong(&at, "must begin with https://; Graph posts to nothing else");
        }
        Some(url) if url.query().is_some() || url.fragment().is_some() || has_user(url) => {
            report.wrong(&at, "must be scheme, host and path only; /graph/… is put behind it");
        }
        Some(_) => {}
    }
}

fn content_url(draft: &Draft, server: &Path, report: &mut Report) {
    let at = server.key("content_url");
    let Some(url) = draft.server.as_ref().and_then(|it| it.content_url.as_ref()) else { return };
    match url.scheme() {
        "http" | "https" => {}
        _ => return report.wrong(&at, "must begin with https:// or http://"),
    }
    if url.query().is_some() || url.fragment().is_some() || has_user(url) {
        report.wrong(&at, "must be scheme, host and path only; /api/v1/interactions/… is put behind it");
    } else if url.scheme() == "http" && !is_loopback(url) {
        report.warn(&at, "is not https: content travels unencrypted");
    }
}

fn store(draft: &Draft, store: &Path, report: &mut Report) {
    let Some(config) = &draft.store else { return };
    let at = store.key("url");
    let known = ["sqlite:", "postgres://", "postgresql://"].iter().find_map(|it| config.url.strip_prefix(it));
    match known {
        None => report.wrong(&at, "must begin with sqlite: or postgres://, as in sqlite:mailspan.db"),
        Some("") => report.wrong(&at, "names no database; write it like sqlite:mailspan.db or postgres://user@host/db"),
        Some(rest) if rest.starts_with(":memory:") => {
            report.wrong(&at, "keeps nothing on disk; name a file, as in sqlite:mailspan.db");
        }
        Some(_) => {}
    }
    if let Some(file) = &config.encryption_key_file {
        let at = store.key("encryption_key_file");
        match Seal::of_file(file) {
            Ok(_) => exposed(file).into_iter().for_each(|message| report.warn(&at, message)),
            Err(message) => report.wrong(&at, format!("cannot be used: {message}")),
        }
    }
    if config.retain.0.is_zero() {
        report.wrong(&store.key("retain"), "must be longer than 0s");
    }
}

fn egress(draft: &Draft, egress: &Path, report: &mut Report) {
    let Some(config) = &draft.egress else { return };
    if config.proxy.as_ref().is_some_and(|it| !matches!(it.scheme(), "http" | "https")) {
        report.wrong(&egress.key("proxy"), "must begin with http:// or https://");
    }
    if let Some(file) = &config.ca_file {
        pem(&egress.key("ca_file"), file, "CERTIFICATE-----", report);
    }
}

fn limits(draft: &Draft, limits: &Path, report: &mut Report) {
    let Some(config) = &draft.limits else { return };
    if config.max_message_size.0 == 0 {
        report.wrong(&limits.key("max_message_size"), "must be larger than 0B");
    }
    if config.memory_budget < config.max_message_size {
        let message = format!(
            "must be at least max_message_size ({}), or a large message would wait for ever",
            config.max_message_size
        );
        report.wrong(&limits.key("memory_budget"), message);
    }
}

fn sync(draft: &Draft, sync: &Path, report: &mut Report) {
    let Some(config) = &draft.sync else { return };
    for (key, value) in [("sweep_interval", config.sweep_interval), ("poll_interval", config.poll_interval)] {
        if value.0 < SHORTEST_INTERVAL {
            report.wrong(&sync.key(key), format!("must be at least 1s, not {value}"));
        }
    }
}

/// Checks one secret: `x` and `x_file`, of which exactly one has to be set. Returns it as it is now, for further checks.
pub(super) fn secret(
    table: &Path,
    key: &str,
    value: Option<&Secret>,
    file: Option<&PathBuf>,
    report: &mut Report,
) -> Option<Secret> {
    let (at, at_file) = (table.key(key), table.key(&format!("{key}_file")));
    let source = match (value, file) {
        (Some(_), Some(_)) => {
            report.wrong(&at_file, format!("is set beside {key}; keep one of the two"));
            return None;
        }
        (None, None) => {
            let message = format!("is missing; set it here, in {}, or as {key}_file", at.variable());
            report.missing(&at, message);
            return None;
        }
        _ => SecretSource::from_pair(value, file)?,
    };
    let at = if file.is_some() { at_file } else { at };
    match source.current() {
        Ok(secret) if secret.expose().trim().is_empty() => {
            report.wrong(&at, "is empty");
            None
        }
        Ok(secret) => Some(secret),
        Err(message) => {
            report.wrong(&at, format!("cannot be used: {message}"));
            None
        }
    }
}

pub(super) fn pem(at: &Path, file: &FilePath, label: &str, report: &mut Report) {
    match std::fs::read_to_string(file) {
        Ok(text) if text.contains(label) => {}
        Ok(_) => report.wrong(at, format!("{}: holds no PEM block `{label}`", file.display())),
        Err(error) => report.wrong(at, format!("cannot be used: {}: {error}", file.display())),
    }
}

/// Whether the URL leads to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        None => false,
    }
}

/// Whether the URL carries a user name or a password.
pub(super) fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether a name can stand in metrics, paths and keys.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.'))
}

/// What [`is_name`] asks for.
pub(super) const NAME: &str = "must be made of letters, digits, `-`, `_` and `.`";
