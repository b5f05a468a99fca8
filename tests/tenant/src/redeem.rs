//! What people agreed to, made into tokens: a code of the browser once, a code of a device once, a refresh token for the
//! next one.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    clock::held,
    people::{Asked, People, Proved, Redeemed},
    refused::{Refusal, refusal},
};

/// A refresh token that is not used for so long dies.
const IDLE_MS: i64 = 90 * 24 * 3_600_000;

impl People {
    /// A code of the browser for what it stands for, once.
    pub(crate) fn redeem_code(
        &self,
        app: usize,
        proved: Proved,
        (code, redirect, verifier): (&str, Option<&str>, Option<&str>),
        now_ms: i64,
    ) -> Result<Redeemed, Refusal> {
        let mut crowd = held(&self.0);
        let found = crowd.codes.get_mut(code).filter(|it| it.app == app);
        let found = found.ok_or_else(|| invalid_grant(70_000, "Provided grant is invalid or malformed."))?;
        if found.used {
            return Err(invalid_grant(
                54_005,
                "OAuth2 Authorization code was already redeemed, please retry with a new valid code.",
            ));
        }
        if found.until_ms <= now_ms {
            return Err(invalid_grant(
                70_008,
                "The provided authorization code or refresh token has expired due to inactivity.",
            ));
        }
        if redirect != Some(found.redirect.as_str()) {
            let text =
                "The reply address does not match the reply address provided when requesting Authorization code.";
            return Err(refusal(400, "invalid_client", 500_112, text.to_owned()));
        }
        if let Some(challenge) = &found.challenge {
            let shown = verifier.map(|it| URL_SAFE_NO_PAD.encode(digest(&SHA256, it.as_bytes())));
            if shown.as_ref() != Some(challenge) {
                let text = "The Code_Verifier does not match the code_challenge supplied in the authorization request.";
                return Err(invalid_grant(501_481, text));
            }
        }
        found.used = true;
        let (user, asked) = (found.user.clone(), found.asked.clone());
        Ok(crowd.grant(app, user, asked, proved != Proved::Not, now_ms))
    }

    /// A device asks how far its user is.
    pub(crate) fn redeem_device(
        &self,
        app: usize,
        proved: Proved,
        device_code: &str,
        now_ms: i64,
    ) -> Result<Redeemed, Refusal> {
        let mut crowd = held(&self.0);
        let refused = crowd.policy.refuse_devices;
        let unknown = || refusal(400, "bad_verification_code", 70_018, "Bad verification code.".to_owned());
        let found = crowd.devices.iter_mut().find(|it| it.device_code == device_code && it.app == app);
        let found = found.filter(|it| !it.used).ok_or_else(unknown)?;
        let polled = found.polled_ms.replace(now_ms);
        if found.until_ms <= now_ms {
            return Err(refusal(400, "expired_token", 70_019, "Verification code expired.".to_owned()));
        }
        if polled.is_some_and(|at| now_ms - at < found.interval_ms) {
            found.interval_ms += 5_000;
            return Err(refusal(400, "slow_down", 70_016, "The device asks too often.".to_owned()));
        }
        let user = match found.answer.clone() {
            None => {
                let text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
                return Err(refusal(400, "authorization_pending", 70_016, text.to_owned()));
            }
            Some(None) => {
                let text = "User declined to consent to access the app.";
                return Err(refusal(400, "authorization_declined", 65_004, text.to_owned()));
            }
            Some(Some(user)) => user,
        };
        if let Some(code) = refused {
            return Err(invalid_grant(code, "Access has been blocked by Conditional Access policies."));
        }
        found.used = true;
        let asked = found.asked.clone();
        let asked = asked.consented(&crowd.policy);
        Ok(crowd.grant(app, user, asked, proved != Proved::Not, now_ms))
    }

    /// A refresh token for the next one.
    pub(crate) fn refresh(
        &self,
        app: usize,
        proved: Proved,
        (token, asked): (&str, Option<Asked>),
        now_ms: i64,
    ) -> Result<Redeemed, Refusal> {
        let mut crowd = held(&self.0);
        if let Some(code) = crowd.policy.refuse_refresh {
            return Err(invalid_grant(code, "The refresh was refused on demand."));
        }
        let strict = crowd.policy.strict_rotation;
        let known = crowd.refresh.get(token).filter(|it| it.app == app && !(strict && it.replaced)).cloned();
        let known = known.ok_or_else(|| invalid_grant(70_000, "Provided grant is invalid or malformed."))?;
        if known.confidential && proved == Proved::Not {
            return Err(neither_secret_nor_assertion());
        }
        if crowd.revoked.get(&known.user.to_lowercase()).is_some_and(|at| known.signed_in_ms <= *at) {
            let text = "The provided grant has expired due to it being revoked, a fresh auth token is needed.";
            return Err(invalid_grant(50_173, text));
        }
        if known.used_ms + IDLE_MS <= now_ms {
            return Err(invalid_grant(700_082, "The refresh token has expired due to inactivity."));
        }
        let asked = asked.unwrap_or_else(|| known.asked.clone());
        if asked.names.iter().any(|it| !known.asked.names.iter().any(|known| known.eq_ignore_ascii_case(it))) {
            let text = "The user or administrator has not consented to use the application.";
            return Err(invalid_grant(65_001, text));
        }
        if let Some(old) = crowd.refresh.get_mut(token) {
            (old.used_ms, old.replaced) = (now_ms, true);
        }
        let mut redeemed = crowd.grant(app, known.user.clone(), known.asked.clone(), known.confidential, now_ms);
        if let Some(next) = redeemed.refresh_token.as_ref().and_then(|it| crowd.refresh.get_mut(it)) {
            next.signed_in_ms = known.signed_in_ms;
        }
        redeemed.on_behalf.scopes.clone_from(&asked.names);
        redeemed.asked = Asked { openid: known.asked.openid, ..asked };
        Ok(redeemed)
    }
}

pub(crate) fn invalid_grant(code: u32, text: &str) -> Refusal {
    refusal(400, "invalid_grant", code, text.to_owned())
}

pub(crate) fn neither_secret_nor_assertion() -> Refusal {
    let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
    refusal(401, "invalid_client", 7_000_218, text.to_owned())
}
