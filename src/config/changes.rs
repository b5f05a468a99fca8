//! What is different in another configuration: pure comparison, by the names people gave.
//!
//! Some keys count at the start only ([`AT_START`]): what they hold is in use for as long as the process lives.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;

use super::Config;
use crate::model::work::MailboxId;

/// What is different between two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tenants, by name.
    pub tenants: Differing<String>,
    /// Mailboxes, by tenant and address.
    pub mailboxes: Differing<MailboxId>,
    /// Routes, by name.
    pub routes: Differing<String>,
    /// Whether the routes are asked in another order.
    pub order: bool,
    /// Sections and keys outside these lists.
    pub others: Vec<&'static str>,
}

/// The elements of a list that are not in both configurations alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing<T> {
    /// In the new one only.
    pub added: Vec<T>,
    /// In both, and not alike.
    pub changed: Vec<T>,
    /// In the old one only.
    pub removed: Vec<T>,
}

impl<T> Default for Differing<T> {
    fn default() -> Self {
        Self { added: Vec::new(), changed: Vec::new(), removed: Vec::new() }
    }
}

/// A key that counts at the start only.
pub struct AtStart {
    /// Its name.
    pub name: &'static str,
    is_same: fn(&Config, &Config) -> bool,
    keep: fn(&mut Config, &Config),
}

macro_rules! keys {
    ($($section:ident.$key:ident),* $(,)?) => {
        &[$(AtStart {
            name: concat!(stringify!($section), ".", stringify!($key)),
            is_same: |a, b| a.$section.$key == b.$section.$key,
            keep: |to, from| to.$section.$key.clone_from(&from.$section.$key),
        }),*]
    };
}

/// THE LIST of keys that count at the start only. Listeners, the store and the ways out stand as long as the process.
pub const AT_START: &[AtStart] = keys![
    server.webhook_listen,
    server.admin_listen,
    server.shutdown_timeout,
    server.webhook_tls,
    server.allowed_sources,
    store.url,
    store.encryption_key_file,
    egress.proxy,
    egress.ca_file,
    limits.memory_budget,
    outbound.smtp_listen,
    outbound.smtp_tls,
    telemetry.format,
    telemetry.redact,
];

/// Puts what is in use in the place of what counts at the start only. Returns the keys that would be different after a
/// restart.
pub fn keep_at_start(running: &Config, wanted: &mut Config) -> Vec<&'static str> {
    let mut waiting = Vec::new();
    for key in AT_START {
        if !(key.is_same)(running, wanted) {
            (key.keep)(wanted, running);
            waiting.push(key.name);
        }
    }
    // A mail larger than the budget in use would wait for ever.
    if wanted.limits.max_message_size > wanted.limits.memory_budget {
        wanted.limits.max_message_size = running.limits.max_message_size;
        waiting.push("limits.max_message_size");
    }
    waiting
}

impl Changes {
    /// What is different in `new`.
    pub fn between(old: &Config, new: &Config) -> Self {
        let names = |config: &Config| -> Vec<String> { config.routes.iter().map(|it| it.name.clone()).collect() };
        let routes = differing(&old.routes, &new.routes, |it| it.name.clone());
        let common = |of: &Config, removed: &[String]| -> Vec<String> {
            names(of).into_iter().filter(|it| !removed.contains(it)).collect()
        };
        let order = common(old, &routes.removed) != common(new, &routes.added);
        let others = [
            ("server.public_url", old.server.public_url == new.server.public_url),
            ("server.content_url", old.server.content_url == new.server.content_url),
            ("store.retain", old.store.retain == new.store.retain),
            ("limits.max_message_size", old.limits.max_message_size == new.limits.max_message_size),
            ("[sync]", old.sync == new.sync),
            ("[routing]", old.routing == new.routing),
            ("[outbound]", old.outbound == new.outbound),
            ("telemetry.log", old.telemetry.log == new.telemetry.log),
            ("[[api_tokens]]", old.api_tokens == new.api_tokens),
        ];
        Self {
            tenants: differing(&old.tenants, &new.tenants, |it| it.name.clone()),
            mailboxes: differing(&old.mailboxes, &new.mailboxes, Config::mailbox_id),
            routes,
            order,
            others: others.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect(),
        }
    }

    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn differing<E: PartialEq, T: Clone + Eq + Hash>(old: &[E], new: &[E], name: impl Fn(&E) -> T) -> Differing<T> {
    let known: HashMap<T, &E> = old.iter().map(|it| (name(it), it)).collect();
    let kept: HashSet<T> = new.iter().map(&name).collect();
    let mut differing = Differing::default();
    for it in new {
        match known.get(&name(it)) {
            None => differing.added.push(name(it)),
            Some(before) if *before != it => differing.changed.push(name(it)),
            Some(_) => {}
        }
    }
    differing.removed = old.iter().map(name).filter(|it| !kept.contains(it)).collect();
    differing
}

/// `route crm added; mailboxes a, b changed`. Long lists are cut: how many there are says enough.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        self.tenants.say("tenant", "tenants", &mut said);
        self.mailboxes.say("mailbox", "mailboxes", &mut said);
        self.routes.say("route", "routes", &mut said);
        if self.order {
            said.push("the order of the routes changed".to_owned());
        }
        if !self.others.is_empty() {
            said.push(format!("{} changed", self.others.join(", ")));
        }
        match said.as_slice() {
            [] => f.write_str("nothing changed"),
            said => f.write_str(&said.join("; ")),
        }
    }
}

