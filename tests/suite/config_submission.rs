//! What is asked of a configuration with a listener for submissions.

use mailspan::config::Config;

use crate::config_layers::{Folder, GOOD, env};

const USER: &str = "{ name = \"crm\", password = \"swordfish\", senders = [\"*@contoso.com\"] }";

/// The problems and the warnings of the good configuration with these lines in `[outbound]`.
fn said(outbound: &str) -> (Vec<String>, Vec<String>) {
    let folder = Folder::new();
    let file = folder.write("mailspan.toml", &format!("{GOOD}\n[outbound]\n{outbound}\n"));
    match Config::load(&[file], env(&[])) {
        Ok(loaded) => {
            let shown = format!("{:?} {:?}", loaded.config.outbound, loaded.origins);
            assert!(!shown.contains("swordfish"), "{shown}");
            (Vec::new(), loaded.warnings.into_iter().map(|it| format!("{} {}", it.key, it.message)).collect())
        }
        Err(problems) => (problems.to_string().lines().skip(1).map(str::to_owned).collect(), Vec::new()),
    }
}

#[test]
fn each_mistake_with_the_listener_has_its_message() {
    let with = |listen: &str, users: &str| format!("smtp_listen = {listen:?}\nsmtp_users = [{users}]");
    let user = |from: &str, to: &str| with("127.0.0.1:2525", &USER.replace(from, to));
    for (outbound, key, told) in [
        ("smtp_listen = \"127.0.0.1:2525\"".to_owned(), "smtp_users", "nobody could hand in mail"),
        (with("0.0.0.0:2525", USER), "smtp_tls", "plain text"),
        (with("127.0.0.1:8080", USER), "smtp_listen", "needs a port of its own"),
        (with("127.0.0.1:2525", &format!("{USER}, {USER}")), "smtp_users", "taken by smtp_users[0]"),
        (user("swordfish", "short"), "password", "fewer than 8"),
        (user("password = \"swordfish\"", "password_file = \"/nonexistent\""), "password_file", "cannot be used"),
        (user("password = \"swordfish\", ", ""), "password", "is missing"),
        (user("\"*@contoso.com\"", ""), "senders", "could send nothing"),
        (user("*@contoso.com", "contoso"), "senders", "an address or a pattern"),
        (user("name = \"crm\"", "name = \"\""), "name", "must be a name"),
        (user("senders", "rate_per_minute = 0, senders"), "rate_per_minute", "0"),
        (
            format!(
                "{}\nsmtp_tls = {{ cert_file = \"/nonexistent\", key_file = \"/nonexistent\" }}",
                with("0.0.0.0:25", USER)
            ),
            "smtp_tls.cert_file",
            "cannot be used",
        ),
        (
            format!(
                "{}\nsmtp_tls = {{ cert_file = \"a\", key_file = \"b\", mode = \"ssl\" }}",
                with("0.0.0.0:25", USER)
            ),
            "smtp_tls.mode",
            "starttls",
        ),
    ] {
        let (problems, _) = said(&outbound);
        let shown = problems.join("\n");
        assert!(shown.contains(key) && shown.contains(told) && !shown.contains("swordfish"), "{outbound}: {shown}");
    }
}

#[test]
fn a_listener_on_this_machine_needs_no_tls_and_users_alone_are_of_no_use() {
    let good = said(&format!("smtp_listen = \"127.0.0.1:2525\"\nsmtp_users = [{USER}]"));
    assert_eq!(good, (vec![], vec![]));
    let (problems, warnings) = said(&format!("smtp_users = [{USER}]"));
    assert!(problems.is_empty() && warnings[0].contains("of no use without smtp_listen"), "{problems:?} {warnings:?}");
}
