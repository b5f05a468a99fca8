//! A client of the tenant as plain as can be: no retries, no memory, no Mailspan.

use mailspan_tenant::{Options, Tenant};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

pub(crate) const MAILBOX: &str = "support@contoso.com";
pub(crate) const INBOX: &str = "/users/support@contoso.com/mailFolders/inbox";

pub(crate) struct Client {
    pub(crate) tenant: Tenant,
    pub(crate) http: reqwest::Client,
    token: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let items = self.json["value"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn link(&self, name: &str) -> Option<String> {
        self.json[name].as_str().map(str::to_owned)
    }
}

impl Client {
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let tenant = Tenant::start(options).await.unwrap();
        tenant.add_mailbox(MAILBOX);
        Self::of(tenant).await
    }

    pub(crate) async fn of(tenant: Tenant) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut client = Self { tenant, http, token: String::new() };
        client.sign_in().await;
        client
    }

    pub(crate) async fn sign_in(&mut self) {
        let answer = self.token(&[]).await;
        self.token = answer.json["access_token"].as_str().expect("a token").to_owned();
    }

    /// Asks for a token with the right form, in which `changes` replaces fields; an empty value takes one away.
    pub(crate) async fn token(&self, changes: &[(&str, &str)]) -> Answer {
        let scope = self.tenant.scope();
        let right = [
            ("grant_type", "client_credentials"),
            ("client_id", self.tenant.client_id()),
            ("client_secret", self.tenant.client_secret()),
            ("scope", &scope),
        ];
        let form: Vec<_> = right
            .into_iter()
            .map(|(name, value)| (name, changes.iter().find(|(n, _)| *n == name).map_or(value, |(_, v)| v)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        answer(self.http.post(self.tenant.token_endpoint()).form(&form)).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { self.tenant.graph_endpoint() + path };
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// A request that asks for immutable ids.
    pub(crate) fn immutable(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.request(method, path).header("Prefer", "IdType=\"ImmutableId\"")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.immutable(Method::GET, path)).await
    }

    pub(crate) async fn page(&self, path: &str, size: usize) -> Answer {
        answer(self.immutable(Method::GET, path).header("Prefer", format!("odata.maxpagesize={size}"))).await
    }

    pub(crate) async fn patch(&self, path: &str, json: Value) -> Answer {
        answer(self.immutable(Method::PATCH, path).json(&json)).await
    }

    pub(crate) async fn post(&self, path: &str, json: Value) -> Answer {
        answer(self.immutable(Method::POST, path).json(&json)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        answer(self.immutable(Method::DELETE, path)).await
    }

    /// Follows a delta round from a link to its deltaLink. Returns all items and that link.
    pub(crate) async fn round(&self, from: &str, size: usize) -> (Vec<Value>, String) {
        let mut items = Vec::new();
        let mut link = from.to_owned();
        loop {
            let page = self.page(&link, size).await;
            assert_eq!(page.status, 200, "{}", page.json);
            items.extend(page.json["value"].as_array().unwrap().clone());
            match (page.link("@odata.nextLink"), page.link("@odata.deltaLink")) {
                (Some(next), None) => link = next,
                (None, Some(delta)) => return (items, delta),
                _ => panic!("a page has exactly one link: {}", page.json),
            }
        }
    }
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    let json = if bytes.is_empty() { json!(null) } else { serde_json::from_slice(&bytes).unwrap_or(json!(null)) };
    Answer { status, headers, json }
}

pub(crate) fn message(id: &mailspan_tenant::MessageId) -> String {
    format!("/users/{MAILBOX}/messages/{}", id.as_str().replace('=', "%3D"))
}

pub(crate) fn mail(n: usize) -> String {
    format!(
        "From: Ann <ann@example.org>\r\nTo: {MAILBOX}\r\nSubject: Mail {n}\r\nMessage-ID: <{n}@example.org>\r\n\r\nHello {n}\r\n"
    )
}

pub(crate) fn ids_of(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().unwrap()).collect()
}
