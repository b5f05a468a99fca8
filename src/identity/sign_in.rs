//! A user signs in for a mailbox: by a code that is typed in elsewhere, or at the browser with PKCE (RFC 7636).
//!
//! Whoever drives it, the daemon or the command, the end is the same: the granted permissions suffice, the user is the
//! mailbox's, and the grant is on disk.

use std::time::Duration;

use oauth2::{CsrfToken, PkceCodeChallenge};
use serde::Deserialize;
use url::Url;

use super::aadsts::Verdict;
use super::delegated::Delegated;
use super::exchange::{describe, read_limited};
use super::on_behalf::{PERMISSIONS, Refused};
use super::redeem::{Granted, NotRedeemed, OnBehalf};
use crate::model::clock::UnixMillis;
use crate::model::grant::NewGrant;
use crate::model::secret::Secret;
use crate::model::token::TokenError;

/// Between two questions, where Entra does not say (RFC 8628 §3.2).
const INTERVAL: u64 = 5;
/// What `slow_down` adds to the wait (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// How long the answer to "who has signed in" may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A sign-in by a code that the user types in elsewhere.
#[derive(Debug, Clone)]
pub struct DeviceSignIn {
    device_code: Secret,
    /// What Entra gave for it, once, where the rest could not be done yet.
    redeemed: Option<OnBehalf>,
    /// What the user types in.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// Until when.
    pub expires_at: UnixMillis,
    /// How long to wait between two questions.
    pub interval: Duration,
}

/// A sign-in that was sent to the browser.
#[derive(Clone)]
pub struct BrowserSignIn {
    /// Where the browser goes.
    pub url: Url,
    /// What it must come back with.
    pub state: Secret,
    /// What its code is redeemed with; the browser never sees it.
    pub verifier: Secret,
    /// Where it comes back to.
    pub redirect: String,
}

impl std::fmt::Debug for BrowserSignIn {
    /// The address holds the state.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrowserSignIn").field("redirect", &self.redirect).finish_non_exhaustive()
    }
}

/// Who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The user principal name.
    pub user: String,
}

/// Why nobody has signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The user has not finished; ask again after the interval.
    #[error("the code was not typed in yet")]
    Pending,
    /// The user said no.
    #[error("the user declined")]
    Declined,
    /// The code was not typed in in time.
    #[error("the code expired before it was typed in")]
    Expired,
    /// A policy does not let codes be typed in for other devices, or wants more than that can give.
    #[error("{reason}; codes for devices may be blocked here, so sign in at the browser: `mailspan sign-in --browser`")]
    Blocked {
        /// What Entra said.
        reason: String,
    },
    /// Somebody else has signed in.
    #[error(
        "{user} has signed in, and that is another mailbox: sign in as the user whose address or principal name is the mailbox's"
    )]
    AnotherUser {
        /// Who has.
        user: String,
    },
    /// Less was granted than is needed.
    #[error("these permissions were not granted: {}; add them to the application (Entra, App registrations, API permissions, delegated) and consent to them", .missing.join(", "))]
    Permissions {
        /// What is missing.
        missing: Vec<&'static str>,
    },
    /// Entra refuses it.
    #[error("{reason}")]
    Refused {
        /// What Entra said.
        reason: String,
    },
    /// Somebody could not be asked, or it could not be written down. Trying again may help.
    #[error("{reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
}

impl Delegated {
    /// Asks for a code that the user types in elsewhere.
    ///
    /// # Errors
    /// Entra hands out none.
    pub async fn begin_device(&self) -> Result<DeviceSignIn, SignInError> {
        let asked_at = self.now();
        let answer = self.identity.device_code().await.map_err(by_device)?;
        let lasts = i64::try_from(answer.expires_in).unwrap_or(0).saturating_mul(1000);
        Ok(DeviceSignIn {
            device_code: Secret::new(answer.device_code),
            redeemed: None,
            user_code: answer.user_code,
            verification_uri: answer.verification_uri,
            expires_at: asked_at.saturating_add(lasts),
            interval: Duration::from_secs(answer.interval.unwrap_or(INTERVAL).max(1)),
        })
    }

