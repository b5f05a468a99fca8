//! Step 3, and what step 10 says of credentials: a token for each of them by itself, and when each ends.

use super::codes;
use super::finding::{Entry, Fact, Finding, Step};
use crate::identity::aadsts::{Decision, Verdict};
use crate::identity::config::{Cloud, TenantConfig};
use crate::identity::{NotIssued, Tried, expiry};
use crate::model::clock::UnixMillis;

/// What was found out about a tenant beside its credentials.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beside {
    /// The clock is so wrong that assertions are refused for it.
    pub(super) clock_is_wrong: bool,
    /// Where the tenant lives, where its login hosts say so.
    pub(super) lives_in: Option<Cloud>,
}

/// What Entra says of a tenant's credentials. A refusal that no credential can help is said once. Where one is accepted,
/// the others are spares: what is wrong with them is a warning.
pub(super) fn tokens(tenant: &TenantConfig, tried: &[Tried], beside: Beside) -> Vec<Finding> {
    let is_served = tried.iter().any(|it| it.outcome.is_ok());
    let mut found = Vec::new();
    for credential in tried {
        let finding = token(tenant, credential, tried.len(), beside);
        let is_fatal = is_fatal(credential);
        found.push(if is_served { finding.softened() } else { finding });
        if is_fatal && !is_served {
            found.retain(|it| !it.is_fail() || is_of(it, credential));
            break;
        }
    }
    found
}

fn is_of(finding: &Finding, credential: &Tried) -> bool {
    finding.details.get("credential").is_some_and(|it| *it == (credential.index + 1).to_string())
}

fn is_fatal(credential: &Tried) -> bool {
    matches!(&credential.outcome, Err(NotIssued::Refused(verdict)) if verdict.decision == Decision::Fatal)
}

/// Whether a cloud is worth asking for.
pub(super) fn may_live_elsewhere(tried: &[Tried]) -> bool {
    let is = |verdict: &Verdict| matches!(verdict.code, Some(90_002 | 90_038 | 900_382 | 900_432));
    tried.iter().any(|it| matches!(&it.outcome, Err(NotIssued::Refused(verdict)) if is(verdict)))
}

fn token(tenant: &TenantConfig, credential: &Tried, of: usize, beside: Beside) -> Finding {
    let subject = subject(tenant, credential, of);
    let mut facts = facts(tenant, credential);
    let mut known = |name, value: String| facts.push((name, value));
    let entry = match &credential.outcome {
        Ok(_) => {
            let what = format!("Entra issues a token for credential {} ({})", credential.index + 1, credential.kind);
            return Finding::pass(Step::Token, subject, what, facts);
        }
        Err(NotIssued::Unreadable(problem)) => {
            known("problem", problem.clone());
            &codes::CREDENTIAL_UNREADABLE
        }
        Err(NotIssued::Unavailable(problem)) => {
            known("problem", problem.clone());
            &codes::ENTRA_UNAVAILABLE
        }
        Err(NotIssued::Refused(verdict)) => {
            known("aadsts", verdict.code.map(|it| it.to_string()).unwrap_or_default());
            known("code", verdict.code.map(|it| format!(" (AADSTS{it})")).unwrap_or_default());
            known("says", verdict.says.to_owned());
            let elsewhere = beside.lives_in.filter(|it| *it != tenant.cloud);
            known("lives_in", elsewhere.map(cloud).unwrap_or_default());
            let entry = entry(verdict.code, elsewhere.is_some());
            if beside.clock_is_wrong && entry.code == codes::ASSERTION_OUT_OF_TIME.code {
                let why = "Entra refuses what is signed with a wrong clock: see the clock above";
                return Finding::skipped(Step::Token, subject, why);
            }
            entry
        }
    };
    Finding::of(entry, Step::Token, subject, facts)
}

