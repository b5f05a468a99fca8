//! What is asked of a route that leads to a bus or a store, and what of it is shown.

use mailspan::config::Config;

use crate::config_layers::{Folder, GOOD, env};

/// The problems and warnings of the good configuration with this destination, and what is shown of it.
fn said(destination: &str) -> (Vec<String>, Vec<String>, String) {
    let folder = Folder::new();
    let routes = GOOD.find("[[routes]]").unwrap();
    let text = format!("{}\n[[routes]]\nname = \"bus\"\n[routes.destination]\n{destination}\n", &GOOD[..routes]);
    let file = folder.write("mailspan.toml", &text);
    match Config::load(&[file], env(&[])) {
        Ok(loaded) => {
            let warnings = loaded.warnings.iter().map(|it| it.message.clone()).collect();
            (Vec::new(), warnings, format!("{:?} {:?}", loaded.origins, loaded.config))
        }
        Err(problems) => (problems.to_string().lines().skip(1).map(str::to_owned).collect(), Vec::new(), String::new()),
    }
}

const NATS: &str = "kind = \"nats\"\nurl = \"tls://nats.example\"\nsubject = \"mail.in\"";
const AMQP: &str = "kind = \"amqp\"\nurl = \"amqps://rabbit.example\"\nrouting_key = \"mail\"";
const KAFKA: &str = "kind = \"kafka\"\nbrokers = [\"kafka.example:9093\"]\ntopic = \"mail\"";
const STORE: &str = "kind = \"object_store\"\nurl = \"s3://bucket/in\"";

#[test]
fn buses_and_stores_are_checked_key_by_key() {
    for good in [NATS, AMQP, KAFKA, STORE] {
        let (problems, warnings, _) = said(good);
        assert_eq!((problems, warnings), (vec![], vec![]), "{good}");
    }
    let with = |good: &str, more: &str| format!("{good}\n{more}");
    for (destination, key, told) in [
        (NATS.replace("tls://", "https://"), "destination.url", "nats://host:4222"),
        (NATS.replace("tls://", "tls://user:hunter2@"), "destination.url", "write username and password"),
        (NATS.replace("mail.in", "mail.*"), "destination.subject", "without wildcards"),
        (with(NATS, "stream = \"a b\""), "destination.stream", "name of a stream"),
        (with(NATS, "username = \"u\""), "destination.password", "is missing"),
        (with(NATS, "password = \"hunter2\""), "destination.username", "is missing"),
        (with(NATS, "credentials_file = \"/nowhere\""), "destination.credentials_file", "cannot be used"),
        (with(NATS, "content = \"link\"\nformat = \"mime\""), "destination.content", "cannot be `link`"),
        (AMQP.replace("amqps://", "http://"), "destination.url", "amqps://host"),
        (AMQP.replace("amqps://", "amqps://user:hunter2@"), "destination.url", "write username and password"),
        (AMQP.replace("\"mail\"", "\"\""), "destination.routing_key", "name of a queue"),
        (with(AMQP, "username = \"u\""), "destination.password", "is missing"),
        (with(AMQP, "timeout = \"0s\""), "destination.timeout", "longer than 0s"),
        (KAFKA.replace("kafka.example:9093", "kafka://x"), "destination.brokers", "host:port"),
        (KAFKA.replace("[\"kafka.example:9093\"]", "[]"), "destination.brokers", "host:port"),
        (KAFKA.replace("\"mail\"", "\"a/b\""), "destination.topic", "letters, digits"),
        (
            with(KAFKA, "tls = false\nsasl = { mechanism = \"plain\", username = \"u\", password = \"p\" }"),
            "destination.tls",
            "must be true",
        ),
        (
            with(KAFKA, "sasl = { mechanism = \"scram-sha-256\", username = \"u\" }"),
            "destination.sasl.password",
            "is missing",
        ),
        (STORE.replace("s3://bucket", "https://bucket"), "destination.url", "s3://bucket/prefix"),
        (STORE.replace("s3://", "s3://key:hunter2@"), "destination.url", "credentials are options"),
        (with(STORE, "options = { regoin = \"x\" }"), "destination.options.regoin", "is no option of S3"),
        (
            STORE.replace("s3://bucket/in", "file:///tmp") + "\noptions = { region = \"x\" }",
            "destination.options.region",
            "a folder has no options",
        ),
        (with(STORE, "format = \"mime\""), "destination.format", "json"),
    ] {
        let (problems, ..) = said(&destination);
        let told = problems.len() == 1 && problems[0].contains(key) && problems[0].contains(told);
        assert!(told && !problems[0].contains("hunter2"), "{destination}: {problems:?}");
    }
}

#[test]
fn what_travels_unencrypted_is_warned_of_unless_it_stays_here() {
    for (destination, warned) in [
        (NATS.replace("tls://", "nats://"), true),
        (NATS.replace("tls://nats.example", "nats://localhost"), false),
        (AMQP.replace("amqps://", "amqp://"), true),
        (AMQP.replace("amqps://rabbit.example", "amqp://127.0.0.1"), false),
        (format!("{NATS}\ncontent = \"link\""), true),
    ] {
        let (problems, warnings, _) = said(&destination);
        assert_eq!((problems.len(), !warnings.is_empty()), (0, warned), "{destination}: {warnings:?}");
    }
}

#[test]
fn no_secret_of_a_bus_or_a_store_is_shown() {
    let options =
        "options = { region = \"eu-central-1\", access_key_id = \"hunter2\", secret_access_key = \"hunter3\" }";
    let sasl = "sasl = { mechanism = \"plain\", username = \"bridge\", password = \"hunter2\" }";
    let login = "username = \"bridge\"\npassword = \"hunter2\"";
    for (destination, more) in [(NATS, login), (AMQP, login), (KAFKA, sasl), (STORE, options)] {
        let (problems, _, shown) = said(&format!("{destination}\n{more}"));
        assert_eq!(problems, Vec::<String>::new());
        assert!(shown.contains("(hidden)") && !shown.contains("hunter"), "{shown}");
    }
}
