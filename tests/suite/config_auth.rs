//! What is asked of headers of one's own and of further authentication, and how little of it is shown.

use mailspan::config::Config;
use mailspan::config::show::AsToml;

use crate::config_layers::{Folder, GOOD, env};
use crate::gate::Gate;

const SECRETS: [&str; 3] = ["trout", "perch", "pike"];

/// The good configuration with these lines more in the destination.
fn with(folder: &Folder, destination: &str) -> std::path::PathBuf {
    let more = format!("kind = \"webhook\"\n{destination}");
    folder.write("mailspan.toml", &GOOD.replacen("kind = \"webhook\"", &more, 1))
}

/// The problems and the warnings.
fn said(destination: &str) -> (String, String) {
    let folder = Folder::new();
    let (problems, warnings) = match Config::load(&[with(&folder, destination)], env(&[])) {
        Ok(loaded) => (String::new(), loaded.warnings.into_iter().map(|it| it.message).collect::<Vec<_>>().join("\n")),
        Err(problems) => (problems.to_string(), String::new()),
    };
    for secret in SECRETS {
        assert!(!problems.contains(secret) && !warnings.contains(secret), "{problems}{warnings}");
    }
    (problems, warnings)
}

#[test]
fn each_mistake_is_found_where_it_stands() {
    const OAUTH: &str = "kind = \"oauth2_client_credentials\", client_id = \"bridge\"";
    for (destination, key, told) in [
        ("headers = { Authorization = \"trout\" }", "destination.headers.Authorization", "use auth"),
        ("headers = { Content-Type = \"trout\" }", "destination.headers.Content-Type", "format of the body"),
        ("headers = { Webhook-Id = \"trout\" }", "destination.headers.Webhook-Id", "signature"),
        ("headers = { mailspan-x = \"trout\" }", "destination.headers.mailspan-x", "by Mailspan"),
        ("headers = { TE = \"trout\" }", "destination.headers.TE", "HTTP itself"),
        ("headers = { x = \"tr\\nout\" }", "destination.headers.x", "one line of ASCII"),
        ("headers = { x = 1 }", "destination.headers.x", "text in quotes"),
        ("headers = { X = \"trout\", x = \"perch\" }", "destination.headers.x", "twice"),
        ("auth = \"trout\"", "destination.auth", "must be a table"),
        ("auth = { token = \"trout\" }", "destination.auth.kind", "bearer, basic, oauth2_client_credentials, mtls"),
        ("auth = { kind = \"baerer\" }", "destination.auth.kind", "unknown value `baerer`"),
        ("auth = { kind = \"bearer\" }", "destination.auth.token", "or as token_file"),
        ("auth = { kind = \"bearer\", token = \"Bearer trout\" }", "destination.auth.token", "without the word Bearer"),
        (
            "auth = { kind = \"bearer\", token = \"trout\", password = \"x\" }",
            "destination.auth.password",
            "unknown key",
        ),
        ("auth = { kind = \"basic\", password = \"trout\" }", "destination.auth.username", "is missing"),
        ("auth = { kind = \"basic\", username = \"a:b\", password = \"trout\" }", "destination.auth.username", "colon"),
        (&format!("auth = {{ {OAUTH}, client_secret = \"trout\" }}"), "destination.auth.token_url", "is missing"),
        (
            &format!("auth = {{ {OAUTH}, token_url = \"https://10.0.0.1/\", client_secret = \"trout\" }}"),
            "destination.auth.token_url",
            "private network",
        ),
        (
            &format!("auth = {{ {OAUTH}, token_url = \"https://a:trout@b.example/\", client_secret = \"perch\" }}"),
            "destination.auth.token_url",
            "user name or password",
        ),
        (
            &format!("auth = {{ {OAUTH}, token_url = \"https://b.example/\", client_secret_file = \"/none/here\" }}"),
            "destination.auth.client_secret_file",
            "cannot be used",
        ),
        (
            "auth = { kind = \"mtls\", certificate_file = \"/none/here\", private_key_file = \"/none/there\" }",
            "destination.auth.certificate_file",
            "cannot be used",
        ),
    ] {
        let (problems, _) = said(destination);
        let found = problems.lines().any(|it| it.contains(key) && it.contains(told));
        assert!(found && problems.lines().count() == 2, "{destination}: {problems}");
    }
}

#[test]
fn what_travels_unencrypted_is_warned_of() {
    let oauth = "auth = { kind = \"oauth2_client_credentials\", client_id = \"bridge\", client_secret = \"trout\", \
                 token_url = \"http://login.example/\" }";
    let (problems, warnings) = said(oauth);
    assert!(
        problems.is_empty() && warnings.contains("the client's secret travels unencrypted"),
        "{problems}{warnings}"
    );
    let (problems, warnings) = said("auth = { kind = \"bearer\", token = \"trout\" }");
    assert!(problems.is_empty() && warnings.is_empty(), "{problems}{warnings}");
}

#[test]
fn a_certificate_and_its_key_are_tried_before_the_first_mail() {
    let folder = tempfile::tempdir().unwrap();
    Gate::admit_elsewhere(folder.path());
    assert_eq!(said(&Gate::auth(folder.path())), (String::new(), String::new()));
    let key = std::fs::read(folder.path().join("key.pem")).unwrap();
    Gate::admit_elsewhere(folder.path());
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    let (problems, _) = said(&Gate::auth(folder.path()));
    assert!(problems.contains("auth.private_key_file") && problems.contains("is not the key"), "{problems}");
}

#[test]
fn nothing_of_it_is_shown() {
    let folder = Folder::new();
    for (destination, shown) in [
        ("headers = { X-Key = \"trout\" }", "headers = { X-Key = \"(hidden)\" }"),
        ("auth = { kind = \"bearer\", token = \"trout\" }", "token = \"(hidden)\""),
        ("auth = { kind = \"basic\", username = \"ann\", password = \"perch\" }", "password = \"(hidden)\""),
        (
            "auth = { kind = \"oauth2_client_credentials\", client_id = \"bridge\", client_secret = \"pike\", \
             token_url = \"https://login.example/?key=trout\" }",
            "client_secret = \"(hidden)\"",
        ),
    ] {
        let loaded = Config::load(&[with(&folder, destination)], env(&[])).unwrap_or_else(|it| panic!("{it}"));
        let printed = AsToml(&loaded.origins).to_string();
        let squeezed = printed.lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
        assert!(squeezed.into_iter().any(|it| it.starts_with(shown)), "{printed}");
        let debugged = format!("{:?}{:?}", loaded.config.routes, loaded.origins);
        for secret in SECRETS {
            assert!(!printed.contains(secret) && !debugged.contains(secret), "{secret}: {printed}{debugged}");
        }
    }
}

#[test]
fn a_variable_can_hold_it() {
    let folder = Folder::new();
    let variables = env(&[
        ("MAILSPAN__ROUTES__0__DESTINATION__AUTH__KIND", "bearer"),
        ("MAILSPAN__ROUTES__0__DESTINATION__AUTH__TOKEN", "trout"),
        ("MAILSPAN__ROUTES__0__DESTINATION__HEADERS", "{ X-Key = \"perch\" }"),
    ]);
    let loaded = Config::load(&[with(&folder, "")], variables).unwrap_or_else(|it| panic!("{it}"));
    let mailspan::destinations::Config::Webhook(webhook) = &loaded.config.routes[0].destination else { panic!() };
    assert!(webhook.auth.is_some());
    assert_eq!(webhook.headers["X-Key"].expose(), "perch");
}
