//! Checks on the submission listener: somebody can use it, nobody reads their passwords, and each may send as someone.

use std::collections::HashMap;

use super::Draft;
use super::check::{overlap, pem, secret};
use super::problem::Report;
use super::tree::Path;
use crate::outbound::smtp::UserConfig;

/// Shorter passwords are guessed in spite of every wait.
const SHORTEST: usize = 8;
/// A longer name is never let in.
const LONGEST_NAME: usize = 255;

pub(super) fn listener(draft: &Draft, report: &mut Report) {
    let Some(config) = &draft.outbound else { return };
    let root = Path::default().key("outbound");
    let (listen, tls, users) = (root.key("smtp_listen"), root.key("smtp_tls"), root.key("smtp_users"));
    if let Some(files) = &config.smtp_tls {
        pem(&tls.key("cert_file"), &files.cert_file, "CERTIFICATE-----", report);
        pem(&tls.key("key_file"), &files.key_file, "PRIVATE KEY-----", report);
    }
    people(&config.smtp_users, &users, report);
    let Some(address) = config.smtp_listen else {
        for (key, is_set) in [(&tls, config.smtp_tls.is_some()), (&users, !config.smtp_users.is_empty())] {
            if is_set {
                report.warn(key, "is of no use without smtp_listen");
            }
        }
        return;
    };
    if config.smtp_users.is_empty() {
        report.missing(&users, "is missing; without a user nobody could hand in mail at smtp_listen");
    }
    if config.smtp_tls.is_none() && !address.ip().is_loopback() {
        let message = "is missing; passwords would travel in plain text: set it, or let smtp_listen be a loopback \
                       address such as 127.0.0.1:2525";
        report.missing(&tls, message);
    }
    if let Some(server) = &draft.server {
        let others = [("webhook_listen", server.webhook_listen), ("admin_listen", server.admin_listen)];
        for (name, other) in others.into_iter().filter(|(_, other)| overlap(*other, address)) {
            let message = format!("stands where server.{name} ({other}) stands; it needs a port of its own");
            report.wrong(&listen, message);
        }
    }
}

fn people(users: &[UserConfig], root: &Path, report: &mut Report) {
    let mut names = HashMap::new();
    for (index, user) in users.iter().enumerate() {
        let at = root.index(index);
        if user.name.is_empty() || user.name.len() > LONGEST_NAME || user.name.contains(char::is_control) {
            report.wrong(&at.key("name"), "must be a name of up to 255 letters");
        }
        if let Some(first) = names.insert(user.name.as_str(), index) {
            report.wrong(&at.key("name"), format!("`{}` is taken by smtp_users[{first}]; choose another", user.name));
        }
        if user.senders.is_empty() {
            let message = "is empty, so this user could send nothing; list addresses, as in *@contoso.com";
            report.missing(&at.key("senders"), message);
        }
        let found = secret(&at, "password", user.password.as_ref(), user.password_file.as_ref(), report);
        let is_short = found.is_some_and(|it| it.expose().trim().chars().count() < SHORTEST);
        if is_short {
            let key = at.key(if user.password_file.is_some() { "password_file" } else { "password" });
            report.wrong(&key, format!("holds fewer than {SHORTEST} characters; choose a longer password"));
        }
    }
}
