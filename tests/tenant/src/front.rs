//! The door: every HTTP request, told apart into Entra, Graph and control, and every answer written.
//!
//! Bearer tokens are checked here; below, a call is known to come from an app of the tenant.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tokio_util::io::ReaderStream;

use crate::{
    answer::{Answer, Content, Ending, error_body},
    call::{Call, Prefer},
    clock::{held, http_date},
    control,
    entra::{TokenRequest, Unauthorized},
    fault::{FaultAction, Victim},
    line::{Half, Scissors},
    perform::{after_work, before_work, perform},
    platform,
    refused::Refusal,
    signing_in,
    target::{Operation, Target},
    tenant::Tenant,
    upload::Part,
    world::{World, random_uuid},
};

/// Graph takes no larger write (learn.microsoft.com/graph/use-the-api).
const LARGEST_WRITE: usize = 4 * 1024 * 1024;
/// Control carries whole mails.
const LARGEST_CONTROL: usize = 160 * 1024 * 1024;

/// Answers one request.
pub(crate) async fn front(
    State(tenant): State<Tenant>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response {
    let world = &tenant.world;
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let is_control = path.starts_with("/_control/") && world.options.control;
    let limit = if is_control { LARGEST_CONTROL } else { LARGEST_WRITE };
    let ids = Ids::of(&parts.headers);
    let Ok(body) = to_bytes(body, limit).await else {
        let answer = Answer::error(413, "RequestEntityTooLarge", "Request entity too large.");
        return written(world, answer, &ids, &scissors);
    };
    let answer = if is_control {
        control::answer(&tenant, &parts, body).await
    } else if let Some(rest) = path.strip_prefix("/v1.0/") {
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        graph(world, &parts, &format!("/{rest}{query}"), body).await
    } else if path.starts_with("/api/v2.0/") {
        let (method, query) = (parts.method.as_str(), parts.uri.query().unwrap_or_default());
        world.clone().upload(Part { method, path: &path, query, headers: &parts.headers, body }).await
    } else if let Some(tenant) = token_path(&path) {
        token(world, tenant, &parts, &body).await
    } else if let Some(answer) = signing_in::answer(world, &parts, &body).await {
        answer
    } else if let Some(answer) = platform::answer(world, &parts).await {
        answer
    } else {
        Answer::bad_request("Invalid version or path.")
    };
    written(world, answer, &ids, &scissors)
}

fn token_path(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.strip_suffix("/oauth2/v2.0/token").filter(|tenant| !tenant.contains('/'))
}

async fn graph(world: &Arc<World>, parts: &Parts, path_and_query: &str, body: Bytes) -> Answer {
    let method = parts.method.as_str();
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let token = text(header::AUTHORIZATION)
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let bearer = match world.entra.bearer(token.map(|(_, token)| token.trim()), world.clock.now_ms()) {
        Ok(bearer) => bearer,
        Err(why) => {
            let operation = Target::read(path_and_query.split('?').next().unwrap_or_default()).operation(method);
            world.ledger.count(operation, false);
            world.ledger.answered(401);
            return unauthorized(why);
        }
    };
    let mut call = Call::read(method, path_and_query, body, bearer.app);
    call.on_behalf = bearer.on_behalf;
    let mut prefer = Prefer::default();
    parts.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).for_each(|value| prefer.take(value));
    call.prefer = prefer;
    call.content_type = text(header::CONTENT_TYPE).unwrap_or_default().to_owned();
    // Work that may wait goes on when its connection does not, as it would at Microsoft's.
    let outlives = world.may_wait() || matches!(call.operation, Operation::Batch | Operation::Subscriptions);
    if !outlives {
        return perform(world.clone(), call).await;
    }
    let done = tokio::spawn(perform(world.clone(), call)).await;
    done.unwrap_or_else(|_| Answer::error(500, "InternalServerError", "The request broke down."))
}

