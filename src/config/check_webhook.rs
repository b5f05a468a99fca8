//! Checks on webhooks: an address that may be posted to, secrets that sign, and what is shown beside the signature.

use std::collections::HashSet;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use super::Draft;
use super::check::{has_user, is_loopback, secret};
use super::problem::Report;
use super::tree::Path;
use crate::destinations::body::{Content, Format};
use crate::destinations::webhook::{self, OneOrMany, auth};
use crate::egress::private_networks;
use crate::model::secret::Secret;

/// The length of a signing key in bytes (Standard Webhooks, "Signature scheme").
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

pub(super) fn webhook(config: &webhook::Config, draft: &Draft, at: &Path, report: &mut Report) {
    url(config, &at.key("url"), report);
    if config.timeout.0.is_zero() {
        report.wrong(&at.key("timeout"), "must be longer than 0s");
    }
    let values = several(config.signing_secret.as_ref());
    let files = several(config.signing_secret_file.as_ref());
    signing_secrets(at, values, files, report);
    own_headers(config, &at.key("headers"), report);
    if let Some(auth) = &config.auth {
        authentication(auth, config.allow_private_networks, &at.key("auth"), report);
    }
    linked(config, draft, at, report);
}

fn own_headers(config: &webhook::Config, at: &Path, report: &mut Report) {
    let mut seen = HashSet::new();
    for (name, value) in &config.headers {
        if let Err(problem) = webhook::headers::field(name, value) {
            report.wrong(&at.key(name), problem);
        } else if !seen.insert(name.to_ascii_lowercase()) {
            report.wrong(&at.key(name), webhook::headers::TWICE);
        }
    }
}

fn authentication(auth: &auth::Config, allow_private: bool, at: &Path, report: &mut Report) {
    match auth {
        auth::Config::Bearer(config) => {
            let token = secret(at, "token", config.token.as_ref(), config.token_file.as_ref(), report);
            let key = if config.token.is_some() { "token" } else { "token_file" };
            if let Some(Err(problem)) = token.map(|it| auth::bearer(&it)) {
                report.wrong(&at.key(key), problem);
            }
        }
        auth::Config::Basic(config) => {
            if let Err(problem) = auth::check_username(&config.username) {
                report.wrong(&at.key("username"), problem);
            }
            let password = secret(at, "password", config.password.as_ref(), config.password_file.as_ref(), report);
            let key = if config.password.is_some() { "password" } else { "password_file" };
            if let Some(Err(problem)) = password.map(|it| auth::basic(&config.username, &it)) {
                report.wrong(&at.key(key), problem);
            }
        }
        auth::Config::Oauth2ClientCredentials(config) => {
            let (value, file) = (config.client_secret.as_ref(), config.client_secret_file.as_ref());
            secret(at, "client_secret", value, file, report);
            if config.client_id.is_empty() {
                report.wrong(&at.key("client_id"), "is empty");
            }
            token_url(&config.token_url, allow_private, &at.key("token_url"), report);
        }
        auth::Config::Mtls(config) => {
            if let Err((key, problem)) = webhook::client::identity(config) {
                report.wrong(&at.key(key), format!("cannot be used: {problem}"));
            }
        }
    }
}

fn token_url(url: &Url, allow_private: bool, at: &Path, report: &mut Report) {
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(url) => {}
        "http" => report.warn(at, "is not https: the client's secret travels unencrypted"),
        _ => report.wrong(at, "must begin with https:// or http://"),
    }
    if has_user(url) {
        report.wrong(at, "must not carry a user name or password; write client_id and client_secret");
    }
    if is_private(url) && !allow_private {
        report.wrong(
            at,
            "leads into a private network; set allow_private_networks = true in the destination if that is meant",
        );
    }
}

/// What is said about links in a body that has no place for them.
pub(super) const LINKED_MIME: &str = "cannot be `link` with format = \"mime\", whose body is the mail with all that is \
                                      in it; write format = \"json\" or \"cloudevents\", or content = \"inline\"";

/// A webhook whose attachments are linked.
fn linked(config: &webhook::Config, draft: &Draft, at: &Path, report: &mut Report) {
    if config.content != Content::Link {
        return;
    }
    let at = at.key("content");
    if config.format == Format::Mime {
        report.wrong(&at, LINKED_MIME);
    }
    reachable_links(draft, &at, report);
}

/// Warns where the links a receiver gets lead to this machine only.
pub(super) fn reachable_links(draft: &Draft, at: &Path, report: &mut Report) {
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
        "http" if matches!(config.auth, Some(auth::Config::Mtls(_))) => {
            report.wrong(at, webhook::config::MTLS_NEEDS_TLS)
        }
        "http" if is_loopback(&config.url) => {}
        "http" => report.warn(at, "is not https: interactions travel unencrypted"),
        _ => report.wrong(at, "must begin with https:// or http://"),
    }
    if has_user(&config.url) {
        report.wrong(at, "must not carry a user name or password; write auth = { kind = \"basic\", … }");
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
    match url.host() {
        Some(Host::Ipv4(ip)) => private_networks::is_private(ip.into()),
        Some(Host::Ipv6(ip)) => private_networks::is_private(ip.into()),
        Some(Host::Domain(_)) | None => is_loopback(url),
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
