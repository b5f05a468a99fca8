//! Where people sign in: the page of the browser, codes for devices, the tokens that come of both, and `/me`.
//!
//! The page has no form: whoever [`crate::Tenant::at_browser`] put before it consents or refuses at once.

use std::sync::Arc;

use axum::http::request::Parts;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    call::Call,
    clock::Clock,
    entra::{Entra, TokenRequest, jwt, lifetime},
    fault::{FaultAction, Victim},
    options::{App, Options},
    people::{Asked, Browser, DEVICE_CODE, DeviceCode, Proved, Redeemed},
    perform::{after_work, before_work},
    query::Query,
    redeem::{invalid_grant, neither_secret_nor_assertion},
    refused::{Refusal, missing, refusal},
    target::Operation,
    world::{World, random_uuid},
};

/// The answer to a request on one of the places where people sign in; none if the path is none of them.
pub(crate) async fn answer(world: &Arc<World>, parts: &Parts, body: &Bytes) -> Option<Answer> {
    let path = parts.uri.path().strip_prefix('/')?;
    let (tenant, place) = path.split_once("/oauth2/v2.0/")?;
    let is_get = parts.method == axum::http::Method::GET;
    match place {
        "authorize" if !is_get => return Some(Answer::empty(405)),
        "devicecode" if is_get => return Some(Answer::empty(405)),
        "authorize" | "devicecode" => {}
        _ => return None,
    }
    world.ledger.count(Operation::SignIn, false);
    let victim = Victim { operation: Operation::SignIn, in_batch: false, mailbox: None, message: None };
    let fault = world.faults.strike(victim);
    if let Some(FaultAction::Refuse { status, code, .. }) = &fault {
        let refusal = Refusal::on_demand(*status, code);
        return Some(Answer::json(refusal.status, refusal.json(world.clock.now_ms())));
    }
    if let Some(refusal) = before_work(world, fault.as_ref()).await {
        return Some(refusal);
    }
    let done = match place {
        "authorize" => authorize(world, tenant, &Query::read(parts.uri.query().unwrap_or_default())),
        _ => device_code(world, tenant, &Query::read(&String::from_utf8_lossy(body).replace('+', "%20"))),
    };
    let answer = done.unwrap_or_else(|refusal| Answer::json(refusal.status, refusal.json(world.clock.now_ms())));
    Some(after_work(answer, fault))
}

/// The page. What is wrong with the app is said here; what the user decides is said to the app.
fn authorize(world: &World, tenant: &str, query: &Query) -> Result<Answer, Refusal> {
    let (entra, options) = (&world.entra, &world.options);
    entra.check_tenant(tenant, options)?;
    let needed = |name: &'static str| query.get(name).ok_or_else(|| missing(name));
    let (number, app) = entra.known_app(needed("client_id")?, options)?;
    let redirect = needed("redirect_uri")?;
    if !entra.people.is_redirect(&app.client_id, redirect) {
        let text = format!(
            "The redirect URI '{redirect}' specified in the request does not match the redirect URIs configured for the application."
        );
        return Err(refusal(400, "invalid_request", 50_011, text));
    }
    if needed("response_type")? != "code" {
        return Err(refusal(400, "unsupported_response_type", 700_051, "response_type is not enabled.".to_owned()));
    }
    let method = query.get("code_challenge_method");
    let challenge = query.get("code_challenge");
    if challenge.is_some() && method != Some("S256") {
        return Err(refusal(400, "invalid_request", 501_491, "Invalid code_challenge_method.".to_owned()));
    }
    let asked = Asked::read(needed("scope")?, &resources(options, &world.origin));
    let said = match entra.people.browser() {
        None => return Ok(Answer::raw(Bytes::from_static(b"<title>Sign in to your account</title>"), "text/html")),
        Some(Browser::Consents(user)) => {
            let code = entra.people.code((number, asked), &user, redirect, challenge, world.clock.now_ms());
            format!("code={}", encoded(&code))
        }
        Some(Browser::Refuses(error)) => {
            format!("error={}&error_description={}", encoded(&error), encoded("AADSTS65004: The user said no."))
        }
    };
    let state = query.get("state").map(|it| format!("&state={}", encoded(it))).unwrap_or_default();
    let mark = if redirect.contains('?') { '&' } else { '?' };
    let location = format!("{redirect}{mark}{said}{state}&session_state={}", random_uuid());
    Ok(Answer::empty(302).with("location", location))
}

