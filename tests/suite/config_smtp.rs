//! What is asked of a configuration that names a mail relay.

use mailspan::config::Config;

use crate::config_layers::{Folder, GOOD, env};

const RELAY: &str = "kind = \"smtp\"\nhost = \"relay.example.com\"\nrecipient = \"queue@acme.example\"\n";

/// The problems and the warnings of the good configuration with a mail relay as its destination.
fn said(destination: &str) -> (Vec<String>, Vec<String>) {
    let folder = Folder::new();
    let (before, _) = GOOD.split_once("[routes.destination]").unwrap();
    let file = folder.write("mailspan.toml", &format!("{before}[routes.destination]\n{destination}\n"));
    match Config::load(&[file], env(&[])) {
        Ok(loaded) => {
            let shown = format!("{:?}", loaded.config.routes);
            assert!(!shown.contains("swordfish") && !shown.contains("queue@"), "{shown}");
            (Vec::new(), loaded.warnings.into_iter().map(|it| it.message).collect())
        }
        Err(problems) => (problems.to_string().lines().skip(1).map(str::to_owned).collect(), Vec::new()),
    }
}

#[test]
fn each_mistake_with_a_relay_has_its_message() {
    const LOGIN: &str = "username = \"mailspan\"\npassword = \"swordfish\"";
    for (more, key, told) in [
        ("port = 0", "destination.port", "must not be 0"),
        ("timeout = \"0s\"", "destination.timeout", "must be longer than 0s"),
        ("helo = \"two words\"", "destination.helo", "must be a host's name"),
        ("tls = \"ssl\"", "destination.tls", "starttls"),
        ("username = \"mailspan\"", "destination.password", "is missing"),
        ("password = \"swordfish\"", "destination.username", "is missing"),
        (&format!("{LOGIN}\npassword_file = \"x\""), "destination.password_file", "keep one of the two"),
        (&format!("{LOGIN}\ntls = \"none\""), "destination.tls", "allow_insecure_login = true"),
        (&format!("{LOGIN}\ntls = \"opportunistic\""), "destination.tls", "allow_insecure_login = true"),
        ("bounce_address = \"nobody\"", "destination.bounce_address", "an address such as"),
        ("bounce_address = \"b@c.de\"\nsrs_secret = \"a\"", "destination.srs_secret", "keep one of the two"),
        ("srs_secret_file = \"/nonexistent\"", "destination.srs_secret_file", "cannot be used"),
        ("add_headers = [\"X-Genesys-To\", \"Bcc\"]", "destination.add_headers[1]", "a field that can be added"),
        ("message_id = \"new\"", "destination.message_id", "suffix"),
        ("inline_limit = \"1MiB\"", "destination.inline_limit", "unknown key"),
    ] {
        let (problems, _) = said(&format!("{RELAY}{more}"));
        let shown = problems.join("\n");
        assert!(shown.contains(key) && shown.contains(told) && !shown.contains("swordfish"), "{more}: {shown}");
    }
    for (section, key) in [("kind = \"smtp\"\nhost = \"a.de\"", "recipient"), ("kind = \"smtp\"", "host")] {
        let shown = said(section).0.join("\n");
        assert!(shown.contains(&format!("destination.{key}")) && shown.contains("is missing"), "{shown}");
    }
    let shown = said(&RELAY.replace("relay.example.com", "relay.example.com:25")).0.join("\n");
    assert!(shown.contains("destination.host") && shown.contains("its port is port"), "{shown}");
}

#[test]
fn what_is_allowed_but_weak_is_warned_of() {
    assert_eq!(said(RELAY), (vec![], vec![]));
    for (more, told) in [("tls = \"none\"", "unencrypted"), ("message_id = \"suffix\"", "DKIM")] {
        let (problems, warnings) = said(&format!("{RELAY}{more}"));
        assert!(problems.is_empty() && warnings.len() == 1 && warnings[0].contains(told), "{problems:?} {warnings:?}");
    }
    let allowed = "username = \"mailspan\"\npassword = \"swordfish\"\ntls = \"none\"\nallow_insecure_login = true";
    assert_eq!(said(&format!("{RELAY}{allowed}")).0, Vec::<String>::new());
}
