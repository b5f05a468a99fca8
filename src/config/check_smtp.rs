//! Checks on mail relays: logins that would be read by others, senders nobody could tell, keys that contradict.

use rustls_pki_types::ServerName;

use super::check::secret;
use super::problem::Report;
use super::tree::Path;
use crate::destinations::smtp::{Config, MessageId, Tls, is_helo};

pub(super) fn relay(config: &Config, at: &Path, report: &mut Report) {
    if ServerName::try_from(config.host.as_str()).is_err() {
        report.wrong(&at.key("host"), "must be a name or an address, as in relay.example.com; its port is port");
    }
    if config.port == 0 {
        report.wrong(&at.key("port"), "must not be 0");
    }
    if config.timeout.0.is_zero() {
        report.wrong(&at.key("timeout"), "must be longer than 0s");
    }
    if config.helo.as_deref().is_some_and(|it| !is_helo(it)) {
        report.wrong(&at.key("helo"), "must be a host's name, as in bridge.example.com");
    }
    login(config, at, report);
    senders(config, at, report);
    if config.message_id == MessageId::Suffix {
        report.warn(&at.key("message_id"), "breaks signatures (DKIM) that cover the Message-ID, as most do");
    }
}

fn login(config: &Config, at: &Path, report: &mut Report) {
    let has_password = config.password.is_some() || config.password_file.is_some();
    match &config.username {
        None if has_password => {
            report.missing(&at.key("username"), "is missing; the password beside it is of no use without it");
        }
        None if config.tls == Tls::None => {
            report.warn(&at.key("tls"), "is none: mails travel unencrypted");
        }
        None => {}
        Some(user) => {
            if user.is_empty() || user.contains(char::is_control) {
                report.wrong(&at.key("username"), "must be the name of a user");
            }
            secret(at, "password", config.password.as_ref(), config.password_file.as_ref(), report);
            if !config.tls.is_verified() && !config.allow_insecure_login {
                let says = "leaves the password to whoever listens; write starttls or implicit, or set \
                            allow_insecure_login = true beside it if that is meant";
                report.wrong(&at.key("tls"), says);
            }
        }
    }
}

fn senders(config: &Config, at: &Path, report: &mut Report) {
    let has_secret = config.srs_secret.is_some() || config.srs_secret_file.is_some();
    match &config.bounce_address {
        Some(_) if has_secret => {
            report.wrong(
                &at.key("srs_secret"),
                "is of no use beside bounce_address, which takes all bounces; keep one of the two",
            );
        }
        None if has_secret => {
            secret(at, "srs_secret", config.srs_secret.as_ref(), config.srs_secret_file.as_ref(), report);
        }
        _ => {}
    }
}
