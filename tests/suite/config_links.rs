//! What is asked of a configuration that hands out links.

use mailspan::config::Config;

use crate::config_layers::{Folder, GOOD, env};

/// The problems and the warnings of the good configuration with these lines more in `[server]` and in the destination.
fn said(server: &str, destination: &str) -> (Vec<String>, Vec<String>) {
    let folder = Folder::new();
    let text = GOOD.replacen("[server]", &format!("[server]\n{server}"), 1).replacen(
        "kind = \"webhook\"",
        &format!("kind = \"webhook\"\n{destination}"),
        1,
    );
    let file = folder.write("mailspan.toml", &text);
    match Config::load(&[file], env(&[])) {
        Ok(loaded) => (Vec::new(), loaded.warnings.into_iter().map(|it| it.message).collect()),
        Err(problems) => (problems.to_string().lines().skip(1).map(str::to_owned).collect(), Vec::new()),
    }
}

#[test]
fn what_cannot_be_linked_is_explained() {
    for (server, destination, key, told) in [
        ("", "content = \"link\"\nformat = \"mime\"", "destination.content", "cannot be `link` with format = \"mime\""),
        ("content_url = \"ftp://bridge.example.com\"", "", "server.content_url", "must begin with https:// or http://"),
        ("content_url = \"https://bridge.example.com/?a=b\"", "", "server.content_url", "scheme, host and path only"),
        ("content_url = \"https://ann@bridge.example.com\"", "", "server.content_url", "scheme, host and path only"),
        ("", "format = \"xml\"", "destination.format", "json"),
    ] {
        let (problems, _) = said(server, destination);
        assert!(problems[0].contains(key) && problems[0].contains(told), "{problems:?}");
    }
}

#[test]
fn links_that_nobody_else_can_follow_are_warned_of() {
    let told = |server: &str, destination: &str| {
        let (problems, warnings) = said(server, destination);
        assert!(problems.is_empty(), "{problems:?}");
        warnings.join("\n")
    };
    assert!(told("", "content = \"link\"").contains("set server.content_url"));
    assert!(told("admin_listen = \"10.0.0.5:9090\"", "content = \"link\"").is_empty());
    assert!(told("content_url = \"https://bridge.example.com/mail\"", "content = \"link\"").is_empty());
    assert!(told("content_url = \"http://bridge.example.com\"", "content = \"link\"").contains("unencrypted"));
    for format in ["json", "mime", "cloudevents"] {
        assert!(told("", &format!("format = {format:?}")).is_empty());
    }
}