/// So many names are written out.
const NAMED: usize = 10;

impl<T: fmt::Display> Differing<T> {
    fn say(&self, one: &str, several: &str, said: &mut Vec<String>) {
        for (names, became) in [(&self.added, "added"), (&self.changed, "changed"), (&self.removed, "removed")] {
            let shown: Vec<String> = names.iter().take(NAMED).map(ToString::to_string).collect();
            let (shown, count) = (shown.join(", "), names.len());
            match count {
                0 => {}
                1 => said.push(format!("{one} {shown} {became}")),
                2..=NAMED => said.push(format!("{several} {shown} {became}")),
                _ => said.push(format!("{count} {several} {became}, among them {shown}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::PathBuf;

    const ROUTES: &str = r#"
        [[routes]]
        name = "first"
        subject = "order [0-9]+"
        destination = { kind = "maildir", path = "first" }
        [[routes]]
        name = "second"
        destination = { kind = "maildir", path = "second" }
    "#;

    /// The shipped example with its secret in place, and two routes of our own.
    fn base() -> String {
        let (head, _) = include_str!("../../config/example.toml").split_once("[[routes]]").unwrap();
        head.replace("secret_file = \"/run/secrets/contoso\"", "secret = \"swordfish~Value\"") + ROUTES
    }

    fn config(text: &str) -> Config {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let files: Vec<PathBuf> = vec![file.path().to_owned()];
        Config::load(&files, std::iter::empty()).unwrap_or_else(|it| panic!("{it}")).config
    }

    #[test]
    fn what_is_different_is_told_by_name() {
        let base = base();
        let more = |text: &str| format!("{base}\n{text}");
        let swapped = {
            let (head, routes) = base.split_once("[[routes]]").unwrap();
            let (first, second) = routes.split_once("[[routes]]").unwrap();
            format!("{head}[[routes]]{second}[[routes]]{first}")
        };
        for (text, expected) in [
            (base.clone(), "nothing changed"),
            (more("[limits]\nmemory_budget = \"1GiB\""), "nothing changed"),
            (base.replace("swordfish", "herring"), "tenant contoso changed"),
            (more("[[mailboxes]]\naddress = \"sales@contoso.com\""), "mailbox contoso/sales@contoso.com added"),
            (
                base.replace("\"support@", "\"desk@"),
                "mailbox contoso/desk@contoso.com added; mailbox contoso/support@contoso.com removed",
            ),
            (
                base.replace("support@contoso.com\"", "support@contoso.com\"\nreceive = false"),
                "mailbox contoso/support@contoso.com changed",
            ),
            (base.replace("[0-9]+", "[0-9]*"), "route first changed"),
            (base.replace("\"second\" }", "\"third\" }"), "route second changed"),
            (base.replace("name = \"second\"", "name = \"third\""), "route third added; route second removed"),
            (swapped, "the order of the routes changed"),
            (
                more("[routing]\nunmatched = \"ignore\"\n[telemetry]\nlog = \"debug\""),
                "[routing], telemetry.log changed",
            ),
            (
                more("[[api_tokens]]\nname = \"ops\"\ntoken = \"0123456789abcdef\"\nscopes = [\"read\"]"),
                "[[api_tokens]] changed",
            ),
        ] {
            let (old, mut new) = (config(&base), config(&text));
            keep_at_start(&old, &mut new);
            assert_eq!(Changes::between(&old, &new).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn long_lists_are_counted_and_cut() {
        let routes = |count: usize| -> String {
            let route =
                |n| format!("[[routes]]\nname = \"r{n}\"\ndestination = {{ kind = \"maildir\", path = \"p\" }}\n");
            base() + "\n" + &(0..count).map(route).collect::<String>()
        };
        let told = |count| Changes::between(&config(&base()), &config(&routes(count))).to_string();
        assert_eq!(told(2), "routes r0, r1 added");
        assert_eq!(told(12), "12 routes added, among them r0, r1, r2, r3, r4, r5, r6, r7, r8, r9");
    }

    #[test]
    fn what_counts_at_the_start_stays_and_is_named() {
        let running = config(&base());
        let mut wanted = config(&format!(
            "{}\n[store]\nurl = \"sqlite:other.db\"\nretain = \"1d\"\n[limits]\nmemory_budget = \"2GiB\"\nmax_message_size = \"1GiB\"\n\
             [telemetry]\nformat = \"text\"",
            base()
        ));
        let names = keep_at_start(&running, &mut wanted);
        assert_eq!(names, ["store.url", "limits.memory_budget", "telemetry.format", "limits.max_message_size"]);
        assert_eq!(wanted.store.url, running.store.url);
        assert_ne!(wanted.store.retain, running.store.retain);
        assert!(wanted.limits.max_message_size <= wanted.limits.memory_budget);
        assert!(keep_at_start(&running, &mut wanted).is_empty());
    }

    #[test]
    fn the_manual_names_every_key_that_counts_at_the_start_only() {
        let manual = include_str!("../../docs/configuration.md");
        let (_, told) = manual.split_once("These keys count **at the start only**").unwrap();
        let (told, _) = told.split_once("\n\n").unwrap();
        let mut told: Vec<&str> = told.split('`').skip(1).step_by(2).filter(|it| it.contains('.')).collect();
        let mut names: Vec<&str> = AT_START.iter().map(|it| it.name).collect();
        told.sort_unstable();
        names.sort_unstable();
        assert_eq!(told, names);
    }
}
