//! From an answer that is not a success to a [`GraphError`]: by status and code, case aside, inner errors included.
//!
//! Of Graph's sentences only two things are taken: the id of the subscription that is in the way of another, and whether
//! an application access policy is spoken of.

use std::time::Duration;

use serde_json::Value;

use super::error::{GraphError, Refusal};

/// The wait after a 429 that names none.
const UNSTATED_WAIT: Duration = Duration::from_secs(5);
/// Inner errors are dug into no deeper than this.
const DEPTH: usize = 8;
/// Codes and ids are short; what is longer is neither.
const WORD_LIMIT: usize = 96;

/// An answer that is not a success, as it came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) request_id: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    pub(super) fn into_error(self) -> GraphError {
        let said = Said::read(self.body);
        let request_id = self.request_id.map(word).filter(|id| !id.is_empty()).unwrap_or(said.request_id);
        let code = said.codes.first().cloned().unwrap_or_default();
        let refusal = Refusal { status: self.status, code, request_id, by_policy: said.by_policy };
        let is = |known: &[&str]| said.codes.iter().any(|code| known.iter().any(|it| code.eq_ignore_ascii_case(it)));

        if self.status == 429 || is(THROTTLED) {
            return GraphError::Throttled { after: self.retry_after.unwrap_or(UNSTATED_WAIT) };
        }
        if is(SYNC_RESET) {
            return GraphError::SyncReset(refusal);
        }
        if let Some((_, advice)) = UNSENDABLE.iter().find(|(code, _)| is(&[code])) {
            return GraphError::Unsendable { advice, refusal };
        }
        match self.status {
            401 => GraphError::Unauthorized(refusal),
            403 => GraphError::AccessDenied(refusal),
            404 if is(NO_MAILBOX) => GraphError::NoMailbox(refusal),
            404 => GraphError::NotFound(refusal),
            409 => GraphError::Conflict { existing: said.existing, refusal },
            410 => GraphError::SyncReset(refusal),
            // 424: something this one depends on failed; Graph also answers it for a batch that was throttled.
            408 | 424 | 500.. => {
                GraphError::Unavailable { reason: format!("Graph answered {refusal}"), after: self.retry_after }
            }
            _ => GraphError::Refused(refusal),
        }
    }
}

const THROTTLED: &[&str] = &["ApplicationThrottled", "TooManyRequests", "activityLimitReached"];
/// Codes that speak of a mail, not of the mailbox it is sent from.
const UNSENDABLE: &[(&str, &str)] = &[
    (
        "ErrorSendAsDenied",
        "the mailbox may not send as this address: give it Send As for it in Exchange, or send from its own",
    ),
    (
        "ErrorMessageSizeExceeded",
        "the mail is larger than the mailbox may send: raise its limit in Exchange, or send less",
    ),
    ("ErrorQuotaExceeded", "the mailbox is full: make room in it, then hand the mail in again"),
    ("ErrorAttachmentSizeLimitExceeded", "an attachment is larger than Exchange takes: send a link instead"),
    ("ErrorInvalidRecipients", "a recipient is not valid, or there are none or too many: correct to, cc and bcc"),
    ("ErrorMimeContentInvalid", "Exchange cannot read the mail's MIME"),
    ("ErrorMimeContentInvalidBase64String", "Exchange cannot read the mail's MIME"),
    ("InvalidInternetMessageHeader", "a header field is not one that Graph takes: its name must begin with X-"),
    ("InvalidInternetMessageHeaderCollection", "there are more header fields than Graph takes: send five at most"),
];
const SYNC_RESET: &[&str] = &["syncStateNotFound", "syncStateInvalid", "resyncRequired"];
const NO_MAILBOX: &[&str] = &[
    "MailboxNotEnabledForRESTAPI",
    "MailboxNotSupportedForRESTAPI",
    "ResourceNotFound",
    "Request_ResourceNotFound",
    "ErrorInvalidUser",
    "ErrorNonExistentMailbox",
];

/// What an error body says, as far as we listen.
#[derive(Default)]
struct Said {
    /// From the outermost to the innermost.
    codes: Vec<String>,
    request_id: String,
    existing: Option<String>,
    by_policy: bool,
}

impl Said {
    fn read(body: &[u8]) -> Self {
        let mut said = Self::default();
        let Ok(answer) = serde_json::from_slice::<Value>(body) else { return said };
        let mut level = member(&answer, "error");
        for _ in 0..DEPTH {
            let Some(error) = level else { break };
            said.listen(error);
            level = member(error, "innerError");
        }
        said
    }

    fn listen(&mut self, error: &Value) {
        let text = |name| member(error, name).and_then(Value::as_str);
        if let Some(code) = text("code").map(word).filter(|code| !code.is_empty()) {
            self.codes.push(code);
        }
        if self.request_id.is_empty() {
            self.request_id = text("request-id").map(word).unwrap_or_default();
        }
        // No code tells it (learn.microsoft.com/graph/auth-limit-mailbox-access, and as seen).
        self.by_policy |=
            text("message").is_some_and(|it| it.contains("[RAOP]") || it.contains("Access to OData is disabled"));
        if self.existing.is_none() {
            self.existing = text("message").and_then(named_subscription);
        }
    }
}

/// A member of an object, its name's case aside: Graph writes `innerError` and `innererror`.
fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.as_object()?.iter().find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

