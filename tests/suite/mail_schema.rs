//! A strict reader of the published JSON Schema: what a rendered interaction breaks is named with its place.
//!
//! It knows the keywords the schema uses and refuses to run over one it does not know.

use serde_json::Value;

/// Everything this interaction breaks; empty when it is valid.
pub(crate) fn violations(instance: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(include_str!("../../docs/interaction.schema.json")).unwrap();
    let mut found = Vec::new();
    check(&schema, &schema, instance, "$", &mut found);
    found
}

fn check(root: &Value, schema: &Value, instance: &Value, at: &str, found: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "contentEncoding" => {}
            "$ref" => {
                let path = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(path).unwrap(), instance, at, found);
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|it| is_of(instance, it.as_str().unwrap())) {
                    found.push(format!("{at}: not of type {rule}"));
                }
            }
            "const" if instance == rule => {}
            "const" => found.push(format!("{at}: not {rule}")),
            "enum" if rule.as_array().unwrap().contains(instance) => {}
            "enum" => found.push(format!("{at}: none of {rule}")),
            "anyOf" => {
                let fits = |it: &Value| {
                    let mut broken = Vec::new();
                    check(root, it, instance, at, &mut broken);
                    broken
                };
                let all: Vec<_> = rule.as_array().unwrap().iter().map(fits).collect();
                if all.iter().all(|it| !it.is_empty()) {
                    found.extend(all.into_iter().flatten());
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = instance.get(name) {
                        check(root, rule, value, &format!("{at}.{name}"), found);
                    }
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if instance.is_object() && instance.get(name.as_str().unwrap()).is_none() {
                        found.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "additionalProperties" => {
                for (name, value) in instance.as_object().into_iter().flatten() {
                    if schema.get("properties").is_none_or(|it| it.get(name).is_none()) {
                        match rule {
                            Value::Bool(false) => found.push(format!("{at}: {name} is not in the schema")),
                            rule => check(root, rule, value, &format!("{at}.{name}"), found),
                        }
                    }
                }
            }
            "items" => {
                for (index, value) in instance.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, value, &format!("{at}[{index}]"), found);
                }
            }
            "minimum" if instance.as_i64().is_some_and(|it| it < rule.as_i64().unwrap()) => {
                found.push(format!("{at}: below {rule}"));
            }
            "maxLength" if letters(instance) > rule.as_u64() => found.push(format!("{at}: longer than {rule}")),
            "minLength" if instance.is_string() && letters(instance) < rule.as_u64() => {
                found.push(format!("{at}: shorter than {rule}"));
            }
            "minimum" | "maxLength" | "minLength" => {}
            "pattern" => {
                let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
                if instance.as_str().is_some_and(|it| !pattern.is_match(it)) {
                    found.push(format!("{at}: does not match {rule}"));
                }
            }
            "format" => {
                assert_eq!(rule, "date-time");
                if instance.as_str().is_some_and(|it| it.parse::<jiff::Timestamp>().is_err()) {
                    found.push(format!("{at}: is no date-time"));
                }
            }
            unknown => panic!("the schema uses {unknown}, which nothing checks"),
        }
    }
}

fn letters(instance: &Value) -> Option<u64> {
    instance.as_str().map(|it| it.chars().count() as u64)
}

fn is_of(instance: &Value, name: &str) -> bool {
    match name {
        "object" => instance.is_object(),
        "array" => instance.is_array(),
        "string" => instance.is_string(),
        "integer" => instance.is_i64() || instance.is_u64(),
        "boolean" => instance.is_boolean(),
        "null" => instance.is_null(),
        other => panic!("the schema uses the type {other}"),
    }
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