/// What a code of Entra means for a set-up.
fn entry(aadsts: Option<u32>, lives_elsewhere: bool) -> &'static Entry {
    match aadsts.unwrap_or_default() {
        7_000_215 => &codes::SECRET_WRONG,
        7_000_222 => &codes::SECRET_EXPIRED,
        700_027 | 700_030 => &codes::CERTIFICATE_NOT_REGISTERED,
        700_024 | 500_133 => &codes::ASSERTION_OUT_OF_TIME,
        700_021 | 700_023 | 50_027 | 7_000_218 => &codes::ASSERTION_WRONG,
        70_021 | 700_211..=700_213 => &codes::FEDERATION_NOT_FOUND,
        700_016 | 70_001 => &codes::APPLICATION_UNKNOWN,
        7_000_112 => &codes::APPLICATION_DISABLED,
        90_002 | 90_038 | 900_382 | 900_432 if lives_elsewhere => &codes::TENANT_IN_OTHER_CLOUD,
        90_002 => &codes::TENANT_UNKNOWN,
        90_038 | 900_382 | 900_432 => &codes::TENANT_IN_ANOTHER_CLOUD,
        900_023 => &codes::TENANT_MALFORMED,
        9_001_023 | 50_194 => &codes::TENANT_NOT_NAMED,
        70_011 | 28_002 | 500_011 | 1_002_012 => &codes::SCOPE_WRONG,
        65_001 | 650_056 => &codes::CONSENT_MISSING,
        50_034 | 50_057 => &codes::ACCOUNT_UNUSABLE,
        53_003 | 530_032 => &codes::BLOCKED_BY_CONDITIONAL_ACCESS,
        _ => &codes::CREDENTIAL_REFUSED,
    }
}

/// What can be said of credentials without Entra: which end comes near, and when the next one comes.
pub(super) fn configured(tenant: &TenantConfig, tried: &[Tried], now: UnixMillis) -> Vec<Finding> {
    let mut found = Vec::new();
    for credential in tried {
        let ending = credential.expires_at.filter(|at| expiry::warning(*at, now).is_some());
        if let Some(at) = ending {
            let mut facts = facts(tenant, credential);
            facts.extend([("told", expiry::told(at, now)), ("expires", expiry::day(at))]);
            let subject = subject(tenant, credential, tried.len());
            found.push(Finding::of(&codes::CREDENTIAL_ENDS_SOON, Step::Configuration, subject, facts));
        }
    }
    if found.is_empty() {
        let next = tried.iter().filter_map(|it| it.expires_at).min();
        let what = match next {
            Some(at) => format!("No credential ends within 30 days; the next {}", expiry::told(at, now)),
            None => "No credential is known to end; `expires` at a client secret lets Mailspan warn before".into(),
        };
        found.push(Finding::pass(Step::Configuration, &tenant.name, what, Vec::new()));
    }
    found
}

/// A configuration that cannot be used: one of its problems, and where that stands.
pub fn unusable(key: &str, problem: &str, place: &str) -> Finding {
    let subject = if key.is_empty() { "configuration" } else { key };
    let facts = vec![("key", subject.to_owned()), ("problem", problem.to_owned()), ("place", place.to_owned())];
    Finding::of(&codes::CONFIGURATION_UNUSABLE, Step::Configuration, subject, facts)
}

fn subject(tenant: &TenantConfig, credential: &Tried, of: usize) -> String {
    match of {
        1 => tenant.name.clone(),
        _ => format!("{} credential {}", tenant.name, credential.index + 1),
    }
}

fn facts(tenant: &TenantConfig, credential: &Tried) -> Vec<Fact> {
    let mut facts = of_tenant(tenant);
    facts.extend([("credential", (credential.index + 1).to_string()), ("kind", credential.kind.to_owned())]);
    facts
}

/// What texts say of a tenant. Ids are no secrets.
pub(super) fn of_tenant(tenant: &TenantConfig) -> Vec<Fact> {
    vec![
        ("tenant", tenant.name.clone()),
        ("tenant_id", tenant.tenant_id.clone()),
        ("client_id", tenant.client_id.clone()),
        ("cloud", cloud(tenant.cloud)),
    ]
}

