//! Step 4: what stands in a token. It is opaque for those who use it; whoever looks into a set-up may read it.
//!
//! Grants that were made by Exchange's RBAC for Applications do not stand in it, so what is missing here proves nothing
//! before a mailbox was tried.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::codes;
use super::credentials::of_tenant;
use super::finding::{Finding, Step};
use crate::identity::Endpoints;
use crate::identity::config::TenantConfig;
use crate::model::token::AccessToken;

/// Graph's own id, which some tokens are for instead of its address.
const GRAPH_ID: &str = "00000003-0000-0000-c000-000000000000";
const READ: [&str; 2] = ["Mail.Read", "Mail.ReadWrite"];
pub(super) const WRITE: &str = "Mail.ReadWrite";
pub(super) const SEND: &str = "Mail.Send";

/// What of a token is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    aud: Option<String>,
    tid: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    scp: Option<String>,
}

/// What the configuration asks for in a tenant's mailboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Something is written to them.
    pub write: bool,
    /// Mail leaves from them.
    pub send: bool,
}

impl Needs {
    /// The permission that reads or writes mail.
    pub(super) fn access(self) -> &'static str {
        if self.write { WRITE } else { READ[0] }
    }

    fn words(self) -> String {
        if self.send { format!("{} and {SEND}", self.access()) } else { self.access().to_owned() }
    }
}

impl Claims {
    /// Reads them; `None` where a token is none that can be read.
    pub(super) fn of(token: &AccessToken) -> Option<Self> {
        let middle = token.0.expose().split('.').nth(1)?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(middle.trim_end_matches('=')).ok()?).ok()
    }

    /// Whether the token holds this permission.
    pub(super) fn holds(&self, permission: &str) -> bool {
        self.granted().any(|it| it.eq_ignore_ascii_case(permission))
    }

    /// Whether it can read mail by itself, without roles of Exchange.
    pub(super) fn reads(&self) -> bool {
        READ.iter().any(|it| self.holds(it))
    }

    /// What it holds of mail, parted by commas; empty where it holds nothing.
    pub(super) fn of_mail(&self) -> String {
        let of_mail: Vec<&str> = self.granted().filter(|it| it.starts_with("Mail.")).collect();
        of_mail.join(", ")
    }

    fn granted(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(String::as_str).chain(self.scp.iter().flat_map(|it| it.split_whitespace()))
    }
}

/// What a token says of the set-up.
pub(super) fn roles(
    tenant: &TenantConfig,
    endpoints: &Endpoints,
    claims: Option<&Claims>,
    needs: Needs,
) -> Vec<Finding> {
    let Some(claims) = claims else {
        let why = "The token cannot be read from here; the mailboxes show what it allows";
        return vec![Finding::skipped(Step::Roles, &tenant.name, why)];
    };
    let mut facts = of_tenant(tenant);
    facts.extend([
        ("audience", claims.aud.clone().unwrap_or_default()),
        ("wanted", endpoints.scope.trim_end_matches("/.default").to_owned()),
        ("found", claims.tid.clone().unwrap_or_default()),
        ("needed", needs.words()),
    ]);
    let said = |entry, roles: String| {
        let mut facts = facts.clone();
        facts.push(("roles", roles));
        Finding::of(entry, Step::Roles, &tenant.name, facts)
    };
    if !is_for(claims.aud.as_deref(), endpoints) {
        return vec![said(&codes::TOKEN_FOR_ANOTHER_AUDIENCE, String::new())];
    }
    let is_id = uuid::Uuid::try_parse(&tenant.tenant_id).is_ok();
    if is_id && claims.tid.as_ref().is_some_and(|it| !it.eq_ignore_ascii_case(&tenant.tenant_id)) {
        return vec![said(&codes::TOKEN_OF_ANOTHER_TENANT, String::new())];
    }
    let is_needed = |role: &str| role == needs.access() || (needs.send && role == SEND);
    let (needed, needless): (Vec<&str>, Vec<&str>) = claims.granted().partition(|it| is_needed(it));
    let mut found = Vec::new();
    if !needed.is_empty() {
        found.push(said(&codes::PERMISSION_UNSCOPED, needed.join(", ")));
    }
    if !needless.is_empty() {
        found.push(said(&codes::PERMISSION_NEEDLESS, needless.join(", ")));
    }
    if found.is_empty() {
        let what = "The token reaches no mailbox by itself: roles of Exchange (RBAC for Applications) decide, and the mailboxes show them";
        found.push(Finding::pass(Step::Roles, &tenant.name, what, Vec::new()));
    }
    found
}

/// Whether a token is for the configured Graph.
fn is_for(audience: Option<&str>, endpoints: &Endpoints) -> bool {
    let wanted = endpoints.scope.trim_end_matches("/.default");
    audience.is_none_or(|it| it.trim_end_matches('/').eq_ignore_ascii_case(wanted) || it.eq_ignore_ascii_case(GRAPH_ID))
}

