//! What Entra's refusals mean: for each AADSTS code what to do next, and a sentence for the person who must act.
//!
//! Decided by `error_codes` and `error`, never by the description
//! (learn.microsoft.com/entra/identity-platform/reference-error-codes).

/// What to do after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// This credential is the trouble: another one may be accepted.
    NextCredential,
    /// Entra may answer otherwise in a moment.
    Transient,
    /// No credential of this registration can help: a person must act.
    Fatal,
    /// What a user granted is over: the user must sign in again.
    SignIn,
    /// What a user granted is not taken as the tenant is set up now: once an administrator has mended that, it is again.
    Blocked,
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The AADSTS code it was decided by, where Entra sent one.
    pub code: Option<u32>,
    /// What to do next.
    pub decision: Decision,
    /// What it means, for a person.
    pub says: &'static str,
}

/// Entra believes that we ask in a loop: the only cure is to ask less.
pub const LOOP_DETECTED: u32 = 50196;

/// The application is registered as a public client: it must show no credential.
pub const PUBLIC_CLIENT: u32 = 700025;

use Decision::{Blocked, Fatal, NextCredential, SignIn, Transient};

const TABLE: &[(u32, Decision, &str)] = &[
    (7000215, NextCredential, "the client secret is wrong (often the secret's id was pasted instead of its value)"),
    (7000222, NextCredential, "the client secret has expired"),
    (700027, NextCredential, "the certificate is not registered with the application, or has expired"),
    (700030, NextCredential, "the certificate's subject is not authorised for the application"),
    (
        700024,
        NextCredential,
        "the assertion is outside its time of validity: check the clock, or the token file is stale",
    ),
    (
        500133,
        NextCredential,
        "the assertion is outside its time of validity: check the clock, or the token file is stale",
    ),
    (700021, NextCredential, "the assertion is another application's: check client_id"),
    (700023, NextCredential, "the assertion is for another audience: check tenant_id and token_endpoint"),
    (50027, NextCredential, "the assertion is no token that Entra can read, or was used before"),
    (70021, NextCredential, "no federated credential of the application matches the token"),
    (700212, NextCredential, "no federated credential of the application matches the token's audience"),
    (700211, NextCredential, "no federated credential of the application matches the token's issuer"),
    (700213, NextCredential, "no federated credential of the application matches the token's subject or audience"),
    (7000218, NextCredential, "Entra expects a client secret or an assertion and found neither"),
    (700016, Fatal, "the application is not known in this tenant: check client_id and tenant_id"),
    (70001, Fatal, "the application is not known in this tenant: check client_id and tenant_id"),
    (7000112, Fatal, "the application is disabled in this tenant"),
    (90002, Fatal, "the tenant does not exist in this cloud: check tenant_id and cloud"),
    (900023, Fatal, "tenant_id is neither a tenant's id nor one of its domains"),
    (90038, Fatal, "the tenant lives in another national cloud: check cloud"),
    (900382, Fatal, "the tenant lives in another national cloud: check cloud"),
    (900432, Fatal, "the tenant lives in another national cloud: check cloud"),
    (9001023, Fatal, "the tenant must be named: `common` cannot be used without a user"),
    (50194, Fatal, "the application is for one tenant only and cannot be used through `common`"),
    (900144, Fatal, "the token request lacks a parameter"),
    (70011, Fatal, "the scope is not valid: check graph_endpoint and cloud"),
    (28002, Fatal, "the scope is not valid: check graph_endpoint and cloud"),
    (500011, Fatal, "Graph is not known in this tenant under this address: check graph_endpoint and cloud"),
    (65001, Fatal, "an administrator has not consented to the application's permissions"),
    (650056, Fatal, "the application's permissions are misconfigured"),
    (50034, Fatal, "the user does not exist in this tenant"),
    (50057, Fatal, "the account is disabled"),
    (53003, Fatal, "a Conditional Access policy blocks the application"),
    (530032, Fatal, "a security policy of the tenant blocks the application"),
    (LOOP_DETECTED, Transient, "Entra saw too many equal requests and asks for a pause"),
    (90055, Transient, "the tenant is throttled by Entra"),
    (90024, Transient, "Entra is busy"),
    (90006, Transient, "Entra could not be reached from within"),
    (90033, Transient, "Entra is temporarily unavailable"),
    (50033, Transient, "Entra had a passing fault"),
];

/// What ends that which a user granted, or keeps it from being taken. Each of these is a fault of the application's own
/// elsewhere, or unknown there.
const OF_USERS: &[(u32, Decision, &str)] = &[
    (70000, SignIn, "the sign-in is not valid any more"),
    (70008, SignIn, "the sign-in expired, because it was not used for too long"),
    (700082, SignIn, "the sign-in expired, because it was not used for 90 days"),
    (700081, SignIn, "the sign-in reached the end of the life that a policy gives it"),
    (700084, SignIn, "the sign-in expired: the redirect URI is registered for single-page apps; register it under Web"),
    (50173, SignIn, "the sign-in was revoked, or the password was changed"),
    (50133, SignIn, "the session ended, because the password expired or was changed"),
    (70043, SignIn, "a Conditional Access policy asks for a new sign-in every so often"),
    (70044, SignIn, "a Conditional Access policy asks for a new sign-in every so often"),
    (50074, SignIn, "multi-factor authentication is asked for"),
    (50076, SignIn, "multi-factor authentication is asked for"),
    (50078, SignIn, "the last multi-factor authentication was too long ago"),
    (50079, SignIn, "the user has to register for multi-factor authentication"),
    (50072, SignIn, "the user has to register for multi-factor authentication"),
    (50158, SignIn, "another security check is asked for"),
    (50199, SignIn, "the user has to confirm the sign-in"),
    (50058, SignIn, "there is no session to go on with"),
    (65001, Blocked, "nobody has consented to the application's permissions"),
    (65004, SignIn, "the user declined to consent"),
    (50034, Blocked, "the user does not exist in this tenant"),
    (50053, Blocked, "the account is locked"),
    (50055, SignIn, "the password expired"),
    (50057, Blocked, "the account is disabled"),
    (50105, Blocked, "the user is not assigned to the application"),
    (53000, Blocked, "a Conditional Access policy asks for a compliant device"),
    (53001, Blocked, "a Conditional Access policy asks for a device that belongs to the organisation"),
    (53003, Blocked, "a Conditional Access policy blocks the sign-in"),
    (530032, Blocked, "a security policy of the tenant blocks the sign-in"),
    (530034, Blocked, "a security policy of the tenant blocks the sign-in"),
    (54005, SignIn, "the code was used before"),
    (501481, SignIn, "the code belongs to another sign-in"),
    (PUBLIC_CLIENT, NextCredential, "the application is registered as a public client and must show no credential"),
    (50011, Fatal, "the redirect URI is not registered with the application"),
    (500112, Fatal, "the redirect URI is not the one that the sign-in began with"),
];