fn device_code(world: &World, tenant: &str, form: &Query) -> Result<Answer, Refusal> {
    let (entra, options) = (&world.entra, &world.options);
    entra.check_tenant(tenant, options)?;
    let client_id = form.get("client_id").ok_or_else(|| missing("client_id"))?;
    let (number, _) = entra.known_app(client_id, options)?;
    let scope = form.get("scope").ok_or_else(|| missing("scope"))?;
    let asked = Asked::read(scope, &resources(options, &world.origin));
    let DeviceCode { device_code, user_code, interval, expires_in } =
        entra.people.device(number, asked, world.clock.now_ms());
    let page = "https://microsoft.com/devicelogin";
    let message = format!(
        "To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate."
    );
    Ok(Answer::json(
        200,
        json!({ "device_code": device_code, "user_code": user_code, "verification_uri": page, "expires_in": expires_in,
            "interval": interval, "message": message }),
    ))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn resources(options: &Options, origin: &str) -> Vec<String> {
    std::iter::once(origin.to_owned()).chain(options.audiences.iter().cloned()).collect()
}

impl Entra {
    /// Tokens for an app that a user stands behind.
    pub(crate) fn issue_to_person(
        &self,
        (number, app): (usize, &App),
        (grant_type, proved): (&str, Proved),
        request: &TokenRequest,
        options: &Options,
        origin: &str,
        clock: &Clock,
    ) -> Result<Value, Refusal> {
        let policy = self.people.policy();
        if policy.public_only && proved != Proved::Not {
            let text = "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.";
            return Err(refusal(401, "invalid_client", 700_025, text.to_owned()));
        }
        if !policy.public_clients && proved == Proved::Not {
            return Err(neither_secret_nor_assertion());
        }
        let needed = |name: &'static str| request.field(name).ok_or_else(|| missing(name));
        let now_ms = clock.now_ms();
        let redeemed = match grant_type {
            "authorization_code" => {
                let shown = (needed("code")?, request.field("redirect_uri"), request.field("code_verifier"));
                self.people.redeem_code(number, proved, shown, now_ms)?
            }
            DEVICE_CODE => self.people.redeem_device(number, proved, needed("device_code")?, now_ms)?,
            _ => {
                let asked = request.field("scope").map(|it| Asked::read(it, &resources(options, origin)));
                self.people.refresh(number, proved, (needed("refresh_token")?, asked), now_ms)?
            }
        };
        if redeemed.asked.names.is_empty() && !redeemed.asked.openid {
            return Err(invalid_grant(65_001, "The user or administrator has not consented to use the application."));
        }
        Ok(self.tokens_of(redeemed, (number, app), request, options, clock))
    }

    fn tokens_of(
        &self,
        redeemed: Redeemed,
        (number, app): (usize, &App),
        request: &TokenRequest,
        options: &Options,
        clock: &Clock,
    ) -> Value {
        let Redeemed { on_behalf, asked, refresh_token } = redeemed;
        let (now, seconds) = (clock.now_ms().div_euclid(1000), lifetime(options));
        let user = self.people.principal_name(&on_behalf.user);
        let expires = now.saturating_add_unsigned(seconds);
        let claims = json!({
            "aud": request.login.rsplit_once('/').map_or("", |it| it.0), "iss": format!("https://sts.windows.net/{}/", options.tenant_id),
            "iat": now, "nbf": now, "exp": expires, "appid": app.client_id, "idtyp": "user", "tid": options.tenant_id,
            "scp": on_behalf.scopes.join(" "), "upn": user, "uti": random_uuid().simple().to_string(), "ver": "1.0",
        });
        let token = self.hand_out(&claims, number, Some(Arc::new(on_behalf)), seconds, clock);
        let mut answer = json!({ "token_type": "Bearer", "scope": asked.written.join(" "), "expires_in": seconds,
            "ext_expires_in": seconds, "access_token": token });
        if let Some(refresh_token) = refresh_token {
            answer["refresh_token"] = refresh_token.into();
        }
        if asked.openid {
            let id = URL_SAFE_NO_PAD.encode(user.as_bytes());
            answer["id_token"] = jwt(&json!({
                "aud": app.client_id, "iss": format!("{}/v2.0", request.login), "iat": now, "nbf": now, "exp": expires,
                "oid": id, "sub": id, "tid": options.tenant_id, "preferred_username": user, "ver": "2.0",
            }))
            .into();
            let info = json!({ "uid": id, "utid": options.tenant_id });
            answer["client_info"] = URL_SAFE_NO_PAD.encode(info.to_string()).into();
        }
        answer
    }
}

impl World {
    /// `GET /me`: who the token stands for.
    pub(crate) fn me(&self, call: &Call) -> Result<Answer, Answer> {
        let Some(on_behalf) = &call.on_behalf else {
            let message = "/me request is only valid with delegated authentication flow.";
            return Err(Answer::bad_request(message));
        };
        let mailbox = self.mailbox(&on_behalf.user).ok_or_else(Answer::item_not_found)?;
        let mut json = json!({
            "id": mailbox.guid.to_string(), "mail": mailbox.address,
            "userPrincipalName": self.entra.people.principal_name(&mailbox.address),
        });
        if let Some(select) = call.query.get("$select") {
            let wanted: Vec<&str> = select.split(',').collect();
            if let Some(object) = json.as_object_mut() {
                object.retain(|name, _| wanted.contains(&name.as_str()));
            }
        }
        json["@odata.context"] = format!("{}/$metadata#users/$entity", self.graph()).into();
        Ok(Answer::json(200, json))
    }
}