/// Step 7: whether mail may be sent from a mailbox, as far as a token tells.
pub(super) fn may_send(tenant: &TenantConfig, mailbox: &str, claims: Option<&Claims>) -> Finding {
    let of_mail = claims.map(Claims::of_mail).unwrap_or_default();
    let mut facts = of_tenant(tenant);
    facts.extend([("mailbox", mailbox.to_owned()), ("roles", of_mail.clone())]);
    match () {
        () if claims.is_some_and(|it| it.holds(SEND)) => Finding::pass(
            Step::Send,
            mailbox,
            "The token holds Mail.Send; only --round-trip proves that mail leaves",
            facts,
        ),
        () if of_mail.is_empty() => {
            let why = "Roles of Exchange decide, and only sending proves them: --round-trip sends a mail";
            Finding::skipped(Step::Send, mailbox, why)
        }
        () => Finding::of(&codes::SEND_PERMISSION_MISSING, Step::Send, mailbox, facts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;
    use crate::ops::doctor::finding::State;

    const TENANT_ID: &str = "6f1d3c7e-0b52-4b57-9a53-2f7d6a1e8c40";
    const BOTH: Needs = Needs { write: true, send: true };

    fn tenant() -> TenantConfig {
        let text = format!("name = 'contoso'\ntenant_id = '{TENANT_ID}'\nclient_id = 'cid'\ncredentials = []");
        toml::from_str(&text).unwrap()
    }

    fn codes(claims: serde_json::Value, needs: Needs) -> Vec<(State, &'static str)> {
        let encode = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let token = format!("{}.{}.c2ln", encode(&serde_json::json!({ "alg": "RS256" })), encode(&claims));
        let claims = Claims::of(&AccessToken(Secret::new(token.as_str())));
        let endpoints = Endpoints::of(&tenant()).unwrap();
        roles(&tenant(), &endpoints, claims.as_ref(), needs).into_iter().map(|it| (it.state, it.code)).collect()
    }

    #[test]
    fn what_a_token_holds_is_held_against_what_is_needed() {
        use State::{Fail, Pass, Warn};
        let graph = "https://graph.microsoft.com";
        let of = |roles: &[&str]| serde_json::json!({ "aud": graph, "tid": TENANT_ID, "roles": roles });
        let receives = Needs { write: true, send: false };
        let reads = Needs::default();
        for (claims, needs, expected) in [
            (serde_json::json!({ "aud": graph, "tid": TENANT_ID }), BOTH, vec![(Pass, "ok")]),
            (serde_json::json!({ "aud": GRAPH_ID, "tid": TENANT_ID }), BOTH, vec![(Pass, "ok")]),
            (serde_json::json!({ "aud": format!("{graph}/") }), BOTH, vec![(Pass, "ok")]),
            (of(&["Mail.ReadWrite", "Mail.Send"]), BOTH, vec![(Warn, "permission_unscoped")]),
            (of(&["Mail.Send"]), receives, vec![(Warn, "permission_needless")]),
            (of(&["Mail.ReadWrite"]), reads, vec![(Warn, "permission_needless")]),
            (of(&["Mail.Read"]), reads, vec![(Warn, "permission_unscoped")]),
            (
                of(&["Mail.ReadWrite", "full_access_as_app", "Directory.ReadWrite.All"]),
                BOTH,
                vec![(Warn, "permission_unscoped"), (Warn, "permission_needless")],
            ),
            (
                serde_json::json!({ "aud": "https://graph.microsoft.us", "tid": TENANT_ID }),
                BOTH,
                vec![(Fail, "token_for_another_audience")],
            ),
            (serde_json::json!({ "aud": graph, "tid": "another" }), BOTH, vec![(Fail, "token_of_another_tenant")]),
        ] {
            assert_eq!(codes(claims.clone(), needs), expected, "{claims}");
        }
    }

    #[test]
    fn a_token_that_cannot_be_read_is_no_failure() {
        for text in ["", "opaque", "a.b.c", "a.bm8.c"] {
            assert_eq!(Claims::of(&AccessToken(Secret::new(text))), None, "{text}");
        }
        let found = roles(&tenant(), &Endpoints::of(&tenant()).unwrap(), None, BOTH);
        assert_eq!(found[0].state, State::Skipped);
    }

    #[test]
    fn sending_is_judged_by_the_token_only_where_it_holds_anything_of_mail() {
        let claims =
            |roles: &[&str]| Claims { roles: roles.iter().map(|it| (*it).to_owned()).collect(), ..Claims::default() };
        for (roles, state) in [
            (&["Mail.Send"][..], State::Pass),
            (&["Mail.ReadWrite"], State::Warn),
            (&["User.Read.All"], State::Skipped),
            (&[], State::Skipped),
        ] {
            assert_eq!(may_send(&tenant(), "a@b.example", Some(&claims(roles))).state, state, "{roles:?}");
        }
        assert_eq!(may_send(&tenant(), "a@b.example", None).state, State::Skipped);
        let delegated = Claims { scp: Some("User.Read Mail.ReadWrite Mail.Send".into()), ..Claims::default() };
        assert!(delegated.holds("Mail.Send") && delegated.reads());
    }
}