fn cloud(cloud: Cloud) -> String {
    match cloud {
        Cloud::Global => "global",
        Cloud::GccHigh => "gcc_high",
        Cloud::Dod => "dod",
        Cloud::China => "china",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::aadsts;
    use crate::model::secret::Secret;
    use crate::model::token::AccessToken;
    use crate::ops::doctor::finding::State;

    const DAY: i64 = 24 * 3600 * 1000;

    fn tenant() -> TenantConfig {
        toml::from_str("name = 'contoso'\ntenant_id = 'tid'\nclient_id = 'cid'\ncredentials = []").unwrap()
    }

    fn tried(index: usize, outcome: Result<(), NotIssued>) -> Tried {
        let token = || AccessToken(Secret::new("opaque"));
        Tried { index, kind: "client_secret", expires_at: None, outcome: outcome.map(|()| token()) }
    }

    fn refused(code: u32) -> Result<(), NotIssued> {
        Err(NotIssued::Refused(aadsts::judge("invalid_client", &[code])))
    }

    fn said(found: &[Finding]) -> Vec<(&str, State, &str)> {
        found.iter().map(|it| (it.subject.as_str(), it.state, it.code)).collect()
    }

    #[test]
    fn every_refusal_that_is_known_has_a_cause_of_its_own() {
        for (code, decision) in aadsts::known() {
            let is_specific = entry(Some(code), false).code != codes::CREDENTIAL_REFUSED.code;
            assert_eq!(is_specific, decision != Decision::Transient && code != 900_144, "AADSTS{code}");
        }
        assert_eq!(entry(Some(90_002), true).code, "tenant_in_other_cloud");
        assert_eq!(entry(Some(12), false).code, "credential_refused");
        assert_eq!(entry(None, false).code, "credential_refused");
    }

    #[test]
    fn a_spare_that_is_refused_is_a_warning_and_the_last_hope_is_a_failure() {
        let (dead, good) = (tried(0, refused(7_000_222)), tried(1, Ok(())));
        let found = tokens(&tenant(), &[dead.clone(), good], Beside::default());
        let expected =
            [("contoso credential 1", State::Warn, "secret_expired"), ("contoso credential 2", State::Pass, "ok")];
        assert_eq!(said(&found), expected);
        let found = tokens(&tenant(), &[dead], Beside::default());
        assert_eq!(said(&found), [("contoso", State::Fail, "secret_expired")]);
    }

    #[test]
    fn what_no_credential_can_help_is_said_once() {
        let unknown = [tried(0, refused(7_000_215)), tried(1, refused(700_016)), tried(2, refused(700_016))];
        let found = tokens(&tenant(), &unknown, Beside::default());
        assert_eq!(said(&found), [("contoso credential 2", State::Fail, "application_unknown")]);
    }

    #[test]
    fn a_wrong_clock_is_blamed_once() {
        let late = [tried(0, refused(700_024))];
        let wrong = Beside { clock_is_wrong: true, ..Beside::default() };
        assert_eq!(said(&tokens(&tenant(), &late, wrong)), [("contoso", State::Skipped, "skipped")]);
        assert_eq!(said(&tokens(&tenant(), &late, Beside::default()))[0].2, "assertion_out_of_time");
    }

    #[test]
    fn the_cloud_is_named_where_it_is_known() {
        let elsewhere = [tried(0, refused(900_382))];
        let found = tokens(&tenant(), &elsewhere, Beside { lives_in: Some(Cloud::GccHigh), ..Beside::default() });
        assert!(found[0].cure.as_deref().is_some_and(|it| it.starts_with("set cloud = \"gcc_high\"")), "{found:?}");
        let found = tokens(&tenant(), &elsewhere, Beside { lives_in: Some(Cloud::Global), ..Beside::default() });
        assert_eq!(found[0].code, "tenant_in_another_cloud");
    }

    #[test]
    fn an_end_that_comes_near_is_told() {
        let ending = Tried { expires_at: Some(13 * DAY), ..tried(0, Ok(())) };
        assert_eq!(said(&configured(&tenant(), &[ending], 0)), [("contoso", State::Warn, "credential_ends_soon")]);
        let far = Tried { expires_at: Some(31 * DAY), ..tried(0, Ok(())) };
        assert_eq!(configured(&tenant(), &[far], 0)[0].state, State::Pass);
    }
}
