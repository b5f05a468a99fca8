//! The token endpoint: client credentials by secret or assertion, and Entra's errors in Entra's shape.
//!
//! Tokens are remembered as issued, so they can be ended; what stands in them is for clients to look at.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    clock::{Clock, held},
    options::{App, Options},
    people::{DEVICE_CODE, OnBehalf, People, Proved},
    proofs::{Proofs, Shown},
    redeem::neither_secret_nor_assertion,
    refused::{Refusal, missing, refusal, refused_secret},
    world::random_uuid,
};

/// The apps of the tenant and the tokens they hold.
#[derive(Debug, Default)]
pub(crate) struct Entra {
    apps: RwLock<Vec<App>>,
    /// Secrets that are refused, and with which AADSTS code.
    refused: Mutex<HashMap<String, u32>>,
    /// When secrets expire, where that is known.
    ends: Mutex<HashMap<String, i64>>,
    pub(crate) proofs: Proofs,
    pub(crate) people: People,
    /// Client ids of identities the platform hands out tokens for; the first is the system-assigned one.
    identities: Mutex<Vec<String>>,
    /// What App Service gives its apps to show.
    identity_header: String,
    /// Other origins the tenant is reached at, as behind a TLS front.
    aliases: Mutex<Vec<String>>,
    tokens: RwLock<HashMap<String, Grant>>,
}

#[derive(Debug, Clone)]
struct Grant {
    app: usize,
    until_ms: i64,
    on_behalf: Option<Arc<OnBehalf>>,
}

/// Who calls with a token.
#[derive(Debug, Clone)]
pub(crate) struct Bearer {
    /// The number of the app.
    pub(crate) app: usize,
    /// The user it acts for; none: for itself.
    pub(crate) on_behalf: Option<Arc<OnBehalf>>,
}

/// A token request as it came.
#[derive(Debug, Default)]
pub(crate) struct TokenRequest {
    pub(crate) tenant: String,
    pub(crate) form: Vec<(String, String)>,
    /// Client id and secret of HTTP Basic.
    pub(crate) basic: Option<(String, String)>,
    /// The tenant's login, by the name it was asked by.
    pub(crate) login: String,
}

impl TokenRequest {
    /// A field of its form.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Why a bearer token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unauthorized {
    Empty,
    Unknown,
    Expired,
}

impl Entra {
    pub(crate) fn new(options: &Options) -> Self {
        let first = App {
            client_id: options.client_id.clone(),
            secrets: options.secrets.clone(),
            roles: options.roles.clone(),
        };
        let apps = std::iter::once(first).chain(options.other_apps.iter().cloned()).collect();
        Self { apps: RwLock::new(apps), identity_header: random_uuid().to_string(), ..Self::default() }
    }

    pub(crate) fn issue(
        &self,
        request: &TokenRequest,
        options: &Options,
        origin: &str,
        clock: &Clock,
    ) -> Result<Value, Refusal> {
        let field = |name: &str| request.field(name);
        self.check_tenant(&request.tenant, options)?;
        let grant_type = field("grant_type").ok_or_else(|| missing("grant_type"))?;
        let by_person = ["authorization_code", "refresh_token", DEVICE_CODE].contains(&grant_type);
        if grant_type != "client_credentials" && !by_person {
            let text = format!("The app requested an unsupported grant type '{grant_type}'.");
            return Err(refusal(400, "unsupported_grant_type", 70003, text));
        }
        let basic = request.basic.as_ref();
        let client_id = basic.map(|(id, _)| id.as_str()).or(field("client_id")).ok_or_else(|| missing("client_id"))?;
        let (number, app) = self.known_app(client_id, options)?;
        if by_person {
            let proved = self.prove(request, &app, options, origin, clock)?;
            return self.issue_to_person((number, &app), (grant_type, proved), request, options, origin, clock);
        }
        let scope = field("scope").ok_or_else(|| missing("scope"))?;
        let audience = audience(scope, options, origin)?;
        let number = match self.prove(request, &app, options, origin, clock)? {
            Proved::Not => return Err(neither_secret_nor_assertion()),
            Proved::BySecret => (number, "1"),
            Proved::ByKey => (number, "2"),
        };
        Ok(self.grant(number, &app, audience, options, clock))
    }

    pub(crate) fn known_app(&self, client_id: &str, options: &Options) -> Result<(usize, App), Refusal> {
        self.app(client_id).ok_or_else(|| {
            let text = format!(
                "Application with identifier '{client_id}' was not found in the directory '{}'.",
                options.tenant_id
            );
            refusal(400, "unauthorized_client", 700_016, text)
        })
    }

