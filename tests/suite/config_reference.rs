//! The reference, the example, the schema and the manual speak of the same keys.

use std::collections::BTreeSet;
use std::time::Duration;

use mailspan::config::{Config, schema};
use serde_json::Value;

use crate::config_layers::{Folder, SIGNING_SECRET, env};
use crate::identity_keys::Pair;

const DEFAULTS: &str = include_str!("../../config/defaults.toml");
const EXAMPLE: &str = include_str!("../../config/example.toml");
const MANUAL: &str = include_str!("../../docs/configuration.md");

/// The text with its secrets in files that exist.
fn with_secrets(text: &str, folder: &Folder) -> String {
    let secret = folder.write("contoso", "swordfish~Value\n");
    let signing = folder.write("flow", &format!("{SIGNING_SECRET}\n"));
    let api = folder.write("ops-token", "0123456789abcdef0123456789abcdef\n");
    let pem = folder.write("any.pem", "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n");
    let pem = pem.to_str().unwrap();
    let pair = Pair::valid_for(Duration::from_secs(400 * 24 * 3600));
    let certificate = folder.write("contoso.pem", &pair.certificate);
    let private_key = folder.write("contoso-key.pem", &pair.key);
    let federated = folder.write("azure-identity-token", "e30.e30.AA\n");
    let keys = folder.write("store-keys", "Cw3Qb4WcQ8pYp1rB7nXvH2mK5tLs9eJfUoZ6iDgAkEM=\n");
    text.replace("/run/secrets/mailspan-store-keys", keys.to_str().unwrap())
        .replace("/etc/mailspan/contoso.pem", certificate.to_str().unwrap())
        .replace("/run/secrets/contoso-key.pem", private_key.to_str().unwrap())
        .replace("/var/run/secrets/azure/tokens/azure-identity-token", federated.to_str().unwrap())
        .replace("/run/secrets/contoso", secret.to_str().unwrap())
        .replace("/run/secrets/client", secret.to_str().unwrap())
        .replace("/run/secrets/flow", signing.to_str().unwrap())
        .replace("/run/secrets/relay", secret.to_str().unwrap())
        .replace("/run/secrets/crm", secret.to_str().unwrap())
        .replace("/run/secrets/genesys", secret.to_str().unwrap())
        .replace("/run/secrets/connect", secret.to_str().unwrap())
        .replace("/run/secrets/ops-token", api.to_str().unwrap())
        .replace("/run/secrets/nats.creds", secret.to_str().unwrap())
        .replace("/run/secrets/rabbit", secret.to_str().unwrap())
        .replace("/run/secrets/kafka", secret.to_str().unwrap())
        .replace("/run/secrets/bucket", secret.to_str().unwrap())
        .replace("/etc/mailspan/tls/chain.pem", pem)
        .replace("/etc/mailspan/tls/key.pem", pem)
        .replace("/etc/mailspan/corporate-roots.pem", pem)
}

/// The reference with every example made real.
fn everything() -> String {
    let real = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|it: char| it.is_ascii_lowercase() || it == '[') => rest.to_owned(),
        _ => line.to_owned(),
    };
    DEFAULTS.lines().map(real).collect::<Vec<_>>().join("\n")
}

/// Every key of the schema, as `table.key`.
fn keys(schema: &Value, root: &Value, table: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        keys(root.pointer(reference.trim_start_matches('#')).unwrap(), root, table, found);
    }
    for part in ["anyOf", "oneOf"].iter().filter_map(|it| schema.get(it)?.as_array()).flatten() {
        keys(part, root, table, found);
    }
    if let Some(items) = schema.get("items") {
        keys(items, root, table, found);
    }
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
        keys(property, root, &path, found);
        found.insert(path);
    }
}

fn every_key() -> BTreeSet<String> {
    let schema = schema();
    let mut found = BTreeSet::new();
    keys(&schema, &schema, "", &mut found);
    found
}

fn written(value: &toml::Value, table: &str, found: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(entries) => {
            for (key, value) in entries {
                let path = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
                written(value, &path, found);
                found.insert(path);
            }
        }
        toml::Value::Array(list) => list.iter().for_each(|it| written(it, table, found)),
        _ => {}
    }
}

#[test]
fn the_example_is_enough_and_ten_lines_long() {
    let folder = Folder::new();
    let file = folder.write("example.toml", &with_secrets(EXAMPLE, &folder));
    let loaded = Config::load(&[file], env(&[])).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    let lines = EXAMPLE.lines().filter(|it| it.contains(" = "));
    assert_eq!(lines.count(), 8, "keys of the example");
}

