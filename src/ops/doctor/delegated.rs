//! Mailboxes that are reached on behalf of their users: whether somebody is signed in, and what the sign-in allows.
//!
//! Where a daemon runs it alone uses the sign-ins, since each use replaces them; then it is asked how they are.

use std::sync::Arc;

use serde_json::Value;

use super::claims::{Claims, Needs};
use super::codes;
use super::credentials::of_tenant;
use super::finding::{Entry, Finding, Step};
use super::tenant::{Hosts, Served, reached};
use super::{Mailbox, Reach, Setup, Tenant};
use crate::identity::Endpoints;
use crate::identity::config::TenantConfig;
use crate::model::token::TokenError;

/// What tells whose sign-in it is.
const WHO: &str = "User.Read";

/// For each mailbox of the tenant Graph by its user's token, where there is one.
pub(super) fn served(setup: &Setup, tenant: &Tenant, hosts: &Hosts) -> Vec<Option<Served>> {
    let endpoints = Endpoints::of(&tenant.config).ok();
    let by_user = |mailbox: &Mailbox| match (&mailbox.reach, &endpoints) {
        (Reach::User { token: Ok(token), tokens }, Some(endpoints)) => {
            reached(setup, tenant, hosts, endpoints, Claims::of(token), Arc::clone(tokens))
        }
        _ => None,
    };
    tenant.mailboxes.iter().map(by_user).collect()
}

/// How the sign-in of a mailbox is; nothing where it is reached without a user.
pub(super) fn sign_in(tenant: &TenantConfig, mailbox: &Mailbox) -> Vec<Finding> {
    let address = mailbox.address.as_str();
    let found = |entry: &Entry, step, problem: &str, permission: &str| {
        let mut facts = of_tenant(tenant);
        facts.extend([
            ("mailbox", address.to_owned()),
            ("problem", problem.to_owned()),
            ("permission", permission.to_owned()),
        ]);
        Finding::of(entry, step, address, facts)
    };
    let pass = |step, what: String| Finding::pass(step, address, what, Vec::new());
    match &mailbox.reach {
        Reach::Application => Vec::new(),
        Reach::User { token, .. } => match token {
            Err(TokenError::NotSignedIn { reason }) => {
                vec![found(&codes::DELEGATED_SIGN_IN_NEEDED, Step::Token, reason, "")]
            }
            Err(TokenError::Refused { .. }) if !tenant.credentials.is_empty() => {
                vec![Finding::skipped(
                    Step::Token,
                    address,
                    "The application itself is refused: see the tenant's token above",
                )]
            }
            Err(TokenError::Refused { reason } | TokenError::Transient { reason, .. }) => {
                vec![found(&codes::DELEGATED_SIGN_IN_UNREADABLE, Step::Token, reason, "")]
            }
            Ok(token) => {
                let signed_in = pass(Step::Token, "Its user is signed in, and Entra issues a token".into());
                let claims = Claims::of(token);
                let missing = claims.as_ref().map(|it| missing(it, mailbox)).unwrap_or_default();
                let held = match (claims, missing.as_str()) {
                    (None, _) => Finding::skipped(Step::Roles, address, "The token cannot be read from here"),
                    (Some(_), "") => pass(Step::Roles, "The sign-in holds what is needed".into()),
                    (Some(_), missing) => found(&codes::DELEGATED_PERMISSION_MISSING, Step::Roles, "", missing),
                };
                vec![signed_in, held]
            }
        },
        Reach::Daemon(check) => {
            let reason = |of: &Value| of["reason"].as_str().unwrap_or("no reason is given").to_owned();
            let signed_in = &check["sign_in"];
            if signed_in["state"] == "needs_sign_in" {
                return vec![found(&codes::DELEGATED_SIGN_IN_NEEDED, Step::Token, &reason(signed_in), "")];
            }
            let since = signed_in["signed_in_at"].as_str().map(|at| format!(" since {at}")).unwrap_or_default();
            let known = pass(Step::Token, format!("The running daemon holds the sign-in of its user{since}"));
            let state = match check["status"].as_str() {
                Some("ok") => pass(Step::Mailbox, "The running daemon uses it, and has no complaint".into()),
                Some("degraded") => found(&codes::DAEMON_COMPLAINS, Step::Mailbox, &reason(check), "").softened(),
                Some(_) => found(&codes::DAEMON_COMPLAINS, Step::Mailbox, &reason(check), ""),
                None => Finding::skipped(Step::Mailbox, address, "The running daemon does not know this mailbox"),
            };
            vec![known, state]
        }
    }
}

