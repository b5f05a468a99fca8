//! The schema of callbacks, as it is shipped: drawn from the code, and held against what is said and shown.

use std::path::PathBuf;
use std::sync::LazyLock;

use jsonschema::Validator;
use mailspan::model::callback::schema;
use serde_json::Value;

static EVENT: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::options().should_validate_formats(true).build(&schema()).unwrap());

/// Everything this event breaks; empty when it is valid.
pub(crate) fn violations(event: &Value) -> Vec<String> {
    EVENT.iter_errors(event).map(|it| format!("{}: {it}", it.instance_path())).collect()
}

fn document(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_schema_that_ships_is_the_one_the_code_draws() {
    let drawn = format!("{:#}\n", schema());
    if std::env::var_os("MAILSPAN_WRITE_SCHEMAS").is_some() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/callback.schema.json");
        std::fs::write(path, &drawn).unwrap();
    }
    assert!(jsonschema::meta::is_valid(&schema()));
    assert_eq!(document("callback.schema.json"), drawn, "write it anew with MAILSPAN_WRITE_SCHEMAS=1");
}

#[test]
fn the_examples_of_callbacks_in_the_manual_are_valid() {
    let manual = document("sending.md");
    let blocks = manual.split("```json\n").skip(1).map(|it| it.split("```").next().unwrap());
    let events: Vec<Value> = blocks
        .filter_map(|it| serde_json::from_str::<Value>(it).ok())
        .filter(|it| it["type"].as_str().is_some_and(|it| it.starts_with("submission.")))
        .collect();
    let kinds: Vec<&str> = events.iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["submission.sent", "submission.bounced"], "the manual shows both");
    for event in &events {
        assert_eq!(violations(event), Vec::<String>::new(), "{event:#}");
    }
}
