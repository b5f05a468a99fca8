//! A probe's journey as the daemon's `/api/v1/trace` tells it: whether it is over, its legs, and where it stands. Pure.

use std::time::Duration;

use serde_json::Value;

/// Whether nothing more becomes of it, except the mark in its mailbox.
pub(super) fn is_over(journey: &Value) -> bool {
    matches!(journey["state"].as_str(), Some("delivered" | "filtered" | "parked" | "gone" | "in_the_dark"))
}

/// Whether it was marked in its mailbox.
pub(super) fn is_marked(journey: &Value) -> bool {
    steps(journey).any(|it| it["what"] == "marked")
}

/// Each leg and when it was behind it, counted from the moment Exchange received the mail.
pub(super) fn legs(journey: &Value) -> String {
    let told = steps(journey).filter_map(|step| {
        let what = step["what"].as_str().filter(|it| *it != "received")?;
        let route = step["route"].as_str().map(|it| format!(" by {it}")).unwrap_or_default();
        let after = Duration::from_millis(u64::try_from(step["after_ms"].as_i64()?).unwrap_or(0));
        Some(format!("{what}{route} after {}", shown(after)))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Where a mail stands: its state, and of each delivery route, state and last error.
pub(super) fn standing(journey: &Value) -> String {
    let mut told = vec![journey["state"].as_str().unwrap_or("unknown").to_owned()];
    for delivery in journey["deliveries"].as_array().into_iter().flatten() {
        let text = |name: &str| delivery[name].as_str();
        let mut line = format!("{} {}", text("route").unwrap_or("?"), text("state").unwrap_or("?"));
        if let Some(error) = text("last_error") {
            line.push_str(&format!(" ({error})"));
        }
        told.push(line);
    }
    let last = steps(journey).filter_map(|it| it["detail"].as_str()).last();
    if told.len() == 1 {
        told.extend(last.map(str::to_owned));
    }
    told.join(", ")
}

/// A time in seconds.
pub(super) fn shown(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn steps(journey: &Value) -> impl Iterator<Item = &Value> {
    journey["steps"].as_array().map_or(&[][..], Vec::as_slice).iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_journey_is_told_by_its_legs() {
        let journey = json!({ "state": "delivered", "steps": [
            { "what": "received", "after_ms": 0 }, { "what": "found", "after_ms": 800 },
            { "what": "accepted", "after_ms": 1240, "route": "crm" }, { "what": "marked", "after_ms": -20 },
        ], "deliveries": [] });
        assert_eq!(legs(&journey), "found after 0.8 s, accepted by crm after 1.2 s, marked after 0.0 s");
        assert!(is_over(&journey) && is_marked(&journey));
        assert!(!is_over(&json!({ "state": "pending" })) && !is_marked(&json!({})));
    }

    #[test]
    fn where_it_stands_names_what_holds_it_up() {
        let stuck = json!({ "state": "pending", "steps": [], "deliveries": [
            { "route": "crm", "state": "retrying", "last_error": "503" }, { "route": "archive", "state": "accepted" } ] });
        assert_eq!(standing(&stuck), "pending, crm retrying (503), archive accepted");
        let filtered = json!({ "state": "filtered", "deliveries": [],
            "steps": [{ "what": "filtered", "detail": "no route matches" }] });
        assert_eq!(standing(&filtered), "filtered, no route matches");
    }
}