    /// How a request proves that it comes from the app; a proof that is wrong is refused.
    fn prove(
        &self,
        request: &TokenRequest,
        app: &App,
        options: &Options,
        origin: &str,
        clock: &Clock,
    ) -> Result<Proved, Refusal> {
        if let Some(assertion) = request.field("client_assertion") {
            let audiences = self.audiences(options, origin);
            self.proofs.check(&Shown {
                client_id: &app.client_id,
                assertion,
                assertion_type: request.field("client_assertion_type"),
                audiences: &audiences,
                now_ms: clock.now_ms(),
            })?;
            return Ok(Proved::ByKey);
        }
        let secret = request.basic.as_ref().map(|(_, secret)| secret.as_str()).or(request.field("client_secret"));
        let Some(secret) = secret.filter(|secret| !secret.is_empty()) else { return Ok(Proved::Not) };
        if let Some(code) = held(&self.refused).get(secret) {
            return Err(refused_secret(*code, &app.client_id));
        }
        if !app.secrets.iter().any(|known| known == secret) {
            return Err(refused_secret(7_000_215, &app.client_id));
        }
        if held(&self.ends).get(secret).is_some_and(|end_ms| *end_ms <= clock.now_ms()) {
            return Err(refused_secret(7_000_222, &app.client_id));
        }
        Ok(Proved::BySecret)
    }

    /// A token for an identity of the platform: the one with this client id, else the system-assigned one. None if there
    /// is no such identity.
    pub(crate) fn issue_to_identity(
        &self,
        client_id: Option<&str>,
        resource: &str,
        options: &Options,
        clock: &Clock,
    ) -> Option<Value> {
        let client_id = {
            let identities = held(&self.identities);
            let mut known = identities.iter();
            match client_id {
                None => known.next()?.clone(),
                Some(wanted) => known.find(|it| it.eq_ignore_ascii_case(wanted))?.clone(),
            }
        };
        let (number, app) = self.app(&client_id)?;
        let mut granted = self.grant((number, "2"), &app, resource.to_owned(), options, clock);
        granted["client_id"] = client_id.into();
        Some(granted)
    }

    /// Every origin the tenant is known by, its own first.
    pub(crate) fn origins(&self, origin: &str) -> Vec<String> {
        std::iter::once(origin.to_owned()).chain(held(&self.aliases).iter().cloned()).collect()
    }

    /// What an assertion may be for: the token endpoint, or the tenant as an issuer.
    fn audiences(&self, options: &Options, origin: &str) -> Vec<String> {
        let names = self.origins(origin);
        let of = |end: &str| names.iter().map(|it| format!("{it}/{}/{end}", options.tenant_id)).collect::<Vec<_>>();
        [of("oauth2/v2.0/token"), of("v2.0")].concat()
    }

    pub(crate) fn check_tenant(&self, tenant: &str, options: &Options) -> Result<(), Refusal> {
        if tenant.eq_ignore_ascii_case(&options.tenant_id) {
            return Ok(());
        }
        if ["common", "organizations", "consumers"].contains(&tenant) {
            let text = "The grant type is not supported over the /common or /consumers endpoints.".to_owned();
            return Err(refusal(400, "invalid_request", 9_001_023, text));
        }
        let text = format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
        Err(refusal(400, "invalid_request", 90002, text))
    }

