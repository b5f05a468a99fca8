//! Steps 5 and 6: a mailbox can be read, and written to.
//!
//! The write probe is a draft that is made and removed. One that an earlier doctor left behind, because it was killed or an
//! answer was lost, is found by its key and removed first.

use std::time::Duration;

use serde_json::json;

use super::claims::{Claims, Needs};
use super::codes;
use super::credentials::of_tenant;
use super::finding::{Entry, Fact, Finding, Step};
use super::removal::remove;
use crate::graph::{Folder, Graph, GraphError, Refusal, SUBMISSION_PROPERTY, SendError, Written};
use crate::identity::config::{Cloud, TenantConfig};
use crate::model::address::Address;

/// What the probe's draft is called, should anybody ever see it.
pub(super) const DRAFT_SUBJECT: &str = "Mailspan doctor: write probe, safe to delete";
/// The key by which it is found again, whoever made it.
const DRAFT_KEY: &str = "mailspan-doctor-write-probe";
/// The waits before a draft is looked for whose making was not answered: Exchange may show it late.
const LOOK_AFTER: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2)];
/// Codes of Graph that speak of an address nobody has, rather than of a mailbox that is not served.
const NOBODY: [&str; 3] = ["ErrorInvalidUser", "Request_ResourceNotFound", "ErrorNonExistentMailbox"];

/// What a refusal is judged by.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) tenant: &'a TenantConfig,
    pub(super) claims: Option<&'a Claims>,
    pub(super) needs: Needs,
    /// Whether another mailbox of the tenant can be read by the same token.
    pub(super) others_work: bool,
}

/// Whether a mailbox can be read.
pub(super) fn read(
    address: &Address,
    folder: &str,
    outcome: &Result<Folder, GraphError>,
    ground: Ground<'_>,
) -> Finding {
    match outcome {
        Ok(found) => {
            let total = found.total.map(|it| it.to_string()).unwrap_or_default();
            let what = format!("The folder `{folder}` can be read");
            Finding::pass(Step::Mailbox, address.as_str(), what, vec![("messages", total)])
        }
        Err(error) => refused(Step::Mailbox, address, folder, error, ground),
    }
}

/// What a refusal of Graph means in a mailbox.
pub(super) fn refused(step: Step, address: &Address, folder: &str, error: &GraphError, ground: Ground<'_>) -> Finding {
    Finding::of(entry(error, ground), step, address.as_str(), facts(address, folder, error, ground))
}