fn unauthorized(why: Unauthorized) -> Answer {
    let message = match why {
        Unauthorized::Empty => "Access token is empty.",
        Unauthorized::Unknown => "Access token validation failure. Invalid token.",
        Unauthorized::Expired => "Lifetime validation failed, the token is expired.",
    };
    let challenge = "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\"";
    Answer::error(401, "InvalidAuthenticationToken", message).with("www-authenticate", challenge)
}

async fn token(world: &Arc<World>, tenant: &str, parts: &Parts, body: &Bytes) -> Answer {
    if parts.method != axum::http::Method::POST {
        return Answer::empty(405);
    }
    world.ledger.count(Operation::Token, false);
    let victim = Victim { operation: Operation::Token, in_batch: false, mailbox: None, message: None };
    let fault = world.faults.strike(victim);
    if let Some(FaultAction::Refuse { status, code, .. }) = &fault {
        let refusal = Refusal::on_demand(*status, code);
        return Answer::json(refusal.status, refusal.json(world.clock.now_ms()));
    }
    if let Some(refusal) = before_work(world, fault.as_ref()).await {
        return refusal;
    }
    let request = TokenRequest {
        tenant: tenant.to_owned(),
        form: form(&String::from_utf8_lossy(body)),
        basic: basic(&parts.headers),
        login: platform::login(world, tenant, parts),
    };
    if let Some(elsewhere) = held(&world.elsewhere).clone() {
        let refusal = elsewhere.refusal();
        return Answer::json(refusal.status, refusal.json(world.clock.now_ms()));
    }
    let answer = match world.entra.issue(&request, &world.options, &world.origin, &world.clock) {
        Ok(json) => Answer::json(200, json),
        Err(refusal) => Answer::json(refusal.status, refusal.json(world.clock.now_ms())),
    };
    after_work(answer.with("cache-control", "no-store, no-cache"), fault)
}

fn form(body: &str) -> Vec<(String, String)> {
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (form_decoded(name), form_decoded(value))).collect()
}

fn form_decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Client id and secret in `Authorization: Basic`, each form-encoded (RFC 6749, 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

/// The ids of a request, its own and its client's.
struct Ids {
    request: String,
    client: String,
}

impl Ids {
    fn of(headers: &HeaderMap) -> Self {
        let request = random_uuid().to_string();
        let client = headers.get("client-request-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { client: client.unwrap_or_else(|| request.clone()), request }
    }
}

const JSON_TYPE: &str =
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
const DIAGNOSTIC: &str =
    r#"{"ServerInfo":{"DataCenter":"Simulated","Slice":"E","Ring":"5","ScaleUnit":"000","RoleInstance":"TENANT"}}"#;

fn written(world: &World, answer: Answer, ids: &Ids, scissors: &Scissors) -> Response {
    if answer.ending == Ending::Dropped {
        scissors.cut();
        return Response::new(Body::empty());
    }
    let (bytes, media_type) = match answer.content {
        Content::Nothing => (Bytes::new(), None),
        Content::Json(json) => (Bytes::from(json.to_string()), Some(JSON_TYPE)),
        Content::Raw(bytes, media_type) => (bytes, Some(media_type)),
        Content::Error { code, message } => {
            let json = error_body(&code, &message, world.clock.now(), &ids.request, &ids.client);
            (Bytes::from(json.to_string()), Some(JSON_TYPE))
        }
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put(header::CACHE_CONTROL, "private");
    put(HeaderName::from_static("request-id"), &ids.request);
    put(HeaderName::from_static("client-request-id"), &ids.client);
    put(HeaderName::from_static("x-ms-ags-diagnostic"), DIAGNOSTIC);
    if world.clock.ahead_ms() != 0 {
        put(header::DATE, &http_date(world.clock.now_ms()));
    }
    if let Some(media_type) = media_type {
        put(header::CONTENT_TYPE, media_type);
    }
    for (name, value) in &answer.headers {
        put(HeaderName::from_static(name), value);
    }
    if answer.ending == Ending::Truncated {
        put(header::CONTENT_LENGTH, &bytes.len().max(1).to_string());
        *response.body_mut() = Body::from_stream(ReaderStream::new(Half::of(&bytes)));
    } else {
        *response.body_mut() = Body::from(bytes);
    }
    response
}