    /// Asks once whether the user has finished. Not to be asked more often than the interval says.
    ///
    /// # Errors
    /// [`SignInError::Pending`] and [`SignInError::Unavailable`] are no end: ask again. Every other is.
    pub async fn poll_device(&self, device: &mut DeviceSignIn) -> Result<SignedIn, SignInError> {
        let asked_at = self.now();
        if asked_at >= device.expires_at {
            return Err(SignInError::Expired);
        }
        // A code is redeemed once. What is left to do after that may be tried again.
        if let Some(issued) = device.redeemed.clone() {
            return self.accept(issued, asked_at).await;
        }
        match self.identity.redeem(&Granted::Device(&device.device_code), &self.is_public).await {
            Ok(issued) => self.accept(device.redeemed.insert(issued).clone(), asked_at).await,
            Err(Refused::Device(NotRedeemed::SlowDown)) => {
                device.interval += SLOWER;
                Err(SignInError::Pending)
            }
            Err(refused) => Err(by_device(refused)),
        }
    }

    /// Sends the browser to Entra; `redirect` is where it comes back to, and must be registered with the application.
    ///
    /// # Errors
    /// Nobody knows where Entra's page is.
    pub fn begin_browser(&self, redirect: &str) -> Result<BrowserSignIn, SignInError> {
        let endpoints = self.identity.endpoints();
        let mut url = endpoints.beside("authorize").ok_or_else(|| SignInError::Refused {
            reason: "token_endpoint does not end in /token, so nobody knows where users sign in".to_owned(),
        })?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = CsrfToken::new_random();
        url.query_pairs_mut()
            .append_pair("client_id", &self.identity.registration.client_id)
            .append_pair("response_type", "code")
            .append_pair("response_mode", "query")
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &endpoints.scopes(&PERMISSIONS).join(" "))
            .append_pair("state", state.secret())
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", challenge.method().as_str())
            .append_pair("login_hint", self.mailbox().address.as_str())
            // Whoever sits there is rarely signed in as the mailbox's user.
            .append_pair("prompt", "select_account");
        Ok(BrowserSignIn {
            url,
            state: Secret::new(state.secret().as_str()),
            verifier: Secret::new(verifier.secret().as_str()),
            redirect: redirect.to_owned(),
        })
    }

    /// The browser is back with a code, after it was sent with this verifier and told to come back to `redirect`.
    ///
    /// # Errors
    /// Nobody has signed in; whatever the error, the code is used up.
    pub async fn finish_browser(
        &self,
        verifier: &Secret,
        redirect: &str,
        code: &Secret,
    ) -> Result<SignedIn, SignInError> {
        let asked_at = self.now();
        let granted = Granted::Code { code, verifier, redirect };
        match self.identity.redeem(&granted, &self.is_public).await {
            Ok(issued) => self.accept(issued, asked_at).await,
            Err(Refused::Grant(verdict)) => Err(SignInError::Refused { reason: describe(&verdict) }),
            Err(Refused::Token(error) | Refused::Credentials(error)) => Err(error.into()),
            Err(Refused::Device(_)) => {
                Err(SignInError::Unavailable { reason: "Entra took the browser for a device".to_owned() })
            }
        }
    }

    /// What was granted suffices, whoever granted it is the mailbox's user, and it is on disk: only then it counts.
    async fn accept(&self, issued: OnBehalf, asked_at: UnixMillis) -> Result<SignedIn, SignInError> {
        let missing = missing(&issued);
        if !missing.is_empty() {
            return Err(SignInError::Permissions { missing });
        }
        let me = self.who(&issued).await?;
        if !me.is(self.mailbox().address.as_str()) {
            tracing::warn!(mailbox = %self.mailbox(), "Somebody signed in for {} as another user and was turned away", self.mailbox());
            return Err(SignInError::AnotherUser { user: me.user_principal_name });
        }
        let Some(refresh_token) = issued.refresh_token.clone() else {
            return Err(SignInError::Permissions { missing: vec!["offline_access"] });
        };
        let new =
            NewGrant { refresh_token, scopes: issued.scopes.join(" "), signed_in_as: me.user_principal_name.clone() };
        let stored = self.grants.begin(new).await;
        stored.map_err(|error| SignInError::Unavailable { reason: error.to_string() })?;
        self.begin(issued, asked_at);
        tracing::info!(mailbox = %self.mailbox(), "{}: its user has signed in", self.mailbox());
        Ok(SignedIn { user: me.user_principal_name })
    }

    /// Asks Graph whose token it is.
    async fn who(&self, issued: &OnBehalf) -> Result<Me, SignInError> {
        let unavailable = |reason: String| SignInError::Unavailable { reason };
        let mut url = self.identity.endpoints().graph.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("me");
        }
        url.set_query(Some("$select=userPrincipalName,mail,id"));
        let asked = async {
            let request = self.graph.get(url).bearer_auth(issued.token.0.expose());
            let answer = request.send().await.map_err(|error| match error.is_connect() {
                true => unavailable("there is no connection to Graph to ask who has signed in".to_owned()),
                false => unavailable("Graph did not say who has signed in".to_owned()),
            })?;
            let status = answer.status();
            let body = read_limited(answer).await.map_err(unavailable)?;
            match status.is_success() {
                true => serde_json::from_slice(&body)
                    .map_err(|_| unavailable("what Graph says of who has signed in cannot be read".to_owned())),
                false => Err(unavailable(format!("Graph answered {} when asked who has signed in", status.as_u16()))),
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, asked)
            .await
            .unwrap_or_else(|_| Err(unavailable("Graph did not say in time who has signed in".to_owned())))
    }
}

