//! Entra's refusals, in Entra's shape: the OAuth error, the AADSTS code, and a text around both.

use serde_json::{Value, json};

use crate::{clock::from_ms, world::random_uuid};

/// A refusal by Entra: HTTP status, OAuth error, AADSTS code, its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) code: u32,
    pub(crate) text: String,
}

impl Refusal {
    /// The body of the refusal, with ids that are its own.
    pub(crate) fn json(&self, now_ms: i64) -> Value {
        let (trace, correlation) = (random_uuid(), random_uuid());
        let time = from_ms(now_ms).strftime("%Y-%m-%d %H:%M:%SZ");
        json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}", self.code, self.text
            ),
            "error_codes": [self.code],
            "timestamp": time.to_string(),
            "trace_id": trace.to_string(),
            "correlation_id": correlation.to_string(),
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        })
    }

    /// A refusal on demand, by its code or its OAuth error.
    pub(crate) fn on_demand(status: u16, code: &str) -> Self {
        let number = code.trim_start_matches("AADSTS").parse().unwrap_or(90033);
        let error = match number {
            90033 | 90055 | 90024 | 90006 | 50033 => "temporarily_unavailable",
            7_000_215 | 7_000_222 | 7_000_218 | 700_027 | 700_024 | 700_211 | 700_213 => "invalid_client",
            700_016 | 50_196 => "unauthorized_client",
            _ => "invalid_request",
        };
        refusal(status, error, number, "The request was refused on demand.".to_owned())
    }
}

pub(crate) fn refusal(status: u16, error: &'static str, code: u32, text: String) -> Refusal {
    Refusal { status, error, code, text }
}

pub(crate) fn missing(name: &str) -> Refusal {
    refusal(
        400,
        "invalid_request",
        900_144,
        format!("The request body must contain the following parameter: '{name}'."),
    )
}

pub(crate) fn refused_secret(code: u32, client_id: &str) -> Refusal {
    let text = match code {
        7_000_215 => format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client_id}'."
        ),
        7_000_222 => format!("The provided client secret keys for app '{client_id}' are expired."),
        _ => "The secret was refused on demand.".to_owned(),
    };
    let status = if code == 700_016 { 400 } else { 401 };
    refusal(status, if code == 700_016 { "unauthorized_client" } else { "invalid_client" }, code, text)
}
