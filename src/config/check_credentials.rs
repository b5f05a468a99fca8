//! Checks on credentials: that each can be read, fits together, and has not died unseen.

use std::path::PathBuf;

use url::{Host, Url};

use super::check::{has_user, is_loopback, secret};
use super::check_tenants::is_guid;
use super::problem::Report;
use super::tree::Path;
use super::{Draft, check_delegated};
use crate::identity::certificate::Certificate;
use crate::identity::config::{CredentialConfig, TOKEN_FILE_VARIABLE, TenantConfig};
use crate::identity::expiry;
use crate::model::clock::UnixMillis;
use crate::secrets::SecretSource;

pub(super) fn credentials(tenant: &TenantConfig, draft: &Draft, at: &Path, report: &mut Report) {
    if tenant.credentials.is_empty() && !check_delegated::is_for_users_only(tenant, draft) {
        report.missing(at, "is empty; add [[tenants.credentials]] with kind = \"client_secret\" and secret_file");
    }
    let now = jiff::Timestamp::now().as_millisecond();
    for (index, credential) in tenant.credentials.iter().enumerate() {
        let at = at.index(draft.values.nth_present(at, index).unwrap_or(index));
        match credential {
            CredentialConfig::ClientSecret { secret: value, secret_file, expires } => {
                let found = secret(&at, "secret", value.as_ref(), secret_file.as_ref(), report);
                if found.is_some_and(|it| is_guid(it.expose().trim())) {
                    let key = if secret_file.is_some() { "secret_file" } else { "secret" };
                    let message = "is the secret's ID; paste its Value, which Entra shows only when it is made";
                    report.wrong(&at.key(key), message);
                }
                if let Some(end) = expires.and_then(expiry::begins) {
                    ends(&at.key("expires"), end, now, "make a new secret, and set its day", report);
                }
            }
            CredentialConfig::Certificate { certificate_file, private_key_file } => {
                match Certificate::read(certificate_file, private_key_file) {
                    Ok(found) => validity(&found, &at.key("certificate_file"), now, report),
                    Err(error) => report.wrong(&at.key(error.key), format!("cannot be used: {}", error.problem)),
                }
            }
            CredentialConfig::Federated { token_file } => federated(token_file.as_ref(), &at, report),
            CredentialConfig::ManagedIdentity { identity_client_id, endpoint } => {
                if identity_client_id.as_deref().is_some_and(|it| !is_guid(it)) {
                    let message = "must be the Client ID of the user-assigned identity, a GUID; leave it out for the \
                                   system-assigned one";
                    report.wrong(&at.key("identity_client_id"), message);
                }
                if let Some(url) = endpoint {
                    platform(url, &at.key("endpoint"), report);
                }
            }
        }
    }
}

fn validity(found: &Certificate, at: &Path, now: UnixMillis, report: &mut Report) {
    if found.not_before > now {
        let message = format!("is not valid before {}; Entra refuses it until then", expiry::day(found.not_before));
        report.warn(at, message);
    }
    ends(at, found.not_after, now, "register a new certificate with the application", report);
}

/// An end that has come is no reason not to start: a spare may serve, and a new one is picked up while running.
fn ends(at: &Path, end: UnixMillis, now: UnixMillis, cure: &str, report: &mut Report) {
    if expiry::warning(end, now).is_some() {
        report.warn(at, format!("{}; {cure}", expiry::told(end, now)));
    }
}

fn federated(token_file: Option<&PathBuf>, at: &Path, report: &mut Report) {
    let at = at.key("token_file");
    let told = token_file.cloned().or_else(|| std::env::var_os(TOKEN_FILE_VARIABLE).map(PathBuf::from));
    let Some(file) = told else {
        let message = format!("is missing, and {TOKEN_FILE_VARIABLE} is not set; write the file that holds the token");
        return report.missing(&at, message);
    };
    match SecretSource::File(file).current() {
        Ok(token) if token.expose().split('.').count() == 3 => {}
        Ok(_) => report.wrong(&at, "holds no token (a JWT, three parts with dots between)"),
        Err(message) => report.wrong(&at, format!("cannot be used: {message}")),
    }
}

/// Tokens come from there, so unencrypted only from this machine or its platform.
fn platform(url: &Url, at: &Path, report: &mut Report) {
    let is_link_local = matches!(url.host(), Some(Host::Ipv4(ip)) if ip.is_link_local());
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(url) || is_link_local => {}
        _ => {
            report.wrong(at, "must begin with https://, unless it is this machine or 169.254.…; tokens come from there")
        }
    }
    if has_user(url) || url.query().is_some() || url.fragment().is_some() {
        report.wrong(at, "must be scheme, host and path only; what is asked is put behind it");
    }
}