/// A user, as far as Graph tells.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    user_principal_name: String,
    mail: Option<String>,
}

impl Me {
    fn is(&self, address: &str) -> bool {
        let is = |it: &str| it.eq_ignore_ascii_case(address);
        is(&self.user_principal_name) || self.mail.as_deref().is_some_and(is)
    }
}

/// The permissions that were not granted. Entra writes them with or without Graph before them, in any case.
fn missing(issued: &OnBehalf) -> Vec<&'static str> {
    let name = |scope: &str| scope.rsplit('/').next().unwrap_or(scope).to_ascii_lowercase();
    let granted: Vec<String> = issued.scopes.iter().map(|it| name(it)).collect();
    PERMISSIONS.into_iter().filter(|it| !granted.contains(&it.to_ascii_lowercase())).collect()
}

fn by_device(refused: Refused) -> SignInError {
    match refused {
        Refused::Device(NotRedeemed::Declined) => SignInError::Declined,
        Refused::Device(NotRedeemed::Expired) => SignInError::Expired,
        Refused::Device(_) => SignInError::Pending,
        Refused::Grant(Verdict { code: Some(65004), .. }) => SignInError::Declined,
        Refused::Grant(verdict) => SignInError::Blocked { reason: describe(&verdict) },
        Refused::Token(error) | Refused::Credentials(error) => error.into(),
    }
}

impl From<TokenError> for SignInError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Transient { reason, .. } => Self::Unavailable { reason },
            TokenError::Refused { reason } | TokenError::NotSignedIn { reason } => Self::Refused { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::token::AccessToken;

    fn issued(scopes: &[&str]) -> OnBehalf {
        OnBehalf {
            token: AccessToken(Secret::new("t")),
            life: Duration::from_secs(3600),
            refresh_token: None,
            scopes: scopes.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn permissions_are_read_as_entra_writes_them() {
        for (scopes, expected) in [
            (&["https://graph.microsoft.com/Mail.ReadWrite", "Mail.Send", "user.read", "email"][..], &[][..]),
            (&["Mail.ReadWrite", "User.Read"], &["Mail.Send"]),
            (&["Mail.ReadWrite.Shared", "Mail.Send"], &["User.Read", "Mail.ReadWrite"]),
            (&[], &["User.Read", "Mail.ReadWrite", "Mail.Send"]),
        ] {
            assert_eq!(missing(&issued(scopes)), expected, "{scopes:?}");
        }
    }

    #[test]
    fn a_user_is_the_mailbox_by_principal_name_or_address() {
        let me =
            |name: &str, mail: Option<&str>| Me { user_principal_name: name.into(), mail: mail.map(str::to_owned) };
        for (me, expected) in [
            (me("Support@Contoso.com", None), true),
            (me("s1@contoso.onmicrosoft.com", Some("SUPPORT@contoso.com")), true),
            (me("s1@contoso.onmicrosoft.com", None), false),
            (me("ann@contoso.com", Some("ann@contoso.com")), false),
        ] {
            assert_eq!(me.is("support@contoso.com"), expected);
        }
    }
}