fn entry(error: &GraphError, ground: Ground<'_>) -> &'static Entry {
    match error {
        GraphError::AccessDenied(refusal) if refusal.by_policy => &codes::BLOCKED_BY_ACCESS_POLICY,
        GraphError::AccessDenied(_) if ground.claims.is_some_and(Claims::reads) => {
            &codes::ACCESS_DENIED_DESPITE_PERMISSION
        }
        GraphError::AccessDenied(_) if ground.others_work => &codes::OUTSIDE_RBAC_SCOPE,
        GraphError::AccessDenied(_) => &codes::PERMISSION_MISSING,
        GraphError::NoMailbox(refusal) if is_nobody(refusal) => &codes::MAILBOX_UNKNOWN,
        GraphError::NoMailbox(_) => &codes::MAILBOX_NOT_ENABLED,
        GraphError::NotFound(_) => &codes::FOLDER_UNKNOWN,
        GraphError::Unauthorized(_) => &codes::TOKEN_NOT_ACCEPTED,
        GraphError::Throttled { .. } => &codes::GRAPH_THROTTLED,
        GraphError::Unsendable { refusal, .. } if refusal.code.eq_ignore_ascii_case("ErrorQuotaExceeded") => {
            &codes::MAILBOX_FULL
        }
        // 507: insufficient storage, which is the mailbox's.
        GraphError::Unavailable { reason, .. } if reason.starts_with("Graph answered 507") => &codes::MAILBOX_FULL,
        GraphError::Unavailable { .. } | GraphError::Unreachable { .. } | GraphError::NoToken(_) => {
            &codes::GRAPH_UNAVAILABLE
        }
        _ => &codes::GRAPH_REFUSED,
    }
}

fn is_nobody(refusal: &Refusal) -> bool {
    NOBODY.iter().any(|it| refusal.code.eq_ignore_ascii_case(it))
}

fn facts(address: &Address, folder: &str, error: &GraphError, ground: Ground<'_>) -> Vec<Fact> {
    let mut facts = of_tenant(ground.tenant);
    let endpoint = crate::identity::Endpoints::of(ground.tenant).map(|it| it.graph.to_string()).unwrap_or_default();
    facts.extend([
        ("mailbox", address.as_str().to_owned()),
        ("folder", folder.to_owned()),
        ("permission", ground.needs.access().to_owned()),
        ("graph", said(error)),
        ("graph_endpoint", endpoint),
        ("subject", DRAFT_SUBJECT.to_owned()),
    ]);
    facts
}

/// What Graph said: status, code and the id its support asks for.
pub(super) fn said(error: &GraphError) -> String {
    match error {
        GraphError::NotFound(refusal)
        | GraphError::NoMailbox(refusal)
        | GraphError::Unauthorized(refusal)
        | GraphError::AccessDenied(refusal)
        | GraphError::Refused(refusal)
        | GraphError::Unsendable { refusal, .. } => refusal.to_string(),
        other => other.to_string(),
    }
}

/// How the write probe ended.
#[derive(Debug)]
pub(super) enum Probe {
    /// A draft was made and removed.
    Fine,
    /// No draft can be made.
    Refused(GraphError),
    /// A draft was made and is still there.
    LeftBehind(GraphError),
}

/// Makes a draft and removes it, and whatever an earlier probe left behind.
pub(super) async fn probe(graph: &Graph, address: &Address, cloud: Cloud) -> Probe {
    if let Err(error) = sweep(graph, address, cloud).await {
        return Probe::Refused(error);
    }
    let draft = json!({
        "subject": DRAFT_SUBJECT,
        "body": { "contentType": "text", "content": "mailspan doctor tries whether it may write here, and removes this at once." },
        "singleValueExtendedProperties": [{ "id": SUBMISSION_PROPERTY, "value": DRAFT_KEY }],
    });
    match graph.create_draft(address, &Written::Json(draft.to_string().into())).await {
        Ok(made) => match remove(graph, address, &made.id, cloud).await {
            Ok(()) => Probe::Fine,
            Err(error) => Probe::LeftBehind(error),
        },
        Err(SendError::NotDone(error)) => Probe::Refused(error),
        Err(SendError::Unknown(unanswered)) => {
            for wait in LOOK_AFTER {
                tokio::time::sleep(wait).await;
                match sweep(graph, address, cloud).await {
                    Ok(0) => {}
                    Ok(_) => return Probe::Fine,
                    Err(error) => return Probe::LeftBehind(error),
                }
            }
            Probe::Refused(unanswered)
        }
    }
}

/// Removes the drafts of earlier probes, and says how many there were.
async fn sweep(graph: &Graph, address: &Address, cloud: Cloud) -> Result<usize, GraphError> {
    let left = graph.find_drafts(address, DRAFT_KEY).await?;
    for draft in left.iter().filter(|it| it.is_draft) {
        remove(graph, address, &draft.id, cloud).await?;
    }
    Ok(left.len())
}

/// Whether a mailbox can be written to.
pub(super) fn written(address: &Address, folder: &str, probe: &Probe, ground: Ground<'_>) -> Finding {
    let of = |entry, error| Finding::of(entry, Step::Write, address.as_str(), facts(address, folder, error, ground));
    match probe {
        Probe::Fine => {
            Finding::pass(Step::Write, address.as_str(), "A draft was made in it and removed again", Vec::new())
        }
        Probe::LeftBehind(error) => of(&codes::DRAFT_LEFT_BEHIND, error),
        // The mailbox was read a moment ago: what is denied now is writing.
        Probe::Refused(error @ GraphError::AccessDenied(refusal)) if !refusal.by_policy => {
            of(&codes::WRITE_DENIED, error)
        }
        Probe::Refused(error) => refused(Step::Write, address, folder, error, ground),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::finding::State;

    fn refusal(status: u16, code: &str) -> Refusal {
        Refusal { status, code: code.into(), request_id: "r-1".into(), by_policy: false }
    }

    #[test]
    fn every_refusal_of_a_mailbox_has_its_cause() {
        let text = "name = 'contoso'\ntenant_id = 'tid'\nclient_id = 'cid'\ncredentials = []";
        let tenant: TenantConfig = toml::from_str(text).unwrap();
        let wide: Claims = serde_json::from_value(json!({ "roles": ["Mail.ReadWrite"] })).unwrap();
        let none = Claims::default();
        let address = Address::parse("support@contoso.example").unwrap();
        let denied = || GraphError::AccessDenied(refusal(403, "ErrorAccessDenied"));
        let by_policy = GraphError::AccessDenied(Refusal { by_policy: true, ..refusal(403, "ErrorAccessDenied") });
        let no_mailbox = |code: &str| GraphError::NoMailbox(refusal(404, code));
        let full = GraphError::Unsendable { advice: "x", refusal: refusal(507, "ErrorQuotaExceeded") };
        let down = |reason: &str| GraphError::Unavailable { reason: reason.into(), after: None };
        for (error, claims, others_work, code) in [
            (by_policy, &wide, false, "blocked_by_access_policy"),
            (denied(), &wide, true, "access_denied_despite_permission"),
            (denied(), &none, true, "outside_rbac_scope"),
            (denied(), &none, false, "permission_missing"),
            (no_mailbox("MailboxNotEnabledForRESTAPI"), &none, true, "mailbox_not_enabled"),
            (no_mailbox("ResourceNotFound"), &none, true, "mailbox_not_enabled"),
            (no_mailbox("ErrorInvalidUser"), &none, true, "mailbox_unknown"),
            (no_mailbox("Request_ResourceNotFound"), &none, true, "mailbox_unknown"),
            (GraphError::NotFound(refusal(404, "ErrorItemNotFound")), &none, true, "folder_unknown"),
            (GraphError::Unauthorized(refusal(401, "InvalidAuthenticationToken")), &wide, true, "token_not_accepted"),
            (GraphError::Throttled { after: Duration::from_secs(1) }, &wide, true, "graph_throttled"),
            (down("Graph answered 503"), &wide, true, "graph_unavailable"),
            (down("Graph answered 507 quotaLimitReached"), &wide, true, "mailbox_full"),
            (full, &wide, true, "mailbox_full"),
            (GraphError::Refused(refusal(400, "BadRequest")), &wide, true, "graph_refused"),
        ] {
            let needs = Needs { write: true, send: true };
            let ground = Ground { tenant: &tenant, claims: Some(claims), needs, others_work };
            let found = read(&address, "inbox", &Err(error), ground);
            assert_eq!(found.code, code);
            let texts = [Some(found.what), found.cause, found.cure];
            assert!(texts.iter().flatten().all(|it| !it.contains('{')), "{texts:?}");
        }
    }

    #[test]
    fn what_is_denied_after_reading_is_writing() {
        let text = "name = 'contoso'\ntenant_id = 'tid'\nclient_id = 'cid'\ncredentials = []";
        let tenant: TenantConfig = toml::from_str(text).unwrap();
        let ground = Ground { tenant: &tenant, claims: None, needs: Needs::default(), others_work: true };
        let address = Address::parse("support@contoso.example").unwrap();
        let denied = Probe::Refused(GraphError::AccessDenied(refusal(403, "ErrorAccessDenied")));
        let found = written(&address, "inbox", &denied, ground);
        assert_eq!((found.state, found.code, found.step), (State::Fail, "write_denied", Step::Write));
        let left = Probe::LeftBehind(GraphError::Unavailable { reason: "x".into(), after: None });
        assert_eq!(written(&address, "inbox", &left, ground).code, "draft_left_behind");
    }
}
