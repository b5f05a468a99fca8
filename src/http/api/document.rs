//! The OpenAPI 3.1 document, made of the operations themselves.

use axum::http::StatusCode;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::BASE;
use super::operation::{Door, Operation};
use crate::http::problem;

/// The media type of a problem.
const PROBLEM: &str = "application/problem+json";

/// The document of these operations; whether every request has to show a token depends on the configuration.
pub(super) fn document(operations: &[Operation], wants_tokens: bool) -> Value {
    let mut schemas = Schemas::new(wants_tokens);
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(format!("{BASE}{}", operation.path)).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = schemas.operation(operation);
    }
    let own = json!({
        "operationId": "getOpenApi",
        "summary": "This document.",
        "security": [],
        "responses": { "200": { "description": "The document.", "content": { "application/json": { "schema": { "type": "object" } } } } },
    });
    paths.insert(format!("{BASE}/openapi.json"), json!({ "get": own }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mailspan",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The API of the private listener. Without `[[api_tokens]]` it answers requests from the machine \
                itself only; with some, every request shows one of them as a bearer token. Errors are problems (RFC 9457). \
                Lists come in pages: hand `next_cursor` back as `cursor`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "One of `[[api_tokens]]`, with the scope the operation names." },
            },
        },
    })
}

/// The schemas of what is taken and of what is answered: a field with a default may be left out of the one only.
struct Schemas {
    taken: SchemaGenerator,
    answered: SchemaGenerator,
    wants_tokens: bool,
}

impl Schemas {
    fn new(wants_tokens: bool) -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|it| {
                it.definitions_path = "/components/schemas".into();
                it.meta_schema = None;
            })
        };
        Self {
            taken: settings().for_deserialize().into_generator(),
            answered: settings().for_serialize().into_generator(),
            wants_tokens,
        }
    }

    fn components(mut self) -> Map<String, Value> {
        let mut all = self.taken.take_definitions(true);
        all.extend(self.answered.take_definitions(true));
        all
    }

    fn operation(&mut self, operation: &Operation) -> Value {
        let mut parameters: Vec<Value> = Vec::new();
        for (name, says) in &operation.names {
            let schema = json!({ "type": "string", "minLength": 1 });
            parameters
                .push(json!({ "name": name, "in": "path", "required": true, "description": says, "schema": schema }));
        }
        if let Some(draw) = operation.query {
            parameters.extend(fields("query", draw(&mut self.taken).to_value()));
        }
        if let Some(draw) = operation.headers {
            parameters.extend(fields("header", draw(&mut self.taken).to_value()));
        }
        let mut responses = Map::new();
        for answer in &operation.answers {
            let mut response = json!({ "description": answer.says });
            if let Some(media) = answer.media {
                let schema = answer.draw.map(|draw| draw(&mut self.answered).to_value());
                let content = schema.map_or_else(|| json!({}), |it| json!({ "schema": it }));
                response["content"] = json!({ media: content });
            }
            responses.insert(answer.status.to_string(), response);
        }
        for status in &operation.refusals {
            responses.insert(status.to_string(), self.problem(*status));
        }
        let mut document = json!({
            "operationId": operation.id,
            "summary": operation.says,
            "parameters": parameters,
            "responses": responses,
            "security": security(operation.door, self.wants_tokens),
        });
        if let Door::Scope(scope) = operation.door {
            document["description"] = format!("Needs the scope `{}`.", scope.as_str()).into();
        }
        if let Some((draw, own)) = operation.body {
            let schema = draw(&mut self.taken).to_value();
            let required = own(&mut self.taken).get("required").is_some();
            let mut content = json!({ "application/json": { "schema": schema } });
            if let Some(media) = operation.takes {
                content[media] = json!({ "schema": { "type": "string" } });
            }
            document["requestBody"] = json!({ "required": required, "content": content });
        }
        document
    }

    fn problem(&mut self, status: u16) -> Value {
        let schema = problem::Body::schema(&mut self.answered);
        let says = StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason()).unwrap_or("A problem");
        json!({ "description": says, "content": { PROBLEM: { "schema": schema } } })
    }
}

/// The fields of an object as parameters of a query, or of a header.
fn fields(place: &str, object: Value) -> Vec<Value> {
    let required = |name: &str| object["required"].as_array().is_some_and(|it| it.iter().any(|it| it == name));
    let mut parameters = Vec::new();
    for (name, schema) in object["properties"].as_object().into_iter().flatten() {
        let (mut schema, required) = (schema.clone(), required(name));
        let says = schema.as_object_mut().and_then(|it| it.remove("description")).unwrap_or_default();
        without_null(&mut schema);
        parameters
            .push(json!({ "name": name, "in": place, "required": required, "description": says, "schema": schema }));
    }
    parameters
}

/// A query knows no null: a field is there or it is not.
fn without_null(schema: &mut Value) {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|it| it != "null");
        if let [only] = kinds.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(choices) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.retain(|it| it["type"] != "null");
        if let [only] = choices.as_slice() {
            *schema = only.clone();
        }
    }
}

fn security(door: Door, wants_tokens: bool) -> Value {
    match door {
        Door::Open => json!([]),
        Door::Scope(_) if wants_tokens => json!([{ "bearer": [] }]),
        // Where nobody needs a token, standing at the machine is enough; a signed link is a part of the address.
        Door::Scope(_) | Door::Link => json!([{ "bearer": [] }, {}]),
    }
}

impl problem::Body<'_> {
    fn schema(generator: &mut SchemaGenerator) -> Value {
        generator.subschema_for::<Self>().to_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_name_is_said_once() {
        let document = document(&super::super::operations(), true);
        let text = document.to_string();
        for (at, _) in text.match_indices("#/components/schemas/") {
            let pointer: String = text[at + 1..].chars().take_while(|it| *it != '"').collect();
            assert!(document.pointer(&pointer).is_some(), "{pointer}");
        }
        let mut ids: Vec<&str> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|it| it.as_object().unwrap().values())
            .map(|it| it["operationId"].as_str().unwrap())
            .collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert!(document["components"]["schemas"]["Problem"].is_object());
    }

    #[test]
    fn every_name_in_a_path_is_described() {
        for operation in super::super::operations() {
            let names = operation.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
            let described: Vec<&str> = operation.names.iter().map(|(name, _)| *name).collect();
            assert_eq!(names.collect::<Vec<_>>(), described, "{}", operation.path);
            assert!(operation.says.ends_with('.') && !operation.answers.is_empty(), "{}", operation.path);
        }
    }
}
