//! Azure below the app: the token endpoints of a virtual machine, and of App Service and Container Apps; and what the
//! login host says of itself.
//!
//! Written from learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token and
//! learn.microsoft.com/azure/app-service/overview-managed-identity. All numbers in these answers are texts.

use std::sync::Arc;

use axum::http::{header, request::Parts};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    clock::held,
    fault::{FaultAction, Victim},
    perform::{after_work, before_work},
    query::Query,
    target::Operation,
    world::World,
};

const MACHINE: &str = "/metadata/identity/oauth2/token";
const APP: &str = "/msi/token";
const DISCOVERY: &str = "/v2.0/.well-known/openid-configuration";

/// The answer of the platform or the login host; none if the path is neither's.
pub(crate) async fn answer(world: &Arc<World>, parts: &Parts) -> Option<Answer> {
    let path = parts.uri.path();
    if let Some(tenant) = path.strip_suffix(DISCOVERY).and_then(|it| it.strip_prefix('/')) {
        return Some(discovery(world, tenant, parts));
    }
    if path != MACHINE && path != APP {
        return None;
    }
    if parts.method != axum::http::Method::GET {
        return Some(Answer::empty(405));
    }
    world.ledger.count(Operation::Token, false);
    let victim = Victim { operation: Operation::Token, in_batch: false, mailbox: None, message: None };
    let fault = world.faults.strike(victim);
    if let Some(FaultAction::Refuse { status, .. }) = &fault {
        return Some(refused(*status, "unknown", "The request was refused on demand."));
    }
    if let Some(refusal) = before_work(world, fault.as_ref()).await {
        return Some(refusal);
    }
    let done = token(world, parts, path == APP).unwrap_or_else(|refusal| refusal);
    Some(after_work(done, fault))
}

fn token(world: &World, parts: &Parts, is_app: bool) -> Result<Answer, Answer> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if is_app {
        if text("x-identity-header") != Some(world.entra.identity_header().as_str()) {
            return Err(refused(401, "unauthorized", "The X-IDENTITY-HEADER is missing or wrong."));
        }
    } else if text("metadata") != Some("true") {
        return Err(refused(400, "invalid_request", "Required metadata header not specified"));
    } else if text("x-forwarded-for").is_some() {
        return Err(refused(400, "invalid_request", "Requests through a proxy are not served"));
    }
    let query = Query::read(parts.uri.query().unwrap_or_default());
    let version = if is_app { "2019-08-01" } else { "2018-02-01" };
    if query.get("api-version") != Some(version) {
        return Err(refused(400, "invalid_request", "The api-version is missing or not supported"));
    }
    let resource = query.get("resource").ok_or_else(|| refused(400, "invalid_request", "resource is missing"))?;
    let resource = resource.trim_end_matches('/');
    if resource != world.origin && !world.options.audiences.iter().any(|it| it == resource) {
        return Err(refused(400, "invalid_resource", "AADSTS500011: The resource principal was not found"));
    }
    let granted = world.entra.issue_to_identity(query.get("client_id"), resource, &world.options, &world.clock);
    let granted = granted.ok_or_else(|| refused(400, "invalid_request", "Identity not found"))?;
    let seconds = granted["expires_in"].as_i64().unwrap_or(0);
    let now = world.clock.now_ms().div_euclid(1000);
    let mut answer = json!({
        "access_token": granted["access_token"], "client_id": granted["client_id"], "resource": resource,
        "token_type": "Bearer", "expires_on": (now + seconds).to_string(),
    });
    if !is_app {
        answer["expires_in"] = Value::String(seconds.to_string());
        answer["ext_expires_in"] = Value::String(seconds.to_string());
        answer["not_before"] = Value::String(now.to_string());
    }
    Ok(Answer::json(200, answer))
}

fn refused(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(status, json!({ "error": error, "error_description": description }))
}

/// What a client library asks for first: where tokens are issued, under the name the host was asked by.
fn discovery(world: &World, tenant: &str, parts: &Parts) -> Answer {
    if !tenant.eq_ignore_ascii_case(&world.options.tenant_id) {
        return Answer::json(400, json!({ "error": "invalid_tenant" }));
    }
    let base = login(world, tenant, parts);
    let elsewhere = held(&world.elsewhere).clone();
    Answer::json(
        200,
        json!({
            "issuer": format!("{base}/v2.0"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "msgraph_host": elsewhere.as_ref().map_or("graph.microsoft.com", |it| it.graph_host.as_str()),
            "tenant_region_sub_scope": elsewhere.as_ref().and_then(|it| it.region.as_deref()),
        }),
    )
}

/// The tenant's login, under the name the host was asked by.
pub(crate) fn login(world: &World, tenant: &str, parts: &Parts) -> String {
    let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let names = world.entra.origins(&world.origin);
    let name = names.iter().find(|it| it.split_once("://").is_some_and(|(_, authority)| authority == host));
    format!("{}/{tenant}", name.unwrap_or(&world.origin))
}
