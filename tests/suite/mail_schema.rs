//! The published JSON Schema, read by a public validator: what a body breaks is named with its place.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::receiver::Received;

/// The schema as it is shipped.
pub(crate) static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../docs/interaction.schema.json")).unwrap());

static EVENT: LazyLock<Validator> = LazyLock::new(|| validator(&SCHEMA));

/// What CloudEvents 1.0 asks of its attributes, and what the manual promises beyond that.
static CLOUD_EVENT: LazyLock<Validator> = LazyLock::new(|| {
    validator(&json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"],
        "additionalProperties": false,
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "minLength": 1 },
            "source": { "type": "string", "minLength": 1, "format": "uri-reference" },
            "type": { "const": "interaction.email.received" },
            "subject": { "type": "string", "minLength": 1 },
            "time": { "type": "string", "format": "date-time" },
            "datacontenttype": { "const": "application/json" },
            "data": { "$ref": "#/$defs/interaction" },
        },
        "$defs": SCHEMA["$defs"],
    }))
});

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

/// Everything this interaction breaks; empty when it is valid.
pub(crate) fn violations(instance: &Value) -> Vec<String> {
    broken(&EVENT, instance)
}

fn broken(validator: &Validator, instance: &Value) -> Vec<String> {
    validator.iter_errors(instance).map(|it| format!("{}: {it}", it.instance_path())).collect()
}

/// What the body of a request breaks, in whichever format it came.
pub(crate) fn violations_of(received: &Received) -> Vec<String> {
    let read = || serde_json::from_slice(&received.body).unwrap_or(Value::Null);
    match received.header("content-type") {
        "application/json" => violations(&read()),
        "application/cloudevents+json; charset=utf-8" => broken(&CLOUD_EVENT, &read()),
        "message/rfc822" => {
            const NEEDED: [&str; 4] =
                ["mailspan-interaction-id", "mailspan-message-key", "mailspan-route", "mailspan-raw-sha256"];
            NEEDED
                .into_iter()
                .filter(|it| received.header(it).is_empty())
                .map(|it| format!("{it} is missing"))
                .collect()
        }
        other => vec![format!("the content type is {other}")],
    }
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::meta::is_valid(&SCHEMA));
}

#[test]
fn what_the_schema_does_not_allow_is_found() {
    let mut interaction = super::mail_interaction::rendered("text");
    assert_eq!(violations(&interaction), Vec::<String>::new());
    interaction["data"]["message"]["to"] = Value::Null;
    interaction["data"]["message"]["surprise"] = true.into();
    interaction["data"]["interactionId"] = "ix.1".into();
    interaction["timestamp"] = "yesterday".into();
    interaction.as_object_mut().unwrap().remove("type");
    assert_eq!(violations(&interaction).len(), 5, "{:?}", violations(&interaction));
}

#[test]
fn the_examples_in_the_manual_are_valid() {
    let manual = include_str!("../../docs/interaction.md");
    let examples: Vec<Value> = manual
        .split("```json\n")
        .skip(1)
        .map(|it| it.split("```").next().unwrap())
        .map(|it| serde_json::from_str(it).unwrap_or_else(|error| panic!("{error}: {it}")))
        .collect();
    assert!(examples.len() >= 2, "the manual shows an event and a CloudEvent");
    for example in examples {
        let validator = if example.get("specversion").is_some() { &CLOUD_EVENT } else { &EVENT };
        assert_eq!(broken(validator, &example), Vec::<String>::new(), "{example:#}");
    }
}
