//! People who sign in: codes of the browser and of devices, the refresh tokens that come of them, and how those end.
//!
//! Written from learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow, v2-oauth2-device-code and
//! refresh-tokens: a refresh token is replaced at each use, and the old one is not revoked.

use std::{collections::HashMap, sync::Mutex};

use serde::{Deserialize, Serialize};

use crate::{clock::held, world::random_uuid};

/// The grant type of a code for a device (RFC 8628).
pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A code of the browser lives this long.
const CODE_MS: i64 = 10 * 60_000;
/// A code for a device lives this long.
const DEVICE_S: i64 = 900;

/// The tenant's rules for people who sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignInPolicy {
    /// Apps may come without a secret or an assertion ("Allow public client flows").
    pub public_clients: bool,
    /// Apps must not show a secret or an assertion, because the redirect URI is registered for desktop apps (700025).
    pub public_only: bool,
    /// A refresh token is good for one use. Entra's are not so.
    pub strict_rotation: bool,
    /// Every refresh is refused with this AADSTS code.
    pub refuse_refresh: Option<u32>,
    /// Conditional Access refuses codes for devices with this AADSTS code.
    pub refuse_devices: Option<u32>,
    /// Seconds between two questions of a device.
    pub interval: i64,
    /// What is consented to; none: whatever is asked for.
    pub consented: Option<Vec<String>>,
}

impl Default for SignInPolicy {
    fn default() -> Self {
        Self {
            public_clients: true,
            public_only: false,
            strict_rotation: false,
            refuse_refresh: None,
            refuse_devices: None,
            interval: 5,
            consented: None,
        }
    }
}

/// For whom a token stands, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnBehalf {
    /// The user's mailbox.
    pub(crate) user: String,
    /// Names of permissions.
    pub(crate) scopes: Vec<String>,
}

/// Everything about people.
#[derive(Debug, Default)]
pub(crate) struct People(pub(crate) Mutex<Crowd>);

#[derive(Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) policy: SignInPolicy,
    /// Who is at the browser and consents; none: nobody, so the page waits for ever.
    pub(crate) browser: Option<Browser>,
    /// By client id.
    pub(crate) redirects: Vec<(String, String)>,
    pub(crate) principal_names: HashMap<String, String>,
    pub(crate) codes: HashMap<String, Code>,
    pub(crate) devices: Vec<Device>,
    pub(crate) refresh: HashMap<String, Refresh>,
    /// When a user's sign-ins were last revoked.
    pub(crate) revoked: HashMap<String, i64>,
}

/// What somebody at the browser does.
#[derive(Debug, Clone)]
pub(crate) enum Browser {
    Consents(String),
    Refuses(String),
}

#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) app: usize,
    pub(crate) asked: Asked,
    pub(crate) user: String,
    pub(crate) redirect: String,
    pub(crate) challenge: Option<String>,
    pub(crate) until_ms: i64,
    pub(crate) used: bool,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    pub(crate) app: usize,
    pub(crate) asked: Asked,
    pub(crate) until_ms: i64,
    pub(crate) interval_ms: i64,
    pub(crate) polled_ms: Option<i64>,
    pub(crate) answer: Option<Option<String>>,
    pub(crate) used: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Refresh {
    pub(crate) app: usize,
    pub(crate) user: String,
    pub(crate) asked: Asked,
    pub(crate) confidential: bool,
    pub(crate) signed_in_ms: i64,
    pub(crate) used_ms: i64,
    pub(crate) replaced: bool,
}

/// The scopes of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As they were written, without those of OpenID Connect.
    pub(crate) written: Vec<String>,
    /// Their plain names.
    pub(crate) names: Vec<String>,
    pub(crate) offline: bool,
    pub(crate) openid: bool,
}

/// A request that a person stands behind.
pub(crate) struct Redeemed {
    pub(crate) on_behalf: OnBehalf,
    pub(crate) asked: Asked,
    pub(crate) refresh_token: Option<String>,
}

/// How a request on the token endpoint proved to come from its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proved {
    BySecret,
    ByKey,
    Not,
}

/// A code for a device, as it is handed out.
pub(crate) struct DeviceCode {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    pub(crate) interval: i64,
    pub(crate) expires_in: i64,
}

impl Asked {
    /// Reads `scope`; each of Graph's may stand under one of these resources.
    pub(crate) fn read(scope: &str, resources: &[String]) -> Self {
        let mut asked = Self::default();
        for written in scope.split_whitespace() {
            match written.to_ascii_lowercase().as_str() {
                "offline_access" => asked.offline = true,
                "openid" | "profile" | "email" => asked.openid |= written == "openid",
                _ => {
                    let plain = resources.iter().find_map(|it| written.strip_prefix(&format!("{it}/")));
                    asked.names.push(plain.unwrap_or(written).to_owned());
                    asked.written.push(written.to_owned());
                }
            }
        }
        asked
    }

    /// Only what the policy consents to.
    pub(crate) fn consented(mut self, policy: &SignInPolicy) -> Self {
        if let Some(consented) = &policy.consented {
            let is_granted = |name: &str| consented.iter().any(|it| it.eq_ignore_ascii_case(name));
            let keep: Vec<bool> = self.names.iter().map(|it| is_granted(it)).collect();
            let mut kept = keep.iter();
            self.written.retain(|_| kept.next().copied().unwrap_or(false));
            let mut kept = keep.iter();
            self.names.retain(|_| kept.next().copied().unwrap_or(false));
        }
        self
    }
}

