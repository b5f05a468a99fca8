//! The API as a client of it sees it: every answer is held against the OpenAPI document the bridge itself serves.

use std::time::Duration;

use jsonschema::Validator;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::world::{Plan, client};

/// Answers are waited for as long as a busy machine may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

/// A client of one bridge.
pub(crate) struct Api {
    base: String,
    token: Option<String>,
    document: Value,
}

/// An answer that keeps to the document.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Api {
    pub(crate) async fn of(plan: &Plan) -> Self {
        let base = format!("http://{}", plan.admin);
        let document =
            client().get(format!("{base}/api/v1/openapi.json")).timeout(ANSWERED_WITHIN).send().await.unwrap();
        Self { base, token: None, document: document.json().await.unwrap() }
    }

    /// The same with a token.
    pub(crate) fn with(&self, token: &str) -> Self {
        Self { base: self.base.clone(), token: Some(token.to_owned()), document: self.document.clone() }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// `GET` of a path below `/api/v1`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    /// `POST` of JSON to a path below `/api/v1`.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Any request, with a body of any kind.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        fields: &[(&'static str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = client().request(method.clone(), format!("{}/api/v1{path}", self.base));
        request = request.timeout(ANSWERED_WITHIN).body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.checked(&method, path, request.send().await.unwrap()).await
    }

    /// `DELETE` of a path below `/api/v1`.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, &[], Vec::new()).await
    }

    /// `GET`, which has to succeed.
    pub(crate) async fn found(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = client().request(method.clone(), format!("{}/api/v1{path}", self.base));
        request = request.timeout(ANSWERED_WITHIN);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        self.checked(&method, path, request.send().await.unwrap()).await
    }

    /// An answer, once it was found to keep to the document.
    pub(crate) async fn checked(&self, method: &Method, path: &str, response: Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let kind = headers.get("content-type").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
        let text = response.text().await.unwrap();
        let body: Value = if kind.ends_with("json") { serde_json::from_str(&text).unwrap() } else { Value::Null };
        let operation = self.operation(method, path);
        let said = &operation["responses"][status.to_string()];
        assert!(said.is_object(), "{method} {path} answers {status}, which its document does not know: {body}");
        let schema = &said["content"][kind.as_str()]["schema"];
        assert!(schema.is_object(), "{method} {path} answers {status} with {kind}, which its document does not know");
        let whole = json!({ "allOf": [schema], "components": self.document["components"] });
        let validator: Validator = jsonschema::validator_for(&whole).unwrap();
        let wrong: Vec<String> = validator.iter_errors(&body).map(|it| it.to_string()).collect();
        assert!(wrong.is_empty(), "{method} {path} {status}: {wrong:?} in {body}");
        Answer { status, headers, body }
    }

    /// What the document says of this call; of two paths that fit, the one with fewer names goes first.
    fn operation(&self, method: &Method, path: &str) -> &Value {
        let asked: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
        let fits = |known: &str| {
            let known: Vec<&str> = known.trim_start_matches("/api/v1").split('/').collect();
            known.len() == asked.len() && known.iter().zip(&asked).all(|(a, b)| a.starts_with('{') || a == b)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let found = paths.iter().filter(|(known, _)| fits(known)).min_by_key(|(known, _)| known.matches('{').count());
        let (_, path_item) = found.unwrap_or_else(|| panic!("the document has no {path}"));
        &path_item[method.as_str().to_ascii_lowercase()]
    }
}