/// The verdict on a refusal of what a user granted. What is wrong with the application or its credentials is no fault of
/// the user's.
pub fn judge_grant(error: &str, codes: &[u32]) -> Verdict {
    let known = codes.iter().find_map(|code| OF_USERS.iter().find(|row| row.0 == *code));
    if let Some((code, decision, says)) = known {
        return Verdict { code: Some(*code), decision: *decision, says };
    }
    if codes.iter().any(|code| TABLE.iter().any(|row| row.0 == *code)) {
        return judge(error, codes);
    }
    match error.to_ascii_lowercase().as_str() {
        "invalid_grant" | "interaction_required" | "consent_required" | "login_required" => {
            Verdict { code: codes.first().copied(), decision: SignIn, says: "the sign-in is not accepted any more" }
        }
        _ => judge(error, codes),
    }
}

/// Every code that is known, and what is done after it.
pub fn known() -> impl Iterator<Item = (u32, Decision)> {
    TABLE.iter().map(|(code, decision, _)| (*code, *decision))
}

/// The verdict on a refusal: by the first code we know, else by the protocol's own word for it (RFC 6749 §5.2).
pub fn judge(error: &str, codes: &[u32]) -> Verdict {
    let known = codes.iter().find_map(|code| TABLE.iter().find(|row| row.0 == *code));
    if let Some((code, decision, says)) = known {
        return Verdict { code: Some(*code), decision: *decision, says };
    }
    let (decision, says) = match error.to_ascii_lowercase().as_str() {
        "temporarily_unavailable" | "server_error" => (Transient, "Entra is temporarily unavailable"),
        "invalid_client" => (NextCredential, "the credential is not accepted"),
        _ => (Fatal, "Entra refuses the request; the code says why"),
    };
    Verdict { code: codes.first().copied(), decision, says }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_and_the_word_only_where_no_code_is_known() {
        for (error, codes, decision, code) in [
            ("invalid_client", &[7_000_215][..], NextCredential, Some(7_000_215)),
            ("invalid_client", &[7_000_222], NextCredential, Some(7_000_222)),
            ("unauthorized_client", &[700_016], Fatal, Some(700_016)),
            ("invalid_request", &[90_002], Fatal, Some(90_002)),
            ("invalid_client", &[90_055], Transient, Some(90_055)),
            ("invalid_grant", &[50_196], Transient, Some(50_196)),
            ("invalid_client", &[1, 7_000_222], NextCredential, Some(7_000_222)),
            ("invalid_client", &[123_456_789], NextCredential, Some(123_456_789)),
            ("Temporarily_Unavailable", &[], Transient, None),
            ("invalid_scope", &[], Fatal, None),
        ] {
            let verdict = judge(error, codes);
            assert_eq!((verdict.decision, verdict.code), (decision, code), "{error} {codes:?}");
        }
    }

    #[test]
    fn what_a_user_granted_is_over_only_when_it_is_the_users_matter() {
        for (error, codes, decision, code) in [
            ("invalid_grant", &[700_082][..], SignIn, Some(700_082)),
            ("invalid_grant", &[50_173], SignIn, Some(50_173)),
            ("interaction_required", &[50_076], SignIn, Some(50_076)),
            ("invalid_grant", &[65_001], Blocked, Some(65_001)),
            ("interaction_required", &[53_003], Blocked, Some(53_003)),
            ("invalid_grant", &[123_456_789], SignIn, Some(123_456_789)),
            ("invalid_grant", &[], SignIn, None),
            ("invalid_grant", &[50_196], Transient, Some(50_196)),
            ("invalid_client", &[7_000_222], NextCredential, Some(7_000_222)),
            ("invalid_client", &[7_000_218], NextCredential, Some(7_000_218)),
            ("invalid_client", &[PUBLIC_CLIENT], NextCredential, Some(PUBLIC_CLIENT)),
            ("unauthorized_client", &[700_016], Fatal, Some(700_016)),
            ("temporarily_unavailable", &[], Transient, None),
        ] {
            let verdict = judge_grant(error, codes);
            assert_eq!((verdict.decision, verdict.code), (decision, code), "{error} {codes:?}");
        }
    }

    #[test]
    fn no_code_is_decided_twice() {
        for table in [TABLE, OF_USERS] {
            let mut codes: Vec<_> = table.iter().map(|row| row.0).collect();
            codes.sort_unstable();
            codes.dedup();
            assert_eq!(codes.len(), table.len());
        }
    }
}