impl People {
    pub(crate) fn policy(&self) -> SignInPolicy {
        held(&self.0).policy.clone()
    }

    pub(crate) fn set_policy(&self, policy: SignInPolicy) {
        held(&self.0).policy = policy;
    }

    pub(crate) fn at_browser(&self, browser: Option<Browser>) {
        held(&self.0).browser = browser;
    }

    pub(crate) fn browser(&self) -> Option<Browser> {
        held(&self.0).browser.clone()
    }

    pub(crate) fn register_redirect(&self, client_id: &str, uri: &str) {
        held(&self.0).redirects.push((client_id.to_owned(), uri.to_owned()));
    }

    /// Letter by letter; only the port of this machine may be another (reply-url).
    pub(crate) fn is_redirect(&self, client_id: &str, uri: &str) -> bool {
        let without_port = |uri: &str| -> Option<String> {
            let rest = uri.strip_prefix("http://localhost")?;
            let path = rest.find('/').map_or("", |at| &rest[at..]);
            let port = &rest[..rest.len() - path.len()];
            (port.is_empty() || port.starts_with(':')).then(|| path.to_owned())
        };
        let same = |known: &str| known == uri || without_port(known).is_some_and(|it| without_port(uri) == Some(it));
        held(&self.0).redirects.iter().any(|(app, known)| app == client_id && same(known))
    }

    pub(crate) fn name_user(&self, mailbox: &str, principal_name: &str) {
        held(&self.0).principal_names.insert(mailbox.to_lowercase(), principal_name.to_owned());
    }

    pub(crate) fn principal_name(&self, mailbox: &str) -> String {
        let known = held(&self.0).principal_names.get(&mailbox.to_lowercase()).cloned();
        known.unwrap_or_else(|| mailbox.to_owned())
    }

    /// A user is signed out everywhere, as by an administrator.
    pub(crate) fn revoke(&self, user: &str, now_ms: i64) {
        held(&self.0).revoked.insert(user.to_lowercase(), now_ms);
    }

    /// How many refresh tokens of a user were handed out.
    pub(crate) fn refresh_tokens(&self, user: &str) -> usize {
        held(&self.0).refresh.values().filter(|it| it.user.eq_ignore_ascii_case(user)).count()
    }

    pub(crate) fn code(
        &self,
        (app, asked): (usize, Asked),
        user: &str,
        redirect: &str,
        challenge: Option<&str>,
        now_ms: i64,
    ) -> String {
        let code = format!("1.{}{}", random_uuid().simple(), random_uuid().simple());
        let mut crowd = held(&self.0);
        let asked = asked.consented(&crowd.policy);
        let kept = Code {
            app,
            asked,
            user: user.to_owned(),
            redirect: redirect.to_owned(),
            challenge: challenge.map(str::to_owned),
            until_ms: now_ms + CODE_MS,
            used: false,
        };
        crowd.codes.insert(code.clone(), kept);
        code
    }

    pub(crate) fn device(&self, app: usize, asked: Asked, now_ms: i64) -> DeviceCode {
        let device_code = random_uuid().simple().to_string();
        let user_code: String = (0..9)
            .map(|_| fastrand::choice(b"BCDFGHJKLMNPQRSTVWXZ".iter()).map_or('B', |it| char::from(*it)))
            .collect();
        let mut crowd = held(&self.0);
        let interval = crowd.policy.interval;
        crowd.devices.push(Device {
            device_code: device_code.clone(),
            user_code: user_code.clone(),
            app,
            asked,
            until_ms: now_ms + DEVICE_S * 1000,
            interval_ms: interval * 1000,
            polled_ms: None,
            answer: None,
            used: false,
        });
        DeviceCode { device_code, user_code, interval, expires_in: DEVICE_S }
    }

    /// The codes that wait for somebody to type them in.
    pub(crate) fn waiting_codes(&self, now_ms: i64) -> Vec<String> {
        let crowd = held(&self.0);
        let waiting = crowd.devices.iter().filter(|it| it.answer.is_none() && it.until_ms > now_ms);
        waiting.map(|it| it.user_code.clone()).collect()
    }

    /// Somebody typed in a code, as this user or to refuse. Returns false if there is none such.
    pub(crate) fn enter(&self, user_code: &str, user: Option<&str>, now_ms: i64) -> bool {
        let mut crowd = held(&self.0);
        let found = crowd
            .devices
            .iter_mut()
            .find(|it| it.user_code.eq_ignore_ascii_case(user_code) && it.answer.is_none() && it.until_ms > now_ms);
        found.map(|it| it.answer = Some(user.map(str::to_owned))).is_some()
    }
}

impl Crowd {
    pub(crate) fn grant(
        &mut self,
        app: usize,
        user: String,
        asked: Asked,
        confidential: bool,
        now_ms: i64,
    ) -> Redeemed {
        let refresh_token = asked.offline.then(|| {
            let token = format!("1.AXkA{}{}", random_uuid().simple(), random_uuid().simple());
            let kept = Refresh {
                app,
                user: user.clone(),
                asked: asked.clone(),
                confidential,
                signed_in_ms: now_ms,
                used_ms: now_ms,
                replaced: false,
            };
            self.refresh.insert(token.clone(), kept);
            token
        });
        let on_behalf = OnBehalf { user, scopes: asked.names.clone() };
        Redeemed { on_behalf, asked, refresh_token }
    }
}