    fn app(&self, client_id: &str) -> Option<(usize, App)> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let number = apps.iter().position(|app| app.client_id.eq_ignore_ascii_case(client_id))?;
        Some((number, apps[number].clone()))
    }

    /// A token for an app, and how it proved itself: `1` by a secret, `2` by a key.
    fn grant(
        &self,
        (number, proved): (usize, &str),
        app: &App,
        audience: String,
        options: &Options,
        clock: &Clock,
    ) -> Value {
        let (now, seconds) = (clock.now_ms().div_euclid(1000), lifetime(options));
        let mut claims = json!({
            "aud": audience,
            "iss": format!("https://sts.windows.net/{}/", options.tenant_id),
            "iat": now, "nbf": now, "exp": now.saturating_add_unsigned(seconds),
            "app_displayname": "Simulated", "appid": app.client_id, "appidacr": proved, "idtyp": "app",
            "oid": random_uuid().to_string(), "tid": options.tenant_id, "uti": random_uuid().simple().to_string(), "ver": "1.0",
        });
        // A token without application permissions has no roles at all.
        if !app.roles.is_empty() {
            claims["roles"] = app.roles.clone().into();
        }
        let token = self.hand_out(&claims, number, None, seconds, clock);
        json!({ "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token })
    }

    /// Makes a token and remembers it for so many seconds.
    pub(crate) fn hand_out(
        &self,
        claims: &Value,
        app: usize,
        on_behalf: Option<Arc<OnBehalf>>,
        seconds: u64,
        clock: &Clock,
    ) -> String {
        let (token, now_ms) = (jwt(claims), clock.now_ms());
        let until_ms = now_ms.saturating_add_unsigned(seconds.saturating_mul(1000));
        self.remember(token.clone(), Grant { app, until_ms, on_behalf }, now_ms);
        token
    }

    fn remember(&self, token: String, grant: Grant, now_ms: i64) {
        /// Expired tokens are kept this long, to be told from unknown ones.
        const REMEMBER_MS: i64 = 3_600_000;
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, old| old.until_ms + REMEMBER_MS > now_ms);
        tokens.insert(token, grant);
    }

    /// Who holds this token.
    pub(crate) fn bearer(&self, token: Option<&str>, now_ms: i64) -> Result<Bearer, Unauthorized> {
        let token = token.filter(|token| !token.is_empty()).ok_or(Unauthorized::Empty)?;
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let grant = tokens.get(token).ok_or(Unauthorized::Unknown)?;
        if grant.until_ms <= now_ms {
            return Err(Unauthorized::Expired);
        }
        Ok(Bearer { app: grant.app, on_behalf: grant.on_behalf.clone() })
    }

    pub(crate) fn has_role(&self, app: usize, enough: &[&str]) -> bool {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(app).is_some_and(|app| app.roles.iter().any(|role| enough.contains(&role.as_str())))
    }

    pub(crate) fn client_id(&self, app: usize) -> String {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(app).map(|app| app.client_id.clone()).unwrap_or_default()
    }

    pub(crate) fn expire_all(&self, now_ms: i64) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.values_mut().for_each(|grant| grant.until_ms = grant.until_ms.min(now_ms));
    }

    pub(crate) fn refuse(&self, secret: &str, code: u32) {
        held(&self.refused).insert(secret.to_owned(), code);
    }

    pub(crate) fn admit(&self, secret: &str) {
        held(&self.refused).remove(secret);
    }

    pub(crate) fn add_secret(&self, client_id: &str, secret: &str) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.iter_mut().filter(|app| app.client_id == client_id).for_each(|app| app.secrets.push(secret.to_owned()));
    }

    pub(crate) fn secret_ends(&self, secret: &str, at_ms: i64) {
        held(&self.ends).insert(secret.to_owned(), at_ms);
    }

    pub(crate) fn known_as(&self, origin: &str) {
        held(&self.aliases).push(origin.to_owned());
    }

    pub(crate) fn identity_header(&self) -> String {
        self.identity_header.clone()
    }

    pub(crate) fn add_identity(&self, client_id: &str, roles: &[&str]) {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let app = App { client_id: client_id.to_owned(), secrets: Vec::new(), roles };
        self.apps.write().unwrap_or_else(PoisonError::into_inner).push(app);
        held(&self.identities).push(client_id.to_owned());
    }

    pub(crate) fn remove_identity(&self, client_id: &str) {
        held(&self.identities).retain(|it| it != client_id);
    }

    pub(crate) fn set_roles(&self, client_id: &str, roles: &[&str]) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        let roles = || roles.iter().map(|role| (*role).to_owned()).collect();
        apps.iter_mut().filter(|app| app.client_id == client_id).for_each(|app| app.roles = roles());
    }
}

fn audience(scope: &str, options: &Options, origin: &str) -> Result<String, Refusal> {
    let Some(resource) = scope.strip_suffix("/.default") else {
        let text = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier."
        );
        return Err(refusal(400, "invalid_scope", 1_002_012, text));
    };
    if resource == origin || options.audiences.iter().any(|known| known == resource) {
        return Ok(resource.to_owned());
    }
    let text = format!("The resource principal named {resource} was not found in the tenant.");
    Err(refusal(400, "invalid_resource", 500_011, text))
}

/// Seconds that a token lives.
pub(crate) fn lifetime(options: &Options) -> u64 {
    let (shortest, longest) = (options.token_lifetime.start(), options.token_lifetime.end());
    fastrand::u64(shortest.as_secs()..=longest.as_secs().max(shortest.as_secs()))
}

/// A token with these claims, whose signature nobody can check, as a client cannot check that of a token for Graph.
pub(crate) fn jwt(claims: &Value) -> String {
    let header =
        json!({ "typ": "JWT", "alg": "RS256", "kid": "simulated", "nonce": random_uuid().simple().to_string() });
    let signature: Vec<u8> = (0..256).map(|_| fastrand::u8(..)).collect();
    let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.{}", encode(&header), encode(claims), URL_SAFE_NO_PAD.encode(signature))
}