#[test]
fn the_reference_loads_with_every_example_made_real() {
    let folder = Folder::new();
    let file = folder.write("everything.toml", &with_secrets(&everything(), &folder));
    let loaded = Config::load(&[file], env(&[])).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.routes.len(), 9);
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let mut reference = BTreeSet::new();
    written(&toml::from_str(&everything()).unwrap(), "", &mut reference);
    let schema = every_key();
    // A secret's two keys cannot both be set, nor two kinds of auth: the others stand in comments.
    let in_comments = [
        "tenants.credentials.secret",
        "api_tokens.token",
        "outbound.callback.signing_secret",
        "outbound.smtp_users.password",
        "routes.destination.signing_secret",
        "routes.destination.auth.client_secret",
        "routes.destination.auth.token",
        "routes.destination.auth.token_file",
        "routes.destination.auth.username",
        "routes.destination.auth.password",
        "routes.destination.auth.password_file",
        "routes.destination.auth.certificate_file",
        "routes.destination.auth.private_key_file",
        "routes.destination.password",
        "routes.destination.srs_secret",
        "routes.destination.srs_secret_file",
        "routes.destination.client_secret",
        "routes.destination.secret_access_key",
        "routes.destination.queue_id",
        "routes.destination.sasl.password",
    ];
    let missing: Vec<_> =
        schema.iter().filter(|it| !reference.contains(*it) && !in_comments.contains(&it.as_str())).collect();
    assert!(missing.is_empty(), "the reference does not name {missing:?}");
    for key in in_comments {
        let key = key.rsplit('.').next().unwrap();
        assert!(DEFAULTS.contains(&format!("`{key} = ")) || DEFAULTS.contains(&format!(", {key} = ")), "{key}");
    }
    let own = [
        "routes.attributes.",
        "routes.destination.headers.",
        "routes.destination.options.",
        "outbound.callback.headers.",
    ];
    let strange: Vec<_> =
        reference.iter().filter(|it| !schema.contains(*it) && !own.iter().any(|own| it.starts_with(own))).collect();
    assert!(strange.is_empty(), "nobody knows {strange:?}");
}

#[test]
fn the_examples_of_the_reference_are_the_defaults_where_there_are_defaults() {
    let schema = schema();
    let reference: toml::Value = toml::from_str(&everything()).unwrap();
    let tables = [
        ("TenantConfig", &reference["tenants"][0]),
        ("MailboxConfig", &reference["mailboxes"][0]),
        ("RouteConfig", &reference["routes"][0]),
    ];
    let as_time = |value: &Value| {
        let spans = value.as_array().cloned().unwrap_or_default();
        spans.iter().map(|it| it.as_str()?.parse::<mailspan::model::units::Span>().ok()).collect::<Option<Vec<_>>>()
    };
    let mut compared = 0;
    for (name, table) in tables {
        for (key, property) in schema["$defs"][name]["properties"].as_object().unwrap() {
            let (Some(default), Some(example)) = (property.get("default"), table.get(key)) else { continue };
            let example = serde_json::to_value(example).unwrap();
            // An empty rule is the default; an example of one is not empty.
            let empty = default.as_array().is_some_and(Vec::is_empty) || default.as_object().is_some();
            if !empty && as_time(default).zip(as_time(&example)).is_none_or(|(a, b)| a != b || a.is_empty()) {
                assert_eq!(*default, example, "{name}.{key}");
            }
            compared += usize::from(!empty);
        }
    }
    assert_eq!(compared, 12, "values compared");
}

#[test]
fn the_manual_names_every_key() {
    let unnamed: Vec<_> = every_key()
        .into_iter()
        .filter(|path| {
            let key = path.rsplit('.').next().unwrap();
            let as_section = [format!("[{path}]"), format!("[[{path}]]")];
            !MANUAL.contains(&format!("| `{key}` |")) && !as_section.iter().any(|it| MANUAL.contains(it))
        })
        .collect();
    assert!(unnamed.is_empty(), "docs/configuration.md does not name {unnamed:?}");
}

#[test]
fn the_schema_asks_for_nothing_that_has_a_default() {
    let schema = schema();
    assert_eq!(schema.get("required"), None);
    let property = &schema["$defs"]["LimitsConfig"];
    assert_eq!(property.get("required"), None);
    assert_eq!(property["properties"]["memory_budget"]["default"], "256MiB");
    assert_eq!(schema["additionalProperties"], false);
}