/// What is needed and not held, parted by commas.
fn missing(claims: &Claims, mailbox: &Mailbox) -> String {
    let access = Needs { write: mailbox.write, send: mailbox.send }.access();
    let holds = |it: &str| claims.holds(it) || (it == "Mail.Read" && claims.reads());
    let needed = [Some(WHO), Some(access), mailbox.send.then_some("Mail.Send")];
    let missing: Vec<&str> = needed.into_iter().flatten().filter(|it| !holds(it)).collect();
    missing.join(", ")
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::model::address::Address;
    use crate::model::secret::Secret;
    use crate::model::token::{AccessToken, BoxFuture, Tokens};
    use crate::ops::doctor::finding::State;

    fn said(reach: Reach) -> Vec<(State, &'static str)> {
        let text = "name = 'contoso'\ntenant_id = 'tid'\nclient_id = 'cid'\ncredentials = []";
        let address = Address::parse("ann@contoso.example").unwrap();
        let (folder, move_to) = ("inbox".into(), None);
        let mailbox = Mailbox { address, folder, move_to, receive: true, send: true, write: true, reach };
        let found = sign_in(&toml::from_str(text).unwrap(), &mailbox);
        assert!(found.iter().all(|it| !it.what.contains('{')), "{found:?}");
        found.into_iter().map(|it| (it.state, it.code)).collect()
    }

    fn token(scp: &str) -> Reach {
        let claims = URL_SAFE_NO_PAD.encode(json!({ "scp": scp }).to_string());
        user(Ok(AccessToken(Secret::new(format!("a.{claims}.b").as_str()))))
    }

    fn user(token: Result<AccessToken, TokenError>) -> Reach {
        Reach::User { token, tokens: Arc::new(Nobody) }
    }

    /// A sign-in is judged by the token that is there; nobody asks for another.
    struct Nobody;

    impl Tokens for Nobody {
        fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
            Box::pin(std::future::pending())
        }

        fn refused(&self, _token: &AccessToken) {}
    }

    #[test]
    fn a_sign_in_is_judged_by_its_token_or_by_the_daemon() {
        use State::{Fail, Pass, Skipped, Warn};
        let refused = TokenError::Refused { reason: "AADSTS7000218".into() };
        let ended = TokenError::NotSignedIn { reason: "the sign-in has ended".into() };
        let locked = TokenError::Transient { reason: "the store is in use".into(), after: None };
        let daemon = |sign_in: &str, status: &str| {
            Reach::Daemon(
                json!({ "status": status, "reason": "why", "sign_in": { "state": sign_in, "reason": "revoked" } }),
            )
        };
        for (reach, expected) in [
            (Reach::Application, vec![]),
            (user(Err(refused)), vec![(Fail, "delegated_sign_in_unreadable")]),
            (user(Err(ended)), vec![(Fail, "delegated_sign_in_needed")]),
            (user(Err(locked)), vec![(Fail, "delegated_sign_in_unreadable")]),
            (token("User.Read Mail.ReadWrite Mail.Send"), vec![(Pass, "ok"), (Pass, "ok")]),
            (token("User.Read Mail.Read"), vec![(Pass, "ok"), (Fail, "delegated_permission_missing")]),
            (user(Ok(AccessToken(Secret::new("opaque")))), vec![(Pass, "ok"), (Skipped, "skipped")]),
            (daemon("needs_sign_in", "failing"), vec![(Fail, "delegated_sign_in_needed")]),
            (daemon("signed_in", "ok"), vec![(Pass, "ok"), (Pass, "ok")]),
            (daemon("signed_in", "degraded"), vec![(Pass, "ok"), (Warn, "daemon_complains")]),
            (daemon("signed_in", "failing"), vec![(Pass, "ok"), (Fail, "daemon_complains")]),
            (Reach::Daemon(Value::Null), vec![(Pass, "ok"), (Skipped, "skipped")]),
        ] {
            assert_eq!(said(reach), expected);
        }
    }
}