/// A code or an id with everything left out that is never in one, an address's `@` above all.
pub(super) fn word(text: &str) -> String {
    match text.contains('@') {
        true => String::new(),
        false => text
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
            .take(WORD_LIMIT)
            .collect(),
    }
}

/// "Subscription Id <id> already exists for the requested combination".
fn named_subscription(message: &str) -> Option<String> {
    let words = message.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_ascii_hexdigit()));
    words.filter(|word| word.len() == 36).find(|word| uuid::Uuid::try_parse(word).is_ok()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> GraphError {
        Answer { status, body: body.as_bytes(), ..Answer::default() }.into_error()
    }

    fn kind(error: &GraphError) -> &'static str {
        match error {
            GraphError::NotFound(_) => "not found",
            GraphError::NoMailbox(_) => "no mailbox",
            GraphError::SyncReset(_) => "sync reset",
            GraphError::Throttled { .. } => "throttled",
            GraphError::Unauthorized(_) => "unauthorized",
            GraphError::AccessDenied(_) => "access denied",
            GraphError::Conflict { .. } => "conflict",
            GraphError::Unavailable { .. } => "unavailable",
            GraphError::Refused(_) => "refused",
            _ => "another",
        }
    }

    #[test]
    fn status_and_code_decide() {
        for (status, body, expected) in [
            (400, r#"{"error":{"code":"InefficientFilter"}}"#, "refused"),
            (400, r#"{"error":{"code":"SyncStateInvalid"}}"#, "sync reset"),
            (401, r#"{"error":{"code":"InvalidAuthenticationToken"}}"#, "unauthorized"),
            (403, r#"{"error":{"code":"ErrorAccessDenied"}}"#, "access denied"),
            (404, r#"{"error":{"code":"ErrorItemNotFound"}}"#, "not found"),
            (404, r#"{"error":{"code":"MailboxNotEnabledForRESTAPI"}}"#, "no mailbox"),
            (404, r#"{"error":{"code":"RESOURCENOTFOUND"}}"#, "no mailbox"),
            (404, "", "not found"),
            (408, "", "unavailable"),
            (409, r#"{"error":{"code":"ObjectIdentifierInUse"}}"#, "conflict"),
            (410, r#"{"error":{"code":"SyncStateNotFound"}}"#, "sync reset"),
            (410, "gone", "sync reset"),
            (404, r#"{"error":{"code":"x","innererror":{"code":"RESYNCREQUIRED"}}}"#, "sync reset"),
            (413, "", "refused"),
            (424, "", "unavailable"),
            (429, "", "throttled"),
            (403, r#"{"error":{"code":"e","innerError":{"InnerError":{"code":"applicationThrottled"}}}}"#, "throttled"),
            (500, "<html>", "unavailable"),
            (503, r#"{"error":{"code":"ServiceUnavailable"}}"#, "unavailable"),
            (507, r#"{"error":{"code":"quotaLimitReached"}}"#, "unavailable"),
            (302, "", "refused"),
        ] {
            assert_eq!(kind(&error(status, body)), expected, "{status} {body}");
        }
    }

    #[test]
    fn what_graph_says_about_people_is_left_out() {
        let body = r#"{"error":{"code":"Error@contoso.com","message":"ann@contoso.com is unknown",
            "innerError":{"request-id":"11-22","code":"Inner\nCode"}}}"#;
        let text = error(403, body).to_string();
        assert_eq!(text, "access is denied: Graph answered 403 InnerCode (request 11-22)");
    }

    #[test]
    fn a_conflict_names_the_subscription_in_the_way() {
        let body = r#"{"error":{"code":"InvalidRequest","message":
            "Subscription Id 7f105c7d-2dc5-4530-97cd-4e7ae6534c07 already exists for the requested combination"}}"#;
        let GraphError::Conflict { existing, .. } = error(409, body) else { panic!("not a conflict") };
        assert_eq!(existing.as_deref(), Some("7f105c7d-2dc5-4530-97cd-4e7ae6534c07"));
        let GraphError::Conflict { existing, .. } = error(409, r#"{"error":{"message":"busy"}}"#) else { panic!() };
        assert_eq!(existing, None);
    }

    #[test]
    fn a_policy_of_exchange_is_told_from_a_missing_permission() {
        let by_policy = |message: &str| {
            let body = format!(r#"{{"error":{{"code":"ErrorAccessDenied","message":"{message}"}}}}"#);
            matches!(error(403, &body), GraphError::AccessDenied(refusal) if refusal.by_policy)
        };
        assert!(by_policy(
            "Access to OData is disabled: [RAOP] : Blocked by tenant configured AppOnly AccessPolicy settings."
        ));
        assert!(by_policy("Access to OData is disabled."));
        assert!(!by_policy("Access is denied. Check credentials and try again."));
    }

    #[test]
    fn waits_come_from_the_answer() {
        let wait = Some(Duration::from_millis(2128));
        let throttled = Answer { status: 429, retry_after: wait, ..Answer::default() }.into_error();
        assert!(matches!(throttled, GraphError::Throttled { after } if Some(after) == wait));
        let busy = Answer { status: 503, retry_after: wait, ..Answer::default() }.into_error();
        assert!(matches!(busy, GraphError::Unavailable { after, .. } if after == wait));
        assert!(matches!(error(429, ""), GraphError::Throttled { after } if after == UNSTATED_WAIT));
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_too_strange(status in 300u16..600, body in ".{0,200}") {
            proptest::prop_assert!(!error(status, &body).to_string().is_empty());
        }
    }
}
